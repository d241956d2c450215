"""Promises of `oaiproxy.endpoints.responses_output`: whatever a backend tells makes items, and events that fit them."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints import responses_output
from oaiproxy.endpoints.responses_output import Output
from oaiproxy.errors import BackendError
from oaiproxy.events import Annotations, Delta, Event, Finish, Logprobs, Remainder, ToolCallDelta

CITED = {"start_index": 0, "end_index": 2, "url": "https://a.test", "title": "A"}
WEIGHT = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def fed(*events: Event, **options: Any) -> tuple[Output, list[dict[str, Any]]]:
    """The output after these events, and what it told."""
    output = Output("t", **options)
    return output, [told for event in events for told in output.feed(event)]


def test_reasoning_and_text_are_items_one_after_another() -> None:
    """A new one begins where the kind changes."""
    output, _ = fed(
        Delta("a", "reasoning_content"), Delta("b"), Delta("c", "reasoning_content"), Delta("d"), Finish("stop")
    )
    assert [(item["type"], item["status"]) for item in output.items] == [
        ("reasoning", "completed"),
        ("message", "completed"),
    ] * 2
    assert output.items[2]["summary"] == [{"type": "summary_text", "text": "c"}]


def test_a_refusal_is_a_part_of_the_message() -> None:
    """Behind the text."""
    output, told = fed(Delta("a"), Delta("no", "refusal"), Delta("!", "refusal"), Finish("content_filter"))
    (item,) = output.items
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]
    assert (item["content"][1]["refusal"], item["status"]) == ("no!", "incomplete")
    assert [event["delta"] for event in told if event["type"] == "response.refusal.delta"] == ["no", "!"]


def test_calls_may_grow_side_by_side() -> None:
    """Those that are no object are done when the answer is."""
    output, _ = fed(
        ToolCallDelta(0, "c0", "f", "{"),
        ToolCallDelta(1, "c1", "g", "["),
        ToolCallDelta(0, arguments="}"),
        ToolCallDelta(1, arguments="]"),
        Finish("tool_calls"),
    )
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output.items] == [
        ("c0", "f", "{}"),
        ("c1", "g", "[]"),
    ]


@pytest.mark.parametrize("next_", [ToolCallDelta(1, "c1", "g"), Delta("a"), Delta("a", "reasoning_content")])
def test_a_call_is_done_when_the_next_item_opens(next_: Event) -> None:
    """If all of its arguments came: its tool need not wait for what follows. White space may still come."""
    more = ToolCallDelta(0, arguments=" \n")
    output, told = fed(ToolCallDelta(0, "c0", "f", "{"), ToolCallDelta(0, arguments="}\n"), next_, more)
    assert [event["type"] for event in told[3:6]] == [
        *("response.function_call_arguments.done", "response.output_item.done", "response.output_item.added"),
    ]
    assert (output.items[0]["status"], output.items[0]["arguments"]) == ("completed", "{}\n")


def test_a_call_that_is_done_does_not_grow() -> None:
    """Its client has it."""
    with pytest.raises(BackendError) as caught:
        fed(ToolCallDelta(0, "c0", "f", "{}"), ToolCallDelta(1, "c1", "f"), ToolCallDelta(0, arguments="{}"))
    assert caught.value.code == "upstream_mapping_mismatch"


def test_a_custom_tool_is_called_with_text() -> None:
    """Its item and its events have other names."""
    output, told = fed(ToolCallDelta(0, "c0", "f", "ls"), Finish("tool_calls"), custom=frozenset(("f",)))
    (item,) = output.items
    assert (item["type"], item["input"]) == ("custom_tool_call", "ls")
    assert [event["type"] for event in told[1:3]] == [
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
    ]


def test_log_probabilities_come_with_their_text() -> None:
    """Also those that came before it; where nobody asked there are none."""
    output, told = fed(Logprobs([WEIGHT]), Delta("a"), Logprobs([WEIGHT]), Finish("stop"), wants_logprobs=True)
    assert output.items[0]["content"][0]["logprobs"] == [WEIGHT, WEIGHT]
    assert [event["delta"] for event in told if event["type"] == "response.output_text.delta"] == ["", "a", ""]
    output, _ = fed(Logprobs([WEIGHT]), Delta("a"), Finish("stop"))
    assert output.items[0]["content"][0]["logprobs"] == []


@pytest.mark.parametrize("given", [{"type": "url_citation", "url_citation": CITED}, {"type": "url_citation", **CITED}])
def test_annotations_are_flat(given: dict[str, Any]) -> None:
    """As they are here, not as chat has them."""
    output, told = fed(Delta("ab"), Annotations([given]), Finish("stop"))
    assert output.items[0]["content"][0]["annotations"] == [{"type": "url_citation", **CITED}]
    (added,) = (event for event in told if event["type"] == "response.output_text.annotation.added")
    assert (added["annotation_index"], added["annotation"]["url"]) == (0, "https://a.test")


def test_state_is_an_item_of_its_own_at_the_end() -> None:
    """It comes when all else is there."""
    output, _ = fed(Delta("a"), Remainder([{"state": 1}]), Finish("stop"))
    assert output.items[1]["type"] == "reasoning"
    assert output.items[1]["encrypted_content"].startswith("oaiproxy:")


def test_an_empty_answer_is_an_empty_message() -> None:
    """Clients look for one."""
    output, _ = fed(Delta(""), Finish("stop"))
    assert output.items[0]["content"][0]["text"] == ""


def test_what_broke_off_is_incomplete() -> None:
    """And holds what came."""
    output, _ = fed(Delta("a"), ToolCallDelta(0, "c", "f", "{"))
    output.abandon()
    assert [item["status"] for item in output.items] == ["completed", "incomplete"]
    assert output.items[1]["arguments"] == "{"


def test_a_second_choice_is_a_failure() -> None:
    """There is no place for it."""
    with pytest.raises(BackendError) as caught:
        fed(Delta("a", choice=1))
    assert caught.value.code == "upstream_mapping_mismatch"


def test_an_answer_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is kept until then."""
    monkeypatch.setattr(responses_output, "MAX_OUTPUT", 10)
    with pytest.raises(BackendError) as caught:
        fed(Delta("a" * 6), Delta("a" * 6))
    assert caught.value.code == "upstream_response_too_large"
