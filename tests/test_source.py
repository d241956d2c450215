"""Promises of `oaiproxy.source`: a piece of a mapping keeps its place in the file, also after a merge."""

from __future__ import annotations

from rendering import marked, sourced

from oaiproxy.source import Source, leaves, merge

BASE = "a:\n  x: one\n  deep: {k: 1, l: 2}\n  list: [1, 2]\n  gone: 3\n"
OVER = "b:\n  deep: {l: 9}\n  list: [7]\n  gone: ~\n  new: four\n"


def test_children_know_their_places() -> None:
    """By key and by index."""
    source = sourced(BASE)
    assert marked(BASE, source["x"].span()) == "one"
    assert marked(BASE, source["x"].span(key=True)) == "x"
    assert marked(BASE, source["list"][1].span()) == "2"


def test_a_stretch_of_a_scalar_has_a_place() -> None:
    """Offsets count in the value."""
    assert marked(BASE, sourced(BASE)["x"].inner(1, 2)) == "ne"


def test_get_takes_null_for_nothing() -> None:
    """`key: ~` and no key mean the same."""
    source = sourced(OVER)
    assert source.get("gone") is None
    assert source.get("none") is None
    assert source["list"].get("x") is None
    child = source.get("new")
    assert child is not None
    assert child.value == "four"


def test_items_and_iteration_give_children() -> None:
    """Of a mapping and of a list."""
    source = sourced(BASE)
    assert [(key, child.value) for key, child in source["deep"].items()] == [("k", 1), ("l", 2)]
    assert [child.path for child in source["list"]] == [("a", "list", 0), ("a", "list", 1)]


def test_a_merge_is_deep_for_mappings_alone() -> None:
    """Lists replace, null deletes."""
    merged = merge(sourced(BASE), sourced(OVER))
    assert merged.value == {"x": "one", "deep": {"k": 1, "l": 9}, "list": [7], "new": "four"}


def test_merged_pieces_keep_their_places() -> None:
    """A finding points into the file where its piece was written."""
    merged = merge(sourced(BASE), sourced(OVER))
    assert marked(BASE, merged["deep"]["k"].span()) == "1"
    assert marked(OVER, merged["deep"]["l"].span()) == "9"
    assert marked(OVER, merged["list"][0].span()) == "7"


def test_a_merge_changes_neither_side() -> None:
    """The base is used for other requests too."""
    base, over = sourced(BASE), sourced(OVER)
    merge(base, over)
    assert base.value["deep"] == {"k": 1, "l": 2}
    assert over.value["gone"] is None


def test_a_value_that_is_no_mapping_replaces() -> None:
    """Whole."""
    assert merge(sourced("a: {x: 1}"), sourced("b: text")).value == "text"


def test_what_was_refused_is_still_written() -> None:
    """A value that was taken out of the data is told from one that nobody wrote; null is nothing."""
    whole = sourced(OVER)
    source = Source(whole.document, whole.path, {"list": [7]})
    assert source.get("new") is None
    assert source.written("new")
    assert not source.written("gone")
    assert not source.written("none")
    assert not source["list"][0].written("x")


def test_the_texts_of_a_tree() -> None:
    """In their order, each with its place; what is no text is none."""
    source = sourced("m: {a: x, b: [two, 1, {c: z}], d: ~, e: true}")
    assert [leaf.value for leaf in leaves(source)] == ["x", "two", "z"]
    assert [leaf.path for leaf in leaves(source)] == [("m", "a"), ("m", "b", 0), ("m", "b", 2, "c")]
