"""The rule-based model behind an HTTP API of its own, which is like no other.

- `POST /speak` answers `{"ticket", "drafts": [{"pieces", "why"}], "meter": {"read", "wrote"}}`, where a piece is
  `{"thought"}`, `{"words"}` or `{"use": {"ref", "skill", "with"}}`; `POST /speak/flow` sends it as NDJSON events `ev`.
- `POST /continue` goes on with a text; `POST /measure` gives rows of numbers.
- A failure is `{"trouble": {"sort", "text", "wait"}}`.

`status=429 times=1 wait=1 key=k` in the prompt fails so often, by key; `break=2` breaks off a flow after so many events
and `trouble=2` ends it by an event; `forever=k` never ends, `GET /begun/k` waits until it was asked for, and
`GET /left/k` until whoever asked for it has gone.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from clients.rules import PAIR, TOKEN, Said, prompt, speak, vector

KEY = "key-of-the-parrot"
PIECE = 5
"""Characters of arguments in one event."""


class Parrot:
    """The application's state: how often each key failed, and which endless answers were left."""

    def __init__(self) -> None:
        self.failed: Counter[str] = Counter()
        self.begun: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.left: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.asked = 0

    def app(self) -> web.Application:
        """The API."""
        app = web.Application(middlewares=[self.guard], client_max_size=64 << 20)
        app.router.add_post("/speak", self.whole)
        app.router.add_post("/speak/flow", self.flow)
        app.router.add_post("/continue", self.go_on)
        app.router.add_post("/measure", self.measure)
        app.router.add_get("/{what:begun|left}/{key}", self.has)
        return app

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Nobody speaks without the key."""
        if request.method == "POST" and request.headers.get("x-parrot-key") != KEY:
            return trouble(403, "locked", "no such key")
        made: web.StreamResponse = await handler(request)
        return made

    async def whole(self, request: web.Request) -> web.StreamResponse:
        """One answer."""
        asked = await request.json()
        self.asked += 1
        orders = orders_of(asked)
        if (failure := self.failure(orders)) is not None:
            return failure
        if "forever" in orders:
            await self.wait(orders["forever"])
        said = speak(asked)
        pieces: list[dict[str, Any]] = [{"thought": said.thoughts}] if said.thoughts else []
        pieces += [{"words": said.words}] if said.words else []
        pieces += [
            {"use": {"ref": ref(asked, at), "skill": skill, "with": arguments}}
            for at, (skill, arguments) in enumerate(said.uses)
        ]
        meter = {"read": size_of(asked), "wrote": size_of_said(said)}
        return web.json_response(
            {"ticket": f"t-{self.asked}", "drafts": [{"pieces": pieces, "why": said.why}], "meter": meter}
        )

    async def flow(self, request: web.Request) -> web.StreamResponse:
        """One answer as events, a line each."""
        asked = await request.json()
        self.asked += 1
        orders = orders_of(asked)
        if (failure := self.failure(orders)) is not None:
            return failure
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        for at, event in enumerate(events(asked, f"t-{self.asked}")):
            if at == int(orders.get("break", -1)):
                assert request.transport is not None
                request.transport.abort()
                return response
            if at == int(orders.get("trouble", -1)):
                event = {"ev": "trouble", "trouble": {"sort": "parrot", "text": "the parrot flew away"}}
            await response.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            if event["ev"] == "trouble":
                return response
            if event["ev"] == "words" and "forever" in orders:
                await self.wait(orders["forever"])
        return response

    async def go_on(self, request: web.Request) -> web.Response:
        """More of a text."""
        asked = await request.json()
        said = speak({"script": [{"by": "human", "says": [{"words": asked["start"]}]}], **asked})
        return web.json_response(
            {"rest": said.words, "why": said.why, "meter": {"read": size(asked["start"]), "wrote": size(said.words)}}
        )

    async def measure(self, request: web.Request) -> web.Response:
        """Rows of numbers, the last text's first."""
        asked = await request.json()
        texts = asked.get("texts") or [" ".join(map(str, numbers)) for numbers in asked["numbers"]]
        rows = [{"at": at, "row": vector(text, asked.get("size", 8))} for at, text in enumerate(texts)]
        return web.json_response({"rows": rows[::-1], "read": sum(map(size, texts))})

    async def has(self, request: web.Request) -> web.Response:
        """Wait until an endless answer has begun, or was left."""
        events = self.begun if request.match_info["what"] == "begun" else self.left
        await events[request.match_info["key"]].wait()
        return web.json_response({})

    async def wait(self, key: str) -> None:
        """Never return."""
        self.begun[key].set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left[key].set()

    def failure(self, orders: dict[str, str]) -> web.Response | None:
        """The failure that the prompt orders, where it has not come often enough."""
        if "status" not in orders:
            return None
        key = orders.get("key", "")
        self.failed[key] += 1
        if key and self.failed[key] > int(orders.get("times", 1)):
            return None
        status = int(orders["status"])
        return trouble(status, "ordered", f"trouble {status} as ordered", orders.get("wait"))


def trouble(status: int, sort: str, text: str, wait: str | None = None) -> web.Response:
    """A failure."""
    told = {"sort": sort, "text": text} | ({"wait": float(wait)} if wait else {})
    return web.json_response({"trouble": told}, status=status)


def orders_of(asked: dict[str, Any]) -> dict[str, str]:
    """The `k=v` in what was said last."""
    return {found[0]: found[1] or found[2] or found[3] for found in PAIR.findall(prompt(asked))}


def events(asked: dict[str, Any], ticket: str) -> Iterator[dict[str, Any]]:
    """The answer in pieces."""
    said = speak(asked)
    yield {"ev": "open", "ticket": ticket, "read": size_of(asked)}
    for token in TOKEN.findall(said.thoughts):
        yield {"ev": "thought", "d": token}
    for token in TOKEN.findall(said.words):
        yield {"ev": "words", "d": token}
    for slot, (skill, arguments) in enumerate(said.uses, 1):
        yield {"ev": "use", "slot": slot, "ref": ref(asked, slot - 1), "skill": skill}
        text = json.dumps(arguments, ensure_ascii=False)
        for at in range(0, len(text), PIECE):
            yield {"ev": "with", "slot": slot, "json": text[at : at + PIECE]}
    yield {"ev": "why", "why": said.why, "wrote": size_of_said(said)}
    yield {"ev": "close"}


def ref(asked: dict[str, Any], at: int) -> str:
    """What a use is called: no two in one conversation are the same."""
    return f"use-{len(asked.get('script', []))}-{at}"


def size(text: str) -> int:
    """How long a text is, in words."""
    return len(text.split())


def size_of(asked: dict[str, Any]) -> int:
    """How much was read: all that is words, and one for each other part."""
    parts = [part for turn in asked.get("script", []) for part in turn["says"]]
    return size(asked.get("brief", "")) + sum(max(1, size(part.get("words", ""))) for part in parts)


def size_of_said(said: Said) -> int:
    """How much was written."""
    return size(said.thoughts) + size(said.words) + sum(1 + size(json.dumps(use[1])) for use in said.uses)
