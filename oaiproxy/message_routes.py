"""What the clients of `POST /v1/messages` expect beside it: a count of tokens, their header with the request's id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import web

from oaiproxy import jsontext
from oaiproxy.config import Server
from oaiproxy.endpoints import messages
from oaiproxy.jsontext import Json
from oaiproxy.middleware import ERROR_BODY, MAX_SHOWN, RECORD, REQUEST_ID, ErrorBody
from oaiproxy.state import State

COUNT = f"{messages.PATH}/count_tokens"
THEIR_ID = "request-id"
ERRORS: Mapping[str, ErrorBody] = {COUNT: messages.error}
"""How this is told of errors."""
Read: TypeAlias = Callable[[web.Request, Server], Awaitable[Json]]
"""What reads the body of a request."""


def routes(state: State, read: Read) -> list[web.RouteDef]:
    """What is served beside the endpoint itself."""

    async def count_tokens(request: web.Request) -> web.Response:
        """An estimate, as other usage that no backend tells: by our own tokenizer, which is exact for few models."""
        request[ERROR_BODY] = messages.error
        call = messages.parse_to_count(await read(request, state.server))
        request[RECORD]["model"] = call.model[:MAX_SHOWN]
        await state.resolve(call.model)
        texts, rest = messages.estimated(call)
        counted = {"input_tokens": sum(await state.tokenizer.count(texts)) + rest}
        headers = {"Content-Type": "application/json", REQUEST_ID: str(request[RECORD]["request_id"])}
        return web.Response(body=jsontext.dump(counted), headers=headers)

    return [web.post(COUNT, count_tokens)]


async def name_request(request: web.Request, response: web.StreamResponse) -> None:
    """Give an answer of the endpoint its clients' header of the request's id."""
    if request.get(ERROR_BODY) is messages.error and REQUEST_ID in response.headers:
        response.headers[THEIR_ID] = response.headers[REQUEST_ID]
