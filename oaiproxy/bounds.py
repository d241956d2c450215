"""How large what a request brings, makes and gets may be: of a configuration's `limits`, those of the pure parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes; of `rendered`, characters."""

    headers: int = 32 * 1024
    """A request's headers, all together."""
    depth: int = 64
    """How deep a request's JSON may be nested."""
    values: int = 200_000
    """How many values it may hold."""
    rendered: int = 128 * 1024 * 1024
    """What the templates of one request may make, what is only an intermediate result included."""
    steps: int = 1_000_000
    """Turns of loops, calls and list items that the templates of one request may take."""
    event: int = 1024 * 1024
    """One frame of a backend's stream."""
    answer: int = 32 * 1024 * 1024
    """A backend's whole answer, decompressed."""
    inflation: int = 200
    """How many times larger than it came a compressed answer may grow, beyond its first MiB."""


BOUNDS = Bounds()
"""Those of a configuration that says nothing."""
