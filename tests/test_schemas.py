"""Promises of the schemas: valid, described for editors, and every key that they admit does something."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pages
import pytest
from jsonschema import Draft202012Validator
from support import bases_in

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.document import load_document
from oaiproxy.mapping import Mapping
from oaiproxy.reporters import REPORTERS

ROOT = Path(__file__).parents[1]
SCHEMAS = [ROOT / f"schemas/{name}.schema.json" for name in ("config", "extension", "mapping")]
"""Those of files that people write."""
MAPPING_SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
EVERYTHING = ROOT / "tests/everything.yaml"
FILES = {"calls.json": '{"out": "a"}', "chat.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}"}
"""What the mappings there name."""
SHIPPED = [*sorted((ROOT / "mappings").glob("*.yaml")), ROOT / "config.yaml"]
SUBSCHEMAS = ("properties", "patternProperties", "$defs")


def schemas(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema that describes a value, with its path; those that only constrain another are left out."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword in SUBSCHEMAS:
        for name, child in schema.get(keyword, {}).items():
            yield from schemas(child, f"{path}/{name}")
    for keyword in ("items", "additionalProperties"):
        yield from schemas(schema.get(keyword), f"{path}/{keyword}")


def resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][part["$ref"].removeprefix("#/$defs/")] if "$ref" in part else {}
    return found | part


def place(schema: Any, path: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A part of the mapping schema with what it refers to, and its path: a definition is one place."""
    if not isinstance(schema, dict):
        return {}, path
    if "$ref" in schema:
        path = (schema["$ref"],)
    return resolved(MAPPING_SCHEMA, schema), path


def keys(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all keys that a document can have; `*` for names of the author's own, `[]` for items."""
    schema, path = place(schema, path)
    for name, child in schema.get("properties", {}).items():
        yield (*path, name)
        yield from keys(child, (*path, name))
    yield from keys(schema.get("additionalProperties"), (*path, "*")) if "additionalProperties" in schema else ()
    yield from keys(schema.get("items"), (*path, "[]")) if "items" in schema else ()


def given(data: Any, schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the keys that a document has, in the schema's terms."""
    schema, path = place(schema, path)
    if isinstance(data, dict):
        for name, child in data.items():
            if name in schema.get("properties", {}):
                yield (*path, name)
                yield from given(child, schema["properties"][name], (*path, name))
            else:
                yield from given(child, schema.get("additionalProperties"), (*path, "*"))
    elif isinstance(data, list):
        for child in data:
            yield from given(child, schema.get("items"), (*path, "[]"))


def compiled(text: str) -> Mapping:
    surroundings = Surroundings(MAPPING_SCHEMA, {}, FILES.__getitem__, bases_in(ROOT / "mappings"))
    result = check_mapping(text, "everything.yaml", surroundings)
    assert result.mapping is not None, REPORTERS["text"](result.diagnostics, {"everything.yaml": text}, False)
    assert result.diagnostics == ()
    return result.mapping


@pytest.fixture(params=SCHEMAS, ids=lambda path: path.name)
def schema(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


@pytest.fixture(params=[path for path in SCHEMAS if not path.name.startswith("explain")], ids=lambda path: path.name)
def edited(request: Any) -> dict[str, Any]:
    """Those of files that people write."""
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


def test_it_is_a_schema_of_2020_12(schema: dict[str, Any]) -> None:
    """As its first line says."""
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_everything_has_a_description(schema: dict[str, Any]) -> None:
    """It is what an editor shows."""
    for path, each in schemas(schema):
        assert resolved(schema, each).get("description"), path


def test_descriptions_are_sentences(schema: dict[str, Any]) -> None:
    """They begin with a capital or a `key`, and end with a full stop."""
    for path, each in schemas(schema):
        if "description" in each:
            assert re.match(r"[A-Z`]", each["description"]), path
            assert each["description"].endswith("."), path


def test_every_choice_is_explained(edited: dict[str, Any]) -> None:
    """Where words are the mapping language's own: an editor shows each with what it means."""
    for path, each in schemas(edited):
        if "enum" in each and not path.endswith(("/method", "/algorithm")):
            assert len(each["enumDescriptions"]) == len(each["enum"]), path


def told_by_itself(schema: dict[str, Any]) -> bool:
    """Whether an editor can show how a value looks: by an example, a default, the choices, or the keys in it."""
    return any(key in schema for key in ("examples", "default", "enum", "const", "properties", "not"))


def test_every_key_shows_how_its_value_looks(edited: dict[str, Any]) -> None:
    """But for lists and switches, whose items and whose two values are told."""
    for path, each in schemas(edited):
        for name, child in each.get("properties", {}).items():
            part = resolved(edited, child)
            plain = "boolean" in (part.get("type") or ()) or (
                "items" in part and "array" in part["type"] and "$ref" not in child
            )
            own = "$ref" not in child or not child["$ref"].endswith("/selector") or "examples" in child
            assert told_by_itself(part) or plain, f"{path}/{name}"
            assert own, f"{path}/{name}"


def test_formats_are_explained() -> None:
    """Also those that are told apart by a condition only, and the one that has a setting."""
    schema = MAPPING_SCHEMA["$defs"]["format"]
    snippets = schema["defaultSnippets"]
    assert [each["body"] for each in snippets[:-1]] == schema["then"]["enum"]
    assert list(snippets[-1]["body"]) == ["delimited"]
    assert all(each["description"] for each in snippets)


def test_the_schema_of_extensions_is_that_of_mappings_without_demands() -> None:
    """`python tests/pages.py` writes it anew."""
    assert pages.EXTENSION.read_text("utf-8") == pages.extension()


def test_an_extension_need_not_be_whole() -> None:
    """What it leaves out, and what it takes away, is no fault of it; an unknown key still is."""
    validator = Draft202012Validator(json.loads(pages.EXTENSION.read_text("utf-8")))
    assert validator.is_valid({"extends": "example", "backend": {"tls": None}, "chat": {"stream": {"text": "t"}}})
    assert validator.is_valid({"extends": "example", "on_unsupported": {"default": None}})
    assert not validator.is_valid({"backend": {}})
    assert not validator.is_valid({"extends": "example", "chat": {"strem": {}}})
    assert not validator.is_valid({"extends": "example", "chat": {"request": {"path": "/p", "url": "u"}}})
    assert not validator.is_valid({"extends": "example", "examples": [{"request": {}}]})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_file_that_ships_names_its_schema(path: Path) -> None:
    """In its first line, for editors: by a path, for there is no address to be fetched."""
    text = path.read_text("utf-8")
    kind = "config" if path.name == "config.yaml" else "extension" if re.search("^extends:", text, re.M) else "mapping"
    modeline = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert modeline
    assert (path.parent / modeline[1]).resolve() == ROOT / f"schemas/{kind}.schema.json"


def test_every_object_says_which_keys_it_takes(schema: dict[str, Any]) -> None:
    """A misspelled key is never let through."""
    for path, each in schemas(schema):
        if "properties" in each:
            assert each.get("additionalProperties") is False, path


def test_no_reference_leads_out_of_the_file(schema: dict[str, Any]) -> None:
    """They are never fetched."""
    for reference in re.findall(r'"\$ref": "([^"]*)"', json.dumps(schema)):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def test_defaults_and_examples_are_valid(schema: dict[str, Any]) -> None:
    """What an editor offers is accepted; `${...}` stands for text."""
    for path, each in schemas(schema):
        validator = Draft202012Validator({**resolved(schema, each), "$defs": schema.get("$defs", {})})
        for value in [*each.get("examples", []), *([each["default"]] if "default" in each else [])]:
            assert validator.is_valid(value), (path, value)


def test_every_key_of_the_mapping_schema_is_used_by_a_mapping_that_works() -> None:
    """tests/everything.yaml has them all; its examples show that they do something."""
    text = EVERYTHING.read_text()
    variants = text.split("\n---\n")
    used: set[tuple[str, ...]] = set()
    for variant in variants:
        compiled(variant)
        document, _ = load_document(variant, file="e.yaml", environment={}, read_file=str)
        assert document is not None
        used |= set(given(document.data, MAPPING_SCHEMA))
    assert set(keys(MAPPING_SCHEMA)) - used == set()
