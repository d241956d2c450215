"""The functions that selectors may call: JMESPath's own, those on text, and those that read what is beside the payload.

JMESPath's own are the jmespath library's: https://jmespath.org/specification.html#built-in-functions
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from jmespath import functions

from oaiproxy.jsontext import Json, parse_lenient

NUMBERS = (int, float)
"""The classes of numbers; a boolean's is another."""


class Envelope(Protocol):
    """What a frame carries beside its payload; an empty string, no bytes and status 0 mean that there is none."""

    @property
    def event(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, str]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def status(self) -> int: ...
    @property
    def raw(self) -> bytes: ...


Evaluate: TypeAlias = Callable[[Json, Envelope], Json]
Check: TypeAlias = Callable[[Json], None]
"""Raises what the library raises when a function does not admit the value."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that selectors may call.

    `parameters` are the JMESPath types that each parameter admits, none for any; `variadic` repeats the last one.
    `call` takes the arguments, and before them the envelope if `reads_envelope`.
    """

    name: str
    description: str
    parameters: tuple[tuple[str, ...], ...]
    call: Callable[..., Json]
    variadic: bool = False
    reads_envelope: bool = False

    @property
    def signature(self) -> str:
        """Such as `join(string, array-string)`."""
        types = ["|".join(admitted) or "any" for admitted in self.parameters]
        return f"{self.name}({', '.join(types)}{', ...' if self.variadic else ''})"


class Expression:
    """The argument that `&` makes. The library evaluates it with `visit`."""

    __slots__ = ("envelope", "evaluate")
    expression = None

    def __init__(self, evaluate: Evaluate, envelope: Envelope) -> None:
        self.evaluate = evaluate
        self.envelope = envelope

    def visit(self, _: None, value: Json) -> Json:
        return self.evaluate(value, self.envelope)


Expression.__name__ = "_Expression"  # by which the library knows it

_LIBRARY = functions.Functions()

_STANDARD = {
    "abs": "the number without its sign",
    "avg": "the mean of the numbers; null when there are none",
    "ceil": "the number rounded up",
    "contains": "whether the array holds the value, or the string the text",
    "ends_with": "whether the string ends with the text",
    "floor": "the number rounded down",
    "join": "the strings as one text, with the first argument between them",
    "keys": "the names in the object",
    "length": "how many characters, items or names there are",
    "map": "the expression's value for each item, nulls included",
    "max": "the largest number or string; null when there are none",
    "max_by": "the item for which the expression is largest",
    "merge": "one object of all; the last one wins",
    "min": "the smallest number or string; null when there are none",
    "min_by": "the item for which the expression is smallest",
    "not_null": "the first argument that is not null",
    "reverse": "the string or array back to front",
    "sort": "the numbers or strings in order",
    "sort_by": "the items in the order of the expression",
    "starts_with": "whether the string starts with the text",
    "sum": "the sum of the numbers",
    "to_array": "the array itself, or an array of the one value",
    "to_number": "the number that the string spells; null when it spells none",
    "type": "the name of the value's type",
    "values": "the values in the object",
}


def _standard(name: str, description: str) -> Function:
    parameters = functions.Functions.FUNCTION_TABLE[name]["signature"]
    types = tuple(tuple(parameter["types"]) for parameter in parameters)
    return Function(name, description, types, getattr(_LIBRARY, f"_func_{name}"), "variadic" in parameters[-1])


# The library makes this encoder anew in each call.
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def _to_string(value: Json) -> str:
    return value if isinstance(value, str) else _encode(value)


def _concat(*values: Json) -> str:
    return "".join("" if value is None else _to_string(value) for value in values)


def _parse_json(text: str) -> Json:
    try:
        return parse_lenient(text)
    except ValueError:
        return None


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return None


def _header(envelope: Envelope, name: str) -> str | None:
    wanted = name.lower()
    return next((value for key, value in envelope.headers.items() if key.lower() == wanted), None)


def _of_envelope(name: str, description: str, call: Callable[..., Json], *parameters: tuple[str, ...]) -> Function:
    return Function(name, description, parameters, call, reads_envelope=True)


_TEXT = ("string",)

FUNCTIONS: Mapping[str, Function] = {
    function.name: function
    for function in (
        *(_standard(name, description) for name, description in _STANDARD.items()),
        Function("to_string", "the string itself, or the value as compact JSON", ((),), _to_string),
        Function("concat", "the values as one text; null counts as nothing", ((),), _concat, variadic=True),
        Function("parse_json", "the value of the JSON in a string; null when it is not JSON", (_TEXT,), _parse_json),
        Function("from_base64", "the UTF-8 text that was encoded; null when none was", (_TEXT,), _from_base64),
        _of_envelope("event", "the frame's event name", lambda frame: frame.event or None),
        _of_envelope("id", "the frame's id", lambda frame: frame.id or None),
        _of_envelope("field", "a field of the frame by name", lambda frame, name: frame.fields.get(name), _TEXT),
        _of_envelope("header", "a header by name, in any case", _header, _TEXT),
        _of_envelope("status", "the HTTP status, a number", lambda frame: frame.status or None),
        _of_envelope("raw", "the payload as text", lambda frame: frame.raw.decode("utf-8", "replace") or None),
    )
}
"""Every function by name: JMESPath's own, those on text, and those that read the envelope (null when it has none)."""

_CLASSES: Mapping[str, frozenset[type]] = {
    "array": frozenset((list,)),
    "expref": frozenset((Expression,)),
    "number": frozenset(NUMBERS),
    "object": frozenset((dict,)),
    "string": frozenset((str,)),
}


def argument_check(function: str, types: Sequence[str]) -> Check:
    """Let an argument of an admitted type pass quickly; have the library raise what it raises for any other."""
    plain = frozenset[type]().union(*(_CLASSES[name] for name in types if "-" not in name))
    elements = [_CLASSES[name.removeprefix("array-")] for name in types if "-" in name]

    def check(argument: Json) -> None:
        if argument.__class__ in plain:
            return
        if elements and argument.__class__ is list:
            classes = set(map(type, argument))
            for admitted in elements:
                if classes <= admitted:
                    return
        _LIBRARY._type_check_single(argument, list(types), function)

    return check if types else lambda argument: None
