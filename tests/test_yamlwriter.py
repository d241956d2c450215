"""Promises of the writer of YAML: what it writes reads back the same, and looks as a person would write it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.document import load_document
from oaiproxy.yamltext import scalar
from oaiproxy.yamlwriter import Block, Literal, Note, Remark, escaped, literal, to_yaml

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "~",
        "null",
        "yes",
        "12:30",
        "2023-06-01",
        "1e3",
        "0x1f",
        "a: b",
        "a #b",
        "- a",
        "${X}",
        "$${X}",
        "{{ x }}",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(TEXTS.filter(lambda key: "${" not in key), inside, max_size=4)
    ),
)


def read(text: str) -> Any:
    def no_file(name: str) -> str:
        raise FileNotFoundError(name)

    document, found = load_document(text, file="x.yaml", environment={}, read_file=no_file)
    assert document is not None, found
    assert not found
    return document.data


@given(VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    """Types and all, as the project reads YAML."""
    assert read(to_yaml({"a": literal(value), "b": Block(c=literal(value))})) == {"a": value, "b": {"c": value}}


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb", "a\n\nb\n\n", "data: x\n\ndata:  y \n\n", "a\n  b\n"])
def test_blocks_of_text_stand_as_they_are(text: str) -> None:
    """With the line breaks at their end."""
    made = to_yaml({"a": Literal(text), "b": 1})
    assert read(made) == {"a": text, "b": 1}
    assert made.startswith("a: |")


def test_comments_stand_where_they_belong() -> None:
    """Behind what was guessed, above what is to do; an empty one is an empty line."""
    tree = {
        "a": Note("x", "guessed"),
        "b": [Block({Remark("TODO: c"): None, "d": 1})],
        Remark(""): None,
        "e": Note(2, "TODO: f"),
    }
    assert to_yaml(tree) == "a: x    # guessed\nb:\n  # TODO: c\n  - d: 1\n\n# TODO: f\ne: 2\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a b", "a b"),
        ("yes", '"yes"'),
        ("5", '"5"'),
        ("a, b", '"a, b"'),
        ("é", "é"),
        (None, "~"),
        (True, "true"),
        (0.5, "0.5"),
    ],
)
def test_quotes_are_there_where_they_are_needed(value: Any, written: str) -> None:
    """And nowhere else."""
    assert scalar(value) == written


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain", "plain"),
        ("${X}", "$${X}"),
        ("{{ x }}", "{{ '{{ x }}' }}"),
        ("{% it's %}\n", "{{ '{% it\\'s %}\\n' }}"),
    ],
)
def test_constants_are_no_code(text: str, made: str) -> None:
    """What would be a template or a reference is written so that it stands."""
    assert escaped(text) == made
