"""The tools of a Responses request, and the choice of them, in chat's shapes.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from oaiproxy.jsontext import Json
from oaiproxy.parameters import boolean, invalid_type, invalid_value, mapping, optional, required, string

_TOOLS = ("function", "custom")
_PLAIN = re.compile(r"[a-z0-9_]{1,40}")
MAX_NAMED = 20
"""Kinds of tools that are named as left out."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Tools in chat's shape, and as the response repeats them; `places` has the client's names for chat's."""

    chat: list[Json] = field(default_factory=list)
    told: list[Json] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)

    @property
    def custom(self) -> frozenset[str]:
        """The names of those that take text."""
        return frozenset(tool["name"] for tool in self.told if tool["type"] == "custom")


def read_tools(value: Json, dropped: list[str]) -> Tools:
    """The tools that chat knows; others, which only OpenAI runs, are named in `dropped`. Raises ClientError."""
    found = Tools()
    if value is None:
        return found
    if not isinstance(value, list):
        raise invalid_type("tools", value, "an array of tools")
    for index, tool in enumerate(value):
        place = f"tools[{index}]"
        kind = required(mapping(tool, place), "type", place, string)
        if kind not in _TOOLS:
            _leave_out("tools", kind, dropped)
            continue
        flat, inner = (tool, place)
        if tool.get("name") is None and isinstance(tool.get(kind), dict):  # chat's shape
            flat, inner = tool[kind], f"{place}.{kind}"
        made, told = _function(flat, inner) if kind == "function" else _custom(flat, inner)
        at = f"tools[{len(found.chat)}]"
        found.places.update({at: place, f"{at}.{kind}": inner})
        found.chat.append({"type": kind, kind: made})
        found.told.append({"type": kind, **told})
    return found


def _function(tool: dict[str, Json], place: str) -> tuple[Json, Json]:
    required(tool, "name", place, string)
    for key, check in (("description", string), ("parameters", mapping), ("strict", boolean)):
        optional(tool, key, place, check)
    keys = ("name", "description", "parameters", "strict")
    made = {key: tool[key] for key in keys if tool.get(key) is not None}
    return made, {"parameters": None, "strict": None, **made}


def _custom(tool: dict[str, Json], place: str) -> tuple[Json, Json]:
    required(tool, "name", place, string)
    optional(tool, "description", place, string)
    told = {key: tool[key] for key in ("name", "description") if tool.get(key) is not None}
    if tool.get("format") is None:
        return told, told
    format_ = mapping(tool["format"], f"{place}.format")
    here = f"{place}.format"
    kind = required(format_, "type", here, string)
    if kind == "text":
        return {**told, "format": {"type": kind}}, {**told, "format": {"type": kind}}
    if kind != "grammar":
        raise invalid_value(f"{here}.type", f"'{kind[:40]}'; supported values are: 'text', 'grammar'")
    owner = mapping(format_["grammar"], f"{here}.grammar") if format_.get("grammar") is not None else format_
    grammar = {key: required(owner, key, here, string) for key in ("syntax", "definition")}
    return (
        {**told, "format": {"type": kind, kind: grammar}},
        {**told, "format": {"type": kind, **grammar}},
    )


def read_choice(value: Json, tools: Tools, dropped: list[str]) -> Json:
    """The choice in chat's shape; None where none was made, or only among tools that are left out."""
    if value is None:
        return None
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise invalid_value("tool_choice", "use 'none', 'auto', 'required' or an object that names a tool")
        return value if tools.chat or "tools" not in "".join(dropped) else None
    kind = required(mapping(value, "tool_choice"), "type", "tool_choice", string)
    if kind == "allowed_tools":
        return _allowed(value, dropped)
    if kind not in _TOOLS:
        _leave_out("tool_choice", kind, dropped)
        return None
    if value.get("name") is None and isinstance(value.get(kind), dict):  # chat's shape
        return value
    return {"type": kind, kind: {"name": required(value, "name", "tool_choice", string)}}


def _allowed(value: dict[str, Json], dropped: list[str]) -> Json:
    if value.get("mode") is None and isinstance(value.get("allowed_tools"), dict):  # chat's shape
        return value
    mode = required(value, "mode", "tool_choice", string)
    named = value.get("tools")
    if not isinstance(named, list):
        raise invalid_type("tool_choice.tools", named, "an array of tools")
    made = []
    for index, tool in enumerate(named):
        place = f"tool_choice.tools[{index}]"
        kind = required(mapping(tool, place), "type", place, string)
        if kind in _TOOLS:
            made.append({"type": kind, kind: {"name": required(tool, "name", place, string)}})
        else:
            _leave_out("tool_choice.tools", kind, dropped)
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": made}}


def _leave_out(where: str, kind: str, dropped: list[str]) -> None:
    """Name what is left out; the type is the client's, and stands in a header."""
    if len(dropped) < MAX_NAMED:
        dropped.append(f"{where}.{kind}" if _PLAIN.fullmatch(kind) else where)
