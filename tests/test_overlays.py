"""Promises of overlays: laid over the one tree, they make the other."""

from __future__ import annotations

from oaiproxy.overlays import laid


def test_only_what_differs() -> None:
    """What is new, what is another, and what goes; what the client may leave out is no difference."""
    whole = {"a": 1, "b": {"c": 2, "d": 3}, "t": "{{ temperature }}", "s": "{{ stream }}", "e": 5}
    other = {"a": 1, "b": {"c": 2, "d": 4}, "f": [1]}
    assert laid(whole, other) == {"b": {"d": 4}, "f": [1], "s": None, "e": None}
    assert laid(whole, whole) == {}
    assert laid([1], [2]) == [2]
