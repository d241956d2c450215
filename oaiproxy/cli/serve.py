"""`oaiproxy serve`: a configuration to a running proxy, until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from oaiproxy import __version__
from oaiproxy.app import Running, serve
from oaiproxy.cli.arguments import host, port
from oaiproxy.cli.output import announce, cannot_listen, complain, refuse, report
from oaiproxy.config import Config, read_config
from oaiproxy.errors import MappingError
from oaiproxy.loader import Loader
from oaiproxy.loops import LoopError, loop_factory
from oaiproxy.mapping import Mapping

MAX_SHOWN = 20
"""Models that are named at the start."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    command.add_argument("--config", default="config.yaml", help="configuration file (default: %(default)s)")
    command.add_argument("--host", type=host, help="address to listen on, over the configuration's")
    command.add_argument("--port", type=port, help="port to listen on, over the configuration's; 0 is any free one")


def run(arguments: argparse.Namespace) -> int:
    """Serve; 0 after a signal, 1 when the configuration, a mapping or the port is not usable."""
    path = Path(arguments.config)
    try:
        config = read_config(path, os.environ, host=arguments.host, port=arguments.port)
        loader = Loader(os.environ)
        mappings, warnings = loader.load(config.mappings)
        factory = loop_factory(config.server.loop)
    except MappingError as error:
        refuse(error)
        return 1
    except LoopError as error:
        complain(f"not started: {error}")
        return 1
    except OSError as error:
        if error.filename is not None and Path(error.filename) != path:
            complain(f"not started: `{error.filename}` cannot be read: {error.strerror}")
            return 1
        complain(f"`{path}` cannot be read: {error.strerror}; name a file with `--config`")
        return 2
    report(warnings, loader.sources, sys.stderr)
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_serve(config, mappings))
    except (OSError, UnicodeError) as error:
        complain(cannot_listen(config.server.host, config.server.port, error))
        return 1


async def _serve(config: Config, mappings: Sequence[tuple[Mapping, Path]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stop)
    async with serve(config, mappings) as running:
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked through again and again
        _greet(running)
        await stop.wait()
    return 0


def _stop(stop: asyncio.Event) -> None:
    """The first signal ends the service gently, the second at once."""
    if stop.is_set():
        os._exit(1)
    stop.set()


def _greet(running: Running) -> None:
    models = [model["id"] for model in running.state.routes.models()]
    more = f" and {len(models) - MAX_SHOWN} more" if len(models) > MAX_SHOWN else ""
    shown = ", ".join(models[:MAX_SHOWN]) or "no model yet"
    lines = [f"oaiproxy {__version__} serves {shown}{more} at {running.url}/v1"]
    lines += [
        f"the backend of `{name}` is its own examples; set its address to reach the real one"
        for name in sorted(running.mocked)
    ]
    body = json.dumps(
        {
            "model": models[0] if models else "MODEL",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        }
    )
    curl = ["curl", f"{running.url}/v1/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    announce("\n".join([*lines, f"try: {shlex.join(curl)}"]))
