"""`POST /v1/audio/speech`: a text to calls, sound to bytes, passed on as they come.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

from dataclasses import replace

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.answering import read_call
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.events import Audio, Event, Usage
from oaiproxy.jsontext import Json

ENDPOINT = "speech"


def parse(body: Json) -> Call:
    """A request as a call."""
    call = read_call(ENDPOINT, body, "input")
    return replace(call, texts=(call.fields["input"],))


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer."""
    return SoundEncoder()


class SoundEncoder(Encoder):
    """The bytes of a sound. Its type is known with the first of them."""

    streams = True
    wants_usage = False

    def __init__(self) -> None:
        self.content_type = "application/octet-stream"

    def feed(self, event: Event) -> bytes:
        """The bytes as they came."""
        if not isinstance(event, Audio):
            return b""
        self.content_type = event.media_type
        return event.data

    def close(self, usage: Usage | None) -> bytes:
        """Nothing: the sound ends with its bytes."""
        return b""
