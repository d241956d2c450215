"""Backend requests over HTTP: the pool, the deadlines of each hop, and transport failures as errors.

Cookies, redirects and proxies from the environment are off: https://docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import ClientSession, TCPConnector, TraceConfig
from yarl import URL

from oaiproxy.errors import BackendError
from oaiproxy.exchange import BackendRequest

READ_BUFFER = 32 * 1024
KEEPALIVE_SECONDS = 10
MAX_URLS = 1024
"""Bytes read from a backend at once; seconds that an idle connection is kept; parsed addresses that are kept."""

_PROTOCOL_ERRORS = (aiohttp.ClientResponseError, aiohttp.http_exceptions.HttpProcessingError)


class _Attempt:
    """What tracing tells of one try to send."""

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = False


class BackendReply:
    """A reply whose headers have come. Close it always: a body that was not read to its end costs the connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises BackendError when the connection breaks."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, aiohttp.http_exceptions.HttpProcessingError) as error:
            raise _translated(error, sent=True) from error

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._response.close()


class BackendClient:
    """Sends requests to any backend over one pool of connections."""

    def __init__(self, connections: int) -> None:
        tracing = TraceConfig()
        tracing.on_connection_reuseconn.append(_on_reuse)
        self._urls: dict[str, URL] = {}
        self._session = ClientSession(
            connector=TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER,
            headers={"Accept-Encoding": "identity", "User-Agent": "oaiproxy"},
            skip_auto_headers=("Accept",),
            trace_configs=[tracing],
            requote_redirect_url=False,
        )

    async def send(self, request: BackendRequest, connect_timeout: float) -> BackendReply:
        """Send a request and wait for the reply's headers.

        A connection that was kept and dies without a byte of reply is replaced once. Raises BackendError.
        """
        for last in (False, True):
            attempt = _Attempt()
            try:
                return await self._send(request, connect_timeout, attempt)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if last or not attempt.reused or isinstance(error, aiohttp.ClientConnectorError):
                    raise _translated(error, sent=False) from error
            except (aiohttp.ClientError, OSError, aiohttp.http_exceptions.HttpProcessingError) as error:
                raise _translated(error, sent=False) from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _send(self, request: BackendRequest, connect_timeout: float, attempt: _Attempt) -> BackendReply:
        response = await self._session.request(
            request.method,
            self._url(request.url),
            data=request.body,
            headers=request.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            trace_request_ctx=attempt,
        )
        return BackendReply(response)

    def _url(self, url: str) -> URL:
        """The parsed address, kept: it is mostly the same."""
        parsed = self._urls.get(url)
        if parsed is None:
            if len(self._urls) >= MAX_URLS:
                self._urls.clear()
            parsed = self._urls[url] = URL(url, encoded=True)
        return parsed


async def _on_reuse(_session: ClientSession, context: Any, _params: aiohttp.TraceConnectionReuseconnParams) -> None:
    context.trace_request_ctx.reused = True


def _translated(error: BaseException, *, sent: bool) -> BackendError:
    """A transport failure as the client sees it; the library's words go to the log."""
    detail = f"{type(error).__name__}: {str(error)[:300]}"

    def failed(message: str, code: str, status: int = 502, retry: bool | None = None) -> BackendError:
        return BackendError(message, status=status, code=code, detail=detail, retry=retry)

    match error:
        case aiohttp.ConnectionTimeoutError():
            return failed("the backend could not be reached in time", "upstream_connect_timeout", 504)
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return failed("the backend's certificate is not trusted", "upstream_tls_error", retry=False)
        case aiohttp.ClientConnectorSSLError() | aiohttp.ServerFingerprintMismatch():
            return failed("no TLS connection to the backend could be made", "upstream_protocol_error", retry=False)
        case aiohttp.ClientConnectorDNSError():
            return failed("the backend's name could not be resolved", "upstream_dns_error")
        case aiohttp.ClientConnectorError():
            return failed("the backend could not be reached", "upstream_connect_error")
        case aiohttp.ServerDisconnectedError():
            return failed("the backend closed the connection without an answer", "upstream_closed")
        case aiohttp.ClientPayloadError():
            return failed("the backend's answer broke off", "upstream_truncated")
        case aiohttp.ClientResponseError() | aiohttp.http_exceptions.HttpProcessingError():
            return failed("the backend's answer is not HTTP", "upstream_protocol_error", retry=False)
        case TimeoutError():
            return failed("the backend did not answer in time", "upstream_timeout", 504, retry=False)
    if sent:
        return failed("the connection to the backend broke", "upstream_reset")
    return failed("the connection to the backend broke before an answer came", "upstream_reset")
