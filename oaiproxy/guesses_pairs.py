"""Pairs of a question and its answer in a sample to the loop that makes such pairs, and to OpenAI's messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oaiproxy.guesses_names import ROLES
from oaiproxy.jsontext import Json
from oaiproxy.leaves import Path, inner, plain

_ASKS = frozenset({"question", "query", "prompt", "input", "request", "ask", "q", "instruction"})
_SAYS = frozenset({"answer", "response", "reply", "output", "completion", "a", "result"})
_TURN = "{{{{ turns[{at}].parts | map(attribute='text') | join('') }}}}"


@dataclass(frozen=True, slots=True)
class Pairs:
    """What was said before the prompt."""

    path: Path
    items: Sequence[Json]
    names: tuple[str | int, str | int]
    """Where a pair has the question, and where the answer."""

    @property
    def messages(self) -> list[Json]:
        """The messages as OpenAI has them."""
        roles = ("user", "assistant")
        return [
            {"role": role, "content": item[name]}
            for item in self.items
            for role, name in zip(roles, self.names, strict=True)
        ]

    @property
    def tree(self) -> Json:
        """The templates of the list, which stays where nothing was said before."""
        asks, says = _TURN.format(at="2 * i"), _TURN.format(at="2 * i + 1")
        made: dict[str, Json] = {"$for": "i in range((turns | length) // 2)"}
        if self.names == (0, 1):
            made["$value"] = [asks, says]
        else:
            made |= {str(self.names[0]): asks, str(self.names[1]): says}
        return {"$keep_empty": True, "$value": [made]}


def pairs(sample: Json) -> Pairs | None:
    """The list of pairs in a request, if there is one."""
    for path, value in inner(sample):
        names = _names(value[0]) if isinstance(value, list) and value else None
        if names is not None and all(_names(item) == names for item in value):
            return Pairs(path, value, names)
    return None


def _names(item: Json) -> tuple[str | int, str | int] | None:
    match item:
        case [str(), str()]:
            return (0, 1)
        case dict() if len(item) == 2 and all(isinstance(text, str) for text in item.values()):
            first, second = item
            return (first, second) if _kind(first) == "user" and _kind(second) == "assistant" else None
    return None


def _kind(name: str) -> str:
    known = plain(name)
    return "user" if known in _ASKS else "assistant" if known in _SAYS else ROLES.get(known, "")
