"""Promises about trying again: which answers, how often, and after what pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import chat

from oaiproxy.retries import MAX_WAIT, MOST, Budget, Retry

RETRY = Retry(max=2, on=frozenset((429, 503)), backoff=0.5)


def test_the_mappings_words() -> None:
    """`retry: {}` means two more tries, but of no status."""
    backend = "{{url: 'http://b', retry: {}}}"
    assert chat(response="{text: t}", backend="{url: 'http://b'}").backend.retry == Retry()
    assert chat(response="{text: t}", backend=backend.format("{}")).backend.retry == Retry(2, frozenset(), 0.5, True)
    given_ = "{max: 3, on: [503], backoff: 2s, respect_retry_after: false}"
    assert chat(response="{text: t}", backend=backend.format(given_)).backend.retry == Retry(
        3, frozenset((503,)), 2, False
    )


@pytest.mark.parametrize(
    ("tries", "status", "after", "wanted"),
    [
        (1, 503, None, 0.5),
        (2, 429, None, 1.0),
        (3, 503, None, None),
        (1, 500, None, None),
        (1, 200, None, None),
        (1, 503, 7.0, 7.5),
        (1, 503, 30.0, 30.5),
        (1, 503, 30.1, None),
        (1, 503, 0.0, 0.5),
    ],
)
def test_after_an_answer(tries: int, status: int, after: float | None, wanted: float | None) -> None:
    """With all of chance on one side."""
    assert RETRY.after_status(tries, status, after, 1.0) == wanted


def test_retry_after_can_be_left_unread() -> None:
    """Then the own pause counts."""
    assert Retry(1, frozenset((503,)), 0.5, respect_retry_after=False).after_status(1, 503, 300.0, 1.0) == 0.5


def test_after_no_connection() -> None:
    """Once by default, whatever the statuses are."""
    assert Retry().after_no_connection(1, 1.0) == pytest.approx(0.1)
    assert Retry().after_no_connection(2, 1.0) is None
    assert Retry(max=0).after_no_connection(1, 1.0) is None


@given(tries=st.integers(1, 1000), chance=st.floats(0, 1), backoff=st.floats(0.001, 1000))
def test_pauses_are_bounded(tries: int, chance: float, backoff: float) -> None:
    """However often it failed."""
    assert 0 < Retry(max=1000, backoff=backoff).pause(tries, chance) <= MAX_WAIT


def taken(budget: Budget, now: float, most: int = 10_000) -> int:
    """How many are there."""
    return next(count for count in range(most) if not budget.take(now))


def test_a_budget_is_a_share_of_what_is_sent() -> None:
    """Beside a few that are there from the start."""
    budget = Budget(0.1)
    assert taken(budget, 0) == MOST
    for _ in range(30):
        budget.sent()
    assert taken(budget, 0) == 3


def test_a_budget_saves_no_more_than_a_few() -> None:
    """However long all went well."""
    budget = Budget(0.5)
    for _ in range(1000):
        budget.sent()
    assert taken(budget, 0) == MOST
    assert taken(budget, 1e6) == MOST


def test_a_few_come_with_time() -> None:
    """A backend that is seldom asked has them too."""
    budget = Budget(0.1)
    assert (taken(budget, 0), taken(budget, 5), taken(budget, 10), taken(budget, 35)) == (MOST, 0, 1, 2)


def test_a_share_of_nothing_is_none_at_all() -> None:
    """Not even at the start."""
    assert taken(Budget(0), 1e6) == 0


@given(share=st.floats(0, 1), fails=st.lists(st.booleans(), max_size=300))
def test_a_storm_is_never_more_than_the_share(share: float, fails: list[bool]) -> None:
    """Each request that fails would like to be sent again."""
    budget, again = Budget(share), 0
    for fail in fails:
        budget.sent()
        again += fail and budget.take(0)
    assert again <= MOST + share * len(fails) + 1e-6
