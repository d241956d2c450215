"""The functions of selectors: JMESPath's own, those on text, and those that read what is beside the payload."""

import base64

import jmespath
import pytest
from jmespath.functions import Functions
from support import FRAME, Frame, evaluate, select

from oaiproxy.selector_functions import FUNCTIONS

REPLY = {"id": "m1", "map": {"k1": {"v": 1}}}


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
