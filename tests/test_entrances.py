"""Promises of entrances: each API's request is told from the others, and opened as its endpoint does."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.entrances import OTHERS, PATHS, enter, entrance_of, refused, served_as
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.probes import IDENTITY

HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"messages": HI}, None),
        ({"messages": HI, "max_tokens": 5, "tools": [{"type": "function"}]}, None),
        ({"messages": HI, "max_tokens": 5, "system": "be brief"}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages"),
        ({"messages": HI, "tools": [{"name": "f", "input_schema": {}}]}, "messages"),
        ({"input": "hi"}, None),
        ({"input": ["hi", "ho"]}, None),
        ({"input": "hi", "instructions": "be brief"}, "responses"),
        ({"input": [{"role": "user", "content": "hi"}]}, "responses"),
        ({"messages": 5, "input": {}}, None),
    ],
)
def test_an_api_is_told_by_what_no_other_has(body: dict[str, Any], name: str | None) -> None:
    """What fits chat is chat's."""
    assert entrance_of(body) == name


def test_other_apis_lead_to_chat() -> None:
    """Any other endpoint is what it is called."""
    assert {served_as(name) for name in OTHERS} == {"chat"}
    assert served_as("rerank") == "rerank"
    assert PATHS.keys() == {*DOORS, *OTHERS}


def test_a_field_has_the_clients_name() -> None:
    """Not chat's."""
    asked = enter("responses", {"model": "m", "input": "hi", "max_output_tokens": 5, "truncation": "auto"})
    assert asked.param("max_completion_tokens") == "max_output_tokens"
    assert asked.dropped == ("truncation",)
    assert asked.call.messages == HI
    assert asked.encoder(asked.call, IDENTITY).content_type == "application/json"
    asked = enter("messages", {"model": "m", "max_tokens": 5, "messages": HI})
    assert asked.param("stop") == "stop_sequences"


def test_an_error_is_told_as_the_api_tells_it() -> None:
    """Also where the request could not be opened."""
    error = ApiError("no", status=400)
    assert refused("messages", error, "r")["type"] == "error"
    assert refused("chat", error, "r").keys() == refused("responses", error, "r").keys() == {"error"}
    with pytest.raises(ClientError):
        enter("messages", {"model": "m", "messages": HI})
