"""Promises of what surrounds every request: an id, errors in OpenAI's shape, one log line that holds no secret."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
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

from oaiproxy.errors import BackendError, ClientError
from oaiproxy.middleware import Record, error_response, from_http, request_id


def test_a_request_without_an_id_gets_one() -> None:
    """A new one each time."""
    made = {request_id({}) for _ in range(100)}
    assert len(made) == 100
    assert all(each.startswith("req_") and len(each) == 36 for each in made)


@pytest.mark.parametrize("given", ["abc", "a b", "x" * 200, "{}<>'\""])
def test_an_id_of_the_client_is_kept(given: str) -> None:
    """So that its logs and ours tell of the same request."""
    assert request_id({"x-request-id": given}) == given


@pytest.mark.parametrize("given", ["", "x" * 201, "é", "\x7f", "a\tb", "a\r\nb", "\x1b[31m"])
def test_a_dangerous_id_is_replaced(given: str) -> None:
    """It would stand in a header and in a log."""
    assert request_id({"x-request-id": given}).startswith("req_")


def test_an_error_has_all_four_keys() -> None:
    """Also those that are null."""
    response = error_response(ClientError("no"), "req_1")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
    }
    assert (response.status, response.content_type) == (400, "application/json")
    assert response.headers["x-request-id"] == "req_1"


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "1"), (0.4, "1"), (7.0, "7"), (59.6, "60"), (None, None)])
def test_retry_after_is_whole_seconds(seconds: float | None, told: str | None) -> None:
    """At least one: zero would be an invitation to hammer."""
    assert error_response(BackendError("no", retry_after=seconds), "r").headers.get("Retry-After") == told


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "400"), (1.2501, "1251"), (7.0, None), (0.0, None), (None, None)])
def test_parts_of_a_second_are_told_too(seconds: float | None, told: str | None) -> None:
    """In milliseconds, which clients look at first; the whole seconds are never fewer."""
    assert error_response(BackendError("no", retry_after=seconds), "r").headers.get("retry-after-ms") == told


def test_who_has_no_key_is_told_what_kind_is_asked_for() -> None:
    """As RFC 9110, 11.6.1 has it."""
    assert error_response(ClientError("no", status=401), "r").headers["WWW-Authenticate"] == "Bearer"
    assert "WWW-Authenticate" not in error_response(ClientError("no"), "r").headers


@pytest.mark.parametrize(("retry", "told"), [(None, None), (False, "false"), (True, "true")])
def test_whether_to_try_again_is_told(retry: bool | None, told: str | None) -> None:
    """In the header that OpenAI's clients look at."""
    assert error_response(BackendError("no", retry=retry), "r").headers.get("x-should-retry") == told


def test_other_refusals_of_the_framework_keep_their_status() -> None:
    """And say its reason."""
    error = from_http(web.HTTPConflict(), make_mocked_request("GET", "/"))
    assert (error.status, error.message) == (409, "Conflict")


def test_a_record_is_information_unless_lowered() -> None:
    """A handler may say that its line is for debugging."""
    assert Record(a=1).level == "info"


async def _lines(running: Any, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    running.state.log.close()
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


async def test_the_id_stands_in_every_answer(proxy: Any) -> None:
    """Whole, streamed, refused, unknown."""
    async with Backend([REQUEST, answer({"text": "fine"}), REQUEST, stream("fine")]) as backend:
        running = await proxy(mapping(backend.url))
        given = {"x-request-id": "mine"}
        asked = [
            hello(headers=given),
            hello(headers=given, stream=True),
            hello(headers=given, model="other"),
            request(None, "/nothing", headers=given),
            request(None, "/v1/models", method="GET", headers=given),
            request(None, "/livez", method="GET", headers=given),
        ]
        assert [(await fetch(running.url, each)).headers["x-request-id"] for each in asked] == ["mine"] * 6


async def test_each_request_makes_one_line(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """With what an operator asks for first."""
    async with Backend([REQUEST, answer({"text": "fine"})] * 3) as backend:
        running = await proxy(mapping(backend.url))
        for _ in range(3):
            await fetch(running.url, hello(temperature=0.5, headers={"x-request-id": "mine"}))
        lines = [line for line in await _lines(running, capfd) if line["event"] == "request"]
    assert len(lines) == 3
    assert lines[0] | {"time": "", "ms": 0} == {
        "time": "",
        "level": "info",
        "event": "request",
        "request_id": "mine",
        "method": "POST",
        "path": "/v1/chat/completions",
        "model": "m",
        "stream": False,
        "dropped": ["temperature"],
        "status": 200,
        "ms": 0,
    }


async def test_what_a_client_chose_is_cut_in_the_log(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A model's name of a megabyte would fill the disk."""
    running = await proxy(mapping("http://backend.test"))
    await fetch(running.url, hello(model="m" * 1_000_000))
    await fetch(running.url, request(None, "/" + "p" * 8000))
    running.state.log.close()
    assert max(len(line) for line in capfd.readouterr().err.splitlines()) < 1500


async def test_a_line_break_of_a_client_stays_within_its_line(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody writes log lines but we."""
    running = await proxy(mapping("http://backend.test"))
    await fetch(running.url, hello(model='x\n{"level":"fatal"}'))
    await fetch(running.url, request(None, "/%0a%7B%7D"))
    lines = await _lines(running, capfd)
    assert [line["event"] for line in lines] == ["listening", "request", "request"]


async def test_what_a_client_wrote_into_a_field_is_not_logged(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The field is; the client alone is told what it holds."""
    running = await proxy(mapping("http://backend.test"))
    role = await fetch(running.url, hello(messages=[{"role": "canary", "content": "canary"}]))
    name = await fetch(running.url, hello(metadata={"canary": 5}))
    assert "canary" in role.error["message"]
    lines = [line for line in await _lines(running, capfd) if line["event"] == "request"]
    assert [(line["code"], line["param"]) for line in lines] == [
        ("invalid_value", "messages"),
        (name.error["code"], "metadata"),
    ]
    assert "canary" not in str(lines)


@pytest.mark.parametrize(
    ("status", "level", "code"), [(500, "warning", "upstream_error"), (400, "info", "invalid_value")]
)
async def test_a_failure_is_named_in_its_line(
    proxy: Any, capfd: pytest.CaptureFixture[str], status: int, level: str, code: str
) -> None:
    """With its code, and louder when it is not the client's."""
    async with Backend([REQUEST, answer({"error": "words"}, status)]) as backend:
        running = await proxy(mapping(backend.url))
        await fetch(running.url, hello())
        (line,) = [line for line in await _lines(running, capfd) if line["event"] == "request"]
    assert (line["level"], line["code"]) == (level, code)
    assert "words" in line["detail"]


async def test_a_stream_that_broke_is_louder_than_its_200(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Its status was sent before it broke."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), FIN]) as backend:
        running = await proxy(mapping(backend.url))
        await fetch(running.url, hello(stream=True))
        (line,) = [line for line in await _lines(running, capfd) if line["event"] == "request"]
    assert (line["level"], line["status"], line["code"]) == ("warning", 200, "upstream_truncated")


async def test_a_refusal_leaves_the_connection_open(proxy: Any) -> None:
    """When its request was read to the end, the next one may follow."""
    running = await proxy(mapping("http://backend.test"))
    async with await Client.connect(running.url) as client:
        for _ in range(2):
            await client.send(hello(model="other"))
            assert (await client.answer()).status == 404


async def test_requests_are_told_apart(proxy: Any) -> None:
    """Many at once, each gets its own answer."""

    async def one(number: int) -> bool:
        wire = await fetch(running.url, hello(model=f"other-{number}", headers={"x-request-id": str(number)}))
        return f"'other-{number}'" in wire.error["message"] and wire.headers["x-request-id"] == str(number)

    running = await proxy(mapping("http://backend.test"))
    assert all(await asyncio.gather(*(one(number) for number in range(50))))
