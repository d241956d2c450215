"""Who may come in: every endpoint wants a key where keys are configured, but for those that tell of health."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiohttp import HttpVersion10, HttpVersion11, web

from oaiproxy.dispatch import Handle
from oaiproxy.errors import ClientError
from oaiproxy.keyring import Holder, Turn
from oaiproxy.middleware import ERROR_BODY, RECORD, STRAY, ErrorBody
from oaiproxy.state import State

HEALTH = frozenset(("/livez", "/readyz", "/", "/health", "/v1/health"))
"""The paths that tell how the process is."""
OPEN = HEALTH | {"/openapi.json"}
"""The paths that want no key."""
HOLDER: web.RequestKey[Holder] = web.RequestKey("holder")
"""Whose key a request came with."""
TURN: web.RequestKey[Turn] = web.RequestKey("turn")
"""That request, as it counts for its key; what asks no backend does not."""


def knock(request: web.Request, state: State) -> None:
    """Look at what any request must have, before anything is done for it. Raises ClientError."""
    if request._version != HttpVersion11 and request._version != HttpVersion10:
        request._version = HttpVersion11  # else the answer says that it speaks the other one, too; `version` is cached
        raise _stray(request, "This server speaks HTTP/1.1 and HTTP/1.0 alone.")
    if request.raw_path[:1] != "/" and (request.method, request.raw_path) != ("OPTIONS", "*"):
        raise _stray(request, "The target of a request is a path here, not a whole address.")
    host = request.headers.get("Host")
    if host is None or host in state.hosts.known:  # without it, no browser asks
        return
    try:
        meant = state.hosts.is_meant(host)
    except ValueError:
        raise _stray(request, "The Host header is malformed.") from None
    if not meant and request.path not in HEALTH:
        message = (
            "This server does not go by the name in the Host header; its configuration lists names: `server.hosts`."
        )
        raise ClientError(message, status=421, code="misdirected_request")


def _stray(request: web.Request, message: str) -> ClientError:
    """What is told of a request that others may have understood otherwise."""
    request[STRAY] = True
    return ClientError(message, code="invalid_request")


def guarded(
    routes: Sequence[web.RouteDef], state: State, errors: Mapping[str, ErrorBody]
) -> tuple[list[web.RouteDef], Callable[[web.Request], bool]]:
    """The routes behind the check of keys, and what says whether that would let a request through.

    It stands around the handlers themselves, so that it is there by whatever path they are reached, and comes before
    their bodies are read. `errors` tells, by paths, how a refusal is told.
    """
    made = [
        route
        if route.path in OPEN
        else web.RouteDef(route.method, route.path, _guard(route, state, errors.get(route.path)), route.kwargs)
        for route in routes
    ]
    return made, lambda request: _welcome(request, state)


def _guard(route: web.RouteDef, state: State, error: ErrorBody | None) -> Handle:
    handler: Handle = route.handler
    counts = route.method == "POST" and not route.path.endswith("/cancel")

    async def handle(request: web.Request) -> web.StreamResponse:
        keys = state.keys
        if keys is None:
            return await handler(request)
        if error is not None:
            request[ERROR_BODY] = error
        holder = keys.holder(request.headers)
        request[RECORD]["key"] = holder.name
        request[HOLDER] = holder
        if not counts:
            return await handler(request)
        turn = request[TURN] = holder.begin()
        try:
            return await handler(request)
        finally:
            turn.leave()

    return handle


def _welcome(request: web.Request, state: State) -> bool:
    try:
        knock(request, state)
        return state.keys is None or bool(state.keys.holder(request.headers))
    except ClientError:
        return False


def owner(request: web.Request) -> str:
    """Whose a request is, for what is kept of it; "" where nobody is asked."""
    holder = request.get(HOLDER)
    return "" if holder is None else holder.name
