"""What a mapping picks, compiled: what its words for the end of an answer mean."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.sinks import FinishReasons

REASONS: dict[str, tuple[dict[str, str | None], Any, tuple[str | None, bool]]] = {
    "the mapping's word": ({"eos": "length"}, "eos", ("length", True)),
    "not yet": ({"normal": None}, "normal", (None, True)),
    "the rest": ({"*": "content_filter"}, "odd", ("content_filter", True)),
    "a common word": ({}, "end_turn", ("stop", True)),
    "in any case": ({}, "MAX_TOKENS", ("length", True)),
    "unknown": ({}, "odd", ("stop", False)),
    "a number": ({"2": "length"}, 2, ("length", True)),
    "a boolean": ({"true": "stop"}, True, ("stop", True)),
}


@pytest.mark.parametrize(("table", "value", "wanted"), REASONS.values(), ids=REASONS)
def test_finish_reasons(table: dict[str, str | None], value: Any, wanted: tuple[str | None, bool]) -> None:
    """The mapping's table first, then the words that most APIs use; unknown ones are stop, and said to be unknown."""
    assert FinishReasons(table).resolve(value) == wanted
