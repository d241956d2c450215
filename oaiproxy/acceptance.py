"""JSON Schemas to functions that tell, as fast as they can, whether a value is valid: what finds errors takes longer.

The keywords are those that our own schemas use, with the meaning that jsonschema gives them; references are to
`#/$defs/` alone. https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache
from typing import Any, TypeAlias

from oaiproxy.jsontext import Json

Accepts: TypeAlias = Callable[[Json], bool]
"""Whether a value is valid."""


class UnknownKeywordError(ValueError):
    """The schema uses a keyword, or a value for one, that is not known here."""


def accepts(value: Json, schema: Mapping[str, Any]) -> bool:
    """Whether a value is valid by a schema, which is not changed any more. Raises UnknownKeywordError."""
    return _compiled(_ById(schema))(value)


class _ById:
    """A schema that is told from others by being the same object."""

    __slots__ = ("schema",)

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.schema is other.schema

    def __hash__(self) -> int:
        return id(self.schema)


@lru_cache(maxsize=8)
def _compiled(key: _ById) -> Accepts:
    return _Compiler(key.schema).compile(key.schema)


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._definitions: dict[str, Accepts] = {}

    def compile(self, schema: Any) -> Accepts:
        """What a schema accepts."""
        if isinstance(schema, bool):
            return _anything if schema else _nothing
        checks = [*self._of_objects(schema), *self._of_others(schema)]
        if not checks:
            return _anything
        if len(checks) == 1:
            return checks[0]
        if len(checks) == 2:
            one, two = checks
            return lambda value: one(value) and two(value)
        return lambda value: all(check(value) for check in checks)

    def _of_others(self, schema: Mapping[str, Any]) -> Iterator[Accepts]:
        for keyword, given in schema.items():
            if keyword in _ANNOTATIONS or keyword in _OBJECTS:
                continue
            if keyword in _SIMPLE:
                yield _SIMPLE[keyword](given)
            elif keyword == "$ref":
                yield self._reference(given)
            elif keyword == "items":
                yield _every(self.compile(given))
            elif keyword == "not":
                yield _negated(self.compile(given))
            elif keyword in ("allOf", "anyOf", "oneOf"):
                yield _COMBINED[keyword]([self.compile(each) for each in given])
            elif keyword == "if":
                branches = (self.compile(schema.get(key, True)) for key in ("then", "else"))
                yield _chosen(self.compile(given), *branches)
            elif keyword not in ("then", "else"):
                raise UnknownKeywordError(keyword)

    def _of_objects(self, schema: Mapping[str, Any]) -> Iterator[Accepts]:
        if "required" in schema:
            yield _required(schema["required"])
        if "dependentRequired" in schema:
            yield _dependent({key: _required(names) for key, names in schema["dependentRequired"].items()})
        if "dependentSchemas" in schema:
            yield _dependent({key: self.compile(each) for key, each in schema["dependentSchemas"].items()})
        if not schema.keys() & {"properties", "patternProperties", "additionalProperties"}:
            return
        known = {key: self.compile(each) for key, each in schema.get("properties", {}).items()}
        patterns = [
            (re.compile(pattern), self.compile(each)) for pattern, each in schema.get("patternProperties", {}).items()
        ]
        yield _members(known, patterns, self.compile(schema.get("additionalProperties", True)))

    def _reference(self, reference: str) -> Accepts:
        """What it refers to, which is compiled once, and may refer to itself."""
        name = reference.removeprefix("#/$defs/")
        if name == reference or "/" in name:
            raise UnknownKeywordError(reference)
        if name not in self._definitions:
            self._definitions[name] = lambda value: self._definitions[name](value)
            self._definitions[name] = self.compile(self._root["$defs"][name])
        return self._definitions[name]


def _anything(_: Json) -> bool:
    return True


def _nothing(_: Json) -> bool:
    return False


def _members(
    known: Mapping[str, Accepts], patterns: Sequence[tuple[re.Pattern[str], Accepts]], rest: Accepts
) -> Accepts:
    def check(value: Json) -> bool:
        if not isinstance(value, dict):
            return True
        for key, item in value.items():
            own = known.get(key)
            if own is not None and not own(item):
                return False
            matched = [accepts for pattern, accepts in patterns if pattern.search(key)] if patterns else ()
            if not all(accepts(item) for accepts in matched):
                return False
            if own is None and not matched and not rest(item):
                return False
        return True

    return check


def _required(names: Sequence[str]) -> Accepts:
    return lambda value: not isinstance(value, dict) or all(name in value for name in names)


def _dependent(checks: Mapping[str, Accepts]) -> Accepts:
    def check(value: Json) -> bool:
        return not isinstance(value, dict) or all(then(value) for key, then in checks.items() if key in value)

    return check


def _every(item: Accepts) -> Accepts:
    return lambda value: not isinstance(value, list) or all(map(item, value))


def _negated(check: Accepts) -> Accepts:
    return lambda value: not check(value)


def _chosen(condition: Accepts, then: Accepts, otherwise: Accepts) -> Accepts:
    return lambda value: then(value) if condition(value) else otherwise(value)


_COMBINED: Mapping[str, Callable[[list[Accepts]], Accepts]] = {
    "allOf": lambda checks: lambda value: all(check(value) for check in checks),
    "anyOf": lambda checks: lambda value: any(check(value) for check in checks),
    "oneOf": lambda checks: lambda value: sum(check(value) for check in checks) == 1,
}


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Json) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


_TYPES: Mapping[str, Accepts] = {
    "string": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": _is_integer,
}


def _type(given: str | list[str]) -> Accepts:
    if isinstance(given, str):
        return _TYPES[given]
    checks = [_TYPES[name] for name in given]
    return lambda value: any(check(value) for check in checks)


def _enum(options: list[Json]) -> Accepts:
    if any(isinstance(option, list | dict) for option in options):
        raise UnknownKeywordError("enum")
    return lambda value: any(_same(value, option) for option in options)


def _same(one: Json, other: Json) -> bool:
    """Whether two values are equal, of which the second is a scalar: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _unique(given: bool) -> Accepts:
    """Of lists of text; of others nothing is known, so that they count as not unique."""

    def check(value: Json) -> bool:
        return not isinstance(value, list) or (
            all(isinstance(item, str) for item in value) and len(set(value)) == len(value)
        )

    return check if given else _anything


def _pattern(given: str) -> Accepts:
    search = re.compile(given).search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _sized(kind: type[Sized], fits: Callable[[int, int], bool]) -> Callable[[int], Accepts]:
    return lambda given: lambda value: not isinstance(value, kind) or fits(len(value), given)


def _bounded(breaks: Callable[[Any, Any], bool]) -> Callable[[Json], Accepts]:
    return lambda given: lambda value: not (_is_number(value) and breaks(value, given))


_SIMPLE: Mapping[str, Callable[[Any], Accepts]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda given: _enum([given]),
    "uniqueItems": _unique,
    "pattern": _pattern,
    "minLength": _sized(str, lambda size, least: size >= least),
    "maxLength": _sized(str, lambda size, most: size <= most),
    "minItems": _sized(list, lambda size, least: size >= least),
    "maxItems": _sized(list, lambda size, most: size <= most),
    "minProperties": _sized(dict, lambda size, least: size >= least),
    "maxProperties": _sized(dict, lambda size, most: size <= most),
    "minimum": _bounded(lambda value, least: bool(value < least)),
    "maximum": _bounded(lambda value, most: bool(value > most)),
    "exclusiveMinimum": _bounded(lambda value, least: bool(value <= least)),
    "exclusiveMaximum": _bounded(lambda value, most: bool(value >= most)),
}
_OBJECTS = {
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
    "dependentRequired",
    "dependentSchemas",
}
_ANNOTATIONS = {
    "$schema",
    "$defs",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "enumDescriptions",
    "defaultSnippets",
}
