"""Promises of a client's key: it is found wherever its library puts it, and passed on under the name asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted import REQUEST, Backend, answer, fetch, hello, mapping

from oaiproxy.clientkeys import client_key, passed_on


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, ""),
        ({"authorization": "Bearer k"}, "k"),
        ({"authorization": "bearer  k "}, "k"),
        ({"authorization": "BEARER k"}, "k"),
        ({"authorization": "Bearer"}, ""),
        ({"authorization": "Basic k"}, ""),
        ({"api-key": "k"}, "k"),
        ({"x-api-key": " k "}, "k"),
        ({"authorization": "Bearer k", "api-key": "other"}, "k"),
        ({"authorization": "Basic k", "api-key": "other"}, ""),
        ({"authorization": "", "api-key": "k"}, "k"),
        ({"api-key": "", "x-api-key": "k"}, "k"),
    ],
)
def test_the_key_of_a_client(headers: dict[str, str], key: str) -> None:
    """What `Authorization` says stands, be it a key or not."""
    assert client_key(headers) == key


@pytest.mark.parametrize(
    ("headers", "names", "passed"),
    [
        ({"authorization": "Bearer k"}, ["authorization"], {"authorization": "Bearer k"}),
        ({"authorization": "Basic k"}, ["authorization"], {"authorization": "Basic k"}),
        ({"authorization": "Basic k"}, ["x-api-key"], {}),
        ({"api-key": "k"}, ["authorization"], {"authorization": "Bearer k"}),
        ({"x-api-key": "k"}, ["authorization"], {"authorization": "Bearer k"}),
        ({"authorization": "Bearer k"}, ["x-api-key"], {"x-api-key": "k"}),
        ({"authorization": "Bearer k"}, ["x-tenant"], {}),
        ({"x-tenant": "t", "other": "o"}, ["x-tenant"], {"x-tenant": "t"}),
        ({}, ["authorization", "x-tenant"], {}),
    ],
)
def test_headers_that_are_passed_on(headers: dict[str, str], names: list[str], passed: dict[str, str]) -> None:
    """Those that are asked for, and no others; a key under the name that is asked for."""
    assert passed_on(headers, names) == passed


@pytest.mark.parametrize("header", ["Authorization", "api-key", "x-api-key"])
async def test_the_backend_gets_it_and_the_log_does_not(
    proxy: Any, header: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whichever client it is that asks."""
    key = "sk-of-the-client"
    given = {header: f"Bearer {key}" if header == "Authorization" else key}
    async with Backend(
        [REQUEST, answer({"text": "fine"}), REQUEST, answer({"error": f"bad key {key}"}, 401)]
    ) as backend:
        running = await proxy(mapping(backend.url, backend="auth: {passthrough: authorization}"))
        assert (await fetch(running.url, hello(headers=given))).text == "fine"
        wire = await fetch(running.url, hello(headers=given))
        assert (wire.status, wire.error["code"]) == (401, "invalid_api_key")
        assert wire.headers["www-authenticate"] == "Bearer"
        assert [sent.header("authorization") for sent in backend.requests] == [f"Bearer {key}"] * 2
        assert backend.requests[0].header("x-api-key") is None
    running.state.log.close()
    assert key not in json.dumps(wire.json) + capfd.readouterr().err
