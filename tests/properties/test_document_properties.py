"""Promises of `oaiproxy.document` for any data, any scalar and any text."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oaiproxy.diagnostics import Diagnostic, Span
from oaiproxy.document import Document, load_document

STYLES = [None, '"', "'", "|", ">"]
PRINTABLE = st.characters(
    exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff\ufeff", include_characters="\n\t"
)
TEXT = st.text(PRINTABLE, max_size=40).filter(lambda text: "${" not in text)
WORDY = st.text(st.sampled_from("ab1é😀 \t\n\"'\\:#-{}[],&*|>%@`"), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | WORDY
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)
FRAGMENTS = st.lists(
    st.sampled_from(
        ["a", "b", ": ", ":", "- ", "\n", "\n  ", "\r\n", "\t", " ", "'", '"', "\\", "\\u00", "\\x4",
         "{", "}", "[", "]", ",",
         "{{ x }}",
         "{%", "${A}", "${A", "${file:b}", "$${", "&a ", "*a", "!t ", "!!int ", "!!str ", "|", ">", "|2", "+",
         "%YAML 1.2",
         "---", "...", "? ", "<<", "#", " #", "@", "`", "\u2028", "\x85", "\ufeff", "\x00", "\ud800", "😀",
         "~", "1", "0x", "1e9"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


def load(text: str) -> tuple[Document | None, list[Diagnostic]]:
    return load_document(text, file="m.yaml", environment={"A": "1{"}, read_file=lambda path: path)


class Dumper(yaml.SafeDumper):
    """PyYAML's dumper, but strings are never plain: it leaves unquoted what 1.1 reads back, not 1.2."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=dumper.default_style or '"')


Dumper.add_representer(str, _quoted)


def _source_character(text: str, span: Span) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[span.line - 1][span.column - 1 : span.end_column - 1]


@given(
    data=st.dictionaries(TEXT, JSON, max_size=4),
    style=st.sampled_from(STYLES),
    flow=st.sampled_from([True, False, None]),
)
@settings(deadline=None)
def test_what_was_dumped_is_loaded_again(data: dict[str, Any], style: str | None, flow: bool | None) -> None:
    """Every style of every dumper says the same."""
    data = {"k" + key: value for key, value in data.items()}
    text = yaml.dump(data, Dumper=Dumper, default_style=style, default_flow_style=flow, allow_unicode=True)
    document, found = load(text)
    assert found == []
    assert document is not None
    assert document.data == data


@given(
    content=WORDY | TEXT,
    style=st.sampled_from(STYLES),
    width=st.sampled_from([5, 20, 1000]),
    crlf=st.booleans(),
    unicode=st.booleans(),
)
@settings(deadline=None)
@example(content="a\n\n b\nb  a a\n", style=">", width=5, crlf=True, unicode=True)
def test_inner_finds_every_character_that_stands_in_the_source(
    content: str, style: str | None, width: int, crlf: bool, unicode: bool
) -> None:
    """Offsets survive quoting, folding, indentation and line ends."""
    text = yaml.safe_dump({"outer": [{"k": content}]}, default_style=style, width=width, allow_unicode=unicode)
    text = text.replace("\n", "\r\n") if crlf else text
    document, found = load(text)
    if found:  # PyYAML leaves unquoted what only 1.1 reads so
        return
    assert document is not None
    value = document.data["outer"][0]["k"]
    for offset, character in enumerate(value if isinstance(value, str) else ""):
        place = document.inner(("outer", 0, "k"), offset, 1)
        shown = _source_character(text, place)
        if character.isalnum() and (unicode or character.isascii()):
            assert shown == character or shown.startswith("\\")
        assert place.line <= len(text.split("\n"))
    whole = document.span(("outer", 0, "k"))
    inner = document.inner(("outer", 0, "k"), 0, len(str(value)))
    assert (whole.line, whole.column) <= (inner.line, inner.column)


@given(text=FRAGMENTS | st.text(max_size=60))
@settings(deadline=None, max_examples=500)
def test_any_text_gives_a_document_or_diagnostics(text: str) -> None:
    """Nothing raises, and every span lies within the file."""
    document, found = load(text)
    assert document is not None or found
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for each in found:
        assert each.span is not None
        assert 1 <= each.span.line <= each.span.end_line <= len(lines)
        assert 1 <= each.span.column <= len(lines[each.span.line - 1]) + 1
        assert each.message == each.message.strip()
    if document is not None:
        _visit(document, document.data, ())


def _visit(document: Document, data: Any, path: tuple[str | int, ...]) -> None:
    document.span(path)
    document.inner(path, 0, 3)
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in pairs:
        document.span((*path, step), key=True)
        _visit(document, value, (*path, step))
