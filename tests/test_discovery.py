"""Promises of `oaiproxy.discovery`: the backends' own models are served, and nothing that fails takes them away."""

from __future__ import annotations

import json
from typing import Any

from scripted import FIN, REQUEST, Backend, answer, fetch, hello, request, settled
from support import load

from oaiproxy.mapping import Mapping

LIST = request(None, "/v1/models", method="GET")
SAID = answer({"text": "fine", "p": 1, "c": 2})


def listing(url: str, every: str = "1h", models: str = "") -> Mapping:
    return load(f"""oaiproxy: 1
{models}
backend: {{url: "{url}", auth: {{bearer: key-of-ours}}}}
models_list: {{path: /v1/models, models: "data[].id", every: {every}}}
chat:
  request: {{path: /chat, body: {{q: "{{{{ prompt }}}}", m: "{{{{ model }}}}"}}}}
  response: {{text: text}}
""")


def models(*names: str) -> bytes:
    return answer({"data": [{"id": name} for name in names]})


async def served(url: str) -> list[str]:
    return [model["id"] for model in json.loads((await fetch(url, LIST)).body)["data"]]


async def test_the_backends_models_are_served(proxy: Any) -> None:
    """From the start, under their own names, with the credential; those of the mapping come first."""
    async with Backend([REQUEST, models("a", "b/c"), REQUEST, SAID]) as backend:
        running = await proxy(listing(backend.url, models="models: {own: theirs, a: ~}"))
        assert await served(running.url) == ["own", "a", "b/c"]
        wire = await fetch(running.url, hello(model="b/c"))
        assert (wire.status, wire.text) == (200, "fine")
        asked, sent = backend.requests
        assert asked.line == "GET /v1/models HTTP/1.1"
        assert asked.header("authorization") == "Bearer key-of-ours"
        assert sent.json == {"q": "hi", "m": "b/c"}


async def test_a_list_is_asked_for_again(proxy: Any) -> None:
    """Every so often; what it no longer holds is gone, but never what was written down."""
    lists = [models("a"), models("b"), models("b", "c")]
    async with Backend([step for each in lists for step in (REQUEST, each)]) as backend:
        running = await proxy(listing(backend.url, every="10ms", models="models: [own]"))
        await backend.asked(3)
        await settled(lambda: [each["id"] for each in running.state.routes.models()] == ["own", "b", "c"])


async def test_a_failure_takes_nothing_away(proxy: Any) -> None:
    """The last good list stays, and it is asked for again."""
    failures = [
        answer({"error": "no"}, 500),
        answer({"data": "none"}),
        answer({"odd": 1}),
        b"HTTP/1.1 nonsense\r\n\r\n",
    ]
    script = [REQUEST, models("a"), *(step for each in failures for step in (REQUEST, each))]
    async with Backend([*script, FIN], [REQUEST, models("a", "b")]) as backend:
        running = await proxy(listing(backend.url, every="10ms"))
        await backend.asked(len(failures) + 1)
        assert await served(running.url) in (["a"], ["a", "b"])
        await settled(lambda: [each["id"] for each in running.state.routes.models()] == ["a", "b"])


async def test_a_start_needs_no_list(proxy: Any, capfd: Any) -> None:
    """It is a warning, and the backend is asked again."""
    async with Backend([REQUEST, answer({"error": "no"}, 503), FIN], [REQUEST, models("a")]) as backend:
        running = await proxy(listing(backend.url, every="50ms"))
        assert running.state.ready
        await settled(lambda: [each["id"] for each in running.state.routes.models()] == ["a"])
    lines: list[dict[str, Any]] = []

    def logged() -> bool:
        lines.extend(json.loads(line) for line in capfd.readouterr().err.splitlines())
        return any(line["event"] == "models_list" for line in lines)

    await settled(logged)
    warning = next(line for line in lines if line["event"] == "models_list")
    assert (warning["level"], warning["mapping"], warning["error"]) == ("warning", "test", "the backend answered 503")


async def test_an_unknown_model_is_looked_for_once(proxy: Any) -> None:
    """Then it is OpenAI's 404 for a while, without a question to the backend."""
    async with Backend([REQUEST, models("a"), REQUEST, models("a", "new"), REQUEST, SAID]) as backend:
        running = await proxy(listing(backend.url))
        wire = await fetch(running.url, hello(model="new"))
        assert (wire.status, wire.text) == (200, "fine")
        for _ in range(3):
            wire = await fetch(running.url, hello(model="nobody"))
            assert (wire.status, wire.error["code"]) == (404, "model_not_found")
        assert len(backend.requests) == 3


async def test_a_name_is_the_earlier_mappings(proxy: Any) -> None:
    """And one that is written down is nobody else's."""
    async with Backend([REQUEST, models("a", "b", "own")]) as first, Backend([REQUEST, models("b", "c")]) as second:
        one, two = listing(first.url), listing(second.url, models="models: [own]")
        running = await proxy(one, two)
        urls = {name: running.state.routes.resolve(name).backend.url for name in ("a", "b", "c", "own")}
        assert urls == {"a": first.url, "b": first.url, "c": second.url, "own": second.url}


async def test_why_a_list_cannot_be_had_is_logged(proxy: Any, capfd: Any) -> None:
    """With the token server's words, for they tell the operator what to do, and without its secret."""
    refusal = answer({"error": "invalid_client", "error_description": "no client with hunter2-0001"}, 401)
    async with Backend([REQUEST, refusal]) as server:
        auth = f"{{oauth2: {{token_url: '{server.url}/t', client_id: me, client_secret: hunter2-0001}}}}"
        text = f"""oaiproxy: 1
backend: {{url: "http://127.0.0.1:9", auth: {auth}}}
models_list: {{path: /v1/models, models: "data[].id"}}
chat: {{request: {{path: /chat}}, response: {{text: text}}}}
"""
        await proxy(load(text))
        await server.asked()
    logged = ""

    def told() -> bool:
        nonlocal logged
        logged += capfd.readouterr().err
        return "models_list" in logged

    await settled(told)
    assert "invalid_client: no client with" in logged
    assert "hunter2" not in logged


async def test_a_list_beside_a_websocket(proxy: Any) -> None:
    """Is asked for over http."""
    async with Backend([REQUEST, models("a")]) as backend:
        text = f"""oaiproxy: 1
backend: {{url: "{backend.url.replace("http", "ws")}", transport: websocket}}
models_list: {{path: /v1/models, models: "data[].id"}}
chat: {{request: {{path: /chat}}, stream: {{format: messages, text: text}}}}
"""
        running = await proxy(load(text))
        assert await served(running.url) == ["a"]
        assert backend.requests[0].header("upgrade") is None
