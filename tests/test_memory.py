"""Promises of `oaiproxy.memory`: what the process takes is seen, and a bound turns it high and low, not to and fro."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scripted import settled

from oaiproxy import memory
from oaiproxy.memory import COOL, Memory, resident

pytestmark = pytest.mark.skipif(resident() is None, reason="the system does not tell how much memory is taken")


def test_what_is_taken_is_told_in_bytes() -> None:
    """More after a lot was taken."""
    before = resident()
    hoard = b"x" * (64 << 20)
    after = resident()
    assert before is not None
    assert after is not None
    assert after - before > len(hoard) // 2


async def test_it_is_high_until_it_is_well_below_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two nothing changes."""
    told: list[tuple[bool, int]] = []
    status = tmp_path / "statm"
    monkeypatch.setattr(memory, "STATUS", str(status))
    page = os.sysconf("SC_PAGE_SIZE")
    watch = Memory(lambda high, size: told.append((high, size // page)))

    def look(pages: int) -> bool:
        status.write_text(f"9999 {pages} 0 0 0 0 0\n")
        assert watch.configure(1000 * page)
        return watch.high

    least = int(1000 * COOL)
    looks = [look(pages) for pages in (1000, 1001, 1000, least + 1, least, least + 1, 1000, 1001)]
    assert looks == [False, True, True, True, False, False, False, True]
    status.write_text("9999 1 0 0 0 0 0\n")
    await settled(lambda: not watch.high)
    watch.close()
    assert told == [(True, 1001), (False, least), (True, 1001), (False, 1)]


async def test_without_a_bound_nothing_is_looked_at() -> None:
    """Nor is anything high any more."""
    watch = Memory()
    watch.configure(1)
    assert watch.high
    watch.configure(0)
    assert not watch.high
    assert watch._timer is None


async def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets a bound there is told."""
    monkeypatch.setattr(memory, "STATUS", "/nowhere")
    watch = Memory()
    assert not watch.configure(1)
    assert watch.configure(0)
    assert not watch.high
