"""Promises of API documents for any text: a sample, or an error of its own, within bounds; never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oaiproxy.apioperations import operations
from oaiproxy.apisamples import described
from oaiproxy.apispecs import SpecError, parse_spec
from oaiproxy.initial import propose

ROOT = Path(__file__).parents[2]
TEXTS = [path.read_text("utf-8") for path in sorted((ROOT / "tests/openapi").iterdir())]
DATA = [parse_spec(text).data for text in TEXTS]
WORDS = sorted({word for text in TEXTS for word in text.replace('"', " ").replace(":", " ").split() if word.isalpha()})
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [*WORDS, "#", "#/", "#/paths", "#/components/schemas/Node", "other.yaml", "9" * 30, "{", "é\u2028"]
    )
    | st.text(max_size=5)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, "$ref", "allOf", "oneOf", "anyOf", "200"]), inner, max_size=4)
    ),
    max_leaves=12,
)
SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "array", "null", "object", "boolean"])})
    | st.fixed_dictionaries({"$ref": st.sampled_from(["#/components/schemas/A", "#/components/schemas/B", "x.json"])})
    | VALUES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            **{key: st.lists(inner, max_size=3) for key in ("allOf", "oneOf", "anyOf", "prefixItems")},
            **dict.fromkeys(("items", "additionalProperties", "contentSchema"), inner),
            "properties": st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
            "required": st.lists(st.sampled_from(WORDS), max_size=3) | VALUES,
            **dict.fromkeys(
                ("example", "examples", "default", "const", "enum", "minItems", "maximum", "minimum"), VALUES
            ),
            "discriminator": VALUES,
        },
    ),
    max_leaves=15,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


@st.composite
def edited(draw: st.DrawFn) -> Any:
    """A document with one to three of its values put in each other's place, taken away, or replaced."""
    data = json.loads(json.dumps(draw(st.sampled_from(DATA))))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(places(data)[1:] or [("openapi",)]))
        holder = data
        for step in path:
            holder = holder[step]
        match draw(st.integers(0, 2)):
            case 0:
                del holder[last]
            case 1:
                holder[last] = draw(VALUES)
            case 2:
                source = data
                for step in draw(st.sampled_from(places(data))):
                    source = source[step]
                holder[last] = json.loads(json.dumps(source))
        if not data:
            break
    return data


def tried(text: str, operation: str | None = None) -> None:
    """Read it; what is said of it are sentences. A sample has what `init` can start from."""
    try:
        found = described(text, operation)
    except SpecError:
        return
    assert all(isinstance(each, str) and each for each in found.notes)
    assert len(found.notes) <= 60
    assert found.name
    assert "://" in found.sample.url
    assert all("\n" not in value and "\r" not in value for _, value in found.sample.headers)


@settings(max_examples=300, deadline=None)
@given(edited())
def test_an_edited_document_is_read_or_refused(data: Any) -> None:
    """For the operation that is found, and for each that is asked for."""
    text = json.dumps(data)
    tried(text)
    try:
        known = operations(parse_spec(text))
    except SpecError:
        return
    for each in known[:2]:
        tried(text, f"{each.method} {each.path}")


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, SCHEMAS, SCHEMAS)
def test_any_schemas_are_read_or_refused(request: Any, answer: Any, other: Any) -> None:
    """Circles, contradictions and all."""
    operation = {
        "requestBody": {"content": {"application/json": {"schema": request}}},
        "responses": {
            "200": {"content": {"application/json": {"schema": answer}, "text/event-stream": {"schema": other}}}
        },
    }
    schemas = {"A": other, "B": {"allOf": [request, {"$ref": "#/components/schemas/A"}]}}
    tried(
        json.dumps(
            {"openapi": "3.1.0", "paths": {"/generate": {"post": operation}}, "components": {"schemas": schemas}}
        ),
        "/generate",
    )


@settings(max_examples=200, deadline=None)
@given(VALUES, st.sampled_from(["openapi", "swagger"]))
def test_any_data_is_read_or_refused(value: Any, kind: str) -> None:
    """What is no document at all, too."""
    tried(json.dumps(value))
    tried(json.dumps({kind: "3.0.0" if kind == "openapi" else "2.0", "paths": {"/chat": {"post": value}}}), "/chat")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TEXTS), st.integers(0, 5000), st.text(max_size=3) | st.sampled_from("{}[]:&*!|>-#\"'%@`\t\x00"))
def test_any_text_is_read_or_refused(text: str, at: int, sign: str) -> None:
    """A document with some sign in it, which may be YAML no longer."""
    at %= len(text)
    tried(text[:at] + sign + text[at:])


@settings(max_examples=60, deadline=None)
@given(edited())
def test_init_writes_a_mapping_of_any_sample(data: Any) -> None:
    """Or says what it could not find; it never fails."""
    try:
        found = described(json.dumps(data))
    except SpecError:
        return
    assert propose(found.sample, found.name).text
