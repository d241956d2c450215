"""The connections to backends, of which some are kept: none that holds what nobody asked for.

What follows an answer would be taken for the next one, which is another client's; and an answer is whole whatever
follows it. RFC 9112, 9.3 to 9.5: https://www.rfc-editor.org/rfc/rfc9112#section-9.3
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

from aiohttp import StreamReader, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

from oaiproxy.errors import BackendError, OverloadedError

STALE_SECONDS = 1.0
"""How soon a kept connection is found dead that the backend had closed already: its word is under way by then."""
MAX_DIGITS = 16
"""How long the length of a body that is looked at may be, written out."""
MAX_READS, READ_BYTES = 16, 64 * 1024
"""How often, and how much at once, is read of what came before a reset."""


_get, _release = TCPConnector._get, TCPConnector._release
_receive, _feed = ResponseHandler.data_received, ResponseHandler.feed_data


class Attempt:
    """One try to send: the connection that was kept, if it goes over one, and whether it or an earlier one was sent."""

    __slots__ = ("asked", "kept", "large", "limit", "seconds", "started")

    def __init__(self, seconds: float = 0.0, *, large: bool = False) -> None:
        last = attempt.get(None)
        self.asked: bool = last is not None and last.asked
        self.kept: _Handler | None = None
        self.limit: asyncio.Timeout | None = None
        """What ends it, if anything does, after so many `seconds`; a wait for a free connection does not count."""
        self.seconds = seconds
        self.large = large
        """Whether so much is sent that an answer may come before the end of it was taken."""
        self.started = asyncio.get_running_loop().time()

    def replaceable(self) -> bool:
        """Whether the backend had closed the connection before the request came, as far as can be known.

        No byte of an answer came, and the end of the connection did at once: later the backend may have begun to work.
        """
        if self.kept is None or self.kept.heard:
            return False
        return asyncio.get_running_loop().time() - self.started < STALE_SECONDS


attempt: ContextVar[Attempt] = ContextVar("attempt")
"""That of the task that sends."""


def was_asked() -> bool:
    """Whether a backend may have seen anything of what this task has sent so far."""
    last = attempt.get(None)
    return last is not None and last.asked


class Connector(TCPConnector):
    """The pool. It notes the attempt for which a connection is used again: tracing tells that too, for 25 µs a request.

    The methods are the library's own, private ones: tests/test_pool.py tells when it changes them.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._patience = 5.0
        made: type[ResponseHandler] = _Handler
        self._factory = partial(made, loop=asyncio.get_running_loop())

    def configure(self, connections: int, patience: float) -> None:
        """Set the bound to one host and port, also anew: what is open stays so. `patience` is in seconds."""
        more = connections - self._limit_per_host
        self._limit_per_host, self._patience = connections, patience
        for waiting in self._waiters.values():
            for called in list(waiting)[: max(more, 0)]:
                if not called.done():
                    called.set_result(None)

    async def _wait_for_available_connection(self, *arguments: Any) -> None:
        tried = attempt.get()
        if tried.limit is not None:
            tried.limit.reschedule(None)
        try:
            async with asyncio.timeout(self._patience):
                await super()._wait_for_available_connection(*arguments)
        except BaseException as error:
            self._release_waiter()  # this one may have been called when it gave up, and the library calls no other one
            if not isinstance(error, TimeoutError):
                raise
            raise overloaded("all connections to the backend are in use") from None
        if tried.limit is not None:
            tried.limit.reschedule(asyncio.get_running_loop().time() + tried.seconds)

    async def _create_connection(self, *arguments: Any) -> Any:
        """A new connection; from now on it may be written to."""
        protocol = await super()._create_connection(*arguments)
        assert isinstance(protocol, _Handler)
        tried = attempt.get()
        tried.asked, protocol.large = True, tried.large
        return protocol

    async def _get(self, key: Any, traces: Any) -> Any:
        """A connection that was kept, if there is one; it too may be written to."""
        connection = await _get(self, key, traces)
        if connection is not None:
            protocol = connection.protocol
            assert isinstance(protocol, _Handler)
            protocol.idle = protocol.heard = protocol.halted = False
            tried = attempt.get()
            tried.asked, tried.kept, protocol.large = True, protocol, tried.large
        return connection

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        assert isinstance(protocol, _Handler)
        protocol.idle = True
        should_close = should_close or protocol.holds_more
        if should_close and protocol.holds_back:
            protocol.break_off()
        _release(self, key, protocol, should_close=should_close)


class _Handler(ResponseHandler):
    """One connection."""

    idle = False
    """Whether no answer is awaited."""
    heard = False
    """Whether anything came since it was last taken."""
    large = False
    """Whether the request is a large one."""
    halted = False
    """Whether reading was paused since it was last taken: only then may the library hold back what it has read."""
    _reading = False

    def pause_reading(self) -> None:
        """Read no more."""
        self.halted = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on. The library wants that after each read of a body, and it costs as much as to receive one.

        That `_reading_paused` is false does not say that nothing is held back.
        """
        if self.halted:
            super().resume_reading(resume_parser)

    def data_received(self, data: bytes) -> None:
        """Read what came. The head of an answer is read alone, so that it is not lost to what follows its body."""
        if self.idle:
            if data:  # none: the library goes on with what it held back, which is nothing
                self.close()
            return
        self._reading = self.heard = True
        if self._payload is None or self._payload.is_eof():
            end = data.find(b"\r\n\r\n") + 4
            if 4 <= end < len(data) and not _is_one_answer(data, end):
                _receive(self, data[:end])
                data = data[end:]
        if self._exception is None:
            _receive(self, data)
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
        """Take the head of an answer. After one that is not final nothing can be asked any more.

        Nor after one that refuses what may not have been read to its end, if it ever will.
        """
        if data[0].code < 100 or data[0].code == 101 or (self.large and data[0].code >= 400):
            self.force_close()
        _feed(self, data, size)

    def break_off(self) -> None:
        """Close it at once, where closing would wait until the backend takes what nobody wants to be sent any more."""
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        if sock is not None:
            with suppress(OSError):  # left to itself, the kernel goes on for minutes with what it has
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    @property
    def holds_back(self) -> bool:
        """Whether a part of the request was not sent yet; with TLS, which does not tell, whether that may be."""
        transport = self.transport
        if transport is None:
            return False
        return transport.get_write_buffer_size() > 0 or (
            self.large and transport.get_extra_info("ssl_object") is not None
        )

    @property
    def holds_more(self) -> bool:
        """Whether more than one answer came, be it the beginning of another."""
        if self.should_close:
            return True
        # The parser must not be asked while it reads: it is then within the answer that just ended.
        return not self._reading and self._parser is not None and self._parser.feed_eof() is not None


def _is_one_answer(data: bytes, end: int) -> bool:
    """Whether nothing can follow the answer whose head ends there: a plain one, of at least so many bytes.

    Such a one is read at once, for it costs twice the time to read its head alone.
    """
    head = data[:end].lower()
    place = head.find(b"\r\ncontent-length:")
    # Some of another status have no body, whatever their heads say.
    if place < 0 or head[:13] != b"http/1.1 200 " or head.find(b"transfer-encoding") >= 0:
        return False
    told = head[place + 17 : head.find(b"\r", place + 17)].strip()
    return told.isdigit() and len(told) < MAX_DIGITS and len(data) - end <= int(told)


def overloaded(detail: str) -> BackendError:
    """Our own limits keep a request from its backend, which has not seen it."""
    told = OverloadedError(detail=detail)
    return BackendError(
        told.message,
        status=told.status,
        type=told.type,
        code=told.code,
        detail=detail,
        retry_after=told.retry_after,
        retry=told.retry,
    )
