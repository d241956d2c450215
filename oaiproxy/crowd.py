"""The connections of clients, counted: beyond their bound a new one is told so and closed, whatever it wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp import web

from oaiproxy import jsontext
from oaiproxy.errors import OverloadedError


def _refusal() -> bytes:
    """The answer to a request that nobody has read."""
    error = OverloadedError()
    body = jsontext.dump(error.body())
    head = (
        f"HTTP/1.1 {error.status} Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nx-should-retry: true\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


REFUSAL = _refusal()


class Crowd:
    """How many connections there are, and may be. `tell` is called for each that was refused."""

    __slots__ = ("count", "limit", "tell")

    def __init__(self, limit: int, tell: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        self.count = 0
        self.tell = tell


CROWD = web.AppKey("crowd", Crowd)


class Counted(web.RequestHandler):
    """A connection that counts. Its server has the crowd."""

    _crowd: Crowd | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, if there is room."""
        crowd: Crowd = vars(self._manager)["crowd"]
        if crowd.count >= crowd.limit:
            crowd.tell()
            refused = cast("asyncio.WriteTransport", transport)
            refused.write(REFUSAL)
            refused.close()
            return
        crowd.count += 1
        self._crowd = crowd
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """There is room for another one."""
        if self._crowd is None:
            return
        self._crowd.count -= 1
        self._crowd = None
        super().connection_lost(exc)
