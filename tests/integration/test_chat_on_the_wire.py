"""What `/v1/chat/completions` sends, byte by byte: the sequence of chunks that all official clients read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted import REQUEST, Backend, fetch, request
from support import load

FUNCTION = {"name": "f", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FUNCTION}]
HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def mapping(url: str) -> Any:
    return load(
        f"""
oaiproxy: 1
models: [m]
backend: {{url: "{url}"}}
chat:
  request: {{path: /g, body: {{p: "{{{{ prompt }}}}", t: "{{{{ tools }}}}"}}}}
  response: {{text: t, tool_calls: c, usage: {{prompt: i, completion: o}}}}
  stream:
    format: ndjson
    text: t
    tool_calls: ~
    tool_call: {{index: x, name: n, arguments: a}}
    finish_reason: f
    usage: {{prompt: i, completion: o}}
"""
    )


def lines(*frames: dict[str, Any]) -> bytes:
    """A whole reply of these lines."""
    body = b"".join(json.dumps(frame).encode() + b"\n" for frame in frames)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def streamed(proxy: Any, *frames: dict[str, Any], **fields: Any) -> list[bytes]:
    """The events that a client gets, without the id, time and model that all of them share."""
    async with Backend([REQUEST, lines(*frames)]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, request(HI | {"stream": True} | fields))
    assert wire.status == 200
    assert wire.headers["content-type"] == "text/event-stream; charset=utf-8"
    *found, rest = wire.body.split(b"\n\n")
    assert rest == b""
    first = json.loads(found[0].removeprefix(b"data: "))
    shared = {key: first[key] for key in ("id", "object", "created", "model")}
    begin = b"data: " + json.dumps(shared, separators=(",", ":")).encode()[:-1] + b","
    assert all(event.startswith(begin) for event in found[:-1])
    return [event.removeprefix(begin) for event in found]


ROLE = (
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
    b'"logprobs":null,"finish_reason":null}]'
)
OPEN = ROLE.replace(b'"content":""', b'"content":null')


def chunk(delta: str, reason: str = "null") -> bytes:
    return f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]'.encode()


async def test_text(proxy: Any) -> None:
    """Role once, text, one finish; no usage and no empty choices that nobody asked for."""
    assert await streamed(proxy, {"t": "Hel"}, {"t": "lo"}, {"f": "stop", "i": 1, "o": 2}) == [
        ROLE + b"}",
        chunk('{"content":"Hel"}') + b"}",
        chunk('{"content":"lo"}') + b"}",
        chunk("{}", '"stop"') + b"}",
        b"data: [DONE]",
    ]


async def test_usage_comes_last_if_asked_for(proxy: Any) -> None:
    """And null before; what else `stream_options` holds changes nothing."""
    options = {"include_usage": True, "include_obfuscation": True}
    assert await streamed(proxy, {"t": "a"}, {"f": "length", "i": 1, "o": 2}, stream_options=options) == [
        ROLE + b',"usage":null}',
        chunk('{"content":"a"}') + b',"usage":null}',
        chunk("{}", '"length"') + b',"usage":null}',
        b'"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}',
        b"data: [DONE]",
    ]


async def test_tool_calls(proxy: Any) -> None:
    """Content null first; id, type and name once; indexes from 0 without gaps."""
    frames = [{"x": 3, "n": "f", "a": '{"b'}, {"x": 3, "a": '":1}'}, {"x": 7, "n": "g", "a": "{}"}]
    found = await streamed(proxy, *frames, tools=TOOLS)
    assert found[0] == OPEN + b"}"
    assert [json.loads(b"{" + event)["choices"][0]["delta"] for event in found[1:-1]] == [
        {
            "tool_calls": [
                {"index": 0, "id": _id(found, 1), "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"b'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '":1}'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": _id(found, 4), "type": "function", "function": {"name": "g", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert found[-2] == chunk("{}", '"tool_calls"') + b"}"


def _id(found: list[bytes], place: int) -> str:
    call_id = json.loads(b"{" + found[place])["choices"][0]["delta"]["tool_calls"][0]["id"]
    assert call_id.startswith("call_")
    return str(call_id)


async def test_a_function_call(proxy: Any) -> None:
    """In the words of the client, and one only."""
    frames = [{"x": 0, "n": "f", "a": "{}"}, {"x": 1, "n": "g", "a": "{}"}]
    assert await streamed(proxy, *frames, functions=[FUNCTION], function_call="auto") == [
        OPEN + b"}",
        chunk('{"function_call":{"name":"f","arguments":""}}') + b"}",
        chunk('{"function_call":{"arguments":"{}"}}') + b"}",
        chunk("{}", '"function_call"') + b"}",
        b"data: [DONE]",
    ]


async def test_halves_of_characters_meet(proxy: Any) -> None:
    """A half that no other follows becomes U+FFFD: what goes out is UTF-8."""
    found = await streamed(proxy, {"t": "a\ud83d"}, {"t": "\ude00b\ud83d"}, {"f": "stop"})
    texts = [json.loads(b"{" + event)["choices"][0]["delta"].get("content") for event in found[1:-2]]
    assert "".join(texts) == "a\U0001f600b\ufffd"


@pytest.mark.parametrize("stream", [False, True, None])
async def test_half_a_character_in_a_request_is_no_fault_of_ours(proxy: Any, stream: bool | None) -> None:
    """It is answered, or refused: nothing of it is a 500."""
    async with Backend([REQUEST, lines({"t": "a"})]) as backend:
        running = await proxy(mapping(backend.url))
        body = HI | {"messages": [{"role": "user", "content": "a\ud83d"}], "user": "\udc00", "stream": stream}
        wire = await fetch(running.url, request(body))
        assert wire.status in (200, 400)


async def test_what_is_left_out_is_named_as_the_client_knows_it(proxy: Any) -> None:
    """Also functions, which are tools in between, where an error names them."""
    async with Backend([REQUEST, lines({"t": "a"})]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, request(HI | {"logprobs": True, "top_logprobs": 3, "store": True, "stop": "x"}))
        assert wire.status == 200
        assert wire.headers["x-oaiproxy-dropped"] == "logprobs, top_logprobs, store"
        assert wire.json["choices"][0]["logprobs"] is None
        wire = await fetch(running.url, request(HI | {"functions": [FUNCTION], "function_call": {"name": "f"}}))
        assert (wire.status, wire.error["param"]) == (400, "function_call")
        assert "'function_call'" in wire.error["message"]


async def test_what_comes_behind_a_stop_string_is_cut(proxy: Any) -> None:
    """Over the border of two frames, though the mapping says nothing of it."""
    found = await streamed(proxy, {"t": "one EN"}, {"t": "D two"}, stop=["END"])
    texts = [json.loads(b"{" + event)["choices"][0]["delta"].get("content") for event in found[1:-2]]
    assert "".join(texts) == "one "
    assert found[-2] == chunk("{}", '"stop"') + b"}"
