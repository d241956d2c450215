"""The composition root: a configuration and its mappings to a running server."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Middleware

from oaiproxy import message_routes
from oaiproxy.backend import BackendClient
from oaiproxy.backends import MOCK_URL
from oaiproxy.config import Config
from oaiproxy.connections import BoundedConnection
from oaiproxy.cors import Cors
from oaiproxy.discovery import Discovery
from oaiproxy.dispatch import install
from oaiproxy.endpoints import messages
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.entry import guarded, knock
from oaiproxy.handlers import routes
from oaiproxy.hosts import meant_hosts
from oaiproxy.keyring import Keyring
from oaiproxy.listening import listening
from oaiproxy.logs import LibraryHandler, Log
from oaiproxy.mapping import Mapping
from oaiproxy.middleware import boundary, unreadable
from oaiproxy.mock import answers, mock_app
from oaiproxy.reading import file_reader
from oaiproxy.routes import Routes
from oaiproxy.sender import Sender
from oaiproxy.state import State
from oaiproxy.tokens import Tokenizer

MAX_SHOWN = 100
"""Models that are logged at the start."""
LINGER_SECONDS = 2
"""How long the rest of a body that nobody wants is read, so that its sender gets to read the answer."""


class Connection(BoundedConnection):
    """A client's connection: what is no HTTP, or cannot be decoded, is refused in the words of any other error."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The library's answer, in our words."""
        refused = super().handle_error(request, status, exc, message)
        answer = unreadable(431 if isinstance(exc, LineTooLong) else status, request.headers)
        for name in refused.headers.keys() - {"Content-Type", "Content-Length"}:
            answer.headers[name] = refused.headers[name]
        answer.force_close()
        return answer


class Server(web.Server):
    """A server of such connections."""

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """The library's runner, for that server."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = Server
        return server


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens. `url` is where clients point their `base_url`, without the `/v1`."""

    url: str
    state: State
    mocked: frozenset[str]
    """The mappings whose backend is their own examples."""
    socket: str | None = None
    """The path of the Unix socket, where it listens on one; `url` then only names the server."""


def create_app(state: State, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The application: endpoints and what surrounds them; `middlewares` stand around all that, outermost first."""
    server = state.server
    cors = Cors(**server.cors)
    around = [*middlewares, boundary(state.log, cors, lambda request: knock(request, state))]
    app = web.Application(middlewares=around, client_max_size=server.max_body)
    errors = {**{door.path: door.error for door in DOORS.values()}, **message_routes.ERRORS}
    behind, welcome = guarded(routes(state), state, errors)
    install(app, behind, cors, server.max_body, errors, {messages.error: messages.REQUEST_ID}, welcome)
    return app


@asynccontextmanager
async def serve(
    config: Config,
    mappings: Sequence[tuple[Mapping, Path]],
    tokenizer: Tokenizer | None = None,
    middlewares: Sequence[Middleware] = (),
) -> AsyncIterator[Running]:
    """Serve until the block is left; then requests under way may finish. The one way in, for command and tests.

    A `tokenizer` that is given is used as it is, and not closed; `middlewares` see every request first.
    """
    async with AsyncExitStack() as stack:
        log = Log(config.log_level)
        stack.callback(log.close)
        _quiet_libraries(log, stack)
        client = BackendClient(config.limits.connections)
        stack.push_async_callback(client.close)
        sender = Sender(client)
        stack.push_async_callback(sender.close)
        if tokenizer is None:
            tokenizer = Tokenizer()
            stack.callback(tokenizer.close)
        tokenizer.warm()
        ready = [await _with_backend(mapping, path, stack) for mapping, path in mappings]
        await tokenizer.count([])
        created = int(time.time())
        state = State(Routes(ready, created), client, sender, tokenizer, log, config.server)
        state.keys = Keyring(config.keys) if config.keys else None
        closed = bool(config.keys or config.server.tls or config.server.socket)
        state.hosts = meant_hosts(config.server.host, config.server.hosts, closed)
        await _discover(ready, state, stack, created)
        runner = Runner(
            create_app(state, middlewares),
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=config.server.keepalive_timeout,
            header_timeout=config.server.header_timeout,
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=1,
            logger=logging.getLogger("oaiproxy.http"),
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site, url = await stack.enter_async_context(listening(runner, config.server, log))
        state.ready = True
        parts = urlsplit(url)
        where: dict[str, Any] = {"host": parts.hostname, "port": parts.port}
        if config.server.socket is not None:
            where = {"socket": config.server.socket}
        if config.server.tls:
            where["tls"] = True
        log.write(
            "info",
            "listening",
            **where,
            models=[model["id"] for model in state.routes.models()][:MAX_SHOWN],
        )
        try:
            mocked = frozenset(mapping.name for mapping, _ in mappings if mapping.backend.url == MOCK_URL)
            yield Running(url, state, mocked, config.server.socket)
        finally:
            state.ready = False
            await site.stop()
            await state.drain(config.server.shutdown_timeout)


@asynccontextmanager
async def serve_mock(mapping: Mapping, path: Path, host: str, port: int) -> AsyncIterator[str]:
    """Serve a mapping's examples as its backend; gives the base address."""
    runner = web.AppRunner(mock_app(answers(mapping, file_reader(path.parent))), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()


async def _discover(mappings: Sequence[Mapping], state: State, stack: AsyncExitStack, created: int) -> None:
    """Ask the backends for their models, where mappings say so."""
    if all(mapping.model_list is None for mapping in mappings):
        return

    def publish(found: list[Mapping]) -> None:
        state.routes = Routes(found, created)

    state.discovery = Discovery(mappings, state.sender, state.log, publish)
    stack.push_async_callback(state.discovery.close)
    await state.discovery.start()


async def _with_backend(mapping: Mapping, path: Path, stack: AsyncExitStack) -> Mapping:
    """The mapping with an address that can be called: `mock:` becomes a backend of its own on loopback."""
    if mapping.backend.url != MOCK_URL:
        return mapping
    url = await stack.enter_async_context(serve_mock(mapping, path, "127.0.0.1", 0))
    return replace(mapping, backend=replace(mapping.backend, url=url, local=True, auth=None))


def _quiet_libraries(log: Log, stack: AsyncExitStack) -> None:
    """Send what libraries log to our log, and nowhere else; what they warn of in a client's form is its own matter."""
    stack.enter_context(warnings.catch_warnings())
    for category in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.simplefilter("ignore", category)  # else each is printed, and kept for good
    handler = LibraryHandler(log)
    for name in ("aiohttp", "asyncio", "oaiproxy"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        stack.callback(setattr, logger, "propagate", logger.propagate)
        logger.propagate = False
