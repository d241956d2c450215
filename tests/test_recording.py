"""Promises of recordings as examples: no longer than needed, and they come to the same."""

from __future__ import annotations

import pytest
from support import chat, load

from oaiproxy.formats import FORMATS
from oaiproxy.framing import Frame
from oaiproxy.outcomes import Outcome
from oaiproxy.recording import SecretError, make_example, told_outcome
from oaiproxy.steps import Answer

REQUEST = {"messages": [{"role": "user", "content": "hi"}]}
JSON = {"content-type": "application/json; charset=utf-8", "date": "now", "x-request-id": "1"}


def test_a_whole_answer() -> None:
    """As JSON, without the headers that nothing reads."""
    made = make_example(chat(response="{text: t}"), "chat", REQUEST, [Answer(200, JSON, b'{"t": "Hi"}')], "one", "m")
    assert made.example == {
        "name": "one",
        "request": REQUEST,
        "sends": {"path": "/g", "body": {"p": "hi"}},
        "backend": {"json": {"t": "Hi"}},
        "replies": {"text": "Hi", "finish_reason": "stop"},
    }
    assert not made.files


def test_a_header_that_is_read_stays() -> None:
    """And only that."""
    mapping = chat(response="{text: \"concat(t, header('x-request-id'))\"}")
    made = make_example(mapping, "chat", REQUEST, [Answer(200, JSON, b'{"t": "Hi"}')], "one", "m")
    assert made.example["backend"] == {"headers": {"x-request-id": "1"}, "json": {"t": "Hi"}}


def test_a_binary_stream_is_told_frame_by_frame() -> None:
    """With secrets taken out of the frames, so that checksums are right."""
    mapping = load(
        """
oaiproxy: 1
models: [m]
backend: {url: "https://backend.test", auth: {bearer: "key-of-mine"}}
chat:
  request: {path: /g, body: {p: "{{ prompt }}"}}
  stream: {format: aws-eventstream, events: {delta: {text: t}, stop: {done: "`true`"}}}
"""
    )
    frames = [Frame(b'{"t": "Hi", "k": "key-of-mine"}', "delta"), Frame(b"{}", "stop")]
    body = b"".join(FORMATS["aws-eventstream"].write(iter(frames)))
    answer = Answer(200, {"content-type": FORMATS["aws-eventstream"].content_type}, body)
    made = make_example(mapping, "chat", {**REQUEST, "stream": True}, [answer], "one", "m")
    assert made.example["backend"] == {
        "stream": [{"event": "delta", "data": {"t": "Hi", "k": "***"}}, {"event": "stop", "data": {}}]
    }
    assert made.outcome.text == "Hi"


def test_bytes_get_a_file() -> None:
    """Beside the mapping; with a secret in them they are refused."""
    mapping = load(
        """
oaiproxy: 1
models: [m]
backend: {url: "https://backend.test", auth: {bearer: "key-of-mine"}}
speech:
  request: {path: /s, body: {t: "{{ input }}"}}
  response: {}
"""
    )
    request = {"input": "hi", "voice": "alloy"}
    made = make_example(
        mapping, "speech", request, [Answer(200, {"content-type": "audio/mpeg"}, b"\xff\x00")], "a b", "m"
    )
    assert made.files == {"m.a-b.bin": b"\xff\x00"}
    assert made.example["backend"] == {"headers": {"content-type": "audio/mpeg"}, "file": "m.a-b.bin"}
    with pytest.raises(SecretError):
        make_example(mapping, "speech", request, [Answer(200, {}, b"\xffkey-of-mine")], "a", "m")


def test_a_coded_body_is_plain_in_an_example() -> None:
    """For its header goes too."""
    import gzip

    answer = Answer(200, {"content-encoding": "gzip", **JSON}, gzip.compress(b'{"t": "Hi"}'))
    made = make_example(chat(response="{text: t}"), "chat", REQUEST, [answer], "one", "m")
    assert made.example["backend"] == {"json": {"t": "Hi"}}


def test_an_outcome_is_told_without_what_did_not_come() -> None:
    """An error with its status; counts that are nothing are left out."""
    usage = {"prompt_tokens": 0, "completion_tokens": 2}
    assert told_outcome(Outcome(text="a", usage=usage)) == {"text": "a", "usage": {"completion_tokens": 2}}
    error = {"message": "no", "code": "c", "type": "t", "param": None}
    assert told_outcome(Outcome(status=502, error=error)) == {"status": 502, "error": {"message": "no", "code": "c"}}
