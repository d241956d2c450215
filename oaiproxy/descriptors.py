"""How many files and sockets the process may have open: as many as it needs if it can; and what to do without any left.

https://man7.org/linux/man-pages/man2/getrlimit.2.html
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from oaiproxy.config import Limits

LEAST = 64
"""With fewer, nothing can be served."""
OWN = 32
"""Those of the process itself: its log, the loop, what it listens on, and what it reads now and then."""
AT_ONCE = 1000
"""Connections that are closed in one go."""
NONE_LEFT = (errno.EMFILE, errno.ENFILE)
RETRY_SECONDS = 1
"""How long asyncio waits after a failed `accept` before it listens again."""


_Handler: TypeAlias = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None


class DescriptorsError(RuntimeError):
    """There are too few to begin with."""


def provide(needed: int) -> int | None:
    """Raise what the process may have open to `needed`, if it is less and can be. Gives what it is; None for no limit.

    Raises DescriptorsError where it is too little to serve anything.
    """
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < needed and soft != hard:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft < LEAST:
        raise DescriptorsError(
            f"the process may have only {soft} files open (RLIMIT_NOFILE): it needs at least {LEAST}"
        )
    return soft


def needed(limits: Limits) -> int:
    """What these limits may take: a socket for each client, and one to a backend for each request."""
    return OWN + limits.clients + limits.requests


def clients_for(limits: Limits, available: int | None) -> int:
    """How many clients there may be with so many files, so that their requests still reach their backends."""
    if available is None or available >= needed(limits):
        return limits.clients
    spare = available - OWN
    return max(1, min(limits.clients, max(spare - limits.requests, spare // 2)))


def none_left() -> bool:
    """Whether no file can be opened now."""
    found = _open()
    if found is not None:
        os.close(found)
    return found is None


class Reserve:
    """Keeps one file open, in whose place a connection is accepted, and closed, when there is no other one left.

    Else it would stay, and asyncio's own loop would come back to it again and again; uvloop does the same by itself.
    `tell` is called with how many were closed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[int], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._shed_at: float | None = None
        self._closed = False
        before = loop.get_exception_handler()
        owner = getattr(before, "__self__", None)
        self._before: _Handler = owner._before if isinstance(owner, Reserve) and owner._closed else before
        self._spare = _open()
        loop.set_exception_handler(self._handle)

    def close(self) -> None:
        """Leave the loop as it was: once asyncio will no more find a listener closed that it means to come back to."""
        self._closed = True
        left = 0.0 if self._shed_at is None else self._shed_at + 2 * RETRY_SECONDS - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._restore)
        else:
            self._restore()
        self._give()

    def _restore(self) -> None:
        """Not where another has taken over since."""
        if self._loop.get_exception_handler() == self._handle:
            self._loop.set_exception_handler(self._before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, listener = context.get("exception"), context.get("socket")
        if not self._closed and isinstance(error, OSError) and error.errno in NONE_LEFT and listener is not None:
            self._shed_at = loop.time()
            self._tell(self._shed(listener.fileno()))
        elif isinstance(error, ValueError) and "_start_serving" in str(context.get("message")):
            pass  # asyncio came back to a listener that was closed meanwhile
        elif self._before is not None:
            self._before(loop, context)
        else:
            loop.default_exception_handler(context)

    def _shed(self, number: int) -> int:
        """Close who waits to be accepted."""
        self._give()
        closed = 0
        listener = socket.socket(fileno=number)
        try:
            while closed < AT_ONCE:
                connection, _ = listener.accept()
                connection.close()
                closed += 1
        except OSError:
            pass
        finally:
            listener.detach()
            self._spare = _open()
        return closed

    def _give(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def _open() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
