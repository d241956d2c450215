"""Selector source to its syntax tree, with whatever is wrong or odd in it found at its place in the text.

The tree is the jmespath library's own: https://jmespath.org/specification.html
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from jmespath import exceptions, lexer, parser

from oaiproxy.diagnostics import did_you_mean
from oaiproxy.selector_functions import FUNCTIONS, Function

MAX_LENGTH = 4096
"""Characters of source."""
MAX_DEPTH = 64
"""Levels of the syntax tree. A path of names is flat; each index, alternative or pipe adds a level."""

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


def read_selector(source: str) -> tuple[Node, tuple[SelectorWarning, ...]]:
    """The syntax tree and the warnings; raise `SelectorError` for whatever is wrong whichever value it meets."""
    tree, tokens = _parse(source)
    placed = _placed(tree, tokens)
    _refuse_misuse(placed, tokens)
    return tree, tuple(sorted(_lint(placed, tokens), key=lambda found: found.offset))


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
            _refuse_default(source, tokens)
            tree = parser.Parser().parse(source).parsed
    except exceptions.LexerError as error:
        raise _unreadable(source, error) from None
    except exceptions.ParseError as error:
        raise _misplaced(source, tokens, error) from None
    except RecursionError:
        raise too_deep from None
    if _depth(tree) > MAX_DEPTH:
        raise too_deep
    _check_commas(tokens)
    return tree, tokens


def _check_commas(tokens: Sequence[_Token]) -> None:
    """The library takes `{a: b c: d}` and `join(a b)` as if there were a comma."""
    for before, token in pairwise(tokens):
        if before.type in _ENDS_VALUE and token.type in _BEGINS_VALUE:
            raise _at(token, f"`{token.text}` is not expected here", f"write a `,` behind `{before.text}`")


def _tokenize(source: str) -> list[_Token]:
    # The library's `end` of a token is not to be relied on; its `start` is.
    raw = list(lexer.Lexer().tokenize(source))
    spans = [(token, token["start"], following["start"]) for token, following in pairwise(raw)]
    tokens = [_Token(token["type"], source[start:end].rstrip(" \t\n\r"), start) for token, start, end in spans]
    return [*tokens, _Token("eof", "", len(source.rstrip(" \t\n\r")))]  # a block scalar ends in a line break


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
    **dict.fromkeys("\u2018\u2019\u201c\u201d", "write straight quotes: `'text'`"),
    **dict.fromkeys("+/%", "there is no arithmetic; compute with a `{{ }}` expression instead"),
}
_HELP_FOR_WORD = {"and": "write `&&`", "or": "write `||`", "not": "write `!`", "&": "write `&&`"}
_WITHOUT_DOT = "leave the `.` before the `[` out"
_CLOSERS = {"lparen": ")", "lbracket": "]", "filter": "]", "lbrace": "}"}
_CLOSING = ("rparen", "rbracket", "rbrace")
_ENDS_VALUE = ("unquoted_identifier", "quoted_identifier", "literal", "number", "current", "star", "flatten", *_CLOSING)
_BEGINS_VALUE = ("unquoted_identifier", "quoted_identifier", "literal", "current", "lbrace", "not", "expref")


def _unreadable(source: str, error: exceptions.LexerError) -> SelectorError:
    first, offset, length = error.lexer_value[0], error.lexer_position, len(error.lexer_value)
    if first not in "'\"`":
        help_ = _help_for_path(source, offset) or _HELP_FOR_CHARACTER.get(first, "")
        return SelectorError(f"`{first}` is not expected here", offset, length, help_)
    if error.message.startswith("Unclosed"):
        return SelectorError(f"the quote {first} is never closed", offset, length, f"end the quotation with {first}")
    return SelectorError(f"what the quote {first} starts is not valid as JSON", offset, length)


def _help_for_path(source: str, offset: int) -> str:
    """How to write a path that is one of JSONPath, jq or JSON Pointer, or that holds a name with a hyphen."""
    text = source.strip()
    if offset == 0 and (found := _OTHER_PATH.fullmatch(text)) and ".." not in text:
        path = found[1]
        if text.startswith("/"):
            path = re.sub(r"/(\d+)", r"[\1]", path).replace("/", ".")
        path = re.sub(r"\.(\d+)", r"[\1]", re.sub(r"\[(['\"])(\w+)\1\]", r".\2", path))
        return f"write `{path}`" if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*|\[-?\d+\])*", path) else ""
    for name in _HYPHENED.finditer(source):
        if name.start() < offset < name.end() and source[offset] == "-":
            path = f'{source[: name.start()]}"{name[0]}"{source[name.end() :]}'.strip()
            quoted = f"`'{path}'`, with both kinds of quotes" if path[0] == '"' and "'" not in path else f"`{path}`"
            return f"write {quoted}; there is no arithmetic"
    return ""


_OTHER_PATH = re.compile(r"(?:\$\.?|/|\.)([A-Za-z_\[].*)")
_HYPHENED = re.compile(r"[A-Za-z_]\w*(?:-\w+)+")


def _refuse_default(source: str, tokens: Sequence[_Token]) -> None:
    """Refuse Jinja's filter, which is an operator here."""
    for before, name, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if (before.type, name.text, after.type) == ("pipe", "default", "lparen"):
            found = _DEFAULT.match(source, after.offset)
            default = f"'{found[2]}'" if found and found[2] is not None else f"`{found[3]}`" if found else "..."
            raise _at(name, "`| default()` is Jinja's", f"write `` {source[: before.offset].strip()} || {default} ``")


_DEFAULT = re.compile(r"""\(\s*(?:(['"])([^'"]*)\1|(-?[\d.]+|true|false|null|\[\]|\{\}))\s*\)""")


def _misplaced(source: str, tokens: Sequence[_Token], error: exceptions.ParseError) -> SelectorError:
    if "Quoted identifier" in error.msg:  # the one error that the library always places at 0
        pairs = pairwise(tokens)
        name = next(name for name, after in pairs if (name.type, after.type) == ("quoted_identifier", "lparen"))
        return _at(name, f"`{name.text}` is called as a function", f"write `{name.text[1:-1]}` without quotes")
    at = next((index for index, token in enumerate(tokens) if token.offset >= error.lex_position), len(tokens) - 1)
    token = tokens[at]
    if token.offset == 0 and token.type == "dot" and (help_ := _help_for_path(source, 0)):
        return _at(token, "`.` is not expected here", help_)
    if token.type == "eof":
        return _at(token, "the selector ends too early", _help_at_end(tokens))
    return _at(token, f"`{token.text}` is not expected here", _help_for(token, tokens[at - 1], tokens[at - 2].type))


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


def _help_for(token: _Token, before: _Token, kind: str) -> str:
    """What to do about a token behind `before`, which is behind one of some kind."""
    name = token.text.strip("'\"`")
    match before.type, token.type:
        case "dot", "number":
            return f"write `[{name}]` in place of `.{name}` for an item of a list"
        case "dot", "literal":
            return f'write a field\'s name in double quotes: `"{name}"`'
        case ("dot", "flatten" | "filter") | ("lbracket", "number" | "colon") if "dot" in (before.type, kind):
            return _WITHOUT_DOT
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
    yield from _lint_constants(tokens)
    yield from _lint_stars(tokens)
    looser = ("subexpression", "value_projection", "filter_projection", "flatten")
    cut_short = {id(node["children"][0]) for node, _ in placed if node["type"] in looser}
    for node, at in placed:
        if node["type"] == "comparator":
            yield from _lint_comparison(node, tokens, at)
        elif node["type"] == "not_expression" and id(node) in cut_short:
            yield from _lint_not(tokens, at)


def _lint_stars(tokens: Sequence[_Token]) -> Iterator[SelectorWarning]:
    for at, token in enumerate(tokens):
        if [each.type for each in tokens[at : at + 4]] == ["dot", "lbracket", "star", "rbracket"]:
            message = "`.[*]` selects a mapping's values, not the items of a list"
            yield SelectorWarning(message, token.offset, tokens[at + 3].offset + 1 - token.offset, _WITHOUT_DOT)


def _lint_comparison(node: Node, tokens: Sequence[_Token], at: int) -> Iterator[SelectorWarning]:
    name = _name_after(tokens, at)
    if node["children"][1]["type"] == "field" and name.type == "quoted_identifier":
        yield _read_as_field(name, "a text", f"write `'{name.text[1:-1]}'` in single quotes")


_CONSTANTS = {
    "true": "true",
    "True": "true",
    "TRUE": "true",
    "false": "false",
    "False": "false",
    "FALSE": "false",
    "null": "null",
    "None": "null",
}
"""Constants, also as other languages write them."""


def _lint_constants(tokens: Sequence[_Token]) -> Iterator[SelectorWarning]:
    """Whole operands that are such a word. Within a path it is a field, and before `:` the name of one that is made."""
    for before, name, after in zip([_START, *tokens], tokens, tokens[1:], strict=False):
        constant = _CONSTANTS.get(name.text)
        harmless = constant == "null" and before.type in ("or", "and")  # a field that is not there is null as well
        if constant and not harmless and before.type != "dot" and after.type not in _GOES_ON:
            yield _read_as_field(name, "the constant", f"write `` `{constant}` `` in back-ticks")


_START = _Token("", "", 0)
_GOES_ON = ("dot", "lbracket", "filter", "flatten", "colon", "lparen")
"""What makes a path, a pair or a call of the name before it."""


def _read_as_field(name: _Token, meant: str, help: str) -> SelectorWarning:  # noqa: A002 - Diagnostic's word
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
