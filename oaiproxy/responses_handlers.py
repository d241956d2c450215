"""The endpoints of the Responses API: responses that are made, kept, read again, deleted and compacted.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from aiohttp import web

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity, message_text, tool_calls
from oaiproxy.config import Server
from oaiproxy.endpoints.doors import Door
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.endpoints.responses import PATH, Asked, parse
from oaiproxy.endpoints.responses_encoding import encoder, usage_object
from oaiproxy.endpoints.responses_items import Item, listed, pack
from oaiproxy.errors import ClientError
from oaiproxy.events import Usage
from oaiproxy.jsontext import Json
from oaiproxy.middleware import RECORD, REQUEST_ID
from oaiproxy.parameters import invalid_type, invalid_value, string
from oaiproxy.responses_store import Kept, ResponseStore
from oaiproxy.state import State

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Read: TypeAlias = Callable[[web.Request, Server], Awaitable[Json]]
Answer: TypeAlias = Callable[[web.Request, State, Door, Call], Awaitable[web.StreamResponse]]

MAX_LISTED = 100
"""Items of one page."""
PER_MESSAGE = 3
"""Tokens that a message takes beside its text, and the beginning of the answer."""


def routes(state: State, counted: Callable[[Handle], Handle], read: Read, answer: Answer) -> list[web.RouteDef]:
    """The endpoints; `counted` holds a shutdown up for them, `read` gives a body, and `answer` relays a call."""
    server = state.server
    api = Responses(
        state, ResponseStore(server.stored_responses, server.stored_bytes, server.stored_seconds), read, answer
    )
    return [
        web.post(PATH, counted(api.create)),
        web.post(f"{PATH}/compact", counted(api.compact)),
        web.post(f"{PATH}/input_tokens", counted(api.count)),
        web.get(f"{PATH}/{{id}}", api.retrieve, allow_head=False),
        web.delete(f"{PATH}/{{id}}", api.delete),
        web.get(f"{PATH}/{{id}}/input_items", api.input_items, allow_head=False),
        web.post(f"{PATH}/{{id}}/cancel", api.cancel),
    ]


class Responses:
    """The handlers, around one store."""

    def __init__(self, state: State, store: ResponseStore, read: Read, answer: Answer) -> None:
        self.store = store
        self._state = state
        self._read = read
        self._answer = answer

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Make a response. It is kept once it has ended as it should, just before its last bytes are written."""
        asked = self._asked(await self._read(request, self._state.server))

        def make(call: Call, identity: Identity) -> Encoder:
            def keep(response: Item) -> None:
                if asked.store:
                    self.store.put(response, asked.history, listed(asked.items, f"{identity.token}i"))

            return encoder(asked, identity, keep, time.time)

        door = Door(
            PATH,
            lambda body: asked.call,
            make,
            param=lambda call, name: asked.param(name),
            dropped=asked.dropped,
        )
        return await self._answer(request, self._state, door, asked.call)

    async def retrieve(self, request: web.Request) -> web.Response:
        """A response that is kept, as it was."""
        if request.query.get("stream", "").lower() == "true":
            message = "Unsupported value for 'stream': only responses made in the background can be streamed again."
            raise ClientError(message, param="stream", code="unsupported_value")
        return _json(request, self._kept(request).response)

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a response."""
        self._kept(request)
        name = request.match_info["id"]
        self.store.delete(name)
        return _json(request, jsontext.dump({"id": name, "object": "response", "deleted": True}))

    async def input_items(self, request: web.Request) -> web.Response:
        """What a response answered, the latest first, in pages."""
        items = self._kept(request).input_items()
        limit, order = request.query.get("limit", "20"), request.query.get("order", "desc")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(MAX_LISTED))) or not (
            1 <= int(limit) <= MAX_LISTED
        ):
            raise invalid_value("limit", f"use a number from 1 to {MAX_LISTED}")
        if order not in ("asc", "desc"):
            raise invalid_value("order", "use 'asc' or 'desc'")
        if order == "desc":
            items.reverse()
        if (after := request.query.get("after")) is not None:
            places = [place for place, item in enumerate(items) if item["id"] == after]
            if not places:
                raise invalid_value("after", "there is no item of that id")
            items = items[places[-1] + 1 :]
        page = items[: int(limit)]
        ends = [page[0]["id"], page[-1]["id"]] if page else ["", ""]
        made = {"object": "list", "data": page, "has_more": len(page) < len(items)}
        return _json(request, jsontext.dump(made | {"first_id": ends[0], "last_id": ends[1]}))

    async def cancel(self, request: web.Request) -> web.Response:
        """Refused: only what runs in the background can be cancelled."""
        self._kept(request)
        raise ClientError("Cannot cancel a synchronous response.")

    async def count(self, request: web.Request) -> web.Response:
        """How many tokens a request would take."""
        asked = self._asked(await self._read(request, self._state.server))
        await self._state.resolve(asked.call.model)
        made = {"object": "response.input_tokens", "input_tokens": await self._tokens(asked)}
        return _json(request, jsontext.dump(made))

    async def compact(self, request: web.Request) -> web.Response:
        """The user's messages as they are, and all else packed into one opaque item, from which it comes back whole."""
        body = await self._read(request, self._state.server)
        asked = self._asked(body)
        await self._state.resolve(asked.call.model)
        token = os.urandom(16).hex()
        items = [*asked.history, *listed(asked.items, token)]
        users = [item for item in items if item.get("role") == "user"]
        item = {"id": f"cmp_{token}", "type": "compaction", "encrypted_content": pack(items)}
        made = {
            "id": f"resp_{token}",
            "object": "response.compaction",
            "created_at": int(time.time()),
            "output": [*users, item],
            "usage": usage_object(Usage(await self._tokens(asked), 0)),
        }
        return _json(request, jsontext.dump(made))

    def _asked(self, body: Json) -> Asked:
        return parse(body, self._history(body), self.store.item)

    def _history(self, body: Json) -> Sequence[Item]:
        """What `previous_response_id` stands for."""
        if not isinstance(body, dict):
            raise invalid_type("body", body, "an object")
        name = body.get("previous_response_id")
        if name is None:
            return ()
        kept = self.store.get(string(name, "previous_response_id"))
        if kept is None:
            raise ClientError(
                f"Previous response with id '{name[:80]}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return kept.conversation()

    async def _tokens(self, asked: Asked) -> int:
        """The tokens of a conversation and its tools."""
        texts = []
        for message in asked.call.messages:
            texts.append(message_text(message))
            texts += [f"{each['function']['name']} {each['function']['arguments']}" for each in tool_calls(message)]
        texts += [jsontext.dump(asked.tools).decode()] if asked.tools else []
        return sum(await self._state.tokenizer.count(texts)) + PER_MESSAGE * (len(asked.call.messages) + 1)

    def _kept(self, request: web.Request) -> Kept:
        name = request.match_info["id"]
        kept = self.store.get(name)
        if kept is None:
            raise ClientError(f"Response with id '{name[:80]}' not found.", status=404)
        return kept


def _json(request: web.Request, data: bytes) -> web.Response:
    headers = {"Content-Type": "application/json", REQUEST_ID: str(request[RECORD]["request_id"])}
    return web.Response(body=data, headers=headers)
