"""The one internal vocabulary for what a backend says, whole or streamed: extraction speaks it, endpoints encode it.

Events are msgspec structs: frozen like the dataclasses elsewhere, and some ten times cheaper to make, which counts at
one or more of them per streamed token.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from oaiproxy.errors import BackendError
from oaiproxy.jsontext import Json

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
Kind: TypeAlias = Literal["content", "reasoning_content", "refusal"]


class Delta(msgspec.Struct, frozen=True, gc=False):
    """More text of one choice. `kind` is the field of OpenAI's message that it belongs to."""

    text: str
    kind: Kind = "content"
    choice: int = 0


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A tool call opened (`id` and `name` set, once per `index`) or more text of its `arguments`.

    `index` counts the calls of a choice from 0, densely. The arguments of a `custom` tool are the text that it takes,
    those of a function are JSON.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    choice: int = 0
    custom: bool = False


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts, those that the backend gave; None is "not said". `prompt` includes the `cached` ones."""

    prompt: int | None = None
    completion: int | None = None
    total: int | None = None
    cached: int | None = None
    reasoning: int | None = None


class Head(msgspec.Struct, frozen=True):
    """What the backend calls this answer: its own id, and the model that gave it."""

    id: str | None = None
    model: str | None = None


class Logprobs(msgspec.Struct, frozen=True):
    """The log probabilities of a choice's next tokens: OpenAI's entries `{token, logprob, bytes, top_logprobs}`."""

    content: list[Json]
    refusal: list[Json] | None = None
    choice: int = 0


class Annotations(msgspec.Struct, frozen=True):
    """More of the annotations of a choice, as OpenAI's objects."""

    items: list[Json]
    choice: int = 0


class Remainder(msgspec.Struct, frozen=True):
    """State that no tool call took along, `{text?, state, id?}` each; told once, before a choice is complete.

    `owner` is the name of the mapping that it is for.
    """

    items: list[Json]
    choice: int = 0
    owner: str = ""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """A choice is complete. `stop` is the client's stop string that it was cut at, where the proxy itself cut."""

    reason: FinishReason
    choice: int = 0
    stop: str | None = None


class Fault(msgspec.Struct, frozen=True):
    """The backend failed; nothing follows."""

    error: BackendError


class Result(msgspec.Struct, frozen=True):
    """The answer of an endpoint that generates no text, as its reader made it (`oaiproxy.results`)."""

    value: Json


class Audio(msgspec.Struct, frozen=True):
    """More of a sound, and its media type."""

    data: bytes
    media_type: str


Event: TypeAlias = (
    Head | Delta | ToolCallDelta | Logprobs | Annotations | Remainder | Usage | Finish | Fault | Result | Audio
)
