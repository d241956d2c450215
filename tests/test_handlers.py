"""Promises of the endpoints: requests in all their forms, refusals, and what is told without a backend."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from faults import BOTH_LOOPS
from scripted import (
    GONE,
    REQUEST,
    Backend,
    Client,
    Wire,
    answer,
    chunk,
    fetch,
    hello,
    mapping,
    request,
    settled,
)
from support import chat as chat_mapping

WHOLE = answer({"text": "fine", "p": 1, "c": 2})
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"model": "m", "prompt": "hi"},
}


async def test_a_request_reaches_the_backend_as_the_mapping_says(proxy: Any) -> None:
    """Method, path, body and one credential; nothing of the client's own headers."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url, backend="auth: {bearer: key-of-ours}"))
        await fetch(running.url, hello(headers={"Authorization": "Bearer key-of-theirs", "X-Theirs": "1"}))
        (sent,) = backend.requests
        assert (sent.line, sent.json) == ("POST /whole HTTP/1.1", {"prompt": "hi"})
        assert sent.header("authorization") == "Bearer key-of-ours"
        assert sent.header("accept-encoding") == "identity"
        assert sent.header("x-theirs") is None


async def test_a_listed_header_of_the_client_reaches_the_templates(proxy: Any) -> None:
    """However its name is written; it is not passed on by itself."""
    listed = "{url: '%s', client_headers: [x-theirs], headers: {x-ours: \"{{ headers['x-theirs'] }}!\"}}"
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(chat_mapping(response="{text: text}", backend=listed % backend.url))
        await fetch(running.url, hello(headers={"X-THEIRS": "1", "x-others": "2"}))
        (sent,) = backend.requests
        assert (sent.header("x-ours"), sent.header("x-theirs"), sent.header("x-others")) == ("1!", None, None)


# Models


async def _get(url: str, path: str, method: str = "GET") -> Wire:
    async with await Client.connect(url) as client:
        await client.send(request(None, path, method=method, headers={"Content-Type": "", "Content-Length": ""}))
        return await client.answer()


async def test_models_are_listed_with_those_who_serve_them(proxy: Any) -> None:
    """In the order of the mappings."""
    running = await proxy(mapping("http://backend.test", models="[m, org/name]"))
    wire = await _get(running.url, "/v1/models")
    assert wire.json["object"] == "list"
    assert [(model["id"], model["object"], model["owned_by"]) for model in wire.json["data"]] == [
        ("m", "model", "test"),
        ("org/name", "model", "test"),
    ]
    assert wire.headers["x-request-id"]


@pytest.mark.parametrize("path", ["org/name", "org%2Fname", "org%2fname"])
async def test_a_model_may_have_a_slash_in_its_name(proxy: Any, path: str) -> None:
    """Old clients send it as it is, newer ones encoded."""
    running = await proxy(mapping("http://backend.test", models="[m, org/name]"))
    wire = await _get(running.url, f"/v1/models/{path}")
    assert (wire.status, wire.json["id"]) == (200, "org/name")


@pytest.mark.row(95)
async def test_a_model_that_nobody_serves_is_not_found(proxy: Any) -> None:
    """Row 95, when it is asked about and when it is asked."""
    running = await proxy(mapping("http://backend.test"))
    for wire in (await _get(running.url, "/v1/models/other"), await fetch(running.url, hello(model="other"))):
        assert (wire.status, wire.error["code"], wire.error["param"]) == (404, "model_not_found", "model")
        assert "'other'" in wire.error["message"]


@pytest.mark.row(96)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("POST", "/"), ("POST", "/v1/models/")])
async def test_unknown_addresses_are_not_found(proxy: Any, method: str, path: str) -> None:
    """Row 96."""
    wire = await _get((await proxy(mapping("http://backend.test"))).url, path, method)
    assert (wire.status, wire.error["code"], wire.error["type"]) in (
        (404, None, "invalid_request_error"),
        (405, "method_not_supported", "invalid_request_error"),
    )


@pytest.mark.row(96)
@pytest.mark.parametrize(
    ("method", "path", "allow"), [("GET", CHAT, "OPTIONS, POST"), ("DELETE", "/v1/models", "GET, HEAD, OPTIONS")]
)
async def test_other_methods_are_not_allowed(proxy: Any, method: str, path: str, allow: str) -> None:
    """Row 96: 405 says what is."""
    wire = await _get((await proxy(mapping("http://backend.test"))).url, path, method)
    assert (wire.status, wire.error["code"], wire.headers["allow"]) == (405, "method_not_supported", allow)


@pytest.mark.parametrize(("path", "status"), [("/v1/models", 200), ("/livez", 200), ("/nothing", 404), (CHAT, 405)])
async def test_head_has_no_body(proxy: Any, path: str, status: int) -> None:
    """Of any answer."""
    running = await proxy(mapping("http://backend.test"))
    async with await Client.connect(running.url) as client:
        await client.send(request(None, path, method="HEAD", headers={"Connection": "close"}))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert (int(head.split()[1]), body) == (status, b"")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_are_answered_and_not_logged(proxy: Any, path: str) -> None:
    """They come every few seconds, for ever: their lines are for debugging."""
    wire = await _get((await proxy(mapping("http://backend.test"))).url, path)
    assert (wire.status, wire.json) == (200, {"status": "ok"})


# Requests


PIECES = BODIES[CHAT]
BAD: dict[str, tuple[Any, dict[str, str], int, str | None]] = {
    "85 not JSON": (b"{oops}", {}, 400, None),
    "85 NaN": (b'{"model": NaN}', {}, 400, None),
    "85 nothing": (b"", {}, 400, None),
    "85 a byte order mark alone": (b"\xef\xbb\xbf", {}, 400, None),
    "85 half a character": (b'{"model": "\\ud83d"}', {}, 400, None),
    "85 not UTF-8": (b'{"model": "\xff"}', {}, 400, None),
    "85 two values": (b"{}{}", {}, 400, None),
    "86 a list": (b"[]", {}, 400, "invalid_type"),
    "86 a text of brackets": (b'"' + b"[" * 999 + b'"', {}, 400, "invalid_type"),
    "86 deep": (b'{"model": "m", "x": ' + b"[" * 64 + b"]" * 64 + b"}", {}, 400, "invalid_json"),
    "86 very deep": (b"[" * 100_000, {}, 400, None),
    "86 many": (b'{"model": "m", "x": [' + b"[]," * 200_000 + b"[]]}", {}, 400, "invalid_json"),
    "87 no model": ({"messages": []}, {}, 400, "missing_required_parameter"),
    "87 no messages": ({"model": "m"}, {}, 400, "missing_required_parameter"),
    "87 a number as text": ({**PIECES, "temperature": "1"}, {}, 400, "invalid_type"),
    "87 out of range": ({**PIECES, "temperature": 3}, {}, 400, "decimal_above_max_value"),
    "92 utf-7": (PIECES, {"Content-Type": "application/json; charset=utf-7"}, 400, "invalid_charset"),
    "92 utf-16": (PIECES, {"Content-Type": "application/json; CHARSET=UTF-16"}, 400, "invalid_charset"),
    "92 punycode": (PIECES, {"Content-Type": 'application/json; charset="punycode"'}, 400, "invalid_charset"),
    "93 unknown encoding": (PIECES, {"Content-Encoding": "banana"}, 415, "unsupported_encoding"),
    "93 two encodings": (PIECES, {"Content-Encoding": "gzip, gzip"}, 415, "unsupported_encoding"),
    "93 not gzip": (b"not gzip at all", {"Content-Encoding": "gzip"}, 400, "invalid_body"),
    "93 half of a gzip": (gzip.compress(json.dumps(PIECES).encode())[:20], {"Content-Encoding": "gzip"}, 400, None),
    "101 stream as text": ({**PIECES, "stream": "yes"}, {}, 400, "invalid_type"),
    "101 stream as a number": ({**PIECES, "stream": 1}, {}, 400, "invalid_type"),
}


@pytest.mark.row(85, 86, 87, 92, 93, 101)
@pytest.mark.parametrize("row", BAD)
async def test_a_bad_request_is_refused(proxy: Any, row: str) -> None:
    """No backend is asked, and what the client sent is not echoed."""
    body, headers, status, code = BAD[row]
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, request(body, headers=headers))
        assert (wire.status, wire.error["type"]) == (status, "invalid_request_error")
        assert wire.error["code"] == code
        if code is None:
            assert wire.error["message"].startswith("We could not parse the JSON body of your request.")
        assert "oops" not in wire.error["message"]
        assert not backend.connections


FINE: dict[str, tuple[Any, dict[str, str]]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(PIECES).encode(), {}),
    "what curl calls it": (PIECES, {"Content-Type": "application/x-www-form-urlencoded"}),
    "without a content type": (PIECES, {"Content-Type": ""}),
    "said to be UTF-8": (PIECES, {"Content-Type": 'application/json; charset="UTF-8"'}),
    "gzip": (gzip.compress(json.dumps(PIECES).encode()), {"Content-Encoding": "gzip"}),
    "deflate": (zlib.compress(json.dumps(PIECES).encode()), {"Content-Encoding": "deflate"}),
    "as deep as may be": (b'{"x": ' + b"[" * 63 + b"]" * 63 + b"," + json.dumps(PIECES).encode()[1:], {}),
    "an expectation that we do not know": (PIECES, {"Expect": "banana"}),
}


@pytest.mark.parametrize("form", FINE)
async def test_odd_forms_of_a_request_are_taken(proxy: Any, form: str) -> None:
    """Real clients send them."""
    body, headers = FINE[form]
    async with Backend([REQUEST, WHOLE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, request(body, headers=headers))
        assert (wire.status, backend.requests[0].json) == (200, {"prompt": "hi"})


async def test_a_request_in_chunks_is_taken(proxy: Any) -> None:
    """Of any size, down to one byte."""
    body = json.dumps(PIECES).encode()
    head = request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(head)
            for at in range(len(body)):
                await client.send(chunk(body[at : at + 1]))
            await client.send(chunk(b""))
            assert (await client.answer()).text == "fine"


async def test_a_body_of_exactly_the_limit_is_taken(proxy: Any) -> None:
    """The limit is the largest body, not the smallest that is refused."""
    body = json.dumps(PIECES).encode().ljust(2048)
    async with Backend([REQUEST, WHOLE]) as backend:
        assert (await fetch((await proxy(mapping(backend.url), max_body=2048)).url, request(body))).status == 200


@pytest.mark.row(83)
@BOTH_LOOPS
async def test_a_body_over_the_limit_is_not_waited_for(proxy: Any) -> None:
    """Row 83: its length is enough to refuse it, and the connection says that it closes."""
    running = await proxy(mapping("http://backend.test"), max_body=2048)
    wire = await fetch(running.url, request(b"{", headers={"Content-Length": "2049"}))
    assert (wire.status, wire.error["code"], wire.headers["connection"]) == (413, "request_too_large", "close")


async def test_a_body_that_grows_over_the_limit_is_refused(proxy: Any) -> None:
    """Row 84: in chunks, whose sum nobody announced."""
    running = await proxy(mapping("http://backend.test"), max_body=2048)
    head = request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    wire = await fetch(running.url, head + chunk(b" " * 2000) * 2)
    assert (wire.status, wire.error["code"]) == (413, "request_too_large")


async def test_a_gzip_bomb_is_refused(proxy: Any) -> None:
    """Row 84: what counts is what comes out."""
    running = await proxy(mapping("http://backend.test"), max_body=1 << 20)
    bomb = gzip.compress(b" " * (100 << 20), 1)
    wire = await fetch(running.url, request(bomb, headers={"Content-Encoding": "gzip"}))
    assert (wire.status, wire.error["code"]) == (413, "request_too_large")


async def test_a_body_that_does_not_come_is_not_waited_for(proxy: Any) -> None:
    """Row 82."""
    running = await proxy(mapping("http://backend.test"), body_timeout=0.05)
    wire = await fetch(running.url, request(b"{", headers={"Content-Length": "100"}))
    assert (wire.status, wire.error["code"], wire.headers["connection"]) == (408, "request_timeout", "close")


async def test_a_body_whose_chunks_are_broken_is_not_waited_for(proxy: Any) -> None:
    """For longer than for any other: the library does not say so to its reader."""
    running = await proxy(mapping("http://backend.test"), body_timeout=0.5)
    head = request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    async with await Client.connect(running.url) as client:
        await client.send(head + chunk(b"{"))
        await settled(lambda: running.state.active == 1)
        await client.send(b"zz\r\n\r\n")
        assert (await client.answer()).status == 408


async def test_a_client_is_asked_for_the_body_it_holds_back(proxy: Any) -> None:
    """`Expect: 100-continue`, which some send for long bodies."""
    head, _, body = hello(headers={"Expect": "100-continue"}).partition(b"\r\n\r\n")
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(head + b"\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert (await client.answer()).text == "fine"


async def test_a_client_is_not_asked_for_a_body_that_is_too_large(proxy: Any) -> None:
    """It learns that before it sends it."""
    running = await proxy(mapping("http://backend.test"), max_body=2048)
    headers = {"Expect": "100-continue", "Content-Length": "4096"}
    wire = await fetch(running.url, request(b"", headers=headers))
    assert (wire.status, wire.raw.startswith(b"HTTP/1.1 413")) == (413, True)


async def test_the_rest_of_a_refused_body_is_not_taken_for_a_request(proxy: Any) -> None:
    """Else a client could smuggle one past whoever stands in front."""
    running = await proxy(mapping("http://backend.test"))
    smuggled = request(None, "/livez", method="GET")
    head = request(b"", "/nothing", headers={"Content-Length": str(10 + len(smuggled))})
    async with await Client.connect(running.url) as client:
        await client.send(head + b"0123456789")
        await client.until(b"}}")
        await client.send(smuggled)
        assert (await client.rest()).count(b"HTTP/1.1 ") == 1


# Old clients


# Time


# Space


# Bugs of our own
