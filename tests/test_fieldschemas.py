"""Promises of the fields' schemas: they let pass what the checks let pass, and refuse what those refuse."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ClientError
from oaiproxy.fieldschemas import field_schema, nullable, schema_of, type_words, unread_words
from oaiproxy.parameters import CHAT, Field, Unread, integer, number, string
from oaiproxy.policy import fields_of

FIELDS = {f"{name}.{key}": field for name in DOORS for key, field in fields_of(name).items()}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
TOOL_TYPES = ("function", "custom", "allowed_tools")
VALUES: list[Any] = [
    *("", "a", "auto", "none", "required", "png", "float", "json", "low"),
    *(0, 1, -1, 0.5, 2, 2.5, 128, 129, 100.0, 10**9, -(2**63), 2**64),
    *(True, False, [], {}, ["a"], [1], [["a"]], [{}], [{"text": "a"}], [{"text": 5}]),
    {"type": "text"},
    {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    {"type": "json_schema"},
    {"include_usage": True},
    {"include_usage": 1},
    {"id": "v"},
    [{"type": "function", "function": FUNCTION}],
    [{"type": "function", "function": {}}],
    [{"type": "custom", "custom": {"name": "n"}}],
    {"type": "function", "function": {"name": "f"}},
    {"type": "function", "function": {}},
    {"type": "custom", "custom": {"name": "n"}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
    {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": []}},
]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_says_what_it_takes(name: str) -> None:
    """A check that is new is described in `fieldschemas`, or this fails."""
    assert schema_of(FIELDS[name].check) is not None, FIELDS[name].check


@pytest.mark.parametrize("name", [name for name in FIELDS if "file" not in name])
def test_a_schema_refuses_what_the_check_refuses(name: str) -> None:
    """And the other way round; formats that backends have and OpenAI has not are for the backend to judge."""
    schema = schema_of(FIELDS[name].check)
    for value in VALUES:
        if name == "chat.response_format" and isinstance(value, dict) and value.get("type") in TOOL_TYPES:
            continue
        try:
            FIELDS[name].check(value, name)
            passes = True
        except ClientError:
            passes = False
        assert jsonschema_rs.is_valid(schema, value) is passes, value


def test_null_counts_as_not_sent() -> None:
    """So every schema takes it."""
    for field in FIELDS.values():
        assert jsonschema_rs.is_valid(field_schema(field), None)
    for schema in ({"type": "string"}, {"enum": ["a"]}, {"anyOf": [{"type": "string"}]}, {"const": 1}, {}):
        assert jsonschema_rs.is_valid(nullable(schema), None)


def test_a_field_tells_its_default_and_what_becomes_of_it() -> None:
    """For people who read the document."""
    made = field_schema(CHAT["n"])
    assert made["default"] == 1
    assert "400" in made["description"]


def test_a_check_of_nobody_is_described_by_nothing() -> None:
    """Any value is let pass."""
    assert schema_of(lambda value, param: value) is None
    assert field_schema(Field(lambda value, param: value, Unread.DROP)).keys() == {"description"}


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (number(0, 2), "number, 0 to 2"),
        (integer(-(2**63), 2**63), "integer, -2^63 to 2^63"),
        (integer(1, 1_000_000), "integer, 1 to 1 000 000"),
        (string, "string"),
        (CHAT["stop"].check, "string, or list of strings"),
        (CHAT["model"].check, "string"),
        (
            CHAT["tools"].check,
            "list of (object of type `function`, or object of type `custom`)",
        ),
    ],
)
def test_a_type_in_words(check: Any, words: str) -> None:
    """As the table of docs/compatibility.md shows it."""
    assert type_words(schema_of(check)) == words


def test_each_fate_has_its_words() -> None:
    """Whatever there is."""
    assert len({unread_words(unread) for unread in Unread}) == len(Unread)
