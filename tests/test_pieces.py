"""Pieces of arguments, each at its path, become one object."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.errors import BackendError
from oaiproxy.pieces import MAX_STEPS, Pieces


def made(*pieces: Any) -> Any:
    whole = Pieces()
    for piece in pieces:
        whole.add(piece)
    return whole.whole()


def at(path: str, value: Any = None, more: Any = None) -> dict[str, Any]:
    return {"path": path, "value": value, "more": more}


MADE: dict[str, tuple[list[Any], Any]] = {
    "nothing": ([], {}),
    "a name": ([at("$.a", 1)], {"a": 1}),
    "names within names": ([at("$.a.b", True), at("$.a.c", None)], {"a": {"b": True, "c": None}}),
    "a list": ([at("$.a[0]", "x"), at("$.a[1]", "y")], {"a": ["x", "y"]}),
    "objects in a list": (
        [at("$.a[0].b", 1), at("$.a[0].c", 2), at("$.a[1].b", 3)],
        {"a": [{"b": 1, "c": 2}, {"b": 3}]},
    ),
    "lists in a list": ([at("$.a[0][0]", 1), at("$.a[0][1]", 2)], {"a": [[1, 2]]}),
    "names in quotes": ([at("$['a b'].c", 1), at('$["d.e"]', 2)], {"a b": {"c": 1}, "d.e": 2}),
    "the root": ([at("$", {"a": 1}), at("$.b", 2)], {"a": 1, "b": 2}),
    "text that goes on": ([at("$.a", "Bos", True), at("$.a", "ton", True), at("$.a", "")], {"a": "Boston"}),
    "text that ends without its last piece": ([at("$.a", "Bos", True), at("$.b", 1)], {"a": "Bos", "b": 1}),
    "text that ends with the call": ([at("$.a", "Bos", True)], {"a": "Bos"}),
    "text that ends without text": ([at("$.a", "Bos", True), at("$.a")], {"a": "Bos"}),
    "text in a list that goes on": (
        [at("$.a[0]", "x", True), at("$.a[0]", "y"), at("$.a[1]", "z")],
        {"a": ["xy", "z"]},
    ),
    "the last of two": ([at("$.a", "x"), at("$.a", "y")], {"a": "y"}),
    "an empty text": ([at("$.a", "")], {"a": ""}),
}


@pytest.mark.parametrize(("pieces", "wanted"), MADE.values(), ids=MADE)
def test_pieces_make_an_object(pieces: list[Any], wanted: Any) -> None:
    """Each in its place, text joined while it goes on."""
    assert made(*pieces) == wanted


WRONG: dict[str, list[Any]] = {
    "no object": ["x"],
    "no path": [{"value": 1}],
    "no text for a path": [{"path": 1, "value": 1}],
    "no root": [at("a", 1)],
    "no step": [at("$a", 1)],
    "a wildcard": [at("$.a[*]", 1)],
    "descendants": [at("$..a", 1)],
    "an index from the end": [at("$.a[-1]", 1)],
    "an index of many digits": [at("$.a[99999999999]", 1)],
    "a place beyond the end": [at("$.a[1]", 1)],
    "a list that is an object": [at("$.a.b", 1), at("$.a[0]", 1)],
    "an object that is a list": [at("$.a[0]", 1), at("$.a.b", 1)],
    "an object that is text": [at("$.a", "x"), at("$.a.b", 1)],
    "too many steps": [at("$" + ".a" * (MAX_STEPS + 1), 1)],
    "a root that is no object": [at("$", "x"), at("$.a", 1)],
}


@pytest.mark.parametrize("pieces", WRONG.values(), ids=WRONG)
def test_a_piece_without_a_place_is_a_mismatch(pieces: list[Any]) -> None:
    """Nothing is guessed."""
    with pytest.raises(BackendError) as caught:
        made(*pieces)
    assert caught.value.code == "upstream_mapping_mismatch"
