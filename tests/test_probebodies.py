"""Promises of `oaiproxy.probebodies`: requests that OpenAI would take, with all that can be left out."""

from __future__ import annotations

import pytest

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.inputs import CARRIES, INPUTS, NAMES
from oaiproxy.probebodies import FIELDS, bodies, carriers, least


@pytest.mark.parametrize("endpoint", INPUTS)
def test_probes_are_requests(endpoint: str) -> None:
    """Each is parsed, and no field is a default, which would count as not sent."""
    for body in bodies(endpoint, {*INPUTS[endpoint], "tokens"}):
        call = DOORS[endpoint].parse({"model": "m", **body})
        assert call.fields.keys() - {"tokens", "model"} == body.keys() - (
            {"input"} if "tokens" in call.fields else set()
        )


@pytest.mark.parametrize("endpoint", INPUTS)
def test_every_name_is_probed(endpoint: str) -> None:
    """What is not in the least request can be left out."""
    assert {*FIELDS[endpoint], *CARRIES[endpoint], "user"} | {"tokens"} >= NAMES[endpoint].keys()


def test_only_what_is_read_is_sent() -> None:
    """A field that no template reads could be refused."""
    assert list(bodies("rerank", {"query"})) == [least("rerank", "hi")] * 2
    assert {"input": [[1, 2], [3]]} in bodies("embeddings", {"tokens"})


def test_text_goes_wherever_it_can() -> None:
    """Each place apart, so that none hides another."""
    assert [[key for key, value in body.items() if "T" in value] for body in carriers("rerank", "T")] == [
        ["query"],
        ["documents"],
    ]
    assert list(carriers("images", "T")) == [{"prompt": "T"}]
