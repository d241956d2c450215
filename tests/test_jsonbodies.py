"""A client's JSON is read as it is, and what would cost too much is refused before it is read."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy import jsonbodies
from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.errors import ClientError
from oaiproxy.jsonbodies import CHUNK, parse_body, weigh

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.sampled_from('[]{},"\\')
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


def count(value: Any) -> int:
    """The values inside one, which is how they are counted."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(inner) + sum(map(count, inner))


def depth(value: Any) -> int:
    """How many containers hold each other."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(VALUES, st.booleans(), st.integers(1, 40))
def test_weight_is_never_less_than_what_there_is(value: Any, ascii_only: bool, chunk: int) -> None:
    """Nor more than twice as much; whatever stands in strings, and wherever a chunk ends."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    before, jsonbodies.CHUNK = jsonbodies.CHUNK, chunk
    try:
        values, _ = weigh(data)
    finally:
        jsonbodies.CHUNK = before
    assert count(value) <= values <= 2 * (count(value) + 1)


@given(VALUES, st.integers(1, 6), st.integers(1, 40))
def test_what_is_read_is_within_its_bounds(value: Any, deep: int, many: int) -> None:
    """And only what is not is refused."""
    data = json.dumps(value).encode()
    if depth(value) <= deep and count(value) <= many:
        assert parse_body(data, Bounds(depth=deep, values=many)) == value
        return
    with pytest.raises(ClientError) as caught:
        parse_body(data, Bounds(depth=deep, values=many))
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_strings_may_hold_anything() -> None:
    """A source text of megabytes is one value."""
    text = '{"a": [1, 2, "\\\\"]}, ' * 100_000 + "\\" * CHUNK + '"'
    assert parse_body(json.dumps([text]).encode(), BOUNDS) == [text]


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"[]," * 3_000_000 + b"[]]",
        b"[" + b"{}," * 3_000_000 + b"{}]",
        b"[" + b"1," * 3_000_000 + b"1]",
        b"[" + b'"",' * 3_000_000 + b'""]',
        b"[" + b"1.1234567890123456789e-290," * 3000 + b"1]",
        b"[" + b"[" * 3_000_000,
        b'{"a":' + b"9" * 5_000_000 + b"}",
    ],
    ids=["lists", "objects", "numbers", "strings", "long numbers", "open", "a number"],
)
def test_what_would_cost_too_much_is_not_even_read(data: bytes) -> None:
    """A parser cannot be stopped, so it is not started: hardly any memory is taken."""
    tracemalloc.start()
    with pytest.raises(ClientError) as caught:
        parse_body(data, BOUNDS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")
    assert peak < 8 << 20


@pytest.mark.parametrize(
    "data", [b"[" + b"1," * 5 + b"1]", b"[" + b"[]," * 5 + b"[]]", b'{"a":{"b":{"c":{"d":{"e":{}}}}}}']
)
def test_the_last_value_that_fits(data: bytes) -> None:
    """One more is too many."""
    value = json.loads(data)
    assert parse_body(data, Bounds(values=count(value))) == value
    with pytest.raises(ClientError, match=f"more than {count(value) - 1} values"):
        parse_body(data, Bounds(values=count(value) - 1))
