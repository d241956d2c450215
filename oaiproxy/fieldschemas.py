"""The request fields of OpenAI's endpoints in JSON Schema, read from the checks that they go through.

https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from oaiproxy.jsontext import Json
from oaiproxy.parameters import Check, Field, Unread

_TEXT: Json = {"type": "string"}
_NAMED: Json = {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}
_FUNCTION: Json = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _TEXT,
        "description": _TEXT,
        "parameters": {"type": "object"},
        "strict": {"type": ["boolean", "null"]},
    },
}
_OBJECT: Json = {"type": "object"}


def _typed(**kinds: Json) -> Json:
    """Objects told apart by `type`, each with a key of that name."""
    return {
        "anyOf": [
            {
                "type": "object",
                "required": ["type", kind],
                "properties": {"type": {"const": kind}, kind: schema},
            }
            for kind, schema in kinds.items()
        ]
    }


_TOOLS: Json = {"type": "array", "items": _typed(function=_FUNCTION, custom=_NAMED)}
_ALLOWED: Json = {
    "type": "object",
    "required": ["mode", "tools"],
    "properties": {"mode": {"enum": ["auto", "required"]}, "tools": _TOOLS},
}
_TEXTS: Json = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}

_PLAIN: Mapping[str, Json] = {
    "anything": {},
    "string": _TEXT,
    "name": {"type": "string", "minLength": 1},
    "boolean": {"type": "boolean"},
    "unstreamed": {"const": False},
    "mapping": _OBJECT,
    "metadata": {"type": "object", "maxProperties": 16, "additionalProperties": {"type": "string", "maxLength": 512}},
    "logit_bias": {"type": "object", "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}},
    "strings": _TEXTS,
    "stops": _TEXTS,
    "text_list": _TEXTS,
    "voice": {"anyOf": [_TEXT, {"type": "object", "required": ["id"], "properties": {"id": _TEXT}}]},
    "documents": {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [_TEXT, {"type": "object", "required": ["text"], "properties": {"text": _TEXT}}]},
    },
    "upload": {"type": "string", "contentMediaType": "application/octet-stream"},
    "modalities": {"type": "array", "items": {"enum": ["text", "audio"]}},
    "prediction": {"type": "object", "required": ["type"], "properties": {"type": _TEXT}},
    "stream_options": {
        "type": "object",
        "properties": {
            "include_usage": {"type": ["boolean", "null"]},
            "include_obfuscation": {"type": ["boolean", "null"]},
        },
    },
    "response_format": {
        "anyOf": [
            {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["text", "json_object"]}}},
            *_typed(
                json_schema={
                    "type": "object",
                    "properties": {
                        "name": _TEXT,
                        "description": _TEXT,
                        "schema": _OBJECT,
                        "strict": {"type": ["boolean", "null"]},
                    },
                }
            )["anyOf"],
        ]
    },
    "tools": _TOOLS,
    "tool_choice": {
        "anyOf": [
            {"enum": ["none", "auto", "required"]},
            *_typed(function=_NAMED, custom=_NAMED, allowed_tools=_ALLOWED)["anyOf"],
        ]
    },
    "functions": {"type": "array", "items": _FUNCTION},
    "function_call": {"anyOf": [{"enum": ["none", "auto"]}, _NAMED]},
}
"""By the name of a check."""

_MADE: Mapping[str, Callable[[Mapping[str, Json]], Json]] = {
    "number": lambda given: {"type": "number", "minimum": given["low"], "maximum": given["high"]},
    "integer": lambda given: {"type": "integer", "minimum": given["low"], "maximum": given["high"]},
    "one_of": lambda given: {"enum": list(given["words"])},
    "text": lambda given: {"type": "string", "maxLength": given["most"]},
}
"""By the name of what makes a check: what it was given, to a schema."""

_UNREAD = {
    "refuse": "refused: a 400 that names it",
    "drop": "left out, and named in the header `x-oaiproxy-dropped`",
    "ignore": "left out",
    "emulate": "given effect to by the proxy",
}


def schema_of(check: Check) -> Json | None:
    """What values a check lets pass; None where it is not said here, for which `{}` stands."""
    maker, mark, _ = getattr(check, "__qualname__", "").partition(".<locals>.")
    if not mark:
        return _PLAIN.get(maker)
    make = _MADE.get(maker)
    return make(inspect.getclosurevars(check).nonlocals) if make is not None else None


def nullable(schema: Json) -> Json:
    """The same, or null, which counts as not sent."""
    if not schema:
        return schema
    if isinstance(schema.get("type"), str) and "enum" not in schema and "const" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema and "type" not in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def unread_words(unread: Unread) -> str:
    """What becomes of a field that a mapping does not read, for people."""
    return _UNREAD[unread.value]


def type_words(schema: Json) -> str:
    """A schema in a few words, for people: `number, 0 to 2`."""
    if not schema:
        return "any JSON"
    if "const" in schema:
        return f"`{'false' if schema['const'] is False else schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"] if each is not None)
    if "anyOf" in schema:
        told = dict.fromkeys(
            f"object of type `{each['properties']['type'].get('const')}`" if _kind(each) else type_words(each)
            for each in schema["anyOf"]
            if each != {"type": "null"}
        )
        return ", or ".join(told)
    kind = (
        next(each for each in schema["type"] if each != "null") if isinstance(schema["type"], list) else schema["type"]
    )
    if "minimum" in schema and "maximum" not in schema:
        return f"{kind}, from {_shown(schema['minimum'])}"
    if "minimum" in schema:
        return f"{kind}, {_shown(schema['minimum'])} to {_shown(schema['maximum'])}"
    if "maxLength" in schema:
        return f"{kind} of up to {schema['maxLength']} characters"
    if kind == "array":
        return "list of " + _plural(type_words(schema.get("items", {})))
    if "contentMediaType" in schema:
        return "file"
    return str(kind)


def field_schema(field: Field, schema: Json | None = None) -> Json:
    """A field as a property of a request: its type, its default, and what becomes of it where no mapping reads it."""
    made = dict(nullable(schema if schema is not None else schema_of(field.check) or {}))
    made["description"] = f"Where the mapping does not read it: {unread_words(field.unread)}."
    if field.defaults:
        made["default"] = field.defaults[0]
    return made


def _kind(schema: Json) -> bool:
    return isinstance(schema, dict) and "const" in schema.get("properties", {}).get("type", {})


def _shown(bound: float) -> str:
    return f"{bound:,}".replace(",", " ") if abs(bound) < 2**53 else f"{'-' if bound < 0 else ''}2^63"


def _plural(words: str) -> str:
    if " or " in words or "," in words or words.startswith("`"):
        return f"({words})"
    if words.startswith("list of"):
        return words.replace("list of", "lists of", 1)
    return words if words == "any JSON" else f"{words}s"
