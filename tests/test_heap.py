"""Promises of `oaiproxy.heap`: what configurations leave behind is freed, though not at the cost of who is served."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import WeakSet

import pytest

from oaiproxy.heap import MOST, Heap


class Configuration:
    """One that is in a cycle, so that a search alone can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def heap() -> Iterator[Heap]:
    """It; the interpreter is left as it was."""
    yield Heap()
    gc.unfreeze()


@pytest.fixture
def searches() -> Iterator[list[int]]:
    """The whole searches, each as the number of what was looked for."""
    found: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start" and about["generation"] == 2:
            found.append(gc.get_freeze_count())

    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)


def test_where_it_is_calm_all_is_freed_at_once(heap: Heap) -> None:
    """Also what was kept out of searches before."""
    there: WeakSet[Configuration] = WeakSet([Configuration()])
    heap.tidy(calm=False)
    assert len(there) == 1
    there.add(Configuration())
    heap.tidy(calm=True)
    assert len(there) == 0


def test_where_it_is_busy_a_bounded_number_stays(heap: Heap, searches: list[int]) -> None:
    """A whole search comes with every tenth; between them nobody waits for one."""
    there: WeakSet[Configuration] = WeakSet()
    for number in range(1, 5 * MOST + 1):
        there.add(Configuration())
        heap.tidy(calm=False)
        assert len(there) == number % MOST
    assert searches.count(0) == 5
