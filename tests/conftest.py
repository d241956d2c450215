"""Fixtures that many tests share: the proxy itself, and the event loops it runs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from oaiproxy import tokens
from oaiproxy.app import Running, serve
from oaiproxy.config import Config, Limits, Server
from oaiproxy.loops import loop_factory
from oaiproxy.mapping import Mapping as CompiledMapping

Proxy = Callable[..., Awaitable[Running]]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops of an async test: asyncio's own, and those it names in `pytest.mark.asyncio(loop_factories=...)`."""
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        return {"uvloop": loop_factory("auto"), "asyncio": loop_factory("asyncio")}
    return {"asyncio": loop_factory("asyncio")}


@pytest.fixture(scope="session", autouse=True)
def ranks_are_loaded_once() -> None:
    """Proxies come and go by the hundred here; each would load the same ranks again."""
    tokens._load_or_estimate = cache(tokens._load_or_estimate)


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Starts the real `serve` on a free port with these mappings; keyword arguments are those of `Server`."""
    async with AsyncExitStack() as stack:

        async def start(*mappings: CompiledMapping, connections: int = 2000, **server: Any) -> Running:
            settings = Server(port=0, **{"shutdown_timeout": 1, **server})
            config = Config([], settings, Limits(connections), log_level="debug")
            return await stack.enter_async_context(
                serve(config, [(mapping, Path(mapping.file)) for mapping in mappings])
            )

        yield start
