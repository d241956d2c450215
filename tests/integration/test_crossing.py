"""What crosses from one side to the other: one credential to the backend (T28), and short plain words back (T32)."""

from __future__ import annotations

from typing import Any

import pytest
import support
from scripted import REQUEST, Backend, answer, fetch, hello, mapping

FINE = answer({"text": "fine"}, headers={"Connection": "close"})
MINE = {"Authorization": "Bearer sk-mine", "api-key": "sk-mine", "x-api-key": "sk-mine", "Cookie": "a=sk-mine"}
MINE |= {"X-Backend-Key": "sk-mine", "Proxy-Authorization": "Basic sk-mine"}
AUTHS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "a bearer": ("auth: {bearer: '${KEY}'}", [("authorization", "Bearer sk-ours")]),
    "a header": ("auth: {header: x-api-key, value: '${KEY}'}", [("x-api-key", "sk-ours")]),
    "a parameter": ("auth: {query: key, value: '${KEY}'}", []),
    "a password": ("auth: {basic: {user: me, password: '${KEY}'}}", [("authorization", "Basic bWU6c2stb3Vycw==")]),
    "the client's": ("auth: {passthrough: x-backend-key}", [("x-backend-key", "sk-mine")]),
    "none": ("", []),
}
WITH_CREDENTIALS = {"authorization", "api-key", "x-api-key", "cookie", "x-backend-key", "proxy-authorization"}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", AUTHS)
async def test_a_backend_sees_one_credential(
    proxy: Any, monkeypatch: pytest.MonkeyPatch, name: str, streams: bool
) -> None:
    """That of its mapping, whatever the client brings."""
    monkeypatch.setitem(support.ENVIRONMENT, "KEY", "sk-ours")
    auth, wanted = AUTHS[name]
    async with Backend([REQUEST, FINE]) as backend:
        running = await proxy(mapping(backend.url, backend=auth))
        assert (await fetch(running.url, hello(stream=streams, headers=MINE))).text == "fine"
        (sent,) = backend.requests
    assert [(key, value) for key, value in sent.headers if key in WITH_CREDENTIALS] == wanted
    assert (sent.head + sent.body).count(b"sk-mine") == sum("sk-mine" in value for _, value in wanted)
    assert sent.head.count(b"sk-ours") == (1 if name in ("a bearer", "a header", "a parameter") else 0)


SAID: dict[str, tuple[Any, str]] = {
    "a page": (b"<html><body>canary", "text/html"),
    "a page that calls itself JSON": (b"<!doctype html>canary", "application/json"),
    "a page within JSON": ({"error": {"message": "<html><body>canary</body>"}}, "application/json"),
    "a stack": ({"error": 'Traceback (most recent call last):\n  File "canary"'}, "application/json"),
    "another stack": ({"error": {"message": "canary\n    at run (canary.js:1)"}}, "application/json"),
    "what nobody asked for": ({"error": {"message": "", "stack": "canary"}, "debug": "canary"}, "application/json"),
    "after much else": ({"error": {"message": "x " * 400 + "canary"}}, "application/json"),
}


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("name", SAID)
async def test_what_a_backend_says_of_a_failure_is_short_and_plain(proxy: Any, name: str, status: int) -> None:
    """No page, no stack trace, nothing beside the message, and of that no more than a paragraph."""
    body, kind = SAID[name]
    async with Backend([REQUEST, answer(body, status, {"Content-Type": kind})]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
    assert wire.status == (400 if status == 400 else 502)
    assert b"canary" not in wire.raw
    assert len(wire.error["message"]) <= 600


async def test_what_a_message_holds_cannot_leave_it(proxy: Any) -> None:
    """Quotes and line ends are text of one line."""
    message = 'a"}}\r\n\r\ndata: {"x": 1}\n\nb\u2028\x1b'
    async with Backend([REQUEST, answer({"error": {"message": message}}, 400)]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
    assert wire.json["error"].keys() == {"message", "type", "param", "code"}
    assert 'a"}} data: {"x": 1} b' in wire.error["message"]
    assert "\n" not in wire.error["message"]
