"""Comments into a stream that is silent, so that nobody between it and its client takes it for dead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

COMMENT = b": keep-alive\n"
"""Clients skip it (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).

There is no blank line: some take one for the end of an event, which then is empty.
"""


class Heartbeat:
    """One lazy timer: to tell of an event is a look at the clock, and no timer is set anew for it.

    `write` is called with a comment after so many seconds without an event; 0 is never.
    """

    def __init__(self, seconds: float, write: Callable[[bytes], Awaitable[object]]) -> None:
        self._seconds = seconds
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._beating: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(seconds, self._look) if seconds else None

    def event(self) -> None:
        """Something was written."""
        self._last = self._loop.time()

    def stop(self) -> None:
        """No comment from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._beating is not None:
            self._beating.cancel()
        self._write = _nothing  # else it and we would hold each other

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._last + self._seconds:
            self._last = now
            self._beating = self._loop.create_task(self._beat())
        self._timer = self._loop.call_at(self._last + self._seconds, self._look)

    async def _beat(self) -> None:
        try:
            await self._write(COMMENT)
        except ConnectionError:
            self.stop()  # who relays the answer learns of it too


async def _nothing(comment: bytes) -> None:
    """The stream has ended."""
