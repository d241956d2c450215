"""What `init` starts from: one call of an API, as it was sent and as it was answered."""

from __future__ import annotations

from dataclasses import dataclass

from oaiproxy.jsontext import Json


@dataclass(frozen=True, slots=True)
class Received:
    """A reply as it came. `media_type` is in lower case and without parameters, empty when it is not known."""

    data: bytes
    media_type: str = ""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of an API. Header names are in lower case; `body` is JSON, or text where it is none."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: Json = None
    answer: Received | None = None
    """The whole answer."""
    stream: Received | None = None
    """The answer as a stream."""
    stream_body: Json = None
    """The body that asks for the stream, where that is another."""
    stream_url: str = ""
    """The address that streams, where that is another."""
    stream_headers: tuple[tuple[str, str], ...] = ()
    """The headers that ask for the stream, where they are others."""
