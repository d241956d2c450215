"""A client's connection, as the library has it, with bounds that the library does not have.

It closes a connection that is slow with its headers, and one on which requests queue up: of those the library reads no
more, and so would not see that the client has left, while its backend works on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

MAX_QUEUED = 4
"""Requests that may wait behind the one that is being answered."""


_receive = web.RequestHandler.data_received


class BoundedConnection(web.RequestHandler):
    """The library's connection. `header_timeout` is how long a request's headers may take, in seconds.

    A client that closes its sending side has left, for all that is known here: the library closes the connection.
    """

    __slots__ = ("_begun", "_header_timeout")

    def __init__(self, *args: Any, header_timeout: float = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout = header_timeout
        self._begun: asyncio.TimerHandle | None = None
        """Runs since the first byte of a request, until its headers are there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Read on, if there is anything to wait for; else leave this client."""
        _receive(self, data)
        messages = self._messages
        if messages:
            if self._begun is not None:
                self._end()
            if self._reading_paused or len(messages) > MAX_QUEUED:
                busy = self._current_request is not None
                # A body behind the request that is being answered stops the reading, too.
                stuck = self._reading_paused and busy and not messages[-1][1].is_eof()
                if stuck or len(messages) > MAX_QUEUED + (not busy):
                    self._leave()
        elif self._upgraded and self._buffer_paused:  # so does what follows a request for another protocol
            self._leave()
        elif self._begun is None and self._waiter is not None and data:
            self._begin()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        if self._header_timeout:
            self._begun = self._loop.call_later(self._header_timeout, self._late)

    def _end(self) -> None:
        if self._begun is not None:
            self._begun.cancel()
            self._begun = None

    def _late(self) -> None:
        """The headers took too long."""
        self._begun, transport = None, self.transport
        self.force_close()
        if transport is not None and not transport.get_write_buffer_size():
            transport.abort()  # by TLS, it would wait for the client to agree on that, too

    def _leave(self) -> None:
        """Break off the connection, and with it the request that is being answered."""
        self._force_close = True
        if self.transport is not None:
            self.transport.abort()
