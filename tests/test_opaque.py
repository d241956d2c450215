"""State survives in the id of a tool call; what was not made here, or is too much, does no harm."""

from __future__ import annotations

import json
import random
import zlib
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.opaque import MAX_DECODED, MAX_ENCODED, MAX_TOTAL, Restored, Restorer, are_items, seal


def packed(value: Any) -> str:
    return urlsafe_b64encode(zlib.compress(json.dumps(value).encode(), 9)).rstrip(b"=").decode()


def noise(size: int) -> str:
    """Text that no compression makes much smaller."""
    return random.Random(1).randbytes(size).hex()


JSON = st.recursive(st.booleans() | st.integers(-9, 9) | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3))
ITEMS = st.lists(st.fixed_dictionaries({"state": JSON}, optional={"text": st.text(max_size=9), "id": st.text("ab")}))


@given(st.text("abc~_-", min_size=1, max_size=9), st.none() | JSON, ITEMS)
def test_what_was_sealed_is_restored(call_id: str, state: Any, before: list[Any]) -> None:
    """The plain id, the state and the items, whatever they are."""
    sealed = seal(call_id, state, before)
    assert sealed is not None
    if state is None and not before:
        assert sealed == call_id
    else:
        assert Restorer().restore(sealed) == Restored(call_id, state, tuple(before))
        assert Restorer().plain(sealed) == call_id


NOT_OURS: dict[str, str] = {
    "plain": "call_1",
    "a mark and nothing": "call_1~",
    "a mark at the beginning": "~" + packed({"state": 1}),
    "no base64": "call_1~***",
    "not of the alphabet": "call_1~" + packed({"state": 1}) + "+/",
    "characters beyond ASCII": "call_1~\xe9\u4e2d",
    "one character": "call_1~A",
    "no zlib": "call_1~aGVsbG8",
    "cut short": "call_1~" + packed({"state": "a" * 50})[:-8],
    "followed by more": "call_1~" + urlsafe_b64encode(zlib.compress(b'{"state":1}') + b"xyz").rstrip(b"=").decode(),
    "no JSON": "call_1~" + urlsafe_b64encode(zlib.compress(b"{")).rstrip(b"=").decode(),
    "no UTF-8": "call_1~" + urlsafe_b64encode(zlib.compress(b'"\xff"')).rstrip(b"=").decode(),
    "no object": "call_1~" + packed([1]),
    "an empty object": "call_1~" + packed({}),
    "another key": "call_1~" + packed({"state": 1, "x": 2}),
    "items that are none": "call_1~" + packed({"before": {"state": 1}}),
    "an item without state": "call_1~" + packed({"before": [{"text": "a"}]}),
    "an item with another key": "call_1~" + packed({"before": [{"state": 1, "type": "text"}]}),
    "an item whose text is none": "call_1~" + packed({"before": [{"state": 1, "text": 2}]}),
    "nested too deeply": "call_1~" + packed({"state": json.loads("[" * 40 + "]" * 40)}),
    "nested beyond all measure": "call_1~" + urlsafe_b64encode(zlib.compress(b"[" * 200_000)).rstrip(b"=").decode(),
    "a bomb": "call_1~" + packed({"state": "a" * MAX_DECODED}),
    "longer than we make": "call_1~" + packed({"state": noise(MAX_ENCODED)}),
}


@pytest.mark.parametrize("call_id", NOT_OURS.values(), ids=NOT_OURS)
def test_an_id_that_is_not_ours_stays_as_it_is(call_id: str) -> None:
    """No exception, no state."""
    assert Restorer().restore(call_id) == Restored(call_id)
    assert Restorer().plain(call_id) == call_id


@pytest.mark.parametrize(
    "state",
    [noise(MAX_ENCODED), "a" * MAX_DECODED, json.loads("[" * 40 + "]" * 40), 10**5000],
    ids=["too long", "too large", "too deep", "no JSON"],
)
def test_state_that_is_too_much_is_not_sealed(state: Any) -> None:
    """It would not come back."""
    assert seal("c", state, []) is None


def test_all_ids_of_a_request_together_are_bounded() -> None:
    """Small ids that inflate to much: after so many they stay as they are."""
    restorer = Restorer()
    ids = [f"c{number}~" + packed({"state": "a" * (MAX_DECODED - 100)}) for number in range(40)]
    restored = [restorer.restore(each) for each in ids]
    assert restored[0].state is not None
    assert sum(each.state is not None for each in restored) <= MAX_TOTAL // (MAX_DECODED - 100)
    assert restored[-1] == Restored(ids[-1])


def test_an_id_is_inflated_once() -> None:
    """A call and its result have the same id."""
    restorer = Restorer()
    sealed = seal("c", "s", [])
    assert sealed is not None
    assert restorer.restore(sealed) is restorer.restore(sealed)


@pytest.mark.parametrize("items", [None, {}, "x", [1], [{"state": None}], [{"state": 1, "x": 1}]])
def test_what_are_no_items(items: Any) -> None:
    """Clients may send anything."""
    assert not are_items(items)


def test_what_is_for_another_mapping_is_left_out() -> None:
    """All but the backend's own id."""
    sealed = seal("c1", "s", [{"state": "t"}], "ours")
    assert sealed is not None
    assert Restorer("ours").restore(sealed) == Restored("c1", "s", ({"state": "t"},))
    for owner in ("theirs", ""):
        assert Restorer(owner).restore(sealed) == Restored("c1")
