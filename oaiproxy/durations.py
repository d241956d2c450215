"""A duration of a mapping to seconds."""

from __future__ import annotations

import math
import re

from oaiproxy.diagnostics import did_you_mean
from oaiproxy.source import Source
from oaiproxy.templates import Compilation


def compile_seconds(source: Source | None, compilation: Compilation, default: float) -> float:
    """The seconds of a key; `default` where it is not given, or is none, which goes to the compilation's findings."""
    if source is None:
        return default
    try:
        return seconds(source.value)
    except ValueError as error:
        message, _, label = str(error).partition("; ")
        compilation.report("E105", f"`{source.path[-1]}` is not a time to wait: {message}", source.span(), label=label)
        return default


def seconds(value: float | str) -> float:
    """A duration in seconds: a number, or text such as `500ms`, `30s`, `2m`. Raises ValueError for anything else."""
    if isinstance(value, int | float):
        made = float(value)
    else:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", value)
        if not found:
            hint = did_you_mean(value, ("30s", "500ms", "2m")) or "write `30s`"
            raise ValueError(f"`{value}` is not a duration; {hint}")
        made = float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]]
    if not math.isfinite(made):
        raise ValueError("a duration is finite; write `30s`")
    return made
