"""Promises of `oaiproxy.eventlog`: who follows a stream gets each event once, in order, and memory is bounded."""

from __future__ import annotations

import asyncio

import pytest

from oaiproxy.clocks import Clock
from oaiproxy.eventlog import AT_ONCE, EventLog


class Kept:
    """Takes what is followed."""

    begun = False

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes, clock: Clock | None = None) -> None:
        """Keep it."""
        self.data += data

    async def end(self, data: bytes) -> bytes:
        """All of it."""
        return self.data + data

    async def whole(self, data: bytes) -> bytes:
        """Never."""
        raise NotImplementedError

    async def break_off(self, told: bytes) -> bytes:
        """Never."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing follows."""


def numbered(*numbers: int) -> bytes:
    """Events."""
    return b"".join(b"data: %d\n\n" % number for number in numbers)


async def test_all_that_follow_get_the_same() -> None:
    """From where they begin, whether it was there or comes."""
    log = EventLog()
    log.add(numbered(0, 1))
    followers = [asyncio.create_task(log.follow(number, Kept())) for number in range(4)]
    await asyncio.sleep(0)
    assert log.followers == 4
    log.add(numbered(2))
    await asyncio.sleep(0)
    log.add(numbered(3), last=True)
    assert await asyncio.gather(*followers) == [numbered(*range(number, 4)) for number in range(4)]
    assert (log.followers, log.following, log.bytes) == (0, 4, len(numbered(*range(4))))
    assert await log.follow(4, Kept()) == b""


async def test_many_events() -> None:
    """More than are written at once."""
    log = EventLog()
    every = numbered(*range(3 * AT_ONCE + 1))
    log.add(every, last=True)
    assert await log.follow(0, Kept()) == every


async def test_the_first_are_forgotten() -> None:
    """Who has not had them yet is given up: no hole is hidden."""
    log = EventLog(limit=100)
    late = asyncio.create_task(log.follow(0, Kept()))
    for number in range(10, 60):
        log.add(numbered(number))
        assert log.bytes <= 100
    assert log.following == 50
    with pytest.raises(ConnectionResetError):
        await late
    log.add(b"", last=True)
    assert await log.follow(log.first, Kept()) == numbered(*range(10 + log.first, 60))
