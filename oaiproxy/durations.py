"""A duration of a mapping to seconds."""

from __future__ import annotations

import math
import re

from oaiproxy.diagnostics import did_you_mean


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
