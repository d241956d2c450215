"""`POST /v1/moderations`: texts to calls, verdicts to results with all of OpenAI's categories.

https://platform.openai.com/docs/api-reference/moderations
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.answering import ObjectEncoder, read_call
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.events import Usage
from oaiproxy.inputs import moderated
from oaiproxy.jsontext import Json

ENDPOINT = "moderations"
DEFAULT_MODEL = "omni-moderation-latest"
"""The model of a request that names none, as OpenAI has it."""
CATEGORIES = (
    "hate",
    "hate/threatening",
    "harassment",
    "harassment/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def parse(body: Json) -> Call:
    """A request as a call: `input` is a list of texts."""
    call = read_call(ENDPOINT, body, "input", DEFAULT_MODEL)
    said = moderated(call.fields["input"])
    return replace(call, fields={**call.fields, "input": said}, texts=tuple(said))


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer."""
    return VerdictEncoder(call, identity)


class VerdictEncoder(ObjectEncoder):
    """A result for each input. A category that the backend does not tell is false, with the score 0."""

    def object(self, usage: Usage | None) -> Mapping[str, Json]:
        """The results."""
        results = [
            {
                "flagged": found["flagged"],
                "categories": dict.fromkeys(CATEGORIES, False) | found["categories"],
                "category_scores": dict.fromkeys(CATEGORIES, 0.0) | found["scores"],
                "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
            }
            for found in self.result
        ]
        return {"id": self.head.id or f"modr-{self.identity.token}", "model": self.head.model, "results": results}
