"""Promises of what the endpoints beyond chat share: a request's fields, and an answer made at its end."""

from __future__ import annotations

from typing import Any

import pytest
from support import IDENTITY

from oaiproxy.endpoints.answering import ObjectEncoder, input_usage, read_call
from oaiproxy.errors import ClientError
from oaiproxy.events import Head, Result, Usage


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ([], None, "invalid_type"),
        ({"input": "a"}, "model", "missing_required_parameter"),
        ({"model": "", "input": "a"}, "model", "missing_required_parameter"),
        ({"model": "m", "input": None}, "input", "missing_required_parameter"),
        ({"model": 7, "input": "a"}, "model", "invalid_type"),
    ],
)
def test_requests_that_are_none(body: Any, param: str, code: str) -> None:
    """The field at fault is named."""
    with pytest.raises(ClientError) as caught:
        read_call("embeddings", body, "input")
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_request() -> None:
    """Its fields, what OpenAI does not define, and a model by default."""
    call = read_call("moderations", {"input": "a", "mood": "calm"}, "input", "default")
    assert (call.model, call.extra, call.stream, call.messages) == ("default", {"mood": "calm"}, False, [])


def test_an_encoder_keeps_what_it_is_given() -> None:
    """The backend's own name of the model stands; without an object it is none."""
    call = read_call("embeddings", {"model": "m", "input": "a"}, "input")
    encoder = ObjectEncoder(call, IDENTITY)
    assert encoder.feed(Result([1])) == encoder.feed(Head("id", None)) == encoder.feed(Usage()) == b""
    assert (encoder.result, encoder.head) == ([1], Head("id", "m"))
    with pytest.raises(NotImplementedError):
        encoder.close(None)


def test_usage() -> None:
    """Two counts, whatever is known."""
    assert input_usage(None) == {"prompt_tokens": 0, "total_tokens": 0}
    assert input_usage(Usage(prompt=3, total=5)) == {"prompt_tokens": 3, "total_tokens": 5}
    assert input_usage(Usage(prompt=3)) == {"prompt_tokens": 3, "total_tokens": 3}
