"""Promises of examples as a backend: the right answer, frame by frame, to whatever is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from support import FRAMINGS, ROOT, load

from oaiproxy.mock import Answer, answers, choose, mock_app
from oaiproxy.reading import file_reader
from oaiproxy.reply import MAX_FRAME

EXAMPLE = (ROOT / "mappings/example.yaml").read_text()
FRANCE = {"prompt": "What is the capital of France?"}


def made(text: str = EXAMPLE) -> list[Answer]:
    """The answers of a mapping's examples."""
    return answers(load(text), file_reader(ROOT))


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the shipped example's mock."""
    async with TestClient(TestServer(mock_app(made()))) as made_:
        yield made_


def test_every_example_has_an_answer() -> None:
    """With what it is asked with, and what is answered."""
    whole, streamed, refused, broken = made()
    assert (whole.method, whole.path, whole.query) == ("POST", "/generate", "")
    assert whole.body == {**FRANCE, "params": {"temp": 0.7, "max_length": 100}}
    assert (streamed.path, streamed.body, streamed.status) == ("/generate/stream", FRANCE, 200)
    assert refused.status == 401
    assert (broken.path, broken.status) == ("/generate/stream", 200)


def test_an_address_in_the_environment_does_not_matter() -> None:
    """A mock of a mapping that points at a real backend answers all the same."""
    assert [answer.path for answer in made()] == ["/generate", "/generate/stream"] * 2


STREAMS = {
    "json-concat": '{"t": "a"}{"t": "b"} {"t": "c", "d": true}',
    "ndjson": '{"t": "a"}\n{"t": "b"}\n{"t": "c", "d": true}\n',
    "json-array": '[{"t": "a"}, {"t": "b"}, {"t": "c", "d": true}]',
    "sse": 'data: {"t": "a"}\n\ndata: {"t": "b"}\n\ndata: {"t": "c", "d": true}\n\n',
}


@pytest.mark.parametrize("form", STREAMS)
def test_a_stream_comes_frame_by_frame(form: str) -> None:
    """Each piece completes exactly one frame, but for what follows the last; together they are the example's bytes."""
    text = f"""
oaiproxy: 1
models: [m]
backend: {{url: 'mock:'}}
chat:
  request: {{path: /g, body: {{p: "{{{{ prompt }}}}"}}}}
  stream: {{format: {form}, text: t, done: d}}
examples:
  - request: {{messages: [{{role: user, content: hi}}], stream: true}}
    backend: {{stream: {STREAMS[form]!r}}}
"""
    (answer,) = answers(load(text.replace("\\n", "\n\n      ")), file_reader(ROOT))
    reader = FRAMINGS[form](MAX_FRAME)
    counts = [len(list(reader.feed(piece))) for piece in answer.pieces]
    assert counts[:3] == [1, 1, 1]
    assert sum(counts) == 3


async def test_what_an_example_sends_gets_its_answer(client: TestClient[Any, Any]) -> None:
    """Exactly, be it a failure."""
    reply = await client.post("/generate", json=made()[2].body)
    assert (reply.status, await reply.json()) == (401, {"error": "bad key"})


async def test_anything_else_gets_an_answer_that_succeeds(client: TestClient[Any, Any]) -> None:
    """Of an example at the same path."""
    for body in (b"", b"{oops", b"[" * 100_000, b"\xff", b'{"prompt": "other"}'):
        reply = await client.post("/generate", data=body)
        assert (reply.status, (await reply.json())["generated_text"]) == (200, "The capital of France is Paris.")


async def test_a_stream_is_answered_as_the_example_has_it(client: TestClient[Any, Any]) -> None:
    """Byte by byte."""
    reply = await client.post("/generate/stream", json=FRANCE)
    wanted = load(EXAMPLE).examples[1].backend["stream"].encode()
    assert (reply.status, await reply.read()) == (200, wanted)


@pytest.mark.parametrize(("method", "path"), [("POST", "/other?key=canary"), ("GET", "/generate"), ("PUT", "/")])
async def test_an_unknown_address_is_told_which_there_are(client: TestClient[Any, Any], method: str, path: str) -> None:
    """And no query is repeated, for it may hold a key."""
    reply = await client.request(method, path)
    text = (await reply.json())["error"]
    assert reply.status == 404
    assert text.endswith("there are: POST /generate, POST /generate/stream")
    assert "canary" not in text


ONE = Answer("POST", "/a", "", {"n": 1}, 200, {}, (b"one",))
TRUE = Answer("POST", "/a", "", {"n": True}, 200, {}, (b"true",))
QUERY = Answer("POST", "/a", "alt=sse", {"n": 1}, 200, {}, (b"query",))
BROKEN = Answer("POST", "/a", "", {"n": 2}, 500, {}, (b"broken",))
KNOWN = [BROKEN, ONE, TRUE, QUERY]


@pytest.mark.parametrize(
    ("target", "body", "wanted"),
    [
        ("/a", {"n": 1}, ONE),
        ("/a", {"n": 1.0}, ONE),
        ("/a", {"n": True}, TRUE),
        ("/a", {"n": 2}, BROKEN),
        ("/a", {"n": 3}, ONE),
        ("/a", {"n": 1, "more": 1}, ONE),
        ("/a?alt=sse", {"n": 9}, QUERY),
        ("/a?key=other", {"n": True}, TRUE),
        ("/b", {"n": 1}, None),
        ("/a/", {"n": 1}, None),
    ],
)
def test_the_answer_is_chosen_by_address_and_then_by_body(target: str, body: Any, wanted: Answer | None) -> None:
    """One that is the same, else one that succeeds; true is not 1."""
    assert choose(KNOWN, "POST", target, body) is wanted


def test_where_all_fail_a_failure_is_the_answer() -> None:
    """It is what the examples say of that address."""
    assert choose([BROKEN], "POST", "/a", None) is BROKEN


def test_a_key_in_the_query_is_not_part_of_the_address() -> None:
    """The mock need not know the key of those who ask."""
    text = EXAMPLE.replace('{bearer: "${YOUR_API_KEY:-}"}', '{query: key, value: "${YOUR_API_KEY}"}')
    assert {answer.path for answer in made(text)} == {"/generate", "/generate/stream"}
    assert choose(made(text), "POST", "/generate?key=another", {}) is not None


async def test_headers_of_an_example_are_sent() -> None:
    """And its content type."""
    known = [Answer("GET", "/a", "", "", 202, {"content-type": "text/x", "x-a": "1"}, (b"body",))]
    app: web.Application = mock_app(known)
    async with TestClient(TestServer(app)) as client:
        reply = await client.get("/a")
        assert (reply.status, reply.headers["content-type"], reply.headers["x-a"]) == (202, "text/x", "1")
