"""The front doors that generate, by name: how each parses a request and encodes its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints import (
    chat,
    completions,
    embeddings,
    images,
    messages,
    moderations,
    rerank,
    speech,
    transcriptions,
)
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import ApiError
from oaiproxy.jsontext import Json


@dataclass(frozen=True, slots=True)
class Door:
    """One endpoint's two halves, and where it is.

    `reads` tells what a client sends: JSON, or a form whose fields are given to `parse` by name. `param` gives the
    client's name of a field that an error names by chat's, where the endpoint has others; `error` is the body of an
    answer that tells of an error, given the request's id; `dropped` names what `parse` left out.
    """

    path: str
    parse: Callable[[Json], Call]
    encoder: Callable[[Call, Identity], Encoder]
    reads: Literal["json", "form"] = "json"
    param: Callable[[Call, str], str] = lambda call, param: param
    error: Callable[[ApiError, str], Json] = lambda error, request_id: error.body()
    dropped: tuple[str, ...] = ()


DOORS: Mapping[str, Door] = {
    chat.ENDPOINT: Door("/v1/chat/completions", chat.parse, chat.encoder, param=chat.param),
    completions.ENDPOINT: Door("/v1/completions", completions.parse, completions.encoder),
    embeddings.ENDPOINT: Door("/v1/embeddings", embeddings.parse, embeddings.encoder),
    rerank.ENDPOINT: Door("/v1/rerank", rerank.parse, rerank.encoder),
    moderations.ENDPOINT: Door("/v1/moderations", moderations.parse, moderations.encoder),
    images.ENDPOINT: Door("/v1/images/generations", images.parse, images.encoder),
    speech.ENDPOINT: Door("/v1/audio/speech", speech.parse, speech.encoder),
    transcriptions.ENDPOINT: Door(
        "/v1/audio/transcriptions", transcriptions.parse, transcriptions.encoder, reads="form"
    ),
    messages.ENDPOINT: Door(
        messages.PATH, messages.parse, messages.encoder, param=messages.param, error=messages.error
    ),
}
