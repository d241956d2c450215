"""Log lines: one JSON object each, written by a thread of their own, so that a full pipe never stops the proxy."""

from __future__ import annotations

import logging
import os
import re
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
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What JSON lets through though a terminal obeys it: DEL, the controls of C1, and what turns text round."""


class Log:
    """Writes to a file descriptor, standard error by default."""

    def __init__(self, level: str = "info", fd: int = 2) -> None:
        self._refused = 0
        self._lost = 0
        self._told = 0
        self._torn = False
        self._least = LEVELS[level]
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="oaiproxy-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that found no room: among those that wait, or where they go."""
        return self._refused + self._lost  # each is counted by one thread

    def configure(self, level: str) -> None:
        """Log what is as grave as that from now on."""
        self._least = LEVELS[level]

    def write(self, level: str, event: str, /, **fields: Any) -> None:
        """Log an event. The fields must be JSON data, and never a secret or a client's text."""
        if LEVELS[level] < self._least:
            return
        if len(self._lines) >= MAX_LINES:
            self._refused += 1
            return
        self._lines.append(_line(level, event, fields))
        if not self._wake.is_set():
            self._wake.set()

    def text(self, text: str) -> None:
        """Print text for people, in its turn, so that it waits for nobody either."""
        data = text.rstrip("\n").encode("utf-8", "backslashreplace") + b"\n"
        if len(self._lines) >= MAX_LINES:
            self._refused += data.count(b"\n")
            return
        self._lines.append(data)
        self._wake.set()

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for `timeout` seconds at most."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)

    def _write(self) -> None:
        while self._lines or not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(BATCH_SECONDS)
            while self._lines:
                if self._put(b"".join(self._lines.popleft() for _ in range(min(len(self._lines), 100)))):
                    self._tell()
        self._tell()

    def _tell(self) -> None:
        """Say how many lines were dropped, if it is not known: whatever the level, for it is about the log itself."""
        dropped = self.dropped
        if dropped != self._told and self._put(_line("warning", "dropped", {"lines": dropped}), counted=False):
            self._told = dropped

    def _put(self, data: bytes, *, counted: bool = True) -> bool:
        """Write all of it, however long the reader takes; whether that went well. What is not written is counted."""
        if self._torn:
            data = b"\n" + data
        while data:
            try:
                written = os.write(self._fd, data)
            except BlockingIOError:  # whoever shares the file has made it so
                select.select((), (self._fd,), ())
            except OSError:
                lost = data.count(b"\n") - data.startswith(b"\n")
                self._lost += lost if counted else 0
                return False
            else:
                self._torn = data[written - 1 : written] != b"\n" if written else self._torn
                data = data[written:]
        return True


def _line(level: str, event: str, fields: dict[str, Any]) -> bytes:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    data = jsontext.dump({"time": stamp, "level": level, "event": event, **fields}) + b"\n"
    if not data.isascii() or 0x7F in data:
        data = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", data.decode()).encode()
    return data


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
