"""Promises of `oaiproxy.events`: values that say only what the backend said, and do not change."""

from __future__ import annotations

import pytest

from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Fault, Finish, Head, ToolCallDelta, Usage

EVENTS: list[Event] = [Head("id"), Delta("a"), ToolCallDelta(0), Usage(), Finish("stop"), Fault(BackendError("m"))]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_do_not_change(event: Event) -> None:
    """They pass through many hands."""
    name = type(event).__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(event, name, None)


def test_events_are_equal_by_value() -> None:
    """Tests and replays compare them."""
    assert Delta("a") == Delta("a", "content", 0)
    assert Delta("a") != Delta("a", choice=1)


def test_counts_that_were_not_given_are_none() -> None:
    """Zero is a count, None is silence."""
    assert Usage(completion=0) == Usage(None, 0, None, None, None)
