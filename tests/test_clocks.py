"""Promises of `oaiproxy.clocks`: which deadline counts when, and what the client is told when it is over."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from oaiproxy.backends import Timeouts
from oaiproxy.clocks import Clock

TIMEOUTS = replace(Timeouts(), first_byte=10.0, idle=5.0, total=100.0)


def left(clock: Clock) -> float | None:
    """Whole seconds until the deadline."""
    when = clock.timer.when()
    return None if when is None else round(when - asyncio.get_running_loop().time())


async def test_the_deadline_is_that_of_what_comes_next() -> None:
    """The first byte, the next event, all of it; none while the client is awaited."""
    clock = Clock(TIMEOUTS)
    async with clock.timer:
        assert left(clock) == 10
        clock.renew()
        assert left(clock) == 5
        clock.widen()
        assert left(clock) == 100
        clock.restart()
        assert left(clock) == 10
        clock.pause()
        assert left(clock) is None
        clock.renew()
        assert left(clock) == 5


async def test_no_deadline_is_later_than_the_end() -> None:
    """Which parts of one request share."""
    clock = Clock(TIMEOUTS, asyncio.get_running_loop().time() + 3)
    async with clock.timer:
        for move in (clock.renew, clock.widen, clock.restart):
            move()
            assert left(clock) == 3


async def test_an_interrupted_wait_says_so() -> None:
    """And nothing prolongs it."""
    clock = Clock(TIMEOUTS)

    async def wait() -> None:
        async with clock.timer:
            clock.interrupt()
            clock.widen()
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()
    assert clock.error().code == "server_shutdown"
    assert Clock(TIMEOUTS).error().code == "upstream_timeout"
