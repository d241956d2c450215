"""Long work in a thread, so that the loop goes on with other requests meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ParamSpec, TypeVar

LARGE = 256 * 1024
"""Bytes of which the reading and the making of an answer can take longer than a loop should be held for."""
COMPRESSED = 256
"""Bytes that one of a compressed answer counts for: so many may come out of it."""
P = ParamSpec("P")
T = TypeVar("T")


def weight_of(headers: Mapping[str, str]) -> int:
    """How many bytes one of a body with these headers counts for."""
    return COMPRESSED if headers.get("content-encoding", "").strip().lower() not in ("", "identity") else 1


async def off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the work gives: done in a thread if it is on more than `LARGE` bytes."""
    return await in_thread(work, *args, **kwargs) if size > LARGE else work(*args, **kwargs)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the work gives, done in a thread.

    Who is cancelled meanwhile goes on only when the thread is done, so that the two never meet in what is worked on.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
        raise
    return task.result()
