"""What the handlers of all requests share, and how what is under way is brought to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any

from oaiproxy import descriptors
from oaiproxy.admission import Gate
from oaiproxy.backend import BackendClient
from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.circuits import Circuits
from oaiproxy.clocks import Clock, shutting_down
from oaiproxy.config import Config, Limits, Server, Settings
from oaiproxy.crowd import Crowd
from oaiproxy.discovery import Discovery
from oaiproxy.errors import ClientError, OverloadedError
from oaiproxy.fallbacks import fallbacks_of, unknown
from oaiproxy.generation import Generation
from oaiproxy.hosts import Hosts, meant_hosts
from oaiproxy.keyring import Holder, Keyring
from oaiproxy.logs import Log, Throttle
from oaiproxy.mapping import Mapping
from oaiproxy.memory import Memory
from oaiproxy.routes import Routes, unknown_model
from oaiproxy.sender import Sender
from oaiproxy.tokens import Tokenizer

GRACE_SECONDS = 0.6
"""How long what is broken off may take to say so."""
HURRY_SECONDS = 0.3
"""The same, when a second signal came."""


MAX_NAME = 200
"""Characters of a model's name in a log line."""


@dataclass(slots=True)
class State:
    """What the handlers share. A reload replaces `routes` and `server` whole; `ready` turns false at shutdown."""

    routes: Routes
    client: BackendClient
    sender: Sender
    tokenizer: Tokenizer
    log: Log
    server: Server
    bounds: Bounds = BOUNDS
    discovery: Discovery | None = None
    generation: Generation | None = None
    """What serves now."""
    ready: bool = False
    closed: bool = False
    """Whether the time of a shutdown is over: nothing is begun any more."""
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a shutdown shall wait for nothing."""
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)
    """Those that answer requests."""
    keys: Keyring | None = None
    """Those that let clients in; None where nobody is asked. Replaced whole."""
    hosts: Hosts = field(default_factory=Hosts)
    """The names by which clients may call. Replaced whole."""
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
    configured: list[Callable[[Config], None]] = field(default_factory=list)
    """Each takes over what else depends on the configuration. It neither waits nor raises."""

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

    @property
    def active(self) -> int:
        """How many requests are under way."""
        return len(self.under_way)

    def apply(self, config: Config, generation: Generation) -> None:
        """Take over a checked configuration, with what serves its mappings: at the start, and at each reload.

        Everything that depends on the configuration is replaced here, between two turns of the event loop, so that
        nobody sees a half of it; a request under way keeps what it took before. What raises changes nothing.
        """
        server = config.server
        mappings = [mapping for mapping, _ in generation.mappings]
        settings = {each.file: config.settings[path] for each, path in generation.mappings if path in config.settings}
        keys = Keyring(config.keys, self.keys) if config.keys else None
        hosts = meant_hosts(server.host, server.hosts, bool(config.keys or server.tls or server.socket))
        fallbacks = fallbacks_of(config, generation.mappings)
        files = descriptors.provide(descriptors.needed(config.limits))
        # What may raise is done: from here on nothing may, for half of a configuration would be served.
        self.server, self.keys, self.hosts, self.fallbacks = server, keys, hosts, fallbacks
        self.log.configure(config.log_level)
        self.bound(config.limits, settings, files)
        self.circuits.configure(config.breaker, config.limits.retries, mappings)
        self.sender.keep(mapping.backend for mapping in mappings)
        for take in self.configured:
            take(config)
        self.generation, self.discovery = generation, generation.discovery
        generation.follow(self._take)
        for model in unknown(self.fallbacks, self.routes):
            self.log.write("warning", "fallback", model=model[:MAX_NAME], detail="nobody serves this model now")

    def enter(self, task: asyncio.Task[Any]) -> None:
        """A request begins, which this task answers. Raises ProxyError when it is too late for that."""
        if self.closed:
            raise shutting_down()
        self.under_way.add(task)
        self.idle.clear()

    def leave(self, task: asyncio.Task[Any]) -> None:
        """A request has ended."""
        self.under_way.discard(task)
        if not self.under_way:
            self.idle.set()

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

    def _take(self, routes: Routes) -> None:
        self.routes = routes

    async def pause(self, seconds: float) -> None:
        """Let so much time pass, unless there is a hurry."""
        if seconds > 0 and not self.hurry.is_set():
            await _first(seconds, self.hurry)

    async def drain(self, seconds: float, grace: float = GRACE_SECONDS) -> None:
        """Let what is under way finish for so long; then break it off within `grace`, with an error that says why."""
        for break_off in self.unattended:
            break_off(False)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.under_way and not self.hurry.is_set() and (left := end - loop.time()) > 0:
            await _first(left, self.idle, self.hurry)  # after which another one may have begun
        self.closed = True
        self.gate.close(shutting_down())
        end = loop.time() + (min(grace, HURRY_SECONDS) if self.hurry.is_set() else grace)
        for clock in tuple(self.clocks):
            clock.interrupt()
        await self._ended((end - loop.time()) / 2)
        for break_off in self.unattended:
            break_off(True)
        await self._ended((end - loop.time()) / 2)
        for task in tuple(self.under_way):  # such as those whose requests have not come whole, or are not read
            task.cancel()
        await self._ended(end - loop.time())
        while self.background and (left := end - loop.time()) > 0:  # what is broken off may tell its backend so
            await asyncio.wait(self.background, timeout=left)
            await asyncio.sleep(0)
        for task in self.background:
            task.cancel()

    async def _ended(self, seconds: float) -> None:
        """Wait until no request is under way, but no longer."""
        if self.under_way:
            await _first(seconds, self.idle)


async def _first(seconds: float, *events: asyncio.Event) -> None:
    """Wait for any of these events, for so long."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
