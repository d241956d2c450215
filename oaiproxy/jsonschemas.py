"""Checks of a value against a client's own JSON Schema, at a bounded cost whatever the schema.

A schema comes from anyone, so what could be made to run for long is left unchecked: `pattern` and `patternProperties`
(regular expressions), `format`, and the `unevaluated` keywords. `$ref` leads only to places in the schema itself.
The rest is JSON Schema 2020-12: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from oaiproxy.filters import kind
from oaiproxy.jsontext import Json

MAX_VALUES = 20_000
"""Values that a schema may hold."""
MAX_DEPTH = 64
"""Levels of a value under check, and of schemas applied inside each other at one value."""
MAX_STEPS = 200_000
"""Steps of one check: each schema that is applied to a value is one, and each value that is compared."""
MAX_SHOWN = 80

Keyword: TypeAlias = Callable[["_Check", Json, Json, str], "str | None"]
"""The problem that a keyword, given by its schema, finds in a value at a path."""


class SchemaError(ValueError):
    """The schema is none, or one that cannot be checked. The message says where and why."""


class TooMuchError(ValueError):
    """The check takes more steps than it may."""


class Schema:
    """A client's schema, which was looked through. Raises SchemaError."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._targets: dict[str, Json] = {}
        self._left = MAX_VALUES
        self._seen: set[int] = set()
        self._inspect(root, "", 0)

    def checker(self) -> Callable[[Json], str | None]:
        """What finds the first thing in a value that the schema does not allow. Raises TooMuchError.

        The values that it is given have their steps in common.
        """
        check = _Check(self._targets)
        return lambda value: check.apply(self._root, value, "", 0)

    def problem(self, value: Json) -> str | None:
        """The first thing in the one value that the schema does not allow. Raises TooMuchError."""
        return self.checker()(value)

    def _inspect(self, schema: Json, place: str, depth: int) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise SchemaError(f"{_at(place)} must be an object, not {kind(schema)}")
        if id(schema) in self._seen:
            return
        self._seen.add(id(schema))
        if depth > MAX_DEPTH:
            raise SchemaError(f"it is nested more than {MAX_DEPTH} levels deep")
        self._left -= 1 + len(schema)
        for keyword, inner in schema.items():
            self._inspect_keyword(schema, keyword, inner, f"{place}/{keyword}", depth)
        if self._left < 0:
            raise SchemaError(f"it holds more than {MAX_VALUES} values")

    def _inspect_keyword(self, schema: Json, keyword: str, inner: Json, place: str, depth: int) -> None:
        if keyword in _SCHEMAS_BY_NAME:
            for name, each in _of_type(inner, dict, place).items():
                self._inspect(each, f"{place}/{name}", depth + 1)
        elif keyword in _LISTS_OF_SCHEMAS or (keyword == "items" and isinstance(inner, list)):
            for index, each in enumerate(_of_type(inner, list, place)):
                self._inspect(each, f"{place}/{index}", depth + 1)
        elif keyword in _SCHEMAS:
            self._inspect(inner, place, depth + 1)
        elif keyword == "$ref":
            self._follow(_of_type(inner, str, place), place, depth)
        elif keyword in ("$dynamicRef", "$recursiveRef"):
            raise SchemaError(f"{_at(place)} is not supported: use `$ref`")
        elif keyword in _FORMS:
            self._left -= len(inner) if isinstance(inner, list) else 0
            _FORMS[keyword](inner, place)

    def _follow(self, pointer: str, place: str, depth: int) -> None:
        """Find what a reference leads to: only inside this schema (RFC 6901)."""
        if pointer in self._targets:
            return
        target = self._root
        if pointer != "#" and not pointer.startswith("#/"):
            raise SchemaError(f"{_at(place)} must lead to a place in the schema itself, such as `#/$defs/name`")
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(name)] if isinstance(target, list) else target[name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaError(f"{_at(place)} leads to a place that is not in the schema") from None
        self._targets[pointer] = target
        self._inspect(target, pointer[1:], depth + 1)


class _Check:
    """One check of one value."""

    def __init__(self, targets: Mapping[str, Json]) -> None:
        self.targets = targets
        self._left = MAX_STEPS
        self._depth = 0

    def spend(self, steps: int = 1) -> None:
        """Count steps."""
        self._left -= steps
        if self._left < 0:
            raise TooMuchError(f"the check takes more than {MAX_STEPS} steps")

    def apply(self, schema: Json, value: Json, path: str, deeper: int = 1) -> str | None:
        """The first problem that a schema finds in a value."""
        if isinstance(schema, bool):
            return None if schema else f"{_value(path)} is not allowed"
        self.spend(1 + len(schema))
        self._depth += deeper
        if self._depth > 2 * MAX_DEPTH:
            raise TooMuchError("the check leads too deep")
        try:
            if schema.get("nullable") is True and value is None:  # of OpenAPI 3.0
                return None
            for keyword in schema:
                check = _KEYWORDS.get(keyword)
                if check is not None and (found := check(self, schema, value, path)) is not None:
                    return found
            return None
        finally:
            self._depth -= deeper

    def same(self, one: Json, other: Json) -> bool:
        """Whether two values are one in JSON: 1 is 1.0, and not true."""
        self.spend()
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(self.same(item, other[key]) for key, item in one.items())
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self.same, one, other))
        return bool(one == other)

    def key(self, value: Json) -> object:
        """What is equal for values that are one in JSON."""
        self.spend()
        if isinstance(value, dict):
            return frozenset((name, self.key(item)) for name, item in value.items())
        if isinstance(value, list):
            return tuple(map(self.key, value))
        return (isinstance(value, bool), value)


def _type(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    wanted = schema["type"]
    types = wanted if isinstance(wanted, list) else [wanted]
    if any(_TYPES[each](value) for each in types):
        return None
    return f"{_value(path)} must be of the type {' or '.join(types)}, and is {kind(value)}"


def _enum(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if any(check.same(value, each) for each in schema["enum"]):
        return None
    return f"{_value(path)} is none of the values in its `enum`"


def _const(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    return None if check.same(value, schema["const"]) else f"{_value(path)} is not the value of its `const`"


def _ref(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    return check.apply(check.targets[schema["$ref"]], value, path)


def _properties(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if isinstance(value, dict):
        for name, inner in schema["properties"].items():
            if name in value and (found := check.apply(inner, value[name], f"{path}.{name[:MAX_SHOWN]}")):
                return found
    return None


def _additional(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if not isinstance(value, dict) or schema.get("patternProperties"):
        return None
    inner, known = schema["additionalProperties"], schema.get("properties") or {}
    for name in value:
        if name not in known and (found := check.apply(inner, value[name], f"{path}.{name[:MAX_SHOWN]}")):
            return found
    return None


def _required(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if isinstance(value, dict):
        for name in schema["required"]:
            if name not in value:
                return f"{_value(path)} lacks the property {_shown(name)}"
    return None


def _items(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    inner = schema["items"]
    if not isinstance(value, list):
        return None
    if isinstance(inner, list):  # as it was before 2020
        return _in_order(check, inner, value, path)
    start = len(schema.get("prefixItems") or ())
    return _first(check.apply(inner, item, f"{path}[{start + at}]") for at, item in enumerate(value[start:]))


def _prefix(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    return _in_order(check, schema["prefixItems"], value, path) if isinstance(value, list) else None


def _in_order(check: _Check, schemas: Json, value: Json, path: str) -> str | None:
    pairs = enumerate(zip(schemas, value, strict=False))
    return _first(check.apply(inner, item, f"{path}[{at}]") for at, (inner, item) in pairs)


def _all_of(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    return _first(check.apply(inner, value, path) for inner in schema["allOf"])


def _any_of(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    problems = []
    for inner in schema["anyOf"]:
        if (found := check.apply(inner, value, path)) is None:
            return None
        problems.append(found)
    another_type = f"{_value(path)} must be of the type"
    told = next((problem for problem in problems if not problem.startswith(another_type)), "".join(problems[:1]))
    return f"{_value(path)} fits none of its `anyOf`: {told}"[:1000]


def _one_of(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    fits = sum(check.apply(inner, value, path) is None for inner in schema["oneOf"])
    return None if fits == 1 else f"{_value(path)} fits {fits} of its `oneOf`, not one"


def _not(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    return f"{_value(path)} is what its `not` excludes" if check.apply(schema["not"], value, path) is None else None


def _if(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    then = "then" if check.apply(schema["if"], value, path) is None else "else"
    return check.apply(schema[then], value, path) if then in schema else None


def _contains(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if not isinstance(value, list):
        return None
    found = sum(check.apply(schema["contains"], item, path) is None for item in value)
    if schema.get("minContains", 1) <= found <= schema.get("maxContains", found):
        return None
    return f"{_value(path)} holds {found} of the items that its `contains` asks for"


def _names(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if not isinstance(value, dict):
        return None
    return _first(check.apply(schema["propertyNames"], name, path) for name in value)


def _dependent(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if isinstance(value, dict):
        for name, inner in schema["dependentSchemas"].items():
            if name in value and (found := check.apply(inner, value, path)):
                return found
    return None


def _together(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if isinstance(value, dict):
        for name, others in schema["dependentRequired"].items():
            for other in others if name in value else ():
                if other not in value:
                    return f"{_value(path)} lacks the property {_shown(other)}"
    return None


def _multiple(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if not _is_number(value):
        return None
    step = schema["multipleOf"]
    try:
        fits = value % step == 0 if isinstance(value, int) and isinstance(step, int) else _is_whole(value / step)
    except OverflowError:
        fits = True
    return None if fits else f"{_value(path)} is no multiple of {step}"


def _is_whole(quotient: float) -> bool:
    return abs(quotient - round(quotient)) < 1e-9


def _unique(check: _Check, schema: Json, value: Json, path: str) -> str | None:
    if schema["uniqueItems"] and isinstance(value, list) and len({check.key(item) for item in value}) < len(value):
        return f"{_value(path)} holds an item twice"
    return None


def _limit(keyword: str, measure: Callable[[Json], float | None], *, least: bool, words: str) -> Keyword:
    def check(_: _Check, schema: Json, value: Json, path: str) -> str | None:
        bound, measured = schema[keyword], measure(value)
        if measured is None or (measured >= bound if least else measured <= bound):
            return None
        return f"{_value(path)} {words} {'at least' if least else 'at most'} {bound}"

    return check


def _beyond(keyword: str, *, above: bool) -> Keyword:
    def check(_: _Check, schema: Json, value: Json, path: str) -> str | None:
        bound = schema[keyword]
        if not _is_number(value) or (value > bound if above else value < bound):
            return None
        return f"{_value(path)} must be {'more' if above else 'less'} than {bound}"

    return check


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Json) -> float | None:
    return value if _is_number(value) else None


def _sized(wanted: type[str | list[Json] | dict[str, Json]]) -> Callable[[Json], float | None]:
    return lambda value: len(value) if isinstance(value, wanted) else None


def _first(problems: Iterator[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _value(path: str) -> str:
    return f"`{path.lstrip('.')[:MAX_SHOWN]}`" if path else "the value"


def _shown(name: str) -> str:
    return f"`{name[:MAX_SHOWN]}`"


def _at(place: str) -> str:
    return f"`{place[1:][:200]}`" if place else "it"


def _of_type(value: Json, wanted: type, place: str) -> Json:
    if not isinstance(value, wanted):
        raise SchemaError(f"{_at(place)} must be {_WORDS[wanted]}, not {kind(value)}")
    return value


_WORDS: Mapping[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}


def _form_type(value: Json, place: str) -> None:
    types = value if isinstance(value, list) else [value]
    if not types or not all(isinstance(each, str) and each in _TYPES for each in types):
        raise SchemaError(f"{_at(place)} must be one of {', '.join(_TYPES)}, or a list of them")


def _form_number(value: Json, place: str) -> None:
    if not _is_number(value):
        raise SchemaError(f"{_at(place)} must be a number, not {kind(value)}")


def _form_step(value: Json, place: str) -> None:
    if not _is_number(value) or value <= 0:
        raise SchemaError(f"{_at(place)} must be a number above 0")


def _form_count(value: Json, place: str) -> None:
    if not _is_number(value) or value < 0 or value != int(value):
        raise SchemaError(f"{_at(place)} must be a whole number that is not negative")


def _form_strings(value: Json, place: str) -> None:
    if not all(isinstance(each, str) for each in _of_type(value, list, place)):
        raise SchemaError(f"{_at(place)} must be a list of strings")


def _form_lists(value: Json, place: str) -> None:
    for name, each in _of_type(value, dict, place).items():
        _form_strings(each, f"{place}/{name}")


def _form_list(value: Json, place: str) -> None:
    _of_type(value, list, place)


def _form_boolean(value: Json, place: str) -> None:
    _of_type(value, bool, place)


_TYPES: Mapping[str, Callable[[Json], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}
_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions", "dependentSchemas", "patternProperties")
_LISTS_OF_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = ("additionalProperties", "items", "not", "if", "then", "else", "contains", "propertyNames")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_FORMS: Mapping[str, Callable[[Json, str], None]] = {
    "type": _form_type,
    "enum": _form_list,
    "required": _form_strings,
    "dependentRequired": _form_lists,
    "uniqueItems": _form_boolean,
    "multipleOf": _form_step,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _form_number),
    **dict.fromkeys((*_COUNTS, "minContains", "maxContains"), _form_count),
}
"""What the values of keywords must be."""
_KEYWORDS: Mapping[str, Keyword] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "prefixItems": _prefix,
    "items": _items,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "contains": _contains,
    "propertyNames": _names,
    "dependentSchemas": _dependent,
    "dependentRequired": _together,
    "multipleOf": _multiple,
    "uniqueItems": _unique,
    "minimum": _limit("minimum", _number, least=True, words="must be"),
    "maximum": _limit("maximum", _number, least=False, words="must be"),
    "exclusiveMinimum": _beyond("exclusiveMinimum", above=True),
    "exclusiveMaximum": _beyond("exclusiveMaximum", above=False),
    "minLength": _limit("minLength", _sized(str), least=True, words="must have a length of"),
    "maxLength": _limit("maxLength", _sized(str), least=False, words="must have a length of"),
    "minItems": _limit("minItems", _sized(list), least=True, words="must have a number of items of"),
    "maxItems": _limit("maxItems", _sized(list), least=False, words="must have a number of items of"),
    "minProperties": _limit("minProperties", _sized(dict), least=True, words="must have a number of properties of"),
    "maxProperties": _limit("maxProperties", _sized(dict), least=False, words="must have a number of properties of"),
}
