"""The proxy with a breaker, a budget of retries and fallbacks as a test wants them, and what its log says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from scripted import PATIENCE, answer

from oaiproxy.app import Running, serve
from oaiproxy.breaker import Circuit
from oaiproxy.config import Breaker, Config, Limits, Server, Settings
from oaiproxy.mapping import Mapping as CompiledMapping
from oaiproxy.tokens import Tokenizer

CLOSE = {"Connection": "close"}
FINE = answer({"text": "fine"}, headers=CLOSE)


def failed(status: int = 500, message: str = "backend words", **headers: str) -> bytes:
    """An error answer, after which the connection is closed."""
    return answer({"error": {"message": message}}, status, {**CLOSE, **headers})


@asynccontextmanager
async def guarded(
    tokenizer: Tokenizer,
    *mappings: CompiledMapping,
    failures: int = 3,
    pause: float = 30,
    retries: float = 0.1,
    fallback: Mapping[str, Sequence[str]] | None = None,
    **server: Any,
) -> AsyncIterator[Running]:
    """The real `serve` on a free port; `fallback` is by the names of the mappings' files."""
    config = Config(
        [],
        Server(port=0, **{"shutdown_timeout": 1, **server}),
        Limits(retries=retries),
        "debug",
        breaker=Breaker(failures, pause),
        settings={Path(file): Settings(fallback=names) for file, names in (fallback or {}).items()},
    )
    async with serve(config, [(each, Path(each.file)) for each in mappings], tokenizer) as running:
        yield running


def circuits(running: Running) -> list[Circuit]:
    """All circuits that there are."""
    return [line.circuit for line in running.state.circuits._lines.values()]


def let_pauses_end(running: Running) -> None:
    """As if so much time had gone by."""
    for circuit in circuits(running):
        circuit._until = asyncio.get_running_loop().time()


async def logged(capfd: Any, event: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The log's lines of an event, once they are enough."""
    lines: list[dict[str, Any]] = []
    rest = ""
    async with asyncio.timeout(PATIENCE):
        while not enough(lines):
            await asyncio.sleep(0)
            *whole, rest = (rest + capfd.readouterr().err).split("\n")
            lines += [line for line in map(json.loads, whole) if line["event"] == event]
    return lines
