"""Promises of `/v1/audio/speech`: a text in, bytes out."""

from __future__ import annotations

import pytest
from support import IDENTITY

from oaiproxy.endpoints.speech import encoder, parse
from oaiproxy.errors import ClientError
from oaiproxy.events import Audio, Head


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
