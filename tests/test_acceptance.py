"""Promises of `oaiproxy.acceptance`: it accepts what jsonschema finds nothing wrong in, and nothing else."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from oaiproxy.acceptance import UnknownKeywordError, accepts
from oaiproxy.document import load_document
from oaiproxy.validation import schema_errors

SCHEMAS = {name: json.loads((ROOT / f"schemas/{name}.schema.json").read_text()) for name in ("mapping", "config")}
MAPPINGS = sorted([*(ROOT / "mappings").glob("*.yaml"), *(ROOT / "tests/golden").glob("*.yaml")])
VALUES: list[Any] = [None, True, 0, 1, -1, 1.0, 0.5, 1e30, "", "x", "sse", "5s", "mock:", [], ["x"], {}, {"x": "y"}]
RECURSIVE = {"$ref": "#/$defs/a"}
SCALARS = st.sampled_from(VALUES) | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner))


def data(path: Any) -> Any:
    """What a file holds; None where it is not YAML."""
    document, _ = load_document(path.read_text(), file="x", environment={}, read_file=lambda _: "x")
    return document.data if document else None


DATA = {path: found for path in [*MAPPINGS, ROOT / "tests/everything.yaml"] if (found := data(path)) is not None}


def agree(value: Any, schema: Any) -> bool:
    """Whether both find the same; what that is."""
    found = accepts(value, schema)
    assert found is not any(True for _ in schema_errors(value, schema)), value
    return found


def places(value: Any) -> list[tuple[Any, Any]]:
    """All containers with their keys."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            found += [(value, key), *places(value[key])]
    return found


NAMES = sorted({name for found in DATA.values() for _, name in places(found) if isinstance(name, str)})


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_files_are_accepted_as_jsonschema_does(path: Any) -> None:
    """Those that ship, and broken ones."""
    assert agree(DATA[path], SCHEMAS["mapping"]) or path.parent.name == "golden" or "extends" in DATA[path]


@given(st.data())
def test_an_edit_is_accepted_as_jsonschema_does(draw: st.DataObject) -> None:
    """Anything put in any place, a key taken out, a key put in, an item twice."""
    edited = deepcopy(draw.draw(st.sampled_from([DATA[path] for path in DATA])))
    owner, key = draw.draw(st.sampled_from(places(edited)))
    match draw.draw(st.sampled_from(["replace", "delete", "add", "twice"])):
        case "replace":
            owner[key] = draw.draw(JSON)
        case "delete":
            del owner[key]
        case "add" if isinstance(owner, dict):
            owner[draw.draw(st.sampled_from(NAMES))] = draw.draw(JSON)
        case _ if isinstance(owner, list):
            owner.append(owner[key])
    agree(edited, SCHEMAS["mapping"])


@given(JSON)
def test_any_value_is_accepted_as_jsonschema_does(value: Any) -> None:
    """By the schema of configurations too, and of parts."""
    agree(value, SCHEMAS["config"])
    agree({"mappings": [value], "server": value}, SCHEMAS["config"])
    server = {"port": value, "loop": value, "cors": {"origins": [value]}}
    agree({"mappings": ["x"], "server": server}, SCHEMAS["config"])


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [1, "a", None, False]},
        {"const": True},
        {"type": ["integer", "null"]},
        {"type": "number", "exclusiveMaximum": 2, "maximum": 1},
        {"oneOf": [{"type": "integer"}, {"minimum": 1}]},
        {"if": {"type": "string"}, "then": {"maxLength": 1}},
        {"if": {"type": "string"}, "else": False},
        {"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
        {"properties": {"x": True}, "maxProperties": 1, "dependentRequired": {"x": ["y"]}},
        {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": ["object", "string"], "additionalProperties": RECURSIVE}}},
    ],
)
@given(value=JSON)
def test_a_keyword_means_what_it_means_to_jsonschema(schema: Any, value: Any) -> None:
    """True is not 1, 1.0 is an integer, and rules are about the types that they are about."""
    for each in [value, *VALUES, {"x": value}, {"x": value, "y": value}]:
        agree(each, schema)


@pytest.mark.parametrize("schema", [{"contains": {}}, {"enum": [[]]}, {"$ref": "https://example.com/x"}])
def test_what_is_not_known_is_refused(schema: Any) -> None:
    """Rather than taken for no rule."""
    with pytest.raises(UnknownKeywordError):
        accepts(1, schema)
