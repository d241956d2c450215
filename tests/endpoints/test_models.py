"""The models that mappings name, as OpenAI's objects."""

from __future__ import annotations

import json

from support import assert_strict, needs_strict

from oaiproxy.endpoints.models import encode_list, encode_model

MODEL = encode_model("m", "my-api", 17, {"chat": {"refused": ["n"]}})


def test_a_model_is_owned_by_its_mapping() -> None:
    """So that a user sees which file serves it."""
    assert (MODEL["owned_by"], MODEL["features"]) == ("my-api", {"chat": {"refused": ["n"]}})
    assert set(MODEL) == {"id", "object", "created", "owned_by", "features"}


def test_a_list_of_models() -> None:
    """As JSON, empty too."""
    assert json.loads(encode_list([MODEL])) == {"object": "list", "data": [MODEL]}
    assert json.loads(encode_list([])) == {"object": "list", "data": []}


@needs_strict
def test_openais_schemas() -> None:
    """Both are what OpenAI describes."""
    assert_strict("Model", [MODEL])
    assert_strict("ListModelsResponse", [json.loads(encode_list([MODEL]))])
