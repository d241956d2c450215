"""Promises of the schemas of requests that become chat's: real ones fit, others do not, and the document is valid."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from oaiproxy import openapi
from oaiproxy.frontshapes import BODIES, RESPONSES

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": None}


@pytest.mark.parametrize(
    ("path", "body", "fits"),
    [
        ("/v1/responses", {"model": "m", "input": "hi", "user": None}, True),
        ("/v1/responses", {"model": "m", "input": [{"role": "user", "content": "hi"}], "tools": [FUNCTION]}, True),
        ("/v1/responses", {"model": "m", "input": 5}, False),
        ("/v1/responses/compact", {"model": "m", "input": "hi"}, True),
        ("/v1/messages", {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}, True),
        ("/v1/messages", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, False),
        ("/v1/messages/count_tokens", {"model": "m", "messages": []}, False),
    ],
)
def test_a_request_fits_its_schema(path: str, body: dict[str, Any], fits: bool) -> None:
    """Null counts as not sent."""
    assert jsonschema_rs.is_valid(BODIES[path], body) is fits


def test_they_are_told_of_where_they_are_served() -> None:
    """By their paths."""
    document = json.loads(openapi.document(tuple(("POST", path) for path in BODIES)))
    OpenAPIV31SpecValidator(document).validate()
    for path, schema in BODIES.items():
        assert document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"] == schema


def test_the_parameters_are_those_that_the_schema_types() -> None:
    """None of them has another name in the page."""
    assert BODIES["/v1/responses"]["properties"].keys() <= RESPONSES.keys()
