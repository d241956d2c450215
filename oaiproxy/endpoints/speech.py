"""`POST /v1/audio/speech`: a text to calls, sound to bytes, passed on as they come.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.answering import kept_here, read_call
from oaiproxy.endpoints.encoding import EVENT_STREAM, Encoder, sse
from oaiproxy.events import Audio, Event, Usage
from oaiproxy.jsontext import Json

ENDPOINT = "speech"


def parse(body: Json) -> Call:
    """A request as a call."""
    call = kept_here(read_call(ENDPOINT, body, "input"), "stream_format")
    return replace(call, texts=(call.fields["input"],))


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer."""
    return SoundEventEncoder() if call.fields.get("stream_format") == "sse" else SoundEncoder()


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


class SoundEventEncoder(Encoder):
    """The sound as server-sent events: a `speech.audio.delta` in base64 for what came, `speech.audio.done` at the end.

    https://platform.openai.com/docs/api-reference/audio/speech-audio-delta-event
    """

    content_type = EVENT_STREAM
    streams = True
    wants_usage = True

    def feed(self, event: Event) -> bytes:
        """An event for each piece of the sound."""
        if not isinstance(event, Audio):
            return b""
        return sse(jsontext.dump({"type": "speech.audio.delta", "audio": b64encode(event.data).decode()}))

    def close(self, usage: Usage | None) -> bytes:
        """The last event, with the usage."""
        counts = usage or Usage()
        sent, made = counts.prompt or 0, counts.completion or 0
        told = {"input_tokens": sent, "output_tokens": made, "total_tokens": max(counts.total or 0, sent + made)}
        return sse(jsontext.dump({"type": "speech.audio.done", "usage": told}))
