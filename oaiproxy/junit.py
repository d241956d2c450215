"""Checked files to JUnit's XML, which services for continuous integration show: a suite of cases for each file.

There is no standard; this is the part that all readers know, https://github.com/testmoapp/junitxml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from oaiproxy.diagnostics import Diagnostic, Severity, Span, concealed
from oaiproxy.reporters import text

STAGES = {
    "0": "yaml",
    "1": "schema",
    "2": "templates",
    "3": "selectors",
    "4": "probes",
    "5": "examples",
    "6": "environment",
    "7": "live",
}
"""What is checked, by the first digit of the codes of its findings."""
_OPTIONAL = {"examples", "live"}
"""Stages that have a case only where there are findings: examples have cases of their own."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A file as it was checked."""

    file: str
    findings: Sequence[Diagnostic] = ()
    examples: Sequence[tuple[str, Span]] = ()
    """The names of its examples, and their places."""
    tried: bool = True
    """Whether examples were run: they are not where something else is wrong."""
    unread: str = ""
    """Why the file could not be read, if that is so."""


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    outcome: str
    """One of `passed`, `failure`, `error`, `skipped`."""
    message: str = ""
    told: str = ""


def junit(suites: Sequence[Suite], sources: Mapping[str, str], *, strict: bool = False) -> str:
    """The XML. Warnings fail a case only when `strict`; else they are its output."""
    sources = concealed([found for suite in suites for found in suite.findings], sources)
    made = [(suite, list(_cases(suite, sources, strict))) for suite in suites]
    counts = _counts([case for _, cases in made for case in cases])
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuites name="oaiproxy check"{counts}>']
    for suite, cases in made:
        lines.append(f"  <testsuite name={_attribute(suite.file)}{_counts(cases)}>")
        lines += [_element(case, suite.file) for case in cases]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _cases(suite: Suite, sources: Mapping[str, str], strict: bool) -> Iterator[_Case]:
    """A case for each stage, then one for each example."""
    if suite.unread:
        yield _Case("file", "error", suite.unread)
        return
    rest = list(suite.findings)
    own: list[list[Diagnostic]] = []
    for _, span in suite.examples:
        own.append([found for found in rest if found.code[1] == "5" and _within(found.span, span)])
        rest = [found for found in rest if found not in own[-1]]
    for digit, stage in STAGES.items():
        findings = [found for found in rest if found.code[1] == digit]
        if findings or stage not in _OPTIONAL:
            yield _case(stage, findings, sources, strict)
    for (name, _), findings in zip(suite.examples, own, strict=True):
        if findings or suite.tried:
            yield _case(f"example: {name}", findings, sources, strict)
        else:
            yield _Case(f"example: {name}", "skipped", "it is not run while the mapping has errors")


def _case(name: str, findings: Sequence[Diagnostic], sources: Mapping[str, str], strict: bool) -> _Case:
    told = text(findings, sources, False)
    grave = [found for found in findings if strict or found.severity is Severity.ERROR]
    if not grave:
        return _Case(name, "passed", told=told)
    first, more = grave[0], len(grave) - 1
    message = f"{first.code}: {first.message}" + (f" (and {more} more)" if more else "")
    return _Case(name, "failure", message, told)


def _within(span: Span | None, outer: Span) -> bool:
    return (
        span is not None
        and span.file == outer.file
        and (outer.line, outer.column) <= (span.line, span.column) < (outer.end_line, outer.end_column)
    )


def _counts(cases: Sequence[_Case]) -> str:
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {name: sum(case.outcome == kind for case in cases) for name, kind in kinds.items()}
    return "".join(f' {name}="{count}"' for name, count in {"tests": len(cases), **counts}.items())


def _element(case: _Case, file: str) -> str:
    opened = f"    <testcase name={_attribute(case.name)} classname={_attribute(file)} file={_attribute(file)}"
    if case.outcome == "passed":
        inner = f"<system-out>{_text(case.told)}</system-out>" if case.told else ""
    else:
        kind = f' type="{case.outcome}"' if case.outcome != "skipped" else ""
        head = f"{case.outcome} message={_attribute(case.message)}{kind}"
        inner = f"<{head}>{_text(case.told)}</{case.outcome}>" if case.told else f"<{head}/>"
    return f"{opened}>{inner}</testcase>" if inner else f"{opened}/>"


_INVALID = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not have, not even escaped: https://www.w3.org/TR/xml/#charsets."""

_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_ATTRIBUTE = {**_TEXT, '"': "&quot;", "\n": "&#10;", "\t": "&#9;"}


def _valid(text: str) -> str:
    return _INVALID.sub("\ufffd", text)


def _text(shown: str) -> str:
    return "".join(_TEXT.get(character, character) for character in _valid(shown))


def _attribute(shown: str) -> str:
    """In quotes; line breaks escaped, or readers would take them for blanks."""
    return '"' + "".join(_ATTRIBUTE.get(character, character) for character in _valid(shown)) + '"'
