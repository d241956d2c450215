"""The command as users run it: in a process of its own, with what it prints, its exit code, and signals to it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from scripted import PATIENCE
from support import ROOT

OAIPROXY = (sys.executable, "-m", "oaiproxy")
_OURS = re.compile(r"YOUR_|(NO|FORCE)_COLOR$|.*_proxy$|PYTHONPATH$|TERM$", re.IGNORECASE)


def environment(**variables: str) -> dict[str, str]:
    """That of the tests, without what would change the outcome."""
    kept = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
    return kept | {"PYTHONPATH": str(ROOT)} | variables


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that the system gives to nobody until they are used, as it does with others."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            sockets.append(socket.socket())
            with suppress(OSError):
                sockets[-1].bind(("127.0.0.1", random.randrange(10_000, 32_000)))
                continue
            sockets.pop().close()
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def run(*arguments: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return execute(*OAIPROXY, *arguments, cwd=cwd, **variables)


def execute(*command: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run any program to its end; no input, and no patience beyond what it needs on any machine."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


class Service:
    """A command that serves until a signal ends it. The block's end kills it where it still runs."""

    def __init__(self, *arguments: str | Path, cwd: Path = ROOT, **variables: str) -> None:
        self.greeting = ""
        """The first line that it prints."""
        self._arguments = arguments
        self._cwd = cwd
        self._variables = variables

    @property
    def url(self) -> str:
        """The address in the greeting, without a path."""
        found = re.search(r"http://[^/\s]+", self.greeting)
        assert found, self.greeting
        return found[0]

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *OAIPROXY,
            *self._arguments,
            cwd=self._cwd,
            env=environment(**self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            self.greeting = await self.line()
        except BaseException:
            self._process.kill()  # else it would serve for ever
            await self._process.wait()
            raise
        if not self.greeting:
            raise AssertionError((await self.end())[2])
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()

    async def line(self) -> str:
        """The next line on its standard output; "" at the end."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._process.stdout.readline()).decode().rstrip("\n")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def end(self) -> tuple[int, str, str]:
        """Wait until it ended by itself: the exit code, and what was still to read of its two outputs."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, out.decode(), err.decode()
