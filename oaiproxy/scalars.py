"""Nodes to data: `${...}` replaced in the parsed scalars, and those without quotes read as YAML 1.2 reads them.

The types are those of the core schema: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from oaiproxy.diagnostics import Diagnostic, Severity, did_you_mean
from oaiproxy.jsontext import Json
from oaiproxy.layers import Origin
from oaiproxy.nodes import (
    SCALAR_TAGS,
    TAG_PREFIX,
    ListNode,
    MappingNode,
    Node,
    Origins,
    ScalarNode,
    find_origins,
    short,
    stretch,
)

Path: TypeAlias = tuple[str | int, ...]

MAX_DIGITS = 1000
"""Python refuses to print integers of more than 4300."""

_WORDS: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGERS = ((re.compile(r"[-+]?[0-9]+"), 10), (re.compile(r"0o[0-7]+"), 8), (re.compile(r"0x[0-9a-fA-F]+"), 16))
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def core_value(text: str) -> Json:
    """What an unquoted scalar is in the core schema; what is far too long for a number is text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-." or len(text) > MAX_DIGITS:
        return text
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(text):
            return int(text, base)
    return float(text) if _FLOAT.fullmatch(text) else text


def written(node: Node) -> Json:
    """A node's data as it is written: no reference is replaced in it."""
    match node:
        case MappingNode():
            return {key: written(value) for key, (_, value) in node.entries.items()}
        case ListNode():
            return [written(item) for item in node.items]
    types = SCALAR_TAGS.get(node.tag)
    return node.text if types == (str,) or (types is None and node.style) else core_value(node.text)


@dataclass(frozen=True, slots=True)
class Value:
    """What a scalar became."""

    data: Json = field(repr=False)
    origins: Origins | None = None
    """For each character of the final text, where it was in the scalar as parsed; None: in the same place."""
    resolved: bool = True


_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<body>[^{}]*)\}|\$\{")
_BODY = re.compile(r"file:(?P<path>(?:(?!:-).)+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-.*)?", re.DOTALL)
_DEFAULT = re.compile(r"([A-Za-z_]\w*)(?:-|:=|=)(.*)", re.ASCII | re.DOTALL)
"""A reference with a default, as a shell has it too."""
_OTHER_NAME = re.compile(r"\s*(?:env[.:])?([A-Z_][A-Z0-9_]*(?:-[A-Z0-9_]+)*)\s*", re.ASCII)
"""A name with hyphens, which no variable has, or as other tools tell that it is one of the environment."""
_NEARLY = re.compile(
    r"(?:(?<![\w$])\$|(?<![\w${])\{)(?P<name>[A-Z_][A-Z0-9_]*):-(?P<default>[^{}\s]*)\}|(?<!\$)\$\{[^{}]*\}\}"
)
"""Text that lost one sign of a reference, or a reference with a brace too many."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A well-formed `${...}` in a scalar as its author wrote it: of a variable, or of a file."""

    text: str
    name: str = ""
    default: str | None = None
    """What stands for a variable that is not set or empty."""
    file: str = ""


def references(text: str) -> Iterator[Reference]:
    """The references in a text, in order; what is none is passed over."""
    for part in _REFERENCE.finditer(text):
        body = _BODY.fullmatch(part["body"] or "")
        if body and body["path"]:
            yield Reference(part[0], file=body["path"])
        elif body:
            default = body["default"]
            yield Reference(part[0], body["name"], None if default is None else default.removeprefix(":-"))


_TEMPLATE_MARK = re.compile(r"(?=(\{[{%#]))")
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}]|%(?=\})""", re.DOTALL)
_COMMENT_TOKEN = re.compile(r"#(?=\})")
_OPERATORS = ("$if", "$for", "$match")
"""The directives whose operands are expressions without braces."""
_REFERENCE_HELP = "write `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` is a literal `${`"


class Builder:
    """Nodes to data: `${...}` replaced, scalars typed. Each scalar is done once, however many aliases it has.

    `own` is the file of all nodes but those of `origins`.
    """

    def __init__(self, own: Origin, origins: Mapping[Node, Origin], environment: Mapping[str, str]) -> None:
        self.found: list[Diagnostic] = []
        self.values: dict[ScalarNode, Value] = {}
        self.unresolved: set[Path] = set()
        self.secrets: dict[str, str] = {}
        """What came out of references, with one that stands for it."""
        self._own = own
        self._files = origins
        self._environment = environment
        self._origins: dict[ScalarNode, Origins | None] = {}

    def build(self, node: Node, path: Path) -> Json:
        """The node's data; findings, secrets and unresolved paths are gathered on the way."""
        match node:
            case MappingNode():
                return {key: self._entry(key, value, (*path, key)) for key, (_, value) in node.entries.items()}
            case ListNode():
                return [self.build(item, (*path, index)) for index, item in enumerate(node.items)]
        value = self.values.get(node)
        if value is None:
            value = self.values[node] = self._value(node)
        if not value.resolved:
            self.unresolved.add(path)
        return value.data

    def _entry(self, key: str, node: Node, path: Path) -> Json:
        """The value under a key. What a directive computes is code, all of it."""
        if key in _OPERATORS and isinstance(node, ScalarNode) and not self._without_code(node, [(0, len(node.text))]):
            owner = path[:-1]  # without its operand, nothing that stands beside it makes sense
            while owner and not isinstance(owner[-1], str):
                owner = owner[:-1]
            self.unresolved.add(owner or path)
            return ""
        return self.build(node, path)

    def _without_code(self, node: ScalarNode, templates: Sequence[tuple[int, int]]) -> bool:
        """Refuse references inside of templates: the environment would write a part of the mapping's code."""
        clean = True
        for part in _REFERENCE.finditer(node.text) if templates else ():
            if part["body"] is not None and any(start <= part.start() < end for start, end in templates):
                message = f"`{short(part[0])}` stands inside a template, where its value would be read as code"
                help_ = f"put it under `vars`, as `name: {short(part[0])}`, and write `vars.name` here"
                self._report("E007", message, node, *part.span(), help_=help_)
                clean = False
        return clean

    def _doubt(self, node: ScalarNode) -> None:
        """Warn of text that is a reference but for one sign."""
        for part in _NEARLY.finditer(node.text):
            extra = part["name"] is None
            if extra and node.text.count("{") >= node.text.count("}"):
                continue
            meant = f"${{{part['name']}:-{part['default']}}}"
            message = "a `}` stands behind the reference" if extra else f"`{short(part[0])}` is no reference, but text"
            label = "leave it out" if extra else f"did you mean `{meant}`?"
            start = part.end() - 1 if extra else part.start()
            self._report("W006", message, node, start, part.end(), label=label, severity=Severity.WARNING)

    def _value(self, node: ScalarNode) -> Value:
        if "}" in node.text:
            self._doubt(node)
        if "${" not in node.text:
            return Value(self._typed(node, node.text, plain=not node.style))
        if not self._without_code(node, list(_templates(node.text))):
            return Value("", [], resolved=False)
        parts = list(_REFERENCE.finditer(node.text))
        texts = [self._replacement(node, part) for part in parts]
        text, origins, inserted = _join(node.text, parts, [new or "" for new in texts])
        resolved = None not in texts and self._without_marks(node, text, parts, inserted)
        if not resolved:
            return Value("", [], resolved=False)
        whole = not node.style and parts[0].span() == (0, len(node.text))
        return Value(self._typed(node, text, plain=whole), origins)

    def _typed(self, node: ScalarNode, text: str, *, plain: bool) -> Json:
        types = SCALAR_TAGS.get(node.tag)
        if types is None:
            return core_value(text) if plain else text
        value = text if types == (str,) else core_value(text)
        if type(value) not in types:
            tag = "!!" + node.tag.removeprefix(TAG_PREFIX)
            self._report("E003", f"`{short(node.text)}` is not what the tag `{tag}` says", node, 0, len(node.text))
        return value

    def _replacement(self, node: ScalarNode, part: re.Match[str]) -> str | None:
        """What stands for one `${...}`; None when that cannot be said."""
        if part[0] == "$${":
            return "${"
        if part["body"] is None:
            self._report("E006", "`${` is not closed by `}`", node, *part.span(), help_=_REFERENCE_HELP)
            return None
        body = _BODY.fullmatch(part["body"])
        if body is None:
            self._malformed(node, part)
            return None
        if body["path"]:
            return self._file(node, part, body["path"])
        value = self._environment.get(body["name"])
        if body["default"] and not value:
            return body["default"].removeprefix(":-")
        if value is None:
            self._unset(node, part, body["name"])
        elif value:
            self.secrets.setdefault(value, f"${{{body['name']}}}")
        return value

    def _malformed(self, node: ScalarNode, part: re.Match[str]) -> None:
        meant = _DEFAULT.fullmatch(part["body"])
        label = f"did you mean `${{{meant[1]}:-{meant[2]}}}`?" if meant else ""
        if other := _OTHER_NAME.fullmatch(part["body"]):
            label = f"did you mean `${{{other[1].replace('-', '_')}}}`?"
        self._report(
            "E006", f"`{short(part[0])}` is not a reference", node, *part.span(), label=label, help_=_REFERENCE_HELP
        )

    def _unset(self, node: ScalarNode, part: re.Match[str], name: str) -> None:
        label = did_you_mean(name, (known for known, value in self._environment.items() if value))
        help_ = f"`export {name}=...`, or give a default: `${{{name}:-...}}`"
        message = f"the environment variable `{name}` is not set"
        self._report("E601", message, node, *part.span(), label=label, help_=help_)

    def _file(self, node: ScalarNode, part: re.Match[str], path: str) -> str | None:
        try:
            content = self._files.get(node, self._own).read_file(path)
            content.encode()  # a reader may show what is not UTF-8 as surrogates
        except OSError as error:
            reason = (error.strerror or "input/output error").lower()
        except UnicodeError:  # its message holds the content
            reason = "it is not UTF-8 text"
        except ValueError:
            reason = "the path is not valid"
        else:
            content = re.sub(r"\r?\n\Z", "", content)
            if content:
                self.secrets.setdefault(content, part[0])
            return content
        help_ = "make the file readable for this user, or correct the path"
        self._report("E602", f"the file `{path}` cannot be read: {reason}", node, *part.span(), help_=help_)
        return None

    def _without_marks(
        self, node: ScalarNode, text: str, parts: Sequence[re.Match[str]], inserted: Sequence[tuple[int, int]]
    ) -> bool:
        """Refuse template marks that a substituted value, other than a default, brings in or completes."""
        clean = True
        for part, (start, end) in zip(parts, inserted, strict=True):
            if part["body"] is None or text[start:end] not in self.secrets:
                continue
            mark = next((each for each in _TEMPLATE_MARK.finditer(text, max(start - 1, 0), end + 1)), None)
            if mark and mark.start() < end:
                message = f"the value of `{part[0]}` contains `{mark[1]}`, which would be read as a template"
                self._report("E007", message, node, *part.span(), help_="substituted values must be plain text")
                clean = False
        return clean

    def _report(
        self,
        code: str,
        message: str,
        node: ScalarNode,
        start: int,
        end: int,
        *,
        label: str = "",
        help_: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        source = self._files.get(node, self._own).source
        if node not in self._origins:
            self._origins[node] = find_origins(source, node)
        span = stretch(source, node, self._origins[node], start, end)
        self.found.append(Diagnostic(code, message, span, label, help_, severity))


def _templates(text: str) -> Iterator[tuple[int, int]]:
    """Where the author's templates begin and end; one that is not closed goes on to the end of the text."""
    at = 0
    while opened := _TEMPLATE_MARK.search(text, at):
        at = _closed(text, opened.start() + 2, _CLOSING[opened[1]])
        yield opened.start(), at


def _closed(text: str, at: int, mark: str) -> int:
    """Where a template ends that began before `at`: behind its mark, which also stands in texts and nested objects."""
    depth = 0
    for token in (_COMMENT_TOKEN if mark == "#}" else _TOKEN).finditer(text, at):
        if not depth and text.startswith(mark, token.start()):
            return token.start() + 2
        depth += {"{": 1, "}": -1}.get(token[0], 0)
    return len(text)


def _join(
    author: str, parts: Sequence[re.Match[str]], texts: Sequence[str]
) -> tuple[str, Origins, list[tuple[int, int]]]:
    """The author's text with `parts` replaced, the origins of its characters, and where the replacements went."""
    pieces: list[str] = []
    origins: Origins = []
    inserted: list[tuple[int, int]] = []
    at = 0
    for part, new in zip(parts, texts, strict=True):
        pieces += (author[at : part.start()], new)
        origins += [(offset, offset + 1) for offset in range(at, part.start())]
        inserted.append((len(origins), len(origins) + len(new)))
        origins += [part.span()] * len(new)
        at = part.end()
    origins += [(offset, offset + 1) for offset in range(at, len(author))]
    return "".join([*pieces, author[at:]]), origins, inserted
