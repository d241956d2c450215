"""`oaiproxy mock`: a mapping's examples, served as its backend until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path

from oaiproxy.app import serve_mock
from oaiproxy.bundled import mapping_path
from oaiproxy.cli.output import announce, cannot_listen, complain, refuse, ships
from oaiproxy.errors import MappingError
from oaiproxy.loader import Loader
from oaiproxy.loops import LoopError, loop_factory
from oaiproxy.mapping import Mapping


def run(arguments: argparse.Namespace) -> int:
    """Serve; 0 after a signal, 1 when the mapping or the port is not usable, 2 when there is no such mapping."""
    path = mapping_path(arguments.mapping, Path())
    try:
        [(mapping, _)], _ = Loader(os.environ).load([(str(path), path)], environment=False)
    except MappingError as error:
        refuse(error)
        return 1
    except OSError as error:
        hint = ships(arguments.mapping) if isinstance(error, FileNotFoundError) else ""
        complain(f"`{arguments.mapping}` cannot be read: {error.strerror}{hint}")
        return 2
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
