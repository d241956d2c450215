"""What is found wrong in a mapping or a configuration, as data: where, how bad, why, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one file. Lines and columns count from 1, columns in characters; the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    `code` is stable (`E203`); `message` names the thing and quotes the value; `label` stands under the marked text;
    `help` offers the fix.
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    help: str = ""
    severity: Severity = Severity.ERROR


def closest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` most likely meant, or "" when none is near."""
    lowered = {name.lower(): name for name in sorted(known)}
    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean `x`?`` for the closest known word, or ""."""
    found = closest(word, known)
    return f"did you mean `{found}`?" if found else ""
