"""The endpoints of the Responses API: responses that are made, kept, read again, deleted and compacted.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol, TypeAlias

from aiohttp import web

from oaiproxy import jsontext
from oaiproxy.admission import Place
from oaiproxy.background import Background, Run
from oaiproxy.canonical import Call, Identity, message_text, tool_calls
from oaiproxy.endpoints.doors import Door
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.endpoints.responses import PATH, Asked, parse
from oaiproxy.endpoints.responses_encoding import ResponseEncoder, encoder, usage_object
from oaiproxy.endpoints.responses_items import Item, listed, pack
from oaiproxy.entry import HOLDER, TURN, owner
from oaiproxy.errors import ClientError
from oaiproxy.eventlog import EventLog
from oaiproxy.events import Usage
from oaiproxy.exchange import Exchange
from oaiproxy.fallbacks import Fallbacks
from oaiproxy.jsontext import Json
from oaiproxy.keyring import Turn
from oaiproxy.middleware import RECORD, Record, json_response
from oaiproxy.offloop import in_thread, off_loop
from oaiproxy.outlets import ClientOutlet, stream_headers, to_client
from oaiproxy.parameters import invalid_value, no_object, string
from oaiproxy.responses_store import Kept, ResponseStore
from oaiproxy.state import State

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Read: TypeAlias = Callable[[web.Request, State], Awaitable[Json]]
Relayed: TypeAlias = Callable[[web.Request, State, Exchange, Fallbacks | None], Awaitable[web.StreamResponse]]
"""Makes the answer of an exchange."""
PLACE = web.RequestKey("place", Place)
"""What a request that is relayed has taken."""


class Answer(Protocol):
    """Relays a call."""

    async def __call__(
        self, request: web.Request, state: State, door: Door, call: Call, relay: Relayed | None = None
    ) -> web.StreamResponse:
        """The answer."""
        ...


MAX_LISTED = 100
"""Items of one page."""
MAX_DIGITS = 9
"""Of an event's number."""
PER_MESSAGE = 3
"""Tokens that a message takes beside its text, and the beginning of the answer."""


def routes(state: State, counted: Callable[[Handle], Handle], read: Read, answer: Answer) -> list[web.RouteDef]:
    """The endpoints; `counted` holds a shutdown up for them, `read` gives a body, and `answer` relays a call."""
    server = state.server
    store = ResponseStore(server.stored_responses, server.stored_bytes, server.stored_seconds)
    state.configured.append(
        lambda config: store.configure(
            config.server.stored_responses, config.server.stored_bytes, config.server.stored_seconds
        )
    )
    api = Responses(state, store, read, answer)
    return [
        web.post(PATH, counted(api.create)),
        web.post(f"{PATH}/compact", counted(api.compact)),
        web.post(f"{PATH}/input_tokens", counted(api.count)),
        web.get(f"{PATH}/{{id}}", counted(api.retrieve), allow_head=False),
        web.delete(f"{PATH}/{{id}}", api.delete),
        web.get(f"{PATH}/{{id}}/input_items", api.input_items, allow_head=False),
        web.post(f"{PATH}/{{id}}/cancel", api.cancel),
    ]


class Responses:
    """The handlers, around one store."""

    def __init__(self, state: State, store: ResponseStore, read: Read, answer: Answer) -> None:
        self.store = store
        self._background = Background(state, store)
        self._state = state
        self._read = read
        self._answer = answer

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Make a response. It is kept once it has ended as it should, just before its last bytes are written."""
        asked = await self._asked(request)
        if asked.background:
            self._background.admit()
        encoders: list[ResponseEncoder] = []

        def make(call: Call, identity: Identity) -> Encoder:
            def keep(response: Item) -> None:
                if asked.store and not asked.background:
                    own = listed(asked.items, f"{identity.token}i")
                    self.store.put(response, asked.history, own, owner=owner(request))

            encoders.append(encoder(replace(asked, call=call), identity, keep, time.time))
            return encoders[-1]

        async def start(
            request: web.Request, state: State, exchange: Exchange, fallbacks: Fallbacks | None
        ) -> web.StreamResponse:
            own = listed(asked.items, f"{exchange.identity.token}i")
            record: Record = request[RECORD]
            run = Run(encoders[0], asked.history, own, Record(record), owner=owner(request))
            held: list[Place | Turn] = [request[PLACE], *([request[TURN]] if TURN in request else [])]
            self._background.start(run, exchange, held, fallbacks)
            outlet = to_client(request, state.server, exchange)
            return await (outlet.whole(jsontext.dump(run.response)) if run.log is None else run.log.follow(0, outlet))

        door = Door(
            PATH,
            lambda body: asked.call,
            make,
            param=lambda call, name: asked.param(name),
            dropped=asked.dropped,
        )
        return await self._answer(request, self._state, door, asked.call, start if asked.background else None)

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """A response that is kept, as it was, or that is being made, as it stands; or its events, if it has some."""
        run = self._run(request)
        log = self._kept(request).events if run is None else run.log
        if request.query.get("stream", "").lower() == "true":
            return await self._replay(request, log)
        return json_response(self._kept(request).response if run is None else jsontext.dump(run.response))

    async def _replay(self, request: web.Request, log: EventLog | None) -> web.StreamResponse:
        """The events after one, those to come among them."""
        if log is None:
            message = "Unsupported value for 'stream': only responses made with both 'background' and 'stream' have it."
            raise ClientError(message, param="stream", code="unsupported_value")
        after = request.query.get("starting_after", "-1")
        if after != "-1" and not (after.isascii() and after.isdigit() and len(after) <= MAX_DIGITS):
            raise invalid_value("starting_after", "use the sequence_number of an event")
        number = int(after) + 1
        if number < log.first:
            raise invalid_value("starting_after", f"events before {log.first} are not kept any more")
        if number > log.following:
            raise invalid_value("starting_after", f"the last event so far is {log.following - 1}")
        outlet = ClientOutlet(request, self._state.server, stream_headers, commented=True)
        return await log.follow(number, outlet)

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a response; one that is being made is broken off."""
        name = request.match_info["id"]
        run = self._run(request)
        if run is None:
            self._kept(request)
            self.store.delete(name)
        else:
            run.forgotten = True
            await run.cancel()
        return json_response(jsontext.dump({"id": name, "object": "response", "deleted": True}))

    async def input_items(self, request: web.Request) -> web.Response:
        """What a response answered, the latest first, in pages."""
        run = self._run(request)
        if run is None:
            kept = self._kept(request)
            items = await off_loop(kept.size, kept.input_items)
        else:
            items = [*run.before, *run.own]
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
        return json_response(jsontext.dump(made | {"first_id": ends[0], "last_id": ends[1]}))

    async def cancel(self, request: web.Request) -> web.Response:
        """Break off what is made in the background; what has ended stays as it is."""
        run = self._run(request)
        if run is not None:
            await run.cancel()
            return json_response(jsontext.dump(run.response))
        kept = self._kept(request)
        if not kept.background:
            raise ClientError("Cannot cancel a synchronous response.")
        return json_response(kept.response)

    async def count(self, request: web.Request) -> web.Response:
        """How many tokens a request would take."""
        asked = await self._asked(request)
        await self._state.resolve(asked.call.model, request.get(HOLDER))
        made = {"object": "response.input_tokens", "input_tokens": await self._tokens(asked)}
        return json_response(jsontext.dump(made))

    async def compact(self, request: web.Request) -> web.Response:
        """The user's messages as they are, and all else packed into one opaque item, from which it comes back whole."""
        asked = await self._asked(request)
        await self._state.resolve(asked.call.model, request.get(HOLDER))
        token = os.urandom(16).hex()
        items = [*asked.history, *listed(asked.items, token)]
        users = [item for item in items if item.get("role") == "user"]
        packed = await in_thread(pack, items)  # however small what it was unpacked from is
        item = {"id": f"cmp_{token}", "type": "compaction", "encrypted_content": packed}
        made = {
            "id": f"resp_{token}",
            "object": "response.compaction",
            "created_at": int(time.time()),
            "output": [*users, item],
            "usage": usage_object(Usage(await self._tokens(asked), 0)),
        }
        return json_response(jsontext.dump(made))

    async def _asked(self, request: web.Request) -> Asked:
        body, whose = await self._read(request, self._state), owner(request)
        before = self._before(body, whose)
        size = request.content.total_bytes + (0 if before is None else before.size)
        return await off_loop(size, self._parsed, body, before, whose)

    def _parsed(self, body: Json, before: Kept | None, whose: str) -> Asked:
        history = () if before is None else before.conversation()
        return parse(body, history, lambda name: self.store.item(name, whose))

    def _before(self, body: Json, whose: str) -> Kept | None:
        """What `previous_response_id` stands for."""
        if not isinstance(body, dict):
            raise no_object(body)
        name = body.get("previous_response_id")
        if name is None:
            return None
        run = self._background.run(string(name, "previous_response_id"), whose)
        kept = self.store.get(name, whose)
        status = "in_progress" if run is not None else kept.status if kept is not None else ""
        if status in ("in_progress", "failed", "cancelled"):
            raise invalid_value("previous_response_id", f"its status is '{status}'")
        if kept is None:
            raise ClientError(
                f"Previous response with id '{name[:80]}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return kept

    async def _tokens(self, asked: Asked) -> int:
        """The tokens of a conversation and its tools."""
        texts = []
        for message in asked.call.messages:
            texts.append(message_text(message))
            texts += [f"{each['function']['name']} {each['function']['arguments']}" for each in tool_calls(message)]
        texts += [jsontext.dump(asked.tools).decode()] if asked.tools else []
        return sum(await self._state.tokenizer.count(texts)) + PER_MESSAGE * (len(asked.call.messages) + 1)

    def _run(self, request: web.Request) -> Run | None:
        return self._background.run(request.match_info["id"], owner(request))

    def _kept(self, request: web.Request) -> Kept:
        name = request.match_info["id"]
        kept = self.store.get(name, owner(request))
        if kept is None:
            raise ClientError(f"Response with id '{name[:80]}' not found.", status=404)
        return kept
