"""Functions become tools, and calls of tools are told in their words to clients that sent functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import HI, IDENTITY, assert_strict, events, needs_strict

from oaiproxy.endpoints import chat
from oaiproxy.endpoints.conversation import read_messages
from oaiproxy.errors import ClientError
from oaiproxy.events import Delta, Event, Finish, ToolCallDelta

F: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": F}
USER = {"role": "user", "content": "a"}
OLD = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}
RESULT = {"role": "function", "name": "f", "content": "found"}
CALLED: list[Event] = [
    ToolCallDelta(0, "c1", "f"),
    ToolCallDelta(0, arguments='{"a'),
    ToolCallDelta(0, arguments='":1}'),
    Finish("tool_calls"),
]


def parse(**fields: Any) -> Any:
    return chat.parse(HI | fields)


def encode(events_: list[Event], **fields: Any) -> bytes:
    encoder = chat.encoder(parse(functions=[F], **fields), IDENTITY)
    return b"".join(map(encoder.feed, events_)) + encoder.close(None)


CHOICES: dict[str, tuple[Any, Any]] = {
    "none is said": (None, None),
    "auto": ("auto", None),
    "none": ("none", "none"),
    "a function": ({"name": "f"}, {"type": "function", "function": {"name": "f"}}),
}


@pytest.mark.parametrize(("said", "choice"), CHOICES.values(), ids=CHOICES)
def test_functions_are_tools(said: Any, choice: Any) -> None:
    """In the fields and in the raw request; one call at a time is all that the words have room for."""
    call = parse(functions=[F], function_call=said, seed=1)
    assert call.fields["tools"] == call.request["tools"] == [TOOL]
    assert call.fields.get("tool_choice") == call.request.get("tool_choice") == choice
    assert call.fields["parallel_tool_calls"] is False
    assert not {"functions", "function_call"} & (set(call.fields) | set(call.request) | set(call.extra))
    assert (call.fields["seed"], call.request["seed"]) == (1, 1)
    assert call.sent["functions"] == [F]


def test_no_functions_are_no_tools() -> None:
    """Null and empty lists are not sent, and a choice among none says nothing."""
    for fields in ({"functions": None}, {"functions": []}, {"function_call": {"name": "f"}}):
        call = parse(**fields)
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(call.fields)
        assert not {"functions", "function_call"} & set(call.request)
    assert parse().sent == {}


def test_functions_and_tools_do_not_go_together() -> None:
    """Nobody could tell in whose words to answer."""
    with pytest.raises(ClientError) as caught:
        parse(functions=[F], tools=[TOOL])
    assert (caught.value.param, caught.value.code) == ("functions", "invalid_value")


def test_a_choice_is_of_what_there_is() -> None:
    """As of tools, whose error it has, in the client's words."""
    with pytest.raises(ClientError) as caught:
        parse(functions=[F], function_call={"name": "g"})
    assert (caught.value.param, caught.value.code) == ("function_call", "invalid_value")


def test_a_history_of_functions_is_one_of_tools() -> None:
    """By ids that are made up of places; the last call of a name is the one that a result answers."""
    found = read_messages([USER, OLD, RESULT, OLD, RESULT])
    ids = [found[1]["tool_calls"][0]["id"], found[3]["tool_calls"][0]["id"]]
    assert len(set(ids)) == 2
    call = {"type": "function", "function": OLD["function_call"]}
    assert found == [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [{"id": ids[0], **call}]},
        {"role": "tool", "tool_call_id": ids[0], "content": "found"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": ids[1], **call}]},
        {"role": "tool", "tool_call_id": ids[1], "content": "found"},
    ]


def test_odd_histories() -> None:
    """A result without a call keeps its name; a call in both words is one; without arguments it has none."""
    (alone,) = read_messages([RESULT | {"content": None}])
    assert (alone["role"], alone["name"], alone["content"]) == ("tool", "f", "")
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert read_messages([OLD | {"tool_calls": calls}]) == [{"role": "assistant", "content": None, "tool_calls": calls}]
    (bare,) = read_messages([{"role": "assistant", "function_call": {"name": "f"}}])
    assert bare["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


def test_the_raw_request_has_the_history_of_tools_too() -> None:
    """Also of a client that sends no functions any more."""
    call = parse(messages=[USER, OLD, RESULT])
    assert [message["role"] for message in call.request["messages"]] == ["user", "assistant", "tool"]
    assert call.messages == call.request["messages"]


def test_a_whole_answer_has_a_function_call() -> None:
    """And the finish reason of old."""
    (choice,) = json.loads(encode(CALLED))["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "function_call": {"name": "f", "arguments": '{"a":1}'},
    }


def test_a_stream_has_a_function_call() -> None:
    """Name first, then arguments; a second call has no place."""
    *found, _ = events(encode([CALLED[0], ToolCallDelta(1, "c2", "g"), *CALLED[1:]], stream=True))
    choices = [json.loads(chunk)["choices"][0] for chunk in found]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": None, "refusal": None},
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"a'}},
        {"function_call": {"arguments": '":1}'}},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, None, "function_call"]


@pytest.mark.parametrize("stream", [False, True])
def test_state_travels_in_an_id(stream: bool) -> None:
    """Which function calls have only then: a client that sends the message back as it came brings it back."""
    sealed = "c1~eJyrViouSSxJVbJSyjVU0lFKSk3LLwLyoquVSlIrSoDCPvn52QqZJQqlBXpAeZjiYkOl2lgdpfw0EDszPS8zL12pFgCYOBf4"
    out = encode([ToolCallDelta(0, sealed, "f", "{}"), Finish("tool_calls")], stream=stream)
    if stream:
        call = json.loads(list(events(out))[1])["choices"][0]["delta"]["function_call"]
    else:
        call = json.loads(out)["choices"][0]["message"]["function_call"]
    assert call["id"] == sealed
    (back,) = read_messages([{"role": "assistant", "function_call": call}])
    assert back["tool_calls"][0]["id"] == sealed


def test_text_is_as_ever() -> None:
    """Functions that are not called change nothing."""
    message = json.loads(encode([Delta("a"), Finish("stop")]))["choices"][0]
    assert (message["finish_reason"], message["message"]["content"]) == ("stop", "a")


@needs_strict
def test_answers_are_openais() -> None:
    """By its own schemas."""
    assert_strict("CreateChatCompletionResponse", [json.loads(encode(CALLED))])
    *found, _ = events(encode(CALLED, stream=True))
    assert_strict("CreateChatCompletionStreamResponse", map(json.loads, found))


PARAMS: list[tuple[str, str]] = [
    ("tools", "functions"),
    ("tools[1].function.name", "functions[1].name"),
    ("tools[0].type", "functions[0]"),
    ("tool_choice", "function_call"),
    ("tool_choice.function.name", "function_call.name"),
    ("messages[1].tool_calls", "messages[1].function_call"),
    ("messages[0].content", "messages[0].content"),
    ("n", "n"),
]


@pytest.mark.parametrize(("param", "told"), PARAMS)
def test_errors_name_what_the_client_sent(param: str, told: str) -> None:
    """Who sent functions knows of no tools."""
    assert chat.param(parse(functions=[F], messages=[USER, OLD]), param) == told


def test_who_sends_tools_is_told_of_tools() -> None:
    """Also where the history is of functions."""
    call = parse(tools=[TOOL], messages=[USER, OLD])
    assert chat.param(call, "tools[0].type") == "tools[0].type"
    assert chat.param(parse(tools=[TOOL]), "tools") == "tools"
