"""Selectors: JMESPath compiled to closures that answer as the library does."""

import base64
import json
from dataclasses import dataclass, field

import jmespath
import pytest
from jmespath.functions import Functions

from oaiproxy.selectors import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, SelectorError, compile_selector


@dataclass(frozen=True)
class Frame:
    event: str = ""
    id: str = ""
    fields: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)
    status: int = 0
    raw: bytes = b""


FRAME = Frame()


def select(source, value=None, frame=FRAME):
    return compile_selector(source)(value, frame)


def evaluate(source, value=None):
    return compile_selector(source).evaluate(value, FRAME)


def error_of(source):
    with pytest.raises(SelectorError) as caught:
        compile_selector(source)
    error = caught.value
    assert str(error) == error.message
    return error.message, error.offset, error.length, error.help


def warnings_of(source):
    return [
        (warning.message, source[warning.offset :][: warning.length], warning.help)
        for warning in compile_selector(source).warnings
    ]


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


# Functions on text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("concat('a', 'b', 'c')", "abc"),
        ("concat(id, '-', `7`)", "m1-7"),
        ("concat(`1.5`, `true`)", "1.5true"),
        ("concat(nope)", ""),
        ("concat(nope, 'a', nope)", "a"),
        ("concat(map.k1)", '{"v":1}'),
    ],
)
def test_concat_joins_values_as_text(source, expected):
    """Numbers and the rest are written as JSON, null as nothing."""
    assert select(source, REPLY) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"a": [1, 2.0]}', {"a": [1, 2.0]}), ("3", 3), ("null", None), ("{oops", None), ("", None), ("1" * 5000, None)],
)
def test_parse_json_reads_json_in_a_string(text, expected):
    """What is not JSON is null, not an error."""
    assert evaluate("parse_json(@)", text) == expected


def test_what_parse_json_read_can_be_selected_from():
    """It is a value like any other."""
    assert select("parse_json(arguments).city", {"arguments": '{"city": "Rome"}'}) == "Rome"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (base64.b64encode("héllo".encode()).decode(), "héllo"),
        ("", ""),
        ("not base64!", None),
        ("YQ", None),
        ("é", None),
        (base64.b64encode(b"\xff").decode(), None),
    ],
)
def test_from_base64_decodes_text(text, expected):
    """What is not base64, or not UTF-8 inside, is null."""
    assert evaluate("from_base64(@)", text) == expected


@pytest.mark.parametrize("source", ["parse_json(@)", "from_base64(@)", "field(@)", "header(@)"])
def test_functions_on_text_take_only_text(source):
    """A number is a type error, as for the library's own functions."""
    with pytest.raises(jmespath.exceptions.JMESPathTypeError):
        evaluate(source, 1)


# The envelope

FULL = Frame("delta", "7", {"meta": "m"}, {"X-Amzn-ErrorType": "Busy"}, 429, b"\xffdata")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("event()", "delta"),
        ("id()", "7"),
        ("field('meta')", "m"),
        ("header('x-amzn-errortype')", "Busy"),
        ("header('X-AMZN-ErrorType')", "Busy"),
        ("status()", 429),
        ("raw()", "\ufffddata"),
    ],
)
def test_envelope_functions_read_what_is_beside_the_payload(source, expected):
    """Each answers from the frame's envelope, whatever the value."""
    assert select(source, None, FULL) == expected


@pytest.mark.parametrize("source", ["event()", "id()", "field('meta')", "header('x')", "status()", "raw()"])
def test_envelope_functions_say_null_where_there_is_nothing(source):
    """An empty name, no header, no status: all null."""
    assert select(source, {"id": "of the payload"}, FRAME) is None


def test_envelope_functions_stand_wherever_a_call_may():
    """In filters, comparisons, arguments and behind `&` they see the same envelope."""
    source = "event() == 'delta' && [items[?@ == id()] | [0], map(&concat(@, field('meta')), items), @.status()]"
    assert select(source, {"items": ["6", "7"]}, FULL) == ["7", ["6m", "7m"], 429]


def test_a_field_called_like_an_envelope_function_is_a_field():
    """Without parentheses it is the payload's."""
    assert select("[id, event.status]", {"id": 1, "event": {"status": 2}}, FULL) == [1, 2]


def test_one_selector_serves_many_envelopes():
    """Nothing of one evaluation is kept for the next."""
    selector = compile_selector("map(&event(), @)")
    assert [selector([0], Frame(event=name)) for name in ("a", "b")] == [["a"], ["b"]]


# The table of functions


def test_every_function_of_the_library_is_in_the_table():
    """Under its own name, with its own arity and types."""
    table = Functions.FUNCTION_TABLE
    assert set(table) < set(FUNCTIONS)
    for name, specification in table.items():
        types = tuple(tuple(parameter["types"]) for parameter in specification["signature"])
        assert FUNCTIONS[name].parameters == types


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("join", "join(string, array-string)"),
        ("max", "max(array-number|array-string)"),
        ("sort_by", "sort_by(array, expref)"),
        ("not_null", "not_null(any, ...)"),
        ("concat", "concat(any, ...)"),
        ("header", "header(string)"),
        ("event", "event()"),
    ],
)
def test_a_function_shows_its_signature(name, signature):
    """Readable in a message and in the documentation."""
    assert FUNCTIONS[name].signature == signature
    assert FUNCTIONS[name].description


# Errors

ERRORS = {
    "": ("the selector is empty", 0, 0, "write `@` for the whole value"),
    " \t\n": ("the selector is empty", 0, 3, "write `@` for the whole value"),
    "a.": ("the selector ends too early", 2, 0, "something must follow `.`"),
    "a || ": ("the selector ends too early", 5, 0, "something must follow `||`"),
    "join('', a": ("the selector ends too early", 10, 0, "close `(` with `)`"),
    "a[?b == c": ("the selector ends too early", 9, 0, "close `[?` with `]`"),
    "{a: b": ("the selector ends too early", 5, 0, "close `{` with `}`"),
    "[(a)": ("the selector ends too early", 4, 0, "close `[` with `]`"),
    "a)": ("`)` is not expected here", 1, 1, ""),
    "a..b": ("`.` is not expected here", 2, 1, ""),
    " a.0": ("`0` is not expected here", 3, 1, "write `[0]` for an item of a list"),
    "a == 10": ("`10` is not expected here", 5, 2, "write a number in back-ticks: `` `10` ``"),
    "a.'b c'": ("`'b c'` is not expected here", 2, 5, 'write a field\'s name in double quotes: `"b c"`'),
    'a["b"]': ('`"b"` is not expected here', 2, 3, "write a field's name after a dot, without brackets"),
    "a or b": ("`or` is not expected here", 2, 2, "write `||`"),
    "a and b": ("`and` is not expected here", 2, 3, "write `&&`"),
    "not a": ("`a` is not expected here", 4, 1, "write `!`"),
    "a & b": ("`&` is not expected here", 2, 1, "write `&&`"),
    "a = b": ("`=` is not expected here", 2, 1, "compare with `==`"),
    "a =": ("`=` is not expected here", 2, 1, "compare with `==`"),
    "a + b": ("`+` is not expected here", 2, 1, "there is no arithmetic; compute with a `{{ }}` expression instead"),
    "$.a": ("`$` is not expected here", 0, 1, "leave the `$` out: a selector starts at the value itself"),
    "a # b": ("`#` is not expected here", 2, 1, ""),
    "a == 'b": ("the quote ' is never closed", 5, 2, "end the quotation with '"),
    "a == `1": ("the quote ` is never closed", 5, 2, "end the quotation with `"),
    'a."b': ('the quote " is never closed', 2, 2, 'end the quotation with "'),
    'a."\\x"': ('what the quote " starts is not valid as JSON', 2, 4, ""),
    'a || "length"(b)': ('`"length"` is called as a function', 5, 8, "write `length` without quotes"),
    "a || lenght(b)": ("there is no function `lenght()`", 5, 6, "did you mean `length`?"),
    "a[?zzz(b)].length(c)": ("there is no function `zzz()`", 3, 3, ""),
    "length(a)[?b].lenght(c)": ("there is no function `lenght()`", 14, 6, "did you mean `length`?"),
    "length(a)[?nope(b)].zzz(c)": ("there is no function `nope()`", 11, 4, ""),
    "(lenght)(a)": ("there is no function `lenght()`", 1, 6, "did you mean `length`?"),
    "a || join(b)": ("`join()` takes 2 arguments, not 1", 5, 4, "write `join(string, array-string)`"),
    "length(a, b)": ("`length()` takes 1 argument, not 2", 0, 6, "write `length(string|array|object)`"),
    "concat()": ("`concat()` takes at least 1 argument, not 0", 0, 6, "write `concat(any, ...)`"),
    "status(a)": ("`status()` takes 0 arguments, not 1", 0, 6, "write `status()`"),
    "to_array(&a)": ("`&` stands where no function takes an expression", 9, 1, "write `&&` for a logical and"),
    "a[:1] || b[1::0]": ("a slice cannot have a step of 0", 10, 1, "leave the step out"),
}


@pytest.mark.parametrize(("source", "expected"), ERRORS.items(), ids=ERRORS)
def test_an_error_names_the_thing_the_place_and_the_fix(source, expected):
    """Message, offset, length and help, all at compile time."""
    assert error_of(source) == expected


def test_a_selector_that_is_too_long_is_refused():
    """At the first character beyond the limit."""
    assert compile_selector("a" * MAX_LENGTH).source
    message = f"the selector has more than {MAX_LENGTH} characters"
    assert error_of("a" * (MAX_LENGTH + 3)) == (message, MAX_LENGTH, 3, "")


@pytest.mark.parametrize(
    "source",
    [
        " || ".join("a" * (MAX_DEPTH + 1)),
        "!" * MAX_DEPTH + "a",
        "!" * 4000 + "a",
        "(" * 2000 + "a" + ")" * 2000,
        "[" * 4000,
        "`" + "[" * 4000 + "`",
    ],
    ids=["alternatives", "negations", "many negations", "parentheses", "brackets", "a literal"],
)
def test_a_selector_that_is_nested_too_deep_is_refused(source):
    """Whether the library parses it or gives up."""
    message, offset, length, _ = error_of(source)
    assert (message, offset, length) == (f"the selector is nested more than {MAX_DEPTH} deep", 0, len(source))


def test_a_selector_may_be_as_deep_as_the_limit():
    """A bound that no selector meant for reading reaches."""
    assert select(" || ".join("a" * MAX_DEPTH), {"a": 1}) == 1


# Warnings

WARNINGS = {
    "finished == true": [
        ("`true` is a field's name here, not the constant", "true", "write `` `true` `` in back-ticks")
    ],
    "a[?false != (b)]": [
        ("`false` is a field's name here, not the constant", "false", "write `` `false` `` in back-ticks")
    ],
    "a == (null)": [("`null` is a field's name here, not the constant", "null", "write `` `null` `` in back-ticks")],
    'a[?type == "text"].b': [
        ('`"text"` is a field\'s name here, not a text', '"text"', "write `'text'` in single quotes")
    ],
    "true == b == c": [("`true` is a field's name here, not the constant", "true", "write `` `true` `` in back-ticks")],
    "a && !token.special": [
        (
            "`!` binds tighter than what follows its operand, so that `!a.b` means `(!a).b`",
            "!token.special",
            "write `!(token.special)`",
        )
    ],
    "!a[?b]": [
        ("`!` binds tighter than what follows its operand, so that `!a.b` means `(!a).b`", "!a", "write `!(...)`"),
    ],
}


@pytest.mark.parametrize(("source", "expected"), WARNINGS.items(), ids=WARNINGS)
def test_what_surely_means_something_else_is_warned_of(source, expected):
    """The message, the very text that is meant, and the fix."""
    assert warnings_of(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "finished == `true`",
        "true",
        "true.a == b",
        "a.true == b",
        "type == 'text'",
        '"x-y" == `1`',
        "a.\"x-y\" == 'b'",
        "!(a.b)",
        "(!a).b",
        "!a && b.c",
        "!a[0]",
        "!a | b",
        "`word` == a",
    ],
)
def test_what_means_what_it_says_is_not_warned_of(source):
    """No noise."""
    assert warnings_of(source) == []


def test_warnings_come_in_the_order_of_the_source():
    """One for each place."""
    source = 'a[?!b.c && x == null] || y == "z" || true == w'
    assert [text for _, text, _ in warnings_of(source)] == ["!b.c", "null", '"z"', "true"]
