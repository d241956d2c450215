"""Backend requests over HTTP: the pool, the deadlines of each hop, and transport failures as errors.

Cookies, redirects and proxies from the environment are off: https://docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import ClientSession
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from oaiproxy.buffers import to_backend
from oaiproxy.descriptors import none_left
from oaiproxy.errors import BackendError
from oaiproxy.exchange import BackendRequest
from oaiproxy.pool import Attempt, Connector, attempt, overloaded
from oaiproxy.sockets import RefusedError, SocketReply, Sockets

READ_BUFFER = 32 * 1024
"""Bytes read from a backend at once."""
KEEPALIVE_SECONDS = 10
"""How long an idle connection is kept."""
END_SECONDS = 0.1
"""How long the end of a body may take after what ended the answer, for its connection to be used again."""
DNS_SECONDS = 30
"""How long the addresses of a name are kept, of which new connections take one."""
MAX_URLS = 1024
"""Parsed addresses that are kept."""
LARGE = 1024 * 1024
"""Bytes of a body beyond which the library warns of it."""

_HTTP_ERRORS = (aiohttp.ClientError, OSError, aiohttp.http_exceptions.HttpProcessingError)


@dataclass(frozen=True, slots=True)
class Security:
    """How a connection is made secure: True is what the system trusts."""

    context: ssl.SSLContext | bool = True
    server_name: str | None = None


_USUAL = Security()


class BackendReply:
    """A reply whose headers have come. Release or close it always: a body that is left costs the connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        connection = response.connection  # None when all of the body came with the headers
        self._lost = connection.protocol.closed if connection is not None and connection.protocol is not None else None
        if self._lost is not None:
            self._lost.remove_done_callback(_retrieve)
            self._lost.add_done_callback(_retrieve)
            self._lost.add_done_callback(self._on_lost)

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises BackendError when the connection breaks."""
        try:
            return await self._response.content.readany()
        except _HTTP_ERRORS as error:
            if isinstance(error, aiohttp.ClientPayloadError) and _was_reset(self._lost):
                raise _failed(error, "the connection to the backend broke", "upstream_reset") from error
            raise _translated(error) from error

    def release(self) -> None:
        """Give the connection back, if the end of the body comes now, as it should; else close it."""
        if self._response.connection is None:
            self.close()
        else:
            asyncio.get_running_loop().call_later(END_SECONDS, self.close)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        if self._lost is not None:
            self._lost.remove_done_callback(self._on_lost)
        self._response.close()

    def _on_lost(self, _lost: asyncio.Future[None]) -> None:
        """The connection is gone. The library does not say so to the reader of a body that it could not parse."""
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection closed within the body"))


class BackendClient:
    """Sends requests to any backend over one pool; `connections` bounds those to one host and port."""

    def __init__(self, connections: int) -> None:
        self._urls: dict[str, URL] = {}
        self._sockets = Sockets(connections)
        self._connector = Connector(
            limit=0,
            limit_per_host=connections,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=DNS_SECONDS,
            socket_factory=to_backend,
        )
        self._session = ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER,
            headers={"Accept-Encoding": "identity", "User-Agent": "oaiproxy"},
            skip_auto_headers=("Accept",),
            requote_redirect_url=False,
        )

    async def send(
        self,
        request: BackendRequest,
        connect_timeout: float,
        security: Security | None = None,
        may_repeat: Callable[[], bool] = lambda: True,
    ) -> BackendReply | SocketReply:
        """Send a request and wait for the reply's headers.

        A connection that was kept and turns out to be closed is replaced once, if `may_repeat` allows it. Raises
        BackendError.
        """
        if request.websocket:
            return await self._open(request, connect_timeout, security or _USUAL)
        for last in (False, True):
            tried = Attempt(large=request.body is not None and len(request.body) > LARGE)
            attempt.set(tried)
            try:
                return await self._send(request, connect_timeout, security or _USUAL)
            except _HTTP_ERRORS as error:
                if last or not tried.replaceable() or not _is_stale(error) or not may_repeat():
                    raise _translated(error) from error
        raise AssertionError("unreachable")

    def configure(self, connections: int, patience: float) -> None:
        """Bound the connections to one host and port, and the seconds that a request waits for one."""
        self._connector.configure(connections, patience)
        self._sockets.configure(connections, patience)

    async def close(self) -> None:
        """Close all connections."""
        await self._sockets.close()
        await self._session.close()

    async def _open(
        self, request: BackendRequest, connect_timeout: float, security: Security
    ) -> BackendReply | SocketReply:
        """A socket; or the reply to a handshake that failed, which is read as any other one."""
        try:
            return await self._sockets.open(request, connect_timeout, security.context, security.server_name)
        except RefusedError as refused:
            if not 200 <= refused.response.status < 300:
                return BackendReply(refused.response)
            refused.response.close()
            raise BackendError("the backend opened no websocket", code="upstream_protocol_error", retry=False) from None
        except _HTTP_ERRORS as error:
            raise _translated(error) from error

    async def _send(self, request: BackendRequest, connect_timeout: float, security: Security) -> BackendReply:
        body = request.body
        response = await self._session.request(
            request.method,
            self._url(request.url),
            data=body if body is None or len(body) <= LARGE else _Large(body),
            headers=request.headers,
            allow_redirects=False,
            ssl=security.context,
            server_hostname=security.server_name,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
        )
        if response.status < 200:  # interim answers were skipped: this is a switch to a protocol that nobody speaks
            response.close()
            raise BackendError("the backend changed to another protocol", code="upstream_protocol_error", retry=False)
        return BackendReply(response)

    def _url(self, url: str) -> URL:
        """The parsed address, kept: it is mostly the same."""
        parsed = self._urls.get(url)
        if parsed is None:
            if len(self._urls) >= MAX_URLS:
                self._urls.clear()
            parsed = self._urls[url] = URL(url, encoded=True)
        return parsed


def _retrieve(lost: asyncio.Future[None]) -> None:
    """Look at how a connection was lost, which else the event loop reports as an oversight."""
    _was_reset(lost)


def _was_reset(lost: asyncio.Future[None] | None) -> bool:
    return lost is not None and lost.done() and not lost.cancelled() and lost.exception() is not None


def _is_stale(error: BaseException) -> bool:
    """Whether a connection died before a byte of reply; else `message` holds the headers as far as they came."""
    match error:
        case aiohttp.ClientConnectorError():
            return False
        case aiohttp.ServerDisconnectedError(message=message):
            return isinstance(message, str)
    return isinstance(error, aiohttp.ClientOSError)


def _failed(
    error: BaseException, message: str, code: str, status: int = 502, retry: bool | None = None
) -> BackendError:
    """What the client is told; the library's words go to the log, but for addresses, which may hold a key."""
    match error:
        case aiohttp.ClientResponseError():
            words = error.message
        case aiohttp.ConnectionTimeoutError() | aiohttp.InvalidURL() | aiohttp.ServerDisconnectedError():
            words = ""
        case _:
            words = str(error)
    detail = f"{type(error).__name__}: {words[:300]}" if words else type(error).__name__
    return BackendError(message, status=status, code=code, detail=detail, retry=retry)


def _translated(error: BaseException) -> BackendError:
    """A transport failure as the client sees it."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return _failed(error, "the backend could not be reached in time", "upstream_connect_timeout", 504)
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return _failed(error, "the backend's certificate is not trusted", "upstream_tls_error", retry=False)
        case aiohttp.ClientConnectorSSLError() | aiohttp.ServerFingerprintMismatch():
            message = "no TLS connection to the backend could be made"
            return _failed(error, message, "upstream_protocol_error", retry=False)
        case aiohttp.ClientConnectorError(errno=errno.EMFILE | errno.ENFILE):
            return overloaded("the process has no file left for a connection to the backend")
        case aiohttp.ClientConnectorDNSError() if none_left():  # the system's resolver tells only that it found nothing
            return overloaded("the process has no file left to resolve the backend's name")
        case aiohttp.ClientConnectorDNSError():
            return _failed(error, "the backend's name could not be resolved", "upstream_dns_error")
        case aiohttp.ClientConnectorError():
            return _failed(error, "the backend could not be reached", "upstream_connect_error")
        case aiohttp.ServerDisconnectedError() if _is_stale(error):
            return _failed(error, "the backend closed the connection without an answer", "upstream_closed")
        case aiohttp.ServerDisconnectedError():
            return _failed(error, "the backend's answer broke off in its headers", "upstream_protocol_error")
        case aiohttp.ClientPayloadError():
            return _failed(error, "the backend's answer broke off", "upstream_truncated")
        case aiohttp.ClientResponseError() | aiohttp.http_exceptions.HttpProcessingError():
            return _failed(error, "the backend's answer is not HTTP", "upstream_protocol_error", retry=False)
        case TimeoutError():
            return _failed(error, "the backend did not answer in time", "upstream_timeout", 504, retry=False)
    return _failed(error, "the connection to the backend broke", "upstream_reset")


class _Large(aiohttp.Payload):
    """A body that is handed over at once, so that what the backend answers before it has read it is not lost.

    The library would warn of it, and writes others in pieces: a write to a connection that was reset loses what came.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, which nobody asks for."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it."""
        await writer.write(self._value)
