"""Promises of `oaiproxy.responses_store`: what is kept is found again, and there is never too much of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.eventlog import EventLog
from oaiproxy.responses_store import ResponseStore


def put(store: ResponseStore, name: str, *, text: str = "", before: Any = ()) -> None:
    """Keep a response with one item in and one out."""
    output = [{"id": f"out_{name}", "text": text}]
    store.put({"id": name, "output": output}, before, [{"id": f"in_{name}"}])


def test_a_conversation_is_all_that_was_said() -> None:
    """Also after what it began with is gone."""
    store = ResponseStore(10, 10_000, 60)
    put(store, "a")
    kept = store.get("a")
    assert kept is not None
    put(store, "b", before=kept.conversation())
    assert store.delete("a")
    kept = store.get("b")
    assert kept is not None
    assert [item["id"] for item in kept.conversation()] == ["in_a", "out_a", "in_b", "out_b"]
    assert [item["id"] for item in kept.input_items()] == ["in_a", "out_a", "in_b"]
    assert (store.item("out_a"), store.item("out_b")) == (None, {"id": "out_b", "text": ""})
    assert not store.delete("a")
    assert store.item("in_b") is None  # whose id the client may have chosen


def test_time_runs_out() -> None:
    """For the oldest first."""
    now = [0.0]
    store = ResponseStore(10, 10_000, 60, lambda: now[0])
    put(store, "a")
    now[0] = 30
    put(store, "b")
    now[0] = 60
    assert store.get("a") is None
    assert store.get("b") is not None
    now[0] = 90
    assert store.item("out_b") is None
    assert (len(store), store.bytes) == (0, 0)


def test_what_is_too_large_is_not_kept() -> None:
    """And pushes nothing out."""
    store = ResponseStore(10, 1000, 60)
    put(store, "a")
    put(store, "b", text="x" * 1000)
    assert store.get("a") is not None
    assert store.get("b") is None


async def test_events_that_are_too_many_are_left_out() -> None:
    """The response itself is kept."""
    store = ResponseStore(10, 1000, 60)
    for count, found in ((10, True), (500, False)):
        log = EventLog()
        log.add(b"data: x\n\n" * count, last=True)
        store.put({"id": "a", "output": []}, [], [], log)
        kept = store.get("a")
        assert kept is not None
        assert (kept.events is log) == found
        assert store.bytes == kept.size <= 1000


def test_nothing_can_be_kept() -> None:
    """If the operator wants it so."""
    store = ResponseStore(0, 1000, 60)
    put(store, "a")
    assert len(store) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 300), st.booleans()), max_size=30))
def test_it_is_never_over_its_bounds(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever comes and goes; and its own count is right."""
    store = ResponseStore(4, 1000, 60)
    for name, size, gone in steps:
        if gone:
            store.delete(name)
        else:
            put(store, name, text="x" * size)
        assert len(store) <= 4
        found = [kept.size for each in "abcdef" if (kept := store.get(each)) is not None]
        assert store.bytes == sum(found) <= 1000
    for name in "abcdef":
        store.delete(name)
    assert store.bytes == 0
    assert store.item("out_a") is None
