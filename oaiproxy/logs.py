"""Log lines: one JSON object each, written by a thread of their own, so that a full pipe never stops the proxy."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from typing import Any

from oaiproxy import jsontext

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MAX_LINES = 10_000
"""Lines that wait for a slow reader; more are dropped and counted."""
BATCH_SECONDS = 0.05
MAX_LIBRARY_LINES = 10
"""Lines of libraries in a second; more are left out and counted."""


class Log:
    """Writes to a file descriptor, standard error by default. `dropped` counts the lines that found no room."""

    def __init__(self, level: str = "info", fd: int = 2) -> None:
        self.dropped = 0
        self._least = LEVELS[level]
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="oaiproxy-log", daemon=True)
        self._thread.start()

    def write(self, level: str, event: str, /, **fields: Any) -> None:
        """Log an event. The fields must be JSON data, and never a secret or a client's text."""
        if LEVELS[level] < self._least:
            return
        if len(self._lines) >= MAX_LINES:
            self.dropped += 1
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lines.append(jsontext.dump({"time": stamp, "level": level, "event": event, **fields}) + b"\n")
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for `timeout` seconds at most."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)

    def _write(self) -> None:
        told = 0
        while self._lines or not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(BATCH_SECONDS)
            while self._lines:
                batch = b"".join(self._lines.popleft() for _ in range(min(len(self._lines), 100)))
                if not self._put(batch):
                    self.dropped += batch.count(b"\n")
                elif self.dropped != told:
                    told = self.dropped
                    self.write("warning", "dropped", lines=told)

    def _put(self, data: bytes) -> bool:
        """Write all of it, however long the reader takes."""
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # whoever shares the file has made it so
                select.select((), (self._fd,), ())
            except OSError:
                return False
        return True


class Throttle:
    """Lets so many through in a second. `left_out` counts the others, until somebody takes note of them."""

    def __init__(self, most: int) -> None:
        self.left_out = 0
        self._most = most
        self._passed = 0
        self._since = -1.0

    def passes(self) -> bool:
        """Whether one more may."""
        now = time.monotonic()
        if now - self._since >= 1:
            self._since, self._passed = now, 0
        if self._passed >= self._most:
            self.left_out += 1
            return False
        self._passed += 1
        return True

    def noted(self) -> dict[str, int]:
        """How many were left out since last time, as a field of a log line, if there were any."""
        count, self.left_out = self.left_out, 0
        return {"left_out": count} if count else {}


class LibraryHandler(logging.Handler):
    """Takes what libraries log, without exception texts: an HTTP parser's may hold a client's key."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._throttle = Throttle(MAX_LIBRARY_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Log the first line of the message and the kind of exception; asyncio shows exceptions in the others."""
        if not self._throttle.passes():
            return
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        level = "error" if record.levelno >= logging.ERROR else "warning"
        message = record.getMessage().partition("\n")[0][:500]
        self._log.write(level, "library", logger=record.name, message=message, exception=kind, **self._throttle.noted())
