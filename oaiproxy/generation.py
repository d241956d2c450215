"""The mappings of one configuration to what serves them: a table of models, mocks, and what keeps their lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from oaiproxy.backends import MOCK_URL
from oaiproxy.discovery import Discovery, Lists
from oaiproxy.logs import Log
from oaiproxy.mapping import Mapping
from oaiproxy.mock import serve_mock
from oaiproxy.routes import Routes
from oaiproxy.sender import Sender

NO_LISTS: Lists = MappingProxyType({})


class Generation:
    """What serves these mappings until a reload brings others. `routes` is replaced whole when a list changes.

    `created` is what the model list says, in seconds since 1970.
    """

    def __init__(self, mappings: Sequence[tuple[Mapping, Path]], created: int) -> None:
        self.mappings = mappings
        self.mocked = frozenset(mapping.name for mapping, _ in mappings if mapping.backend.url == MOCK_URL)
        """The mappings whose backend is their own examples."""
        self.routes = Routes((), created)
        self.discovery: Discovery | None = None
        self._created = created
        self._stack = AsyncExitStack()
        self._follow: Callable[[Routes], None] | None = None

    async def open(self, sender: Sender, log: Log, known: Lists = NO_LISTS) -> None:
        """Start what runs for them; `known` are lists of models that were fetched before. Raises OSError."""
        try:
            ready = [await self._with_backend(mapping, path) for mapping, path in self.mappings]
            self.routes = Routes(ready, self._created)
            if any(mapping.model_list is not None for mapping in ready):
                self.discovery = Discovery(ready, sender, log, self._publish, known)
                self._stack.push_async_callback(self.discovery.close)
                await self.discovery.start()
        except BaseException:
            await self.close()
            raise

    def follow(self, take: Callable[[Routes], None]) -> None:
        """Give the table to `take`, and again whenever it changes."""
        self._follow = take
        take(self.routes)

    async def leave(self) -> None:
        """Another generation serves now: no list is fetched any more, but mocks still answer those that ask them."""
        self._follow = None
        if self.discovery is not None:
            await self.discovery.close()

    async def close(self) -> None:
        """End all that runs."""
        await self._stack.aclose()

    def _publish(self, found: list[Mapping]) -> None:
        self.routes = Routes(found, self._created)
        if self._follow is not None:
            self._follow(self.routes)

    async def _with_backend(self, mapping: Mapping, path: Path) -> Mapping:
        """The mapping with an address that can be called: `mock:` becomes a backend of its own on loopback."""
        if mapping.backend.url != MOCK_URL:
            return mapping
        url = await self._stack.enter_async_context(serve_mock(mapping, path, "127.0.0.1", 0))
        return replace(mapping, backend=replace(mapping.backend, url=url, local=True, auth=None))
