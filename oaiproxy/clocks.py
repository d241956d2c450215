"""The deadlines of one reply: for its first event, for each that follows, and for all of it."""

from __future__ import annotations

import asyncio

from oaiproxy.backends import Timeouts
from oaiproxy.errors import BackendError, ProxyError

RESCHEDULE_SECONDS = 0.25
"""How much later a deadline must be than the one that runs before the timer is set anew."""
RESOLUTION = 0.01
"""Seconds by which a loop's own time may be behind its timers."""

SHUTDOWN = "server_shutdown"
SHUTDOWN_MESSAGE = "the proxy is shutting down"
AGAIN_SECONDS = 1


def shutting_down() -> ProxyError:
    """What is told of a request that came too late, and of which the backend knows nothing: it may be sent again."""
    return ProxyError(
        SHUTDOWN_MESSAGE,
        status=503,
        type="service_unavailable_error",
        code=SHUTDOWN,
        retry_after=AGAIN_SECONDS,
        retry=True,
    )


def broken_off() -> BackendError:
    """What is told of a request that a backend has seen, and that may be billed."""
    return BackendError(SHUTDOWN_MESSAGE, code=SHUTDOWN, retry=False)


class Clock:
    """The deadline for what comes next from a backend. What a slow client takes of the time does not count.

    `end` is the last moment for all of it, in the event loop's time: by default the mapping's `total` from now on.
    """

    def __init__(self, timeouts: Timeouts, end: float | None = None) -> None:
        now = asyncio.get_running_loop().time()
        self.interrupted = False
        """Whether the wait ended because the proxy stops."""
        self._end = now + timeouts.total if end is None else end
        self.timer = asyncio.timeout_at(min(now + timeouts.first_byte, self._end))
        self._first_byte = timeouts.first_byte
        self._idle = timeouts.idle
        self._step = min(RESCHEDULE_SECONDS, timeouts.idle / 4)
        self._renewed = 0.0

    def renew(self) -> None:
        """Something came: the idle time begins anew. Cheap, for it is called for every read."""
        now = asyncio.get_running_loop().time()
        if now - self._renewed > self._step and not self.interrupted:
            self._renewed = now
            self.timer.reschedule(min(self._end, now + self._idle + self._step))

    def widen(self) -> None:
        """Calls around the main one are made now, which have times of their own."""
        if not self.interrupted:
            self.timer.reschedule(self._end)

    def restart(self) -> None:
        """The main call begins now."""
        if not self.interrupted:
            now = asyncio.get_running_loop().time()
            self.timer.reschedule(min(self._end, now + self._first_byte))

    def pause(self) -> None:
        """The client is awaited now."""
        self._renewed = 0.0
        if not self.interrupted:
            self.timer.reschedule(None)

    def interrupt(self) -> None:
        """End the wait now."""
        if not self.timer.expired():
            self.interrupted = True
            self.timer.reschedule(asyncio.get_running_loop().time())

    def error(self) -> BackendError:
        """What the client is told when the time is over."""
        if self.interrupted:
            return broken_off()
        message, detail = "the backend did not answer in time", ""
        if asyncio.get_running_loop().time() >= self._end - RESOLUTION:
            message = "the backend's answer was not complete in the time for all of it"
            detail = "`timeouts.total` is over"
        return BackendError(message, status=504, code="upstream_timeout", retry=False, detail=detail)
