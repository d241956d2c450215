"""Values that nobody is told: the secrets of a mapping file, and those that came up while it is served."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

MAX_LEARNED = 1024
"""Secrets of running requests that are kept: the newest ones."""


class Vault(Collection[str]):
    """A collection of secrets that does not print them. What is learned later is bounded in number."""

    __slots__ = ("_fixed", "_learned")

    def __init__(self, fixed: Iterable[str] = ()) -> None:
        self._fixed = frozenset(filter(None, fixed))
        self._learned: dict[str, None] = {}

    def learn(self, *values: str | None) -> None:
        """Keep tokens and keys that are not of the file; the oldest make room for them."""
        for value in filter(None, values):
            self._learned.pop(value, None)
            self._learned[value] = None
        while len(self._learned) > MAX_LEARNED:
            del self._learned[next(iter(self._learned))]

    def __contains__(self, value: object) -> bool:
        return value in self._fixed or value in self._learned

    def __iter__(self) -> Iterator[str]:
        yield from self._fixed
        yield from self._learned

    def __len__(self) -> int:
        return len(self._fixed) + len(self._learned)

    def __repr__(self) -> str:
        return f"Vault({len(self)} secrets)"
