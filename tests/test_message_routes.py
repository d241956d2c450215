"""A count of tokens over HTTP, and the header by which clients of `POST /v1/messages` know a request's id."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import REQUEST, Backend, answer, fetch, mapping, request, stream

ASK: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi there"}]}
NAMED = {"x-request-id": "mine"}


async def test_tokens_are_counted(proxy: Any) -> None:
    """No backend is asked."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(ASK, "/v1/messages/count_tokens", headers=NAMED))
    assert (wire.status, wire.json) == (200, {"input_tokens": 2})
    assert (wire.headers["request-id"], wire.headers["x-request-id"]) == ("mine", "mine")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "We could not parse the JSON body"),
        ({**ASK, "messages": []}, 400, "messages: at least one message is required"),
        ({**ASK, "model": "x"}, 404, "The model 'x' does not exist"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_mistakes_are_told_in_this_apis_shape(
    proxy: Any, path: str, body: Any, status: int, message: str
) -> None:
    """Also those that are found before the request is read."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(body, path, headers=NAMED))
    assert wire.status == status
    type_ = "not_found_error" if status == 404 else "invalid_request_error"
    assert (wire.json["type"], wire.json["error"]["type"], wire.json["request_id"]) == ("error", type_, "mine")
    assert wire.json["error"]["message"].startswith(message)
    assert wire.headers["request-id"] == "mine"


@pytest.mark.parametrize("streams", [False, True])
async def test_answers_have_the_header(proxy: Any, streams: bool) -> None:
    """Those of other endpoints do not."""
    steps = [REQUEST, stream("Rome.") if streams else answer({"text": "Rome."})]
    async with Backend(steps * 2) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, request({**ASK, "stream": streams}, "/v1/messages?beta=true", headers=NAMED))
        other = await fetch(running.url, request({**ASK, "stream": streams}, headers=NAMED))
    assert (wire.status, wire.headers["request-id"]) == (200, "mine")
    assert b"Rome." in wire.body
    assert wire.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n') is streams
    assert (other.status, "request-id" in other.headers) == (200, False)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/messages/"])
async def test_a_method_that_is_not_served(proxy: Any, path: str) -> None:
    """Is refused in this API's shape, however the path is written."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(None, path, method="PUT"))
    assert (wire.status, wire.json["type"], "request-id" in wire.headers) == (405, "error", True)
