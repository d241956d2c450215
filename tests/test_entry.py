"""Promises to an operator with keys: nobody else comes in, by whatever path, and all stay with what is theirs."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from typing import Any

import pytest
from scripted import GONE, REQUEST, Backend, Client, answer, fetch, hello, mapping, request, settled

from oaiproxy.app import create_app
from oaiproxy.config import Key
from oaiproxy.entry import OPEN
from oaiproxy.keyring import Keyring

ONE, TWO = "sk-canary-one", "sk-canary-two"


def ring(**more: Any) -> Keyring:
    """The keys of two clients; `more` is what is said of the second."""
    return Keyring([Key("one", sha256(ONE.encode()).hexdigest()), Key("two", sha256(TWO.encode()).hexdigest(), **more)])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.row(94)
async def test_every_endpoint_wants_a_key(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """But for those that tell of health, and the document; no backend is asked."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        running.state.keys = ring()
        places = {
            (route.method, route.resource.canonical)
            for route in create_app(running.state).router.routes()
            if route.resource is not None and route.method not in ("*", "HEAD")
        }
        assert len(places) > 20
        for method, path in sorted(places):
            for headers in ({}, bearer("sk-canary-wrong"), {"api-key": "sk-canary-wrong"}):
                place = path.replace("{id}", "resp_1").replace("{model}", "m")
                wire = await fetch(running.url, request(None, place, method=method, headers=headers))
                if path in OPEN:
                    assert wire.status == 200
                    continue
                assert wire.status == 401, (method, path)
                assert wire.headers["www-authenticate"] == "Bearer"
                error = wire.json["error"]
                assert error["type"] in ("invalid_request_error", "authentication_error")
                if not path.startswith("/v1/messages"):
                    assert error["code"] == ("invalid_api_key" if headers else "missing_api_key")
        assert not backend.connections
    running.state.log.close()
    assert "canary" not in capfd.readouterr().err


@pytest.mark.row(94)
@pytest.mark.parametrize(
    "path",
    [
        *("//v1/chat/completions", "/v1/v1/chat/completions", "/chat/completions", "/v1/chat/completions/"),
        *("/openai/deployments/m/chat/completions?api-version=1", "/v1/engines/m/completions", "/v1/livez/../models"),
        *(
            "/models",
            "/openai/v1/models",
            "/v1//models/m",
            "/v1/%6dodels",
            "/livez/../v1/models",
            "/v1/models?x=/livez",
        ),
    ],
)
async def test_no_other_spelling_of_a_path_is_a_way_around(proxy: Any, path: str) -> None:
    """What is not refused for its key is not there."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        running.state.keys = ring()
        method = "POST" if "completions" in path else "GET"
        wire = await fetch(
            running.url, hello().replace(b"/v1/chat/completions", path.encode(), 1).replace(b"POST", method.encode(), 1)
        )
        assert wire.status in (401, 404)
        assert wire.status == 401 or ".." in path
        assert not backend.connections


@pytest.mark.row(94)
@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        (b"Authorization: Bearer \xff\xfe", 401, "invalid_api_key"),
        ("Authorization: Bearer schlüssel".encode(), 401, "invalid_api_key"),
        (b"Authorization: Bearer a\r\nAuthorization: Bearer b", 400, "invalid_request"),
        (b"Authorization: Basic YTpi", 401, "missing_api_key"),
    ],
)
async def test_what_is_no_key_is_refused_and_not_an_error_of_ours(
    proxy: Any, lines: bytes, status: int, code: str
) -> None:
    """Whatever bytes it is made of."""
    running = await proxy(mapping("http://backend.test"))
    running.state.keys = ring()
    wire = await fetch(running.url, hello().replace(b"\r\n", b"\r\n" + lines + b"\r\n", 1))
    assert (wire.status, wire.error["code"]) == (status, code)


async def test_a_key_of_any_bytes_opens(proxy: Any) -> None:
    """It is compared as bytes."""
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        running.state.keys = Keyring([Key("odd", sha256(b"sk-\xff\xe9").hexdigest())])
        line = b"\r\nAuthorization: Bearer sk-\xff\xe9\r\n"
        assert (await fetch(running.url, hello().replace(b"\r\n", line, 1))).text == "fine"


@pytest.mark.parametrize(
    "headers", [bearer(ONE), {"api-key": ONE}, {"x-api-key": ONE}], ids=lambda each: next(iter(each))
)
async def test_who_has_a_key_comes_in_and_is_named_in_the_log(
    proxy: Any, capfd: pytest.CaptureFixture[str], headers: dict[str, str]
) -> None:
    """By the name; the backend gets no key of ours."""
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        running.state.keys = ring()
        assert (await fetch(running.url, hello(headers=headers))).text == "fine"
        assert ONE.encode() not in backend.requests[0].head
    running.state.log.close()
    err = capfd.readouterr().err
    (line,) = [each for each in map(json.loads, err.splitlines()) if each["event"] == "request"]
    assert line["key"] == "one"
    assert ONE not in err


async def test_a_body_without_a_key_is_not_asked_for(proxy: Any) -> None:
    """Nor is its end waited for."""
    running = await proxy(mapping("http://backend.test"))
    running.state.keys = ring()
    head = hello(headers={"Expect": "100-continue"}).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    async with await Client.connect(running.url) as client:
        await client.send(head)
        wire = await client.answer()
        assert (wire.status, wire.headers["connection"]) == (401, "close")
    async with await Client.connect(running.url) as client:
        await client.send(head.replace(b"\r\n", b"\r\nAuthorization: Bearer " + ONE.encode() + b"\r\n", 1))
        await client.until(b"100 Continue")


async def test_pages_may_ask_before_they_send_a_key(proxy: Any) -> None:
    """Browsers send none with `OPTIONS`."""
    running = await proxy(mapping("http://backend.test"))
    running.state.keys = ring()
    assert (await fetch(running.url, request(None, "/v1/models", method="OPTIONS"))).status == 204


async def test_a_key_opens_only_its_models(proxy: Any) -> None:
    """Others are not there: not in the list, not by name, not on any endpoint."""
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url, models="[m, small-1, large-1]"))
        running.state.keys = ring(models=["m", "small-*"])
        listed = await fetch(running.url, request(None, "/v1/models", method="GET", headers=bearer(TWO)))
        assert [model["id"] for model in listed.json["data"]] == ["m", "small-1"]
        listed = await fetch(running.url, request(None, "/v1/models", method="GET", headers=bearer(ONE)))
        assert len(listed.json["data"]) == 3
        gone = {
            (await _model(running.url, name, TWO)).raw.partition(b"\r\n\r\n")[2].replace(name.encode(), b"")
            for name in ("large-1", "absent")
        }
        assert len(gone) == 1
        assert (await _model(running.url, "small-1", TWO)).status == 200
        assert (await fetch(running.url, hello(headers=bearer(TWO)))).text == "fine"
        said = {"model": "large-1", "input": "hi", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        for path in (
            "chat/completions",
            "responses",
            "responses/input_tokens",
            "responses/compact",
            "messages",
            "messages/count_tokens",
        ):
            body = {name: value for name, value in said.items() if name != "input" or "responses" in path}
            body = {
                name: value for name, value in body.items() if "responses" not in path or name in ("model", "input")
            }
            wire = await fetch(running.url, request(body, f"/v1/{path}", headers=bearer(TWO)))
            assert wire.status == 404, path
        place = "/openai/deployments/large-1/chat/completions"
        wire = await fetch(running.url, hello(headers=bearer(TWO)).replace(b"/v1/chat/completions", place.encode()))
        assert (wire.status, wire.error["code"]) == (404, "model_not_found")
        assert len(backend.requests) == 1


async def _model(url: str, name: str, key: str) -> Any:
    return await fetch(url, request(None, f"/v1/models/{name}", method="GET", headers=bearer(key)))


async def test_a_key_has_only_so_much_under_way(proxy: Any) -> None:
    """One more is told to come later; others are not held up, and a client that leaves makes place."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 1h}"))
        running.state.keys = ring(requests=1)
        async with await Client.connect(running.url) as client:
            await client.send(hello(headers=bearer(TWO)))
            await backend.asked()
            wire = await fetch(running.url, hello(headers=bearer(TWO)))
            assert (wire.status, wire.error["type"], wire.error["code"]) == (
                429,
                "rate_limit_error",
                "rate_limit_exceeded",
            )
            assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")
            listed = await fetch(running.url, request(None, "/v1/models", method="GET", headers=bearer(ONE)))
            assert listed.status == 200
        await backend.gone()
        await settled(lambda: running.state.active == 0)
        listed = await fetch(running.url, request(None, "/v1/models", method="GET", headers=bearer(TWO)))
        assert listed.status == 200


@pytest.mark.parametrize("background", [False, True])
async def test_what_is_kept_belongs_to_its_key(proxy: Any, background: bool) -> None:
    """Also when it is kept in the background, while it is made and after; who has another key finds nothing."""
    more = asyncio.Event()
    if not background:
        more.set()
    async with Backend([REQUEST, more, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        running.state.keys = ring()

        async def ask(key: str, method: str, path: str, body: Any = None) -> Any:
            return await fetch(running.url, request(body, f"/v1/responses{path}", method=method, headers=bearer(key)))

        made = await ask(ONE, "POST", "", {"model": "m", "input": "hi", "background": background})
        name = made.json["id"]
        for done in (False, True):
            for method, path in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
                wire = await ask(TWO, method, f"/{name}{path}")
                assert (wire.status, wire.json["error"]["message"]) == (404, f"Response with id '{name}' not found.")
            follow = {"model": "m", "input": "on", "previous_response_id": name}
            wire = await ask(TWO, "POST", "", follow)
            assert (wire.status, wire.error["code"]) == (400, "previous_response_not_found")
            assert (await ask(ONE, "GET", f"/{name}")).status == 200
            if not done:
                more.set()
                await settled(lambda: not running.state.background)
        item = (await ask(ONE, "GET", f"/{name}")).json["output"][0]["id"]
        refer = {"model": "m", "input": [{"type": "item_reference", "id": item}]}
        assert (await ask(TWO, "POST", "/input_tokens", refer)).json["error"]["code"] == "item_not_found"
        assert (await ask(ONE, "POST", "/input_tokens", refer)).status == 200
        assert (await ask(ONE, "DELETE", f"/{name}")).status == 200


def _asks(host: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    asked = hello().replace(b"POST /v1/chat/completions HTTP/1.1", line, 1)
    return asked.replace(b"Host: localhost", b"Host: " + host, 1)


@pytest.mark.row(98)
@pytest.mark.parametrize("host", [b"evil.com", b"evil.com:8000", b"localhost.evil.com", b"169.254.169.254"])
async def test_a_page_that_turned_its_name_is_refused(proxy: Any, host: bytes) -> None:
    """No backend is asked; health is told, since probes ask by any address."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        for asked in (_asks(host), _asks(host, b"GET /v1/models HTTP/1.1"), _asks(host, b"GET /openapi.json HTTP/1.1")):
            wire = await fetch(running.url, asked)
            assert (wire.status, wire.error["type"]) == (421, "invalid_request_error")
            assert wire.error["code"] == "misdirected_request"
            assert host not in wire.body
        for path in (b"/livez", b"/readyz"):
            assert (await fetch(running.url, _asks(host, b"GET %s HTTP/1.1" % path))).status == 200
        assert not backend.connections


@pytest.mark.row(98)
async def test_a_page_of_another_origin_is_refused(proxy: Any) -> None:
    """Even by a name that is ours."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(headers={"Origin": "http://evil.com"}))
        assert (wire.status, wire.error["code"]) == (403, "origin_not_allowed")
        assert not backend.connections


async def test_names_that_are_configured_are_meant(proxy: Any) -> None:
    """Beside loopback's."""
    running = await proxy(mapping("http://backend.test"), hosts=["llm.example.com"])
    for host in (b"llm.example.com", b"127.0.0.1:8000", b"localhost"):
        assert (await fetch(running.url, _asks(host, b"GET /v1/models HTTP/1.1"))).status == 200


@pytest.mark.row(97, 98)
@pytest.mark.parametrize(
    ("host", "line"),
    [
        (b"a/admin?", b"POST /v1/chat/completions HTTP/1.1"),
        (b"a#b", b"POST /v1/chat/completions HTTP/1.1"),
        (b"", b"POST /v1/chat/completions HTTP/1.1"),
        (b"localhost", b"POST http://canary.com/v1/chat/completions HTTP/1.1"),
        (b"localhost", b"POST http://localhost/v1/chat/completions HTTP/1.1"),
        (b"localhost", b"POST /v1/chat/completions HTTP/2.0"),
        (b"localhost", b"POST /v1/chat/completions HTTP/1.9"),
        (b"localhost", b"CONNECT canary.com:443 HTTP/1.1"),
        (b"localhost", b"GET * HTTP/1.1"),
    ],
)
async def test_what_no_honest_client_sends_is_refused(proxy: Any, host: bytes, line: bytes) -> None:
    """In HTTP that a client understands, and nothing of it is repeated."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, _asks(host, line))
        assert (wire.status, wire.error["type"]) == (400, "invalid_request_error")
        assert wire.raw.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
        assert b"canary" not in wire.body
        assert not backend.connections


@pytest.mark.row(97)
async def test_what_is_no_request_with_a_version_is_refused(proxy: Any) -> None:
    """A line of HTTP/0.9 has no `Host`, and an answer to it no head."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, b"GET /v1/models\r\n\r\n")
    assert (wire.status, wire.error["code"]) == (400, "invalid_request")


async def test_a_key_has_only_so_much_under_way_in_the_background(proxy: Any) -> None:
    """As much as otherwise; what is made there can be asked for and cancelled, and other keys are not held up."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 1h}"))
        running.state.keys = ring(requests=1)
        asked = {"model": "m", "input": "hi", "background": True}

        async def ask(key: str, path: str = "", method: str = "POST", body: Any = None) -> Any:
            return await fetch(running.url, request(body, f"/v1/responses{path}", method=method, headers=bearer(key)))

        made = await ask(TWO, body=asked)
        assert made.json["status"] in ("queued", "in_progress")
        wire = await ask(TWO, body=asked)
        assert (wire.status, wire.error["code"]) == (429, "rate_limit_exceeded")
        assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")
        assert (await ask(ONE, body=asked)).status == 200
        assert (await ask(TWO, f"/{made.json['id']}", "GET")).status == 200
        assert (await ask(TWO, f"/{made.json['id']}/cancel")).json["status"] == "cancelled"
        assert (await ask(TWO, body=asked)).status == 200
