"""Promises of Ctrl-C: no command goes on after it, whatever it was at."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from commands import environment
from scripted import PATIENCE

from oaiproxy.cli.interrupts import ending_at_once, run_loop

SWALLOWED = """\
import signal, sys
from oaiproxy import cli
class Left:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
load = cli._module
def loaded(name):
    Left()
    return load(name)
cli._module = loaded
sys.exit(cli.main(["list"]))
"""
"""The interrupt comes in a destructor while a command is loaded: what is raised there is told, and forgotten."""


@pytest.fixture
def default() -> Iterator[None]:
    """Python's own handler, whoever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_a_command_is_loaded_is_not_swallowed() -> None:
    """Exit code 130, and nothing printed."""
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.usefixtures("default")
def test_an_interrupt_is_an_exception_again_afterwards() -> None:
    """What is under way then is tidied up."""
    with ending_at_once():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("default")
def test_who_ignores_interrupts_goes_on_to() -> None:
    """As what a shell starts in the background does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ending_at_once():
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("default")
def test_an_interrupt_cancels_what_runs_in_the_loop() -> None:
    """And nothing is left of what wakes it."""
    seen = []

    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        run_loop(main)
    assert seen == ["cancelled"]
    assert signal.set_wakeup_fd(-1) == -1


def test_what_runs_in_the_loop_of_another_thread_gives_its_result() -> None:
    """No signal comes there."""

    async def main() -> int:
        return await asyncio.to_thread(lambda: 7)

    async def outer() -> int:
        return await asyncio.to_thread(run_loop, main)

    assert asyncio.run(outer()) == 7
