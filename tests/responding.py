"""What the tests of the Responses API share: a backend of its own dialect that follows rules, and its streams read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import aiohttp
from aiohttp import web
from jsonschema import Draft202012Validator
from support import STRICT, load

from oaiproxy.mapping import Mapping

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


class Rules:
    """A backend that knows nothing of OpenAI: it answers by rules, in lines of JSON where a stream is asked for."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.breaks = False
        """Whether streams end in their midst."""
        self.extra: list[Any] = []
        """Lines that come before the answer."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One answer."""
        body = await request.json()
        self.bodies.append(body)
        said = self._said(body)
        if not body["flow"]:
            return web.json_response({**said, "counts": {"in": 7, "out": 5}, "why": said.get("why", "done")})
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        for line in [*self.extra, *self._lines(said)]:
            await response.write(json.dumps(line).encode() + b"\n")
        if self.breaks:
            return response
        await response.write(json.dumps({"why": said.get("why", "done"), "counts": {"in": 7, "out": 5}}).encode())
        return response

    def _said(self, body: Any) -> dict[str, Any]:
        last = body["talk"][-1]
        if body.get("can") and last["who"] == "user":
            name = body["can"][0]["name"]
            return {"does": [{"id": "c1", "name": name, "arguments": {"location": "Oslo"}}], "reply": ""}
        if body.get("shape"):
            return {"reply": '{"city": "Oslo"}'}
        if last["text"].startswith("long"):
            return {"reply": "one two", "why": "cut"}
        if last["text"].startswith("think"):
            return {"reply": "two", "thought": "one and one"}
        return {"reply": f"{len(body['talk'])}: {last['text']}"}

    def _lines(self, said: dict[str, Any]) -> Iterator[Any]:
        if said.get("thought"):
            yield {"thought": said["thought"]}
        text = said["reply"]
        yield from ({"reply": piece} for piece in (text[:3], text[3:]) if piece)
        yield from ({"does": [call]} for call in said.get("does", ()))


def rules_mapping(url: str) -> Mapping:
    """The mapping for such a backend."""
    return load(f"""
oaiproxy: 1
models: [m]
backend: {{url: {url}}}
chat:
  request:
    path: /say
    body:
      talk:
        - $for: m in messages
          who: "{{{{ m.role }}}}"
          text: "{{{{ m.text }}}}"
          pictures: "{{{{ m.images_base64 }}}}"
          did: "{{{{ m.tool_calls }}}}"
          of: "{{{{ m.tool_call_id }}}}"
      can: "{{{{ tools }}}}"
      must: "{{{{ tool_choice }}}}"
      shape: "{{{{ response_format }}}}"
      most: "{{{{ max_tokens }}}}"
      heat: "{{{{ temperature }}}}"
      effort: "{{{{ reasoning_effort }}}}"
      flow: "{{{{ stream }}}}"
  response:
    text: reply
    reasoning: thought
    tool_calls: does
    finish_reason: why
    usage: &counts {{prompt: counts.in, completion: counts.out}}
  stream:
    format: ndjson
    text: reply
    reasoning: thought
    tool_calls: does
    finish_reason: why
    usage: *counts
    done: why
finish_reasons: {{done: stop, cut: length}}
""")


@cache
def validator(name: str) -> Draft202012Validator:
    """OpenAI's own schema."""
    return Draft202012Validator(json.loads((STRICT / f"{name}.json").read_text()))


def valid(name: str, value: Any) -> None:
    """The value is what OpenAI's schema of that name describes, on the machines that have it."""
    if not STRICT.is_dir():
        return
    found = [f"{error.json_path}: {error.message[:300]}" for error in validator(name).iter_errors(value)]
    assert not found, (found, value)


def told(sent: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each with its name on a line of its own, numbered from 0."""
    text = sent.decode()
    assert not text or text.endswith("\n\n")
    made = []
    for block in text.removesuffix("\n\n").split("\n\n") if text else ():
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        made.append(event)
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    return made


def check_sequence(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The response that a stream ends with: every event fits those before it, and the items are what they told."""
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    items: list[Any] = []
    open_: set[int] = set()
    texts: dict[tuple[int, str], str] = {}
    for event in events[2:]:
        kind, index = event["type"], event.get("output_index")
        if kind == "response.output_item.added":
            assert index == len(items)
            items.append(event["item"])
            open_.add(index)
            assert event["item"]["status"] == "in_progress"
        elif kind == "response.output_item.done":
            open_.remove(index)
            assert event["item"]["id"] == items[index]["id"]
            items[index] = event["item"]
        elif index is not None:
            assert index in open_
            assert event["item_id"] == items[index]["id"]
            name = kind.rpartition(".")[0]
            key = (index, f"{name} {event.get('content_index', 0)}")
            if kind.endswith(".delta"):
                texts[key] = texts.get(key, "") + event["delta"]
            elif kind.endswith(".done") and "part" not in kind:
                whole = next(event[key] for key in ("text", "refusal", "arguments", "input") if key in event)
                assert texts.get(key, "") == whole
    last = events[-1]["response"]
    assert kinds[-1] == f"response.{last['status']}"
    assert not open_
    assert last["output"] == items
    return last  # type: ignore[no-any-return]


async def ask(url: str, body: Any, path: str = "/responses", method: str = "POST") -> tuple[int, Any, dict[str, str]]:
    """The status, the body and the headers of an answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, json=body if method == "POST" else None) as answer,
    ):
        data = await answer.read()
        if answer.content_type == "text/event-stream":
            return answer.status, told(data), dict(answer.headers)
        return answer.status, json.loads(data), dict(answer.headers)


async def made(url: str, **fields: Any) -> Any:
    """A response that is as OpenAI's schema says."""
    status, body, _ = await ask(url, {"model": "m", **fields})
    assert status == 200, body
    valid("Response", body)
    return body


def user(text: str) -> dict[str, Any]:
    """A message of the user."""
    return {"type": "message", "role": "user", "content": text}


def text_of(response: Any) -> str:
    """The text of all messages."""
    messages = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in messages for part in item["content"])
