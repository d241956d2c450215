"""The connections to backends, of which some are kept: none that holds what nobody asked for.

What follows an answer would be taken for the next one, which is another client's; and an answer is whole whatever
follows it. RFC 9112, 9.3 to 9.5: https://www.rfc-editor.org/rfc/rfc9112#section-9.3
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

from aiohttp import StreamReader, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

MAX_READS, READ_BYTES = 16, 64 * 1024
"""How often, and how much at once, is read of what came before a reset."""


class Attempt:
    """One try to send: whether it went over a connection that was kept."""

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = True


attempt: ContextVar[Attempt] = ContextVar("attempt")
"""That of the task that sends."""


class Connector(TCPConnector):
    """The pool. It notes the attempt for which a connection is made: tracing tells that too, for 25 µs of each request.

    The methods are the library's own, private ones: tests/test_pool.py tells when it changes them.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        made: type[ResponseHandler] = _Handler
        self._factory = partial(made, loop=asyncio.get_running_loop())

    async def _create_connection(self, *arguments: Any) -> Any:
        attempt.get().reused = False
        return await super()._create_connection(*arguments)

    async def _get(self, *arguments: Any) -> Any:
        connection = await super()._get(*arguments)
        if connection is not None:
            assert isinstance(connection.protocol, _Handler)
            connection.protocol.idle = False
        return connection

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        assert isinstance(protocol, _Handler)
        protocol.idle = True
        super()._release(key, protocol, should_close=should_close or protocol.holds_more)


class _Handler(ResponseHandler):
    """One connection."""

    idle = False
    """Whether no answer is awaited."""
    _reading = False

    def data_received(self, data: bytes) -> None:
        """Read what came. The head of an answer is read alone, so that it is not lost to what follows its body."""
        if self.idle:
            if data:  # none: the library goes on with what it held back, which is nothing
                self.close()
            return
        self._reading = True
        if self._payload is None or self._payload.is_eof():
            end = data.find(b"\r\n\r\n") + 4
            if 4 <= end < len(data):
                super().data_received(data[:end])
                data = data[end:]
        if self._exception is None:
            super().data_received(data)
        self._reading = False
        if self.idle and self.holds_more:
            self.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The end. A backend that refuses what is too long may answer and reset while we send: its answer counts."""
        if isinstance(exc, OSError) and not self.idle:
            for data in self._unread():
                self.data_received(data)
        super().connection_lost(exc)

    def _unread(self) -> Iterator[bytes]:
        """What came before a reset that a write met: asyncio's own loop leaves it in the socket, still open."""
        transport, loop = self.transport, self._loop
        if (
            not isinstance(loop, asyncio.SelectorEventLoop)
            or transport is None
            or transport.get_extra_info("ssl_object")
        ):
            return
        with suppress(OSError):
            for _ in range(MAX_READS):
                data = os.read(transport.get_extra_info("socket").fileno(), READ_BYTES)
                if not data:
                    return
                yield data

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take the head of an answer. After one that is not final nothing can be asked any more."""
        if data[0].code < 100 or data[0].code == 101:
            self.force_close()
        super().feed_data(data, size)

    @property
    def holds_more(self) -> bool:
        """Whether more than one answer came, be it the beginning of another."""
        if self.should_close:
            return True
        # The parser must not be asked while it reads: it is then within the answer that just ended.
        return not self._reading and self._parser is not None and self._parser.feed_eof() is not None
