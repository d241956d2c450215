"""Ctrl-C ends a command while it loads, and while it waits for a backend (but for the lookup of its name).

Python alone loses some: https://docs.python.org/3/library/signal.html#note-on-signal-handlers-and-exceptions
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

INTERRUPTED = 130
"""The exit code of what was interrupted."""
T = TypeVar("T")


@contextmanager
def ending_at_once() -> Iterator[None]:
    """For a block that leaves nothing to be tidied up: an exception can be swallowed, as in a destructor of imports."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """`asyncio.run`, with a loop that a signal wakes.

    By itself it would wait on, where the signal came just before it began to wait, or to another thread.
    """
    import asyncio  # here, since it takes long to load

    async def awake() -> T:
        with _woken_by_signals():
            return await main()

    return asyncio.run(awake())


@contextmanager
def _woken_by_signals() -> Iterator[None]:
    import asyncio
    import socket

    loop = asyncio.get_running_loop()
    here = threading.current_thread() is threading.main_thread()
    if not here or not isinstance(loop, asyncio.SelectorEventLoop):
        yield  # Windows' own loop is woken without us
        return
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        loop.add_reader(reader, reader.recv, 4096)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reader)
