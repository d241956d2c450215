"""What JSON Schema finds wrong in a document, as diagnostics that name the key, quote the value and offer the fix.

A value that came out of `${...}` may be a secret: it is quoted as its author wrote it, never as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from oaiproxy import jsontext
from oaiproxy.acceptance import accepts
from oaiproxy.diagnostics import Diagnostic, did_you_mean
from oaiproxy.document import Document, Path
from oaiproxy.intentions import meant_key, meant_value, place, resolved, stands_in_for
from oaiproxy.jsontext import Json
from oaiproxy.nodes import short

Schema: TypeAlias = Mapping[str, Any]
ValidationError: TypeAlias = Any
"""jsonschema's error; its attributes are what the schema's keywords make them."""


def validate(document: Document, schema: Schema) -> list[Diagnostic]:
    """All findings. What follows from another finding is left out, as is what `${...}` could not resolve."""
    if accepts(document.data, schema):
        return []
    errors = [error for error in schema_errors(document.data, schema) if _path(error) not in document.unresolved]
    explain = _Explanation(document, schema, _misspelled(errors, schema))
    findings: dict[tuple[object, ...], Diagnostic] = {}
    for error in errors:
        for found in explain.error(error):  # what aliases put in several places is told of one of them
            findings.setdefault((found.code, found.span, _LEADING.sub("`", found.message), found.label), found)
    return list(findings.values())


_LEADING = re.compile(r"`(?:[^`\s]*[.\]])(?=[\w-]+`)")
"""All but the last step of a path in a message."""


def schema_errors(data: Json, schema: Schema) -> Iterable[ValidationError]:
    """jsonschema's own errors. References in the schema are never fetched: there is an empty registry behind it."""
    # Only what is broken needs it, and loading it takes longer than checking a mapping.
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema, registry=Registry()).iter_errors(data)


def unknown_keys(error: ValidationError) -> list[str]:
    """The keys that an error of `additionalProperties` is about."""
    patterns = [re.compile(pattern) for pattern in error.schema.get("patternProperties", ())]
    known = error.schema.get("properties", {})
    return [key for key in error.instance if key not in known and not any(one.search(key) for one in patterns)]


def choices(error: ValidationError) -> list[str]:
    """The keys of which an error of `anyOf` or `oneOf` wants one; none when it is about something else."""
    keys = [branch["required"][0] for branch in error.validator_value if branch.keys() == {"required"}]
    rest = [branch for branch in error.validator_value if branch.keys() not in ({"required"}, {"not"})]
    return [] if rest else keys


def _path(error: ValidationError) -> Path:
    return tuple(error.absolute_path)


def _misspelled(errors: Sequence[ValidationError], schema: Schema) -> set[tuple[Path, str]]:
    """The keys that are not missing: another key, itself reported, is meant to be them, or to be in them."""
    mistyped = {((), "extends") for error in errors if error.validator == "type" and _path(error) == ("extends",)}
    return mistyped | {
        (_path(error), meant)
        for error in errors
        if error.validator == "additionalProperties"
        for key in unknown_keys(error)
        for meant in _meant(schema, error, key)
    }


def _meant(schema: Schema, error: ValidationError, key: str) -> set[str]:
    path = _path(error)
    return {"when"} if _is_event(path, error.instance[key]) else stands_in_for(schema, error.schema, path, key)


def _is_event(path: Path, value: Json) -> bool:
    """Whether a list holds what a mapping of events is made of."""
    return path[-2:-1] == ("events",) and isinstance(path[-1], int) and isinstance(value, dict)


@dataclass(frozen=True, slots=True)
class _Explanation:
    document: Document
    schema: Schema
    misspelled: set[tuple[Path, str]]
    chosen: set[Path] = field(default_factory=set)
    """Where a missing choice was reported."""

    def error(self, error: ValidationError) -> Iterator[Diagnostic]:
        """The findings that one error makes."""
        explain = _EXPLAIN.get(str(error.validator), _Explanation.rule)
        if isinstance(error.instance, dict) or error.validator not in _OF_MAPPINGS or not _about_keys(error):
            yield from explain(self, error, _path(error))

    def unknown_keys(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        known = list(error.schema.get("properties", ()))
        for key in unknown_keys(error):
            where = f" in `{place(path)}`" if path else ""
            label, help_ = meant_key(self.schema, error.schema, path, key), ""
            if "${" in key or "{{" in key:
                label = "templates and `${...}` stand in values only"
            elif _is_event(path, error.instance[key]):
                label = "leave out the `- `: kinds of events are the keys of a mapping"
            if not label:
                help_ = f"known keys: {', '.join(known)}" if known else "leave it out"
            span = self.document.span((*path, key), key=True)
            yield Diagnostic("E101", f"unknown key `{short(key)}`{where}", span, label, help_)

    def missing_keys(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        # jsonschema makes an error of each missing key; its message alone tells which.
        for key in error.validator_value:
            if error.message.startswith(f"{key!r} is") and not self._is_written((path, key)):
                yield self._missing(error, path, f"missing key `{key}`", [key])

    def _is_written(self, place: tuple[Path, str]) -> bool:
        """Whether a missing key is there under a wrong name, or in what a misspelled `extends` names."""
        return place in self.misspelled or (((), "extends") in self.misspelled and place[0][:1] != ("examples",))

    def missing_partners(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        for owner, keys in error.validator_value.items():
            for key in keys:
                if owner in error.instance and key not in error.instance and (path, key) not in self.misspelled:
                    yield self._missing(error, path, f"missing key `{key}` beside `{owner}`", [key])

    def alternatives(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        keys = choices(error)
        if not keys:
            for inner in _nearest(error):
                yield from self.error(inner)
            return
        given = [key for key in keys if key in error.instance]
        if len(given) > 1:
            span = self.document.span((*path, given[1]), key=True)
            names = _listed([f"`{key}`" for key in given], "and")
            one_of = _listed([f"`{key}`" for key in keys], "and")
            message = f"`{place(path)}` holds {names}"
            yield Diagnostic("E105", message, span, "keep one of them", f"it takes one of {one_of}")
        elif path not in self.chosen and not any(self._is_written((path, key)) for key in keys):
            self.chosen.add(path)
            names = _listed([f"`{key}`" for key in keys], "or")
            yield self._missing(error, path, f"missing key {names}", keys)

    def _missing(self, error: ValidationError, path: Path, message: str, keys: Sequence[str]) -> Diagnostic:
        where = f" in `{place(path)}`" if path else ""
        schemas = [resolved(self.schema, error.schema.get("properties", {}).get(key, {})) for key in keys]
        help_ = next((hint for key, schema in zip(keys, schemas, strict=True) if (hint := _hint(schema, key))), "")
        return Diagnostic("E102", message + where, self.document.span(path, key=bool(path)), "", help_)

    def wrong_type(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        types = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        wanted = _listed([_TYPES[name] for name in types], "or")
        given = error.instance
        message = f"`{place(path)}` is {_kind(given)}, not {wanted}"
        title = error.schema.get("title", "")
        keys = ", ".join(error.schema.get("properties", ())) if "object" in types else ""
        help_ = "\n".join(filter(None, (_description(error.schema), keys and f"known keys: {keys}")))
        if given is None:
            message = f"`{place(path)}` is empty"
            empty = "write what selects it" if title in _SELECTORS else "write its value, or leave the key out"
            help_ = "indent what belongs to it" if "object" in types else empty
        taken = isinstance(given, list) and self.document.written((*path, 0)) is not None  # it may be a secret
        label = "" if taken else meant_value(error.schema, given, path, types)
        label = label or self._retyped(given, path, types, wanted, title)
        yield Diagnostic("E103", message, self.document.span(path), label, help_)

    def _retyped(self, given: Json, path: Path, types: Sequence[str], wanted: str, title: str) -> str:
        """The value as it would be right; else what is expected."""
        if isinstance(given, dict) and types == ["array"]:
            return f"expected {wanted}: begin each item with `- `"
        if isinstance(given, dict | list) or given is None:
            return f"expected {wanted}"
        shown = self._shown(given, path)
        if title in _SELECTORS:
            constant = f'; a constant stands in back-ticks: `` "`{shown}`" ``' if title == "Alternative" else ""
            return f"name the field that holds it{constant}"
        if "string" in types:
            quoted = shown if shown.startswith('"') else f'"{shown}"'
            return f"put it in quotes: `{quoted}`"
        if "array" in types and re.match(r"-[^\s\d-]", str(given)):
            return f"a space is missing after `-`: write `- {str(given)[1:]}`" if shown != "${...}" else ""
        if "array" in types:
            return f"write it as a list: `[{shown}]`"
        if isinstance(given, str) and _TYPED.get(types[0], re.compile("(?!)")).fullmatch(given):
            return f"write it without quotes: `{given}`" if not self.document.written(path) else "leave out the quotes"
        return f"expected {wanted}"

    def wrong_choice(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        known = error.validator_value if error.validator == "enum" else [error.validator_value]
        names = ["~" if value is None else jsontext.dump(value).decode().strip('"') for value in known]
        given = error.instance
        label = did_you_mean(given, names) if isinstance(given, str) else ""
        if isinstance(given, str) and given in names and given not in known:
            label = f"write it without quotes: `{given}`"
        help_ = f"write {names[0]}" if len(names) == 1 else f"one of: {', '.join(names)}"
        message = f"`{place(path)}` cannot be {self._shown(error.instance, path)}"
        yield Diagnostic("E104", message, self.document.span(path), label, help_)

    def company(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        """`not`: keys that exclude each other, or one that has no effect where it stands."""
        if keys := error.validator_value.get("required"):
            names = _listed([f"`{key}`" for key in keys], "and")
            span = self.document.span((*path, keys[-1]), key=True)
            yield Diagnostic("E105", f"`{place(path)}` cannot hold {names} together", span, "keep one of them")
        else:
            span = self.document.span(path, key=True)
            yield Diagnostic("E105", f"`{place(path)}` has no effect", span, "leave it out", _description(error.schema))

    def rule(self, error: ValidationError, path: Path) -> Iterator[Diagnostic]:
        examples = error.schema.get("examples") or ()
        shown = f"for example: {jsontext.dump(examples[0]).decode()}" if examples else ""
        help_ = "\n".join(filter(None, (_description(error.schema), shown)))
        message = f"`{place(path) or 'the file'}` {self._broken(error, path)}"
        yield Diagnostic("E105", message, self.document.span(path), "", help_ or "leave it out")

    def _broken(self, error: ValidationError, path: Path) -> str:
        value, given = error.validator_value, self._shown(error.instance, path)
        match error.validator:
            case "minItems" | "maxItems" if error.instance:
                count = len(error.instance)
                return f"has {count} item{'s' * (count != 1)}, not {value}"
            case "minItems" | "minProperties" | "minLength":
                return "holds too little" if error.instance else "is empty"
            case "maxItems" | "maxProperties" | "maxLength":
                return "holds too much"
            case "minimum":
                return f"is {given}, which is less than {value}"
            case "exclusiveMinimum":
                return f"is {given}: it must be more than {value}"
            case "maximum":
                return f"is {given}, which is more than {value}"
        return f"cannot be {given}"

    def _shown(self, value: Json, path: Path) -> str:
        """The value for a message, but never one that `${...}` brought in."""
        written = self.document.written(path)
        if written is not None:
            return written if len(written) <= 60 else "${...}"
        if isinstance(value, dict | list):
            return _kind(value)
        return short(jsontext.dump(value).decode())


_EXPLAIN: Mapping[str, Callable[[_Explanation, ValidationError, Path], Iterator[Diagnostic]]] = {
    "additionalProperties": _Explanation.unknown_keys,
    "required": _Explanation.missing_keys,
    "dependentRequired": _Explanation.missing_partners,
    "anyOf": _Explanation.alternatives,
    "oneOf": _Explanation.alternatives,
    "not": _Explanation.company,
    "type": _Explanation.wrong_type,
    "enum": _Explanation.wrong_choice,
    "const": _Explanation.wrong_choice,
}

_OF_MAPPINGS = ("anyOf", "oneOf", "not")
"""Rules on keys that come out oddly for what is no mapping, of which its type is told."""

_TYPES = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "a boolean",
    "object": "a mapping",
    "array": "a list",
    "null": "null",
}
_SELECTORS = ("Selector", "Alternative")
"""Titles of the schema's selectors; a constant may stand among the alternatives of one."""
_TYPED = {
    "integer": re.compile(r"-?\d{1,15}"),
    "number": re.compile(r"-?\d{1,15}(\.\d+)?"),
    "boolean": re.compile("true|false"),
}
"""Text that would be of the type, were it not in quotes."""


def _kind(value: Json) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
    return "a mapping"


def _about_keys(error: ValidationError) -> bool:
    return "required" in error.validator_value if error.validator == "not" else bool(choices(error))


def _nearest(error: ValidationError) -> list[ValidationError]:
    """The errors of the alternative that the value most likely means: of its type, and right the deepest."""
    branches: dict[int, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)

    def fitness(errors: list[ValidationError]) -> tuple[bool, int, int]:
        mistyped = any(inner.validator == "type" and not inner.path for inner in errors)
        return not mistyped, min(len(inner.path) for inner in errors), -len(errors)

    return max(branches.values(), key=fitness) if branches else []


def _listed(names: Sequence[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _hint(schema: Schema, key: str) -> str:
    examples = schema.get("examples") or ()
    if examples:
        return f"for example: `{key}: {jsontext.dump(examples[0]).decode()}`"
    return f"`{key}`: {_description(schema)}" if _description(schema) else ""


def _description(schema: Any) -> str:
    return str(schema.get("description", "")) if isinstance(schema, Mapping) else ""
