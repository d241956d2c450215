"""Long work in a thread, so that the loop goes on with other requests meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

LARGE = 256 * 1024
"""Bytes of which the reading and the making of an answer can take longer than a loop should be held for."""
COMPRESSED = 256
"""Bytes that one of a compressed answer counts for: so many may come out of it."""
P = ParamSpec("P")
T = TypeVar("T")


async def off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the work gives: done in a thread if it is on more than `LARGE` bytes."""
    return await asyncio.to_thread(work, *args, **kwargs) if size > LARGE else work(*args, **kwargs)
