"""What `POST /v1/messages` tells of a mistake in a request: the path with dots, a colon, what should be there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from oaiproxy.errors import ClientError
from oaiproxy.jsontext import Json

Check: TypeAlias = Callable[[Json, str], Json]
"""The value at that path. Raises ClientError when it is of another type."""


def fault(place: str, message: str, code: str = "invalid_value") -> ClientError:
    """The error for what is at a path, such as `messages.0.content.1.type`."""
    return ClientError(f"{place}: {message}", param=place, code=code)


def string(value: Json, place: str) -> Json:
    """A string."""
    return _of(str, value, place, "a valid string")


def objects(value: Json, place: str) -> Json:
    """An object."""
    return _of(dict, value, place, "an object")


def array(value: Json, place: str) -> Json:
    """A list."""
    return _of(list, value, place, "a valid list")


def boolean(value: Json, place: str) -> Json:
    """A boolean."""
    return _of(bool, value, place, "a valid boolean")


def integer(value: Json, place: str) -> Json:
    """An integer, also written as `100.0`."""
    if isinstance(value, bool):
        raise fault(place, "Input should be a valid integer", "invalid_type")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _of(int, value, place, "a valid integer")


def number(value: Json, place: str) -> Json:
    """A number."""
    if isinstance(value, bool):
        raise fault(place, "Input should be a valid number", "invalid_type")
    return _of((int, float), value, place, "a valid number")


def strings(value: Json, place: str) -> Json:
    """A list of strings."""
    for index, each in enumerate(array(value, place)):
        string(each, f"{place}.{index}")
    return value


def required(owner: dict[str, Json], key: str, place: str, check: Check) -> Json:
    """The value under a key that must be there; `place` is the path of its owner, empty for the body."""
    here = f"{place}.{key}" if place else key
    if owner.get(key) is None:
        raise fault(here, "Field required", "missing_required_parameter")
    return check(owner[key], here)


def optional(owner: dict[str, Json], key: str, place: str, check: Check) -> Json:
    """The value under a key, None if there is none."""
    return None if owner.get(key) is None else required(owner, key, place, check)


def one_of(owner: dict[str, Json], key: str, place: str, known: tuple[str, ...]) -> str:
    """The word under a key, which is one of those known."""
    word: str = required(owner, key, place, string)
    if word not in known:
        names = ", ".join(f"'{each}'" for each in known)
        raise fault(f"{place}.{key}", f"Input should be one of {names}, not '{word[:40]}'")
    return word


def each_object(value: Json, place: str) -> Iterator[tuple[dict[str, Json], str]]:
    """The objects of a list, each with its path."""
    for index, each in enumerate(array(value, place)):
        here = f"{place}.{index}"
        yield objects(each, here), here


def _of(kinds: type | tuple[type, ...], value: Json, place: str, wanted: str) -> Json:
    if not isinstance(value, kinds):
        raise fault(place, f"Input should be {wanted}", "invalid_type")
    return value
