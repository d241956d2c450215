"""Promises of `/v1/audio/speech`: a text in, bytes out."""

from __future__ import annotations

import json

import pytest
from support import IDENTITY, events

from oaiproxy.endpoints.speech import encoder, parse
from oaiproxy.errors import ClientError
from oaiproxy.events import Audio, Head, Usage


def test_a_request() -> None:
    """A voice by its name; the default format is not sent."""
    call = parse({"model": "m", "input": "a", "voice": {"id": "v"}, "response_format": "mp3"})
    assert call.fields == {"model": "m", "input": "a", "voice": "v"}
    with pytest.raises(ClientError, match="'input'"):
        parse({"model": "m", "input": ["a"]})


def test_sound() -> None:
    """As it comes, under the type of the first bytes."""
    answer = encoder(parse({"model": "m", "input": "a"}), IDENTITY)
    assert answer.feed(Head("id", None)) == b""
    assert answer.feed(Audio(b"\x00\xff", "audio/wav")) == b"\x00\xff"
    assert (answer.content_type, answer.close(None)) == ("audio/wav", b"")


def test_sound_as_events() -> None:
    """In base64, whatever its pieces; the usage at the end. The backend is not asked for it."""
    call = parse({"model": "m", "input": "a", "stream_format": "sse"})
    assert "stream_format" not in call.request
    answer = encoder(call, IDENTITY)
    assert answer.feed(Head("id", None)) == b""
    sent = answer.feed(Audio(b"\x00\xff", "audio/wav")) + answer.feed(Audio(b"a", "audio/wav")) + answer.close(Usage(3))
    assert answer.content_type.startswith("text/event-stream")
    assert [json.loads(each) for each in events(sent)] == [
        {"type": "speech.audio.delta", "audio": "AP8="},
        {"type": "speech.audio.delta", "audio": "YQ=="},
        {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}},
    ]
    assert json.loads(next(events(answer.close(None))))["usage"]["total_tokens"] == 0
