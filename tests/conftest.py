"""Fixtures that many tests share: the proxy itself, and the event loops it runs on."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from contract import STRICT, Recorder

from oaiproxy import app
from oaiproxy.app import Running, serve
from oaiproxy.config import Config, Limits, Server
from oaiproxy.loops import loop_factory
from oaiproxy.mapping import Mapping as CompiledMapping
from oaiproxy.tokens import Tokenizer

Proxy = Callable[..., Awaitable[Running]]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in the background
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # else the processes that tests start could not be interrupted


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all` runs what is marked `thorough` too."""
    parser.addoption("--all", action="store_true", help="also what takes long: every cut, every client")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is thorough, but for `--all`, and for files that were named."""
    if config.getoption("--all") or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    thorough = [item for item in items if item.get_closest_marker("thorough")]
    if thorough:
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def pytest_collection_finish() -> None:
    """What was imported stays: nothing is gained by looking at all of it for each few thousand objects of a test."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How the suites of the clients went, each with its counts, and how many responses were held against schemas."""
    told: dict[str, list[Any]] = {"clients": [], "checked": []}
    kinds = ("passed", "failed", "skipped", "error", "")
    for report in (report for kind in kinds for report in terminalreporter.stats.get(kind, [])):
        for key, value in getattr(report, "user_properties", ()):
            if key in told and (key == "checked") == (report.when == "teardown"):
                told[key].append(value)
    if told["clients"]:
        terminalreporter.section("clients")
        terminalreporter.write_line("\n".join(sorted(map(str, told["clients"]))))
    against = "OpenAI's schemas" if STRICT.is_dir() else "the order of streams alone: OpenAI's schemas are not here"
    terminalreporter.write_line(f"{sum(told['checked'])} responses of the proxy were checked against {against}")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops of an async test: asyncio's own, and those it names in `pytest.mark.asyncio(loop_factories=...)`."""
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        return {"uvloop": loop_factory("auto"), "asyncio": loop_factory("asyncio")}
    return {"asyncio": loop_factory("asyncio")}


@pytest.fixture(autouse=True)
def contract(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """Every server that a test starts is recorded, and what it sent is held against OpenAI's contract in the end."""
    recorder, create = Recorder(), app.create_app
    app.create_app = lambda state, middlewares=(): create(state, [recorder.middleware, *middlewares])
    try:
        yield recorder
    finally:
        app.create_app = create
    request.node.user_properties.append(("checked", len(recorder.sent)))
    recorder.check()


@pytest.fixture(scope="session")
def tokenizer() -> Iterator[Tokenizer]:
    """One for all proxies: they come and go by the hundred here, and each would load the same ranks again."""
    shared = Tokenizer()
    yield shared
    shared.close()


@pytest.fixture
async def proxy(tokenizer: Tokenizer) -> AsyncIterator[Proxy]:
    """Starts the real `serve` on a free port with these mappings; keyword arguments are those of `Server`."""
    async with AsyncExitStack() as stack:

        async def start(*mappings: CompiledMapping, connections: int = 2000, **server: Any) -> Running:
            settings = Server(port=0, **{"shutdown_timeout": 1, **server})
            config = Config([], settings, Limits(connections), log_level="debug")
            return await stack.enter_async_context(
                serve(config, [(mapping, Path(mapping.file)) for mapping in mappings], tokenizer)
            )

        yield start
