"""What is found wrong in a mapping or a configuration, as data: where, how bad, why, and the fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
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


def overlap(one: Span, other: Span) -> bool:
    """Whether two stretches have a character in common."""
    starts = max((one.line, one.column), (other.line, other.column))
    return one.file == other.file and starts < min((one.end_line, one.end_column), (other.end_line, other.end_column))


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
    conceal: bool = False
    """Whether the marked text is a secret, which no report shows."""


def closest(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The known word that `word` most likely meant, or "" when none is as like as that (1 is the same)."""
    lowered = {name.lower(): name for name in sorted(known)}
    letters = sorted(word.lower())
    for name, written in lowered.items():
        if len(name) > 2 and sorted(name) == letters:  # two letters have changed places, which is no small difference
            return written
    meant = [each for each in _SYNONYMS.get(word.lower(), ()) if each in lowered]
    found = meant or difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=likeness)
    if not found:  # one letter too many in a short word
        shorter = [name for name in lowered if 2 < len(name) == len(letters) - 1]
        found = [name for name in shorter if any(_without(letters, each, name) for each in letters)]
    return lowered[found[0]] if found else ""


def _without(letters: list[str], one: str, name: str) -> bool:
    rest = list(letters)
    rest.remove(one)
    return rest == sorted(name)


_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("base_url", "api_base", "baseurl", "endpoint", "address", "uri"), ("url",)),
    **dict.fromkeys(("content", "message", "answer", "output"), ("text",)),
    "delta": ("text",),
    **dict.fromkeys(("jsonl", "jsonlines", "json-lines", "json_lines"), ("ndjson",)),
    **dict.fromkeys(("server-sent-events", "eventsource", "event-stream", "text/event-stream"), ("sse",)),
    "input_tokens": ("prompt", "max_tokens"),
    "output_tokens": ("completion", "max_tokens"),
    **dict.fromkeys(("chat_completions", "chat/completions", "chat-completions"), ("chat",)),
    **dict.fromkeys(("stop_sequences", "stop_sequence", "stop_words"), ("stop",)),
    **dict.fromkeys(("max_new_tokens", "max_length", "max_output_tokens"), ("max_tokens",)),
    **dict.fromkeys(("question", "query", "user_message"), ("prompt",)),
    **dict.fromkeys(("null", "nil", "undefined"), ("none",)),
    **dict.fromkeys(("system_prompt", "system_message"), ("system",)),
    "history": ("messages",),
    "finish_map": ("finish_reasons", "finish_reason"),
}
"""Words of other APIs and tools, and what they are called here, in the order of likelihood."""


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """``did you mean `x`?`` for the closest known word, or ""."""
    found = closest(word, known, likeness)
    return f"did you mean `{found}`?" if found else ""


def concealed(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str]) -> dict[str, str]:
    """The sources' texts, with `*` for each character of a stretch that is not to be shown, wherever it stands."""
    made = dict(sources)
    hidden: dict[str, set[str]] = {}
    for found in diagnostics:
        span = found.span
        if not found.conceal or span is None or span.file not in made:
            continue
        lines = _LINE.findall(made[span.file])
        mark = lines[0][: lines[0].startswith("\ufeff")] if lines else ""
        lines[:1] = [line.removeprefix(mark) for line in lines[:1]]
        for number in range(span.line - 1, min(span.end_line, len(lines))):
            line = lines[number]
            start = span.column - 1 if number == span.line - 1 else 0
            end = span.end_column - 1 if number == span.end_line - 1 else len(line)
            hidden.setdefault(span.file, set()).add(line[start:end].strip(_AROUND))
            lines[number] = line[:start] + re.sub(r"[^\s]", "*", line[start:end]) + line[end:]
        made[span.file] = mark + "".join(lines)
    for file, secrets in hidden.items():
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST:
                made[file] = made[file].replace(secret, re.sub(r"[^\s]", "*", secret))
    return made


def concealed_in(findings: Iterable[Diagnostic], sources: Mapping[str, str]) -> Iterator[str]:
    """The secrets that stand in a mapping's files, as findings tell of them; of several lines, each."""
    for found in findings:
        span = found.span
        if not found.conceal or span is None or span.file not in sources:
            continue
        lines = _BREAK.split(sources[span.file].removeprefix("\ufeff"))[span.line - 1 : span.end_line]
        for number, line in enumerate(lines, span.line):
            end = span.end_column - 1 if number == span.end_line else len(line)
            yield line[span.column - 1 if number == span.line else 0 : end].strip(" \t\r\"'")


_BREAK = re.compile(r"\r\n|\r|\n")
_AROUND = " \t\r\n\"'"
_SHORTEST = 6
"""Characters of what is hidden elsewhere, too."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
