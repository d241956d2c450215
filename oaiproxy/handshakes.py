"""Clients that agree on TLS before they are served: they count from the first moment, and get what is valid then."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, cast

from oaiproxy.crowd import Crowd

SPARE = 16
"""Connections beyond their bound that may agree on TLS, so that they can be told; others are just closed."""


class Handshakes:
    """Makes the connections of a server that has TLS. `serve` makes what serves one, and counts it.

    The `context` may be replaced. Whoever has not agreed on TLS within `patience` seconds, if that is any, is left.
    """

    def __init__(
        self, serve: Callable[[], asyncio.Protocol], crowd: Crowd, context: ssl.SSLContext, patience: float
    ) -> None:
        self.context = context
        self._serve = serve
        self._crowd = crowd
        self._patience = patience or None
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self) -> asyncio.Protocol:
        """A connection that is about to be made."""
        return _Arrival(self)

    def close(self) -> None:
        """Leave all who have not agreed yet."""
        for task in self._tasks:
            task.cancel()

    def begin(self, transport: asyncio.Transport) -> None:
        """Agree with a client, if there is room."""
        if self._crowd.count >= self._crowd.limit + SPARE:
            self._crowd.tell()
            transport.abort()
            return
        self._crowd.count += 1
        loop, early = asyncio.get_running_loop(), _Early()
        agreeing = loop.start_tls(
            transport, early, self.context, server_side=True, ssl_handshake_timeout=self._patience
        )
        # Its first step is done here: by the first one of a task, there may be bytes that nobody would get.
        task = loop.create_task(self._agree(_resumed(agreeing, agreeing.send(None)), early))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _agree(self, agreeing: Awaitable[asyncio.Transport | None], early: _Early) -> None:
        try:
            made = await agreeing
        except OSError:  # it left, took too long, has no certificate that is wanted, or speaks something else
            return
        finally:
            self._crowd.count -= 1
        if made is not None and not made.is_closing():
            early.follow(made, self._serve())


@coroutine
def _resumed(begun: Coroutine[Any, Any, asyncio.Transport | None], waits_for: Any) -> Generator[Any, Any, Any]:
    """What is left of a coroutine that waits for something already."""
    yield waits_for
    return (yield from begun.__await__())


class _Arrival(asyncio.Protocol):
    """A connection that has just been made."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._handshakes.begin(cast("asyncio.Transport", transport))


class _Early(asyncio.Protocol):
    """Keeps what a client sends right behind its part of the agreement, until there is somebody to serve it."""

    def __init__(self) -> None:
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self._data += data

    def follow(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Let `protocol` go on."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._data:
            protocol.data_received(self._data)
