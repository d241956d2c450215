"""Where the bytes of an answer go: to a client that waits for them, or to where they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from aiohttp import web

from oaiproxy.clocks import Clock
from oaiproxy.config import Server
from oaiproxy.endpoints.encoding import EVENT_STREAM
from oaiproxy.exchange import Exchange
from oaiproxy.fallbacks import Fallbacks
from oaiproxy.heartbeat import Heartbeat
from oaiproxy.middleware import RECORD

DROPPED = "x-oaiproxy-dropped"
EVENTS = "text/event-stream"
SMALL = 32 * 1024
"""Bytes that an empty write buffer takes at once, so that no client can stall their write."""
Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)


class Outlet(Protocol[Made_co]):
    """Takes an answer: whole, or in writes of whole events and an end. What it makes of it is returned by the last."""

    @property
    def begun(self) -> bool:
        """Whether anything was written: a failure is then told there, for it is too late to raise it."""
        ...

    async def write(self, data: bytes, clock: Clock | None = None) -> None:
        """Take whole events, or nothing; while that waits for somebody, the backend's clock stands still."""
        ...

    async def end(self, data: bytes) -> Made_co:
        """Take the last events."""
        ...

    async def whole(self, data: bytes) -> Made_co:
        """Take an answer that is not streamed."""
        ...

    async def break_off(self, told: bytes) -> Made_co:
        """Take what tells of a failure after what was written."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


class HeldResponse(web.StreamResponse):
    """A response whose headers leave together with its first bytes: one packet and one system call less."""

    _send_headers_immediately = False

    def chunk(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Send a chunk (RFC 9112, 7.1) after the headers: `write` does more, for several times the work."""
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))


class ClientOutlet:
    """The connection of the client that asked. Who writes waits for a slow client, though not for ever.

    `headers` gives those of the answer once it begins: what a sound is, its backend says. `commented` is a stream of
    events, where comments can stand.
    """

    def __init__(
        self, request: web.Request, server: Server, headers: Callable[[], Mapping[str, str]], *, commented: bool
    ) -> None:
        self._request = request
        self._write_timeout = server.write_timeout
        self._headers = headers
        self._response: HeldResponse | None = None
        self._chunked = False
        """Whether the headers are out, and what follows them is chunks."""
        self._heartbeat = Heartbeat(server.keepalive_comments if commented else 0, self._comment)

    @property
    def begun(self) -> bool:
        """Whether the status was sent."""
        return self._response is not None

    async def write(self, data: bytes, clock: Clock | None = None) -> None:
        """Write whole events, or nothing."""
        self._heartbeat.event()
        response = self._response
        if response is None:
            response = self._response = HeldResponse(headers=self._headers())
            await response.prepare(self._request)
        transport = self._request.transport
        if transport is None or (len(data) <= SMALL and transport.get_write_buffer_size() == 0):
            if self._chunked and data and transport is not None and not transport.is_closing():
                response.chunk(transport, data)
                return
            await response.write(data)
            self._chunked = "Transfer-Encoding" in response.headers
            return
        if clock is not None:
            clock.pause()
        await self._patiently(response.write(data))
        if clock is not None:
            clock.renew()

    async def end(self, data: bytes) -> web.StreamResponse:
        """The end of a stream."""
        self._heartbeat.stop()
        await self.write(data)
        assert self._response is not None
        await self._patiently(self._response.write_eof())
        return self._response

    async def whole(self, data: bytes) -> web.StreamResponse:
        """The whole response, which the server sends where it is small."""
        response = web.Response(body=data, headers=self._headers())
        if len(data) > SMALL:
            await response.prepare(self._request)
            await self._patiently(response.write_eof())
        return response

    async def break_off(self, told: bytes) -> web.StreamResponse:
        """Tell of the failure, then close without the body's end: no client takes that for a complete answer."""
        self._heartbeat.stop()
        if told:
            await self.write(told)
        if self._request.transport is not None:
            self._request.transport.close()
        assert self._response is not None
        return self._response

    def close(self) -> None:
        """No comment from now on."""
        self._heartbeat.stop()

    async def _comment(self, comment: bytes) -> None:
        """Write a comment, where that waits for nobody; it is between two events, for those are written whole."""
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size() == 0:
            await self.write(comment)

    async def _patiently(self, writing: Awaitable[None]) -> None:
        """Write; a client that does not read for too long is given up."""
        try:
            async with asyncio.timeout(self._write_timeout):
                await writing
        except TimeoutError:
            self._request[RECORD]["stalled"] = True
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client does not read") from None


def to_client(
    request: web.Request, server: Server, exchange: Exchange, fallbacks: Fallbacks | None = None
) -> ClientOutlet:
    """The outlet of an exchange, or of one of its fallbacks, to the client that asked for it."""
    commented = exchange.encoder.content_type.startswith(EVENTS)

    def headers() -> dict[str, str]:
        return _headers(exchange) if fallbacks is None else _headers(fallbacks.exchange) | fallbacks.headers

    return ClientOutlet(request, server, headers, commented=commented)


def _headers(exchange: Exchange) -> dict[str, str]:
    """The headers of an answer, beside those that every one has."""
    encoder = exchange.encoder
    headers = stream_headers(encoder.content_type) if encoder.streams else {"Content-Type": encoder.content_type}
    if exchange.dropped:
        headers[DROPPED] = ", ".join(exchange.dropped)
    return headers


def stream_headers(content_type: str = EVENT_STREAM) -> dict[str, str]:
    """The headers of a stream."""
    return {"Content-Type": content_type, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
