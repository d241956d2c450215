"""A duration becomes seconds; what is none is said."""

from __future__ import annotations

import pytest

from oaiproxy.durations import seconds


@pytest.mark.parametrize(("value", "wanted"), [(5, 5.0), (0.5, 0.5), ("500ms", 0.5), ("2 m", 120.0), ("1h", 3600.0)])
def test_seconds(value: float | str, wanted: float) -> None:
    """Numbers are seconds; text has a unit."""
    assert seconds(value) == wanted


@pytest.mark.parametrize("value", ["", "5", "5 days", "-5s", float("inf"), "9" * 400 + "s"])
def test_what_is_no_duration(value: float | str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="duration"):
        seconds(value)
