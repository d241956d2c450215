"""How much memory the process takes, looked at from time to time; beyond its bound, new requests are refused."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress

LOOK_SECONDS = 0.25
"""How often it is looked at."""
COOL = 0.9
"""The share of the bound to which it must fall before requests are taken again."""
STATUS = "/proc/self/statm"
"""Where the kernel tells it, in pages: https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html"""


def resident() -> int | None:
    """The bytes of memory that the process takes now; None where the system does not tell."""
    try:
        with open(STATUS, "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


class Memory:
    """Looks at it for as long as there is a bound. `tell` is called when `high` turns, with the bytes taken."""

    def __init__(self, tell: Callable[[bool, int], None] = lambda high, taken: None) -> None:
        self.high = False
        """Whether there is too little left for new requests."""
        self.tell = tell
        self._limit = 0
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, limit: int) -> bool:
        """Set the bound, also anew, in bytes; 0 is none. False where the system does not tell what is taken."""
        self.close()
        self._limit = limit
        if limit:
            self._look()
        else:
            self.high = False
        return not limit or resident() is not None

    def close(self) -> None:
        """Look no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
        taken = resident()
        if taken is None:
            return
        if self.high and taken > self._limit * COOL:
            _give_back()
        high = taken > self._limit * (COOL if self.high else 1)
        if high != self.high:
            self.high = high
            self.tell(high, taken)


def _give_back() -> None:
    """Have the allocator give the system what is free, where it can: else it may keep it for good."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
