"""A client's request by the API that it speaks, opened: as a call, with the encoder of its answer and its own names.

What `doors` has no encoder for without more of a request is here, too: the Responses API.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Dict
from dataclasses import dataclass

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints import messages, responses, responses_encoding
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import ApiError
from oaiproxy.jsontext import Json

RESPONSES = "responses"
OTHERS = (RESPONSES, messages.ENDPOINT)
"""Entrances that lead to a mapping's `chat`."""
PATHS = {name: door.path for name, door in DOORS.items()} | {RESPONSES: responses.PATH}


@dataclass(frozen=True, slots=True)
class Entrance:
    """An opened request. `param` gives the client's name of a field by chat's."""

    call: Call
    encoder: Callable[[Call, Identity], Encoder]
    param: Callable[[str], str]
    error: Callable[[ApiError, str], Json]
    dropped: tuple[str, ...] = ()
    """The client's fields that did not get as far as the call."""


def served_as(name: str) -> str:
    """The endpoint of a mapping that serves what comes in by an entrance."""
    return "chat" if name in OTHERS else name


def enter(name: str, body: Json) -> Entrance:
    """A request, opened. Raises ApiError as the endpoint does."""
    if name == RESPONSES:
        asked = responses.parse(body)
        return Entrance(
            asked.call,
            lambda call, identity: responses_encoding.encoder(asked, identity),
            asked.param,
            lambda error, request_id: error.body(),
            asked.dropped,
        )
    door = DOORS[name]
    call = door.parse(body)
    return Entrance(call, door.encoder, lambda param: door.param(call, param), door.error, door.dropped)


def refused(name: str, error: ApiError, request_id: str) -> Json:
    """The body of an answer to a request that could not be opened."""
    return DOORS[name].error(error, request_id) if name in DOORS else error.body()


def entrance_of(body: Dict[str, Json]) -> str | None:
    """The entrance that a request is for by what no chat request has; None for no telling."""
    turns = body.get("messages")
    if isinstance(turns, list):
        parts = (part for turn in turns if isinstance(turn, dict) for part in _parts(turn.get("content")))
        foreign = any(part.get("type") in _PARTS for part in parts) or any(
            isinstance(tool, dict) and "input_schema" in tool for tool in _list(body.get("tools"))
        )
        return messages.ENDPOINT if foreign or not _MESSAGES.isdisjoint(body) else None
    return RESPONSES if "input" in body and (not _RESPONSES.isdisjoint(body) or _is_talk(body["input"])) else None


_MESSAGES = frozenset(("system", "stop_sequences", "thinking", "output_config", "mcp_servers"))
_PARTS = frozenset(("tool_use", "tool_result", "image", "document", "thinking", "redacted_thinking"))
_RESPONSES = frozenset(
    ("instructions", "max_output_tokens", "previous_response_id", "text", "reasoning", "tools", "include", "truncation")
)


def _is_talk(value: Json) -> bool:
    """Whether an input is a list of items, and not of texts."""
    return any(isinstance(item, dict) and item.keys() & {"role", "call_id"} for item in _list(value))


def _parts(content: Json) -> list[dict[str, Json]]:
    return [part for part in _list(content) if isinstance(part, dict)]


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
