"""A document to the variables of the environment that it takes."""

from __future__ import annotations

from dataclasses import dataclass

from oaiproxy.document import Document


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment; it must be set where there is no default for it."""

    name: str
    required: bool


def variables(document: Document) -> list[Variable]:
    """The variables that a document takes from the environment, each once, in the order of the file."""
    found = [each for each in document.references if each.name]
    required = {each.name for each in found if each.default is None}
    return [Variable(name, name in required) for name in dict.fromkeys(each.name for each in found)]
