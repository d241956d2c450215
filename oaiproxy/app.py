"""The composition root: a configuration and its mappings to a running server."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.typedefs import Middleware

from oaiproxy import descriptors, message_routes
from oaiproxy.backend import BackendClient
from oaiproxy.buffers import bound_sending
from oaiproxy.config import Config
from oaiproxy.connections import BoundedConnection
from oaiproxy.cors import Cors
from oaiproxy.crowd import CROWD, Counted
from oaiproxy.dispatch import install
from oaiproxy.endpoints import messages
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.entry import guarded, knock
from oaiproxy.handlers import routes
from oaiproxy.listening import listening
from oaiproxy.logs import LibraryHandler, Log, Throttle
from oaiproxy.mapping import Mapping
from oaiproxy.middleware import boundary, unreadable
from oaiproxy.routes import Routes
from oaiproxy.sender import Sender
from oaiproxy.state import State
from oaiproxy.succession import Changes, Succession
from oaiproxy.tokens import Tokenizer

MAX_REFUSALS = 10
"""Lines of the log about what is no request, in a second; more are left out and counted."""
MAX_SHOWN = 100
"""Models that are logged at the start."""
MAX_LINE = 8190
"""Bytes of a request's first line, and of one header."""
STUCK_SECONDS = 0.1
"""How long each of two tries may take to end a connection whose request did not end in time."""
LINGER_SECONDS = 2
"""How long the rest of a body that nobody wants is read, so that its sender gets to read the answer."""


class Refusals:
    """What the log says of clients' mistakes that make no request: some of them, for they cost their client nothing."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._throttle = Throttle(MAX_REFUSALS)

    def tell(self, client: str | None, status: int, kind: str) -> None:
        """Tell of one."""
        if self._throttle.passes():
            self._log.write("info", "refused", client=client, status=status, kind=kind, **self._throttle.noted())


REFUSALS = web.AppKey("refusals", Refusals)


class Connection(Counted, BoundedConnection):
    """A client's connection: what is no HTTP, or cannot be decoded, is refused in the words of any other error."""

    write_timeout = 0.0
    """Seconds for its client to take what is sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        bound_sending(transport, self.write_timeout)
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The library's answer, in our words; a client that left is told nothing, and is no failure."""
        if isinstance(exc, ConnectionError):
            raise ConnectionResetError("the client left") from exc
        if status < 500:
            if request.writer.output_size:
                raise ConnectionResetError("an answer has begun") from exc
            status = 431 if isinstance(exc, LineTooLong) else status
            refusals: Refusals = vars(self._manager)["refusals"]
            refusals.tell(request.remote, status, type(exc).__name__)
            refusal = unreadable(status, request.headers)
            refusal.force_close()
            return refusal
        refused = super().handle_error(request, status, exc, message)
        answer = unreadable(status, request.headers)
        for name in refused.headers.keys() - {"Content-Type", "Content-Length"}:
            answer.headers[name] = refused.headers[name]
        answer.force_close()
        return answer


class Server(web.Server):
    """A server of such connections."""

    write_timeout = 0.0

    def __call__(self) -> web.RequestHandler:
        made = Connection(self, loop=self._loop, **self._kwargs)
        made.write_timeout = self.write_timeout
        return made


class Runner(web.AppRunner):
    """The library's runner, for that server."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = Server
        vars(server)["crowd"] = self.app[CROWD]
        vars(server)["refusals"] = self.app[REFUSALS]
        return server


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens. `url` is where clients point their `base_url`, without the `/v1`."""

    url: str
    state: State
    succession: Succession
    socket: str | None = None
    """The path of the Unix socket, where it listens on one; `url` then only names the server."""

    @property
    def mocked(self) -> frozenset[str]:
        """The mappings whose backend is their own examples."""
        generation = self.state.generation
        return generation.mocked if generation is not None else frozenset()

    async def reload(self, config: Config, mappings: Sequence[tuple[Mapping, Path]]) -> Changes:
        """Serve these from now on, in place of the others. Raises OSError, and nothing is changed."""
        return await self.succession.take(config, mappings)


def create_app(state: State, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The application: endpoints and what surrounds them; `middlewares` stand around all that, outermost first."""
    server = state.server
    cors = Cors(**server.cors)
    around = [*middlewares, boundary(state.log, cors, lambda: state.bounds, partial(knock, state=state))]
    app = web.Application(middlewares=around, client_max_size=server.max_body)
    app[CROWD] = state.crowd
    app[REFUSALS] = Refusals(state.log)
    errors = {**{door.path: door.error for door in DOORS.values()}, **message_routes.ERRORS}
    behind, welcome = guarded(routes(state), state, errors)
    install(app, behind, cors, errors, {messages.error: messages.REQUEST_ID}, welcome)

    def take(config: Config) -> None:
        cors.configure(**config.server.cors)
        app._client_max_size = config.server.max_body

    state.configured.append(take)
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
        await tokenizer.count([])
        state = State(Routes((), 0), client, sender, tokenizer, log, config.server)
        state.watch()
        stack.callback(state.memory.close)
        stack.callback(_reserve(log).close)
        succession = Succession(state)
        stack.push_async_callback(succession.close)
        await succession.take(config, mappings)
        del mappings  # others may take their place
        runner = Runner(
            create_app(state, middlewares),
            handler_cancellation=True,
            access_log=None,
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=STUCK_SECONDS,
            logger=logging.getLogger("oaiproxy.http"),
        )
        await runner.setup()
        state.configured.append(lambda config: _bound(runner, config))
        _bound(runner, config)
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
            yield Running(url, state, succession, config.server.socket)
        finally:
            state.ready = False
            await state.pause(state.server.lame_duck)
            await site.stop()
            await state.drain(state.server.shutdown_timeout)


def _bound(runner: web.AppRunner, config: Config) -> None:
    """Set the times and the lengths of connections that are made from now on."""
    assert isinstance(runner.server, Server)
    line = min(MAX_LINE, config.limits.headers)
    runner.server._kwargs.update(
        keepalive_timeout=config.server.keepalive_timeout,
        header_timeout=config.server.header_timeout,
        max_line_size=line,
        max_field_size=line,
    )
    runner.server.write_timeout = config.server.write_timeout


def _reserve(log: Log) -> descriptors.Reserve:
    """What sheds connections for which no file is left; the log tells of them now and then."""
    throttle = Throttle(1)

    def tell(closed: int) -> None:
        if throttle.passes():
            log.write("warning", "no_files", closed=closed, **throttle.noted())

    return descriptors.Reserve(asyncio.get_running_loop(), tell)


def _quiet_libraries(log: Log, stack: AsyncExitStack) -> None:
    """Send what libraries log to our log, and nowhere else; what they warn of in a client's form is its own matter."""
    stack.enter_context(warnings.catch_warnings())
    for category in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.simplefilter("ignore", category)  # else each is printed, and kept for good
    warnings.filterwarnings("ignore", "Sending a large body", ResourceWarning)  # which is one write of what is here
    handler = LibraryHandler(log)
    for name in ("aiohttp", "asyncio", "oaiproxy"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        stack.callback(setattr, logger, "propagate", logger.propagate)
        logger.propagate = False
