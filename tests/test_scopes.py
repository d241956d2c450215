"""Promises of `oaiproxy.scopes`: what absence is, where names come from, and that costs are bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rendering import scope

from oaiproxy.bounds import BOUNDS
from oaiproxy.scopes import ABSENT, Absent, AbsentError, Budget, RenderError, as_text, data, member

OPERATIONS: list[Callable[[Any], Any]] = [
    lambda x: x + 1,
    lambda x: 1 + x,
    lambda x: x - 1,
    lambda x: 1 - x,
    lambda x: x * 2,
    lambda x: "a" * x,
    lambda x: x / 2,
    lambda x: 2 // x,
    lambda x: x % 2,
    lambda x: 2**x,
    lambda x: -x,
    lambda x: +x,
    lambda x: x.y.z,
    lambda x: x["y"][0],
    lambda x: x(1),
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_absence_passes_through(operation: Callable[[Any], Any]) -> None:
    """Whatever is done to it."""
    assert isinstance(operation(ABSENT), Absent)


def test_absence_is_empty_and_false() -> None:
    """In conditions and loops."""
    assert not ABSENT
    assert len(ABSENT) == 0
    assert list(ABSENT) == []


@pytest.mark.parametrize("other", [None, 0, "", False, []])
def test_absence_compares_false(other: Any) -> None:
    """With every value; null is a value."""
    comparisons = [other == ABSENT, other > ABSENT, other >= ABSENT, other < ABSENT, other <= ABSENT]
    assert not any(comparisons)
    assert other != ABSENT


def test_no_text_is_made_of_absence() -> None:
    """The error knows the name."""
    with pytest.raises(AbsentError) as error:
        as_text(Absent(name="user"))
    assert error.value.name == "user"
    with pytest.raises(AbsentError):
        str(ABSENT)


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        ({"items": 1}, "items", 1),
        ({"1": "a"}, 1, "a"),
        ({"true": "a"}, True, "a"),
        ([1, 2], -1, 2),
        ("ab", 0, "a"),
    ],
)
def test_members_are_those_of_the_data(value: Any, key: Any, expected: Any) -> None:
    """Keys first and last: there is nothing else to reach."""
    assert member(value, key) == expected


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({}, "items"),
        ({}, "__class__"),
        ([], "append"),
        ([1], 1),
        ([1], True),
        ([1], "0"),
        ("a", "upper"),
        (5, "real"),
        ({}, []),
    ],
)
def test_there_are_no_other_members(value: Any, key: Any) -> None:
    """No method of Python's, no index beyond the end."""
    assert member(value, key) is ABSENT


def test_inner_names_hide_outer_ones() -> None:
    """And the outer scope keeps its own."""
    outer = scope(a=1, b=2)
    inner = outer.inner({"a": 3}).inner({"c": 4})
    assert [inner.lookup(name) for name in "abc"] == [3, 2, 4]
    assert [outer.lookup(name) for name in "abc"] == [1, 2, ABSENT]


def test_an_inner_name_may_be_absent() -> None:
    """`$let` gives no value to a name whose tree is absent."""
    assert scope(a=1).inner({"a": ABSENT}).lookup("a") is ABSENT


def test_inner_scopes_share_the_budget() -> None:
    """The bound is for the request."""
    outer = scope()
    outer.inner({}).budget.step(5)
    assert outer.budget.steps == 5


def test_steps_are_bounded() -> None:
    """Loops over loops."""
    budget = Budget()
    budget.step(BOUNDS.steps)
    with pytest.raises(RenderError, match="steps"):
        budget.step()


def test_characters_are_bounded() -> None:
    """Texts made of texts."""
    budget = Budget()
    budget.grow(BOUNDS.rendered)
    with pytest.raises(RenderError, match="characters"):
        budget.grow(1)


def test_a_value_that_holds_another_one_many_times_is_weighed() -> None:
    """It takes no memory before it is written out."""
    value: Any = "a"
    for _ in range(64):
        value = [value, value]
    budget = Budget()
    budget.shared = True
    with pytest.raises(RenderError, match="larger"):
        budget.weigh(value)


@pytest.mark.parametrize("value", [len, object(), (1,), Budget])
def test_only_data_leaves_a_template(value: Any) -> None:
    """Functions and namespaces stay inside."""
    with pytest.raises(RenderError):
        data(value)
