"""How far long work has come, as one line on a terminal that is rewritten, and erased at the end."""

from __future__ import annotations

import os
import threading
import unicodedata
from contextlib import suppress
from typing import Self, TextIO

PATIENCE_SECONDS = 0.3
"""Work that ends before says nothing."""
_ERASE = "\r\x1b[K"


class Progress:
    """A block of so many steps: `with Progress(total, sys.stderr) as progress: progress.step(label)`.

    It shows such as `checking 12/100 mappings/x.yaml`, and nothing where the stream is no terminal. `step` is called
    at the start of each step. Who prints something else meanwhile calls `clear` before.
    """

    def __init__(self, total: int, stream: TextIO, *, doing: str = "checking") -> None:
        self._total = total
        self._stream = stream
        self._doing = doing
        self._count = 0
        self._label = ""
        self._shown = False
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        """Shows the line in the midst of a step, too; None where there is nothing to show it on."""

    def __enter__(self) -> Self:
        if self._stream.isatty() and os.environ.get("TERM") != "dumb":
            self._timer = threading.Timer(PATIENCE_SECONDS, self._begin)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        self.clear()

    def step(self, label: str) -> None:
        """Begin the next step."""
        with self._lock:
            self._count += 1
            self._label = label
            if self._shown:
                self._draw()

    def clear(self) -> None:
        """Erase the line; the next step shows it again."""
        with self._lock:
            if self._shown:
                self._write(_ERASE)

    def _begin(self) -> None:
        with self._lock:
            self._shown = True
            if self._count:
                self._draw()

    def _draw(self) -> None:
        line = f"{self._doing} {self._count}/{self._total} {self._label}"
        self._write(_ERASE + _clipped(line, self._columns() - 1))

    def _columns(self) -> int:
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        return 80

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that went away is no reason to stop
            self._stream.write(text)
            self._stream.flush()


def _clipped(line: str, columns: int) -> str:
    """As much of the line as so many columns hold; what is not printable stays out."""
    shown = ""
    for character in line:
        columns -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns < 0:
            break
        shown += character if character.isprintable() else "?"
    return shown
