"""The front doors that generate, by name: how each parses a request and encodes its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints import chat, completions
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.jsontext import Json


@dataclass(frozen=True, slots=True)
class Door:
    """One endpoint's two halves."""

    parse: Callable[[Json], Call]
    encoder: Callable[[Call, Identity], Encoder]


DOORS: Mapping[str, Door] = {
    chat.ENDPOINT: Door(chat.parse, chat.encoder),
    completions.ENDPOINT: Door(completions.parse, completions.encoder),
}
