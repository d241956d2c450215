"""What commands print in common: reports of findings, and one-line errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.reporters import REPORTERS


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether to colour: https://no-color.org and https://force-color.org, else whether it is a terminal."""
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def report(findings: Sequence[Diagnostic], sources: Mapping[str, str], stream: TextIO, form: str = "text") -> None:
    """Print findings, if there are any; JSON is printed also when there are none."""
    if findings or form == "json":
        print(REPORTERS[form](findings, sources, wants_colour(stream, os.environ)), file=stream)


def complain(message: str) -> None:
    """Print an error that is not about a place in a file."""
    print(f"oaiproxy: {message}", file=sys.stderr)
