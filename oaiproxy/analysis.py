"""A template's syntax tree to what it reads and what is wrong in it, before any request comes."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from jinja2 import nodes

from oaiproxy.diagnostics import closest, did_you_mean
from oaiproxy.filters import check_selector
from oaiproxy.sandbox import LOOP, Sandbox
from oaiproxy.shapes import EndpointShapes, Missing, Shape, Shapes
from oaiproxy.template_fixes import instead_of_function, instead_of_method


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression stands for, as far as it is known: its shape, and the path of names that leads to it."""

    shape: Shape = None
    path: str = ""


Bound: TypeAlias = dict[str, Value]
"""Local names: loop variables and those of `$let`."""
ANYTHING = Value()
MAX_NESTING = 100
"""Levels of one template's syntax tree."""

_LOOP = Value(dict.fromkeys(LOOP))
_STAND_ALONE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)
_REFUSED = (*_STAND_ALONE, nodes.ScopedEvalContextModifier)


class TooDeep(Exception):
    """The template is nested too deeply to be walked."""


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
    """One template's walk. `reads` gains every path read.

    A path that is used whole ends in `.*`, and in `.!key` if it is so without that key; `[]` in it is one item of a
    list, where no loop takes them all, `[1:-1]` are some; `=word` at its end tells that it is compared with that word.

    The nodes are those of `Sandbox.tree`, whose `lineno` is an offset in `text`.
    """

    def __init__(
        self, sandbox: Sandbox, shapes: Shapes, text: str, report: Callable[[Finding], None], reads: set[str]
    ) -> None:
        self._sandbox = sandbox
        self._shapes = shapes
        self._text = text
        self._report = report
        self._reads = reads
        self._depth = 0

    def template(self, template: nodes.Template, bound: Bound) -> None:
        """Walk a text template."""
        self._body(template.body, dict(bound))

    def items(self, expression: nodes.Node, bound: Bound) -> Value:
        """What one item of the expression's list is."""
        return self._each(self.expression(expression, bound))

    def expression(self, node: nodes.Node, bound: Bound, *, used: bool = False) -> Value:
        """Walk an expression. `used` tells that its value is taken whole."""
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise TooDeep
        value = self._value(node, bound)
        self._depth -= 1
        if used and value.path and (value.shape is None or isinstance(value.shape, dict | list)):
            self._reads.add(value.path + ".*")
        return value

    def _value(self, node: nodes.Node, bound: Bound) -> Value:
        match node:
            case nodes.Name(name=name):
                return self._name(node, name, bound)
            case nodes.Const(value=float() as number) if not math.isfinite(number):
                self._report(Finding("E201", "template syntax: the number is too large", node.lineno, 1))
            case nodes.Getattr(node=owner, attr=key) | nodes.Getitem(node=owner, arg=nodes.Const(value=str() as key)):
                return self._member(self.expression(owner, bound), key, node.lineno)
            case nodes.Getitem(node=owner, arg=index):
                self.expression(index, bound)
                value = self.expression(owner, bound)
                return self._slice(value, index) if isinstance(index, nodes.Slice) else self._one(value, index)
            case nodes.Compare(expr=subject, ops=operands):
                value = self.expression(subject, bound)
                for operand in operands:
                    self.expression(operand, bound)
                    self._compared(value, operand)
                return ANYTHING
            case nodes.Filter():
                return self._filter(node, bound)
            case nodes.Test():
                return self._test(node, bound)
            case nodes.Call():
                self._call(node, bound)
                self._arguments(node, bound)
                return ANYTHING
            case nodes.CondExpr(test=test, expr1=then, expr2=other):
                self.expression(test, bound)
                value = self.expression(then, bound, used=True)
                if other is None:
                    return value
                self.expression(other, bound, used=True)
                return ANYTHING
        for child in node.iter_child_nodes():
            self.expression(child, bound, used=not isinstance(node, nodes.Compare | nodes.Not | nodes.Operand))
        return ANYTHING

    def _name(self, node: nodes.Node, name: str, bound: Bound) -> Value:
        if name in bound:
            return bound[name]
        if name in self._shapes:
            self._reads.add(name)
            shape = self._shapes[name]
            if isinstance(shape, Missing):
                self._finding("E213", f"`{name}` needs `{shape.key}`", name, node.lineno, label=shape.fix)
                return ANYTHING
            return Value(shape, name)
        if name in self._sandbox.globals:
            self._finding("E207", f"`{name}` is a function", name, node.lineno, label=f"write `{name}(...)`")
        elif "*" not in self._shapes:
            known = [*bound, *self._shapes, *self._sandbox.globals, *_CONSTANTS]
            if isinstance(self._shapes, EndpointShapes):
                label = self._shapes.elsewhere.get(name, "")
                if not label and self._shapes.reply and not closest(name, known, 0.8):
                    label = f"did you mean `{self._shapes.reply}.{name}`?"
                if label:
                    self._finding("E203", f"unknown name `{name}`", name, node.lineno, label=label)
                    return ANYTHING
            self._unknown("E203", "name", name, known, node.lineno)
        return ANYTHING

    def _member(self, owner: Value, key: str, offset: int) -> Value:
        path = f"{owner.path}.{key}" if owner.path else ""
        if path:
            self._reads.add(path)
        if isinstance(owner.shape, dict):
            if key in owner.shape or "*" in owner.shape:
                return Value(owner.shape.get(key), path)
            self._unknown("E204", "attribute", key, owner.shape, offset, of=owner.path)
        elif isinstance(owner.shape, str | list | tuple):
            what = {list: "list", tuple: "text"}.get(type(owner.shape)) or owner.shape
            message = f"`{owner.path}` is a {what} and has no attribute `{key}`"
            label = "take an item of it: `[0]`, `first`, or a loop" if what == "list" else ""
            label = "write `| length`" if key == "length" else label
            self._finding("E204", message, key, offset, label=label)
        return Value(None, path)

    def _filter(self, node: nodes.Filter, bound: Bound) -> Value:
        subject = self.expression(node.node, bound) if node.node is not None else ANYTHING
        self._arguments(node, bound)
        if node.name not in self._sandbox.filters:
            self._unknown("E202", "filter", node.name, self._sandbox.filters, node.lineno)
            return ANYTHING
        self._check_arity("filter", node, self._sandbox.filters[node.name])
        match node.name, [*node.args, *node.kwargs]:
            case "map", [nodes.Keyword(key="attribute", value=nodes.Const(value=str() as path)), *_]:
                self._path(self._each(subject), path, node.lineno)
                return ANYTHING
            case "map", [nodes.Const(value=str() as name), *_] if name not in self._sandbox.filters:
                self._unknown("E202", "filter", name, self._sandbox.filters, node.lineno)
            case "selectattr" | "rejectattr", [nodes.Const(value=str() as path), *rest]:
                value = self._path(_item(subject), path, node.lineno)
                if node.name == "selectattr" and len(rest) == 2 and isinstance(rest[0], nodes.Const):
                    self._compared(value, nodes.Operand(_EQUALITIES.get(rest[0].value, ""), rest[1]))
                self._check_test(rest[:1], node.lineno)
            case "strip_keys", keys if subject.path:
                self._reads.update(f"{subject.path}.!{key}" for each in keys for key in _words(each))
            case "select" | "reject", rest:
                self._check_test(rest[:1], node.lineno)
            case "jmes", [nodes.Const(value=str() as text)]:
                if fault := check_selector(text):
                    self._report(Finding("E301", f"selector: {fault}", self._find(text, node.lineno), len(text)))
                if subject.path:
                    self._reads.update(f"{subject.path}.{name}" for name in _IDENTIFIER.findall(text))
        if node.name == "default" and isinstance(subject.shape, tuple):
            return replace(subject, shape=_with_default(subject.shape, node.args))
        return self._filtered(node.name, subject)

    def _filtered(self, name: str, subject: Value) -> Value:
        if name in ("first", "last"):
            return self._one(subject, None)
        if name in ("default", "select", "reject", "selectattr", "rejectattr", "unique"):
            return subject
        if name != "length" and subject.path:
            self._reads.add(subject.path + ".*")
        if name == "jmes" and subject.path:
            self._reads.add(f"{subject.path}.!{PICKED}")
        return Value(None, subject.path) if name in ("strip_keys", "merge") else ANYTHING

    def _path(self, value: Value, path: str, offset: int) -> Value:
        for key in path.split("."):
            value = self._member(value, key, offset)
        return value

    def _each(self, value: Value) -> Value:
        """What every item of a list is, where all are taken."""
        item = _item(value)
        if value.path and isinstance(item.shape, str):
            self._reads.add(value.path + ".*")
        return item

    def _one(self, value: Value, index: nodes.Node | None) -> Value:
        """One item of a list: that at the index, or at an end of it."""
        item = _item(value)
        if not value.path or not (index is None or isinstance(value.shape, list) or _is_number(index)):
            return item
        path = value.path + "[]"
        self._reads.add(path)
        return Value(item.shape, path)

    def _slice(self, value: Value, index: nodes.Slice) -> Value:
        """Some items of a list: which, its path tells; `[?]` in it are items that are not known."""
        if not value.path or not (value.shape is None or isinstance(value.shape, list)):
            return value
        bounds = [_bound(each) for each in (index.start, index.stop)]
        known = index.step is None and None not in bounds
        path = value.path + (f"[{':'.join(map(str, bounds))}]" if known else "[?]")
        self._reads.add(path)
        return Value(value.shape, path)

    def _compared(self, value: Value, operand: nodes.Operand) -> None:
        match operand:
            case nodes.Operand(op="eq", expr=nodes.Const(value=str() as word)):
                words = [word]
                self._check_word(value, word, operand.expr.lineno)
            case nodes.Operand(op="in", expr=nodes.List(items=items) | nodes.Tuple(items=items)):
                words = [item.value for item in items if isinstance(item, nodes.Const)]
            case _:
                return
        if value.path:
            self._reads.update(f"{value.path}={word}" for word in words)

    def _check_word(self, value: Value, word: str, offset: int) -> None:
        """Report a word that the value never is."""
        if isinstance(value.shape, tuple) and word not in value.shape:
            label = did_you_mean(word, value.shape) or f"it is one of: {', '.join(value.shape)}"
            self._report(Finding("W202", f"`{value.path}` is never `{word}`", offset, len(word) + 2, label))

    def _check_test(self, name: Sequence[nodes.Node], offset: int) -> None:
        match name:
            case [nodes.Const(value=str() as test)] if test not in self._sandbox.tests:
                self._unknown("E209", "test", test, self._sandbox.tests, offset)

    def _test(self, node: nodes.Test, bound: Bound) -> Value:
        self.expression(node.node, bound)
        self._arguments(node, bound)
        if node.name not in self._sandbox.tests:
            self._unknown("E209", "test", node.name, self._sandbox.tests, node.lineno)
        else:
            self._check_arity("test", node, self._sandbox.tests[node.name])
        return Value("boolean")

    def _check_arity(self, what: str, node: nodes.Filter | nodes.Test, function: Any) -> None:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            return
        signature = inspect.signature(function)
        try:
            signature.bind(None, *node.args, **{str(pair.key): None for pair in node.kwargs})
        except TypeError:
            wanted = ", ".join(str(one).split(":")[0] for one in list(signature.parameters.values())[1:])
            label = f"write `{node.name}({wanted})`" if wanted else "it takes no arguments"
            self._finding("E206", f"{what} `{node.name}` takes other arguments", node.name, node.lineno, label=label)

    def _arguments(self, node: nodes.Filter | nodes.Test | nodes.Call, bound: Bound) -> None:
        named = [pair.value for pair in node.kwargs]
        for argument in (*node.args, *named, node.dyn_args, node.dyn_kwargs):
            if argument is not None:
                self.expression(argument, bound, used=True)

    def _call(self, node: nodes.Call, bound: Bound) -> None:
        match node.node:
            case nodes.Name(name=name) if name in self._sandbox.globals or name in bound:
                return
            case nodes.Getattr(node=nodes.Name(name=name), attr="cycle" | "changed") if bound.get(name) is _LOOP:
                return
            case nodes.Name(name=name) as function:
                message = f"`{name}` is not a function: templates work with names and filters"
                fix = instead_of_function(name, node.args, self._sandbox.filters, self._sandbox.globals)
                label = f"write `{name}` without `()`" if name in self._shapes else fix
                self._finding("E207", message, name, function.lineno, label=label)
            case nodes.Getattr(node=owner, attr=name) as function:
                self.expression(owner, bound)
                label = instead_of_method(name, self._sandbox.filters)
                message = f"data has no methods: `{name}()` cannot be called"
                self._finding("E207", message, name, function.lineno, label=label)
            case function:
                self.expression(function, bound)
                self._report(Finding("E207", "only functions can be called", node.lineno, 1))

    def _body(self, body: Iterable[nodes.Node], bound: Bound) -> None:
        for node in body:
            self._depth += 1
            if self._depth > MAX_NESTING:
                raise TooDeep
            self._statement(node, bound)
            self._depth -= 1

    def _statement(self, node: nodes.Node, bound: Bound) -> None:
        match node:
            case nodes.Output(nodes=parts):
                for part in parts:
                    self.expression(part, bound, used=True)
            case nodes.For():
                self._for(node, bound)
            case nodes.If(test=test, body=body, elif_=elifs, else_=other):
                self.expression(test, bound)
                self._body([*body, *elifs, *other], bound)
            case nodes.Assign(target=target, node=value):
                found = self.expression(value, bound, used=not isinstance(target, nodes.Name))
                self._assign(target, found, bound)
            case nodes.AssignBlock(target=target, filter=applied, body=body):
                self._body(body, dict(bound))
                if applied is not None:
                    self.expression(applied, bound)
                self._assign(target, ANYTHING, bound)
            case nodes.With(targets=targets, values=values, body=body):
                inside = dict(bound)
                for target, value in zip(targets, values, strict=True):
                    used = not isinstance(target, nodes.Name)
                    self._assign(target, self.expression(value, bound, used=used), inside)
                self._body(body, inside)
            case nodes.FilterBlock(filter=applied, body=body):
                self.expression(applied, bound)
                self._body(body, dict(bound))
            case nodes.Scope(body=body):
                self._body(body, bound)
            case nodes.Macro() | nodes.CallBlock():
                self._macro(node, bound)
            case nodes.Break() | nodes.Continue() if bound.get("loop") is not _LOOP:
                word = type(node).__name__.lower()
                self._finding("E201", f"template syntax: `{word}` outside of a loop", word, node.lineno)
            case _ if isinstance(node, _REFUSED):
                self._refuse(node)
            case _:
                for child in node.iter_child_nodes():
                    self.expression(child, bound)

    def _for(self, node: nodes.For, bound: Bound) -> None:
        inside = bound | {"loop": _LOOP}
        item = self.items(node.iter, bound)
        self._assign(node.target, item, inside)
        if node.recursive:
            self._finding("E207", "a loop cannot be recursive", "recursive", node.lineno)
        if node.test is not None:
            self.expression(node.test, inside)
        self._body(node.body, inside)
        self._body(node.else_, dict(bound))

    def _macro(self, node: nodes.Macro | nodes.CallBlock, bound: Bound) -> None:
        inside = {name: value for name, value in bound.items() if name != "loop"}
        inside |= dict.fromkeys(("caller", "varargs", "kwargs"), ANYTHING)
        for default in node.defaults:
            self.expression(default, bound, used=True)
        if isinstance(node, nodes.Macro):
            bound[node.name] = inside[node.name] = ANYTHING
        else:
            self.expression(node.call, bound)
        self._body(node.body, inside | {argument.name: ANYTHING for argument in node.args})

    def _assign(self, target: nodes.Node, value: Value, bound: Bound) -> None:
        match target:
            case nodes.Name(name=name):
                bound[name] = value
            case nodes.Tuple(items=parts):
                for part in parts:
                    self._assign(part, ANYTHING, bound)
            case nodes.NSRef(name=name) if name not in bound:
                self._unknown("E203", "name", name, bound, target.lineno)

    def _refuse(self, node: nodes.Node) -> None:
        words: dict[type[nodes.Node], str] = {nodes.FromImport: "from", nodes.ScopedEvalContextModifier: "autoescape"}
        word = words.get(type(node), type(node).__name__.lower())
        why = "a template stands alone" if isinstance(node, _STAND_ALONE) else "text is never HTML here"
        self._finding("E207", f"`{{% {word} %}}` is not for mappings: {why}", word, node.lineno, label="leave it out")

    def _unknown(self, code: str, what: str, name: str, known: Iterable[str], offset: int, of: str = "") -> None:
        message = f"unknown {what} `{name}`" + (f" of `{of}`" if of else "")
        known = list(known)
        label = did_you_mean(name, known)
        if not label and of and known:
            label = f"it has: {', '.join(known)}"
        elif not label and of == "vars":
            label = f"add it under `vars`: `{name}: ...`"
        elif not label and of == "headers":
            label = f"list it under `backend.client_headers`: `[{name.lower()}]`"
        self._finding(code, message, name, offset, label=label)

    def _finding(self, code: str, message: str, name: str, offset: int, label: str = "") -> None:
        self._report(Finding(code, message, self._find(name, offset), len(name), label=label))

    def _find(self, name: str, offset: int) -> int:
        """Where the name stands, at or behind the token that its node begins with."""
        found = self._text.find(name, offset)
        return found if found >= 0 else offset


def _with_default(words: tuple[str, ...], arguments: Sequence[nodes.Expr]) -> Shape:
    """The words that a text can be when `default` stands for an absent one."""
    match arguments:
        case [nodes.Const(value=str() as word)]:
            return (*words, word)
    return "text"


PICKED = "(picked)"
"""What is stripped of a value of which a selector picks a part: nobody knows which."""
_CONSTANTS = ("none", "true", "false")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_EQUALITIES = {"eq": "eq", "equalto": "eq", "==": "eq", "in": "in"}
"""The tests that compare a value with words, and the operators that do the same."""


def _words(node: nodes.Node) -> Iterator[str]:
    """The texts of a constant, or of a list of constants."""
    match node:
        case nodes.Const(value=str() as word):
            yield word
        case nodes.List(items=items):
            for item in items:
                yield from _words(item)


def _bound(node: nodes.Node | None) -> int | str | None:
    """A bound of a slice: "" where there is none, None where it is not known."""
    match node:
        case None:
            return ""
        case nodes.Const(value=int() as number):
            return number
        case nodes.Neg(node=nodes.Const(value=int() as number)):
            return -number
    return None


def _is_number(node: nodes.Node) -> bool:
    number = node.node if isinstance(node, nodes.Neg) else node
    return isinstance(number, nodes.Const) and isinstance(number.value, int)


def _item(value: Value) -> Value:
    shape = value.shape[0] if isinstance(value.shape, list) and value.shape else None
    return Value(shape, value.path)
