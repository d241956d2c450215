"""The names that templates read to the fields of the client's request that they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from oaiproxy.canonical import SHAPES, Call, canonical_messages
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.policy import fields_of

Kind = Literal["client", "header", "mapping", "model", "proxy", "reply"]
_HERE = ("now", "uuid", "request_id")
_MESSAGE_KEYS = {"tool_name": "tool_call_id", "tool_call_id": "tool_call_id", "role": "role", "name": "name"}
_PLACE = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+)(?:\[(\d+)\])?)?(?:\.(\w+))?")
WHOLE = "the whole request"
"""In place of a field: all of them."""
NO_SYSTEM = "messages[].content"
"""In place of the fields with the system's text, where there are none."""
_OF_CALLS = {"name": "function.name", "id": "id", "arguments": "function.arguments"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a template read: its own name for it, what that is, and whether the client sent it.

    `field` is the client's field, or header; of what is no client's, the same as `name`.
    """

    name: str
    kind: Kind
    field: str
    sent: bool


class ClientFields:
    """The fields of one client's request. `replies` are the names of earlier calls; `named` renames fields."""

    def __init__(
        self,
        call: Call,
        sent: Json,
        headers: Collection[str],
        replies: Collection[str],
        named: Callable[[str], str] = str,
    ) -> None:
        self._named = named
        self._call = call
        self._sent = sent
        self._headers = headers
        self._replies = replies
        self._conversation = "prompt" if call.endpoint == "completions" else "messages"

    def of(self, read: str) -> list[Origin]:
        """What stands behind one path of names."""
        name, _, rest = read.partition(".")
        root = name.partition("[")[0]
        if root in self._replies:
            return [Origin(read, "reply", read, True)]
        if root == "vars":
            return [Origin(read, "mapping", read, True)]
        if root in _HERE:
            return [Origin(read, "proxy", read, True)]
        if root == "headers":
            return [Origin(read, "header", rest, rest in self._headers)]
        return [self._client(read, field) for field in dict.fromkeys(self._fields(read, root, rest))]

    def _client(self, read: str, field: str) -> Origin:
        key = re.split(r"[.\[]", field)[0]
        sent = field == WHOLE or (holds(self._sent, re.findall(r"[^.\[\]]+|\[\]", field)) and not _lacks(read, field))
        if not (sent or holds(self._sent, [key])) and (key in self._call.fields or key == "model"):
            return Origin(read, "model", self._named(field), False)
        return Origin(read, "client", field if field == WHOLE else self._named(field), sent)

    def _fields(self, read: str, root: str, rest: str) -> Iterator[str]:
        """The paths in the client's body."""
        if self._call.endpoint in INPUTS:
            yield {"tokens": "input"}.get(root, root) + read[len(root) :] if root != "extra" else rest
        elif root in ("prompt", "system", "messages", "turns", "chat_prompt"):
            if self._conversation == "prompt":
                yield "prompt"
            else:
                yield from self._said(read, root)
        elif root == "tools":
            yield re.sub(r"^tools(\[\d*\])?(\.|$)", _function, read)
        elif root == "tool_choice":
            yield root
        elif root == "max_tokens" and "max_completion_tokens" in self._call.fields:
            yield "max_completion_tokens"
        elif root in ("extra", "request"):
            yield rest or WHOLE
        else:
            yield read if root in SHAPES or root in fields_of(self._call.endpoint) else root

    def _said(self, read: str, root: str) -> Iterator[str]:
        messages = self._call.messages
        if root == "prompt":
            yield "messages[-1].content"
        elif root == "system":
            told = [place for place, each in enumerate(messages) if each["role"] in ("system", "developer")]
            yield from (f"messages[{place}].content" for place in told)
            if not told:
                yield NO_SYSTEM
        elif root == "chat_prompt":
            yield "messages"
        else:
            found = _PLACE.match(read)
            assert found is not None
            _, place, key, item, inner = found.groups()
            if root == "turns":
                yield from self._turned(place, key, item, inner)
            elif place is None:
                yield f"messages[].{_MESSAGE_KEYS.get(key or '', 'content')}" if key else "messages"
            else:
                yield self._of_message(int(place), key, item, inner)

    def _of_message(self, place: int, key: str | None, item: str | None, inner: str | None) -> str:
        """The field of one message: its parts are its content, and then its calls."""
        base = f"messages[{place}]"
        message = self._call.messages[place] if place < len(self._call.messages) else {}
        if key is None:
            return base
        if key in _MESSAGE_KEYS:
            return f"{base}.{_MESSAGE_KEYS[key]}"
        content = message.get("content")
        size = len(content) if isinstance(content, list) else 1 if content else 0
        calls = key == "tool_calls"
        if key == "parts" and item is not None and message.get("role") == "assistant" and int(item) >= size:
            calls, item = True, str(int(item) - size)
        if calls:
            return f"{base}.tool_calls[{item or ''}]" + (f".{_OF_CALLS[inner]}" if inner in _OF_CALLS else "")
        if message.get("role") == "tool":
            return f"{base}.{'tool_call_id' if inner in ('id', 'name') else 'content'}"
        if key == "parts" and item is not None and isinstance(content, list):
            return f"{base}.content[{item}]"
        return f"{base}.content"

    def _turned(self, place: str | None, key: str | None, item: str | None, inner: str | None) -> Iterator[str]:
        """Turns are made of the parts of messages, in order."""
        turns = _turns(self._call)
        if place is None or int(place) >= len(turns):
            yield "messages"
        elif key == "parts" and item is not None and int(item) < len(turns[int(place)]):
            message, part = turns[int(place)][int(item)]
            yield self._of_message(message, "parts", str(part), inner)
        else:
            told = dict.fromkeys(message for message, _ in turns[int(place)])
            yield from (f"messages[{message}].{'role' if key == 'role' else 'content'}" for message in told)


def holds(value: Json, steps: Sequence[str]) -> bool:
    """Whether a body has something at a path; `[]` is any item."""
    if not steps:
        return value is not None
    step, *rest = steps
    if isinstance(value, dict):
        return holds(value.get(step), rest)
    if isinstance(value, list):
        if step == "[]":
            return any(holds(item, rest) for item in value)
        place = int(step) if re.fullmatch(r"-?\d+", step) else len(value)
        return -len(value) <= place < len(value) and holds(value[place], rest)
    return False


def _lacks(read: str, field: str) -> bool:
    """Whether a field stands for what no message has."""
    return read == "system" and field == NO_SYSTEM


def _turns(call: Call) -> list[list[tuple[int, int]]]:
    """For each turn, the messages and their parts that it is made of."""
    made: list[list[tuple[int, int]]] = []
    side = ""
    for place, message in enumerate(canonical_messages(call)):
        if message["role"] == "system" or not message["parts"]:
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        if role != side:
            made.append([])
            side = role
        made[-1].extend((place, part) for part in range(len(message["parts"])))
    return made


def _function(found: re.Match[str]) -> str:
    return f"tools{found[1] or '[]'}" + (".function." if found[2] else "")
