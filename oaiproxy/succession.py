"""One configuration after another to what serves now: each taken over whole, the one before it left as it is unused."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oaiproxy.config import Config, Server
from oaiproxy.generation import NO_LISTS, Generation
from oaiproxy.mapping import Mapping
from oaiproxy.perimeter import is_open
from oaiproxy.state import State

AT_START = ("host", "port", "socket", "tls", "loop")
"""Settings of the server that need a restart."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a configuration brought: models that came and went, and settings that a restart alone brings."""

    added: Sequence[str]
    removed: Sequence[str]
    restart: Sequence[str]


class Succession:
    """The configurations that serve, one at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._created = int(time.time())
        self._turn = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def take(self, config: Config, mappings: Sequence[tuple[Mapping, Path]]) -> Changes:
        """Serve these from now on; requests under way keep theirs. What raises, as OSError does, changes nothing."""
        async with self._turn:
            state, before = self._state, self._state.generation
            restart: list[str] = []
            if before is not None:
                config, restart = _kept(config, state.server)
                _stay_closed(config)
            bounded = [(replace(mapping, bounds=config.limits.bounds), path) for mapping, path in mappings]
            following = Generation(bounded, self._created)
            known = before.discovery.lists() if before is not None and before.discovery is not None else NO_LISTS
            await following.open(state.sender, state.log, known)
            names = state.routes.names()
            try:
                state.apply(config, following)
            except BaseException:
                await following.close()
                raise
            if before is not None:
                self._retire(before)
            now = state.routes.names()
            return Changes(sorted(now - names), sorted(names - now), restart)

    async def close(self) -> None:
        """End what runs for any of them."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        if self._state.generation is not None:
            await self._state.generation.close()

    def _retire(self, generation: Generation) -> None:
        task = asyncio.get_running_loop().create_task(self._leave(generation, set(self._state.under_way)))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, generation: Generation, users: set[asyncio.Task[None]]) -> None:
        """End what runs for a generation once nobody can use it: `users` were under way when it was replaced."""
        try:
            await generation.leave()
            if generation.mocked:
                if users:
                    await asyncio.wait(users)
                if late := set(self._state.background):  # what outlives them
                    await asyncio.wait(late)
        finally:
            await generation.close()


def _stay_closed(config: Config) -> None:
    """Raises PermissionError where the address that is listened on would be open to all with this configuration."""
    server = config.server
    if is_open(server.host, server.socket, server.tls, config.keys) and not server.insecure:
        raise PermissionError(errno.EACCES, f"whoever reaches {server.host} could use the backends without a key")


def _kept(config: Config, server: Server) -> tuple[Config, list[str]]:
    """The configuration with the settings of the server that cannot change now, and those that would."""
    differ = [name for name in AT_START if getattr(config.server, name) != getattr(server, name)]
    kept = {name: getattr(server, name) for name in AT_START}
    return replace(config, server=replace(config.server, **kept)), [f"server.{name}" for name in differ]
