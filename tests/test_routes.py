"""Promises of `oaiproxy.routes`: each model to its mapping, OpenAI's 404 for others, and a table that never changes."""

from __future__ import annotations

import pytest
from scripted import mapping

from oaiproxy.errors import ClientError
from oaiproxy.routes import Routes

ONE = mapping("https://one.test", models="[b, a]")
TWO = mapping("https://two.test", models="{c: real-name}")
CREATED = 1_700_000_000


def routes() -> Routes:
    return Routes(iter([ONE, TWO]), CREATED)


@pytest.mark.parametrize(("model", "expected"), [("a", ONE), ("b", ONE), ("c", TWO)])
def test_a_model_is_resolved_to_its_mapping(model: str, expected: object) -> None:
    """By the name that clients use."""
    assert routes().resolve(model) is expected


@pytest.mark.parametrize("model", ["d", "", "A", "a ", "real-name"])
def test_an_unknown_model_is_openais_404(model: str) -> None:
    """Names are exact; those of backends are not known to clients."""
    with pytest.raises(ClientError) as caught:
        routes().resolve(model)
    assert caught.value.status == 404
    assert caught.value.body() == {
        "error": {
            "message": f"The model '{model}' does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_a_long_name_is_not_repeated_whole() -> None:
    """It may be of any length."""
    with pytest.raises(ClientError) as caught:
        routes().resolve("x" * 100_000)
    assert len(caught.value.message) < 300


def test_the_list_is_in_the_order_of_the_mappings() -> None:
    """And within one in its own."""
    assert [model["id"] for model in routes().models()] == ["b", "a", "c"]


def test_a_model_is_openais_object() -> None:
    """It is owned by the mapping that serves it."""
    made = routes().model("c")
    model = {"id": "c", "object": "model", "created": CREATED, "owned_by": "test"} | {"features": made["features"]}
    assert made == model
    assert "temperature" in made["features"]["chat"]["dropped"]
    assert routes().models()[-1] == model


def test_an_unknown_model_has_no_object() -> None:
    """404 here too."""
    with pytest.raises(ClientError, match="'d' does not exist"):
        routes().model("d")


def test_what_is_given_out_is_not_the_table() -> None:
    """Who changes it changes nothing."""
    table = routes()
    table.models().clear()
    table.model("a")["id"] = "z"
    assert [model["id"] for model in table.models()] == ["b", "a", "c"]


def test_what_was_put_in_is_not_the_table() -> None:
    """It is replaced whole, never filled."""
    mappings = [ONE]
    table = Routes(mappings, CREATED)
    mappings.append(TWO)
    with pytest.raises(ClientError):
        table.resolve("c")
