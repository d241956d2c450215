"""What JSON Schema finds wrong in a document, as diagnostics that name the key, quote the value and offer the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator
from referencing import Registry

from oaiproxy import jsontext
from oaiproxy.diagnostics import Diagnostic, did_you_mean
from oaiproxy.document import Document
from oaiproxy.filters import kind
from oaiproxy.jsontext import Json

Schema: TypeAlias = Mapping[str, Any]
ValidationError: TypeAlias = Any
"""jsonschema's error; its attributes are what the schema's keywords make them."""


def validate(document: Document, schema: Schema) -> list[Diagnostic]:
    """All findings. References in the schema are never fetched: there is an empty registry behind it."""
    validator = Draft202012Validator(schema, registry=Registry())
    findings: list[Diagnostic] = []
    for error in validator.iter_errors(document.data):
        path = tuple(error.absolute_path)
        if path in document.unresolved:
            continue
        findings.extend(_EXPLAIN.get(str(error.validator), _other)(error, document, path))
    return findings


def _unknown_keys(error: ValidationError, document: Document, path: tuple[Any, ...]) -> Iterator[Diagnostic]:
    known = list(error.schema.get("properties", ()))
    for key in error.instance:
        if key not in known and not key.startswith("x-"):
            where = f" in `{_name(path)}`" if path else ""
            label = did_you_mean(key, known)
            help_ = "" if label else f"known keys: {', '.join(known)}"
            yield Diagnostic("E101", f"unknown key `{key}`{where}", document.span((*path, key), key=True), label, help_)


def _missing_key(error: ValidationError, document: Document, path: tuple[Any, ...]) -> Iterator[Diagnostic]:
    if isinstance(error.validator_value, Mapping):
        wanted = [key for owner, keys in error.validator_value.items() if owner in error.instance for key in keys]
    else:
        wanted = list(error.validator_value)
    missing = [key for key in wanted if key not in error.instance]
    for key in missing[:1] if isinstance(error.validator_value, Mapping) else missing:
        if f"'{key}'" not in error.message and len(missing) > 1:
            continue
        yield _missing(document, path, f"missing key `{key}`", _hint(error.schema, key), _like(error.instance, key))


def _missing_choice(error: ValidationError, document: Document, path: tuple[Any, ...]) -> Iterator[Diagnostic]:
    keys = [key for branch in error.validator_value for key in branch.get("required", ())]
    names = " or ".join(f"`{key}`" for key in keys)
    help_ = next((hint for key in keys if (hint := _hint(error.schema, key))), "")
    likely = next((label for key in keys if (label := _like(error.instance, key))), "")
    yield _missing(document, path, f"missing key {names}", help_, likely)


def _missing(document: Document, path: tuple[Any, ...], message: str, help_: str, label: str) -> Diagnostic:
    where = f" in `{_name(path)}`" if path else ""
    return Diagnostic("E102", message + where, document.span(path, key=bool(path)), label, help_)


def _wrong_type(error: ValidationError, document: Document, path: tuple[Any, ...]) -> Iterator[Diagnostic]:
    types = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    wanted = " or ".join(_TYPES[name] for name in types)
    given = error.instance
    label = f"expected {wanted}"
    if "string" in types and not isinstance(given, dict | list) and given is not None:
        label += ": put it in quotes"
    message = f"`{_name(path)}` is {kind(given)}, not {wanted}"
    yield Diagnostic("E103", message, document.span(path), label, _describe(error.schema))


def _wrong_choice(error: ValidationError, document: Document, path: tuple[Any, ...]) -> Iterator[Diagnostic]:
    known = error.validator_value if error.validator == "enum" else [error.validator_value]
    names = [jsontext.dump(value).decode().strip('"') for value in known]
    given = jsontext.dump(error.instance).decode()[:60]
    label = did_you_mean(error.instance, names) if isinstance(error.instance, str) else ""
    options = ", ".join(names)
    help_ = f"write {options}" if len(names) == 1 else f"one of: {options}"
    yield Diagnostic("E104", f"`{_name(path)}` cannot be {given}", document.span(path), label, help_)


def _other(error: ValidationError, document: Document, path: tuple[Any, ...]) -> Iterator[Diagnostic]:
    examples = error.schema.get("examples") or ()
    help_ = f"for example: {jsontext.dump(examples[0]).decode()}" if examples else _describe(error.schema)
    yield Diagnostic("E105", f"`{_name(path) or 'the file'}` {_rule(error)}", document.span(path), "", help_)


def _rule(error: ValidationError) -> str:
    value = error.validator_value
    match error.validator:
        case "minItems" | "minProperties" | "minLength":
            return "is empty"
        case "minimum" | "exclusiveMinimum":
            least = "at least" if error.validator == "minimum" else "more than"
            return f"is {error.instance}, less than allowed ({least} {value})"
        case "maximum":
            return f"is {error.instance}, more than allowed (at most {value})"
        case "pattern":
            return f"cannot be {jsontext.dump(error.instance).decode()[:60]}"
    return f"breaks the rule `{error.validator}`"


_EXPLAIN: Mapping[str, Callable[[ValidationError, Document, tuple[Any, ...]], Iterator[Diagnostic]]] = {
    "additionalProperties": _unknown_keys,
    "required": _missing_key,
    "dependentRequired": _missing_key,
    "anyOf": _missing_choice,
    "type": _wrong_type,
    "enum": _wrong_choice,
    "const": _wrong_choice,
}

_TYPES = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "null",
}


def _name(path: tuple[Any, ...]) -> str:
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else str(step)
    return name


def _hint(schema: Any, key: str) -> str:
    found = schema.get("properties", {}).get(key, {})
    examples = found.get("examples") or ()
    if examples:
        return f"for example: `{key}: {jsontext.dump(examples[0]).decode()}`"
    return _describe(found)


def _describe(schema: Any) -> str:
    return str(schema.get("description", ""))


def _like(instance: Json, key: str) -> str:
    """A key that is there and looks like the missing one."""
    from oaiproxy.diagnostics import closest

    found = closest(key, instance) if isinstance(instance, dict) else ""
    return f"is `{found}` meant to be `{key}`?" if found else ""
