"""Promises of `oaiproxy.cli.progress`: one line on a terminal, gone at the end, and never a byte in a pipe."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from commands import environment
from scripted import PATIENCE
from support import ROOT

from oaiproxy.cli.progress import Progress

PROGRAM = """
import sys
from oaiproxy.cli.progress import Progress
with Progress(3, sys.stderr) as progress:
    for label in {labels!r}:
        progress.step(label)
        sys.stdin.readline()
print("done", file=sys.stderr)
"""


class Terminal:
    """A terminal with a program on it: what it shows is read as it comes."""

    def __init__(self, side: int, process: subprocess.Popen[bytes]) -> None:
        self._side = side
        self.process = process
        self.seen = ""

    def until(self, pattern: str) -> str:
        """Read until what was shown matches."""
        while not re.search(pattern, self.seen):
            assert select.select([self._side], [], [], PATIENCE)[0], f"not shown: {pattern}; shown: {self.seen!r}"
            self.seen += os.read(self._side, 65536).decode()
        return self.seen

    def go_on(self) -> None:
        """Let the program's next step begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


@contextmanager
def terminal(labels: list[str], **variables: str) -> Iterator[Terminal]:
    """A program whose standard error is a terminal."""
    side, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(labels=labels)],
        cwd=ROOT,
        env=environment(**{"TERM": "xterm"} | variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=other,
    )
    os.close(other)
    with process:
        try:
            yield Terminal(side, process)
        finally:
            process.kill()
            os.close(side)


def test_a_long_step_is_shown_and_erased() -> None:
    """Each rewrites the line; at the end it is as if nothing had been there."""
    with terminal(["one.yaml", "two.yaml", "three.yaml"]) as shown:
        shown.until(re.escape("\r\x1b[Kchecking 1/3 one.yaml"))
        shown.go_on()
        shown.until(re.escape("\r\x1b[Kchecking 2/3 two.yaml"))
        shown.go_on()
        shown.until(re.escape("\r\x1b[Kchecking 3/3 three.yaml"))
        shown.go_on()
        assert shown.until("done\r\n").endswith("\r\x1b[Kdone\r\n")


def test_a_label_does_not_wrap_and_gets_no_hold_of_the_terminal() -> None:
    """What is too long is cut, by columns; what is not printable is a question mark."""
    with terminal(["\x1b[2J" + "日" * 60, "x" * 500]) as shown:
        shown.until(re.escape("checking 1/3 ?[2J") + "日{31}$")
        shown.go_on()
        shown.until("checking 2/3 x{66}$")


def test_a_dumb_terminal_shows_nothing() -> None:
    """It could not erase."""
    with terminal([], TERM="dumb") as shown:
        assert shown.until("done\r\n") == "done\r\n"


def test_a_pipe_shows_nothing() -> None:
    """However much there is to do."""
    stream = io.StringIO()
    with Progress(2, stream) as progress:
        progress.step("one")
        progress.step("two")
        progress.clear()
    assert stream.getvalue() == ""


def test_short_work_shows_nothing() -> None:
    """It is over before anybody could read it."""
    side, other = pty.openpty()
    with os.fdopen(other, "w") as stream:
        with Progress(1, stream) as progress:
            progress.step("one")
        print("done", file=stream, flush=True)
        assert os.read(side, 65536) == b"done\r\n"
    os.close(side)


def test_a_terminal_that_goes_away_is_no_failure() -> None:
    """The work is what matters."""
    side, other = pty.openpty()
    stream = os.fdopen(other, "w")
    with Progress(1, stream) as progress:
        progress._begin()
        os.close(side)
        progress.step("one")
    with suppress(OSError):
        stream.close()
