"""`oaiproxy serve`: a configuration to a running proxy, until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oaiproxy import __version__
from oaiproxy.app import Running, serve
from oaiproxy.cli.output import announce, cannot_listen, complain, complaint, report
from oaiproxy.config import Config
from oaiproxy.descriptors import DescriptorsError, needed, provide
from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.heap import Heap
from oaiproxy.listening import ListeningError
from oaiproxy.loops import LoopError, loop_factory, unfit
from oaiproxy.mapping import Mapping
from oaiproxy.perimeter import REMEDY, is_open
from oaiproxy.reload import Reloader
from oaiproxy.reporters import summary
from oaiproxy.startup import Startup, start_up
from oaiproxy.succession import Changes

MAX_SHOWN = 20
"""Models that are named at the start."""
LAST_SECONDS = 1.0
"""After a second signal, the most that the process lives."""
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The signal to reload, where the platform has it."""


def run(arguments: argparse.Namespace) -> int:
    """Serve; 0 after a signal, 1 after two, or when the configuration, a mapping or the port is not usable."""
    if HANGUP is not None:
        signal.signal(HANGUP, signal.SIG_IGN)  # until there is something to reload
    path = Path(arguments.config)

    def load() -> Startup:
        return start_up(path, os.environ, arguments.host, arguments.port, insecure=arguments.insecure)

    loaded = load()
    if loaded.absent:
        complain(f"{_absent(path, loaded)}; name a file with `--config`")
        return 2
    report(_news(loaded), loaded.sources, sys.stderr)
    for line in _refusals(loaded, "not started"):
        complain(line)
    config, seal = loaded.config, loaded.seal
    if config is None:
        return 1
    server = config.server
    if is_open(server.host, server.socket, server.tls, config.keys):
        told = f"whoever reaches {server.host} may use the backends, for there are no keys"
        if not server.insecure:
            complain(seal.text(f"not started: {told}; {REMEDY}"))
            return 1
        complain(seal.text(f"warning: {told}"))
    if reason := unfit():
        complain(f"not started: {reason}")
        return 1
    try:
        factory = loop_factory(config.server.loop)
        provide(needed(config.limits))
    except (LoopError, DescriptorsError) as error:
        complain(f"not started: {error}")
        return 1
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            serving = _serve(config, loaded, _Files(path, load, arguments.watch))
            del loaded  # a reload replaces it, and what nobody holds is freed
            return runner.run(serving)
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


@dataclass(frozen=True, slots=True)
class _Files:
    """Where the configuration is, what loads it, and whether its files are watched."""

    path: Path
    load: Callable[[], Startup]
    watched: bool


async def _serve(config: Config, loaded: Startup, files: _Files) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    hurries: list[asyncio.Event] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stop, hurries)
    mappings, known = loaded.mappings, loaded.files
    del loaded
    async with serve(config, mappings) as running:
        del mappings
        hurries.append(running.state.hurry)
        heap = Heap()

        async def take(config: Config, mappings: Sequence[tuple[Mapping, Path]]) -> Changes:
            changes = await running.reload(config, mappings)
            state = running.state
            loop.call_soon(lambda: heap.tidy(calm=not (state.active or state.background)))
            return changes

        reloader = Reloader(files.load, take, lambda found: _told(files.path, found), running.state.log, known)
        tasks = [asyncio.create_task(reloader.run())]
        if files.watched:
            tasks.append(asyncio.create_task(reloader.watch()))
        if HANGUP is not None:
            loop.add_signal_handler(HANGUP, reloader.ask)
        _greet(running, bool(config.keys))
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return 1 if running.state.hurry.is_set() else 0


def _stop(stop: asyncio.Event, hurries: list[asyncio.Event]) -> None:
    """The first signal ends the service gently, the second breaks off what is under way, the third ends it at once."""
    if not stop.is_set():
        stop.set()
    elif hurries and not hurries[0].is_set():
        hurries[0].set()
        asyncio.get_running_loop().call_later(LAST_SECONDS, os._exit, 1)
    else:
        os._exit(1)


def _news(loaded: Startup) -> list[Diagnostic]:
    """The findings, but for the open door, of which is told as it is in the end."""
    return [found for found in loaded.findings if found.code != "W105"]


def _absent(path: Path, loaded: Startup) -> str:
    return f"`{path}` cannot be read: {loaded.absent}"


def _refusals(loaded: Startup, what: str) -> Iterator[str]:
    """Why nothing can be served, beside the findings."""
    for file, reason in loaded.unread:
        yield loaded.seal.text(f"{what}: `{file}` cannot be read: {reason}")
    if loaded.count(Severity.ERROR):
        yield f"{what}: {summary(loaded.findings)}"


def _told(path: Path, loaded: Startup) -> str:
    """What is printed of a reload: as at the start."""
    stream = io.StringIO()
    report(_news(loaded), loaded.sources, stream)
    what = "not reloaded"
    lines = [f"{what}: {_absent(path, loaded)}"] if loaded.absent else _refusals(loaded, what)
    return stream.getvalue() + "".join(f"{complaint(line)}\n" for line in lines)


def _greet(running: Running, asked: bool) -> None:
    """What is served, and a line to try; `asked` are clients for a key."""
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
    key = ["-H", "Authorization: Bearer YOUR_KEY"] if asked else []
    url = f"{running.url}/v1/chat/completions"
    curl = ["curl", *over, url, *key, "-H", "Content-Type: application/json", "-d", body]
    announce("\n".join([*lines, f"try: {shlex.join(curl)}"]))
