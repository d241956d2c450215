"""A template's syntax tree to functions: closures for the simple ones, else Jinja's generated code.

In the generated code the sandbox's operations stand for Jinja's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from oaiproxy.sandbox import Sandbox
from oaiproxy.scopes import ABSENT, Scope, data, member

Evaluate: TypeAlias = Callable[[Scope], Any]
"""A scope to a value, or to an absent one."""
_Statement = TypeVar("_Statement", bound="nodes.Macro | nodes.CallBlock")


def generate(body: list[nodes.Node], sandbox: Sandbox) -> Callable[[Any], Iterator[str]]:
    """Jinja's function for the statements, by the sandbox's rules. Raises many things for trees that are too deep."""
    template = Lowering().visit(nodes.Template(body, lineno=1))
    template.set_environment(sandbox)
    for node in template.find_all(nodes.Node):
        node.lineno = node.lineno or 1
    return sandbox.from_string(template).root_render_func


def evaluation_of(root: Callable[[Any], Iterator[str]], sandbox: Sandbox) -> Evaluate:
    """What generated code leaves in the variable `result`."""

    def evaluate(scope: Scope) -> Any:
        context = scope.context(sandbox)
        for _ in root(context):
            pass
        return data(context.vars.pop("result", ABSENT))

    return evaluate


def text_in(body: list[nodes.Node]) -> int:
    """How many characters stand in the statements, outside of their tags."""
    return sum(len(found.data) for node in body for found in nodes.Template([node]).find_all(nodes.TemplateData))


class Lowering(NodeTransformer):
    """Puts the sandbox's operations in the place of those that Jinja would generate unchecked code for."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        return _operation("joined", self._visited(node.nodes), node)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return _operation("listed", self._visited(node.items), node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return node if node.ctx != "load" else _operation("listed", self._visited(node.items), node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        pairs = [part for pair in node.items for part in (pair.key, pair.value)]
        return _operation("keyed", self._visited(pairs), node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (part or nodes.Const(None) for part in (node.arg.start, node.arg.stop, node.arg.step))
        return _operation("cut", [node.node, *bounds], node)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        self.generic_visit(node)
        node.expr2 = node.expr2 or nodes.EnvironmentAttribute("absent")
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        if not any(operand.op in ("in", "notin") for operand in node.ops):
            return node
        left, parts = node.expr, []
        for operand in node.ops:
            part: nodes.Expr = nodes.Compare(left, [operand])
            if operand.op in ("in", "notin"):
                part = _operation("contains", [left, operand.expr], node)
            parts.append(nodes.Not(part) if operand.op == "notin" else part)
            left = operand.expr
        found = parts[0]
        for part in parts[1:]:
            found = nodes.And(found, part)
        return found

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        own = node.name == "self" and node.ctx == "load"
        return _operation("request_name", [nodes.Const(node.name)], node) if own else node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        text = text_in(node.body)
        self.generic_visit(node)
        node.iter = _operation("items", [cast("nodes.Expr", node.iter), nodes.Const(text)], node)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._spending(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._spending(node)

    def _spending(self, node: _Statement) -> _Statement:
        text = text_in(node.body)
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_operation("spend", [nodes.Const(text)], node)]))
        return node

    def _visited(self, found: list[nodes.Expr]) -> list[nodes.Expr]:
        return [self.visit(node) for node in found]


def _operation(name: str, arguments: list[nodes.Expr], node: nodes.Node) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None, lineno=node.lineno)


def closure_of(node: nodes.Node, sandbox: Sandbox) -> Evaluate | None:
    """The fast lane: a closure for a name, an attribute, a constant, or a filter on those; None for anything else."""
    match node:
        case nodes.Const(value=value) if not (isinstance(value, float) and not math.isfinite(value)):
            return lambda scope: value
        case nodes.Name(name=name) if name not in sandbox.globals:
            return lambda scope: scope.lookup(name)
        case nodes.Getattr(node=owner, attr=key) | nodes.Getitem(node=owner, arg=nodes.Const(value=key)):
            inner = closure_of(owner, sandbox)
            return None if inner is None else _member(inner, key)
        case nodes.Filter(node=nodes.Expr() as subject, args=args, kwargs=[], dyn_args=None, dyn_kwargs=None):
            function = sandbox.filters.get(node.name)
            inner = closure_of(subject, sandbox)
            arguments = [closure for one in args if (closure := closure_of(one, sandbox)) is not None]
            if inner is None or function is None or len(arguments) < len(args):
                return None
            return _filtered(inner, function, arguments)
    return None


def _member(inner: Evaluate, key: Any) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        value = inner(scope)
        return value.get(key, ABSENT) if type(value) is dict else member(value, key)

    return evaluate if isinstance(key, str) else lambda scope: member(inner(scope), key)


def _filtered(inner: Evaluate, function: Callable[..., Any], arguments: list[Evaluate]) -> Evaluate:
    if not arguments:
        return lambda scope: function(scope, inner(scope))
    if len(arguments) == 1:
        argument = arguments[0]
        return lambda scope: function(scope, inner(scope), argument(scope))
    return lambda scope: function(scope, inner(scope), *[one(scope) for one in arguments])
