"""The routes in an application, what every answer has, and the many other paths that lead to the same handlers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from aiohttp import HttpVersion11, hdrs, web

from oaiproxy.cors import Cors
from oaiproxy.middleware import ERROR_BODY, RECORD, REQUEST_ID, ErrorBody
from oaiproxy.paths import Table

PROCESSING = "openai-processing-ms"
DEPLOYMENT = "deployment"
"""In what a path matched: the model that it names."""
Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def install(
    app: web.Application,
    routes: Sequence[web.RouteDef],
    cors: Cors,
    errors: Mapping[str, ErrorBody] = MappingProxyType({}),
    ids: Mapping[ErrorBody, str] = MappingProxyType({}),
    welcome: Callable[[web.Request], bool] = lambda _: True,
) -> None:
    """Add the routes, and behind them one for all other paths, so that those cost the usual ones nothing.

    `errors` tells, by the paths of routes, how a method that they do not serve is refused; `ids`, by how errors are
    told, the further header in which those clients look for the request's id; `welcome`, whether a request's body will
    be read.
    """
    handlers: dict[str, dict[str, Handle]] = {}
    for route in routes:
        methods = handlers.setdefault(route.path, {})
        methods[route.method] = route.handler
        if route.method == hdrs.METH_GET:
            methods[hdrs.METH_HEAD] = route.handler
    table = Table(handlers)

    async def expect(request: web.Request) -> None:
        """Ask for the body, but not for one that will not be read (RFC 9110, 10.1.1)."""
        wanted = request.headers.get("Expect", "").lower() == "100-continue"
        if not wanted or request.version < HttpVersion11 or (request.content_length or 0) > request.client_max_size:
            return
        found = table.find(request.rel_url.path_safe)
        if found is not None and request.method in handlers[found.pattern] and welcome(request):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        """A path that is written otherwise, or a method that is not served."""
        found = table.find(request.rel_url.path_safe)
        if found is None:
            raise web.HTTPNotFound
        methods = handlers[found.pattern]
        allowed = sorted({*methods, hdrs.METH_OPTIONS})
        if request.method == hdrs.METH_OPTIONS:
            told = ", ".join(allowed)
            return web.Response(status=204, headers={"Allow": told, **cors.preflight(request.headers, told)})
        handler = methods.get(request.method)
        if handler is None:
            if found.pattern in errors:
                request[ERROR_BODY] = errors[found.pattern]
            raise web.HTTPMethodNotAllowed(request.method, allowed)
        request.match_info.clear()
        request.match_info.update(found.fields)
        if found.deployment is not None:
            request.match_info[DEPLOYMENT] = found.deployment
        return await handler(request)

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        """Give an answer that begins what every answer has."""
        record, headers = request.get(RECORD), response.headers
        if record is not None:
            headers[REQUEST_ID] = identity = str(record["request_id"])
            headers[PROCESSING] = str(round((time.perf_counter() - record.started) * 1000))
            body = request.get(ERROR_BODY)
            if body is not None and body in ids:
                headers[ids[body]] = identity
        if granted := cors.granted(request.headers.get("Origin")):
            headers.update(granted)

    for path, methods in handlers.items():
        for method, handler in methods.items():
            app.router.add_route(method, path, handler, expect_handler=expect)
    app.router.add_route("*", "/{path:.*}", elsewhere, expect_handler=expect)
    app.on_response_prepare.append(mark)
