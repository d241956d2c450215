"""Backends behind a websocket (RFC 6455): the body goes out as the first message, and each that comes is a frame.

A reply's bytes are its messages behind their lengths, as the framing `messages` reads them, so that all that reads a
body reads a socket too. Nothing is read ahead of whoever reads, so that a slow client slows the backend.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress

import aiohttp
from aiohttp import ClientSession, WSMsgType
from yarl import URL

from oaiproxy.buffers import to_backend
from oaiproxy.errors import BackendError
from oaiproxy.exchange import BackendRequest
from oaiproxy.framing import EMPTY, too_large
from oaiproxy.pool import Attempt, Connector, attempt
from oaiproxy.stages import encode_length

CLOSE_SECONDS = 1.0
"""How long a backend may take to answer that we close."""
_NORMAL = (None, 1000, 1001, 1005)
"""Codes of a close that ends an answer (RFC 6455, 7.4.1)."""
_PROTOCOL, _BROKEN, _NO_TEXT, _TOO_LARGE = 1002, 1006, 1007, 1009
LARGE = 1024 * 1024
"""Bytes of a first message that a backend may leave unread."""
DNS_SECONDS = 30
"""How long the addresses of a name are kept."""


class RefusedError(Exception):
    """A handshake that was answered as any request; the response is to be read and closed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        super().__init__(response.status)
        self.response = response


class SocketReply:
    """A socket that is open. Release or close it always."""

    status = 200
    headers: Mapping[str, str] = EMPTY

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse[bool], closing: set[asyncio.Task[None]], max_message: int
    ) -> None:
        self._socket = socket
        self._max_message = max_message
        self._closing = closing

    async def read(self) -> bytes:
        """The next message behind its length, b"" at the end. Raises BackendError when the socket breaks."""
        message = await self._socket.receive()
        match message.type:
            case WSMsgType.TEXT:
                return encode_length(str(message.data).encode("utf-8", "replace"))
            case WSMsgType.BINARY:
                return encode_length(bytes(message.data))
        code = self._socket.close_code
        if message.type is WSMsgType.ERROR and code == _TOO_LARGE:
            raise too_large(self._max_message)
        if message.type is WSMsgType.ERROR and code == _NO_TEXT:
            raise BackendError("the backend's message is not valid UTF-8", code="upstream_invalid_utf8", retry=False)
        if message.type is WSMsgType.ERROR and code == _PROTOCOL:
            detail = str(message.data)[:300]
            raise BackendError(
                "the backend's socket breaks the protocol", code="upstream_protocol_error", detail=detail, retry=False
            )
        if message.type is WSMsgType.ERROR or code == _BROKEN:
            detail = type(message.data).__name__ if message.data is not None else "no close came"
            raise BackendError("the connection to the backend broke", code="upstream_reset", detail=detail)
        if code not in _NORMAL:
            detail = str(message.extra or "")[:300]
            raise BackendError(f"the backend closed the socket with code {code}", code="upstream_closed", detail=detail)
        return b""

    def release(self) -> None:
        """Close it: a socket is used once."""
        self.close()

    def close(self) -> None:
        """Say that nothing more is wanted, and close."""
        task = asyncio.get_running_loop().create_task(self._end())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close()


class Sockets:
    """Opens sockets to any backend."""

    def __init__(self, connections: int) -> None:
        self._closing: set[asyncio.Task[None]] = set()
        self._connector = Connector(
            limit=0,
            limit_per_host=connections,
            force_close=True,
            ttl_dns_cache=DNS_SECONDS,
            socket_factory=to_backend,
        )
        self._session = _session(self._connector)

    def configure(self, connections: int, patience: float) -> None:
        """Bound the sockets to one host and port, and the seconds that a request waits for one."""
        self._connector.configure(connections, patience)

    async def open(
        self,
        request: BackendRequest,
        connect_timeout: float,
        context: ssl.SSLContext | bool = True,
        server_name: str | None = None,
    ) -> SocketReply:
        """Open a socket and send the body. Raises RefusedError, BackendError, and what aiohttp raises."""
        tried = Attempt(connect_timeout, large=request.body is not None and len(request.body) > LARGE)
        attempt.set(tried)
        try:
            async with asyncio.timeout(connect_timeout) as tried.limit:
                socket = await self._session.ws_connect(
                    URL(request.url, encoded=True),
                    headers=request.headers,
                    ssl=context,
                    server_hostname=server_name,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                    max_msg_size=request.max_message + 1,
                )
        except TimeoutError:
            message = "the backend could not be reached in time"
            raise BackendError(message, status=504, code="upstream_connect_timeout") from None
        reply = SocketReply(socket, self._closing, request.max_message)
        try:
            if request.body is not None:
                await socket.send_str(request.body.decode("utf-8", "replace"))
        except BaseException:
            reply.close()
            raise
        return reply

    async def close(self) -> None:
        """Close all that is left."""
        await asyncio.gather(*self._closing)
        await self._session.close()


def _session(connector: Connector) -> ClientSession:
    return ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"User-Agent": "oaiproxy"},
        skip_auto_headers=("Accept", "Accept-Encoding"),
        requote_redirect_url=False,
        timeout=aiohttp.ClientTimeout(total=None),
        middlewares=(_only_upgraded,),
    )


async def _only_upgraded(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """The response that opens a socket; any other is handed over, before the library would follow a redirect."""
    response = await send(request)
    if response.status != 101:
        raise RefusedError(response)
    return response
