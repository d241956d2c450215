"""`oaiproxy mock`: a mapping's examples, served as its backend until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from oaiproxy.cli.loading import load_shown
from oaiproxy.cli.output import announce, cannot_listen, complain
from oaiproxy.loops import LoopError, loop_factory
from oaiproxy.mapping import Mapping
from oaiproxy.mock import serve_mock


def run(arguments: argparse.Namespace) -> int:
    """Serve; 0 after a signal, 1 when the mapping or the port is not usable, 2 when there is no such mapping."""
    loaded = load_shown(arguments.mapping)
    if isinstance(loaded, int):
        return loaded
    mapping, path = loaded
    if not mapping.examples:
        complain(f"`{arguments.mapping}` has no examples to serve; add some under `examples`")
        return 1
    try:
        with asyncio.Runner(loop_factory=loop_factory("auto")) as runner:
            return runner.run(_serve(mapping, path, arguments.host, arguments.port))
    except LoopError as error:
        complain(f"not started: {error}")
        return 1
    except (OSError, UnicodeError) as error:
        complain(cannot_listen(arguments.host, arguments.port, error))
        return 1


async def _serve(mapping: Mapping, path: Path, host: str, port: int) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve_mock(mapping, path, host, port) as url:
        announce(f"{len(mapping.examples)} examples of `{mapping.name}` are served at {url}")
        await stop.wait()
    return 0
