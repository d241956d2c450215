"""Promises of asking a live backend: what was sent and what came is kept, raw, also where it broke off."""

from __future__ import annotations

from scripted import FIN, GONE, REQUEST, Backend
from support import HI, load

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.live import Conversation, live
from oaiproxy.mapping import Mapping


def mapping(url: str) -> Mapping:
    """A mapping of a session API, whole and streamed."""
    return load(
        f"""
oaiproxy: 1
models: [m]
backend: {{url: "{url}", auth: {{bearer: key-of-mine}}}}
chat:
  before: [{{name: session, request: {{path: /open}}}}]
  request: {{path: /talk, body: {{s: "{{{{ session.id }}}}", p: "{{{{ prompt }}}}"}}}}
  response: {{text: text}}
  stream: {{format: ndjson, text: text, done: end}}
"""
    )


def head(body: bytes, kind: str = "application/json", missing: int = 0) -> bytes:
    """An answer."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body) + missing}\r\n\r\n".encode() + body


async def asked(url: str, *, stream: bool = False) -> Conversation:
    """What a request came to."""
    async with live() as asking:
        return await asking.ask(mapping(url), "chat", DOORS["chat"].parse({**HI, "stream": stream}))


async def test_all_calls_are_kept() -> None:
    """In their order; what is printed of them holds no credentials."""
    opened, said = head(b'{"id": "s1"}'), head(b'{"text":  "Hi"}')
    async with Backend([REQUEST, opened, REQUEST, said, GONE]) as backend:
        told = await asked(backend.url)
        assert backend.requests[1].json == {"s": "s1", "p": "hi"}
        assert backend.requests[1].header("authorization") == "Bearer key-of-mine"
    assert told.error is None
    assert [answer.body for answer in told.answers] == [b'{"id": "s1"}', b'{"text":  "Hi"}']
    assert "key-of-mine" not in repr(told)


async def test_what_broke_off_is_kept_as_far_as_it_came() -> None:
    """And why."""
    broken = head(b'{"text": "Hi"}\n', "application/x-ndjson", 9)
    async with Backend([REQUEST, head(b'{"id": "s1"}'), REQUEST, broken, FIN]) as backend:
        told = await asked(backend.url, stream=True)
    assert told.answers[1].body == b'{"text": "Hi"}\n'
    assert told.error is not None
    assert told.error.code == "upstream_truncated"


async def test_nobody_there() -> None:
    """There is a call, and no answer."""
    told = await asked("http://127.0.0.1:9")
    assert told.error is not None
    assert told.error.code == "upstream_connect_error"
    assert (len(told.calls), len(told.answers)) == (1, 0)
