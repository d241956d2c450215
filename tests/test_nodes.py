"""Promises of `oaiproxy.nodes`: every character of a value has a place in the file."""

from __future__ import annotations

import pytest
from support import marked, sound_yaml

from oaiproxy.diagnostics import Span


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_spans_are_right_whatever_the_line_ends(end: str, start: str) -> None:
    """Columns count characters, a byte order mark is none."""
    text = start + end.join(
        ["a: 😀b", "list:", "  - x: &n !!str 'q'", "    y: [1, {z: two}]  # c", "  - |", "    text", "", "e:", ""]
    )
    document = sound_yaml(text)
    assert marked(text, document.span(("a",))) == "😀b"
    assert marked(text, document.span(("a",), key=True)) == "a"
    assert marked(text, document.span(("list", 0, "x"))) == "'q'"
    assert marked(text, document.span(("list", 0, "y", 1, "z"))) == "two"
    assert marked(text, document.span(("list", 0, "y"))) == "[1, {z: two}]"
    assert marked(text, document.span(("list", 0, "y"), key=True)) == "y"
    assert marked(text, document.span(("list", 1))) == "|\n    text"
    assert document.span(("list",)).line == 3
    assert document.span(("list", 0)).end_line == 4
    assert document.span(("e",)) == Span("m.yaml", 8, 3, 8, 3)


SCALARS = {
    "plain": "k: one {{ two }} three\n",
    "plain over lines": "k: one\n   {{ two }}\n\n   three\n",
    "plain with an anchor": "k: &a one {{ two }} three\n",
    "single": "k: 'it''s {{ two }} ''three'\n",
    "single over lines": "k: 'one  \n\n    {{ two }}\n  three'\n",
    "double": 'k: "a\\t\\u00e9\\"😀\\ud83d\\ude00 {{ two }} \\x41three"\n',
    "double over lines": 'k: "one \\\n    \\ {{ two }}\\n\n\n  x\n  three"\n',
    "literal": "k: |\n\n  one\n    indented {{ two }}\n  three\n\n",
    "literal, kept": "k: |+ # comment\n  one {{ two }}\n   \n\n  three\n\n\n",
    "literal, indentation given": "k:\n  n: 0\n  k: |2-\n       one\n      {{ two }} three",
    "folded": "k: >-\n  one\n  {{ two }}\n\n  x\n\n\n  y\n    more\n  z\n  three\n",
    "folded, indented start": "k: >1\n   one\n {{ two }}\n three\n",
    "in flow": "k: [0, {k: one {{ two, three]\n".replace(" {{ two,", " two, k2: 1}, "),
    "top level": "k: >\n\n one\n two\n   x\n\n three",
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", SCALARS)
def test_inner_finds_words_in_every_style(name: str, end: str) -> None:
    """Offsets in the value lead to the same word in the file, past escapes, folding and indentation."""
    text = SCALARS[name].replace("\n", end)
    document = sound_yaml(text)
    path: tuple[str | int, ...] = ("k",)
    content = document.data["k"]
    while not isinstance(content, str):
        step: str | int = ("k" if "k" in content else "n") if isinstance(content, dict) else 1
        if isinstance(content, list) and isinstance(content[1], str):
            step = 1
        path, content = (*path, step), content[step]
    words = [word for word in ("one", "two", "three", "{{ two }}", "more") if word in content]
    assert words
    for word in words:
        assert marked(text, document.inner(path, content.index(word), len(word))) == word


def test_inner_marks_an_escape_whole() -> None:
    """One character of the value can be several of the file."""
    text = "k: \"a\\u00e9b\\n\"\nj: 'it''s'\n"
    document = sound_yaml(text)
    assert marked(text, document.inner(("k",), 1, 1)) == "\\u00e9"
    assert marked(text, document.inner(("k",), 1, 3)) == "\\u00e9b\\n"
    assert marked(text, document.inner(("j",), 2, 1)) == "''"


def test_inner_can_be_a_place_between_characters() -> None:
    """Length 0 is an empty span, also at the end."""
    document = sound_yaml("k: 'ab'\n")
    assert document.inner(("k",), 1, 0) == Span("m.yaml", 1, 6, 1, 6)
    assert document.inner(("k",), 2, 0) == Span("m.yaml", 1, 7, 1, 7)


def test_inner_outside_the_value_stays_within_the_scalar() -> None:
    """A wrong offset is drawn in, never an exception."""
    document = sound_yaml("k: 'ab'\n")
    assert document.inner(("k",), 1, 99) == Span("m.yaml", 1, 6, 1, 7)
    assert document.inner(("k",), 50, 1) == Span("m.yaml", 1, 7, 1, 7)
