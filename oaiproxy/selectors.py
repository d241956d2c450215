"""JMESPath source compiled, from the jmespath library's own syntax tree, to closures that answer as the library does.

https://jmespath.org/specification.html, as jmespath 1.1.0 reads it: where the two differ, the library is followed.
A selector's value is a frame's payload; what came beside the payload is read with functions such as `event()`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, TypeAlias

from oaiproxy.jsontext import Json
from oaiproxy.selector_functions import FUNCTIONS, NUMBERS, Check, Envelope, Evaluate, Expression, argument_check
from oaiproxy.selector_source import Node, SelectorError, SelectorWarning, read_selector

__all__ = ["Envelope", "Selector", "SelectorError", "SelectorWarning", "compile_selector"]


@dataclass(frozen=True, slots=True)
class Selector:
    """A compiled selector.

    `evaluate` raises where the library does: a `jmespath.exceptions.JMESPathError`, or what Python itself raises in the
    library (a bare `TypeError` when a string is ordered with a number).
    """

    source: str
    evaluate: Evaluate = field(repr=False, compare=False)
    warnings: tuple[SelectorWarning, ...] = ()

    def __call__(self, value: Json, envelope: Envelope) -> Json:
        """The selected value; a selector that does not fit the value says nothing: None."""
        try:
            return self.evaluate(value, envelope)
        except (TypeError, ValueError, ArithmeticError, RecursionError):
            return None


def compile_selector(source: str) -> Selector:
    """Compile `source`; raise `SelectorError` for whatever is wrong with it whichever value it meets."""
    tree, found = read_selector(source)
    return Selector(source, _compile(tree), found)


# Compiling. Values are told apart by their exact class, as JSON has no others. 0 and 0.0 are true to JMESPath, unlike
# all else that is false to Python.

_COMPARABLE = (int, float, str)


def _compile(node: Node) -> Evaluate:
    return _COMPILERS[node["type"]](node)


def _itself(value: Json, _: Envelope) -> Json:
    return value


def _compile_literal(node: Node) -> Evaluate:
    constant = node["value"]
    return lambda value, envelope: constant


def _compile_slice(node: Node) -> Evaluate:
    bounds = slice(*node["children"])
    return lambda value, envelope: value[bounds] if isinstance(value, list) else None


def _leaves(node: Node, *kinds: str) -> Iterator[Node]:
    """The operands of nested nodes of these kinds, in order: `a || b || c` is two nodes with three operands."""
    if node["type"] not in kinds:
        yield node
        return
    for child in node["children"]:
        yield from _leaves(child, *kinds)


def _compile_sequence(node: Node) -> Evaluate:
    """`.`, `[0]` and `|`: one after the other, each run of names and indexes folded into one closure."""
    stages: list[Evaluate] = []
    leaves = _leaves(node, "subexpression", "index_expression", "pipe")
    for is_path, run in groupby(leaves, lambda part: part["type"] in ("field", "index")):
        if is_path:
            stages.append(_path([part["value"] for part in run]))
        else:
            stages += [_compile(part) for part in run if part["type"] not in ("identity", "current")]
    match stages:
        case []:
            return _itself
        case [only]:
            return only
        case [first, second]:
            return lambda value, envelope: second(first(value, envelope), envelope)

    def sequence(value: Json, envelope: Envelope) -> Json:
        for stage in stages:
            value = stage(value, envelope)
        return value

    return sequence


def _compile_or(node: Node) -> Evaluate:
    *alternatives, last = [_compile(operand) for operand in _leaves(node, "or_expression")]

    def first_true(value: Json, envelope: Envelope) -> Json:
        for alternative in alternatives:
            found = alternative(value, envelope)
            if found or found.__class__ in NUMBERS:
                return found
        return last(value, envelope)

    return first_true


def _compile_and(node: Node) -> Evaluate:
    *conditions, last = [_compile(operand) for operand in _leaves(node, "and_expression")]

    def first_false(value: Json, envelope: Envelope) -> Json:
        for condition in conditions:
            found = condition(value, envelope)
            if not (found or found.__class__ in NUMBERS):
                return found
        return last(value, envelope)

    return first_false


def _compile_not(node: Node) -> Evaluate:
    operand = _compile(node["children"][0])

    def negation(value: Json, envelope: Envelope) -> bool:
        found = operand(value, envelope)
        return not (found or found.__class__ in NUMBERS)

    return negation


def _compile_list(node: Node) -> Evaluate:
    items = [_compile(child) for child in node["children"]]
    return lambda value, envelope: None if value is None else [item(value, envelope) for item in items]


def _compile_hash(node: Node) -> Evaluate:
    pairs = [(pair["value"], _compile(pair["children"][0])) for pair in node["children"]]
    return lambda value, envelope: None if value is None else {name: item(value, envelope) for name, item in pairs}


# Paths take each name and index without a look at the type of what they take it from: what does not fit raises. Two
# things need more care. Most frames of a stream lack most of what is asked of them, and to raise is slow, so the first
# name is looked for. And a string has items in Python alone, so a path with an index that no name follows is checked.

_MISSES = (KeyError, IndexError, TypeError, AttributeError)


def _compile_step(node: Node) -> Evaluate:
    return _path([node["value"]])


def _path(steps: Sequence[str | int]) -> Evaluate:
    kinds = [str, *map(type, steps), int]
    if (int, int) in pairwise(kinds) or kinds[1] is int:
        return _checked_path(steps)
    return _PATHS.get(len(steps), _long_path)(*steps)


def _checked_path(steps: Sequence[Any]) -> Evaluate:
    def path(value: Json, _: Envelope) -> Json:
        for step in steps:
            if step.__class__ is str:
                if not isinstance(value, dict):
                    return None
                value = value.get(step)
            elif isinstance(value, list) and -len(value) <= step < len(value):
                value = value[step]
            else:
                return None
        return value

    return path


def _name(name: str) -> Evaluate:
    return lambda value, _: value.get(name) if isinstance(value, dict) else None


def _path_of_2(first: str, last: str) -> Evaluate:
    def path(value: Json, _: Envelope) -> Json:
        try:
            return value[first].get(last) if first in value else None
        except _MISSES:
            return None

    return path


def _path_of_3(first: str, second: str | int, last: str) -> Evaluate:
    def path(value: Json, _: Envelope) -> Json:
        try:
            return value[first][second].get(last) if first in value else None
        except _MISSES:
            return None

    return path


def _path_of_4(first: str, second: str | int, third: str | int, last: str) -> Evaluate:
    def path(value: Json, _: Envelope) -> Json:
        try:
            return value[first][second][third].get(last) if first in value else None
        except _MISSES:
            return None

    return path


def _long_path(first: str, *steps: str | int) -> Evaluate:
    *inner, last = steps

    def path(value: Json, _: Envelope) -> Json:
        try:
            if first not in value:
                return None
            value = value[first]
            for step in inner:
                value = value[step]
            return value.get(last)
        except _MISSES:
            return None

    return path


_PATHS: dict[int, Callable[..., Evaluate]] = {1: _name, 2: _path_of_2, 3: _path_of_3, 4: _path_of_4}


# Projections

_Collect: TypeAlias = Callable[[Iterable[Json], Envelope], list[Json]]


def _collect(each: Node) -> _Collect:
    """What `each` selects from every item, nulls left out."""
    if each["type"] == "identity":
        return lambda items, envelope: [item for item in items if item is not None]
    evaluate = _compile(each)
    return lambda items, envelope: [found for item in items if (found := evaluate(item, envelope)) is not None]


def _compile_projection(node: Node) -> Evaluate:
    base, collect = _compile(node["children"][0]), _collect(node["children"][1])

    def projection(value: Json, envelope: Envelope) -> Json:
        items = base(value, envelope)
        return collect(items, envelope) if isinstance(items, list) else None

    return projection


def _compile_value_projection(node: Node) -> Evaluate:
    base, collect = _compile(node["children"][0]), _collect(node["children"][1])

    def projection(value: Json, envelope: Envelope) -> Json:
        items = base(value, envelope)
        return collect(items.values(), envelope) if isinstance(items, dict) else None

    return projection


def _compile_filter(node: Node) -> Evaluate:
    base, each, holds = [_compile(child) for child in node["children"]]

    def projection(value: Json, envelope: Envelope) -> Json:
        items = base(value, envelope)
        if not isinstance(items, list):
            return None
        return [
            found
            for item in items
            if ((held := holds(item, envelope)) or held.__class__ in NUMBERS)
            and (found := each(item, envelope)) is not None
        ]

    return projection


def _compile_flatten(node: Node) -> Evaluate:
    base = _compile(node["children"][0])

    def flatten(value: Json, envelope: Envelope) -> Json:
        items = base(value, envelope)
        if not isinstance(items, list):
            return None
        merged: list[Json] = []
        for item in items:
            merged += item if isinstance(item, list) else (item,)
        return merged

    return flatten


# Comparisons. A boolean equals itself alone, never 0 or 1; within arrays and objects it does, to the library as well.

_ORDERINGS: dict[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def _compile_comparator(node: Node) -> Evaluate:
    left, right = (_compile(child) for child in node["children"])
    if node["value"] in _ORDERINGS:
        return _ordering(_ORDERINGS[node["value"]], left, right)
    if node["value"] == "ne":
        return _inequality(left, right)
    if node["children"][1]["type"] == "literal":
        return _equality_with(left, node["children"][1]["value"])
    return _equality(left, right)


def _ordering(compare: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    def ordering(value: Json, envelope: Envelope) -> Json:
        one, other = left(value, envelope), right(value, envelope)
        if one.__class__ in _COMPARABLE and other.__class__ in _COMPARABLE:
            return compare(one, other)
        return None

    return ordering


def _equality(left: Evaluate, right: Evaluate) -> Evaluate:
    def equality(value: Json, envelope: Envelope) -> bool:
        one, other = left(value, envelope), right(value, envelope)
        if one.__class__ is bool or other.__class__ is bool:
            return one is other
        return bool(one == other)

    return equality


def _inequality(left: Evaluate, right: Evaluate) -> Evaluate:
    equality = _equality(left, right)
    return lambda value, envelope: not equality(value, envelope)


def _equality_with(left: Evaluate, constant: Json) -> Evaluate:
    if constant is None or isinstance(constant, bool):
        return lambda value, envelope: left(value, envelope) is constant
    if isinstance(constant, NUMBERS):
        return _equality(left, lambda value, envelope: constant)
    return lambda value, envelope: left(value, envelope) == constant


# Calls


def _compile_call(node: Node) -> Evaluate:
    function = FUNCTIONS[node["value"]]
    arguments = [_compile(child) for child in node["children"]]
    # Of the arguments that a variadic parameter takes only the first is checked, as in the library.
    checks = [argument_check(function.name, types) for types in function.parameters]
    if function.reads_envelope:
        arguments = [lambda value, envelope: envelope, *arguments]
        checks = [lambda argument: None, *checks]
    match arguments, checks:
        case [argument], [check]:
            return _call_of_1(function.call, argument, check)
        case [first, second], [first_check, second_check]:
            return _call_of_2(function.call, first, second, first_check, second_check)
    return _call(function.call, arguments, checks)


# All arguments are evaluated before the first is checked, so that of two failures the library's comes out.


def _call_of_1(call: Callable[[Json], Json], argument: Evaluate, check: Check) -> Evaluate:
    def called(value: Json, envelope: Envelope) -> Json:
        resolved = argument(value, envelope)
        check(resolved)
        return call(resolved)

    return called


def _call_of_2(
    call: Callable[[Json, Json], Json], first: Evaluate, second: Evaluate, first_check: Check, second_check: Check
) -> Evaluate:
    def called(value: Json, envelope: Envelope) -> Json:
        one, other = first(value, envelope), second(value, envelope)
        first_check(one)
        second_check(other)
        return call(one, other)

    return called


def _call(call: Callable[..., Json], arguments: Sequence[Evaluate], checks: Sequence[Check]) -> Evaluate:
    def called(value: Json, envelope: Envelope) -> Json:
        resolved = [argument(value, envelope) for argument in arguments]
        for check, argument in zip(checks, resolved, strict=False):
            check(argument)
        return call(*resolved)

    return called


def _compile_expression(node: Node) -> Evaluate:
    evaluate = _compile(node["children"][0])
    return lambda value, envelope: Expression(evaluate, envelope)


_COMPILERS: Mapping[str, Callable[[Node], Evaluate]] = {
    "and_expression": _compile_and,
    "comparator": _compile_comparator,
    "current": lambda node: _itself,
    "expref": _compile_expression,
    "field": _compile_step,
    "filter_projection": _compile_filter,
    "flatten": _compile_flatten,
    "function_expression": _compile_call,
    "identity": lambda node: _itself,
    "index": _compile_step,
    "index_expression": _compile_sequence,
    "literal": _compile_literal,
    "multi_select_dict": _compile_hash,
    "multi_select_list": _compile_list,
    "not_expression": _compile_not,
    "or_expression": _compile_or,
    "pipe": _compile_sequence,
    "projection": _compile_projection,
    "slice": _compile_slice,
    "subexpression": _compile_sequence,
    "value_projection": _compile_value_projection,
}
