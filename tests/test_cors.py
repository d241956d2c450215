"""Promises to browsers: pages of the origins that are listed may call and read, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import (
    FIN,
    REQUEST,
    Backend,
    Wire,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    request,
    stream,
    stream_head,
)

from oaiproxy.cors import EXPOSED, MAX_HEADERS, Cors

PAGE, OTHER = "https://chat.example.com", "https://evil.example.com"
LISTED = {"origins": [PAGE, "http://localhost:3000"]}
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), PAGE, False),
        ((PAGE,), PAGE, True),
        ((PAGE,), "HTTPS://chat.EXAMPLE.com", True),
        (("https://Chat.example.com",), PAGE, True),
        ((PAGE,), PAGE + ".evil.com", False),
        ((PAGE,), "http://chat.example.com", False),
        ((PAGE,), PAGE + ":444", False),
        ((PAGE,), "null", False),
        (("null",), "null", True),
        (("*",), OTHER, True),
        ((), None, True),
    ],
)
def test_which_pages_may_call(origins: tuple[str, ...], origin: str | None, allowed: bool) -> None:
    """Those of a listed origin, as a whole; who is no page may in any case."""
    assert Cors(origins).allows(origin) is allowed


@pytest.mark.parametrize("names", ["", "x y", "a,,b", "a\r\nb", "x" * (MAX_HEADERS + 1), "é"])
def test_only_names_of_headers_are_repeated(names: str) -> None:
    """And not too many."""
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    assert Cors([PAGE]).preflight(asked, "POST") == {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Max-Age": "600",
    }


def preflight(origin: str = PAGE, path: str = CHAT, headers: str = "authorization,content-type") -> bytes:
    """What a browser asks before a page's request."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return request(None, path, method="OPTIONS", headers={**asked, "Content-Type": "", "Content-Length": ""})


def granted(wire: Wire) -> dict[str, str]:
    return {name: value for name, value in wire.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "//v1/chat/completions/", "/v1/models/org/name"])
async def test_a_page_that_is_listed_may_send(proxy: Any, path: str) -> None:
    """With the headers that its client library sends, whatever they are."""
    running = await proxy(mapping("http://backend.test"), cors={**LISTED, "max_age": 60})
    names = "authorization, content-type, api-key, x-stainless-lang, x-stainless-retry-count"
    wire = await fetch(running.url, preflight(path=path, headers=names))
    methods = "GET, HEAD, OPTIONS" if "models" in path else "OPTIONS, POST"
    assert (wire.status, wire.body, wire.headers["vary"], wire.headers["allow"]) == (204, b"", "Origin", methods)
    assert granted(wire) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": methods,
        "access-control-allow-headers": names,
        "access-control-expose-headers": EXPOSED,
        "access-control-max-age": "60",
    }
    assert wire.headers["x-request-id"]


@pytest.mark.parametrize("cors", [{}, LISTED])
async def test_another_page_may_not(proxy: Any, cors: dict[str, Any]) -> None:
    """Its browser is told nothing, and a request that needs no leave of a browser's is refused here."""
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url), cors=cors)
        assert granted(await fetch(running.url, preflight(OTHER))) == {}
        for path in (CHAT, "/chat/completions", "/openai/deployments/m/chat/completions"):
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            wire = await fetch(
                running.url, request(body, path, headers={"Origin": OTHER, "Content-Type": "text/plain"})
            )
            assert (wire.status, wire.error["code"]) == (403, "origin_not_allowed")
            assert (granted(wire), OTHER in wire.error["message"]) == ({}, False)
        assert not backend.connections


async def test_other_pages_may_probe(proxy: Any) -> None:
    """That changes nothing and costs nothing, and they cannot read it."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(None, "/v1/models", method="GET", headers={"Origin": OTHER}))
    assert (wire.status, granted(wire)) == (200, {})


@pytest.mark.parametrize("origins", [[PAGE], ["*"]])
async def test_a_page_may_read_every_answer(proxy: Any, origins: list[str]) -> None:
    """Whole, streamed, broken, refused, unknown: an error that a page cannot read is no help."""
    told = {
        "access-control-allow-origin": "*" if origins == ["*"] else PAGE,
        "access-control-expose-headers": EXPOSED,
    }
    from_page = {"Origin": PAGE}
    script = [REQUEST, answer({"text": "fine"}), REQUEST, stream("fine"), REQUEST, answer({"error": "no"}, 500)]
    async with Backend([*script, REQUEST, stream_head(), chunk(event("The ")), FIN]) as backend:
        running = await proxy(mapping(backend.url), cors={"origins": origins})
        for asked, status in (
            (hello(headers=from_page), 200),
            (hello(stream=True, headers=from_page), 200),
            (hello(headers=from_page), 502),
            (hello(stream=True, headers=from_page), 200),
            (hello(model="other", headers=from_page), 404),
            (request(b"{", headers=from_page), 400),
            (request(None, "/nothing", headers=from_page), 404),
            (request(None, "/v1/models", headers=from_page), 405),
            (request(None, "/v1/models", method="GET", headers=from_page), 200),
        ):
            wire = await fetch(running.url, asked)
            assert (wire.status, granted(wire)) == (status, told)
            assert wire.headers.get("vary") == (None if origins == ["*"] else "Origin")


async def test_caches_are_told_that_answers_differ(proxy: Any) -> None:
    """Also by an answer to who is no page."""
    running = await proxy(mapping("http://backend.test"), cors=LISTED)
    wire = await fetch(running.url, request(None, "/v1/models", method="GET"))
    assert (wire.headers["vary"], granted(wire)) == ("Origin", {})


async def test_nothing_is_said_of_pages_unless_configured(proxy: Any) -> None:
    """Not even that it might be."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(None, "/v1/models", method="GET"))
    assert ("vary" in wire.headers, granted(wire)) == (False, {})
