"""Each framing of JSON finds the same values, however the bytes are cut, and says what is none."""

from __future__ import annotations

import pytest
from support import BOM, FRAMINGS, LARGE, check_framing, framed

from oaiproxy.errors import BackendError
from oaiproxy.framing import Frame

NDJSON = {
    "lf": (b'{"a":1}\n{"b":2}\n', framed(b'{"a":1}', b'{"b":2}')),
    "crlf": (b"{}\r\n[]\r\n", framed(b"{}", b"[]")),
    "blank lines": (b"\n\n{}\n \t\r\n\n[]\n\n", framed(b"{}", b"[]")),
    "white space around": (b"  {}\t\n", framed(b"{}")),
    "byte order mark": (BOM + b"{}\n{}\n", framed(b"{}", b"{}")),
    "no final line end": (b"{}\n[1]", framed(b"{}", b"[1]")),
    "record separators": (b"\x1e{}\n\x1e[]\n\x1e1", framed(b"{}", b"[]", b"1")),
    "scalars": (b'1\nnull\n"x"\n', framed(b"1", b"null", b'"x"')),
    "odd separators are data": ('"\u2028\x85\x1c"\n'.encode(), framed('"\u2028\x85\x1c"'.encode())),
    "not json is left to the reader": (b"<html>\n}", framed(b"<html>", b"}")),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("body", "frames"), NDJSON.values(), ids=NDJSON)
def test_ndjson(body: bytes, frames: list[Frame]) -> None:
    """Each line that is not blank is a frame."""
    check_framing("ndjson", body, frames)


@pytest.mark.parametrize("tail", [b'{"a":1', b'{"a":"}', b'["\\"', b'"abc', b'  [{"a":[]}'])
def test_ndjson_cut_short(tail: bytes) -> None:
    """A body that ends in the middle of a value yields the lines before it, and is truncated."""
    check_framing("ndjson", b"{}\n" + tail, framed(b"{}"), "upstream_truncated")


CONCAT = {
    "glued": (b'{"a":1}{"b":[2]}[3]', framed(b'{"a":1}', b'{"b":[2]}', b"[3]")),
    "spaced": (b' {}\t[]\r\n{}\n"x" ', framed(b"{}", b"[]", b"{}", b'"x"')),
    "record separators": (b"\x1e{}\n\x1e{}\n", framed(b"{}", b"{}")),
    "nul between": (b"{}\0{}\0", framed(b"{}", b"{}")),
    "byte order mark": (BOM + b"{}{}", framed(b"{}", b"{}")),
    "pretty printed": (b'{\n  "a": [\n    1\n  ]\n}\n{\n}', framed(b'{\n  "a": [\n    1\n  ]\n}', b"{\n}")),
    "brackets in strings": (b'{"}{][":"{"}["]"]', framed(b'{"}{][":"{"}', b'["]"]')),
    "escapes": (b'{"a":"\\"}"}["\\\\"]"\\\\\\""', framed(b'{"a":"\\"}"}', b'["\\\\"]', b'"\\\\\\""')),
    "scalars": (b"1 -2.5e+3 true null\nNaN", framed(b"1", b"-2.5e+3", b"true", b"null", b"NaN")),
    "scalar before a structure": (b'1{}true[]2"x"3', framed(b"1", b"{}", b"true", b"[]", b"2", b'"x"', b"3")),
    "strings": (b'"a""b" "{" "["', framed(b'"a"', b'"b"', b'"{"', b'"["')),
    "many escapes": (b'{"a":"' + b"\\n" * 150 + b'}"}[]', framed(b'{"a":"' + b"\\n" * 150 + b'}"}', b"[]")),
    "many strings": (b"[" + b'"]",' * 150 + b"1]{}", framed(b"[" + b'"]",' * 150 + b"1]", b"{}")),
    "deep": (b"[" * 300 + b"]" * 300 + b"{}", framed(b"[" * 300 + b"]" * 300, b"{}")),
    "odd separators are data": ('{"\u2028":"\x85\x1c"}{}'.encode(), framed('{"\u2028":"\x85\x1c"}'.encode(), b"{}")),
    "brackets are not matched": (b"{]{}", framed(b"{]", b"{}")),
    "nothing": (b"", []),
    "only space": (b" \n", []),
    "only a byte order mark": (BOM, []),
}


@pytest.mark.parametrize(("body", "frames"), CONCAT.values(), ids=CONCAT)
def test_json_concat(body: bytes, frames: list[Frame]) -> None:
    """Values one after another are told apart, with or without anything between them."""
    check_framing("json-concat", body, frames)


CONCAT_ERRORS = {
    "open object": (b'{}{"a":', framed(b"{}"), "upstream_truncated"),
    "open string": (b'{}"a', framed(b"{}"), "upstream_truncated"),
    "open string in object": (b'{"a":"}', [], "upstream_truncated"),
    "ends in an escape": (b'{}["a\\', framed(b"{}"), "upstream_truncated"),
    "comma between": (b"{},{}", framed(b"{}"), "upstream_invalid_json"),
    "comma after a scalar": (b"1,2", framed(b"1"), "upstream_invalid_json"),
    "surplus bracket": (b"{}}{}", framed(b"{}"), "upstream_invalid_json"),
    "html": (b"<html>", [], "upstream_invalid_json"),
    "second byte order mark": (BOM + BOM + b"{}", [], "upstream_invalid_json"),
    "half a byte order mark": (BOM[:2], [], "upstream_invalid_json"),
    "not ascii": (b"{}\xff", framed(b"{}"), "upstream_invalid_json"),
}


@pytest.mark.parametrize(("body", "frames", "code"), CONCAT_ERRORS.values(), ids=CONCAT_ERRORS)
def test_json_concat_errors(body: bytes, frames: list[Frame], code: str) -> None:
    """What cannot be a value, or is none yet at the end, is an error after the frames before it."""
    check_framing("json-concat", body, frames, code)


@pytest.mark.parametrize("name", ["json-concat", "json-array"])
def test_a_value_is_yielded_with_its_last_byte(name: str) -> None:
    """Nothing waits for the next value: the last byte of an object completes its frame."""
    framing = FRAMINGS[name](LARGE)
    assert list(framing.feed(b'[{"a":' if name == "json-array" else b'{"a":')) == []
    assert list(framing.feed(b"[1]}")) == framed(b'{"a":[1]}')


ARRAY = {
    "compact": (b'[{"a":1},{"b":2}]', framed(b'{"a":1}', b'{"b":2}')),
    "pretty printed": (b'[{\n  "a": 1\n}\n,\n{\n  "b": [2]\n}]\n', framed(b'{\n  "a": 1\n}', b'{\n  "b": [2]\n}')),
    "scalars": (b'[1, -2.5 ,"a,]",null,[],true]', framed(b"1", b"-2.5", b'"a,]"', b"null", b"[]", b"true")),
    "empty": (b" [ ] ", []),
    "byte order mark": (BOM + b"[1]", framed(b"1")),
    "space after": (b"[{}]\r\n\n ", framed(b"{}")),
    "nested arrays": (b"[[],[[1]]]", framed(b"[]", b"[[1]]")),
    "plain object": (b' {"error":{"code":404}}\n', framed(b'{"error":{"code":404}}')),
    "plain objects": (b"{}\n[1]{}", framed(b"{}", b"[1]", b"{}")),
    "plain scalar": (b"null", framed(b"null")),
    "nothing": (b"", []),
    "only space": (b" \n", []),
}


@pytest.mark.parametrize(("body", "frames"), ARRAY.values(), ids=ARRAY)
def test_json_array(body: bytes, frames: list[Frame]) -> None:
    """The elements of a top-level array are frames; a body that is no array is read value by value."""
    check_framing("json-array", body, frames)


ARRAY_ERRORS = {
    "not closed": (b"[{}", framed(b"{}"), "upstream_truncated"),
    "ends after a comma": (b"[{},", framed(b"{}"), "upstream_truncated"),
    "ends within an element": (b'[{},{"a"', framed(b"{}"), "upstream_truncated"),
    "ends within a number": (b"[1,2", framed(b"1"), "upstream_truncated"),
    "only opened": (b"[", [], "upstream_truncated"),
    "plain object cut short": (b'{"error":', [], "upstream_truncated"),
    "missing comma": (b"[{}{}]", framed(b"{}"), "upstream_invalid_json"),
    "missing comma after a number": (b"[1 2]", framed(b"1"), "upstream_invalid_json"),
    "double comma": (b"[{},,{}]", framed(b"{}"), "upstream_invalid_json"),
    "leading comma": (b"[,{}]", [], "upstream_invalid_json"),
    "trailing comma": (b"[{},]", framed(b"{}"), "upstream_invalid_json"),
    "something after": (b"[{}]{}", framed(b"{}"), "upstream_invalid_json"),
    "second array": (b"[{}]\n[{}]", framed(b"{}"), "upstream_invalid_json"),
    "html": (b"<html>", [], "upstream_invalid_json"),
    "half a byte order mark": (BOM[:1], [], "upstream_invalid_json"),
}


@pytest.mark.parametrize(("body", "frames", "code"), ARRAY_ERRORS.values(), ids=ARRAY_ERRORS)
def test_json_array_errors(body: bytes, frames: list[Frame], code: str) -> None:
    """An array that is not well formed, or not closed, is an error after the elements before it."""
    check_framing("json-array", body, frames, code)


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("json-concat", b"<html>", "`<` between values"),
        ("json-concat", b"{}\xff", "byte 0xff between values"),
        ("json-array", b"[{}{}]", "`{` after element"),
        ("json-array", b"[{}]x", "`x` closed"),
    ],
)
def test_messages_name_the_byte(name: str, body: bytes, message: str) -> None:
    """An error about invalid JSON shows the byte that cannot be there, and nothing else of the content."""
    framing = FRAMINGS[name](LARGE)
    with pytest.raises(BackendError, match="is not the JSON that its mapping describes") as caught:
        list(framing.feed(body))
    assert caught.value.message.endswith(message)
