"""What the encoders share: their protocol, server-sent events as bytes, and token usage as an object."""

from __future__ import annotations

from typing import Protocol

from oaiproxy import jsontext
from oaiproxy.errors import ApiError
from oaiproxy.events import Event, Usage
from oaiproxy.jsontext import Json

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
DONE = b"data: [DONE]\n\n"


class Encoder(Protocol):
    """One answer in the making: events in, bytes for the client out. An answer that is not streamed comes at close."""

    content_type: str
    streams: bool
    wants_usage: bool

    def feed(self, event: Event) -> bytes:
        """The bytes that an event makes."""
        ...

    def close(self, usage: Usage | None) -> bytes:
        """The bytes that end the answer."""
        ...

    def fail(self, error: ApiError) -> bytes:
        """The bytes that tell of a failure in an answer that has begun: none where there is no place for them."""
        return error_event(error) if self.content_type == EVENT_STREAM else b""


def sse(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def error_event(error: ApiError) -> bytes:
    """The event that tells of a failure inside a stream: all official clients raise on it."""
    return sse(jsontext.dump(error.body()))


def usage_object(usage: Usage) -> dict[str, Json]:
    """OpenAI's `usage`: three counts, and the details that are known."""
    prompt, completion = usage.prompt or 0, usage.completion or 0
    made: dict[str, Json] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": usage.total if usage.total is not None else prompt + completion,
    }
    if usage.cached is not None:
        made["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if usage.reasoning is not None:
        made["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return made
