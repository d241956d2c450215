"""Promises of `oaiproxy.jsonschemas`: what it checks, it judges as JSON Schema says, and none makes it run for long."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaiproxy.jsonschemas import MAX_DEPTH, MAX_VALUES, Schema, SchemaError, TooMuchError

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 12) | st.sampled_from([0.5, 1.0, 2.5]) | NAMES
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null"])
COUNT = st.integers(0, 3)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(inner, min_size=1, max_size=3)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "additionalProperties": inner,
        "items": inner,
        "prefixItems": few,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "contains": inner,
        "propertyNames": inner,
        "dependentSchemas": st.dictionaries(NAMES, inner, max_size=2),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "uniqueItems": st.booleans(),
        "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
        **dict.fromkeys(("allOf", "anyOf", "oneOf"), few),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.integers(-2, 5)),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), COUNT),
        **dict.fromkeys(("minProperties", "maxProperties"), COUNT),
        "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b"]),
        "title": st.just("no matter"),
    }
    chosen = st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: keywords[name] for name in names}))


SIMPLE = st.booleans() | st.fixed_dictionaries({"type": TYPES})
SCHEMAS = st.recursive(SIMPLE, schemas, max_leaves=8)
DEFS = {"a": {"type": ["string", "integer"]}, "b": {"type": "array", "items": {"$ref": "#/$defs/a"}}}


@settings(max_examples=600, deadline=None)
@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), VALUES)
def test_it_judges_as_the_reference_does(schema: Any, value: Any) -> None:
    schema = {**schema, "$defs": DEFS}
    assert (Schema(schema).problem(value) is None) == jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "object"}, 3, "the value must be of the type object, and is a number"),
        ({"properties": {"a": {"items": {"type": "null"}}}}, {"a": [None, 1]}, "`a[1]` must be of the type null"),
        ({"required": ["a"]}, {}, "the value lacks the property `a`"),
        ({"anyOf": [{"type": "null"}, {"properties": {"a": False}}]}, {"a": 1}, "`anyOf`: `a` is not allowed"),
        ({"items": [{"type": "null"}]}, [1], "`[0]` must be of the type null"),
        ({"properties": {"a": {"type": "string", "nullable": True}}}, {"a": 1}, "`a` must be of the type string"),
    ],
)
def test_the_problem_is_told_with_its_place(schema: Any, value: Any, problem: str) -> None:
    found = Schema(schema).problem(value)
    assert found is not None
    assert problem in found


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 100 + "b"),
        ({"patternProperties": {"^(a+)+$": False}, "additionalProperties": False}, {"a" * 100 + "b": 1}),
        ({"format": "email"}, "no address"),
        ({"properties": {"pattern": {"type": "string"}}}, {"pattern": "("}),
        ({"properties": {"a": {"type": "string", "nullable": True}}}, {"a": None}),
        ({"enum": [1]}, 1.0),
    ],
)
def test_what_is_not_checked_lets_pass(schema: Any, value: Any) -> None:
    """Expressions of a client are not run."""
    assert Schema(schema).problem(value) is None


def test_true_is_not_one() -> None:
    assert Schema({"enum": [1]}).problem(True) is not None
    assert Schema({"uniqueItems": True}).problem([1, True]) is None
    assert Schema({"uniqueItems": True}).problem([1, 1.0]) is not None


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([], "it must be an object, not a list"),
        ({"type": "text"}, "`type` must be one of string, number"),
        ({"type": []}, "`type` must be one of"),
        ({"properties": []}, "`properties` must be an object, not a list"),
        ({"properties": {"a": 1}}, "`properties/a` must be an object, not a number"),
        ({"anyOf": {}}, "`anyOf` must be a list, not an object"),
        ({"required": "a"}, "`required` must be a list, not a string"),
        ({"required": [1]}, "`required` must be a list of strings"),
        ({"minimum": "1"}, "`minimum` must be a number"),
        ({"maxItems": -1}, "`maxItems` must be a whole number"),
        ({"multipleOf": 0}, "`multipleOf` must be a number above 0"),
        ({"uniqueItems": 1}, "`uniqueItems` must be a boolean"),
        ({"$ref": "https://example.com/schema.json"}, "`$ref` must lead to a place in the schema itself"),
        ({"$ref": "#name"}, "`$ref` must lead to a place in the schema itself"),
        ({"$ref": "#/$defs/none"}, "`$ref` leads to a place that is not in the schema"),
        ({"$ref": "#/$defs/a", "$defs": {"a": 1}}, "must be an object"),
        ({"$dynamicRef": "#a"}, "`$dynamicRef` is not supported"),
        ({"enum": list(range(MAX_VALUES + 1))}, f"it holds more than {MAX_VALUES} values"),
    ],
)
def test_a_schema_that_is_none_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(SchemaError) as found:
        Schema(schema)
    assert message in str(found.value)


def test_a_schema_that_is_too_deep_is_refused() -> None:
    schema: Any = {}
    for _ in range(MAX_DEPTH + 1):
        schema = {"items": schema}
    with pytest.raises(SchemaError, match="nested more than"):
        Schema(schema)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, 1),
        ({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}] * 2}}}, [1]),
        (
            {
                "$ref": "#/$defs/n0",
                "$defs": {f"n{at}": {"allOf": [{"$ref": f"#/$defs/n{at + 1}"}] * 2} for at in range(30)}
                | {"n30": {"type": "integer"}},
            },
            1,
        ),
        ({"items": {"enum": list(range(1000))}}, [-1] * 0 + [999] * 1000),
    ],
)
def test_a_check_that_would_not_end_is_given_up(schema: Any, value: Any) -> None:
    with pytest.raises(TooMuchError):
        Schema(schema).problem(value)


def test_a_recursive_schema_checks_a_list_of_many_links() -> None:
    schema = {
        "$ref": "#/$defs/node",
        "$defs": {"node": {"properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}},
    }
    value: Any = None
    for _ in range(30):
        value = {"next": value}
    assert Schema(schema).problem(value) is None
