"""Promises of the routes over real sockets: other ways to write a path, methods, and what every answer has."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from scripted import (
    FIN,
    REQUEST,
    Backend,
    Client,
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

from oaiproxy.endpoints.doors import DOORS

WHOLE = answer({"text": "fine", "p": 1, "c": 2})
CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BARE = {"Content-Type": "", "Content-Length": ""}


@pytest.mark.parametrize(
    "path",
    [
        CHAT + "/",
        "//v1/chat/completions",
        "///v1//chat//completions///",
        "/v1/v1/chat/completions",
        "/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/m/chat/completions?api-version=2024-10-21",
        "/v1/chat%2Fcompletions/../../chat/completions?x=1",
        CHAT + "?api-version=preview",
    ],
)
async def test_other_ways_to_write_a_path(proxy: Any, path: str) -> None:
    """Lead to the same answer, whole and in a stream."""
    async with Backend([REQUEST, WHOLE, REQUEST, stream("fi", "ne")]) as backend:
        running = await proxy(mapping(backend.url))
        if ".." in path:
            assert (await fetch(running.url, request(BODY, path))).status == 404
            return
        assert (await fetch(running.url, request(BODY, path))).text == "fine"
        wire = await fetch(running.url, request({**BODY, "stream": True}, path))
        assert (wire.text, wire.complete) == ("fine", True)


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
async def test_every_endpoint_can_be_written_so(proxy: Any, door: Any) -> None:
    """Also those that a mapping has not: their answer is the model's 404, not the path's."""
    running = await proxy(mapping("http://backend.test", models="[other]"))
    for path in (door.path + "/", door.path[3:], "/v1" + door.path, "/openai/deployments/m" + door.path[3:]):
        body = request({}, path) if door.reads == "json" else _form(path)
        wire = await fetch(running.url, body)
        assert "Invalid URL" not in wire.json["error"]["message"]
        assert wire.status in (400, 404)


def _form(path: str) -> bytes:
    part = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
    return request(part, path, headers={"Content-Type": "multipart/form-data; boundary=x"})


@pytest.mark.parametrize("sent", [{}, {"model": None}, {"model": "m"}, {"model": "other"}])
async def test_a_deployment_is_the_model(proxy: Any, sent: dict[str, Any]) -> None:
    """It wins, as it does where such paths come from: the name in the body is often that of the model behind it."""
    async with Backend([REQUEST, WHOLE] * 2) as backend:
        running = await proxy(mapping(backend.url, models="[org/m]"))
        body = {name: value for name, value in BODY.items() if name != "model"} | sent
        for path in ("/openai/deployments/org%2Fm/chat/completions", "/openai/deployments/org/m/chat/completions"):
            wire = await fetch(running.url, request(body, path))
            assert (wire.status, wire.json["model"]) == (200, "org/m")


async def test_a_deployment_that_nobody_serves(proxy: Any) -> None:
    """Is a model that is unknown."""
    wire = await fetch(
        (await proxy(mapping("http://backend.test"))).url, request(BODY, "/openai/deployments/no/chat/completions")
    )
    assert (wire.status, wire.error["code"], wire.error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize("path", ["/models/m", "/v1/models/m/", "//v1/models/m", "/v1/v1/models/m"])
async def test_a_model_is_found_so_too(proxy: Any, path: str) -> None:
    """With the same fields as on its own path."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(None, path, method="GET", headers=BARE))
    assert (wire.status, wire.json["id"]) == (200, "m")


@pytest.mark.parametrize("path", ["/", "/health", "/v1/health", "/health/", "/livez", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_probes(proxy: Any, path: str, method: str) -> None:
    """At the places where they knock."""
    running = await proxy(mapping("http://backend.test"))
    async with await Client.connect(running.url) as client:
        await client.send(request(None, path, method=method, headers={**BARE, "Connection": "close"}))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == (b'{"status":"ok"}' if method == "GET" else b"")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        *((door.path, "OPTIONS, POST") for door in DOORS.values()),
        ("/chat/completions/", "OPTIONS, POST"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/org/name", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/readyz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_methods_are_told(proxy: Any, path: str, allow: str) -> None:
    """To who asks, and to who uses another one."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(None, path, method="OPTIONS", headers=BARE))
    assert (wire.status, wire.headers["allow"], wire.body) == (204, allow, b"")
    for method in ("DELETE", "PUT", "PATCH"):
        wire = await fetch(running.url, request(None, path, method=method))
        error = wire.json["error"]
        code = error["code"] if "code" in error else error["details"]["error_code"]  # the latter is of /v1/messages
        assert (wire.status, code, wire.headers["allow"]) == (405, "method_not_supported", allow)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
async def test_an_address_that_nobody_serves(proxy: Any, method: str) -> None:
    """Row 96: for any method."""
    wire = await fetch((await proxy(mapping("http://backend.test"))).url, request(None, "/v1/nothing", method=method))
    assert (wire.status, wire.error) == (
        404,
        {
            "message": f"Invalid URL ({method} /v1/nothing)",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        },
    )


async def test_every_answer_has_its_id_and_its_time(proxy: Any) -> None:
    """Whole, streamed, broken, refused."""
    script = [REQUEST, WHOLE, REQUEST, stream("fine"), REQUEST, answer({"error": "no"}, 500)]
    async with Backend([*script, REQUEST, stream_head(), chunk(event("The ")), FIN]) as backend:
        running = await proxy(mapping(backend.url))
        given = {"X-Request-Id": "mine"}
        for asked in (
            hello(headers=given),
            hello(stream=True, headers=given),
            hello(headers=given),
            hello(stream=True, headers=given),
            request({}, "/chat/completions", headers=given),
            request(b"{", headers=given),
            request(None, "/nothing", headers=given),
            request(None, CHAT, method="OPTIONS", headers=given),
            request(None, CHAT, method="GET", headers=given),
            request(None, "/", method="GET", headers=given),
        ):
            wire = await fetch(running.url, asked)
            assert wire.headers["x-request-id"] == "mine"
            assert 0 <= int(wire.headers["openai-processing-ms"]) < 60_000


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "/openai/deployments/m/chat/completions"])
async def test_a_body_that_is_held_back_is_asked_for(proxy: Any, path: str) -> None:
    """On every path that leads there."""
    head, _, body = request(BODY, path, headers={"Expect": "100-continue"}).partition(b"\r\n\r\n")
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(head + b"\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert (await client.answer()).text == "fine"


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/v1/models", 405)])
async def test_a_body_that_nobody_will_read_is_not_asked_for(proxy: Any, path: str, status: int) -> None:
    """The answer says why."""
    running = await proxy(mapping("http://backend.test"))
    headers = {"Expect": "100-continue", "Content-Length": "10"}
    wire = await fetch(running.url, request(b"", path, headers=headers))
    assert (wire.status, wire.raw.startswith(b"HTTP/1.1 100")) == (status, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_expectation_that_nobody_knows_is_ignored(proxy: Any, method: str) -> None:
    """On all paths, so that no refusal is another one's words."""
    running = await proxy(mapping("http://backend.test"))
    wire = await fetch(running.url, request(None, "/v1/models", method=method, headers={"Expect": "banana"}))
    assert wire.status == (200 if method == "GET" else 405)


async def test_a_bomb_is_refused_before_it_is_whole(proxy: Any) -> None:
    """By what comes out, on the other paths too."""
    running = await proxy(mapping("http://backend.test"), max_body=1 << 16)
    bomb = gzip.compress(b'{"model": "' + b"a" * (64 << 20), 9)
    assert len(bomb) < 1 << 17
    bomb = gzip.compress(b'{"model": "' + b"a" * (8 << 20), 9)
    assert len(bomb) < 1 << 16
    wire = await fetch(running.url, request(bomb, "/chat/completions", headers={"Content-Encoding": "gzip"}))
    assert (wire.status, wire.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
        request(zlib.compress(b'{"model": "m"}')[:-6], headers={"Content-Encoding": "deflate"}),
    ],
)
async def test_what_cannot_be_read_is_an_error_like_others(proxy: Any, sent: bytes) -> None:
    """In JSON, with an id, and the connection is closed."""
    wire = await fetch((await proxy(mapping("http://backend.test"))).url, sent)
    told = (431, "request_too_large") if len(sent) > 20_000 else (400, "invalid_request")
    assert (wire.status, wire.error["code"]) == told
    assert wire.headers["x-request-id"].startswith("req_")


# OpenAI's own client for such paths


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    """A backend that answers whole, then in a stream."""
    async with Backend([REQUEST, WHOLE, REQUEST, stream("fi", "ne")]) as made:
        yield made


async def test_the_client_for_deployments(proxy: Any, backend: Backend) -> None:
    """By the model's name, and with a deployment of its own; its key comes in another header."""
    running = await proxy(mapping(backend.url, backend="auth: {passthrough: authorization}"))
    azure: dict[str, Any] = {"azure_endpoint": running.url, "api_key": "k", "api_version": "2024-10-21"}
    ask: Any = {"messages": BODY["messages"]}
    async with openai.AsyncAzureOpenAI(**azure, max_retries=0) as client:
        whole = await client.chat.completions.create(model="m", **ask)
        assert whole.choices[0].message.content == "fine"
    async with openai.AsyncAzureOpenAI(**azure, azure_deployment="m", max_retries=0) as client:
        chunks = [each async for each in await client.chat.completions.create(model="gpt", stream=True, **ask)]
        assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "fine"
    assert [sent.header("authorization") for sent in backend.requests] == ["Bearer k"] * 2


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/v1", "/openai/v1/"])
async def test_a_base_url_of_any_form(proxy: Any, backend: Backend, tail: str) -> None:
    """As people copy it."""
    running = await proxy(mapping(backend.url))
    async with openai.AsyncOpenAI(base_url=running.url + tail, api_key="k", max_retries=0) as client:
        whole = await client.chat.completions.create(**BODY)
        assert whole.choices[0].message.content == "fine"
        assert whole._request_id is not None
        assert [model.id async for model in client.models.list()] == ["m"]
        assert (await client.models.retrieve("m")).id == "m"
