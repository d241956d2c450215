"""Request fields are checked by type and range, defaults count as not sent, and errors name the exact path."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.errors import ClientError
from oaiproxy.parameters import CHAT, COMPLETIONS, read_fields, unknown_fields

FUNCTION = {"name": "f"}
MISTAKES: list[tuple[str, Any, str, str]] = [
    *[(key, wrong, key, "invalid_type") for key in ("temperature", "top_p", "top_k") for wrong in ("1", True, [1], {})],
    *[(key, wrong, key, "invalid_type") for key in ("n", "max_tokens", "seed") for wrong in ("1", True, 1.5, [], {})],
    *[
        (key, wrong, key, "invalid_type")
        for key in ("stream", "logprobs", "store")
        for wrong in ("yes", 1, 0.0, [], {})
    ],
    *[(key, wrong, key, "invalid_type") for key in ("model", "user", "service_tier") for wrong in (1, True, [], {})],
    *[
        (key, wrong, key, "invalid_type")
        for key in ("logit_bias", "metadata", "response_format")
        for wrong in (1, "a", [])
    ],
    ("temperature", 2.1, "temperature", "decimal_above_max_value"),
    ("temperature", 10**400, "temperature", "decimal_above_max_value"),
    ("temperature", -0.1, "temperature", "decimal_below_min_value"),
    ("n", 0, "n", "integer_below_min_value"),
    ("n", 129, "n", "integer_above_max_value"),
    ("max_tokens", -1, "max_tokens", "integer_below_min_value"),
    ("max_tokens", 10**400, "max_tokens", "integer_above_max_value"),
    ("max_tokens", 1e300, "max_tokens", "integer_above_max_value"),
    ("max_completion_tokens", "5", "max_completion_tokens", "invalid_type"),
    ("top_logprobs", 21, "top_logprobs", "integer_above_max_value"),
    ("presence_penalty", 3, "presence_penalty", "decimal_above_max_value"),
    ("stop", 5, "stop", "invalid_type"),
    ("stop", ["a", 5], "stop[1]", "invalid_type"),
    ("stop", ["a"] * 65, "stop", "array_above_max_length"),
    ("stop", "a" * 1025, "stop", "string_above_max_length"),
    ("stop", ["b", "a" * 1025], "stop[1]", "string_above_max_length"),
    ("logit_bias", {"50256": "low"}, "logit_bias.50256", "invalid_type"),
    ("logit_bias", {"50256": -101}, "logit_bias.50256", "decimal_below_min_value"),
    ("metadata", dict.fromkeys("abcdefghijklmnopq", ""), "metadata", "object_above_max_properties"),
    ("metadata", {"a": 1}, "metadata.a", "invalid_type"),
    ("metadata", {"a": None}, "metadata.a", "invalid_type"),
    ("metadata", {"a": "b" * 513}, "metadata.a", "string_above_max_length"),
    ("metadata", {"a" * 65: "b"}, "metadata", "string_above_max_length"),
    ("modalities", "text", "modalities", "invalid_type"),
    ("modalities", ["text", "smell"], "modalities[1]", "invalid_value"),
    ("audio", "alloy", "audio", "invalid_type"),
    ("prediction", {}, "prediction.type", "missing_required_parameter"),
    ("web_search_options", True, "web_search_options", "invalid_type"),
    ("moderation", "on", "moderation", "invalid_type"),
    ("reasoning_effort", 5, "reasoning_effort", "invalid_type"),
    ("verbosity", "x" * 65, "verbosity", "string_above_max_length"),
    ("prompt_cache_options", [], "prompt_cache_options", "invalid_type"),
    ("functions", {}, "functions", "invalid_type"),
    ("functions", [5], "functions[0]", "invalid_type"),
    ("functions", [{}], "functions[0].name", "missing_required_parameter"),
    ("functions", [{"name": ""}], "functions[0].name", "empty_string"),
    ("functions", [FUNCTION | {"parameters": 5}], "functions[0].parameters", "invalid_type"),
    ("function_call", "required", "function_call", "invalid_value"),
    ("function_call", 5, "function_call", "invalid_type"),
    ("function_call", {}, "function_call.name", "missing_required_parameter"),
    ("stream_options", [], "stream_options", "invalid_type"),
    ("stream_options", {"include_obfuscation": 1}, "stream_options.include_obfuscation", "invalid_type"),
    ("stream_options", {"include_usage": "yes"}, "stream_options.include_usage", "invalid_type"),
    ("response_format", {}, "response_format.type", "missing_required_parameter"),
    ("response_format", {"type": 5}, "response_format.type", "invalid_type"),
    ("response_format", {"type": "json_schema"}, "response_format.json_schema", "missing_required_parameter"),
    (
        "response_format",
        {"type": "json_schema", "json_schema": {"schema": 5}},
        "response_format.json_schema.schema",
        "invalid_type",
    ),
    ("tools", {}, "tools", "invalid_type"),
    ("tools", [5], "tools[0]", "invalid_type"),
    ("tools", [{}], "tools[0].type", "missing_required_parameter"),
    ("tools", [{"type": "other"}], "tools[0].type", "invalid_value"),
    ("tools", [{"type": "custom"}], "tools[0].custom", "missing_required_parameter"),
    ("tools", [{"type": "custom", "custom": {"name": 5}}], "tools[0].custom.name", "invalid_type"),
    ("tools", [{"type": "custom", "custom": {"name": ""}}], "tools[0].custom.name", "empty_string"),
    (
        "tools",
        [{"type": "custom", "custom": FUNCTION | {"format": {"type": "json"}}}],
        "tools[0].custom.format.type",
        "invalid_value",
    ),
    (
        "tools",
        [{"type": "custom", "custom": FUNCTION | {"format": {"type": "grammar"}}}],
        "tools[0].custom.format.grammar",
        "missing_required_parameter",
    ),
    ("tools", [{"type": "function"}], "tools[0].function", "missing_required_parameter"),
    ("tools", [{"type": "function", "function": "f"}], "tools[0].function", "invalid_type"),
    ("tools", [{"type": "function", "function": {}}], "tools[0].function.name", "missing_required_parameter"),
    ("tools", [{"type": "function", "function": {"name": 5}}], "tools[0].function.name", "invalid_type"),
    (
        "tools",
        [{"type": "function", "function": {"name": ""}}],
        "tools[0].function.name",
        "empty_string",
    ),
    (
        "tools",
        [{"type": "function", "function": FUNCTION | {"parameters": []}}],
        "tools[0].function.parameters",
        "invalid_type",
    ),
    ("tools", [{"type": "function", "function": FUNCTION | {"strict": 1}}], "tools[0].function.strict", "invalid_type"),
    (
        "tools",
        [{"type": "function", "function": FUNCTION | {"description": 1}}],
        "tools[0].function.description",
        "invalid_type",
    ),
    ("tool_choice", 5, "tool_choice", "invalid_type"),
    ("tool_choice", "any", "tool_choice", "invalid_value"),
    ("tool_choice", {}, "tool_choice.type", "missing_required_parameter"),
    ("tool_choice", {"type": "any"}, "tool_choice.type", "invalid_value"),
    ("tool_choice", {"type": "custom"}, "tool_choice.custom", "missing_required_parameter"),
    ("tool_choice", {"type": "allowed_tools"}, "tool_choice.allowed_tools", "missing_required_parameter"),
    (
        "tool_choice",
        {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": []}},
        "tool_choice.allowed_tools.mode",
        "invalid_value",
    ),
    (
        "tool_choice",
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]}},
        "tool_choice.allowed_tools.tools[0].function",
        "missing_required_parameter",
    ),
    ("tool_choice", {"type": "function"}, "tool_choice.function", "missing_required_parameter"),
    ("tool_choice", {"type": "function", "function": {}}, "tool_choice.function.name", "missing_required_parameter"),
    ("tool_choice", {"type": "function", "name": 5}, "tool_choice.name", "invalid_type"),
]


@pytest.mark.parametrize(("key", "value", "param", "code"), MISTAKES)
def test_mistakes_are_named_by_their_path(key: str, value: Any, param: str, code: str) -> None:
    """A wrong type or value is a 400 with OpenAI's code."""
    with pytest.raises(ClientError) as caught:
        read_fields({key: value}, CHAT)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)
    assert caught.value.type == "invalid_request_error"
    assert f"'{param}'" in caught.value.message


NOT_SENT: list[tuple[str, Any]] = [
    ("n", 1),
    ("n", 1.0),
    ("tools", []),
    ("tool_choice", "auto"),
    ("logprobs", False),
    ("response_format", {"type": "text"}),
    ("frequency_penalty", 0.0),
    ("stop", []),
    ("logit_bias", {}),
    ("modalities", ["text"]),
    ("parallel_tool_calls", True),
    ("store", False),
    ("metadata", {}),
    ("functions", []),
    ("function_call", "auto"),
    ("top_logprobs", 0),
]


@pytest.mark.parametrize(("key", "value"), NOT_SENT)
def test_defaults_count_as_not_sent(key: str, value: Any) -> None:
    """A value that changes nothing is no use of the field."""
    assert read_fields({key: value}, CHAT) == {}


@pytest.mark.parametrize("fields", [CHAT, COMPLETIONS], ids=["chat", "completions"])
def test_null_counts_as_not_sent(fields: Any) -> None:
    """In every field."""
    assert read_fields(dict.fromkeys(fields), fields) == {}


KEPT: list[tuple[str, Any]] = [
    ("temperature", 0),
    ("logprobs", True),
    ("n", 2),
    ("seed", 0),
    ("stop", "a"),
    ("max_tokens", 0),
    ("stop", ["a", "b", "c", "d", "e"]),
    ("reasoning_effort", "default"),
    ("logit_bias", {"1": -100, "2": 0.5}),
    ("stream_options", {"include_usage": None, "include_obfuscation": False}),
    ("tools", [{"type": "custom", "custom": {"name": "f", "description": None, "format": {"type": "text"}}}]),
    ("tools", [{"type": "function", "function": {"name": "a.b/c d", "parameters": None, "strict": None}}]),
    ("functions", [{"name": "f", "description": None}]),
    ("function_call", {"name": "f"}),
    ("modalities", ["text", "audio"]),
]


@pytest.mark.parametrize(("key", "value"), KEPT)
def test_values_of_their_own_are_kept(key: str, value: Any) -> None:
    """Also those that are 0."""
    assert read_fields({key: value}, CHAT) == {key: value}


def test_whole_numbers_become_integers() -> None:
    """Backends refuse `100.0` where they want an integer; a temperature stays what it is."""
    found = read_fields({"max_tokens": 100.0, "temperature": 1.0}, CHAT)
    assert [type(value) for value in found.values()] == [int, float]


def test_unknown_fields_are_kept_apart() -> None:
    """Any key that OpenAI does not define, if it has a value."""
    assert unknown_fields({"model": "m", "top_a": 1, "x": None, "": {}}, CHAT) == {"top_a": 1, "": {}}
