"""Chat requests become calls; events become completion objects and chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import HI, IDENTITY, assert_strict, events, needs_strict

from oaiproxy.endpoints import chat
from oaiproxy.errors import ClientError
from oaiproxy.events import Annotations, Delta, Event, Finish, Head, Logprobs, Remainder, ToolCallDelta, Usage

USAGE = Usage(3, 4, 7, 1, 2)
TALK: list[Event] = [Head("theirs", "big"), Delta("hm", "reasoning_content"), Delta("a"), Delta("b"), Finish("stop")]
TOOLS: list[Event] = [
    ToolCallDelta(0, "c1", "f"),
    ToolCallDelta(0, arguments="{"),
    ToolCallDelta(1, "c2", "g"),
    ToolCallDelta(0, arguments="}"),
    ToolCallDelta(1, arguments="{}"),
    Finish("tool_calls"),
]


def encode(events_: list[Event], usage: Usage | None = None, **fields: Any) -> bytes:
    call = chat.parse(HI | fields)
    encoder = chat.encoder(call, IDENTITY)
    return b"".join(map(encoder.feed, events_)) + encoder.close(usage)


def chunks(events_: list[Event], usage: Usage | None = None, **fields: Any) -> list[dict[str, Any]]:
    *found, done = events(encode(events_, usage, stream=True, **fields))
    assert done == "[DONE]"
    return [json.loads(chunk) for chunk in found]


def test_a_request_is_a_call() -> None:
    """Its fields, without messages and what was not sent; unknown ones apart; the body as it came."""
    body = HI | {"temperature": 0.5, "n": None, "x": 1, "stream": True, "stream_options": {"include_usage": True}}
    call = chat.parse(body)
    assert (call.endpoint, call.model, call.stream, call.include_usage) == ("chat", "m", True, True)
    assert (call.messages, call.extra, call.request) == (HI["messages"], {"x": 1}, body)
    assert call.fields["temperature"] == 0.5
    assert not {"messages", "n", "x"} & set(call.fields)


@pytest.mark.parametrize("stream", [None, False])
def test_not_to_stream(stream: bool | None) -> None:
    """Null and false are the same; options of a stream are then tolerated."""
    call = chat.parse(HI | {"stream": stream, "stream_options": {"include_usage": None}})
    assert (call.stream, call.include_usage) == (False, False)


TOOL = [{"type": "function", "function": {"name": "f"}}]
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "auto", "tools": [*TOOL, {"type": "function", "function": {"name": "g"}}]},
}
UNKNOWN = "invalid_value"
MISTAKES: list[tuple[Any, str, str]] = [
    ([], None, "invalid_type"),
    ("x", None, "invalid_type"),
    (None, None, "invalid_type"),
    ({}, "model", "missing_required_parameter"),
    (HI | {"model": ""}, "model", "missing_required_parameter"),
    (HI | {"model": 5}, "model", "invalid_type"),
    (HI | {"messages": None}, "messages", "missing_required_parameter"),
    (HI | {"messages": "hi"}, "messages", "invalid_type"),
    (HI | {"messages": []}, "messages", "empty_array"),
    (HI | {"stream": "yes"}, "stream", "invalid_type"),
    (HI | {"top_logprobs": 3}, "top_logprobs", "invalid_value"),
    (HI | {"top_logprobs": 3, "logprobs": False}, "top_logprobs", "invalid_value"),
    (HI | {"tools": TOOL, "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", UNKNOWN),
    (HI | {"tools": TOOL, "tool_choice": {"type": "function", "name": "g"}}, "tool_choice", UNKNOWN),
    (HI | {"tools": TOOL, "tool_choice": {"type": "custom", "custom": {"name": "g"}}}, "tool_choice", UNKNOWN),
    (HI | {"tools": TOOL, "tool_choice": ALLOWED}, "tool_choice", UNKNOWN),
]


@pytest.mark.parametrize(("body", "param", "code"), MISTAKES)
def test_mistakes_of_the_request(body: Any, param: str, code: str) -> None:
    """A 400 with the parameter's path."""
    with pytest.raises(ClientError) as caught:
        chat.parse(body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_a_whole_answer() -> None:
    """All keys that clients need; the backend's own id and model where it gives them."""
    assert json.loads(encode(TALK, USAGE)) == {
        "id": "theirs",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "big",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None, "reasoning_content": "hm"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    }


def test_a_whole_answer_without_counts_has_no_usage() -> None:
    """Never nulls inside it."""
    assert "usage" not in json.loads(encode(TALK))


def test_whole_tool_calls() -> None:
    """Content null, arguments put together."""
    message = json.loads(encode(TOOLS))["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_a_refusal_has_its_own_place() -> None:
    """And no content."""
    message = json.loads(encode([Delta("no", "refusal"), Finish("stop")]))["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == ("", "no")


def test_a_stream_opens_with_the_role() -> None:
    """Once, and the same id, model and time on every chunk."""
    found = chunks(TALK)
    assert [chunk["choices"][0]["delta"] for chunk in found] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "hm"},
        {"content": "a"},
        {"content": "b"},
        {},
    ]
    assert {(c["id"], c["object"], c["created"], c["model"]) for c in found} == {
        ("theirs", "chat.completion.chunk", 1_700_000_000, "big")
    }


def test_a_head_that_comes_late_is_not_taken() -> None:
    """The id does not change under the client."""
    assert {chunk["id"] for chunk in chunks([Delta("a"), Head("late"), Finish("stop")])} == {"chatcmpl-" + "t" * 24}


def test_an_empty_stream() -> None:
    """Role and finish."""
    first, last = chunks([Finish("length")])
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert last["choices"][0]["finish_reason"] == "length"


def test_usage_in_a_stream() -> None:
    """Only where it was asked for; then null on all chunks but the last."""
    assert not any("usage" in chunk for chunk in chunks(TALK, USAGE))
    *found, last = chunks(TALK, USAGE, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in found)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 7)


def test_choices_are_kept_apart() -> None:
    """Each has its role, its text and its reason."""
    both: list[Event] = [Delta("a", choice=0), Delta("b", choice=1), Finish("stop", 1), Finish("length", 0)]
    found = [chunk["choices"][0] for chunk in chunks(both)]
    assert [(c["index"], c["delta"].get("role")) for c in found if "role" in c["delta"]] == [
        (0, "assistant"),
        (1, "assistant"),
    ]
    assert {c["index"]: c["finish_reason"] for c in found if c["finish_reason"]} == {0: "length", 1: "stop"}
    whole = json.loads(encode(both))["choices"]
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in whole] == [
        (0, "a", "length"),
        (1, "b", "stop"),
    ]


@needs_strict
@pytest.mark.parametrize("talk", [TALK, TOOLS, [Finish("content_filter")], [Delta("no", "refusal"), Finish("stop")]])
def test_openais_schemas(talk: list[Event]) -> None:
    """All of it is what OpenAI describes."""
    assert_strict("CreateChatCompletionResponse", [json.loads(encode(talk, USAGE)), json.loads(encode(talk))])
    for fields in ({}, {"stream_options": {"include_usage": True}}):
        assert_strict("CreateChatCompletionStreamResponse", chunks(talk, USAGE, **fields))


NOTES: list[Event] = [
    Logprobs([{"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}]),
    Annotations([{"type": "url_citation"}]),
    Delta("a"),
    Remainder([{"state": "s"}]),
    Finish("stop"),
]
EXTRA = {"oaiproxy": {"state": [{"state": "s"}]}}


def test_what_belongs_to_a_choice_is_in_its_chunks() -> None:
    """Log probabilities for those who asked, annotations, and the rest of the state in the last delta."""
    choices = [chunk["choices"][0] for chunk in chunks(NOTES, logprobs=True)]
    assert choices[0]["delta"]["role"] == "assistant"
    assert [choice["logprobs"] for choice in choices if choice["logprobs"]] == [
        {"content": [{"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}], "refusal": None}
    ]
    assert [choice["delta"] for choice in choices[2:]] == [
        {"annotations": [{"type": "url_citation"}]},
        {"content": "a"},
        {"extra_content": EXTRA},
    ]
    assert choices[-1]["finish_reason"] == "stop"
    assert not any(chunk["choices"][0]["logprobs"] for chunk in chunks(NOTES))


def test_what_belongs_to_a_choice_is_in_its_message() -> None:
    """As in the chunks."""
    choice = json.loads(encode(NOTES, logprobs=True))["choices"][0]
    assert choice["logprobs"]["content"][0]["token"] == "a"
    assert choice["message"]["annotations"] == [{"type": "url_citation"}]
    assert choice["message"]["extra_content"] == EXTRA
    assert json.loads(encode(NOTES))["choices"][0]["logprobs"] is None


CUSTOM: list[Event] = [
    ToolCallDelta(0, "c1", "patch", custom=True),
    ToolCallDelta(0, arguments="+ one", custom=True),
    ToolCallDelta(1, "c2", "f"),
    ToolCallDelta(1, arguments="{}"),
    Finish("tool_calls"),
]


def test_calls_of_custom_tools() -> None:
    """With the text that they take, beside those of functions."""
    message = json.loads(encode(CUSTOM))["choices"][0]["message"]
    assert message["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "+ one"}},
        {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(CUSTOM)]
    assert [call for delta in deltas for call in delta.get("tool_calls", ())][:2] == [
        {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "patch", "input": ""}},
        {"index": 0, "custom": {"input": "+ one"}},
    ]


@needs_strict
def test_calls_of_custom_tools_are_openais() -> None:
    """By its schema of whole answers; that of chunks knows functions only."""
    assert_strict("CreateChatCompletionResponse", [json.loads(encode(CUSTOM))])
