"""Every generating endpoint is a door: it parses its requests and encodes its answers."""

from __future__ import annotations

from typing import Any

import pytest
from support import IDENTITY

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.mapping import ENDPOINTS

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}


def test_there_is_a_door_for_every_endpoint_of_a_mapping() -> None:
    """So that nothing in a mapping is out of reach."""
    assert set(DOORS) == set(ENDPOINTS)


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("streams", [False, True])
def test_a_doors_halves_fit(name: str, streams: bool) -> None:
    """What it parses, it can answer, as the client asked for it."""
    call = DOORS[name].parse(BODY | {"stream": streams})
    encoder = DOORS[name].encoder(call, IDENTITY)
    assert (call.endpoint, encoder.streams) == (name, streams)
    assert encoder.content_type.startswith("text/event-stream" if streams else "application/json")
