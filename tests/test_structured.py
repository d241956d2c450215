"""Promises of `oaiproxy.structured`: JSON is found in what models say around it, as it is written there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.errors import ClientError
from oaiproxy.structured import MAX_STARTS, Format, Misfit, candidates, wanted

OBJECT = Format({"type": "json_object"})
COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
PROSE = st.text(st.characters(exclude_characters="{}[]`", exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def form(schema: Any, **more: Any) -> Format:
    return Format({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}})


@given(PROSE, st.dictionaries(st.text(max_size=5), JSON, max_size=4), PROSE, st.booleans())
def test_an_object_is_found_in_any_prose(before: str, value: Any, after: str, fenced: bool) -> None:
    written = json.dumps(value, indent=2 if fenced else None, ensure_ascii=False)
    text = f"{before}\n```json\n{written}\n```\n{after}" if fenced else f"{before}{written}{after}"
    assert json.loads(OBJECT.read(text)) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1.50}', '{"a": 1.50}'),
        (' \n{"a":1}\n', '{"a":1}'),
        ('\ufeff{"a":1}', '{"a":1}'),
        ('Sure!\n```json\n{"a":1}\n```\nDone.', '{"a":1}'),
        ('```\n{"a":1}```', '{"a":1}'),
        ('{not this} [1, 2] but {"a": "}"} here', '{"a": "}"}'),
        ('{"a": "two\nlines"}', '{"a":"two\\nlines"}'),
        ('{"a": 1} {"b": 2}', '{"a": 1}'),
        ('{"n": 12345678901234567890123}', '{"n": 12345678901234567890123}'),
    ],
)
def test_the_json_is_taken_as_it_is_written(text: str, found: str) -> None:
    assert OBJECT.read(text) == found


@pytest.mark.parametrize("text", ["", "no", "[1]", '"text"', '{"a": ', '{"a": NaN}', "{" * 100, '{"a":' * 100_000])
def test_what_holds_no_object_does_not_fit(text: str) -> None:
    with pytest.raises(Misfit):
        OBJECT.read(text)


def test_brackets_are_tried_so_often_only() -> None:
    assert OBJECT.read("{ " * (MAX_STARTS - 1) + '{"a":1}') == '{"a":1}'
    with pytest.raises(Misfit):
        OBJECT.read("{ " * MAX_STARTS + '{"a":1}')


def test_of_several_the_one_that_fits_is_taken() -> None:
    """A model that repeats the example, or thinks aloud."""
    found = form(COLOUR).read('Not {"colour": "green"}, nor {"x": 1}, but {"colour": "blue"}.')
    assert json.loads(found) == {"colour": "blue"}


def test_the_complaint_names_the_place_and_not_the_text() -> None:
    with pytest.raises(Misfit) as misfit:
        form(COLOUR).read('{"colour": "canary"}')
    assert misfit.value.reason == "the JSON does not fit the schema"
    assert "does not fit: `colour` is none of the values in its `enum`" in misfit.value.complaint
    assert "canary" not in misfit.value.complaint


def test_a_schema_may_ask_for_anything() -> None:
    assert form({"type": "array", "items": {"type": "integer"}}).read("Here: [1, 2]") == "[1, 2]"
    assert form({"type": "string"}).read('"hello"') == '"hello"'


def test_too_much_to_check_does_not_fit() -> None:
    with pytest.raises(Misfit, match="too deep"):
        form({"$ref": "#"}).read("{}")
    with pytest.raises(Misfit) as misfit:
        form({}).read("[" * 70 + "]" * 70)
    assert "nested too deeply" in misfit.value.complaint


def test_the_instruction_holds_the_schema_its_name_and_its_description() -> None:
    told = form(COLOUR, description="What to paint.").instruction
    assert json.loads(told.split("JSON Schema:\n")[1]) == COLOUR
    assert "Name of the value: answer" in told
    assert "What to paint." in told
    assert "JSON object" in OBJECT.instruction


def test_without_a_schema_any_object_will_do() -> None:
    assert Format({"type": "json_schema", "json_schema": {"name": "x"}}).read('{"a":1}') == '{"a":1}'


def test_text_is_no_format() -> None:
    assert wanted(None) is None
    assert wanted({"type": "text"}) is None
    assert wanted({"type": "json_object"}) is not None


def test_a_schema_that_is_none_is_the_clients_mistake() -> None:
    with pytest.raises(ClientError) as error:
        form({"type": "thing"})
    assert (error.value.status, error.value.param) == (400, "response_format.json_schema.schema")
    assert "'answer'" in error.value.message


def test_candidates_of_a_fence_come_before_those_in_the_prose() -> None:
    assert [value for _, value in candidates('{"a":1}\n```\n{"b":2}\n```')] == [{"b": 2}, {"a": 1}, {"b": 2}]


def test_all_that_is_found_has_its_steps_in_common() -> None:
    """One costly value after another would not end either."""
    costly = form({"items": {"enum": list(range(1000))}})
    with pytest.raises(Misfit, match="more than"):
        costly.read(" and ".join([str([999] * 150 + [-1])] * 9))
