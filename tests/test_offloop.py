"""Long work goes on in a thread, short work where it is asked for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from oaiproxy.offloop import COMPRESSED, LARGE, off_loop, weight_of


@pytest.mark.parametrize(("size", "apart"), [(0, False), (LARGE, False), (LARGE + 1, True)])
async def test_where_it_is_done(size: int, apart: bool) -> None:
    """With all its arguments, and with its answer."""

    def work(*values: int, **more: int) -> tuple[object, bool]:
        return (values, more), threading.current_thread() is not threading.main_thread()

    assert await off_loop(size, work, 1, 2, last=3) == (((1, 2), {"last": 3}), apart)


@pytest.mark.parametrize("size", [0, LARGE + 1])
async def test_its_errors_are_raised(size: int) -> None:
    """As they are."""

    def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        await off_loop(size, work)


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_cancelled_goes_on_when_the_thread_is_done(fails: bool) -> None:
    """However often; what the thread works on is never in two hands."""
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()
        if fails:
            raise KeyError("x")

    task = asyncio.create_task(off_loop(LARGE + 1, work))
    await asyncio.to_thread(begun.wait)
    try:
        for _ in range(3):
            task.cancel()
            await asyncio.wait([task], timeout=0.01)
            assert not task.done()
    finally:
        go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_what_is_compressed_weighs_more() -> None:
    """For much may come of it."""
    assert weight_of({}) == weight_of({"content-encoding": " Identity"}) == weight_of({"content-encoding": ""}) == 1
    assert weight_of({"content-encoding": "gzip"}) == COMPRESSED
