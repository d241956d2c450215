"""Promises of flattening schemas: one that can be used, whatever it is composed of, and no circle without end."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.apispecs import Spec
from oaiproxy.flatschemas import Purpose, Schemas, bound, kind, nullable


def flat(schema: Any, purpose: Purpose = Purpose.REQUEST, name: str = "x", **schemas: Any) -> tuple[Any, list[str]]:
    """The schema flattened, in a document with those schemas, and what was noted."""
    made = Schemas(Spec({"components": {"schemas": schemas}}, swagger=False), purpose)
    return made.flat(schema, "#", (name,), frozenset())[0], made.notes


def test_all_of_is_merged() -> None:
    """Properties and required names of all parts, and of each word the outermost."""
    parts = {"A": {"properties": {"a": {}}, "required": ["a"], "title": "A"}}
    schema = {"allOf": [{"$ref": "#/components/schemas/A"}, {"properties": {"b": {}}, "required": ["b"]}], "title": "B"}
    made, _ = flat(schema, **parts)
    assert {*made["properties"]} == {*made["required"]} == {"a", "b"}
    assert made["title"] == "B"


@pytest.mark.parametrize(
    ("schema", "chosen"),
    [
        ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, "integer"),
        ({"anyOf": [{"type": "array"}, {"type": "string"}]}, "string"),
        ({"oneOf": [{"$ref": "other.yaml"}, {"type": "boolean"}]}, "boolean"),
        ({"oneOf": [{"type": "null"}]}, "null"),
    ],
)
def test_of_alternatives_one_that_can_be_used_is_chosen(schema: Any, chosen: str) -> None:
    """Text before others, for it is what is wanted of an API that generates text."""
    made, _ = flat(schema)
    assert kind(made) == chosen


def test_stop_strings_are_rather_a_list() -> None:
    """As OpenAI's are always one for a mapping."""
    made, _ = flat({"oneOf": [{"type": "string"}, {"type": "array"}]}, name="stop")
    assert kind(made) == "array"


def test_the_users_kind_of_message_is_chosen() -> None:
    """In an answer the assistant's."""
    kinds = {"oneOf": [{"properties": {"role": {"const": role}}} for role in ("system", "user", "assistant")]}
    assert flat(kinds)[0]["properties"]["role"] == {"const": "user"}
    assert flat(kinds, Purpose.ANSWER)[0]["properties"]["role"] == {"const": "assistant"}


@pytest.mark.parametrize("mapping", [{"text": "#/components/schemas/TextPart"}, {"text": "TextPart"}, {}])
def test_a_discriminator_says_what_the_chosen_schema_is_called(mapping: dict[str, str]) -> None:
    """Where the schema does not say it itself; without a mapping it is the schema's name."""
    schema = {
        "oneOf": [{"$ref": "#/components/schemas/TextPart"}],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    made, _ = flat(schema, TextPart={"properties": {"type": {"type": "string"}}})
    assert made["properties"]["type"] == {"const": "text" if mapping else "TextPart"}
    assert "type" in made["required"]


def test_a_null_among_the_alternatives_is_kept_in_mind() -> None:
    """It is how newer documents say that a value may be null."""
    assert nullable(flat({"anyOf": [{"type": "string"}, {"type": "null"}]})[0])
    assert all(nullable(each) for each in ({"nullable": True}, {"type": ["string", "null"]}, {"enum": [None, 1]}))


def test_what_cannot_be_had_is_named() -> None:
    """A reference out of the document is not fetched."""
    made, notes = flat({"$ref": "https://example.com/a.json#/B"}, name="filters")
    assert made is None
    assert notes == [
        "`filters` is left out: `$ref: https://example.com/a.json#/B` names another document (at `#`); "
        "references out of the document are not fetched: bundle it into one file first"
    ]


def test_circles_end() -> None:
    """Of `allOf` as of references; and no schema is looked at for ever."""
    assert flat({"$ref": "#/components/schemas/A"}, A={"allOf": [{"$ref": "#/components/schemas/A"}]})[0] == {}
    assert flat({"$ref": "#/components/schemas/A"}, A={"anyOf": [{"$ref": "#/components/schemas/A"}]})[0] is None
    deep: Any = {"type": "string"}
    for _ in range(100):
        deep = {"allOf": [deep]}
    assert flat(deep)[1] == ["the schemas are too large or too deep: parts of them are left out"]


def test_many_laughs_in_references_end() -> None:
    """Ten schemas, each of which refers ten times to the next."""
    schemas = {f"A{n}": {"anyOf": [{"$ref": f"#/components/schemas/A{n + 1}"}] * 10} for n in range(10)}
    _, notes = flat({"$ref": "#/components/schemas/A0"}, **schemas, A10={"type": "string"})
    assert notes == ["the schemas are too large or too deep: parts of them are left out"]


@pytest.mark.parametrize(
    ("schema", "least"),
    [
        ({"minimum": 2}, 2),
        ({"exclusiveMinimum": 2, "type": "integer"}, 3),
        ({"minimum": 2, "exclusiveMinimum": True, "type": "integer"}, 3),
        ({"minimum": "2"}, None),
    ],
)
def test_bounds_are_read_in_both_dialects(schema: Any, least: float | None) -> None:
    """OpenAPI 3.0 has a flag where 3.1 has a number."""
    assert bound(schema, "minimum", 1) == least


def test_a_schema_without_a_type_has_one_by_its_words() -> None:
    """As people leave it out."""
    shapes = [{"properties": {"a": {}}}, {"items": {}}, {"type": "null"}, {"type": ["null", "number"]}, {}]
    assert [kind(each) for each in shapes] == ["object", "array", "null", "number", "string"]
