"""`POST /v1/rerank`: a query and documents to calls, scores to a ranking.

No endpoint of OpenAI's; the shape is what rerankers have agreed on: https://jina.ai/reranker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.answering import ObjectEncoder, input_usage, read_call
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.events import Usage
from oaiproxy.jsontext import Json
from oaiproxy.parameters import missing

ENDPOINT = "rerank"


def parse(body: Json) -> Call:
    """A request as a call: `documents` is a list of texts."""
    call = read_call(ENDPOINT, body, "query")
    if "documents" not in call.fields:
        raise missing("documents")
    return replace(call, texts=(call.fields["query"], *call.fields["documents"]))


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer."""
    return RankingEncoder(call, identity)


class RankingEncoder(ObjectEncoder):
    """The documents' indexes and scores, the best first; with their texts where the client asks for them."""

    wants_usage = True

    def object(self, usage: Usage | None) -> Mapping[str, Json]:
        """The ranking."""
        results: list[Json] = []
        for found in self.result:
            made = {"index": found["index"], "relevance_score": found["score"]}
            if self.call.fields.get("return_documents"):
                text = found.get("document", self.call.fields["documents"][found["index"]])
                made["document"] = {"text": text}
            results.append(made)
        identity = self.head.id or f"rerank-{self.identity.token}"
        return {"id": identity, "model": self.head.model, "results": results, "usage": input_usage(usage)}
