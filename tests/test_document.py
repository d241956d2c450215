"""Promises of `oaiproxy.document`: data with places, and all findings of a file in its order."""

from __future__ import annotations

import pytest
from support import marked, read_yaml, sound_yaml

from oaiproxy.diagnostics import Span


@pytest.mark.parametrize("path", [("a", "missing"), ("a", "missing", "deeper"), ("a", 0), ("a", "b", "c")])
def test_a_path_that_is_not_there_has_its_parents_span(path: tuple[str | int, ...]) -> None:
    """A missing key is marked at what should hold it."""
    document = sound_yaml("a: {b: 1}\n")
    existing: tuple[str | int, ...] = ("a", "b") if path == ("a", "b", "c") else ("a",)
    assert document.span(path) == document.span(existing)
    assert document.span(path, key=True) == document.span(existing, key=True)


def test_inner_of_a_collection_is_its_span() -> None:
    """Only scalars have an inside."""
    document = sound_yaml("k: [a]\n")
    assert document.inner(("k",), 0, 1) == document.span(("k",))


def test_inner_counts_in_the_substituted_value() -> None:
    """What was put in leads to its `${...}`, the author's own text to itself."""
    text = 'k: "é\\n ${HOST} $${x} {{ name }}"\n'
    document = sound_yaml(text, HOST="example.org")
    content = document.data["k"]
    assert content == "é\n example.org ${x} {{ name }}"
    assert marked(text, document.inner(("k",), content.index("ample"), 3)) == "${HOST}"
    assert marked(text, document.inner(("k",), content.index("name"), 4)) == "name"
    assert marked(text, document.inner(("k",), content.index("${x}"), 4)) == "$${x}"


def test_what_an_alias_stands_for_is_marked_at_its_anchor() -> None:
    """The text to correct is the anchored one."""
    text = "x-a: &a\n  t: hello\nb: *a\n"
    document = sound_yaml(text)
    assert document.inner(("b", "t"), 0, 5) == Span("m.yaml", 2, 6, 2, 11)
    assert marked(text, document.span(("b",), key=True)) == "b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("---\n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        ("- a\n", "the top level is a list, not a mapping"),
        ("text", "the top level is a single value, not a mapping"),
        ("''", "the top level is a single value, not a mapping"),
    ],
)
def test_the_top_level_is_a_mapping(text: str, message: str) -> None:
    """E004 for everything else."""
    document, (found,) = read_yaml(text)
    assert document is None
    assert (found.code, found.message) == ("E004", message)


def test_findings_of_all_kinds_come_in_the_order_of_the_file() -> None:
    """One run reports what can be reported."""
    _, found = read_yaml("a: ${NONE}\nb: 1\nb: 2\nc: '${'\nd: ${file:/none}\n")
    assert [each.code for each in found] == ["E601", "E002", "E006", "E602"]


def test_findings_of_the_environment_come_also_when_the_yaml_is_refused() -> None:
    """A refused tag does not hide an unset variable."""
    _, found = read_yaml("a: !x y\nb: ${NONE}\n")
    assert [each.code for each in found] == ["E003", "E601"]


def test_what_its_author_wrote_is_known_of_a_substituted_value() -> None:
    """So that a message can quote it without what came in."""
    document = sound_yaml("a: 'x ${KEY} y'\nb: plain\nc: {d: 1}\n", KEY="hush")
    assert document.written(("a",)) == "x ${KEY} y"
    assert document.written(("b",)) is None
    assert document.written(("c",)) is None
