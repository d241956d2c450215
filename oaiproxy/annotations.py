"""Diagnostics to the commands by which GitHub's workflows annotate files.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oaiproxy.catalog import CATALOG
from oaiproxy.diagnostics import Diagnostic, Span


def github(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], colour: bool) -> str:
    """One command for each finding."""
    return "\n".join(_command(found) for found in diagnostics)


def _command(found: Diagnostic) -> str:
    kind = CATALOG.get(found.code)
    title = f"{found.code}: {kind.title}" if kind else found.code
    properties = {**(_place(found.span) if found.span else {}), "title": title}
    told = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    message = "\n".join(filter(None, (found.message, found.label, found.help)))
    return f"::{found.severity} {told}::{_data(message)}"


def _place(span: Span) -> dict[str, str | int]:
    """The stretch; the runner takes columns only where it is within one line."""
    place: dict[str, str | int] = {"file": span.file, "line": span.line, "endLine": span.end_line}
    if span.line != span.end_line:
        return place
    return {**place, "col": span.column, "endColumn": span.end_column}


def _data(text: str) -> str:
    """As the runner unescapes it: in this order, or `%` would be escaped twice."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
