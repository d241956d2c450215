"""`GET /v1/models` and `/v1/models/{id}`: the models that the mappings name.

https://platform.openai.com/docs/api-reference/models
"""

from __future__ import annotations

from collections.abc import Iterable

from oaiproxy import jsontext
from oaiproxy.jsontext import Json


def encode_model(name: str, mapping: str, created: int, features: Json) -> dict[str, Json]:
    """One model object; it is owned by the mapping that serves it. `features` is no key of OpenAI's: see `features`."""
    return {"id": name, "object": "model", "created": created, "owned_by": mapping, "features": features}


def encode_list(models: Iterable[dict[str, Json]]) -> bytes:
    """The list object, as JSON."""
    return jsontext.dump({"object": "list", "data": list(models)})
