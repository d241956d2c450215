"""Promises of `oaiproxy.endpoints.responses`: a request in chat's words, and errors in the client's."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints.responses import Asked, parse
from oaiproxy.errors import ClientError

SCHEMA = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}


def asked(**fields: Any) -> Asked:
    return parse({"model": "m", "input": "hi", **fields})


def test_what_hosted_tools_did_elsewhere_is_left_out() -> None:
    """As those tools are, and named: the model's own words, which follow, tell what came of it."""
    call = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
    made = asked(input=[call, {"role": "user", "content": "hi"}, call])
    assert made.call.messages == [{"role": "user", "content": "hi"}]
    assert len(made.items) == 1
    assert made.dropped == ("input.web_search_call",)


@pytest.mark.parametrize(
    ("fields", "chat"),
    [
        ({"max_output_tokens": 5}, {"max_completion_tokens": 5}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": SCHEMA}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": [], "tools": [], "text": {}, "reasoning": {}}, {}),
        ({"temperature": 1.5, "parallel_tool_calls": False}, {"temperature": 1.5, "parallel_tool_calls": False}),
        ({"metadata": {"a": "b"}, "service_tier": "flex"}, {"metadata": {"a": "b"}, "service_tier": "flex"}),
        ({"max_tool_calls": 3, "stream_options": {}, "truncation": "disabled"}, {}),
    ],
)
def test_fields_under_chats_names(fields: dict[str, Any], chat: dict[str, Any]) -> None:
    """In the fields that templates see, and in the request that they may read raw."""
    call = asked(**fields).call
    assert {name: value for name, value in call.fields.items() if name not in ("model", "stream")} == chat
    same = {name: value for name, value in call.request.items() if name in chat}
    assert same == chat
    assert call.sent["input"] == "hi"
    assert call.request["messages"] == call.messages == [{"role": "user", "content": "hi"}]


def test_null_counts_as_not_sent() -> None:
    """For every field, as some clients send all of them."""
    names = (
        "include",
        "instructions",
        "max_output_tokens",
        "metadata",
        "previous_response_id",
        "user",
        "tools",
        "text",
    )
    assert set(asked(**dict.fromkeys(names)).call.fields) == {"model"}


def test_fields_that_openai_does_not_define_stay() -> None:
    """For the templates that read them."""
    assert dict(asked(client_metadata={"a": 1}, top_k=4).call.extra) == {"client_metadata": {"a": 1}}


def test_what_only_chat_has_means_nothing_here() -> None:
    """And is named, lest the client takes it for done."""
    made = asked(n=2, messages=[], response_format={"type": "json_object"})
    assert made.dropped == ("n", "messages", "response_format")
    assert set(made.call.fields) == {"model"}


def test_what_cannot_be_had_is_named_as_dropped() -> None:
    """Where it is only a wish."""
    made = asked(truncation="auto", context_management=[{}], tools=[{"type": "mcp"}], tool_choice="required")
    assert made.dropped == ("context_management", "truncation", "tools.mcp")
    assert (made.tool_choice, made.tools) == ("auto", [])


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": 1}, "input", "invalid_type"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 1}, "model", "invalid_type"),
        ({"instructions": 1}, "instructions", "invalid_type"),
        ({"background": True, "store": False}, "background", "invalid_value"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
        ({"max_output_tokens": 0.5}, "max_output_tokens", "invalid_type"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"top_logprobs": "2"}, "top_logprobs", "invalid_type"),
        ({"include": "x"}, "include", "invalid_type"),
        ({"include": [1]}, "include[0]", "invalid_type"),
        ({"reasoning": 1}, "reasoning", "invalid_type"),
        ({"reasoning": {"effort": 1}}, "reasoning.effort", "invalid_type"),
        ({"text": {"verbosity": 1}}, "text.verbosity", "invalid_type"),
        ({"text": {"format": 1}}, "text.format", "invalid_type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x"}}},
            "text.format.schema",
            "missing_required_parameter",
        ),
        ({"truncation": "x"}, "truncation", "invalid_value"),
        ({"store": 1}, "store", "invalid_type"),
        ({"stream": 1}, "stream", "invalid_type"),
        ({"stream_options": 1}, "stream_options", "invalid_type"),
        ({"max_tool_calls": "1"}, "max_tool_calls", "invalid_type"),
        ({"previous_response_id": 1}, "previous_response_id", "invalid_type"),
    ],
)
def test_mistakes_are_named_as_the_client_knows_them(fields: dict[str, Any], param: str, code: str) -> None:
    """In the message too."""
    with pytest.raises(ClientError) as caught:
        asked(**fields)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert f"'{param}'" in caught.value.message


def test_a_body_is_an_object() -> None:
    """Nothing else."""
    with pytest.raises(ClientError) as caught:
        parse([])
    assert caught.value.code == "invalid_type"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("messages", "input"),
        ("messages[0].content[2].image_url.url", "input[0].content[2].image_url"),
        ("messages[1].tool_calls", "input[1]"),
        ("messages[1].tool_calls[0].function.name", "input[1].name"),
        ("messages[2].content", "input[2].output"),
        ("tools[0].function.parameters", "tools[1].parameters"),
        ("tools[0].type", "tools[1].type"),
        ("tool_choice.allowed_tools.mode", "tool_choice.mode"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("max_tokens", "max_output_tokens"),
        ("reasoning_effort", "reasoning.effort"),
        ("logprobs", "include"),
        ("model", "model"),
        ("elsewhere[1].deep", "elsewhere[1].deep"),
    ],
)
def test_chats_names_become_the_clients(ours: str, theirs: str) -> None:
    """Whatever part of the request they are of."""
    image = {"type": "input_image", "image_url": "https://a.test"}
    made = asked(
        input=[
            {"role": "user", "content": [image, image, image]},
            {"type": "function_call", "call_id": "c", "name": "f"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
        ],
        tools=[{"type": "web_search"}, {"type": "function", "name": "f"}],
    )
    assert made.param(ours) == theirs
