"""Completion requests become calls of one message; events become `text_completion` objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import IDENTITY, assert_strict, events, needs_strict

from oaiproxy.endpoints import completions
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.events import Delta, Event, Finish, Head, ToolCallDelta, Usage

BODY: dict[str, Any] = {"model": "m", "prompt": "p"}
TALK: list[Event] = [Head("theirs", "big"), Delta("hm", "reasoning_content"), Delta("a"), Delta("b"), Finish("length")]


def encode(talk: list[Event], usage: Usage | None = None, **fields: Any) -> bytes:
    encoder = completions.encoder(completions.parse(BODY | fields), IDENTITY)
    return b"".join(map(encoder.feed, talk)) + encoder.close(usage)


def chunks(talk: list[Event], usage: Usage | None = None, **fields: Any) -> list[dict[str, Any]]:
    *found, done = events(encode(talk, usage, stream=True, **fields))
    assert done == "[DONE]"
    return [json.loads(chunk) for chunk in found]


@pytest.mark.parametrize("prompt", ["p", ["p"]])
def test_the_prompt_is_a_users_message(prompt: Any) -> None:
    """One string, bare or in a list."""
    call = completions.parse(BODY | {"prompt": prompt, "best_of": 1, "echo": False, "suffix": "", "x": 1})
    assert call.messages == [{"role": "user", "content": "p"}]
    assert (dict(call.fields), dict(call.extra)) == ({"model": "m"}, {"x": 1})


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": None}, "prompt", "missing_required_parameter"),
    ({"prompt": 5}, "prompt", "invalid_type"),
    ({"prompt": {}}, "prompt", "invalid_type"),
    ({"prompt": []}, "prompt", "invalid_value"),
    ({"prompt": ["a", 1]}, "prompt[1]", "invalid_type"),
    ({"prompt": [1, "a"]}, "prompt[1]", "invalid_type"),
    ({"prompt": [1, True]}, "prompt[1]", "invalid_type"),
    ({"prompt": [[1], [2, "a"]]}, "prompt[1][1]", "invalid_type"),
    ({"prompt": [[1], []]}, "prompt[1]", "invalid_value"),
    ({"prompt": [[1], "a"]}, "prompt[1]", "invalid_type"),
    ({"prompt": [None]}, "prompt[0]", "invalid_type"),
    ({"n": 3, "best_of": 2}, "best_of", "invalid_value"),
    ({"model": None}, "model", "missing_required_parameter"),
    ({"logprobs": True}, "logprobs", "invalid_type"),
    ({"logprobs": 6}, "logprobs", "integer_above_max_value"),
    ({"echo": "yes"}, "echo", "invalid_type"),
]


@pytest.mark.parametrize(("fields", "param", "code"), MISTAKES)
def test_mistakes_of_the_request(fields: dict[str, Any], param: str, code: str) -> None:
    """A 400 with the parameter's path."""
    with pytest.raises(ClientError) as caught:
        completions.parse(BODY | fields)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_the_best_of_as_many_is_all_of_them() -> None:
    """It need not be asked for."""
    assert "best_of" not in completions.parse(BODY | {"n": 3, "best_of": 3}).fields
    assert completions.parse(BODY | {"n": 2, "best_of": 3}).fields["best_of"] == 3


def test_a_whole_answer() -> None:
    """Text alone: reasoning has no place here."""
    assert json.loads(encode(TALK, Usage(1, 2, 3))) == {
        "id": "theirs",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "big",
        "choices": [{"index": 0, "text": "ab", "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


def test_a_stream() -> None:
    """A chunk for each text, one with the reason, usage where it was asked for."""
    asked = {"stream_options": {"include_usage": True}}
    *found, last = chunks(TALK, Usage(1, 2, 3), **asked)
    assert [(c["choices"][0]["text"], c["choices"][0]["finish_reason"]) for c in found] == [
        ("a", None),
        ("b", None),
        ("", "length"),
    ]
    assert all(chunk["usage"] is None for chunk in found)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 3)
    assert not any("usage" in chunk for chunk in chunks(TALK, Usage(1, 2, 3)))


@pytest.mark.parametrize("streams", [False, True])
def test_tool_calls_have_no_place_here(streams: bool) -> None:
    """An answer without the call would be another one, so that it is a failure."""
    encoder = completions.encoder(completions.parse(BODY | {"stream": streams}), IDENTITY)
    with pytest.raises(BackendError) as caught:
        encoder.feed(ToolCallDelta(0, "c", "f"))
    assert (caught.value.code, caught.value.retry) == ("upstream_mapping_mismatch", False)


REFUSALS: dict[str, tuple[list[Event], str]] = {
    "alone": ([Delta("I ", "refusal"), Delta("won't", "refusal"), Finish("stop")], "I won't"),
    "before text": ([Delta("no", "refusal"), Delta("yes"), Finish("stop")], "yes"),
    "after text": ([Delta("yes"), Delta("no", "refusal"), Finish("stop")], "yes"),
}


@pytest.mark.parametrize(("talk", "text"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_the_text_where_there_is_no_other(talk: list[Event], text: str) -> None:
    """Nothing is lost without a word, whole or streamed."""
    assert json.loads(encode(talk))["choices"][0]["text"] == text
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks(talk)) == text


def test_the_id_does_not_change_in_a_stream() -> None:
    """A head that comes late is not taken."""
    assert {chunk["id"] for chunk in chunks([Delta("a"), Head("late"), Finish("stop")])} == {"cmpl-" + "t" * 24}


@needs_strict
def test_openais_schema() -> None:
    """All of it is what OpenAI describes; a chunk's reason may be null."""
    assert_strict("CreateCompletionResponse", [json.loads(encode(TALK, Usage(1, 2, 3))), *chunks(TALK)])
