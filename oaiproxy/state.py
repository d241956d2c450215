"""What the handlers of all requests share, and how what is under way is brought to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from oaiproxy.backend import BackendClient
from oaiproxy.clocks import Clock
from oaiproxy.config import Server
from oaiproxy.discovery import Discovery
from oaiproxy.errors import ClientError
from oaiproxy.hosts import Hosts
from oaiproxy.keyring import Holder, Keyring
from oaiproxy.logs import Log
from oaiproxy.mapping import Mapping
from oaiproxy.routes import Routes, unknown_model
from oaiproxy.sender import Sender
from oaiproxy.tokens import Tokenizer


@dataclass(slots=True)
class State:
    """What the handlers share. `routes` is replaced whole; `ready` turns false at shutdown."""

    routes: Routes
    client: BackendClient
    sender: Sender
    tokenizer: Tokenizer
    log: Log
    server: Server
    discovery: Discovery | None = None
    ready: bool = False
    keys: Keyring | None = None
    """Those that let clients in; None where nobody is asked. Replaced whole."""
    hosts: Hosts = field(default_factory=Hosts)
    """The names by which clients may call. Replaced whole."""
    active: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no request is under way."""
    clocks: set[Clock] = field(default_factory=set)
    """Those of the replies that backends are sending."""
    background: set[asyncio.Task[None]] = field(default_factory=set)
    """What outlives its request: calls, for a short time, and responses that are made in the background."""
    unattended: list[Callable[[bool], None]] = field(default_factory=list)
    """Each breaks off what outlives its request: that for which nobody waits, or all of it if it is told so."""

    async def resolve(self, model: str, holder: Holder | None = None) -> Mapping:
        """The mapping of a model, if it is for the holder of a key; None stands for nobody who is asked for one.

        A model that is unknown is looked for in the lists of backends. Raises ClientError.
        """
        if holder is not None and not holder.allows(model):
            raise unknown_model(model)
        try:
            return self.routes.resolve(model)
        except ClientError:
            if self.discovery is None:
                raise
        await self.discovery.look_again()
        return self.routes.resolve(model)

    async def drain(self, seconds: float, grace: float = 1.0) -> None:
        """Let what is under way finish for so long; then break it off, with an error that says why."""
        for break_off in self.unattended:
            break_off(False)
        for patience in (seconds, grace):
            if self.active:
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self.idle.wait()
            for clock in tuple(self.clocks):
                clock.interrupt()
        for break_off in self.unattended:
            break_off(True)
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while self.background and (left := end - loop.time()) > 0:  # what is broken off may tell its backend so
            await asyncio.wait(self.background, timeout=left)
            await asyncio.sleep(0)
        for task in self.background:
            task.cancel()
