"""`POST /v1/embeddings`: texts or token ids to calls, vectors to a list object.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from msgspec import Raw

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.answering import ObjectEncoder, input_usage, read_call
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError
from oaiproxy.events import Usage
from oaiproxy.inputs import texts, tokens
from oaiproxy.jsontext import Json
from oaiproxy.parameters import invalid_value
from oaiproxy.vectors import VectorError, to_base64

ENDPOINT = "embeddings"
APART = 16
"""Vectors that are written at once."""


def parse(body: Json) -> Call:
    """A request as a call: `input` is a list of texts, or else `tokens` a list of lists of token ids."""
    call = read_call(ENDPOINT, body, "input")
    fields = dict(call.fields)
    given = fields.pop("input")
    ids = tokens(given)
    if ids is not None:
        return replace(call, fields=fields | {"tokens": ids})
    said = texts(given, "input")
    if "" in said:
        place = "input" if isinstance(given, str) else f"input[{said.index('')}]"
        raise invalid_value(place, "it is an empty string")
    return replace(call, fields=fields | {"input": said}, texts=tuple(said))


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer."""
    return EmbeddingsEncoder(call, identity)


class EmbeddingsEncoder(ObjectEncoder):
    """A `list` of `embedding` objects: numbers, or base64 where the client asks for it, as OpenAI's own clients do."""

    wants_usage = True

    def written(self, result: Json) -> Json:
        """The vectors in the encoding that was asked for."""
        if self.call.fields.get("encoding_format") != "base64":
            return result
        try:
            return [to_base64(vector) for vector in result]
        except VectorError as error:
            raise BackendError(str(error), code="upstream_mapping_mismatch", retry=False) from error

    def object(self, usage: Usage | None) -> Mapping[str, Json]:
        """The list."""
        result = self.result
        if len(result) > APART:
            # All at once they would take long, in which no other thread gets its turn.
            result = [vector if isinstance(vector, str) else Raw(jsontext.dump(vector)) for vector in result]
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(result)]
        return {"object": "list", "data": data, "model": self.head.model, "usage": input_usage(usage)}
