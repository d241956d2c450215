"""A YAML tree with template leaves and `$` directives to a function of a scope that builds the same tree as data.

What is absent drops its key or item, and a mapping or list of which nothing is left drops too.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from oaiproxy.analysis import ANYTHING, Bound
from oaiproxy.diagnostics import did_you_mean
from oaiproxy.filters import kind
from oaiproxy.sandbox import ABSENT, Absent, RenderError, Scope
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, Evaluate, compile_expression, compile_leaf, compile_loop, has_template

Render: TypeAlias = Evaluate
"""A scope to JSON data, or to an absent value."""

DIRECTIVES = {
    "$for": "repeat a list item: `$for: x in list` or `$for: x in list if condition`",
    "$let": "local names for the subtree: `$let: {name: tree}`",
    "$if": "absent when false; with `$then` and `$else`, choose a subtree",
    "$then": "the subtree when `$if` is true",
    "$else": "the subtree when `$if` is false",
    "$match": "choose by value, among `$cases`",
    "$cases": "the subtrees of `$match` by value; `$else` is the rest",
    "$value": "the node is this value",
    "$merge": "a list of trees merged under the explicit keys",
    "$keep_empty": "keep the node even when nothing is left in it",
}
MAX_DEPTH = 64


def compile_tree(source: Source, compilation: Compilation, bound: Bound | None = None) -> Render:
    """Compile a tree; what is wrong in it goes to the compilation's findings."""
    return _Tree(compilation).node(source, bound or {}, 0)


class _Tree:
    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation

    def node(self, source: Source, bound: Bound, depth: int) -> Render:
        if depth > MAX_DEPTH:
            self._report(source, f"the tree is deeper than {MAX_DEPTH}")
            return _absent
        match source.value:
            case str() if has_template(source.value):
                return compile_leaf(source, self._compilation, bound).evaluate
            case dict():
                return self._mapping(source, bound, depth)
            case list():
                return self._list(source, bound, depth)
        return _constant(source.value)

    def _mapping(self, source: Source, bound: Bound, depth: int) -> Render:
        directives = {key: child for key, child in source.items() if key.startswith("$") and not key.startswith("$$")}
        for key, child in directives.items():
            if key not in DIRECTIVES:
                self._unknown(child, key)
            elif key == "$for":
                self._report(child, "`$for` repeats list items, and this is none", label="put it on an item of a list")
        return self._body(source, bound, depth)

    def _body(self, source: Source, bound: Bound, depth: int) -> Render:
        """The node without its `$for`: `$let`, then `$if`, then the value."""
        given = source.value
        names: dict[str, Render] = {}
        if "$let" in given:
            if not isinstance(given["$let"], dict):
                self._report(source["$let"], "`$let` needs a mapping of names", label="write `$let: {name: tree}`")
            else:
                for name, child in source["$let"].items():
                    names[name] = self.node(child, bound, depth + 1)
                    bound = bound | {name: ANYTHING}
        self._check_company(source)
        if "$then" in given:
            test = compile_expression(source["$if"], self._compilation, bound) if "$if" in given else _absent
            then = self.node(source["$then"], bound, depth + 1)
            other = self.node(source["$else"], bound, depth + 1) if "$else" in given else _absent
            return _let(names, _choose(test, then, other))
        value = self._value(source, bound, depth)
        if "$if" in given:
            value = _choose(compile_expression(source["$if"], self._compilation, bound), value, _absent)
        return _let(names, value)

    def _value(self, source: Source, bound: Bound, depth: int) -> Render:
        given = source.value
        if "$value" in given:
            return self.node(source["$value"], bound, depth + 1)
        if "$match" in given:
            return self._match(source, bound, depth)
        items = [
            (key[1:] if key.startswith("$$") else key, self.node(child, bound, depth + 1))
            for key, child in source.items()
            if not key.startswith("$") or key.startswith("$$")
        ]
        merged = []
        if "$merge" in given:
            if isinstance(given["$merge"], list):
                merged = [self.node(child, bound, depth + 1) for child in source["$merge"]]
            else:
                self._report(source["$merge"], "`$merge` needs a list of trees", label="write `$merge: [tree, tree]`")
        empty = not items and not merged
        return _object(items, merged, keep=empty or given.get("$keep_empty") is True)

    def _match(self, source: Source, bound: Bound, depth: int) -> Render:
        subject = compile_expression(source["$match"], self._compilation, bound)
        cases = source.value.get("$cases")
        if not isinstance(cases, dict):
            self._report(source["$match"], "`$match` needs `$cases`", label="add `$cases: {value: tree}` beside it")
            return _absent
        trees = {key: self.node(child, bound, depth + 1) for key, child in source["$cases"].items()}
        return _cases(subject, trees, trees.pop("$else", _absent))

    def _list(self, source: Source, bound: Bound, depth: int) -> Render:
        items: list[tuple[Render, bool]] = []
        for child in source:
            if isinstance(child.value, dict) and "$for" in child.value:
                items.append((self._repeated(child, bound, depth + 1), True))
            else:
                items.append((self.node(child, bound, depth + 1), False))
        return _array(items)

    def _repeated(self, source: Source, bound: Bound, depth: int) -> Render:
        self._directives_known(source)
        loop = compile_loop(source["$for"], self._compilation, bound)
        if loop is None:
            return _absent
        body = self._body(source, loop.bound, depth)
        name, items, condition = loop.name, loop.items, loop.condition

        def render(scope: Scope) -> list[Any]:
            values = items(scope)
            if not isinstance(values, list | Absent):
                raise RenderError(f"`$for: {source.value['$for']}` needs a list, not {kind(values)}")
            made = []
            for value in values:
                inside = scope.inner({name: value})
                if condition is None or condition(inside):
                    item = body(inside)
                    if not isinstance(item, Absent):
                        made.append(item)
            return made

        return render

    def _directives_known(self, source: Source) -> None:
        for key, child in source.items():
            if key.startswith("$") and not key.startswith("$$") and key not in DIRECTIVES:
                self._unknown(child, key)

    def _check_company(self, source: Source) -> None:
        """Directives that make no sense alone or together."""
        given = source.value
        plain = [key for key in given if not key.startswith("$") or key.startswith("$$")]
        for key, needs in (("$then", "$if"), ("$else", "$then"), ("$cases", "$match")):
            if key in given and needs not in given:
                self._report(source[key], f"`{key}` stands without `{needs}`", label=f"add `{needs}` beside it")
        for key in ("$then", "$match", "$value"):
            if key in given and plain:
                message = f"`{plain[0]}` cannot stand beside `{key}`"
                self._report(source[plain[0]], message, label=f"`{key}` is the whole node")

    def _unknown(self, source: Source, key: str) -> None:
        fix = did_you_mean(key, DIRECTIVES) or f"a literal key is written `${key}`"
        self._compilation.report("E208", f"unknown directive `{key}`", source.span(key=True), label=fix)

    def _report(self, source: Source, message: str, label: str = "") -> None:
        self._compilation.report("E205", message, source.span(key=bool(source.path)), label=label)


def _absent(_: Scope) -> Any:
    return ABSENT


def _constant(value: Any) -> Render:
    return lambda scope: value


def _let(names: dict[str, Render], body: Render) -> Render:
    if not names:
        return body

    def render(scope: Scope) -> Any:
        for name, tree in names.items():
            scope = scope.inner({name: tree(scope)})
        return body(scope)

    return render


def _choose(test: Evaluate, then: Render, other: Render) -> Render:
    return lambda scope: then(scope) if test(scope) else other(scope)


def _cases(subject: Evaluate, trees: dict[str, Render], other: Render) -> Render:
    def render(scope: Scope) -> Any:
        value = subject(scope)
        key = _case_key(value)
        tree = trees.get(key, other) if key is not None else other
        return tree(scope)

    return render


def _case_key(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(value)
        case None:
            return "null"
    return None


def _object(items: list[tuple[str, Render]], merged: list[Render], keep: bool) -> Render:
    def render(scope: Scope) -> Any:
        made: dict[str, Any] = {}
        for tree in merged:
            value = tree(scope)
            if isinstance(value, dict):
                made.update(value)
            elif not isinstance(value, Absent):
                raise RenderError(f"`$merge` joins objects, not {kind(value)}")
        for key, tree in items:
            value = tree(scope)
            if not isinstance(value, Absent):
                made[key] = value
        return made if made or keep else ABSENT

    return render


def _array(items: list[tuple[Render, bool]]) -> Render:
    def render(scope: Scope) -> Any:
        made: list[Any] = []
        for tree, spliced in items:
            value = tree(scope)
            if isinstance(value, Absent):
                continue
            if spliced:
                made.extend(value)
            else:
                made.append(value)
        return made if made or not items else ABSENT

    return render
