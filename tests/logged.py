"""A service whose log is read as it comes: lines to wait for, and the text for people between them."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from commands import Service
from scripted import PATIENCE


class Logged(Service):
    """A service. `events` are the `lines` of its log so far, and `printed` is what else came on standard error."""

    async def __aenter__(self) -> Self:
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.printed: list[str] = []
        self._came = asyncio.Condition()
        await super().__aenter__()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *error: Any) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await super().__aexit__(*error)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def told(self, event: str, number: int = 1) -> dict[str, Any]:
        """Wait for a log line: the first of an event, or a later one."""
        async with asyncio.timeout(PATIENCE), self._came:
            while len(found := [each for each in self.events if each["event"] == event]) < number:
                await self._came.wait()
        return found[number - 1]

    async def exit(self) -> int:
        """Wait until it ended by itself, and all that it logged is read; the exit code."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            async with self._came:
                if line.startswith(b'{"time":'):
                    self.lines.append(line.decode().removesuffix("\n"))
                    self.events.append(json.loads(line))
                else:
                    self.printed.append(line.decode().rstrip("\n"))
                self._came.notify_all()
