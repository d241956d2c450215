"""Requests of `POST /v1/messages` become the chat requests that mean the same; errors go back in this API's words."""

from __future__ import annotations

from typing import Any

import pytest
from support import IDENTITY, load

from oaiproxy.endpoints import messages
from oaiproxy.errors import ApiError, BackendError, ClientError
from oaiproxy.exchange import Exchange

LEAST: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
TOOL: dict[str, Any] = {"name": "f", "description": "F.", "input_schema": {"type": "object"}}
FUNCTION = {"name": "f", "description": "F.", "parameters": {"type": "object"}}
TOOLS: dict[str, Any] = {"tools": [TOOL]}
SCHEMA = {"type": "object", "additionalProperties": False}
FORMAT = {"type": "json_schema", "schema": SCHEMA}
CHAT_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}


def test_a_request_is_a_call_of_chat() -> None:
    """Its fields in chat's words, and the chat request that means the same; the body as it came beside it."""
    body = {**LEAST, "system": "Be brief.", "stop_sequences": ["."], "top_k": 5, "stream": True, "x": 1}
    body |= {"metadata": {"user_id": "u"}, "service_tier": "standard_only", "cache_control": {"type": "ephemeral"}}
    call = messages.parse(body)
    told = [{"role": "system", "content": "Be brief."}, *LEAST["messages"]]
    fields = {"max_tokens": 9, "stop": ["."], "top_k": 5, "user": "u", "service_tier": "default"}
    assert (call.endpoint, call.model, call.stream, call.messages, call.extra) == ("chat", "m", True, told, {"x": 1})
    assert call.fields.items() >= fields.items()
    assert call.request == {"model": "m", "messages": told, "stream": True, "x": 1, **fields}
    assert call.sent == body


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({}, {}),
        ({"tools": []}, {}),
        ({"tool_choice": {"type": "auto"}}, {}),
        (TOOLS, {"tools": [{"type": "function", "function": FUNCTION}]}),
        ({"tools": [{"name": "f", "input_schema": {}, "type": "custom", "strict": True, "defer_loading": True}]},
         {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}]}),
        ({**TOOLS, "tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({**TOOLS, "tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        ({**TOOLS, "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
         {"tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": False}),
        ({**TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, {"parallel_tool_calls": False}),
        ({"output_config": {"format": FORMAT}}, {"response_format": CHAT_FORMAT}),
        ({"output_format": FORMAT}, {"response_format": CHAT_FORMAT}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 10000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, {}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, {"reasoning_effort": "xhigh"}),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"context_management": {}, "speed": "fast", "container": None, "mcp_servers": []}, {}),
        ({"inference_geo": "global", "seed": 1}, {"seed": 1}),
    ],
)  # fmt: skip
def test_fields_in_chats_words(sent: dict[str, Any], told: dict[str, Any]) -> None:
    """And hints that chat has no word for are left out."""
    request = dict(messages.parse(LEAST | sent).request)
    assert request.items() >= told.items()
    assert request.keys() - LEAST.keys() - told.keys() <= {"tools"}


MISTAKES: list[tuple[Any, str]] = [
    ([], "body: Input should be an object"),
    ({**LEAST, "max_tokens": None}, "max_tokens: Field required"),
    ({**LEAST, "max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
    ({**LEAST, "model": None}, "model: Field required"),
    ({**LEAST, "messages": None}, "messages: Field required"),
    ({**LEAST, "system": 5}, "system: Input should be a valid string"),
    ({**LEAST, "system": [IMAGE]}, "system.0.type: Input should be one of 'text'"),
    ({**LEAST, "stream": "yes"}, "stream: Input should be a valid boolean"),
    ({**LEAST, "temperature": "0"}, "temperature: Input should be a valid number"),
    ({**LEAST, "stop_sequences": "x"}, "stop_sequences: Input should be a valid list"),
    ({**LEAST, "metadata": {"user_id": 5}}, "metadata.user_id: Input should be a valid string"),
    ({**LEAST, "n": 2}, "n: Extra inputs are not permitted"),
    ({**LEAST, "mcp_servers": [{}]}, "mcp_servers: MCP servers are not called here"),
    ({**LEAST, "thread": {"type": "create"}}, "thread: conversations are not kept here"),
    ({**LEAST, "compaction": {"type": "x"}}, "compaction: conversations are not compacted here"),
    ({**LEAST, "inference_geo": "us"}, "inference_geo: where the model runs"),
    ({**LEAST, "tools": {}}, "tools: Input should be a valid list"),
    ({**LEAST, "tools": [{"type": "web_search_20250305"}]}, "tools.0.type: 'web_search_20250305'"),
    ({**LEAST, "tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
    ({**LEAST, "tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
    ({**LEAST, "tool_choice": {"type": "any"}}, "tool_choice: 'any' may only be specified while providing tools"),
    ({**LEAST, **TOOLS, "tool_choice": {"type": "all"}}, "tool_choice.type: Input should be one of"),
    ({**LEAST, **TOOLS, "tool_choice": {"type": "tool"}}, "tool_choice.name: Field required"),
    ({**LEAST, **TOOLS, "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name: tool 'g' not found"),
    ({**LEAST, "thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
    ({**LEAST, "thinking": {"type": "on"}}, "thinking.type: Input should be one of"),
    ({**LEAST, "output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "told"), MISTAKES, ids=[told for _, told in MISTAKES])
def test_mistakes_are_told_by_their_paths(body: Any, told: str) -> None:
    """Before any backend is asked."""
    with pytest.raises(ClientError) as refused:
        messages.parse(body)
    assert refused.value.message.startswith(told)
    assert (refused.value.status, refused.value.param) == (400, told.partition(":")[0])


def test_a_field_that_chat_refuses_has_its_own_name() -> None:
    """In the message too."""
    with pytest.raises(ClientError) as refused:
        messages.parse(LEAST | {"temperature": 5})
    assert refused.value.param == "temperature"
    with pytest.raises(ClientError) as refused:
        messages.parse(LEAST | {"tools": [TOOL | {"name": ""}]})
    assert (refused.value.param, "function" in refused.value.message) == ("tools.0.name", False)
    with pytest.raises(ClientError) as refused:
        messages.parse(LEAST | {"seed": "x"})
    assert (refused.value.param, "'seed'" in refused.value.message) == ("seed", True)


@pytest.mark.parametrize(
    ("param", "named"),
    [
        ("model", "model"),
        ("max_completion_tokens", "max_tokens"),
        ("stop", "stop_sequences"),
        ("user", "metadata.user_id"),
        ("reasoning_effort", "thinking"),
        ("response_format.json_schema", "output_config.format.json_schema"),
        ("tools[0].function.name", "tools.0.name"),
        ("messages", "messages"),
        ("messages[0].content", "system.content"),
        ("messages[1]", "messages.0"),
        ("messages[2].tool_calls", "messages.1"),
        ("messages[3].role", "messages.2.content.1"),
        ("messages[4].content[1].type", "messages.2.content.2.type"),
        ("messages[4].content[1].image_url.url", "messages.2.content.2.source"),
        ("messages[9].content", "messages.9.content"),
    ],
)
def test_names_of_what_errors_are_about(param: str, named: str) -> None:
    """Messages that chat has more of, or in another order, are found again."""
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, result, IMAGE]},
    ]
    call = messages.parse(LEAST | {"system": "s", "messages": turns, **TOOLS})
    assert messages.param(call, param) == named


def test_an_effort_has_the_name_it_was_sent_by() -> None:
    """There are three."""
    for sent, named in (
        ({"output_config": {"effort": "low"}}, "output_config.effort"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
    ):
        assert messages.param(messages.parse(LEAST | sent), "reasoning_effort") == named


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_errors_have_this_apis_types(status: int, type_: str) -> None:
    """By their status, whatever their type is elsewhere."""
    made = messages.error(ApiError("No.", status=status), "req_1")
    assert made == {"type": "error", "error": {"type": type_, "message": "No."}, "request_id": "req_1"}


def test_codes_and_params_are_details() -> None:
    """And a prompt that is too long is told in the words that clients look for."""
    failed = BackendError("at most 5 tokens", status=400, code="context_length_exceeded", param="messages")
    assert messages.error(failed, "r")["error"] == {
        "type": "invalid_request_error",
        "message": "prompt is too long: at most 5 tokens",
        "details": {"error_code": "context_length_exceeded", "param": "messages"},
    }


def test_a_raw_request_is_chats() -> None:
    """So that a mapping that passes on what was sent passes on what its backend understands, without our state."""
    mapping = load(
        "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b.test'}\n"
        "chat: {request: {path: /c, body: '{{ request | strip_keys(\"stream\") }}'}, response: {text: t}}\n"
    )
    said = [{"type": "text", "text": "a"}, {"type": "redacted_thinking", "data": '{"oaiproxy":{"extra_content":{}}}'}]
    call = messages.parse(LEAST | {"messages": [*LEAST["messages"], {"role": "assistant", "content": said}]})
    sent = Exchange(mapping, call, messages.encoder(call, IDENTITY), IDENTITY).backend_request().body
    assert sent is not None
    assert b'"messages":[{"role":"user","content":"hi"},{' in sent
    assert b'"max_tokens":9' in sent


def test_an_estimate_of_tokens() -> None:
    """Of all texts, calls and tools; an image counts as one of the largest."""
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    turns = [
        {"role": "user", "content": [IMAGE, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": [use]},
    ]
    body = {"model": "m", "messages": turns, "system": "s", **TOOLS}
    texts, rest = messages.estimated(messages.parse_to_count(body))
    assert texts == ["s", "a", 'f{"a":1}', '{"name":"f","description":"F.","parameters":{"type":"object"}}']
    assert rest == messages.MEDIA_TOKENS
    with pytest.raises(ClientError, match="max_tokens: Input"):
        messages.parse_to_count(body | {"max_tokens": "x"})
