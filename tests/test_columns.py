"""Promises of `oaiproxy.columns`: columns stand under each other."""

from __future__ import annotations

from oaiproxy.columns import aligned


def test_each_column_is_as_wide_as_its_widest_cell() -> None:
    """Nothing stands behind the last."""
    assert aligned([["a", "bb", ""], ["ccc", "d", "e"]]) == "a    bb\nccc  d   e"
