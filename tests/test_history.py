"""What clients send back of an assistant's message is what the backend needs, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.history import NOTHING, forgotten, recall
from oaiproxy.opaque import Restorer, seal


def call(call_id: str, state: Any = None, *before: Any) -> dict[str, Any]:
    return {"id": seal(call_id, state, list(before)), "function": {"name": "f"}}


def message(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls), **more}


def test_states_and_items_come_back_in_order() -> None:
    """Those of the calls, one after another, then those that no call took along."""
    extra = {"oaiproxy": {"state": [{"state": "s3"}]}}
    made = message(call("a", "x", {"text": "t", "state": "s1"}), call("b", None, {"state": "s2"}), extra_content=extra)
    memory = recall(made, Restorer())
    assert memory.calls == {"a": "x"}
    assert memory.parts(made) == [
        {"type": "reasoning", "text": "t", "state": "s1"},
        {"type": "reasoning", "state": "s2"},
        {"type": "reasoning", "state": "s3"},
    ]


def test_items_for_another_mapping_are_left_out() -> None:
    """Wherever they are."""
    extra = {"oaiproxy": {"of": "ours", "state": [{"state": "s"}]}}
    assert recall(message(extra_content=extra), Restorer("ours")).items == ({"state": "s"},)
    assert recall(message(extra_content=extra), Restorer("theirs")) == NOTHING


def test_a_raw_request_holds_no_state() -> None:
    """What is none of ours stays as it is."""
    theirs = {"google": {"signature": "x"}}
    made = message(call("a", "x"), {"id": "b~c"}, extra_content={"oaiproxy": {"state": []}, **theirs})
    results = [{"role": "tool", "tool_call_id": each["id"]} for each in made["tool_calls"]]
    request = {"messages": [{"role": "user", "content": "hi"}, made, *results], "n": 1}
    said, *rest = forgotten(request, Restorer("any"))["messages"][1:]
    assert [each["id"] for each in said["tool_calls"]] == ["a", "b~c"]
    assert [each["tool_call_id"] for each in rest] == ["a", "b~c"]
    assert said["extra_content"] == theirs
    plain = {"messages": [message({"id": "a"})]}
    assert forgotten(plain, Restorer()) is plain


def test_the_late_state_of_a_call_is_that_calls() -> None:
    """It rode elsewhere, under the call's id."""
    made = message(call("a"), call("b", None, {"id": "a", "state": "late"}))
    memory = recall(made, Restorer())
    assert (memory.items, memory.calls) == ((), {"a": "late"})


def test_a_clients_own_reasoning_is_a_part_without_state() -> None:
    """Unless it came with state: then it is the same text."""
    plain = message(reasoning_content="hm")
    assert recall(plain, Restorer()).parts(plain) == [{"type": "reasoning", "text": "hm"}]
    signed = message(call("a", None, {"text": "hm", "state": "s"}), reasoning_content="hm")
    assert recall(signed, Restorer()).parts(signed) == [{"type": "reasoning", "text": "hm", "state": "s"}]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"extra_content": None},
        {"extra_content": "x"},
        {"extra_content": {"oaiproxy": []}},
        {"extra_content": {"oaiproxy": {"state": {}}}},
        {"extra_content": {"oaiproxy": {"state": [{"type": "text"}]}}},
        {"extra_content": {"google": {"state": [{"state": 1}]}}},
        {"reasoning_content": 5},
        {"reasoning_content": ""},
        {"tool_calls": None},
    ],
)
def test_what_is_none_of_ours_is_nothing(more: dict[str, Any]) -> None:
    """Clients may send anything there."""
    made = message() | more
    memory = recall(made, Restorer())
    assert memory == NOTHING
    assert memory.parts(made) == []
