"""Promises of values made from schemas: what the document says first, else what helps to find the parts again."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.apispecs import Spec
from oaiproxy.flatschemas import Purpose
from oaiproxy.generatedtext import SENTENCE, settled
from oaiproxy.schemavalues import LEFT_OUT, MAX_EXAMPLE, PROMPT, SYSTEM, Values


def sent(schema: Any, *names: str) -> Any:
    """What is sent by a schema."""
    return Values.of_document(Spec({}, swagger=False), Purpose.REQUEST).of(schema, "#", names)


def came(schema: Any, *, final: bool = True) -> Any:
    """What comes back by a schema."""
    values = Values.of_document(Spec({}, swagger=False), Purpose.ANSWER)
    values.final = final
    return settled(values.of(schema, "#"))


def asked(**properties: Any) -> Any:
    """What is sent of an object with those properties, none of them required."""
    return sent({"properties": properties})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 1, "example": 2}, 1),
        ({"example": "a", "default": "b", "enum": ["c"]}, "a"),
        ({"examples": ["a", "b"]}, "a"),
        ({"default": "b", "enum": ["c", "b"]}, "b"),
        ({"enum": [None, "c"]}, "c"),
        ({"type": "integer", "example": "3"}, 3),
        ({"type": "integer", "example": "many"}, 1),
        ({"type": "boolean", "example": "null"}, False),
        ({"type": "string", "format": "uuid"}, "00000000-0000-4000-8000-000000000000"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "maximum": 0.5}, 0.5),
        ({"type": ["null", "string"]}, "text"),
        ({"type": "array", "items": {"const": 1}, "minItems": 2}, [1, 1]),
        ({"type": "array", "prefixItems": [{"const": 1}]}, [1]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {}),
        ({"type": "null"}, None),
        (False, LEFT_OUT),
        (True, "text"),
        ({"type": "string", "contentSchema": {"const": {"a": 1}}}, '{"a":1}'),
    ],
)
def test_a_value_is_what_the_schema_says(schema: Any, value: Any) -> None:
    """In the order of how surely it says it; examples in quotes are read as their type."""
    assert sent(schema) == value


def test_a_request_has_what_is_required_and_what_is_known() -> None:
    """Other optional fields are left out: they could change what the call does."""
    made = sent(
        {
            "required": ["project", "id"],
            "properties": {
                "project": {"type": "string"},
                "id": {"type": "string", "readOnly": True},
                "prompt": {"type": "string"},
                "system": {"type": "string"},
                "debug": {"type": "boolean"},
                "tools": {"type": "array", "items": {"type": "object"}},
                "temperature": {"type": "number"},
                "top_p": {"type": "number", "deprecated": True},
                "options": {"properties": {"seed": {"type": "integer"}, "mirostat": {"type": "integer"}}},
                "format": {"properties": {"kind": {"type": "string"}}},
            },
        }
    )
    assert made == {
        "project": "project",
        "prompt": PROMPT,
        "system": SYSTEM,
        "temperature": 0.7,
        "options": {"seed": 7},
    }


def test_of_names_for_one_parameter_one_is_sent() -> None:
    """The required one, else the first that is not deprecated."""
    number = {"type": "integer"}
    assert asked(max_tokens={**number, "deprecated": True}, max_completion_tokens=number, max_length=number) == {
        "max_completion_tokens": 64
    }


def test_of_several_prompts_the_surest_is_sent() -> None:
    """And none that cannot be text."""
    assert asked(text={"type": "string"}, messages={"type": "array", "items": {"type": "string"}}) == {
        "messages": [PROMPT]
    }
    assert asked(prompt={"properties": {"id": {"type": "string"}}}, input={"type": "string"}) == {"input": PROMPT}


def test_a_parameter_has_a_value_that_is_seldom_a_default() -> None:
    """Within its bounds; the document's example stands over it, its default does not."""
    made = asked(
        temperature={"type": "number", "default": 1.0},
        max_tokens={"type": "integer", "maximum": 32},
        top_p={"type": "number", "example": 0.8},
        stop={"type": "array", "items": {"type": "string"}},
    )
    assert made == {"temperature": 0.7, "max_tokens": 32, "top_p": 0.8, "stop": ["END"]}


def test_the_roles_are_shown_where_they_are_not_openais() -> None:
    """A conversation of one message of each."""
    message = {
        "required": ["role", "text"],
        "properties": {"role": {"enum": ["USER", "MODEL", "SYSTEM"]}, "text": {"type": "string"}},
    }
    assert asked(messages={"type": "array", "items": message}) == {
        "messages": [
            {"role": "SYSTEM", "text": SYSTEM},
            {"role": "USER", "text": "Hi!"},
            {"role": "MODEL", "text": "Hello."},
            {"role": "USER", "text": PROMPT},
        ]
    }
    message["properties"]["role"] = {"enum": ["system", "user", "assistant", "tool"]}
    assert asked(messages={"type": "array", "items": message}) == {"messages": [{"role": "user", "text": PROMPT}]}


def test_an_answer_has_one_sentence() -> None:
    """Where the generated text is; the rest are words and numbers that cannot be taken for it."""
    made = came(
        {
            "required": ["error"],
            "properties": {
                "id": {"type": "string"},
                "object": {"type": "string"},
                "output": {"properties": {"text": {"type": "string"}, "reasoning": {"type": "string"}}},
                "secret": {"type": "string", "writeOnly": True},
                "finish_reason": {"enum": ["length", "stop"]},
                "done": {"type": "boolean"},
                "error": {"type": "string", "nullable": True},
                "error_code": {"type": "integer"},
                "tool_calls": {"type": "array", "items": {"type": "object"}},
                "usage": {"properties": {"input_tokens": {"type": "integer", "default": 0}}},
            },
        }
    )
    assert made == {
        "id": "id-1",
        "object": "object",
        "output": {"text": SENTENCE, "reasoning": "reasoning"},
        "finish_reason": "stop",
        "done": True,
        "error": None,
        "usage": {"input_tokens": 9},
    }


def test_a_frame_before_the_last_is_not_done() -> None:
    """It has no reason to have finished yet."""
    schema = {"properties": {"text": {}, "done": {"type": "boolean"}, "stop_reason": {}, "why": {"enum": ["a"]}}}
    assert came(schema, final=False) == {"text": SENTENCE, "done": False, "why": "a"}
    nullable = {"properties": {"finish_reason": {"type": ["string", "null"]}}}
    assert came(nullable, final=False) == {"finish_reason": None}


def test_examples_are_followed_but_not_fetched() -> None:
    """By their key: a value, one elsewhere in the document, or one that is not here."""
    spec = Spec({"components": {"examples": {"A": {"value": 1}}}}, swagger=False)
    values = Values.of_document(spec, Purpose.REQUEST)
    assert values.example({"examples": {"a": {"$ref": "#/components/examples/A"}}}, "#") == 1
    assert values.example({"examples": {"a": {"dataValue": 2}}}, "#") == 2
    assert values.example(
        {"examples": {"a": {"externalValue": "https://example.com/a"}, "b": {"$ref": "b.yaml"}}}, "#"
    ) is (LEFT_OUT)
    assert values.example({}, "#") is LEFT_OUT
    assert "`https://example.com/a` is not in the document" in values.schemas.notes[0]
    assert "`$ref: b.yaml` names another document" in values.schemas.notes[1]


def test_an_example_has_bounds() -> None:
    """A document can hold any amount of data."""
    values = Values.of_document(Spec({}, swagger=False), Purpose.REQUEST)
    assert values.example({"example": "x" * MAX_EXAMPLE}, "#/a") is LEFT_OUT
    assert values.schemas.notes == ["the example at `#/a` is too large: it is not used"]


def test_json_in_strings_that_never_ends_is_left_out() -> None:
    """A schema may say of a string that it holds what the schema says."""
    data = {"components": {"schemas": {"A": {"type": "string", "contentSchema": {"$ref": "#/components/schemas/A"}}}}}
    values = Values.of_document(Spec(data, swagger=False), Purpose.REQUEST)
    assert values.of({"$ref": "#/components/schemas/A"}, "#") is LEFT_OUT
