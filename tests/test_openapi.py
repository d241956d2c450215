"""Promises of `GET /openapi.json`: a valid OpenAPI document of all that the server has, which its answers fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from scripted import fetch, mapping, request

from oaiproxy import openapi
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.frontshapes import BODIES
from oaiproxy.handlers import routes
from oaiproxy.policy import fields_of

PLACES = (
    *(("POST", door.path) for door in DOORS.values()),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model:.+}"),
    ("GET", "/readyz"),
)


def made(*places: tuple[str, str]) -> Any:
    """The document of these places."""
    return json.loads(openapi.document(places or PLACES))


async def test_the_server_tells_what_it_has(proxy: Any) -> None:
    """Each of its routes, in a document that is valid."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(None, "/openapi.json", method="GET"))
    assert (wire.status, wire.headers["content-type"]) == (200, "application/json")
    OpenAPIV31SpecValidator(wire.json).validate()
    told = {(method.upper(), path) for path, found in wire.json["paths"].items() for method in found}
    served = {(route.method, route.path.replace(":.+}", "}")) for route in routes(running.state)}
    assert told == served


@pytest.mark.parametrize("name", DOORS)
def test_every_field_of_a_door_is_told(name: str) -> None:
    """With its type, default and fate; those of a door on top of chat are described as a whole."""
    [body] = made()["paths"][DOORS[name].path]["post"]["requestBody"]["content"].values()
    assert body["schema"]["properties"].keys() == (fields_of(name) or BODIES[DOORS[name].path]["properties"]).keys()


def test_every_door_says_what_must_be_sent() -> None:
    """What its parser misses is what the document requires."""
    for name, required in openapi.REQUIRED.items():
        assert set(required) <= fields_of(name).keys()


def test_the_models_and_errors_fit_their_schemas() -> None:
    """As they are sent."""
    document = made()
    for name, value in (
        ("Model", {"id": "m", "object": "model", "created": 1, "owned_by": "x", "features": {}}),
        ("Error", {"error": {"message": "no", "type": "t", "param": None, "code": None}}),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        assert jsonschema_rs.is_valid(schema, value)
        assert not jsonschema_rs.is_valid(schema, {})


def test_a_door_and_a_path_that_no_table_knows_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """With errors as the door makes them."""
    door = replace(
        DOORS["chat"], path="/v1/new", error=lambda error, request_id: {"type": "error", "id": request_id, "more": None}
    )
    monkeypatch.setattr(openapi, "DOORS", {"new": door})
    document = made(("POST", "/v1/new"), ("DELETE", "/v1/new/{id}"))
    OpenAPIV31SpecValidator(document).validate()
    operation = document["paths"]["/v1/new"]["post"]
    assert operation["responses"]["400"]["content"]["application/json"]["schema"]["required"] == ["type", "id", "more"]
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    assert document["paths"]["/v1/new/{id}"]["delete"]["parameters"][0]["name"] == "id"


def test_it_is_built_once() -> None:
    """For it never changes while a server runs."""
    assert openapi.document(PLACES) is openapi.document(PLACES)
