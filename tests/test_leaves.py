"""Promises of paths in JSON: a selector finds what its path names."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.leaves import at, inner, keys, leaves, plain, rebuilt, selector

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
)


@given(VALUES)
def test_every_leaf_is_found_at_its_path(value: Any) -> None:
    """By the path and by the selector of it."""
    for path, leaf in leaves(value):
        assert at(value, path) == leaf
        assert jmespath.search(selector(path), value) == leaf


@given(VALUES)
def test_a_value_is_rebuilt(value: Any) -> None:
    """As it was where nothing is edited."""
    assert rebuilt(value, {}, lambda leaf: leaf) == value


def test_edits_take_the_place_of_parts() -> None:
    """Whole parts; other leaves and keys become what they are to become."""
    value = {"a": {"b": 1}, "c": ["x", "y"], "$d": "z"}
    made = rebuilt(value, {("a",): "edited", ("c", 1): 5}, str.upper, name=str.title)
    assert made == {"A": "edited", "C": ["X", 5], "$D": "Z"}


def test_what_is_not_there_is_none() -> None:
    """Whatever the path would step through."""
    assert [at({"a": [1]}, path) for path in (("b",), ("a", 1), ("a", "x"), ("a", 0, "y"))] == [None] * 4


def test_lists_and_objects_come_with_their_paths() -> None:
    """The outermost first."""
    assert [path for path, _ in inner({"a": [{"b": 1}], "c": 2})] == [(), ("a",), ("a", 0)]


@pytest.mark.parametrize("name", ["maxTokens", "max_tokens", "Max-Tokens", "MAX_TOKENS"])
def test_names_are_compared_by_letters_and_digits(name: str) -> None:
    """However an API writes them."""
    assert plain(name) == "maxtokens"
    assert keys(("a", 0, name)) == ["a", "maxtokens"]
