"""Images that a request names by URL, fetched: from hosts that the mapping allows, and from public addresses alone.

What protects the network around the proxy (https://owasp.org/www-community/attacks/Server_Side_Request_Forgery): the
address that was checked is the one that is connected to, every redirect is checked like a first address, and nothing
of the client's request or of the backend's credentials goes along.
"""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from oaiproxy.canonical import Call
from oaiproxy.errors import ClientError
from oaiproxy.images import Images, inlined, media_type, wanted

CONCURRENT = 4
"""Images of one request that are fetched at the same time."""
MAX_TOTAL = 64 * 1024 * 1024
"""Bytes of all images that are fetched for a request, however many and large a mapping allows."""
MAX_REDIRECTS = 3
MAX_URL = 8192
"""Characters of an address."""

_REDIRECTS = (301, 302, 303, 307, 308)
_FAILURES = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError)
_MESSAGE = "The image could not be fetched. Use an https URL of a host that this model allows, or a data: URL."


class _RefusedError(ValueError):
    """What is not fetched; the message is for the log."""


class _Room:
    """How many bytes may still come for a request."""

    def __init__(self) -> None:
        self._left = MAX_TOTAL

    def take(self, count: int) -> None:
        """Use some of it. Raises _RefusedError."""
        self._left -= count
        if self._left < 0:
            raise _RefusedError(f"the images of the request are larger than {MAX_TOTAL} bytes together")


class _Resolver(aiohttp.ThreadedResolver):
    """Names to addresses; the connector connects to these very addresses. All of a name's must be allowed."""

    def __init__(self, images: Images) -> None:
        super().__init__()
        self._images = images

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for each in found:
            if not self._images.admits_address(host, port, each["host"]):
                raise _RefusedError("the host has an address that is not public")
        return found


async def with_images(call: Call, images: Images) -> Call:
    """The call with its images as `data:` URLs. Raises ClientError that names the image that could not be had."""
    params = wanted(call, images)
    if not params:
        return call
    turns, room = asyncio.Semaphore(CONCURRENT), _Room()
    connector = aiohttp.TCPConnector(resolver=_Resolver(images), use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "oaiproxy"},
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:

        async def fetched(url: str, param: str) -> str:
            try:
                async with turns, asyncio.timeout(images.timeout):
                    return await _fetch(session, url, images, room)
            except _FAILURES as error:
                detail = f"{param}: {_told(error)}"
                raise ClientError(_MESSAGE, param=param, code="invalid_image_url", detail=detail) from error

        try:
            async with asyncio.TaskGroup() as group:
                tasks = {url: group.create_task(fetched(url, param)) for url, param in params.items()}
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
    return inlined(call, {url: task.result() for url, task in tasks.items()})


async def _fetch(session: aiohttp.ClientSession, url: str, images: Images, room: _Room) -> str:
    """An image as a `data:` URL."""
    target = _target(url, images)
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(target, allow_redirects=False) as response:
            if response.status not in _REDIRECTS:
                return await _read(response, images, room)
            location = response.headers.get("Location", "")
            target = _target(str(target.join(URL(location))), images)
    raise _RefusedError(f"more than {MAX_REDIRECTS} redirects")


def _target(url: str, images: Images) -> URL:
    """The address that a URL names, if it may be asked for."""
    if len(url) > MAX_URL:
        raise _RefusedError(f"the URL is longer than {MAX_URL} characters")
    made = URL(url)
    host = (made.raw_host or "").lower()
    if made.scheme not in ("http", "https") or not host:
        raise _RefusedError("it is no http or https URL")
    if made.raw_user is not None or made.raw_password is not None:
        raise _RefusedError("the URL holds credentials")
    if not images.admits(made.scheme, host, made.port or 0):
        raise _RefusedError("its host is not one of `allow_hosts`")
    # What looks like a number is never resolved, so it is checked here.
    numeric = ":" in host or host.replace(".", "").isdigit()
    if numeric and not images.admits_address(host, made.port or 0, host):
        raise _RefusedError("the address is not public")
    return made


async def _read(response: aiohttp.ClientResponse, images: Images, room: _Room) -> str:
    if response.status != 200:
        raise _RefusedError(f"status {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _RefusedError("it is compressed")
    if (response.content_length or 0) > images.max_bytes:
        raise _RefusedError("it is larger than `max_bytes`")
    data = bytearray()
    async for piece in response.content.iter_any():
        room.take(len(piece))
        data += piece
        if len(data) > images.max_bytes:
            raise _RefusedError("it is larger than `max_bytes`")
    kind = media_type(bytes(data[:16]), response.headers.get("Content-Type", ""))
    if kind is None or not data:
        raise _RefusedError("it is no image")
    return f"data:{kind};base64,{b64encode(data).decode()}"


def _told(error: BaseException) -> str:
    """The failure for the log, without addresses: they may hold a key."""
    cause: Any = error
    while cause is not None:
        if isinstance(cause, _RefusedError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return "it took too long" if isinstance(error, TimeoutError) else type(error).__name__
