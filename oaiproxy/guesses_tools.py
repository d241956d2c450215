"""Samples of answers to where tool calls stand in them, and to the calls they make."""

from __future__ import annotations

from collections.abc import Sequence

from oaiproxy.jsontext import Json, JsonError, parse
from oaiproxy.leaves import Path, inner, plain, selector

_LISTS = ("toolcalls", "functioncalls")


def whole_calls(body: Json) -> tuple[Path, list[Json]] | None:
    """Where the list of an answer's tool calls stands, in a form that is read as it is, and the calls."""
    for path, value in inner(body):
        if not path or plain(str(path[-1])) not in _LISTS or not isinstance(value, list) or not value:
            continue
        inside = [_function(call) for call in value]
        if all("name" in each and "arguments" in each for each in inside):
            return path, [{"name": each["name"], "arguments": _parsed(each["arguments"])} for each in inside]
    return None


def stream_calls(bodies: Sequence[Json]) -> tuple[dict[str, Json], list[Json]]:
    """The sink `tool_call` for frames whose lists of pieces have an `index` each, and the calls that they make.

    Where the calls come whole, there is only `whole`, the selector of their list; nothing, where there are none.
    """
    alone = [found for body in bodies if (found := whole_calls(body)) is not None]
    calls = [call for _, listed in alone for call in listed]
    numbered = any("index" in piece for body in bodies for piece in _pieces(body))
    if calls and not numbered and not any(isinstance(call["arguments"], str) for call in calls):
        return {"whole": selector(alone[0][0])}, calls
    place: Path | None = None
    made: dict[Json, dict[str, Json]] = {}
    nested = False
    for body in bodies:
        for path, value in inner(body):
            if not path or plain(str(path[-1])) not in _LISTS or not isinstance(value, list) or not value:
                continue
            if (place or path) != path or not all(isinstance(each, dict) and "index" in each for each in value):
                return {}, []
            place = path
            for piece in value:
                nested = nested or "function" in piece
                inside = _function(piece)
                call = made.setdefault(piece["index"], {"name": "", "arguments": ""})
                call["name"] = inside.get("name") or call["name"]
                given = inside.get("arguments") or ""
                if not isinstance(given, str):
                    return {}, []
                call["arguments"] += given
    if place is None or not all(call["name"] for call in made.values()):
        return {}, []
    before = "function." if nested else ""
    pieces: dict[str, Json] = {"each": selector(place), "index": "index", "id": "id"}
    pieces |= {"name": f"{before}name", "arguments": f"{before}arguments"}
    calls = [{"name": call["name"], "arguments": _parsed(call["arguments"] or "{}")} for call in made.values()]
    return pieces, calls


def _pieces(body: Json) -> list[dict[str, Json]]:
    """What stands in lists of calls."""
    found = [
        value for path, value in inner(body) if path and plain(str(path[-1])) in _LISTS and isinstance(value, list)
    ]
    return [piece for value in found for piece in value if isinstance(piece, dict)]


def _function(call: Json) -> dict[str, Json]:
    inside = call.get("function", call) if isinstance(call, dict) else None
    return inside if isinstance(inside, dict) else {}


def _parsed(arguments: Json) -> Json:
    try:
        return parse(arguments) if isinstance(arguments, str) else arguments
    except JsonError:
        return arguments
