"""A document's data to the sound part of it: what the schema refuses is taken out, so that later stages can go on."""

from __future__ import annotations

from copy import deepcopy

from oaiproxy.document import Document, Path
from oaiproxy.jsontext import Json
from oaiproxy.validation import Schema, ValidationError, choices, schema_errors, unknown_keys

MAX_PASSES = 12
"""Taking one thing out may make its owner incomplete."""

STAND_INS: dict[str, Json] = {
    "oaiproxy": 1,
    "models": ["model"],
    "backend": {"url": "mock:"},
    "url": "mock:",
    "chat": {"request": {}, "response": {}},
    "request": {},
    "response": {},
    "format": "json-concat",
    "name": "chatml",
}
"""What stands for a missing key, by its name. Where there is none, and in examples and logins, its owner goes."""
_LOGIN = ("backend", "auth", "login")


def salvage(document: Document, schema: Schema) -> Json:
    """The data without what is invalid or unresolved; None when nothing can be saved. The document is not changed."""
    data = deepcopy(document.data)
    for path in document.unresolved:
        if isinstance(path[-1], str):
            _remove(data, path)
    for _ in range(MAX_PASSES):
        errors = list(schema_errors(data, schema))
        if not errors:
            return data
        for error in errors:
            _mend(data, error)
    return None


def _mend(data: Json, error: ValidationError) -> None:
    """Take out, or complete, what one error is about; `error.instance` is the very object inside `data`."""
    given = error.instance
    match error.validator:
        case "additionalProperties":
            for key in unknown_keys(error):
                del given[key]
        case "required":
            _complete(data, error, [key for key in error.validator_value if key not in given])
        case "dependentRequired":
            for owner in error.validator_value.keys() & given.keys():
                del given[owner]
        case "anyOf" | "oneOf" if isinstance(given, dict) and (keys := choices(error)):
            present = [key for key in keys if key in given]
            for key in present[1:]:
                del given[key]
            if not present:
                _complete(data, error, keys[:1])
        case _:
            _remove(data, tuple(error.absolute_path))


def _complete(data: Json, error: ValidationError, keys: list[str]) -> None:
    path: Path = tuple(error.absolute_path)
    if (
        path[:1] == ("examples",)
        or path[:3] == ("backend", "auth", "login")
        or any(key not in STAND_INS for key in keys)
    ):
        _remove(data, path)
    else:
        error.instance.update({key: deepcopy(STAND_INS[key]) for key in keys})


def _remove(data: Json, path: Path) -> None:
    """Take out the value, or the list that it is an item of: the others keep their places."""
    owner, last = None, ""
    node = data
    for step in path:
        if isinstance(node, dict) and isinstance(step, str):
            if step not in node:
                return
            owner, last = node, step
        elif not (isinstance(node, list) and isinstance(step, int) and step < len(node)):
            return
        node = node[step]
    if owner is not None:
        owner.pop(last, None)
