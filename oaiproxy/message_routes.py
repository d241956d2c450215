"""What the clients of `POST /v1/messages` expect beside it: a count of tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import web

from oaiproxy import jsontext
from oaiproxy.endpoints import messages
from oaiproxy.entry import HOLDER
from oaiproxy.jsontext import Json
from oaiproxy.middleware import ERROR_BODY, MAX_SHOWN, RECORD, ErrorBody, json_response
from oaiproxy.offloop import off_loop
from oaiproxy.state import State

COUNT = f"{messages.PATH}/count_tokens"
ERRORS: Mapping[str, ErrorBody] = {COUNT: messages.error}
"""How this is told of errors."""
Read: TypeAlias = Callable[[web.Request, State], Awaitable[Json]]
"""What reads the body of a request."""


def routes(state: State, read: Read) -> list[web.RouteDef]:
    """What is served beside the endpoint itself."""

    async def count_tokens(request: web.Request) -> web.Response:
        """An estimate, as other usage that no backend tells: by our own tokenizer, which is exact for few models."""
        request[ERROR_BODY] = messages.error
        body = await read(request, state)
        size = request.content.total_bytes
        call = await off_loop(size, messages.parse_to_count, body)
        request[RECORD]["model"] = call.model[:MAX_SHOWN]
        await state.resolve(call.model, request.get(HOLDER))
        texts, rest = await off_loop(size, messages.estimated, call)
        counted = {"input_tokens": sum(await state.tokenizer.count(texts)) + rest}
        return json_response(jsontext.dump(counted))

    return [web.post(COUNT, count_tokens)]
