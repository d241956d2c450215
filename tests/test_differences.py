"""Two values are told apart at the first place where they differ, types included."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.differences import Difference, difference, place_name

FOUND: dict[str, tuple[Any, Any, tuple[str | int, ...], str]] = {
    "text": ("a", "b", (), '"a" expected, "b" came'),
    "a type": (1, 1.0, (), "the integer 1 expected, the fractional number 1.0 came"),
    "a type that looks the same": ("1", 1, (), 'the string "1" expected, the integer 1 came'),
    "a boolean": (True, 1, (), "true expected, the integer 1 came"),
    "a list for an object": ([], {}, (), "the list [] expected, the object {} came"),
    "deep": ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ("a", 1, "b"), "2 expected, 3 came"),
    "what is missing": ({"a": 1}, {}, ("a",), "expected, and did not come"),
    "what is more": ({}, {"a": None}, ("a",), "null came too"),
    "a shorter list": ([1, 2], [1], (), "2 items expected, 1 came"),
    "long text": ("a" * 100, "b", (), '"' + "a" * 78 + '… expected, "b" came'),
}


@pytest.mark.parametrize(("wanted", "made", "path", "text"), FOUND.values(), ids=FOUND)
def test_the_first_difference_is_told(wanted: Any, made: Any, path: tuple[str | int, ...], text: str) -> None:
    """Where it is, and both values, cut where they are long."""
    assert difference(wanted, made) == Difference(path, text)


def test_objects_may_have_more_where_not_all_is_told() -> None:
    """Lists may not."""
    assert difference({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}, exact=False) is None
    assert difference([1], [1, 2], exact=False) is not None


def test_null_may_stand_for_any_value() -> None:
    """Where that is said; what it stands for must be there."""
    assert difference({"a": [None, 1]}, {"a": ["x", 1]}, open_=True) is None
    assert difference({"a": None}, {"a": "x"}, exact=False) is not None
    assert difference({"a": None}, {}, exact=False, open_=True) == Difference(("a",), "expected, and did not come")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(values)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    """Whatever it holds."""
    assert difference(value, value) is None


def test_places_have_names() -> None:
    """As they are written in selectors."""
    assert place_name(("body", "messages", 0, "role")) == "body.messages[0].role"
