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
from typing import TypeAlias

from oaiproxy import __version__
from oaiproxy.app import Running, serve
from oaiproxy.checkup import Checkup
from oaiproxy.cli.output import announce, cannot_listen, complain, report
from oaiproxy.config import Config, make_config
from oaiproxy.diagnostics import Severity
from oaiproxy.listening import ListeningError
from oaiproxy.loader import Loader
from oaiproxy.loops import LoopError, loop_factory, unfit
from oaiproxy.mapping import Mapping
from oaiproxy.perimeter import REMEDY, is_open
from oaiproxy.reporters import summary
from oaiproxy.sealing import Seal

Mappings: TypeAlias = Sequence[tuple[Mapping, Path]]

MAX_SHOWN = 20
"""Models that are named at the start."""


def run(arguments: argparse.Namespace) -> int:
    """Serve; 0 after a signal, 1 when the configuration, a mapping or the port is not usable."""
    loaded = _load(Path(arguments.config), arguments.host, arguments.port)
    if isinstance(loaded, int):
        return loaded
    config, mappings, seal = loaded
    server = config.server
    if is_open(server.host, server.socket, server.tls, config.keys):
        told = f"whoever reaches {server.host} may use the backends, for there are no keys"
        if not (server.insecure or arguments.insecure):
            complain(seal.text(f"not started: {told}; {REMEDY}"))
            return 1
        complain(seal.text(f"warning: {told}"))
    if reason := unfit():
        complain(f"not started: {reason}")
        return 1
    try:
        factory = loop_factory(config.server.loop)
    except LoopError as error:
        complain(f"not started: {error}")
        return 1
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_serve(config, mappings))
    except ListeningError as error:
        complain(seal.text(f"not started: {error}"))
        return 1
    except (OSError, UnicodeError) as error:
        if config.server.socket is not None:
            why = getattr(error, "strerror", None) or error
            complain(seal.text(f"not started: cannot listen on `{config.server.socket}`: {why}"))
            return 1
        complain(seal.text(cannot_listen(config.server.host, config.server.port, error)))
        return 1


def _load(path: Path, host: str | None, port: int | None) -> tuple[Config, Mappings, Seal] | int:
    """The configuration and its mappings; an exit code where they are not usable, all that is wrong in any told."""
    checkup = Checkup(Loader(os.environ), thorough=False)
    checkup.add(path, config=True)
    first, *named = checkup.run()
    if first.config is None:
        complain(f"`{path}` cannot be read: {first.unread}; name a file with `--config`")
        return 2
    findings = [found for file in (first, *named) for found in file.diagnostics]
    unread = [file for file in named if file.unread]
    broken = any(found.severity is Severity.ERROR for found in findings)
    said_again = [found for found in first.diagnostics if found.code == "W105"]  # of what is so in the end
    report([found for found in findings if found not in said_again], checkup.loader.sources, sys.stderr)
    for file in unread:
        complain(first.seal.text(f"not started: `{file.file}` cannot be read: {file.unread}"))
    if broken:
        complain(f"not started: {summary(findings)}")
    if broken or unread or first.config.data is None:
        return 1
    config = make_config(first.config.data, first.config.entries, host=host, port=port)
    return config, [(file.mapping, file.path) for file in named if file.mapping is not None], first.seal


async def _serve(config: Config, mappings: Mappings) -> int:
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
    on_socket = f" on the socket {running.socket}" if running.socket else ""
    lines = [f"oaiproxy {__version__} serves {shown}{more} at {running.url}/v1{on_socket}"]
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
    over = ["--unix-socket", running.socket] if running.socket else []
    curl = ["curl", *over, f"{running.url}/v1/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    announce("\n".join([*lines, f"try: {shlex.join(curl)}"]))
