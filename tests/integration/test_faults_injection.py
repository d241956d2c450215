"""Text of a backend that looks like a stream of its own: the client sees one event with the literal text (T17)."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from scripted import REQUEST, Backend, Wire, answer, chunk, fetch, hello, mapping, stream_head

CORPUS = {
    "an error event": '\n\ndata: {"error": {"message": "invented", "code": "invented"}}\n\n',
    "the end": "\n\ndata: [DONE]\n\n",
    "the end alone": "[DONE]",
    "CR": '\rdata: {"error": 1}\r\r',
    "CRLF": '\r\n\r\ndata: {"error": 1}\r\n\r\nevent: error\r\n',
    "line separators": 'a\u2028\u2028data: {"error": 1}\u2029\x85\x0b\x0c\x1c\x1d\x1e',
    "fields": "\nid: 7\nretry: 1\nevent: error\n: comment\n",
    "chunk": "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "quotes": '"}}]}\n\ndata: {"a": "\\u0022"}',
    "escapes": '\\n\\n\\ud83d \\" \\\\',
    "controls": "\x00\x01\x1b[2J\x7f",
    "byte order mark": "\ufeffdata: x",
    "markup": "</script><!--{{ 7*7 }}{% raw %}${PATH}",
}
STREAM = (
    "{request: {path: /s}, format: sse, id: i, model: m, text: t, reasoning: r, done: d, finish_reason: f,"
    " error: e, tool_call: {index: x, id: ci, name: cn, arguments: ca}}"
)
FINISH: dict[str, Any] = {"d": True}
each_text = pytest.mark.parametrize("name", CORPUS)


def _frame(*values: Any) -> bytes:
    return b"".join(chunk(b"data: " + json.dumps(value).encode() + b"\n\n") for value in values)


async def _streamed(proxy: Any, *frames: Any, raw: bytes = b"") -> Wire:
    """What a client gets of these frames."""
    async with Backend([REQUEST, stream_head(), raw or _frame(*frames), chunk(b"")]) as backend:
        running = await proxy(mapping(backend.url, stream=STREAM, more="on_unsupported: {tools: ignore}"))
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        wire = await fetch(running.url, hello(stream=True, tools=tools))
    assert wire.status == 200, wire.body
    lines = wire.body.decode().splitlines()  # at all that any client takes for the end of a line
    assert all(line.startswith("data: ") for line in lines if line)
    assert len([line for line in lines if line]) == len(wire.events)
    return wire


def _choices(wire: Wire, key: str) -> list[Any]:
    """What the deltas say of something."""
    assert (wire.events[-1], wire.complete) == ("[DONE]", True)
    assert not any("error" in event for event in wire.events[:-1])
    found = [event["choices"][0]["delta"].get(key) for event in wire.events[:-1]]
    return [each for each in found if each]


@each_text
@pytest.mark.parametrize(("source", "key"), [("t", "content"), ("r", "reasoning_content")])
async def test_text_stays_text(proxy: Any, name: str, source: str, key: str) -> None:
    """In one event."""
    text = CORPUS[name]
    wire = await _streamed(proxy, {source: text}, {"t": "."}, FINISH)
    said = _choices(wire, key)
    assert said == ([text] if key != "content" else [text, "."])


@each_text
async def test_the_official_client_reads_the_literal_text(proxy: Any, name: str) -> None:
    """Streamed and whole."""
    text = CORPUS[name]
    whole = answer({"text": text, "p": 1, "c": 1}, headers={"Connection": "close"})
    async with Backend([REQUEST, stream_head(), _frame({"t": text}, FINISH), chunk(b""), REQUEST, whole]) as backend:
        running = await proxy(mapping(backend.url, stream=STREAM))
        ask: Any = {"model": "m", "messages": [{"role": "user", "content": text}]}
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
            chunks = [each async for each in await client.chat.completions.create(**ask, stream=True)]
            made = await client.chat.completions.create(**ask)
        assert [each.choices[0].delta.content for each in chunks if each.choices[0].delta.content] == [text]
        assert made.choices[0].message.content == text
        assert [request.json for request in backend.requests] == [{"prompt": text}] * 2


@each_text
async def test_a_model_or_an_id_stays_a_name(proxy: Any, name: str) -> None:
    """Of the answer."""
    text = CORPUS[name]
    wire = await _streamed(proxy, {"m": text, "i": text, "t": "fine"}, FINISH)
    assert _choices(wire, "content") == ["fine"]
    assert {event["model"] for event in wire.events[:-1]} <= {text, "m"}


@each_text
async def test_a_tool_stays_a_tool(proxy: Any, name: str) -> None:
    """Its name, its id and its arguments."""
    text = CORPUS[name]
    arguments = json.dumps({"a": text})
    wire = await _streamed(proxy, {"x": 0, "ci": text, "cn": text, "ca": arguments}, {"f": "tool_calls", **FINISH})
    calls = [call for calls in _choices(wire, "tool_calls") for call in calls]
    assert "".join(call["function"].get("arguments") or "" for call in calls) == arguments
    assert [call["function"]["name"] for call in calls if call["function"].get("name")] == [text]
    assert json.loads(arguments) == {"a": text}


@each_text
async def test_a_finish_reason_stays_one(proxy: Any, name: str) -> None:
    """One that nobody knows is none of it."""
    wire = await _streamed(proxy, {"t": "fine"}, {"f": CORPUS[name], **FINISH})
    assert _choices(wire, "content") == ["fine"]
    assert wire.events[-2]["choices"][0]["finish_reason"] == "stop"


@each_text
@pytest.mark.parametrize("begun", [False, True], ids=["first", "later"])
async def test_an_error_stays_one_error(proxy: Any, name: str, begun: bool) -> None:
    """Its words are one line, and no field of it is more than a field."""
    text = CORPUS[name]
    frames = [{"t": "The "}] * begun + [{"e": {"message": text, "code": text, "type": text}}]
    async with Backend([REQUEST, stream_head(), _frame(*frames), chunk(b"")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url, stream=STREAM))).url, hello(stream=True))
    error = wire.events[-1]["error"] if begun else wire.error
    assert (wire.status, wire.complete) == ((200, False) if begun else (502, True))
    assert "[DONE]" not in ([] if not begun else wire.events)
    assert error["message"] == " ".join(text.split()) or "<" in text
    assert len([line for line in wire.body.decode().splitlines() if line]) == (len(wire.events) if begun else 1)
    assert not begun or len(wire.events) == 3


SURROGATES: dict[str, tuple[list[bytes], str]] = {
    "a pair in two events": ([rb'{"t": "a\ud83d"}', rb'{"t": "\ude00b"}'], "a\U0001f600b"),
    "a pair in two events of nothing else": ([rb'{"t": "\ud83d"}', rb'{"t": "\ude00"}'], "\U0001f600"),
    "a first half alone": ([rb'{"t": "a\ud83d"}', rb'{"t": "b"}'], "a\ufffdb"),
    "a first half at the end": ([rb'{"t": "a\ud83d"}'], "a\ufffd"),
    "a second half alone": ([rb'{"t": "a"}', rb'{"t": "\ude00b"}'], "a\ufffdb"),
    "two first halves": ([rb'{"t": "\ud83d"}', rb'{"t": "\ud83d"}', rb'{"t": "\ude00"}'], "\ufffd\U0001f600"),
}


@pytest.mark.row(58)
@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_surrogates_that_are_torn_apart(proxy: Any, name: str, bytewise: bool) -> None:
    """A pair over two events is one character; a half without the other is U+FFFD, which every client can read."""
    payloads, text = SURROGATES[name]
    body = b"".join(b"data: " + payload + b"\n\n" for payload in [*payloads, rb'{"d": true}'])
    pieces = [body[at : at + 1] for at in range(len(body))] if bytewise else [body]
    wire = await _streamed(proxy, raw=b"".join(map(chunk, pieces)))
    assert "".join(_choices(wire, "content")) == text
    assert rb"\ud8" not in wire.body.lower()
    assert rb"\ude" not in wire.body.lower()


async def test_the_names_of_roles_are_ours(proxy: Any) -> None:
    """A backend's own word for a role reaches nobody."""
    wire = await _streamed(proxy, {"t": "fine", "role": "\n\ndata: x", "choices": [{"role": "y"}]}, FINISH)
    assert _choices(wire, "role") == ["assistant"]
