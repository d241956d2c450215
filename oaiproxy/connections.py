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

    __slots__ = ("_begun", "_header_timeout", "_rest")

    def __init__(self, *args: Any, header_timeout: float = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout = header_timeout
        self._begun: asyncio.TimerHandle | None = None
        """Runs since the first byte of a request, until its headers are there."""
        self._rest = 0
        """Bytes that are to come of a request's body, behind which the library loses what comes with them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Read on, if there is anything to wait for; else leave this client."""
        _receive(self, data)
        messages = self._messages
        if self._rest:
            self._follow(len(data))
        if messages:
            if getattr(messages[-1][0], "upgrade", False) and not self._upgraded:  # a mistake has none
                self._ignore(len(data))
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

    def _ignore(self, size: int) -> None:
        """Answer a request for another protocol, such as `h2c`, as any other one (RFC 9110, 7.8).

        What comes behind it in the same read is lost in the library, which does not tell: whoever may have sent
        something is told that the connection ends with this answer, so that it is sent again (RFC 9112, 9.6).
        """
        message: Any = self._messages[-1][0]
        head = len(message.method) + len(message.path) + len("  HTTP/1.1\r\n\r\n")
        head += sum(len(name) + len(value) + len(b": \r\n") for name, value in message.raw_headers)
        told = message.headers.get("Content-Length", "0")
        body = int(told) if told.isdigit() and not message.chunked else -1
        if size == head < head + body:
            self._rest = body
        elif body < 0 or size != head + body:
            self._end_with_this()

    def _follow(self, size: int) -> None:
        """More came of such a request's body, or what is behind it."""
        if size > self._rest:
            self._end_with_this()
        self._rest = max(0, self._rest - size)

    def _end_with_this(self) -> None:
        """Let the request that came last be the last one."""
        if self._messages:
            message, payload = self._messages[-1]
            self._messages[-1] = _last(message), payload
        elif self._current_request is not None:
            self._current_request._message = _last(self._current_request._message)
            self.close()  # its answer may have begun
        else:
            self.close()

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


def _last(message: Any) -> Any:
    """The same, as if its client had said that it closes the connection."""
    return message._replace(should_close=True)
