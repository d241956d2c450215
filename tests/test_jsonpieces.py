"""Large JSON is read piece by piece: the same value, or the same error, and others get their turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy import jsonpieces, jsontext
from oaiproxy.jsonpieces import PIECE, UnfitError, read_pieces

TEXTS = st.text(st.sampled_from('~"\\,[]{}: aé\u2028'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=40,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces of a few bytes."""
    with monkeypatch.context() as patch:
        patch.setattr(jsonpieces, "PIECE", 8)
        yield


def read(text: str) -> Any:
    """The value, by a reader that refuses what is no JSON."""
    return read_pieces(text.encode(), json.loads)


@given(VALUES, st.booleans(), st.sampled_from([None, 0, 1]), st.integers(1, 30))
def test_the_value_is_the_same(value: Any, ascii_only: bool, indent: int | None, size: int) -> None:
    """However it is written, and wherever it is cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonpieces, "PIECE", size)
        assert read(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == value


@given(VALUES, st.integers(0, 200), st.sampled_from(["", ",", "]", "[", "}", "{", '"', "\\", ":", "1", " "]))
def test_what_is_no_json_is_refused(value: Any, at: int, put: str) -> None:
    """Whatever is taken out or put in, it is read or refused as by a plain reader."""
    text = json.dumps({"a": [value], "b": [1, {"c": value}]})
    broken = text[:at] + put + text[at + 1 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonpieces, "PIECE", 5)
        try:
            wanted = json.loads(broken)
        except ValueError:
            with pytest.raises(ValueError):
                read(broken)
        else:
            assert read(broken) == wanted


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 2, 3, 4], "b": [5, 6, 7], "a": [8, 9, 10, 11, 12], "c": 1}',
        '{"~": [1, 2, 3, 4], "\\u007e": [5, 6, 7], "~~": {"\\u007E": [8, 9, "~", 10]}}',
        '[["~", "~~", "~~~", "~~~~~~~~~"], "~"]',
        '["\\\\", "\\"", ",\\\\\\",", "[,[,[,[,[,[,"]',
        ' [ 1 , 2 , [ ] , { } , { "a" : 1 } ] ',
    ],
)
def test_odd_texts(text: str) -> None:
    """A key that comes again, what looks like our own mark, and brackets that are text."""
    assert read(text) == json.loads(text)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "text", ["[1,2,3,4,5,]", "[1,2,3,4,", "[1,2,3,4", '{"a":1,"b":2,}', "[1,2,3],[4,5,6]", "[1,2,3,4}"]
)
def test_an_end_in_the_wrong_place(text: str) -> None:
    """A comma with nothing behind it, no end, or more after it."""
    with pytest.raises(ValueError):
        read(text)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In depth, and in what costs more than its bytes."""
    with pytest.raises(UnfitError, match="too deeply"):
        read("[" * 501 + "1," * PIECE + "1" + "]" * 501)
    monkeypatch.setattr(jsonpieces, "MOST", 1000)
    assert read('["' + "[{" * 1000 + '"]') == ["[{" * 1000]
    assert len(read("[" + "[]," * 998 + "1]")) == 999
    with pytest.raises(UnfitError, match="more than 1000 lists"):
        read("[" + "[]," * 1000 + "1]")


def test_no_piece_is_much_larger() -> None:
    """So that whoever waits for the interpreter gets it soon; a long string is read at once, which is fast."""
    sizes = []

    def small(data: bytes) -> Any:
        sizes.append(len(data))
        return json.loads(data)

    text = json.dumps([[0.25] * 1000, {"a": {str(n): [n] for n in range(30_000)}}] * 5).encode()
    assert read_pieces(text, small) == json.loads(text)
    assert len(sizes) > len(text) / PIECE
    assert max(sizes) < PIECE + 100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"[" + b"1," * PIECE + b",1]", f"invalid character (byte {2 * PIECE + 1})"),
        (b"[" + b"1," * PIECE + b"1", "truncated"),
        (b"[" + b"1," * PIECE + b"1]]", "trailing characters"),
        (b"[" + b"1," * PIECE + b'"\xff"]', "not valid UTF-8"),
        (b"[" * 2 * PIECE, "nested too deeply"),
        (b"[" + b"[]," * 500_001 + b"1]", "more than 500000 lists"),
    ],
    ids=["comma", "cut", "surplus", "utf-8", "deep", "many"],
)
@pytest.mark.parametrize("parse", [jsontext.parse, jsontext.parse_lenient])
def test_errors_tell_the_place_in_the_whole_text(parse: Any, text: bytes, told: str) -> None:
    """As for a small one."""
    with pytest.raises(jsontext.JsonError) as caught:
        parse(text)
    assert told in str(caught.value)


def test_large_text_is_read_as_small_text_is() -> None:
    """With its mark, with NaN, and strictly where that is asked for."""
    text = b"\xef\xbb\xbf[" + b"1," * PIECE + b"NaN]"
    value = jsontext.parse_lenient(text)
    assert len(value) == PIECE + 1
    assert value[-1] != value[-1]
    with pytest.raises(jsontext.JsonError, match="invalid character"):
        jsontext.parse(text)
