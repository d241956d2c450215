"""Where clients come in: a port or a Unix socket, with TLS or without; certificates are taken anew as they change."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from oaiproxy.config import Server
from oaiproxy.crowd import Crowd
from oaiproxy.handshakes import Handshakes
from oaiproxy.logs import Log
from oaiproxy.server_tls import server_context

LOOK_SECONDS = 5.0
"""How often the files of certificates are looked at."""
BACKLOG = 128


class ListeningError(Exception):
    """The place to listen on, or its certificate, cannot be used; the message says why, without a secret."""


class Door(web.BaseSite):
    """The library's site, for either kind of place. `handshakes` are those of TLS, once it has started."""

    __slots__ = ("_config", "_own", "handshakes")

    def __init__(self, runner: web.BaseRunner, config: Server, context: ssl.SSLContext | None) -> None:
        super().__init__(runner, ssl_context=context, backlog=BACKLOG)
        self._config = config
        self._own: tuple[int, ...] | None = None
        self.handshakes: Handshakes | None = None

    @property
    def name(self) -> str:
        """Where clients find it."""
        return place(self._config)

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await super().start()
        loop, config, server = asyncio.get_running_loop(), self._config, self._runner.server
        assert server is not None
        made: Callable[[], asyncio.Protocol] = server
        if self._ssl_context is not None:
            crowd: Crowd = vars(server)["crowd"]
            made = self.handshakes = Handshakes(server, crowd, self._ssl_context, config.header_timeout)
        if config.socket is None:
            self._server = await loop.create_server(made, config.host, config.port, backlog=BACKLOG)
        else:
            sock = _unix_socket(config.socket)
            self._own = _identity(config.socket)
            self._server = await loop.create_unix_server(made, sock=sock)

    async def stop(self) -> None:
        """Listen no more. A socket goes first, so that who follows finds none that is dead, and keeps its own."""
        path, own, self._own = self._config.socket, self._own, None
        if path is not None and own is not None and _identity(path) == own:
            with suppress(OSError):
                os.unlink(path)
        if self.handshakes is not None:
            self.handshakes.close()
        await super().stop()


@asynccontextmanager
async def listening(runner: web.BaseRunner, config: Server, log: Log) -> AsyncIterator[tuple[Door, str]]:
    """Listen until the block is left; gives the site, which may be stopped before, and where clients find it.

    Raises ListeningError, and OSError for a port that cannot be had.
    """
    try:
        context = server_context(config.tls) if config.tls else None
    except (OSError, ValueError) as error:
        raise ListeningError(f"`server.tls` cannot be used: {_reason(error)}") from None
    door = Door(runner, config, context)
    watching = None
    await door.start()
    try:
        if door.handshakes is not None:
            watching = asyncio.get_running_loop().create_task(_watch(door.handshakes, config.tls, log))
        yield door, place(config, *(() if config.socket is not None else runner.addresses[0][:2]))
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def place(config: Server, host: str = "", port: int = 0) -> str:
    """The address of the server, without a path; with a socket, the one that clients give besides."""
    scheme = "https" if config.tls else "http"
    if config.socket is not None:
        return f"{scheme}://localhost"
    host = host or config.host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port or config.port}"


def _unix_socket(path: str) -> socket.socket:
    """A socket for this user alone. One that nobody listens on any more is taken away; raises OSError for others."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(17, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise OSError(98, "somebody listens there already")
    made = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        made.bind(path)
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def _identity(path: str) -> tuple[int, ...] | None:
    """What tells whether a path is still the same file, and not another that took its number."""
    try:
        told = os.lstat(path)
    except OSError:
        return None
    return told.st_dev, told.st_ino, told.st_mtime_ns


async def _watch(handshakes: Handshakes, files: Mapping[str, str], log: Log) -> None:
    """Take certificates that have changed: new connections get them, and those that there are go on."""
    known = _times(files)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        found = _times(files)
        if found == known:
            continue
        known = found
        try:
            handshakes.context = server_context(files)
        except (OSError, ValueError) as error:
            log.write("error", "certificate", detail=f"not taken: {_reason(error)}")
        else:
            log.write("info", "certificate", detail="taken anew")


def _times(files: Mapping[str, str]) -> list[tuple[int, int]]:
    """What tells whether files have changed, also where they are links that were turned."""
    found = []
    for path in files.values():
        try:
            told = Path(path).stat()
            found.append((told.st_mtime_ns, told.st_ino))
        except OSError:
            found.append((0, 0))
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").replace("_", " ").lower()
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
