"""Long work goes on in a thread, short work where it is asked for."""

from __future__ import annotations

import threading

import pytest

from oaiproxy.offloop import LARGE, off_loop


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
