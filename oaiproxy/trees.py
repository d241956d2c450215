"""A YAML tree with template leaves and `$` directives to a function of a scope that builds the same tree as data.

What is absent drops its key or item, and a mapping or list of which nothing is left drops too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from oaiproxy.analysis import ANYTHING, Bound
from oaiproxy.diagnostics import closest, did_you_mean
from oaiproxy.directives import DIRECTIVES, instead_of, meant_by
from oaiproxy.filters import kind
from oaiproxy.lowering import Evaluate
from oaiproxy.nodes import short
from oaiproxy.scopes import ABSENT, Absent, RenderError, Scope
from oaiproxy.shapes import joined
from oaiproxy.source import Source
from oaiproxy.templates import (
    Compilation,
    check_braces,
    compile_expression,
    compile_leaf,
    compile_loop,
    compile_named,
    compile_subject,
    has_template,
)

Render: TypeAlias = Evaluate
"""A scope to JSON data, or to an absent value."""

MAX_DEPTH = 64
LONG = 256
"""From this many characters on, a string that goes into the tree counts against the request's budget."""

_WHOLE = ("$then", "$match", "$value", "$items")
"""Directives that are the whole node."""
_NEEDS = (("$items", "$for"), ("$then", "$if"), ("$else", "$then"), ("$cases", "$match"))


def compile_tree(source: Source, compilation: Compilation, bound: Bound | None = None) -> Render:
    """Compile a tree; what is wrong in it goes to the compilation's findings."""
    tree = _Tree(compilation).node(source, bound or {}, 0)
    if compilation.trace is not None:
        tree = compilation.trace.tree(tree, source)

    def render(scope: Scope) -> Any:
        try:
            value = tree(scope)
            scope.budget.weigh(value)
        except RecursionError as error:
            raise RenderError("the request is nested too deeply") from error
        return value

    return render if isinstance(source.value, dict | list) else tree


def check_number(source: Source, compilation: Compilation) -> None:
    """Refuse the numbers of YAML that JSON does not have."""
    if isinstance(source.value, float) and not math.isfinite(source.value):
        name = f"`{'.nan' if math.isnan(source.value) else '.inf'}`"
        compilation.report("E212", f"{name} is no number that JSON has", source.span(), label="write a number, or `~`")


def check_constants(source: Source, compilation: Compilation) -> None:
    """Refuse what templates could read here and JSON does not have."""
    if isinstance(source.value, dict | list):
        for child in source if isinstance(source.value, list) else (item for _, item in source.items()):
            check_constants(child, compilation)
    else:
        check_number(source, compilation)


class _Tree:
    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation

    def node(self, source: Source, bound: Bound, depth: int, *, keep: bool = False) -> Render:
        """Any subtree. `keep` tells that it stays when nothing is left in it."""
        trace = self._compilation.trace
        if trace is None:
            return self._node(source, bound, depth, keep)
        apart = replace(self._compilation, reads=set())
        made = _Tree(apart)._node(source, bound, depth, keep)
        self._compilation.reads |= apart.reads
        return trace.node(made, source, apart.reads, bound)

    def _node(self, source: Source, bound: Bound, depth: int, keep: bool) -> Render:
        if depth > MAX_DEPTH:
            self._report(source, f"the tree is deeper than {MAX_DEPTH}")
            return _absent
        match source.value:
            case str() if has_template(source.value):
                return compile_leaf(source, self._compilation, bound).evaluate
            case str():
                check_braces(source, self._compilation, bound)
            case dict():
                if "$for" in source.value:
                    self._report_for(source["$for"])
                    loop = compile_loop(source["$for"], self._compilation, bound)
                    bound = loop.bound if loop else bound
                return self._mapping(source, bound, depth, keep)
            case list():
                return self._list(source, bound, depth, keep)
        check_number(source, self._compilation)
        return _constant(source.value)

    def _mapping(self, source: Source, bound: Bound, depth: int, keep: bool = False) -> Render:
        """The node without its `$for`: `$let`, then `$if`, then the value."""
        meant = self._misspelled(source, bound)
        self._check_company(source, meant)
        if "$cases" in meant:
            return _absent
        if meant & {"$for", "$let"}:  # they bring names
            shapes = joined(self._compilation.shapes, {"*": None})
            return _Tree(replace(self._compilation, shapes=shapes))._chosen(source, bound, depth, keep)
        return self._chosen(source, bound, depth, keep)

    def _chosen(self, source: Source, bound: Bound, depth: int, keep: bool) -> Render:
        given = source.value
        names, bound = self._names(source, bound, depth)
        test = compile_expression(source["$if"], self._compilation, bound) if "$if" in given else None
        if "$then" in given:
            then = self.node(source["$then"], bound, depth + 1)
            other = self.node(source["$else"], bound, depth + 1) if "$else" in given else _absent
            return _let(names, _choose(test or _absent, then, other))
        value = self._value(source, bound, depth, keep or given.get("$keep_empty") is True)
        return _let(names, value if test is None else _choose(test, value, _absent))

    def _names(self, source: Source, bound: Bound, depth: int) -> tuple[dict[str, Render], Bound]:
        """The names of `$let`; each sees those before it."""
        names: dict[str, Render] = {}
        if "$let" not in source.value:
            return names, bound
        if not isinstance(source.value["$let"], dict):
            self._report(source["$let"], "`$let` needs a mapping of names", label="write `$let: {name: tree}`")
            return names, bound
        for name, child in source["$let"].items():
            if not name.isidentifier():
                self._report(child, f"`{name}` is not a name", label="use letters, digits and `_`")
            found = ANYTHING
            if isinstance(child.value, str) and has_template(child.value):
                names[name], found = compile_named(child, self._compilation, bound)
            else:
                names[name] = self._node(child, bound, depth + 1, False)
            if trace := self._compilation.trace:
                names[name] = trace.named(names[name], name, child, self._compilation.reads)
            bound = bound | {name: found}
        return names, bound

    def _value(self, source: Source, bound: Bound, depth: int, keep: bool) -> Render:
        given = source.value
        if "$value" in given:
            return self.node(source["$value"], bound, depth + 1, keep=keep)
        if "$items" in given:
            return self._several(source["$items"], bound, depth)
        if "$match" in given:
            return self._match(source, bound, depth)
        items = [(_literal(key), self.node(child, bound, depth + 1)) for key, child in _plain(source)]
        merged = self._merged(source["$merge"], bound, depth) if "$merge" in given else []
        return _object(items, merged, source, keep=keep or not (items or merged))

    def _several(self, source: Source, bound: Bound, depth: int) -> Render:
        """The items that a loop makes of one."""
        written = isinstance(source.value, list | dict) or (
            isinstance(source.value, str) and has_template(source.value)
        )
        if not written:
            self._report(
                source, f"`$items` needs a list, not {kind(source.value)}", label="write `$items: [tree, tree]`"
            )
        tree = self._opened(source, bound, depth + 1)

        def render(scope: Scope) -> Any:
            value = tree(scope)
            if not isinstance(value, list | Absent):
                raise _error(f"`$items` needs a list, not {kind(value)}", source)
            return value

        return render

    def _merged(self, source: Source, bound: Bound, depth: int) -> list[Render]:
        if not isinstance(source.value, list):
            self._report(source, "`$merge` needs a list of trees", label="write `$merge: [tree, tree]`")
            return []
        for child in source:
            if not isinstance(child.value, dict) and not (isinstance(child.value, str) and has_template(child.value)):
                self._report(child, f"`$merge` joins objects, not {kind(child.value)}", label="write a mapping")
        return [self._opened(child, bound, depth + 1) for child in source]

    def _opened(self, source: Source, bound: Bound, depth: int) -> Render:
        """A subtree whose items go into another one."""
        tree, trace = self.node(source, bound, depth), self._compilation.trace
        return tree if trace is None else trace.opened(tree)

    def _match(self, source: Source, bound: Bound, depth: int) -> Render:
        subject, shape = compile_subject(source["$match"], self._compilation, bound)
        cases = source.value.get("$cases")
        if not isinstance(cases, dict):
            place = source["$cases"] if "$cases" in source.value else source["$match"]
            self._report(place, "`$match` needs `$cases`", label="write `$cases: {value: tree}` beside it")
            return _absent
        other: Render = _absent
        trees: dict[str, Render] = {}
        for key, child in source["$cases"].items():
            tree = self.node(child, bound, depth + 1)
            if key == "$else":
                other = tree
                continue
            plain, name = self._is_plain(child, key), _literal(key)
            if plain and key.startswith("$") and not key.startswith("$$"):
                self._unknown(child, key, ["$else"])
            elif plain and isinstance(shape, tuple) and name not in shape:
                self._never(source["$match"], child, name, shape)
            trees[name] = tree
            trees.setdefault(_case_name(name), tree)
        words = source.value["$cases"]
        words = words if "$else" in words else [*words, ONLY]
        self._compilation.reads.update(_compared(source["$match"].value, words, bound))
        return _cases(subject, trees, other)

    def _never(self, subject: Source, child: Source, name: str, words: tuple[str, ...]) -> None:
        """A case that no request leads to: what it was meant for would be lost."""
        message = f"`{subject.value}` is never `{name}`"
        help_ = f"it is one of: {', '.join(words)}"
        self._compilation.report("E210", message, child.span(key=True), label=did_you_mean(name, words), help=help_)

    def _list(self, source: Source, bound: Bound, depth: int, keep: bool) -> Render:
        items: list[tuple[Render, bool]] = []
        for child in source:
            if isinstance(child.value, dict) and "$for" in child.value:
                items.append((self._repeated(child, bound, depth + 1), True))
            else:
                items.append((self.node(child, bound, depth + 1), False))
        return _array(items, keep or not items)

    def _repeated(self, source: Source, bound: Bound, depth: int) -> Render:
        operand = source["$for"]
        loop = compile_loop(operand, self._compilation, bound)
        if loop is None:
            return _absent
        body = self._mapping(source, loop.bound, depth)
        name, items, condition = loop.name, loop.items, loop.condition
        if trace := self._compilation.trace:
            items = trace.looped(items, name, operand, self._compilation.reads)
        several = "$items" in source.value

        def render(scope: Scope) -> list[Any]:
            values = items(scope)
            if isinstance(values, Absent):
                return []
            if not isinstance(values, list):
                raise _error(f"`$for: {operand.value}` needs a list, not {kind(values)}", operand)
            scope.budget.step(len(values))
            made = []
            for value in values:
                inside = scope.inner({name: value})
                if condition is None or condition(inside):
                    item = body(inside)
                    if isinstance(item, Absent):
                        continue
                    if several:
                        made.extend(item)
                    else:
                        made.append(item)
            return made

        return render

    def _misspelled(self, source: Source, bound: Bound) -> set[str]:
        """Report the unknown directives; those that they are meant to be."""
        meant, known = set(), {*self._compilation.shapes, *bound}
        for key, child in source.items():
            marked = key.startswith("$") and not key.startswith("$$")
            if self._is_plain(child, key) and marked and key not in DIRECTIVES:
                self._unknown(child, key, DIRECTIVES)
                meant.add(closest(key, DIRECTIVES))
            elif directive := meant_by(key, source.value, known, self._compilation.sandbox):
                message, label = f"`{key}` is a plain key, no directive", f"did you mean `{directive}`?"
                self._compilation.report("E208", message, child.span(key=True), label=label)
                meant.add(directive)
        return meant

    def _is_plain(self, source: Source, key: str) -> bool:
        """Whether a key is no template and holds no reference; if it does, its author means what does not happen."""
        reference = not key.startswith("$$") and "${" in key
        if not reference and not has_template(key):
            return True
        what = "`${...}` is replaced in values only" if reference else "templates stand in values only"
        label = 'to compute a key, merge an object: `$merge: ["{{ {vars.key: value} }}"]`'
        self._compilation.report("E211", f"`{short(key)}` is a key: {what}", source.span(key=True), label=label)
        return False

    def _check_company(self, source: Source, meant: set[str]) -> None:
        """Directives that make no sense alone or together."""
        given = source.value
        plain = next((key for key, _ in _plain(source)), None) if not meant else None
        for key, needs in _NEEDS:
            if key in given and needs not in given and needs not in meant:
                self._report(source[key], f"`{key}` stands without `{needs}`", label=f"add `{needs}` beside it")
        whole = [key for key in _WHOLE if key in given]
        beside = [*whole[1:], *(key for key in ("$merge", plain) if key in given)] if whole else []
        for key in filter(None, beside):
            label = f"`{whole[0]}` is the whole node"
            self._report(source[key], f"`{key}` cannot stand beside `{whole[0]}`", label=label)
        if "$keep_empty" in given:
            if not isinstance(given["$keep_empty"], bool):
                self._report(source["$keep_empty"], "`$keep_empty` is not true or false", label="write `true`")
            for key in ("$then", "$match"):
                if key in given:
                    label = "put it into the subtrees"
                    self._report(source["$keep_empty"], f"`$keep_empty` cannot stand beside `{key}`", label=label)

    def _report_for(self, source: Source) -> None:
        self._report(source, "`$for` repeats list items, and this is none", label="put it on an item of a list")

    def _unknown(self, source: Source, key: str, known: Any) -> None:
        message = f"unknown directive `{key}`"
        self._compilation.report("E208", message, source.span(key=True), label=instead_of(key, known))

    def _report(self, source: Source, message: str, label: str = "") -> None:
        self._compilation.report("E205", message, source.span(key=True), label=label)


ONLY = "$only"
"""In reads, the word of a name whose other cases make nothing."""


def _plain(source: Source) -> Iterator[tuple[str, Source]]:
    """The children of a mapping that are no directives."""
    return ((key, child) for key, child in source.items() if not key.startswith("$") or key.startswith("$$"))


def _compared(operand: Any, words: Iterable[str], bound: Bound) -> Iterator[str]:
    """The reads that the cases of a plain name add to its own: `path=word`."""
    name, dot, rest = str(operand).strip().partition(".")
    path = bound[name].path if name in bound else name
    if path and all(step.isidentifier() for step in f"{name}{dot}{rest}".split(".")):
        yield from (f"{path}{dot}{rest}={word}" for word in words)


def _literal(key: str) -> str:
    return key[1:] if key.startswith("$$") else key


def _error(message: str, source: Source) -> RenderError:
    error = RenderError(message)
    error.source = source
    return error


def _absent(_: Scope) -> Any:
    return ABSENT


def _constant(value: Any) -> Render:
    return lambda scope: value


def _let(names: dict[str, Render], body: Render) -> Render:
    if not names:
        return body

    def render(scope: Scope) -> Any:
        for name, tree in names.items():
            value = tree(scope)
            if isinstance(value, dict | list):
                scope.budget.shared = True
            scope = scope.inner({name: value})
        return body(scope)

    return render


def _choose(test: Evaluate, then: Render, other: Render) -> Render:
    return lambda scope: then(scope) if test(scope) else other(scope)


def _cases(subject: Evaluate, trees: dict[str, Render], other: Render) -> Render:
    def render(scope: Scope) -> Any:
        key = _case_key(subject(scope))
        tree = trees.get(key, other) if key is not None else other
        return tree(scope)

    return render


def _case_key(value: Any) -> str | None:
    """A value as the key of a case; None for those that no key can stand for."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return str(value)
        case None:
            return "null"
    return None


def _case_name(key: str) -> str:
    """The key of a case as `_case_key` makes them: YAML's other spellings of null and of whole numbers."""
    if key == "~":
        return "null"
    whole, point, fraction = key.partition(".")
    return whole if point and fraction.strip("0") == "" and whole.lstrip("-").isdecimal() else key


def _object(items: list[tuple[str, Render]], merged: list[Render], source: Source, keep: bool) -> Render:
    def render(scope: Scope) -> Any:
        made: dict[str, Any] = {}
        for tree in merged:
            value = tree(scope)
            if isinstance(value, dict):
                made.update(value)
            elif not isinstance(value, Absent):
                raise _error(f"`$merge` joins objects, not {kind(value)}", source["$merge"])
        for key, tree in items:
            value = tree(scope)
            if isinstance(value, Absent):
                continue
            if type(value) is str and len(value) > LONG:
                scope.budget.grow(len(value))
            made[key] = value
        return made if made or keep else ABSENT

    return render


def _array(items: list[tuple[Render, bool]], keep: bool) -> Render:
    def render(scope: Scope) -> Any:
        made: list[Any] = []
        for tree, spliced in items:
            value = tree(scope)
            if isinstance(value, Absent):
                continue
            if spliced:
                made.extend(value)
                continue
            if type(value) is str and len(value) > LONG:
                scope.budget.grow(len(value))
            made.append(value)
        return made if made or keep else ABSENT

    return render
