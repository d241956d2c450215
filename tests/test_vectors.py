"""Promises of `oaiproxy.vectors`: every way in which backends send vectors, and what is none."""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.vectors import VectorError, from_base64, in_order, index_of, read_vectors, shortened, to_base64

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20)
TWO = b64encode(struct.pack("<2f", 1.5, -2)).decode()


@pytest.mark.parametrize(
    ("value", "vectors"),
    [
        ([[1, 2], [3, 4.5]], [[1.0, 2.0], [3.0, 4.5]]),
        ([0.5, 1], [[0.5, 1.0]]),
        (["0.1", "-2e3", "7"], [[0.1, -2000.0, 7.0]]),
        ([["0.1"], ["1"]], [[0.1], [1.0]]),
        ([[[1, 2]], [[3, 4]]], [[1.0, 2.0], [3.0, 4.0]]),
        ([[[1, 2]]], [[1.0, 2.0]]),
        (TWO, [[1.5, -2.0]]),
        ([TWO, TWO], [[1.5, -2.0], [1.5, -2.0]]),
    ],
)
def test_vectors_as_backends_send_them(value: Any, vectors: list[list[float]]) -> None:
    """One or several, as numbers, text, a matrix of one row, or base64."""
    made = read_vectors(value)
    assert made == vectors
    assert {type(number) for vector in made for number in vector} == {float}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "no vectors were found"),
        ([], "no vectors were found"),
        ("", "no vectors were found"),
        (7, "a number was found"),
        ({"a": 1}, "an object was found"),
        ([[]], "a list was found in place of a vector"),
        ([{"embedding": [1]}], "an object was found in place of a vector"),
        ([[True, False]], "not a number"),
        ([[1, None]], "not a number"),
        ([[1, "2"]], "not a number"),
        (["nan", "inf"], "not base64"),
        ([[1.0, float("nan")]], "not finite"),
        ([[10**400]], "too large"),
        ([["1e999"]], "not finite"),
        ([[1], [1, 2]], "not of one length"),
        ([[[1], [2]]], "2 vectors came for one input"),
        ("AAAA", "floats of 32 bits"),
        ("AA AA", "not base64"),
        (b64encode(struct.pack("<f", float("inf"))).decode(), "not finite"),
    ],
)
def test_what_is_no_vector(value: Any, words: str) -> None:
    """Never an invented one."""
    with pytest.raises(VectorError, match=words):
        read_vectors(value)


@given(FLOATS)
def test_base64_is_exact(vector: list[float]) -> None:
    """For floats of 32 bits, both ways."""
    text = to_base64(vector)
    assert from_base64(text) == vector
    assert read_vectors([text]) == [vector]


def test_a_number_that_no_float_of_32_bits_is() -> None:
    """Is refused, and does not become infinite."""
    with pytest.raises(VectorError, match="too large"):
        to_base64([1e39])


def test_vectors_are_put_in_order() -> None:
    """By indexes, also as text."""
    assert in_order([[1.0], [2.0], [3.0]], [2, "0", 1]) == [[2.0], [3.0], [1.0]]


@pytest.mark.parametrize("places", [None, [0], [0, 0], [0, 2], [0, -1], [0, True], [0, "x"]])
def test_indexes_that_are_no_order(places: Any) -> None:
    """Each input has one vector."""
    with pytest.raises(VectorError):
        in_order([[1.0], [2.0]], places)


def test_indexes() -> None:
    """What is none is -1."""
    assert [index_of(value) for value in (3, "12", True, -1, "x", 1.0, None)] == [3, 12, -1, -1, -1, -1, -1]


def test_a_shorter_vector() -> None:
    """Its first numbers, of length 1 again; one that is none, or of nothing, stays."""
    assert shortened([3.0, 4.0, 5.0], 2) == [0.6, 0.8]
    assert shortened([3.0, 4.0], 2) == [3.0, 4.0]
    assert shortened([0.0, 4.0], 1) == [0.0]
    with pytest.raises(VectorError, match="2 numbers"):
        shortened([3.0, 4.0], 3)
