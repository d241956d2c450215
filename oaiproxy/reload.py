"""A changed configuration to a running proxy: read and compiled apart, then taken over whole, or refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from oaiproxy.config import Config
from oaiproxy.diagnostics import Severity
from oaiproxy.logs import Log
from oaiproxy.mapping import Mapping as CompiledMapping
from oaiproxy.middleware import report_bug
from oaiproxy.reading import Print, print_of
from oaiproxy.startup import Startup
from oaiproxy.succession import Changes

MAX_SHOWN = 20
"""Models that are named in a log line."""
LOOK_SECONDS = 1.0
"""How often files are looked at."""
Take: TypeAlias = Callable[[Config, Sequence[tuple[CompiledMapping, Path]]], Awaitable[Changes]]
Made = TypeVar("Made")


class Reloader:
    """Reloads when asked: `take` serves what `load` brought, and `told` makes what is printed of that.

    Those two may take long, for a line may have a MiB: they run in a thread of their own.
    """

    def __init__(
        self,
        load: Callable[[], Startup],
        take: Take,
        told: Callable[[Startup], str],
        log: Log,
        files: Mapping[Path, Print],
    ) -> None:
        self._load = load
        self._take = take
        self._told = told
        self._log = log
        self._files = files
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()

    def ask(self) -> None:
        """Reload soon; while a reload is under way, all who ask get one more after it."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever asked."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.reload()

    async def watch(self, every: float = LOOK_SECONDS) -> None:
        """Reload whenever a file was changed that the last load asked for, and has held still since the last look."""
        last: Mapping[Path, Print] = self._files
        while True:
            await asyncio.sleep(every)
            try:
                now: Mapping[Path, Print] = await apart(partial(_look, tuple(self._files)))
            except RuntimeError:  # no thread can be had now
                continue
            if now == last and now != self._files:
                before = self._files
                await self.reload()
                if self._files is before:  # it failed before it knew them: the next change is the next try
                    self._files = now
                now = self._files
            last = now

    def _read(self) -> tuple[Startup, str]:
        loaded = self._load()
        return loaded, self._told(loaded)

    async def reload(self) -> bool:
        """Reload now; whether what the files say is served."""
        async with self._turn:
            try:
                loaded, told = await apart(self._read)
                if told:
                    self._log.text(told)
                self._files = loaded.files
                counts = {"errors": loaded.count(Severity.ERROR), "warnings": loaded.count(Severity.WARNING)}
                if loaded.config is None:
                    unread = len(loaded.unread) + bool(loaded.absent)
                    self._log.write("error", "reload", ok=False, **counts, unread=unread)
                    return False
                changes = await self._take(loaded.config, loaded.mappings)
            except OSError as error:
                self._log.write("error", "reload", ok=False, error=error.strerror or type(error).__name__)
                return False
            except Exception as error:
                report_bug(self._log, "reload", error)
                self._log.write("error", "reload", ok=False, error="internal_error")
                return False
            fields: dict[str, object] = {"added": changes.added[:MAX_SHOWN], "removed": changes.removed[:MAX_SHOWN]}
            if changes.restart:
                fields["restart_needed"] = changes.restart
            self._log.write("info", "reload", ok=True, mappings=len(loaded.mappings), **counts, **fields)
            return True


async def apart(work: Callable[[], Made]) -> Made:
    """Do work in a thread of its own, so that the event loop has its turns; the process's end does not wait for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Made] = loop.create_future()

    def settle(result: Made | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="oaiproxy-reload", daemon=True).start()
    return await future


def _look(files: Sequence[Path]) -> dict[Path, Print]:
    return {path: print_of(path) for path in files}
