"""Every generating endpoint is a door: it parses its requests and encodes its answers."""

from __future__ import annotations

from typing import Any

import pytest
from support import IDENTITY

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.mapping import ENDPOINTS

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi"}
ON_CHAT = ("messages",)
LEAST: dict[str, Any] = {
    "embeddings": {"input": "hi"},
    "rerank": {"query": "hi", "documents": ["a"]},
    "moderations": {"input": "hi"},
    "images": {"prompt": "hi"},
    "speech": {"input": "hi"},
    "transcriptions": {"file": {"base64": "AA=="}},
}


def test_there_is_a_door_for_every_endpoint_of_a_mapping() -> None:
    """So that nothing in a mapping is out of reach; the others are further ways to chat."""
    assert set(DOORS) == {*ENDPOINTS, *ON_CHAT}


@pytest.mark.parametrize("name", LEAST)
def test_a_door_beyond_chat_answers_in_its_own_type(name: str) -> None:
    """One object, but for sound, which is passed on as it comes."""
    call = DOORS[name].parse({"model": "m", **LEAST[name]})
    encoder = DOORS[name].encoder(call, IDENTITY)
    assert (call.endpoint, call.stream, encoder.streams) == (name, False, name == "speech")
    assert encoder.content_type == ("application/octet-stream" if name == "speech" else "application/json")


def test_paths_are_openais() -> None:
    """But for rerank, which OpenAI does not have, and other ways to chat."""
    assert [door.path.removeprefix("/v1/") for name, door in DOORS.items() if name not in ON_CHAT] == [
        *("chat/completions", "completions", "embeddings", "rerank", "moderations", "images/generations"),
        *("audio/speech", "audio/transcriptions"),
    ]
    assert [name for name, door in DOORS.items() if door.reads == "form"] == ["transcriptions"]


@pytest.mark.parametrize("name", ["chat", "completions"])
@pytest.mark.parametrize("streams", [False, True])
def test_a_doors_halves_fit(name: str, streams: bool) -> None:
    """What it parses, it can answer, as the client asked for it."""
    call = DOORS[name].parse(BODY | {"stream": streams})
    encoder = DOORS[name].encoder(call, IDENTITY)
    assert (call.endpoint, encoder.streams) == (name, streams)
    assert encoder.content_type.startswith("text/event-stream" if streams else "application/json")
