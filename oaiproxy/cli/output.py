"""What commands print in common: reports of findings, and one-line errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from oaiproxy.bundled import meant
from oaiproxy.diagnostics import Diagnostic, did_you_mean
from oaiproxy.errors import MappingError
from oaiproxy.reporters import REPORTERS


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether to colour: https://no-color.org and https://force-color.org, else whether it is a terminal."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def report(findings: Sequence[Diagnostic], sources: Mapping[str, str], stream: TextIO, form: str = "text") -> None:
    """Print findings, if there are any; what programs parse is printed also when there are none."""
    if findings or form in ("json", "sarif"):
        print(REPORTERS[form](findings, sources, wants_colour(stream, os.environ)), file=stream)


def announce(text: str) -> None:
    """Print what a service says at its start; that nobody can read it is no reason not to serve."""
    try:
        print(text, flush=True)
    except OSError:
        discard_output()


def discard_output() -> None:
    """Let what standard output still holds go nowhere, or the interpreter complains at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def cannot_listen(host: str, port: int, error: Exception) -> str:
    """What to complain of when an address cannot be listened on."""
    number = getattr(error, "errno", None) or 0
    reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
    shown = f"[{host}]" if ":" in host else host
    return f"not started: cannot listen on {shown}:{port}: {reason}; choose with `--host` and `--port`"


def ships(name: str) -> str:
    """What to add where there is no file: what was meant, of those beside it, or of the mappings that ship."""
    path = Path(name)
    files = [str(each) for each in path.parent.glob("*") if each.suffix in (".yaml", ".yml")]
    if hint := did_you_mean(name, files):
        return f"; {hint}"
    return "" if os.sep in name or path.suffix else f"; {meant(name)}"


def complain(message: str) -> None:
    """Print an error that is not about a place in a file: one line, whatever names and answers are quoted in it."""
    print(complaint(message), file=sys.stderr)


def complaint(message: str) -> str:
    """That line."""
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in message)
    return f"oaiproxy: {shown}"


def report_errors(error: MappingError) -> None:
    """Report what is wrong in a mapping or a configuration."""
    report(error.diagnostics, error.sources, sys.stderr)
