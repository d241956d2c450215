"""Promises of `oaiproxy.modellist`: the names in a backend's list, in bounds, or why there are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import findings_of

from oaiproxy.discovery import request_of
from oaiproxy.mapping import Mapping
from oaiproxy.modellist import MAX_MODELS, MAX_NAME, ModelList
from oaiproxy.picks import Envelope

TEXT = """oaiproxy: 1
backend:
  url: https://backend.test/api
  auth: {bearer: key}
  headers: {x-user: "{{ user }}", x-a: "1"}
  query: {v: "1"}
models_list: {path: "/models/{{ vars.kind }}", query: {limit: 5}, headers: {x-a: ~}, models: "data[].id"}
vars: {kind: chat}
chat:
  request: {path: /x, body: {q: "{{ prompt }}"}}
  response: {text: out}
"""


def compiled(text: str = TEXT) -> tuple[Mapping, ModelList]:
    mapping, findings = findings_of(text)
    assert mapping is not None, findings
    assert mapping.model_list is not None
    return mapping, mapping.model_list


def names(data: Any) -> list[str]:
    return compiled()[1].names(data if isinstance(data, bytes) else json.dumps(data).encode(), Envelope())


def test_the_request_is_made_as_others_are() -> None:
    """What templates read of a client's request is absent."""
    request = request_of(*compiled())
    assert request.method == "GET"
    assert request.url == "https://backend.test/api/models/chat?v=1&limit=5"
    assert request.headers == {"Authorization": "Bearer key"}
    assert request.body is None


def test_models_need_not_be_written_down() -> None:
    """And are asked for every ten minutes."""
    mapping, models = compiled()
    assert dict(mapping.models) == {}
    assert models.every == 600


def test_names_are_taken_as_they_are() -> None:
    """Each once, in their order; what is no name is none."""
    long = "x" * (MAX_NAME + 1)
    found = [{"id": each} for each in ("b/1:x", "a", "b/1:x", "", 5, None, long)]
    assert names({"data": found}) == ["b/1:x", "a"]
    assert names({"data": []}) == []


def test_names_are_bounded() -> None:
    """So many, and no more."""
    assert len(names({"data": [{"id": str(number)} for number in range(MAX_MODELS + 5)]})) == MAX_MODELS


@pytest.mark.parametrize(
    "data", [b"", b"<html>", {"error": "no"}, {"data": {}}, {"data": "a"}, {"data": [{"id": 5}]}, 5]
)
def test_what_is_no_list_is_said(data: Any) -> None:
    """Never taken for an empty one."""
    with pytest.raises(ValueError, match=r"JSON|list"):
        names(data)


def test_a_list_needs_a_key_of_the_proxys_own() -> None:
    """Nobody asks for it whose key could be passed on."""
    mapping, (found,) = findings_of(TEXT.replace("{bearer: key}", "{passthrough: authorization}"))
    assert mapping is None
    assert (found.code, found.span.line if found.span else 0) == ("E105", 7)
    assert "key of its own" in found.label
