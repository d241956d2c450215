"""The interpreter's search for what nobody can reach any more: kept away from what lives as long as a configuration.

A whole search takes 20 to 200 ms, in which nobody is served: https://docs.python.org/3/library/gc.html#gc.freeze
"""

from __future__ import annotations

import gc

MOST = 10
"""Configurations that may follow each other without a whole search: each leaves few objects that need one."""


class Heap:
    """Keeps what is there now out of further searches, and looks through all of it when that is due."""

    def __init__(self) -> None:
        self._left = 0
        """Configurations since the last whole search."""
        self._search()

    def tidy(self, *, calm: bool) -> None:
        """Another configuration is served now. All is looked through where it is `calm`, and when it must be."""
        self._left += 1
        if calm or self._left >= MOST:
            self._search()
        else:
            gc.freeze()

    def _search(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._left = 0
