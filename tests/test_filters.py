"""Promises of `oaiproxy.filters`: each filter of the documentation, on data, on absent values, on wrong values."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from rendering import evaluate, render

from oaiproxy import jsontext
from oaiproxy.filters import FILTERS, Digest, FilterError, kind
from oaiproxy.sandbox import Sandbox
from oaiproxy.scopes import Absent, RenderError

DOCUMENTED = [
    "default",
    "clamp",
    "int",
    "float",
    "round",
    "string",
    "lower",
    "upper",
    "trim",
    "replace",
    "split",
    "join",
    "first",
    "last",
    "length",
    "unique",
    "map",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "json",
    "parse_json",
    "jmes",
    "map_to",
    "strip_keys",
    "merge",
    "b64",
    "urlencode",
    "sha256",
    "date",
    "hmac_sha256",
    "hex",
]
"""language.md, sections 4 and 9."""

ROWS = [{"a": 1, "b": "x"}, {"a": 2}, {"a": 1, "b": ""}]
WORKING: list[tuple[str, Any, Any]] = [
    ("v | default(3)", None, 3),
    ("v | default(3)", 0, 0),
    ("v | default(3)", "", ""),
    ("v | clamp(0, 1)", 2.5, 1),
    ("v | clamp(0, 1)", -3, 0),
    ("v | clamp(0, 1)", 0.5, 0.5),
    ("v | int", " 42 ", 42),
    ("v | int", "4.9", 4),
    ("v | int", "1e3", 1000),
    ("v | int", -4.9, -4),
    ("v | int", "12345678901234567890", 12345678901234567890),
    ("v | float", "1.5", 1.5),
    ("v | float", 2, 2.0),
    ("v | round", 2.6, 3),
    ("v | round(1)", 2.66, 2.7),
    ("v | string", 1.5, "1.5"),
    ("v | string", True, "true"),
    ("v | string", {"a": [None]}, '{"a":[null]}'),
    ("v | lower", "ÄB", "äb"),
    ("v | upper", "äb", "ÄB"),
    ("v | trim", " a \n", "a"),
    ("v | trim('/')", "/a/", "a"),
    ("v | replace('a', 'b')", "aXa", "bXb"),
    ("v | replace('1', 2)", 11, "22"),
    ("v | split(',')", "a,b,", ["a", "b", ""]),
    ("v | split", " a  b ", ["a", "b"]),
    ("v | join(', ')", ["a", 1, None, [2]], "a, 1, null, [2]"),
    ("v | join", [], ""),
    ("v | first", [1, 2], 1),
    ("v | last", "ab", "b"),
    ("v | length", {"a": 1}, 1),
    ("v | unique", [1, 1.0, "1", True, 1, [1], [1]], [1, 1.0, "1", True, [1]]),
    ("v | map(attribute='b')", ROWS, ["x", ""]),
    ("v | map(attribute='a.b')", [{"a": {"b": 1}}], [1]),
    ("v | map('upper')", ["a"], ["A"]),
    ("v | map('replace', 'a', 'b')", ["a"], ["b"]),
    ("v | select", [0, 1, "", "a"], [1, "a"]),
    ("v | select('gt', 1)", [1, 2], [2]),
    ("v | reject('none')", [None, 1], [1]),
    ("v | selectattr('b')", ROWS, [ROWS[0]]),
    ("v | selectattr('a', 'eq', 2)", ROWS, [ROWS[1]]),
    ("v | rejectattr('b', 'defined')", ROWS, [ROWS[1]]),
    ("v | json", {"a": "é\u2028"}, '{"a":"é\\u2028"}'),
    ("v | parse_json", '{"a": 1}', {"a": 1}),
    ("v | jmes('a[0].b')", {"a": [{"b": 1}]}, 1),
    ("v | map_to({'a': 'b'})", "a", "b"),
    ("v | map_to({'a': 'b'}, 'c')", "x", "c"),
    ("v | map_to({1: 'one', true: 'yes'})", 1, "one"),
    ("v | map_to({1: 'one', true: 'yes'})", True, "yes"),
    ("v | strip_keys('x', 'y')", {"x": 1, "a": [{"y": 1, "b": 2}]}, {"a": [{"b": 2}]}),
    ("v | merge({'b': 3})", {"a": 1, "b": 2}, {"a": 1, "b": 3}),
    ("v | b64", "é", "w6k="),
    ("v | urlencode", "a/b é", "a%2Fb%20%C3%A9"),
    ("v | sha256", "", Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
    ("v | sha256 | b64", "", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ("v | hmac_sha256('k')", "é", Digest("41b08e48379060d5566363083dabd4b2f9afd6e169af22d26522dbdc5e7a5134")),
    ("v | hmac_sha256('k') | hex", "é", "41b08e48379060d5566363083dabd4b2f9afd6e169af22d26522dbdc5e7a5134"),
    ("v | hex", "é", "c3a9"),
    ("v | date", 0, "1970-01-01T00:00:00Z"),
    ("v | date('%Y')", 1.7e9, "2023"),
]
ARGUMENTS = {
    "clamp": "(0, 1)",
    "hmac_sha256": "('k')",
    "replace": "('a', 'b')",
    "map": "('upper')",
    "jmes": "('a')",
    "map_to": "({})",
    "merge": "({})",
    "selectattr": "('a')",
    "rejectattr": "('a')",
}


def test_the_filters_are_those_of_the_documentation() -> None:
    """No more, no fewer."""
    assert sorted(Sandbox().filters) == sorted(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_filter_is_described(name: str) -> None:
    """The reference is made of the docstrings and the signatures."""
    function: Any = Sandbox().filters[name]
    assert (inspect.getdoc(function) or "").endswith(".")
    assert not {"self", "holder"} & set(inspect.signature(function).parameters)


def test_the_table_holds_every_filter() -> None:
    """Else a new one would go untested."""
    assert {expression.split("|")[1].split("(")[0].strip() for expression, _, _ in WORKING} == set(DOCUMENTED)


@pytest.mark.parametrize(("expression", "value", "expected"), WORKING)
def test_a_filter_works(expression: str, value: Any, expected: Any) -> None:
    """Types included."""
    result = evaluate(expression, v=value)
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name != "default"])
def test_a_filter_passes_absent_values_through(name: str) -> None:
    """So that a field which was not sent stays out, whatever is done to it."""
    assert isinstance(evaluate(f"v | {name}{ARGUMENTS.get(name, '')}"), Absent)


def test_default_ends_absence() -> None:
    """The one filter that does."""
    assert evaluate("v | upper | default('x')") == "x"


@pytest.mark.parametrize("expression", ["v | replace('a', gone)", "v | clamp(0, gone)", "v | join(separator=gone)"])
def test_an_absent_argument_makes_the_result_absent(expression: str) -> None:
    """It is not taken for text or a number."""
    assert isinstance(evaluate(expression, v="abc"), Absent)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("v | first", []),
        ("v | last", ""),
        ("v | parse_json", "{"),
        ("v | jmes('b')", {"a": 1}),
        ("v | map_to({'a': 'b'})", "x"),
    ],
)
def test_a_filter_without_a_result_gives_absent(expression: str, value: Any) -> None:
    """Not null, which would be sent."""
    assert isinstance(evaluate(expression, v=value), Absent)


@pytest.mark.parametrize(
    ("expression", "value", "message"),
    [
        ("v | clamp(0, 1)", "hunter2", "`clamp` needs a number, not a string"),
        ("v | clamp('0', 1)", 1, "`clamp` needs a number, not a string"),
        ("v | int", "hunter2", "`int` cannot read a string as an integer"),
        ("v | int", "1_000", "`int` cannot read a string as an integer"),
        ("v | int", "9" * 5000, "`int` cannot read a string as an integer"),
        ("v | int", "1e999", "`int` cannot read a string as an integer"),
        ("v | float", "nan", "`float` cannot read a string as a number"),
        ("v | float", [], "`float` cannot read a list as a number"),
        ("v | round", True, "`round` needs a number, not a boolean"),
        ("v | round(-1000000000)", 5, "`round` takes at most 30 digits"),
        ("v | join", "hunter2", "`join` needs a list, not a string"),
        ("v | first", {"hunter2": 1}, "`first` needs a list or a text, not an object"),
        ("v | length", 5, "`length` cannot count a number"),
        ("v | unique", None, "`unique` needs a list, not null"),
        ("v | map('upper')", {}, "`map` needs a list, not an object"),
        ("v | merge([])", {}, "`merge` joins two objects, not an object and a list"),
        ("v | map_to([])", "a", "`map_to` needs an object to look in, not a list"),
        ("v | replace('', 'x')", "a", "`replace` needs something to replace, not an empty text"),
        ("v | split('')", "a", "`split` needs a separator, not an empty text"),
        ("v | date", "hunter2", "`date` needs a number, not a string"),
        ("v | date", 1e300, "`date` cannot make a date of this number"),
        ("v | date('%999999999d')", 0, "`date` cannot use this form: write letters after `%`, as in `%Y-%m-%d`"),
        ("v | jmes(x)", {}, "`jmes`: "),
    ],
)
def test_a_wrong_value_is_named_by_its_kind(expression: str, value: Any, message: str) -> None:
    """The message says what was wrong, and never the content."""
    with pytest.raises(RenderError) as error:
        evaluate(expression, v=value, x="hunter2[")
    assert str(error.value).startswith(message)
    if "jmes" not in expression:
        assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "expression",
    [
        "v | replace('a', v)",
        "v | split('a') | join(v)",
        "v | split('a') | map('replace', '', v) | join",
    ],
)
def test_text_cannot_grow_without_bound(expression: str) -> None:
    """A request of some kilobytes must not make gigabytes."""
    with pytest.raises(RenderError):
        evaluate(expression, v="a" * 100_000)


def test_pieces_are_bounded() -> None:
    """A list takes far more memory than the text it was made of."""
    with pytest.raises(FilterError):
        FILTERS["split"](",".join("a" * 1_000_001), ",")


@pytest.mark.parametrize("name", ["b64", "sha256", "urlencode"])
def test_lone_surrogates_do_no_harm(name: str) -> None:
    """They cannot be written as UTF-8."""
    assert isinstance(evaluate(f"v | {name}", v="a\ud800"), str)


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "null"), (True, "a boolean"), (1.5, "a number"), ("", "a string"), ({}, "an object"), ([], "a list")],
)
def test_kinds_have_the_names_of_json(value: Any, name: str) -> None:
    """A mapping's author knows JSON, not Python."""
    assert kind(value) == name


def test_filters_follow_each_other() -> None:
    """From left to right."""
    assert (
        render("\"{{ v | map(attribute='t') | select | join('+') | upper }}\"", v=[{"t": "a"}, {}, {"t": "b"}]) == "A+B"
    )


@pytest.mark.parametrize("expression", ["(v | sha256) ~ 'x'", "(v | sha256) + 'x'", "'x' + (v | sha256)"])
def test_a_digest_joins_other_text(expression: str) -> None:
    """As any text does: it is hexadecimal then."""
    made = evaluate(expression, v="")
    assert made.strip("x") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_text_in_a_body() -> None:
    """Alone in a leaf, it is written as the text that it is."""
    assert jsontext.dump({"a": evaluate("v | sha256", v="")}) == jsontext.dump({"a": evaluate("v | sha256", v="") + ""})
