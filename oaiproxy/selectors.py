"""JMESPath source compiled, from the jmespath library's own syntax tree, to closures that answer as the library does.

https://jmespath.org/specification.html, as jmespath 1.1.0 reads it: where the two differ, the library is followed.
A selector's value is a frame's payload; what came beside the payload is read with functions such as `event()`.
"""

from __future__ import annotations

import base64
import json
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, Protocol, TypeAlias

from jmespath import exceptions, functions, lexer, parser

from oaiproxy.diagnostics import did_you_mean
from oaiproxy.jsontext import Json, parse_lenient

MAX_LENGTH = 4096
"""Characters of source."""
MAX_DEPTH = 64
"""Levels of the syntax tree. A path of names is flat; each index, alternative or pipe adds a level."""


class Envelope(Protocol):
    """What a frame carries beside its payload; an empty string, no bytes and status 0 mean that there is none."""

    @property
    def event(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, str]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def status(self) -> int: ...
    @property
    def raw(self) -> bytes: ...


Evaluate: TypeAlias = Callable[[Json, Envelope], Json]
Node: TypeAlias = dict[str, Any]


class SelectorError(ValueError):
    """The source is not a selector. `offset` and `length` count characters; at the very end the length is 0."""

    def __init__(self, message: str, offset: int, length: int, help: str = "") -> None:  # noqa: A002 - Diagnostic's word
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.help = help


@dataclass(frozen=True, slots=True)
class SelectorWarning:
    """Something in a valid selector that surely means another thing than its author thinks."""

    message: str
    offset: int
    length: int
    help: str


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
    tree, tokens = _parse(source)
    placed = _placed(tree, tokens)
    _refuse_misuse(placed, tokens)
    return Selector(source, _compile(tree), tuple(_lint(placed, tokens)))


# Functions


@dataclass(frozen=True, slots=True)
class Function:
    """A function that selectors may call.

    `parameters` are the JMESPath types that each parameter admits, none for any; `variadic` repeats the last one.
    `call` takes the arguments, and before them the envelope if `reads_envelope`.
    """

    name: str
    description: str
    parameters: tuple[tuple[str, ...], ...]
    call: Callable[..., Json]
    variadic: bool = False
    reads_envelope: bool = False

    @property
    def signature(self) -> str:
        """Such as `join(string, array-string)`."""
        types = ["|".join(admitted) or "any" for admitted in self.parameters]
        return f"{self.name}({', '.join(types)}{', ...' if self.variadic else ''})"


class _Expression:
    """The argument that `&` makes. The library knows it by the name of this class, and evaluates it with `visit`."""

    __slots__ = ("envelope", "evaluate")
    expression = None

    def __init__(self, evaluate: Evaluate, envelope: Envelope) -> None:
        self.evaluate = evaluate
        self.envelope = envelope

    def visit(self, _: None, value: Json) -> Json:
        return self.evaluate(value, self.envelope)


_LIBRARY = functions.Functions()

_STANDARD = {
    "abs": "the number without its sign",
    "avg": "the mean of the numbers; null when there are none",
    "ceil": "the number rounded up",
    "contains": "whether the array holds the value, or the string the text",
    "ends_with": "whether the string ends with the text",
    "floor": "the number rounded down",
    "join": "the strings as one text, with the first argument between them",
    "keys": "the names in the object",
    "length": "how many characters, items or names there are",
    "map": "the expression's value for each item, nulls included",
    "max": "the largest number or string; null when there are none",
    "max_by": "the item for which the expression is largest",
    "merge": "one object of all; the last one wins",
    "min": "the smallest number or string; null when there are none",
    "min_by": "the item for which the expression is smallest",
    "not_null": "the first argument that is not null",
    "reverse": "the string or array back to front",
    "sort": "the numbers or strings in order",
    "sort_by": "the items in the order of the expression",
    "starts_with": "whether the string starts with the text",
    "sum": "the sum of the numbers",
    "to_array": "the array itself, or an array of the one value",
    "to_number": "the number that the string spells; null when it spells none",
    "type": "the name of the value's type",
    "values": "the values in the object",
}


def _standard(name: str, description: str) -> Function:
    parameters = functions.Functions.FUNCTION_TABLE[name]["signature"]
    types = tuple(tuple(parameter["types"]) for parameter in parameters)
    return Function(name, description, types, getattr(_LIBRARY, f"_func_{name}"), "variadic" in parameters[-1])


# The library makes this encoder anew in each call.
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def _to_string(value: Json) -> str:
    return value if isinstance(value, str) else _encode(value)


def _concat(*values: Json) -> str:
    return "".join("" if value is None else _to_string(value) for value in values)


def _parse_json(text: str) -> Json:
    try:
        return parse_lenient(text)
    except ValueError:
        return None


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return None


def _header(envelope: Envelope, name: str) -> str | None:
    wanted = name.lower()
    return next((value for key, value in envelope.headers.items() if key.lower() == wanted), None)


def _of_envelope(name: str, description: str, call: Callable[..., Json], *parameters: tuple[str, ...]) -> Function:
    return Function(name, description, parameters, call, reads_envelope=True)


_TEXT = ("string",)

FUNCTIONS: Mapping[str, Function] = {
    function.name: function
    for function in (
        *(_standard(name, description) for name, description in _STANDARD.items()),
        Function("to_string", "the string itself, or the value as compact JSON", ((),), _to_string),
        Function("concat", "the values as one text; null counts as nothing", ((),), _concat, variadic=True),
        Function("parse_json", "the value of the JSON in a string; null when it is not JSON", (_TEXT,), _parse_json),
        Function("from_base64", "the UTF-8 text that was encoded; null when none was", (_TEXT,), _from_base64),
        _of_envelope("event", "the frame's event name", lambda frame: frame.event or None),
        _of_envelope("id", "the frame's id", lambda frame: frame.id or None),
        _of_envelope("field", "a field of the frame by name", lambda frame, name: frame.fields.get(name), _TEXT),
        _of_envelope("header", "a header by name, in any case", _header, _TEXT),
        _of_envelope("status", "the HTTP status, a number", lambda frame: frame.status or None),
        _of_envelope("raw", "the payload as text", lambda frame: frame.raw.decode("utf-8", "replace") or None),
    )
}
"""Every function by name: JMESPath's own, those on text, and those that read the envelope (null when it has none)."""


# Reading the source


@dataclass(frozen=True, slots=True)
class _Token:
    type: str
    text: str
    offset: int


def _parse(source: str) -> tuple[Node, list[_Token]]:
    if len(source) > MAX_LENGTH:
        excess = len(source) - MAX_LENGTH
        raise SelectorError(f"the selector has more than {MAX_LENGTH} characters", MAX_LENGTH, excess)
    if not source.strip(" \t\n\r"):
        raise SelectorError("the selector is empty", 0, len(source), "write `@` for the whole value")
    too_deep = SelectorError(f"the selector is nested more than {MAX_DEPTH} deep", 0, len(source))
    try:
        # The library reads back-ticked text without quotes as a string, and tells Python alone that this is deprecated.
        with warnings.catch_warnings(action="ignore", category=PendingDeprecationWarning):
            tokens = _tokenize(source)
            tree = parser.Parser().parse(source).parsed
    except exceptions.LexerError as error:
        raise _unreadable(error) from None
    except exceptions.ParseError as error:
        raise _misplaced(tokens, error) from None
    except RecursionError:
        raise too_deep from None
    if _depth(tree) > MAX_DEPTH:
        raise too_deep
    return tree, tokens


def _tokenize(source: str) -> list[_Token]:
    # The library's `end` of a token is not to be relied on; its `start` is.
    raw = list(lexer.Lexer().tokenize(source))
    spans = [(token, token["start"], following["start"]) for token, following in pairwise(raw)]
    tokens = [_Token(token["type"], source[start:end].rstrip(" \t\n\r"), start) for token, start, end in spans]
    return [*tokens, _Token("eof", "", len(source))]


def _children(node: Node) -> list[Node]:
    return [] if node["type"] == "slice" else node["children"]


def _depth(tree: Node) -> int:
    # Not recursive: the library parses `a || b || ...` in a loop, to a tree that may be deeper than Python's stack.
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in _children(node)]
    return depth


_HELP_FOR_CHARACTER = {
    "=": "compare with `==`",
    "-": 'write a name that holds a hyphen in double quotes, as in `"x-y"`; there is no arithmetic',
    "$": "leave the `$` out: a selector starts at the value itself",
    "?": "there is no `? :`; decide with a `{{ }}` expression instead",
    **dict.fromkeys("+/%", "there is no arithmetic; compute with a `{{ }}` expression instead"),
}
_HELP_FOR_WORD = {"and": "write `&&`", "or": "write `||`", "not": "write `!`", "&": "write `&&`"}
_CLOSERS = {"lparen": ")", "lbracket": "]", "filter": "]", "lbrace": "}"}
_CLOSING = ("rparen", "rbracket", "rbrace")
_ENDS_VALUE = ("unquoted_identifier", "quoted_identifier", "literal", "number", "current", "star", "flatten", *_CLOSING)


def _unreadable(error: exceptions.LexerError) -> SelectorError:
    first, offset, length = error.lexer_value[0], error.lexer_position, len(error.lexer_value)
    if first not in "'\"`":
        return SelectorError(f"`{first}` is not expected here", offset, length, _HELP_FOR_CHARACTER.get(first, ""))
    if error.message.startswith("Unclosed"):
        return SelectorError(f"the quote {first} is never closed", offset, length, f"end the quotation with {first}")
    return SelectorError(f"what the quote {first} starts is not valid as JSON", offset, length)


def _misplaced(tokens: Sequence[_Token], error: exceptions.ParseError) -> SelectorError:
    if "Quoted identifier" in error.msg:  # the one error that the library always places at 0
        pairs = pairwise(tokens)
        name = next(name for name, after in pairs if (name.type, after.type) == ("quoted_identifier", "lparen"))
        return _at(name, f"`{name.text}` is called as a function", f"write `{name.text[1:-1]}` without quotes")
    at = next(index for index, token in enumerate(tokens) if token.offset >= error.lex_position)
    token = tokens[at]
    if token.type == "eof":
        return _at(token, "the selector ends too early", _help_at_end(tokens))
    return _at(token, f"`{token.text}` is not expected here", _help_for(token, tokens[at - 1]))


def _help_at_end(tokens: Sequence[_Token]) -> str:
    last = tokens[-2]
    if last.type not in _ENDS_VALUE:
        return f"something must follow `{last.text}`"
    waiting: list[_Token] = []
    for token in tokens:
        if token.type in _CLOSERS:
            waiting.append(token)
        elif token.type in _CLOSING and waiting:
            waiting.pop()
    return f"close `{waiting[-1].text}` with `{_CLOSERS[waiting[-1].type]}`" if waiting else ""


def _help_for(token: _Token, before: _Token) -> str:
    name = token.text.strip("'\"`")
    match before.type, token.type:
        case "dot", "number":
            return f"write `[{name}]` for an item of a list"
        case "dot", "literal":
            return f'write a field\'s name in double quotes: `"{name}"`'
        case "lbracket", "literal" | "quoted_identifier" | "unquoted_identifier":
            return "write a field's name after a dot, without brackets"
        case _, "number":
            return f"write a number in back-ticks: `` `{name}` ``"
    return _HELP_FOR_WORD.get(token.text) or _HELP_FOR_WORD.get(before.text, "")


def _at(token: _Token, message: str, help: str = "") -> SelectorError:  # noqa: A002 - Diagnostic's word
    return SelectorError(message, token.offset, len(token.text), help)


# What is wrong or odd whichever value comes

_NODE_OF_TOKEN = {
    "not": "not_expression",
    "expref": "expref",
    **dict.fromkeys(("eq", "ne", "lt", "lte", "gt", "gte"), "comparator"),
}


def _placed(tree: Node, tokens: Sequence[_Token]) -> list[tuple[Node, int]]:
    """All nodes in the order of the source, each with the index of the token that it is known by, or -1.

    The tree has no positions, but it keeps that order: its n-th call is the n-th parenthesis that calls.
    """
    marks: dict[str, list[int]] = {"function_expression": [], "slice": []}
    for index, token in enumerate(tokens):
        before = tokens[index - 1].type if index else ""
        following = [token.type for token in tokens[index + 1 : index + 3]]
        if kind := _NODE_OF_TOKEN.get(token.type):
            marks.setdefault(kind, []).append(index)
        elif token.type == "lparen" and before in ("unquoted_identifier", "rparen"):
            marks["function_expression"].append(index)
        elif token.type == "lbracket" and (following[0] == "colon" or following == ["number", "colon"]):
            marks["slice"].append(index)
    iterators = {kind: iter(indexes) for kind, indexes in marks.items()}
    return [(node, next(iterators.get(node["type"], iter(())), -1)) for node in _in_order(tree)]


def _in_order(node: Node) -> Iterator[Node]:
    children = _children(node)
    if node["type"] == "comparator":
        yield from _in_order(children[0])
        children = children[1:]
    elif node["type"] == "filter_projection":  # the tree has the condition last, the source has it in the middle
        children = [children[0], children[2], children[1]]
    yield node
    for child in children:
        yield from _in_order(child)


def _refuse_misuse(placed: Iterable[tuple[Node, int]], tokens: Sequence[_Token]) -> None:
    admitted: set[int] = set()
    for node, at in placed:
        match node["type"]:
            case "function_expression":
                function = _called(node, _name_before(tokens, at))
                pairs = zip(function.parameters, node["children"], strict=False)
                admitted.update(id(child) for types, child in pairs if "expref" in types)
            case "expref" if id(node) not in admitted:
                raise _at(
                    tokens[at], "`&` stands where no function takes an expression", "write `&&` for a logical and"
                )
            case "slice" if node["children"][2] == 0:
                raise _at(tokens[at], "a slice cannot have a step of 0", "leave the step out")


def _called(node: Node, name: _Token) -> Function:
    function = FUNCTIONS.get(node["value"])
    if function is None:
        raise _at(name, f"there is no function `{node['value']}()`", did_you_mean(node["value"], FUNCTIONS))
    given, wanted = len(node["children"]), len(function.parameters)
    if given < wanted or (given > wanted and not function.variadic):
        count = f"{'at least ' if function.variadic else ''}{wanted} argument{'' if wanted == 1 else 's'}"
        raise _at(name, f"`{function.name}()` takes {count}, not {given}", f"write `{function.signature}`")
    return function


def _name_before(tokens: Sequence[_Token], at: int) -> _Token:
    return next(token for token in reversed(tokens[:at]) if token.type != "rparen")


def _name_after(tokens: Sequence[_Token], at: int) -> _Token:
    return next(token for token in tokens[at + 1 :] if token.type != "lparen")


def _lint(placed: Sequence[tuple[Node, int]], tokens: Sequence[_Token]) -> Iterator[SelectorWarning]:
    looser = ("subexpression", "value_projection", "filter_projection", "flatten")
    cut_short = {id(node["children"][0]) for node, _ in placed if node["type"] in looser}
    for node, at in placed:
        if node["type"] == "comparator":
            yield from _lint_comparison(node, tokens, at)
        elif node["type"] == "not_expression" and id(node) in cut_short:
            yield from _lint_not(tokens, at)


def _lint_comparison(node: Node, tokens: Sequence[_Token], at: int) -> Iterator[SelectorWarning]:
    left, right = (child["type"] == "field" for child in node["children"])
    if left:
        yield from _lint_constant(_name_before(tokens, at))
    if right:
        name = _name_after(tokens, at)
        yield from _lint_constant(name)
        if name.type == "quoted_identifier":
            yield _compared_as_field(name, "a text", f"write `'{name.text[1:-1]}'` in single quotes")


def _lint_constant(name: _Token) -> Iterator[SelectorWarning]:
    if name.text in ("true", "false", "null"):
        yield _compared_as_field(name, "the constant", f"write `` `{name.text}` `` in back-ticks")


def _compared_as_field(name: _Token, meant: str, help: str) -> SelectorWarning:  # noqa: A002 - Diagnostic's word
    return SelectorWarning(f"`{name.text}` is a field's name here, not {meant}", name.offset, len(name.text), help)


def _lint_not(tokens: Sequence[_Token], at: int) -> Iterator[SelectorWarning]:
    end = at + 1
    while tokens[end].type in ("unquoted_identifier", "quoted_identifier", "dot"):
        end += 1
    path = "".join(token.text for token in tokens[at + 1 : end])
    if tokens[end].type == "rparen" and "." not in path:
        return  # `(!a).b` says itself what it means
    operand = path if "." in path else "..."
    message = "`!` binds tighter than what follows its operand, so that `!a.b` means `(!a).b`"
    length = tokens[end - 1].offset + len(tokens[end - 1].text) - tokens[at].offset
    yield SelectorWarning(message, tokens[at].offset, length, f"write `!({operand})`")


# Compiling. Values are told apart by their exact class, as JSON has no others.

_NUMBERS = (int, float)  # 0 and 0.0 are true to JMESPath, unlike all else that is false to Python
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
            if found or found.__class__ in _NUMBERS:
                return found
        return last(value, envelope)

    return first_true


def _compile_and(node: Node) -> Evaluate:
    *conditions, last = [_compile(operand) for operand in _leaves(node, "and_expression")]

    def first_false(value: Json, envelope: Envelope) -> Json:
        for condition in conditions:
            found = condition(value, envelope)
            if not (found or found.__class__ in _NUMBERS):
                return found
        return last(value, envelope)

    return first_false


def _compile_not(node: Node) -> Evaluate:
    operand = _compile(node["children"][0])

    def negation(value: Json, envelope: Envelope) -> bool:
        found = operand(value, envelope)
        return not (found or found.__class__ in _NUMBERS)

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
            if ((held := holds(item, envelope)) or held.__class__ in _NUMBERS)
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
    if isinstance(constant, _NUMBERS):
        return _equality(left, lambda value, envelope: constant)
    return lambda value, envelope: left(value, envelope) == constant


# Calls

_Check: TypeAlias = Callable[[Json], None]

_CLASSES: Mapping[str, frozenset[type]] = {
    "array": frozenset((list,)),
    "expref": frozenset((_Expression,)),
    "number": frozenset(_NUMBERS),
    "object": frozenset((dict,)),
    "string": frozenset((str,)),
}


def _check(function: str, types: Sequence[str]) -> _Check:
    """Let an argument of an admitted type pass quickly; have the library raise what it raises for any other."""
    plain = frozenset[type]().union(*(_CLASSES[name] for name in types if "-" not in name))
    elements = [_CLASSES[name.removeprefix("array-")] for name in types if "-" in name]

    def check(argument: Json) -> None:
        if argument.__class__ in plain:
            return
        if elements and argument.__class__ is list:
            classes = set(map(type, argument))
            for admitted in elements:
                if classes <= admitted:
                    return
        _LIBRARY._type_check_single(argument, list(types), function)

    return check if types else lambda argument: None


def _compile_call(node: Node) -> Evaluate:
    function = FUNCTIONS[node["value"]]
    arguments = [_compile(child) for child in node["children"]]
    # Of the arguments that a variadic parameter takes only the first is checked, as in the library.
    checks = [_check(function.name, types) for types in function.parameters]
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


def _call_of_1(call: Callable[[Json], Json], argument: Evaluate, check: _Check) -> Evaluate:
    def called(value: Json, envelope: Envelope) -> Json:
        resolved = argument(value, envelope)
        check(resolved)
        return call(resolved)

    return called


def _call_of_2(
    call: Callable[[Json, Json], Json], first: Evaluate, second: Evaluate, first_check: _Check, second_check: _Check
) -> Evaluate:
    def called(value: Json, envelope: Envelope) -> Json:
        one, other = first(value, envelope), second(value, envelope)
        first_check(one)
        second_check(other)
        return call(one, other)

    return called


def _call(call: Callable[..., Json], arguments: Sequence[Evaluate], checks: Sequence[_Check]) -> Evaluate:
    def called(value: Json, envelope: Envelope) -> Json:
        resolved = [argument(value, envelope) for argument in arguments]
        for check, argument in zip(checks, resolved, strict=False):
            check(argument)
        return call(*resolved)

    return called


def _compile_expression(node: Node) -> Evaluate:
    evaluate = _compile(node["children"][0])
    return lambda value, envelope: _Expression(evaluate, envelope)


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
