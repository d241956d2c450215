"""Whatever a backend tells, blocks open and close one after another, and hold all that was told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import IDENTITY

from oaiproxy.endpoints import messages
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Finish, Head, Remainder, ToolCallDelta, Usage

ASK: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
THINKS = {"thinking": {"type": "adaptive"}}
CALLS: list[Event] = [ToolCallDelta(0, "a", "f"), ToolCallDelta(0, arguments='{"x":'), ToolCallDelta(1, "b", "g")]


def encode(told: list[Event], usage: Usage | None = None, **fields: Any) -> bytes:
    call = messages.parse(ASK | fields)
    encoder = messages.encoder(call, IDENTITY)
    return b"".join(map(encoder.feed, told)) + encoder.close(usage)


def whole(told: list[Event], usage: Usage | None = None, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(encode(told, usage, **fields))
    return made


def streamed(told: list[Event], usage: Usage | None = None, **fields: Any) -> list[dict[str, Any]]:
    """The events, each under its name."""
    made = []
    for event in encode(told, usage, stream=True, **fields).decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        made.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {made[-1]['type']}"
    return made


def parsed(arguments: str) -> dict[str, Any]:
    """A tool's input, as this API advises its clients to treat one that is broken."""
    try:
        made: dict[str, Any] = json.loads(arguments)
    except ValueError:
        return {"INVALID_JSON": arguments}
    return made


def assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client makes of a stream, which must be one."""
    first, *rest, delta, last = events
    assert (first["type"], delta["type"], last) == ("message_start", "message_delta", {"type": "message_stop"})
    message = dict(first["message"])
    blocks: list[dict[str, Any]] = []
    arguments = ""
    is_open = False
    for event in rest:
        kind = event["type"].removeprefix("content_block_")
        if kind == "start":
            assert (event["index"], is_open) == (len(blocks), False)
            blocks.append(dict(event["content_block"]))
            arguments, is_open = "", True
            continue
        assert (event["index"], is_open) == (len(blocks) - 1, True)
        block = blocks[-1]
        if kind == "stop":
            if block["type"] == "tool_use" and arguments:
                block["input"] = parsed(arguments)
            is_open = False
            continue
        assert kind == "delta"
        match event["delta"]:
            case {"type": "text_delta", "text": text} if block["type"] == "text":
                block["text"] += text
            case {"type": "thinking_delta", "thinking": text} if block["type"] == "thinking":
                block["thinking"] += text
            case {"type": "signature_delta", "signature": text} if block["type"] == "thinking":
                block["signature"] += text
            case {"type": "input_json_delta", "partial_json": text} if block["type"] == "tool_use":
                arguments += text
            case _:
                pytest.fail(f"{event} in {block}")
    assert not is_open
    return message | {"content": blocks, **delta["delta"], "usage": delta["usage"]}


def test_a_stream_on_the_wire() -> None:
    """Byte for byte."""
    told: list[Event] = [
        Head("msg_7", "big"),
        Delta("Hm.", "reasoning_content"),
        Delta("A\u2028"),
        Delta("b"),
        ToolCallDelta(0, "t~x", "f"),
        ToolCallDelta(0, arguments='{"a":'),
        ToolCallDelta(0, arguments="1}"),
        Remainder([{"state": "s"}], owner="m"),
        Finish("tool_calls"),
    ]
    usage = b'{"input_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":%d,"output_tokens":%d}'
    state = rb"{\"oaiproxy\":{\"extra_content\":{\"oaiproxy\":{\"of\":\"m\",\"state\":[{\"state\":\"s\"}]}}}}"
    lines = [
        b'{"type":"message_start","message":{"id":"msg_7","type":"message","role":"assistant","model":"big",'
        b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":' + usage % (0, 0, 0) + b"}}",
        b'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"oaiproxy"}}',
        b'{"type":"content_block_stop","index":0}',
        b'{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}',
        b'{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"A\\u2028"}}',
        b'{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"b"}}',
        b'{"type":"content_block_stop","index":1}',
        b'{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t~x","name":"f","input":{}}}',
        b'{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":"}}',
        b'{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}',
        b'{"type":"content_block_stop","index":2}',
        b'{"type":"content_block_start","index":3,"content_block":{"type":"redacted_thinking","data":"'
        + state
        + b'"}}',
        b'{"type":"content_block_stop","index":3}',
        b'{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":'
        + usage % (2, 1, 4)
        + b"}",
        b'{"type":"message_stop"}',
    ]
    wanted = b"".join(b"event: " + json.loads(each)["type"].encode() + b"\ndata: " + each + b"\n\n" for each in lines)
    assert encode(told, Usage(3, 4, 7, 1), stream=True, **THINKS) == wanted


def test_each_event_is_told_as_it_comes() -> None:
    """Nothing waits but for what belongs to another block than the open one."""
    encoder = messages.encoder(messages.parse(ASK | {"stream": True}), IDENTITY)
    assert b"message_start" in encoder.feed(Delta("a"))
    assert encoder.feed(Delta("b")).count(b"event: ") == 1
    assert encoder.feed(ToolCallDelta(0, "a", "f")).count(b"event: ") == 2
    assert encoder.feed(ToolCallDelta(0, arguments=" ")) == b""
    assert encoder.feed(ToolCallDelta(0, arguments='{"x":')).count(b"event: ") == 1
    assert encoder.feed(ToolCallDelta(1, "b", "g")) == b""
    assert encoder.feed(ToolCallDelta(1, arguments="{}")) == b""
    assert encoder.feed(ToolCallDelta(0, arguments="1}")).count(b"event: ") == 1
    assert encoder.feed(Finish("tool_calls")).count(b"event: ") == 4


def test_a_call_that_is_complete_makes_way() -> None:
    """More of it would have no place: nothing but white space may follow."""
    encoder = messages.encoder(messages.parse(ASK | {"stream": True}), IDENTITY)
    for event in (ToolCallDelta(0, "a", "f", "{}"), ToolCallDelta(1, "b", "g")):
        assert encoder.feed(event)
    assert encoder.feed(ToolCallDelta(0, arguments="\n")) == b""
    with pytest.raises(BackendError, match="was complete"):
        encoder.feed(ToolCallDelta(0, arguments="{}"))


@pytest.mark.parametrize(
    ("arguments", "given_"),
    [("", {}), (" ", {}), ("null", {}), ('{"a":1}', {"a": 1}), ("[1]", {"INVALID_JSON": "[1]"}), ("x", None)],
)
@pytest.mark.parametrize("streams", [False, True])
def test_input_is_an_object(streams: bool, arguments: str, given_: Any) -> None:
    """What is none is kept under a name of its own, and comes back as it was."""
    told: list[Event] = [ToolCallDelta(0, "a", "f"), *(ToolCallDelta(0, arguments=each) for each in arguments)]
    told.append(Finish("tool_calls"))
    made = assembled(streamed(told)) if streams else whole(told)
    (block,) = made["content"]
    assert block["input"] == ({"INVALID_JSON": "x"} if given_ is None else given_)
    back = messages.parse(ASK | {"messages": [*ASK["messages"], {"role": "assistant", "content": [block]}]})
    sent = back.messages[1]["tool_calls"][0]["function"]["arguments"]
    assert sent == ("{}" if given_ == {} else arguments)


@pytest.mark.parametrize(
    ("reason", "told"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal")],
)
def test_reasons(reason: Any, told: str) -> None:
    """In this API's words."""
    assert whole([Delta("a"), Finish(reason)])["stop_reason"] == told
    assert assembled(streamed([Delta("a"), Finish(reason)]))["stop_reason"] == told


def test_a_refusal_is_text_with_its_reason() -> None:
    """There is no other place for what the model says of it."""
    made = whole([Delta("No.", "refusal"), Finish("stop")])
    assert (made["content"], made["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


def test_thoughts_that_nobody_asked_for() -> None:
    """The text comes first then; where a tool is called they go along unseen, for the model needs them again."""
    thought, text = Delta("Hm.", "reasoning_content"), Delta("a")
    assert whole([thought, text, Finish("stop")])["content"] == [{"type": "text", "text": "a"}]
    assert [each["type"] for each in whole([thought, text, *CALLS])["content"]] == [
        *("text", "redacted_thinking", "tool_use", "tool_use"),
    ]
    shown = whole([thought, text, Finish("stop")], **THINKS)["content"]
    assert shown[0] == {"type": "thinking", "thinking": "Hm.", "signature": "oaiproxy"}
    hidden = whole([thought, text, *CALLS])["content"]
    for content in (hidden, shown):
        back = messages.parse(ASK | {"messages": [*ASK["messages"], {"role": "assistant", "content": content}]})
        assert back.messages[1]["reasoning_content"] == "Hm."


def test_other_choices_and_names() -> None:
    """There is one choice; an id of another kind is not this API's."""
    made = whole([Head("chatcmpl-1", "big"), Delta("a"), Delta("b", choice=1), Finish("stop"), Finish("stop", 1)])
    assert (made["id"], made["model"], len(made["content"])) == ("msg_" + IDENTITY.token, "big", 1)
    assert made["usage"]["input_tokens"] == 0


def test_a_stop_string_is_told() -> None:
    """Which one it was, where the proxy itself cut at it."""
    told: list[Event] = [Delta("a"), Finish("stop", 0, "END")]
    made = whole(told)
    assert (made["stop_reason"], made["stop_sequence"]) == ("stop_sequence", "END")
    events = streamed(told)
    assert events[0]["message"]["stop_sequence"] is None
    assert assembled(events) == made


def test_a_failure_in_a_stream() -> None:
    """An event, of which clients make an exception; an answer that is whole has no place for one."""
    for streams in (True, False):
        encoder = messages.encoder(messages.parse(ASK | {"stream": streams}), IDENTITY)
        told = encoder.fail(BackendError("lost", code="upstream_reset"))
        body = {"type": "api_error", "message": "lost", "details": {"error_code": "upstream_reset"}}
        made = {"type": "error", "error": body, "request_id": "req_1"}
        assert told == (b"event: error\ndata: " + json.dumps(made, separators=(",", ":")).encode() + b"\n\n") * streams


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
SAID = st.builds(Delta, TEXT, st.sampled_from(["content", "reasoning_content", "refusal"]))
MORE = st.tuples(st.integers(0, 2), st.sampled_from(["", " ", "{", "}", '"a":1', "[", "x"]))


@given(st.lists(SAID | MORE, max_size=30), st.booleans(), st.booleans())
def test_any_answer_is_the_same_either_way(steps: list[Any], thinks: bool, has_state: bool) -> None:
    """Blocks in order and closed, indexes dense; a stream adds up to the whole answer, or breaks off by itself."""
    told: list[Event] = []
    known: dict[int, int] = {}
    for step in steps:
        if isinstance(step, Delta):
            told.append(step)
            continue
        call, text = step
        if call not in known:
            known[call] = len(known)
            told.append(ToolCallDelta(known[call], f"id{call}", "f"))
        told.append(ToolCallDelta(known[call], arguments=text))
    told += [Remainder([{"state": 1}], owner="m")] * has_state + [Finish("stop")]
    fields = THINKS if thinks else {}
    once = whole(told, Usage(3, 4, 7), **fields)
    try:
        events = streamed(told, Usage(3, 4, 7), **fields)
    except BackendError:
        return
    assert assembled(events) == once
