"""What the handlers of all requests share, and how what is under way is brought to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from contextlib import suppress
from dataclasses import dataclass, field

from oaiproxy import descriptors
from oaiproxy.admission import Gate
from oaiproxy.backend import BackendClient
from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.circuits import Circuits
from oaiproxy.clocks import Clock
from oaiproxy.config import Limits, Server, Settings
from oaiproxy.crowd import Crowd
from oaiproxy.discovery import Discovery
from oaiproxy.errors import ClientError, OverloadedError, ProxyError
from oaiproxy.logs import Log, Throttle
from oaiproxy.mapping import Mapping
from oaiproxy.memory import Memory
from oaiproxy.routes import Routes
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
    bounds: Bounds = BOUNDS
    discovery: Discovery | None = None
    ready: bool = False
    active: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no request is under way."""
    clocks: set[Clock] = field(default_factory=set)
    """Those of the replies that backends are sending."""
    background: set[asyncio.Task[None]] = field(default_factory=set)
    """What outlives its request: calls, for a short time, and responses that are made in the background."""
    unattended: list[Callable[[bool], None]] = field(default_factory=list)
    """Each breaks off what outlives its request: that for which nobody waits, or all of it if it is told so."""
    gate: Gate = field(default_factory=Gate)
    crowd: Crowd = field(default_factory=lambda: Crowd(Limits().clients))
    memory: Memory = field(default_factory=Memory)
    fallbacks: Dict[str, Sequence[str]] = field(default_factory=dict)
    """The models that answer in place of others, by the files of the mappings of those."""
    circuits: Circuits = field(init=False)
    """Which backends may be asked now, and how often again."""

    def __post_init__(self) -> None:
        self.circuits = Circuits(self.log)

    def bound(self, limits: Limits, settings: Dict[str, Settings], files: int | None) -> None:
        """Take the bounds of a configuration, also anew; `settings` are by the files of mappings.

        `files` is how many the process may have open. Who has a place, or a connection, keeps it.
        """
        self.bounds = limits.bounds
        self.gate.configure(limits, settings)
        self.client.configure(limits.connections, limits.queue_timeout)
        clients = descriptors.clients_for(limits, files)
        self.crowd.limit = clients
        if clients < limits.clients:
            self.log.write("warning", "few_files", files=files, needed=descriptors.needed(limits), clients=clients)
        if not self.memory.configure(limits.memory):
            self.log.write("warning", "memory", detail="this system does not tell how much memory is taken")

    def watch(self) -> None:
        """Tell in the log of what is turned away before it is a request, and of what memory does."""
        throttle = Throttle(1)

        def full() -> None:
            if throttle.passes():
                self.log.write("warning", "clients", limit=self.crowd.limit, **throttle.noted())

        def turned(high: bool, taken: int) -> None:
            self.log.write("warning" if high else "info", "memory", high=high, bytes=taken)

        self.crowd.tell, self.memory.tell = full, turned

    @property
    def refuses(self) -> bool:
        """Whether new requests are refused. Never while nothing is under way: waiting would change nothing then."""
        return self.memory.high and bool(self.active or self.background)

    def check(self) -> None:
        """Raises OverloadedError when a request that just came is refused, before its body is read."""
        if self.memory.high and (self.active > 1 or self.background):
            raise OverloadedError(detail="too much memory is taken")

    async def resolve(self, model: str) -> Mapping:
        """The mapping of a model; one that is unknown is looked for in the lists of backends. Raises ClientError."""
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
            self.gate.close(_SHUTDOWN)
        for break_off in self.unattended:
            break_off(True)
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while self.background and (left := end - loop.time()) > 0:  # what is broken off may tell its backend so
            await asyncio.wait(self.background, timeout=left)
            await asyncio.sleep(0)
        for task in self.background:
            task.cancel()


_SHUTDOWN = ProxyError("the proxy is shutting down", status=503, code="server_shutdown", retry_after=1)
"""For requests that no backend has seen."""
