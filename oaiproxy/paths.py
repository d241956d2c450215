"""The paths that clients use to the paths that are served: stray slashes, `/v1` twice or not at all, deployments.

table = Table({"/v1/models": {"GET"}, "/v1/models/{model:.+}": {"GET"}})
table.find("//v1/v1/models/")      # Found("/v1/models", {}, None)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MAX_NAME = 8
"""Segments that the name of a deployment may have when its slashes are not encoded."""
_OPENAI, _VERSION = "openai", "v1"
_DEPLOYMENTS = ("deployments", "engines")
_FIELD = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


@dataclass(frozen=True, slots=True)
class Found:
    """A path that is served: its pattern, what stands in its braces, and the deployment that was named, if any."""

    pattern: str
    fields: Mapping[str, str]
    deployment: str | None = None


class Table:
    """The paths that are served, as patterns: `{name}` is one segment, `{name:expression}` what the expression fits."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._fixed: set[str] = set()
        self._open: list[tuple[str, re.Pattern[str]]] = []
        for pattern in dict.fromkeys(patterns):
            if "{" in pattern:
                self._open.append((pattern, re.compile(_expression(pattern))))
            else:
                self._fixed.add(pattern)

    def find(self, path: str) -> Found | None:
        """What a path means; None when nobody serves it. `%2F` and `%25` in it are as they came."""
        for candidate, deployment in spellings(path):
            if candidate in self._fixed:
                return Found(candidate, {}, deployment)
            for pattern, expression in self._open:
                if fitting := expression.fullmatch(candidate):
                    fields = {name: _decoded(text) for name, text in fitting.groupdict().items()}
                    return Found(pattern, fields, deployment)
        return None


def spellings(path: str) -> Iterator[tuple[str, str | None]]:
    """The paths that one may stand for, the likeliest first, each with the deployment that is named in it.

    Deployments: https://learn.microsoft.com/azure/ai-foundry/openai/reference
    """
    segments = [segment for segment in path.split("/") if segment]
    yield "/" + "/".join(segments), None
    while segments and segments[0] in (_OPENAI, _VERSION):
        del segments[0]
    if segments and segments[0] in _DEPLOYMENTS:
        rest = segments[1:]
        for length in range(1, min(MAX_NAME, len(rest) - 1) + 1):
            yield _versioned(rest[length:]), _decoded("/".join(rest[:length]))
    yield _versioned(segments), None


def _versioned(segments: list[str]) -> str:
    return "/".join(("", _VERSION, *segments))


def _expression(pattern: str) -> str:
    """A regular expression for a pattern."""
    made, at = "", 0
    for field in _FIELD.finditer(pattern):
        made += re.escape(pattern[at : field.start()]) + f"(?P<{field[1]}>{field[2] or '[^/]+'})"
        at = field.end()
    return made + re.escape(pattern[at:])


def _decoded(text: str) -> str:
    """What the library leaves encoded in a path that it decodes, so that an encoded slash parts no segments."""
    return text.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")
