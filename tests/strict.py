"""OpenAI's own schemas, as published but for the few places where what OpenAI sends is otherwise: `PATCHES`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

STRICT = Path(__file__).parents[2] / "shared" / "openai" / "strict"
"""They are on the machines that have them."""
Schema: TypeAlias = dict[str, Any]


def _at(schema: Schema, path: str) -> Any:
    """What is at a path of keys."""
    found: Any = schema
    for key in path.split("/"):
        found = found[key]
    return found


def _null_finish(schema: Schema) -> None:
    choice = _at(schema, "properties/choices/items/properties")
    choice["finish_reason"] = {"enum": [*choice["finish_reason"]["enum"], None]}


def _null_usage(schema: Schema) -> None:
    schema["properties"]["usage"] = {"anyOf": [schema["properties"]["usage"], {"type": "null"}]}


def _null_token_logprobs(schema: Schema) -> None:
    logprobs = _at(schema, "properties/choices/items/properties/logprobs/anyOf")[0]["properties"]
    for key in ("token_logprobs", "top_logprobs"):
        logprobs[key]["items"] = {"anyOf": [logprobs[key]["items"], {"type": "null"}]}


def _base64_vectors(schema: Schema) -> None:
    vector = _at(schema, "$defs/Embedding/properties")
    vector["embedding"] = {"anyOf": [vector["embedding"], {"type": "string", "contentEncoding": "base64"}]}


PATCHES: Mapping[str, Mapping[str, Callable[[Schema], None]]] = {
    "CreateCompletionResponse": {
        "a chunk's finish_reason is null until the last one": _null_finish,
        "a chunk's usage is null where the stream will end with it": _null_usage,
        "with echo, the first token has no log probability": _null_token_logprobs,
    },
    "CreateEmbeddingResponse": {"the official clients ask for base64, and get a string": _base64_vectors},
}
"""By schema: where it is stricter than OpenAI's own servers and clients, why, and how it is mended."""


@cache
def schema(name: str) -> Schema:
    """One of OpenAI's objects, patched."""
    made: Schema = json.loads((STRICT / f"{name}.json").read_text())
    for patch in PATCHES.get(name, {}).values():
        patch(made)
    return made
