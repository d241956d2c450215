"""Selectors: JMESPath compiled to closures that answer as the library does."""

import json

import jmespath
import pytest
from support import Frame, evaluate, select

from oaiproxy.selector_source import MAX_DEPTH
from oaiproxy.selectors import compile_selector

REPLY = {
    "id": "m1",
    "a": {"b": {"c": {"d": {"e": 5}}}},
    "list": [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}, {"n": None, "t": "x"}, "s", None],
    "nested": [[1, 2], [3, [4]], 5, []],
    "numbers": [3, 1.5, -2],
    "words": ["b", "a", "c"],
    "map": {"k1": {"v": 1}, "k2": {"v": 2}, "k3": 3},
    "empty": {"text": "", "list": [], "object": {}, "no": False, "null": None, "zero": 0},
    "x-y": {"0": "quoted"},
    "true": "the field called true",
    "text": "héllo 🙂",
    "parts": [{"type": "text", "text": "Hel"}, {"type": "image"}, {"type": "text", "text": "lo"}],
}

CASES = [
    # fields and sub-expressions
    ("id", "m1"),
    ("a.b", {"c": {"d": {"e": 5}}}),
    ("a.b.c", {"d": {"e": 5}}),
    ("a.b.c.d", {"e": 5}),
    ("a.b.c.d.e", 5),
    ("a.b.c.d.e.f", None),
    ("nope", None),
    ("nope.b", None),
    ("nope.b.c", None),
    ("nope.b.c.d", None),
    ("nope.b.c.d.e", None),
    ("a.nope.c", None),
    ("a.b.c.nope", None),
    ("id.length", None),
    ("list.t", None),
    ('"x-y"."0"', "quoted"),
    ('"\\u0069d"', "m1"),
    ("@.id", "m1"),
    ("true", "the field called true"),
    # indexes
    ("list[0]", {"n": 1, "t": "x"}),
    ("list[0].t", "x"),
    ("list[-1]", None),
    ("list[-2]", "s"),
    ("list[99]", None),
    ("list[-99]", None),
    ("list[-99].t", None),
    ("@[0].t", None),
    ("list | [1].t", "y"),
    ("list[3][0]", None),
    ("list[3].t", None),
    ("id[0]", None),
    ("id[0].x", None),
    ("a[0]", None),
    ("a[0].b", None),
    ("nested[1][1][0]", 4),
    ("nested[1][1][0].x", None),
    ("[0]", None),
    ("[0].a", None),
    # slices
    ("numbers[:2]", [3, 1.5]),
    ("numbers[1:]", [1.5, -2]),
    ("numbers[::-1]", [-2, 1.5, 3]),
    ("numbers[-1:0:-1]", [-2, 1.5]),
    ("list[:2].t", ["x", "y"]),
    ("id[:1]", None),
    # projections
    ("list[*].t", ["x", "y", "x"]),
    ("list[*].n", [1, 2]),
    ("list[*]", [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}, {"n": None, "t": "x"}, "s"]),
    ("list[*].t | [0]", "x"),
    ("list[*].t[0]", []),
    ("a[*].b", None),
    ("nested[]", [1, 2, 3, [4], 5]),
    ("nested[][]", [1, 2, 3, 4, 5]),
    ("nested[0][]", [1, 2]),
    ("id[]", None),
    ("map.*.v", [1, 2]),
    ("map.*", [{"v": 1}, {"v": 2}, 3]),
    ("list.*", None),
    ("*.k3", [3]),
    # filters
    ("list[?t == 'x'].n", [1]),
    ("list[?n > `1`].t", ["y"]),
    ("list[?n]", [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}]),
    ("list[?t == 'x'] | [1]", {"n": None, "t": "x"}),
    ("parts[?type == 'text'].text", ["Hel", "lo"]),
    ("parts[?type != 'text']", [{"type": "image"}]),
    ("numbers[?@ > `0`]", [3, 1.5]),
    ("a[?b]", None),
    # multi-selects
    ("[id, a.b.c.d.e]", ["m1", 5]),
    ("{i: id, e: a.b.c.d.e, n: nope}", {"i": "m1", "e": 5, "n": None}),
    ("nope.[id]", None),
    ("nope.{i: id}", None),
    ("id.{i: id}", {"i": None}),
    ("list[:2].{n: n}", [{"n": 1}, {"n": 2}]),
    ("list[:2].[t, n]", [["x", 1], ["y", 2]]),
    # truth
    ("nope || id", "m1"),
    ("empty.text || empty.list || empty.object || empty.no || id", "m1"),
    ("empty.zero || id", 0),
    ("nope || empty.text", ""),
    ("`0.0` || id", 0.0),
    ("id && a.b.c.d.e", 5),
    ("empty.text && id", ""),
    ("empty.zero && id && `1`", 1),
    ("!nope", True),
    ("!id", False),
    ("!empty.zero", None),
    ("!(empty.zero)", False),
    ("!(empty.text)", True),
    ("!(empty.list)", True),
    ("!(empty.object)", True),
    # comparisons
    ("id == 'm1'", True),
    ("id != 'm1'", False),
    ("'m1' == id", True),
    ("nope == `null`", True),
    ("empty.zero == `false`", False),
    ("empty.no == `false`", True),
    ("empty.no == `0`", False),
    ("empty.no != `0`", True),
    ("`1` == `1.0`", True),
    ("`1` == `true`", False),
    ("`[1]` == `[true]`", True),
    ('map.k1 == `{"v": 1}`', True),
    ("`2` > `1.5`", True),
    ("'b' > 'a'", True),
    ("`true` > `0`", None),
    ("nope > `1`", None),
    ("words < `1`", None),
    # literals, the current node, pipes
    ('`{"a": [1, null]}`', {"a": [1, None]}),
    ("`word`", "word"),
    ("'it\\'s'", "it's"),
    ('`"t\\`i"`', "t`i"),
    ("a | b | c.d.e", 5),
    ("@ | @ | id", "m1"),
    ("(a).b.c.d.e", 5),
    # the library's functions
    ("abs(`-1`)", 1),
    ("avg(numbers)", 2.5 / 3),
    ("ceil(`1.2`)", 2),
    ("contains(words, 'a')", True),
    ("contains(id, 'm')", True),
    ("ends_with(id, '1')", True),
    ("floor(`1.8`)", 1),
    ("join(', ', words)", "b, a, c"),
    ("join('', parts[?type == 'text'].text)", "Hello"),
    ("keys(map)", ["k1", "k2", "k3"]),
    ("length(text)", 7),
    ("length(words)", 3),
    ("length(map)", 3),
    ("map(&v, map.*)", [1, 2, None]),
    ("max(numbers)", 3),
    ("max(`[]`)", None),
    ("max_by(list[:2], &n).t", "y"),
    ('merge(map.k1, `{"w": 2}`)', {"v": 1, "w": 2}),
    ("min(words)", "a"),
    ("min_by(list[:2], &n).t", "x"),
    ("not_null(nope, empty.null, id)", "m1"),
    ("reverse(words)", ["c", "a", "b"]),
    ("sort(numbers)", [-2, 1.5, 3]),
    ("sort_by(list[:2], &n)[*].n", [1, 2]),
    ("starts_with(id, 'm')", True),
    ("sum(numbers)", 2.5),
    ("to_array(id)", ["m1"]),
    ("to_array(words)", ["b", "a", "c"]),
    ("to_number('26')", 26),
    ("to_number('2.5')", 2.5),
    ("to_number('x')", None),
    ("to_number(`true`)", None),
    ("to_string(map.k1)", '{"v":1}'),
    ("to_string(text)", "héllo 🙂"),
    ("to_string([text])", '["h\\u00e9llo \\ud83d\\ude42"]'),
    ("to_string(nope)", "null"),
    ("type(nope)", "null"),
    ("type(`1.5`)", "number"),
    ("values(map.k1)", [1]),
    ("words.length(@)", 3),
    ("parts[*].length(type)", [4, 5, 4]),
]


@pytest.mark.parametrize(("source", "expected"), CASES)
def test_it_selects_what_the_specification_says(source, expected):
    """Each kind of node of the syntax tree selects the right value, of the right type, as the library does."""
    assert repr(evaluate(source, REPLY)) == repr(expected)
    assert repr(jmespath.search(source, REPLY)) == repr(expected)


RAISING = [
    ("join('', nope)", REPLY),
    ("join('', numbers)", REPLY),
    ("sum(`[null]`)", REPLY),
    ("sum(words)", REPLY),
    ("abs(id)", REPLY),
    ("abs(`true`)", REPLY),
    ("length(`1`)", REPLY),
    ('max(`[1, "a"]`)', REPLY),
    ("max(list)", REPLY),
    ('sort(`["a", 1]`)', REPLY),
    ("sort_by(list, &n)", REPLY),
    ("sort_by(parts, &nope)", REPLY),
    ("max_by(list, &@)", REPLY),
    ("map(&a, id)", REPLY),
    ("merge(id)", REPLY),
    ("merge(map, `1`)", REPLY),
    ("id > `1`", REPLY),
    ("contains(id, `1`)", REPLY),
    ("list[?t > `1`]", REPLY),
    ("join(abs(id), id > `1`)", REPLY),
    ("ceil(@)", float("nan")),
    ("floor(@)", float("inf")),
]


@pytest.mark.parametrize(("source", "value"), RAISING)
def test_evaluate_raises_what_the_library_raises(source, value):
    """The class of the error is the library's, a bare TypeError included; a call says None instead."""
    with pytest.raises(Exception) as library:
        jmespath.search(source, value)
    with pytest.raises(library.type) as ours:
        evaluate(source, value)
    assert ours.type is library.type
    assert str(ours.value) == str(library.value)
    assert select(source, value) is None


def test_a_call_says_none_about_a_value_too_deep_to_compare():
    """Hostile nesting is no way to make a selector raise."""
    deep, other = [], []
    for _ in range(100_000):
        deep, other = [deep], [other]
    assert select("a == b", {"a": deep, "b": other}) is None


def test_a_projection_takes_any_number_of_items():
    """Python's stack grows with the expression, never with the value."""
    value = {"items": [{"n": {"m": number}} for number in range(50_000)]}
    assert select("items[*].n.m | [-1]", value) == 49_999


def test_a_hash_keeps_the_order_it_was_written_in():
    """The names come out as written, and of two equal ones the last value wins."""
    assert json.dumps(select("{z: `1`, a: `2`, z: `3`}", {})) == '{"z": 3, "a": 2}'


def test_a_selector_knows_its_source():
    """The text it was compiled from stays readable, for messages."""
    assert compile_selector(" a.b ").source == " a.b "


def test_a_selector_may_be_as_deep_as_the_limit():
    """A bound that no selector meant for reading reaches."""
    assert select(" || ".join("a" * MAX_DEPTH), {"a": 1}) == 1


def test_one_selector_serves_many_envelopes():
    """Nothing of one evaluation is kept for the next."""
    selector = compile_selector("map(&event(), @)")
    assert [selector([0], Frame(event=name)) for name in ("a", "b")] == [["a"], ["b"]]
