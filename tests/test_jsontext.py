"""Promises of `oaiproxy.jsontext`: every value survives, nothing that breaks a stream gets out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from oaiproxy import jsontext
from oaiproxy.jsontext import JsonError, TooLargeError, dump, is_shallow, parse, parse_lenient


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63, -(2**64), 10**30, -(10**400)])
def test_integers_are_exact(number: int) -> None:
    """No integer becomes a float on its way through."""
    assert parse(dump(number)) == number
    assert type(parse(dump(number))) is int


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"1.0", 1.0), (b"-0", 0), (b'"\\u00e9"', "é"), ('"é"', "é"), (b"[1,null,true]", [1, None, True])],
)
def test_parse_reads_json(text: bytes | str, value: Any) -> None:
    """Bytes and text are read alike."""
    assert parse(text) == value


@pytest.mark.parametrize("read", [parse, parse_lenient])
@pytest.mark.parametrize("text", [b"\xef\xbb\xbf{}", "\ufeff{}"])
def test_a_byte_order_mark_is_skipped(read: Any, text: bytes | str) -> None:
    """Some backends send one."""
    assert read(text) == {}


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '"\\ud800"', '"\ud800"', "1e999"])
def test_strict_reading_refuses_what_is_no_json(text: str) -> None:
    """Clients send RFC 8259."""
    with pytest.raises(JsonError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"), [("[Infinity]", [math.inf]), (b'"\\ud800"', "\ud800"), (b"\xef\xbb\xbf-Infinity", -math.inf)]
)
def test_lenient_reading_takes_it(text: bytes | str, value: Any) -> None:
    """Backends send worse."""
    assert parse_lenient(text) == value


def test_lenient_reading_takes_nan() -> None:
    """NaN is what models answer when they break."""
    assert math.isnan(parse_lenient("NaN"))


@pytest.mark.parametrize("read", [parse, parse_lenient])
@pytest.mark.parametrize(
    "text", [b"", b"{", b"1 2", b"{'a': 1}", b'"\xff"', b"[" * 100_000, b"[" * 9999 + b"]" * 9999, b"9" * 5000]
)
def test_what_is_no_json_is_one_error(read: Any, text: bytes) -> None:
    """Whatever is wrong, there is one exception to catch."""
    with pytest.raises(JsonError):
        read(text)


@pytest.mark.parametrize("text", [b'{"a": "hunter2" nope}', b'["hunter2\x01"]', b'{"hunter2": "\xff"}', b'"hunter2'])
def test_messages_hold_no_content(text: bytes) -> None:
    """The text may be a user's, and messages reach logs."""
    with pytest.raises(JsonError) as error:
        parse(text)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_null(number: float) -> None:
    """No client can read NaN."""
    assert dump([number]) == b"[null]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\ud800b", "a\ufffdb"), ("\udc00", "\ufffd"), ("\ud83d\ude00", "😀"), ("\ufeffx\ud800", "\ufeffx\ufffd")],
)
def test_lone_surrogates_are_replaced(text: str, shown: str) -> None:
    """UTF-8 has none; a pair that was torn apart is joined again."""
    assert parse(dump({text: [text]})) == {shown: [shown]}


@pytest.mark.parametrize(
    ("character", "escaped"), [("\u2028", b"\\u2028"), ("\u2029", b"\\u2029"), ("\x85", b"\\u0085")]
)
def test_old_line_separators_are_escaped(character: str, escaped: bytes) -> None:
    """Some clients split event streams at them."""
    assert dump(f"a{character}b") == b'"a' + escaped + b'b"'


def test_neighbours_of_line_separators_are_not() -> None:
    """Only those three characters change."""
    text = "\u2027\u202a\x84\x86\u0485\u2f28"
    assert dump(text).decode() == f'"{text}"'


def test_a_value_nested_too_deeply_cannot_be_written() -> None:
    """Not a RecursionError."""
    value: Any = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(JsonError, match="nested too deeply"):
        dump(value)


def test_an_integer_with_too_many_digits_cannot_be_written() -> None:
    """Python refuses to print it."""
    with pytest.raises(JsonError, match="too many digits"):
        dump(10**5000)


def test_how_deep_a_value_is() -> None:
    """Its scalars are a level too."""
    assert is_shallow({"a": [1]}, 3)
    assert not is_shallow({"a": [1]}, 2)


@pytest.mark.parametrize("read", [parse, parse_lenient])
@pytest.mark.parametrize("kind", [str, str.encode])
def test_what_costs_more_than_its_bytes_is_bounded(
    read: Any, kind: Callable[[str], str | bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, objects and keys; what looks like one within a text is none, and numbers cost little."""
    monkeypatch.setattr(jsontext, "MOST", 10)
    assert len(read(kind("[" + "[]," * 8 + "1]"))) == 9
    for text in ("[" + "[]," * 10 + "1]", "{" + ",".join(f'"{n}":1' for n in range(10)) + "}", "[" * 11 + "]" * 11):
        with pytest.raises(TooLargeError, match="more than 10 lists, objects and keys"):
            read(kind(text))
    texts = ["[{:" * 9, '\\"[[[[[[[[[[[[[[[', "\\", '"', "é{{{{{{{{{{{{{{{{{{\n"]
    assert read(kind(dump(texts).decode())) == texts
    assert read(kind("[" + "1," * 50 + "1]")) == [1] * 51
    with pytest.raises(JsonError, match="truncated"):
        read(kind('["' + "[" * 50))
