"""An explanation as text for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from oaiproxy.jsontext import Json

WIDTH = 40
"""Columns of a field's name and of its value, where they are that long."""
_OUTSIDE = {
    "credential": "a credential",
    "proxy": "made by the proxy",
    "constant": "constant",
}


def explained(explanation: dict[str, Json]) -> str:
    """The whole explanation."""
    blocks = [*_sends(explanation["sends"]), *_frames(explanation), *_replies(explanation["replies"])]
    return "\n\n".join(_visible(block) for block in blocks)


def _sends(sends: Sequence[dict[str, Json]]) -> Iterator[str]:
    for number, send in enumerate(sends, 1):
        name = f" `{send['name']}`" if send["name"] else ""
        yield f"== call {number} of {len(sends)}: {send['call']}{name}\n\n{send['http']}"
        yield send["curl"] or "(a websocket, which curl does not open: the body is its first message)"
        yield "-- what made it\n" + "\n".join(_columns([_field(field) for field in send["fields"]]))
        if send["left_out"]:
            yield "-- left out\n" + "\n".join(
                f"`{_name(each)}`: left out, because {each['reason']} ({_at(each['source'])})"
                for each in send["left_out"]
            )
        if send["dropped"]:
            yield "-- fields of the client that are not sent\n" + "\n".join(
                f"`{each['field']}`: {each['outcome']}: {each['reason']}" + _in(each["source"])
                for each in send["dropped"]
            )


def _field(field: dict[str, Json]) -> tuple[str, str, str]:
    source = _at(field["source"])
    origin = _origin(field)
    chosen = [each for each in field["under"][-1:] if field["kind"] == "constant"]
    under = "".join(f", under `{each['directive']}: {each['expression']}`" for each in chosen)
    return _name(field), _short(field["value"]), f"<- {f'{source} <- ' if source else ''}{origin}{under}"


def _origin(field: dict[str, Json]) -> str:
    if not field["from"]:
        return _OUTSIDE.get(field["kind"], str(field["kind"]))
    told = dict.fromkeys(map(_source, field["from"]))
    return ", ".join(told)


def _source(origin: dict[str, Json]) -> str:
    match origin["kind"]:
        case "client":
            return f"`{origin['field']}`" + ("" if origin["sent"] else " (not sent)")
        case "model":
            return f"`{origin['field']}` (not sent: the model's default)"
        case "header":
            return f"the client's header `{origin['field']}`" + ("" if origin["sent"] else " (not sent)")
        case "reply":
            return f"the reply `{origin['name']}`"
        case "mapping":
            return f"the mapping's `{origin['name']}`"
    return f"`{origin['name']}`, made by the proxy"


def _frames(explanation: dict[str, Json]) -> Iterator[str]:
    for place, frame in enumerate(explanation["frames"]):
        event = f", event `{frame['event']}`" if frame["event"] else ""
        end = ", the last" if frame["done"] else ""
        yield f"== frame {frame['number']} of the reply to call {frame['call'] + 1}{event}: {frame['size']} bytes{end}"
        lines = [_short(frame["text"].replace("\n", "\\n"), 3 * WIDTH, bare=True)]
        rows = []
        for each in frame["selectors"]:
            found = "nothing" if each["type"] == "null" else f"{_short(each['value'])} ({each['type']})"
            rows.append((each["sink"], _short(each["selector"], bare=True), f"-> {found}  <- {_at(each['source'])}"))
        lines += _columns(rows)
        lines += [f"event: {_event(each)}" for each in explanation["events"] if each["frame"] == place]
        yield "\n".join(lines)
    if last := [_event(each) for each in explanation["events"] if each["frame"] is None]:
        yield "== at the end of the reply\n\n" + "\n".join(f"event: {each}" for each in last)


def _event(event: dict[str, Json]) -> str:
    whole = event["type"] == "fault"
    told = {key: value for key, value in event["values"].items() if not (whole and value == "")}
    values = ", ".join(f"{key}={_json(value) if whole else _short(value)}" for key, value in told.items())
    return f"{event['type']} {values}".rstrip()


def _replies(replies: Sequence[dict[str, Json]]) -> Iterator[str]:
    for reply in replies:
        head = f"== what the client gets: {reply['status']} {reply['content_type']}"
        if reply["stream"]:
            lines = [f"data: {chunk if isinstance(chunk, str) else _json(chunk)}" for chunk in reply["chunks"]]
            yield head + "\n\n" + "\n".join(lines)
        else:
            yield f"{head}\n\n{json.dumps(reply['body'], ensure_ascii=False, indent=2)}"


def _columns(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [min(WIDTH, max((len(row[at]) for row in rows), default=0)) for at in (0, 1)]
    return [f"{one:<{widths[0]}}  {two:<{widths[1]}}  {three}" for one, two, three in rows]


def _name(field: dict[str, Json]) -> str:
    path = field["path"]
    return f"{field['part']}{'' if path.startswith('[') else '.'}{path}" if path else str(field["part"])


def _at(source: Json) -> str:
    return f"{source['file']}:{source['line']}:{source['column']}" if source else ""


def _in(source: Json) -> str:
    return f" ({_at(source)})" if source else ""


def _short(value: Json, width: int = WIDTH, *, bare: bool = False) -> str:
    text = value if bare and isinstance(value, str) else _json(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _visible(text: str) -> str:
    """Text whose control characters do nothing to a terminal."""
    return "".join(each if each in "\n\t" or each.isprintable() else f"\\x{ord(each):02x}" for each in text)
