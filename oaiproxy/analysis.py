"""A template's syntax tree to what it reads and what is wrong in it, before any request comes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jinja2 import nodes

from oaiproxy.diagnostics import did_you_mean
from oaiproxy.sandbox import Sandbox

Shape: TypeAlias = Any
"""What a name holds: a dict of attributes, a list of one item's shape, the name of a scalar type, None for anything."""
Shapes: TypeAlias = Mapping[str, Shape]
"""The names in scope; with a `*` among them, any other name may be there too."""


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression stands for, as far as it is known: its shape, and the path of names that leads to it."""

    shape: Shape = None
    path: str = ""


Bound: TypeAlias = dict[str, Value]
"""Local names: loop variables and those of `$let`."""
ANYTHING = Value()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, at a stretch of the template's text."""

    code: str
    message: str
    offset: int
    length: int
    label: str = ""
    help: str = ""


class Analysis:
    """One template's walk. `reads` gains every path read; a path that is used whole ends in `.*`."""

    def __init__(
        self,
        sandbox: Sandbox,
        shapes: Shapes,
        tokens: Sequence[tuple[int, str, str]],
        report: Callable[[Finding], None],
        reads: set[str],
    ) -> None:
        self._sandbox = sandbox
        self._shapes = shapes
        self._tokens = [token for token in tokens if token[1] not in ("whitespace", "data")]
        self._claimed: set[int] = set()
        self._report = report
        self._reads = reads

    def template(self, template: nodes.Template, bound: Bound) -> None:
        """Walk a text template."""
        self._body(template.body, dict(bound))

    def items(self, expression: nodes.Node, bound: Bound) -> Value:
        """What one item of the expression's list is."""
        return _item(self.expression(expression, bound))

    def expression(self, node: nodes.Node, bound: Bound, *, used: bool = False) -> Value:
        """Walk an expression. `used` tells that its value is taken whole."""
        value = self._value(node, bound)
        if used and value.path and (value.shape is None or isinstance(value.shape, dict | list)):
            self._reads.add(value.path + ".*")
        return value

    def _value(self, node: nodes.Node, bound: Bound) -> Value:
        match node:
            case nodes.Name(name=name):
                return self._name(name, bound)
            case nodes.Getattr(node=owner, attr=key) | nodes.Getitem(node=owner, arg=nodes.Const(value=str() as key)):
                return self._member(self._value(owner, bound), key)
            case nodes.Getitem(node=owner, arg=index):
                self.expression(index, bound)
                return _item(self._value(owner, bound))
            case nodes.Filter():
                return self._filter(node, bound)
            case nodes.Test(node=subject, name=name, args=args):
                self.expression(subject, bound)
                self._arguments(args, bound)
                if name not in self._sandbox.tests:
                    self._unknown("E209", "test", name, self._sandbox.tests)
                return Value("boolean")
            case nodes.Call(node=function, args=args, kwargs=named):
                self._call(function, bound)
                self._arguments([*args, *[pair.value for pair in named]], bound)
                return ANYTHING
            case nodes.CondExpr(test=test, expr1=then, expr2=other):
                self.expression(test, bound)
                value = self.expression(then, bound, used=True)
                if other is not None:
                    self.expression(other, bound, used=True)
                return value
        for child in node.iter_child_nodes():
            self.expression(child, bound, used=True)
        return ANYTHING

    def _name(self, name: str, bound: Bound) -> Value:
        if name in bound:
            return bound[name]
        if name in self._shapes:
            self._reads.add(name)
            return Value(self._shapes[name], name)
        if name not in self._sandbox.globals and "*" not in self._shapes:
            self._unknown("E203", "name", name, [*bound, *self._shapes])
        return ANYTHING

    def _member(self, owner: Value, key: str) -> Value:
        path = f"{owner.path}.{key}" if owner.path else ""
        if path:
            self._reads.add(path)
        if isinstance(owner.shape, dict):
            if key in owner.shape or "*" in owner.shape:
                return Value(owner.shape.get(key), path)
            self._unknown("E204", "attribute", key, owner.shape, of=owner.path)
        elif isinstance(owner.shape, str | list):
            what = owner.shape if isinstance(owner.shape, str) else "list"
            place = self._place(key)
            self._report(Finding("E204", f"`{owner.path}` is a {what} and has no attribute `{key}`", *place))
        return Value(None, path)

    def _filter(self, node: nodes.Filter, bound: Bound) -> Value:
        subject = self._value(node.node, bound) if node.node is not None else ANYTHING
        self._arguments([*node.args, *[pair.value for pair in node.kwargs]], bound)
        if node.name not in self._sandbox.filters:
            self._unknown("E202", "filter", node.name, self._sandbox.filters)
            return ANYTHING
        self._check_arity(node)
        if node.name == "default":
            return subject
        if node.name in ("first", "last"):
            return _item(subject)
        if node.name in ("select", "reject", "selectattr", "rejectattr", "unique"):
            return subject
        if node.name == "map" and node.kwargs and isinstance(node.kwargs[0].value, nodes.Const):
            self._member(_item(subject), str(node.kwargs[0].value.value))
        elif node.name not in ("length",) and subject.path:
            self._reads.add(subject.path + ".*")
        return ANYTHING

    def _check_arity(self, node: nodes.Filter) -> None:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            return
        signature = inspect.signature(self._sandbox.filters[node.name])
        try:
            signature.bind(None, *node.args, **{str(pair.key): None for pair in node.kwargs})
        except TypeError:
            wanted = ", ".join(str(one).split(":")[0] for one in list(signature.parameters.values())[1:])
            label = f"write `{node.name}({wanted})`" if wanted else "it takes no arguments"
            self._report(
                Finding("E206", f"filter `{node.name}` takes other arguments", *self._place(node.name), label=label)
            )

    def _arguments(self, arguments: Sequence[nodes.Expr], bound: Bound) -> None:
        for argument in arguments:
            self.expression(argument, bound, used=True)

    def _call(self, function: nodes.Node, bound: Bound) -> None:
        match function:
            case nodes.Name(name=name) if name in self._sandbox.globals or name in bound:
                return
            case nodes.Getattr(node=nodes.Name(name="loop")):
                return
            case nodes.Name(name=name):
                self._finding("E207", f"`{name}` is not a function: templates work with names and filters", name)
            case nodes.Getattr(attr=name):
                self.expression(function.node, bound)
                known = did_you_mean(name, self._sandbox.filters)
                self._finding("E207", f"data has no methods: `{name}()` cannot be called", name, label=known)
            case _:
                self.expression(function, bound)

    def _body(self, body: Sequence[nodes.Node], bound: Bound) -> None:
        for node in body:
            self._statement(node, bound)

    def _statement(self, node: nodes.Node, bound: Bound) -> None:
        match node:
            case nodes.Output(nodes=parts):
                for part in parts:
                    self.expression(part, bound, used=True)
            case nodes.For(target=target, iter=items, test=test, body=body, else_=other):
                inside = bound | {"loop": ANYTHING} | dict.fromkeys(_targets(target), ANYTHING)
                item = self.items(items, bound)
                if isinstance(target, nodes.Name):
                    inside[target.name] = item
                if test is not None:
                    self.expression(test, inside)
                self._body(body, inside)
                self._body(other, bound)
            case nodes.If(test=test, body=body, elif_=elifs, else_=other):
                self.expression(test, bound)
                self._body([*body, *elifs, *other], bound)
            case nodes.Assign(target=target, node=value):
                found = self.expression(value, bound, used=True)
                bound.update(dict.fromkeys(_targets(target), found if isinstance(target, nodes.Name) else ANYTHING))
            case nodes.AssignBlock(target=target, body=body):
                self._body(body, bound)
                bound.update(dict.fromkeys(_targets(target), ANYTHING))
            case nodes.Macro(name=name, args=args, body=body):
                bound[name] = ANYTHING
                self._body(body, bound | {argument.name: ANYTHING for argument in args})
            case nodes.Include() | nodes.Import() | nodes.FromImport() | nodes.Extends() | nodes.Block():
                word = type(node).__name__.lower()
                self._finding("E207", f"`{{% {word} %}}` is not for mappings: a template stands alone", word)
            case nodes.Expr():
                self.expression(node, bound)
            case _:
                for child in node.iter_child_nodes():
                    self._statement(child, bound)

    def _unknown(self, code: str, what: str, name: str, known: Any, of: str = "") -> None:
        message = f"unknown {what} `{name}`" + (f" of `{of}`" if of else "")
        self._finding(code, message, name, label=did_you_mean(name, known))

    def _finding(self, code: str, message: str, name: str, label: str = "") -> None:
        self._report(Finding(code, message, *self._place(name), label=label))

    def _place(self, name: str) -> tuple[int, int]:
        """Where the name stands: its first token not yet pointed at."""
        for offset, kind, text in self._tokens:
            if text.strip("'\"") == name and kind in ("name", "string", "operator") and offset not in self._claimed:
                self._claimed.add(offset)
                return offset, len(text)
        return 0, max((offset + len(text) for offset, _, text in self._tokens), default=1)


def _item(value: Value) -> Value:
    shape = value.shape[0] if isinstance(value.shape, list) and value.shape else None
    return Value(shape, value.path)


def _targets(target: nodes.Node) -> list[str]:
    return [name.name for name in target.find_all(nodes.Name)] or (
        [target.name] if isinstance(target, nodes.Name) else []
    )
