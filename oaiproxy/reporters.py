"""Diagnostics to a report: text for people, and other forms for programs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from oaiproxy import jsontext
from oaiproxy.annotations import github
from oaiproxy.diagnostics import Diagnostic, Severity, Span, concealed
from oaiproxy.jsontext import Json
from oaiproxy.sarif import sarif

Reporter: TypeAlias = Callable[[Sequence[Diagnostic], Mapping[str, str], bool], str]
"""From diagnostics, the sources' texts by file name, and whether to colour, to a report without a final line break."""

MAX_COLUMNS = 160
_CLIPPED = "…"
_BREAK = re.compile(r"\r\n|\r|\n")
_TAB = "    "
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # the bidirectional controls among them can make a line read as another
_ZERO_WIDTH = {"Mn", "Me"}

_BOLD = "1"
_BLUE = "1;34"
_SEVERITY = {Severity.ERROR: "1;31", Severity.WARNING: "1;33"}

_Paint: TypeAlias = Callable[[str, str], str]


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """Such as `2 errors, 1 warning`."""
    counts = {severity: sum(found.severity is severity for found in diagnostics) for severity in Severity}
    named = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    return ", ".join(named) or "no findings"


def text(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], colour: bool) -> str:
    """Each diagnostic with its source line, the stretch marked, as compilers show them."""
    sources = concealed(diagnostics, sources)
    files = {found.span.file for found in diagnostics if found.span}
    lines = {file: _BREAK.split(sources[file].removeprefix("\ufeff")) for file in files & sources.keys()}
    width = max((len(str(found.span.line)) for found in diagnostics if found.span), default=1)
    paint = _painted if colour else _unpainted
    return "\n\n".join("\n".join(_blocks(found, lines, " " * width, paint)) for found in diagnostics)


def json(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], colour: bool) -> str:
    """A list of objects; the places are null when a diagnostic has none."""
    return jsontext.dump([as_data(found) for found in diagnostics]).decode()


REPORTERS: dict[str, Reporter] = {"text": text, "json": json, "github": github, "sarif": sarif}


def as_data(found: Diagnostic) -> dict[str, Json]:
    """A diagnostic as an object of JSON."""
    span = found.span
    return {
        "code": found.code,
        "severity": str(found.severity),
        "message": found.message,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "end_line": span.end_line if span else None,
        "end_column": span.end_column if span else None,
        "label": found.label,
        "help": found.help,
    }


def _blocks(found: Diagnostic, lines: Mapping[str, Sequence[str]], margin: str, paint: _Paint) -> Iterator[str]:
    accent = _SEVERITY[found.severity]
    yield paint(accent, f"{found.severity}[{found.code}]") + paint(_BOLD, f": {_escaped(found.message)}")
    span = found.span
    if span is None:
        return
    yield margin + paint(_BLUE, "-->") + f" {_escaped(span.file)}:{span.line}:{span.column}"
    source = lines.get(span.file, ())
    if span.line <= len(source):
        shown, indent, carets = _marked(source[span.line - 1], span)
        bar = paint(_BLUE, "|")
        yield f"{margin} {bar}"
        yield f"{paint(_BLUE, str(span.line).rjust(len(margin)))} {bar} {shown}".rstrip()
        yield f"{margin} {bar} {indent}" + paint(accent, f"{carets} {_escaped(found.label)}".rstrip())
    for number, line in enumerate(found.help.splitlines()):
        head = f"{margin} {paint(_BLUE, '=')} help: " if number == 0 else f"{margin}         "
        yield head + _escaped(line)


def _marked(line: str, span: Span) -> tuple[str, str, str]:
    """The line as shown, the blanks before the carets, and the carets."""
    start = min(span.column - 1, len(line))
    end = min(span.end_column - 1, len(line)) if span.end_line == span.line else len(line.rstrip())
    first, last = _window(len(line), start)
    end = min(end, last)
    before = (_CLIPPED if first else "") + _escaped(line[first:start])
    marked = _escaped(line[start:end])
    after = _escaped(line[max(start, end) : last]) + (_CLIPPED if last < len(line) else "")
    return before + marked + after, " " * _columns(before), "^" * max(_columns(marked), 1)


def _window(length: int, start: int) -> tuple[int, int]:
    """The part of a long line to show: a quarter of it before the stretch, the rest from there."""
    if length <= MAX_COLUMNS:
        return 0, length
    first = max(0, min(start - MAX_COLUMNS // 4, length - MAX_COLUMNS))
    return first, first + MAX_COLUMNS


def _escaped(shown: str) -> str:
    return "".join(_visible(character) for character in shown)


def _visible(character: str) -> str:
    if character == "\t":
        return _TAB
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _columns(shown: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(_width(character) for character in shown)


def _width(character: str) -> int:
    if unicodedata.category(character) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _painted(style: str, shown: str) -> str:
    return f"\x1b[{style}m{shown}\x1b[0m"


def _unpainted(style: str, shown: str) -> str:
    return shown
