"""What is known of the names in templates before any request comes: which there are, and what each holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Shape: TypeAlias = Any
"""What a name holds: a dict of attributes, a list of one item's shape, the name of a scalar type, None for anything.

A tuple holds the words that a text can be.
"""
Shapes: TypeAlias = Mapping[str, Shape]
"""The names in scope; with a `*` among them, any other name may be there too."""


class EndpointShapes(dict[str, Shape]):
    """The names in scope of one endpoint's templates; `elsewhere` tells of those that other endpoints have.

    `reply` is the name of a backend's reply among them, whose keys may be meant by other names.
    """

    def __init__(self, shapes: Shapes, elsewhere: Mapping[str, str], reply: str = "") -> None:
        super().__init__(shapes)
        self.elsewhere = elsewhere
        self.reply = reply


def joined(shapes: Shapes, more: Shapes) -> Shapes:
    """The names in scope, and more of them over those that are called the same."""
    made = {**shapes, **more}
    return EndpointShapes(made, shapes.elsewhere, shapes.reply) if isinstance(shapes, EndpointShapes) else made


def explained(shapes: Shapes, elsewhere: Mapping[str, str], reply: str = "") -> EndpointShapes:
    """The names in scope, the reply among them, and what to say of more names that are not."""
    more = {name: why for name, why in elsewhere.items() if name not in shapes}
    return EndpointShapes(shapes, {**getattr(shapes, "elsewhere", {}), **more}, reply)


@dataclass(frozen=True, slots=True)
class Missing:
    """The shape of a name that there is only where the mapping has a key that it has not."""

    key: str
    fix: str


def shape_of(value: Any) -> Shape:
    """The shape of constant data."""
    match value:
        case dict():
            return {key: shape_of(item) for key, item in value.items()}
        case list():
            shapes = [shape_of(item) for item in value]
            return [shapes[0] if shapes and shapes.count(shapes[0]) == len(shapes) else None]
        case str():
            return "text"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
    return None
