"""A sample of a stream to the keys of `stream` that read it, and to what a client gets of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from oaiproxy.errors import BackendError
from oaiproxy.failures import find_message
from oaiproxy.formats import make_format
from oaiproxy.framing import Frame
from oaiproxy.guesses_answer import (
    LEAST,
    PARTS,
    calls_tools,
    counts_of,
    echoes,
    finish_of,
    general,
    likely,
    means,
    search,
)
from oaiproxy.guesses_failure import shown
from oaiproxy.guesses_names import ANSWERED, DONE, ID, REASONING, TYPE
from oaiproxy.guesses_tools import stream_calls
from oaiproxy.jsontext import Json, JsonError, parse_lenient
from oaiproxy.leaves import at, leaves, plain, selector
from oaiproxy.sinks import FINISH_REASONS

_MAX_FRAME = 1 << 20
_ENDS = ("[DONE]", "[END]", "[done]", "DONE")
_STATES = frozenset({"status", "state", "type", "event", "stage", "phase"})


@dataclass(slots=True)
class Streamed:
    """What was found in a stream."""

    keys: dict[str, Json] = field(default_factory=dict)
    """The keys of `stream`, but for `request`."""
    comments: dict[str, str] = field(default_factory=dict)
    """Comments behind keys that were guessed."""
    replies: dict[str, Json] = field(default_factory=dict)
    finish_reasons: dict[str, str | None] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failure: str = ""
    """What went wrong, where the sample is of a failure."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A frame, its kind and its payload."""

    kind: str
    body: Json


@dataclass(slots=True)
class _Text:
    """Where the text is, and how it comes."""

    kind: str
    pick: str
    texts: list[str]
    cumulative: bool = False
    whole: str = ""
    """The text of the last frame, where that repeats all of it."""


def framing_of(data: bytes, media_type: str) -> str:
    """How the bytes of a stream are cut into frames."""
    if media_type == "application/vnd.amazon.eventstream" or data[:1] == b"\0":
        return "aws-eventstream"
    text = data.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if media_type == "text/event-stream" or (text[:1] not in "{[" and re.search(r"^(data|event):", text, re.MULTILINE)):
        return "sse"
    if text.startswith("["):
        return "json-array"
    if text.startswith("{"):
        lines = [line for line in text.splitlines() if line.strip()]
        return "ndjson" if all(_payload(line.encode()) is not None for line in lines) else "json-concat"
    return "text"


def streamed(data: bytes, media_type: str = "", *, prompt: str = "", answer: str = "") -> Streamed:
    """What a stream holds. `prompt` is what was asked, `answer` the text of the whole answer, where they are known."""
    made = Streamed({"format": framing_of(data, media_type)})
    framing = make_format(made.keys["format"]).open(_MAX_FRAME)
    try:
        made.frames = [*framing.feed(data), *framing.close()]
    except BackendError as error:
        made.missing.append(f"how the stream is cut into frames: as {made.keys['format']}, {error.message}")
    if made.keys["format"] == "text":
        made.keys["text"], made.replies["text"] = "@", data.decode("utf-8", "replace")
        return made
    frames = [frame for frame in made.frames if frame.data or frame.event]
    if frames and (last := frames[-1].data.decode("utf-8", "replace").strip()) in _ENDS:
        made.keys["end"] = last
        frames.pop()
    bodies = [_payload(frame.data) for frame in frames]
    if any(body is None or not isinstance(body, dict | list) for body in bodies):
        return _plain_text(made, frames)
    told, by = _kinds(frames, bodies)
    failed = [_fails(frame, each.body) for frame, each in zip(frames, told, strict=True)]
    if any(failed):
        made.failure = find_message(told[failed.index(True)].body) or "an error"
        told_so = f"the sample of the stream holds an error (`{shown(made.failure)}`)"
        made.missing.append(f"{told_so}: give one that went well with `--stream`")
        told = [each for each, fails in zip(told, failed, strict=True) if not fails]
        bodies = [each.body for each in told]
    pieces, calls = stream_calls(bodies)
    if not pieces and any(calls_tools(body) for body in bodies):
        made.missing.append("how the stream calls tools: write where its pieces are as `tool_call`")
    text = _text(told, prompt) or (_beside(told, pieces) if pieces else None)
    if text is None:
        made.missing.append("where the frames of the stream have the text: write its selector as `text`")
        return made
    if by is not None:
        _events(made, told, text, by)
    else:
        _simple(made, [each.body for each in told], text)
    said = text.texts[-1] if text.cumulative else "".join(text.texts)
    if said:
        made.replies["text"] = said
    if echoes(said, prompt):
        made.keys["strip"] = {"prefix": "{{ prompt }}"}
        made.replies["text"] = said.removeprefix(prompt)
    _special(made, text, told, answer)
    _told(made, [each.body for each in told])
    if pieces:
        _tools(made, told, pieces, calls)
    return made


def _fails(frame: Frame, body: Json) -> bool:
    """Whether a frame tells of a failure, as the proxy takes it."""
    return frame.event == "error" or (isinstance(body, dict) and bool(body.get("error")))


def _tools(made: Streamed, told: Sequence[_Told], pieces: dict[str, Json], calls: list[Json]) -> None:
    """Where the pieces of tool calls stand, in the kinds of frames that have them."""
    made.replies["tool_calls"] = calls
    made.replies["finish_reason"] = "tool_calls"
    sink, found = ("tool_calls", pieces["whole"]) if "whole" in pieces else ("tool_call", pieces)
    if "events" not in made.keys:
        made.keys[sink] = found
        return
    events = made.keys["events"]
    for kind in dict.fromkeys(each.kind for each in told if stream_calls([each.body])[0]):
        if isinstance(events, dict):
            events[kind] = {**(events[kind] or {}), sink: found}


def _beside(told: Sequence[_Told], pieces: dict[str, Json]) -> _Text:
    """Where text would stand that came with calls of tools."""
    kind = next(each.kind for each in told if stream_calls([each.body])[0])
    return _Text(kind, str(pieces.get("each") or pieces["whole"]).rpartition(".")[0] + ".content", [])


def _payload(data: bytes) -> Json:
    try:
        return parse_lenient(data)
    except JsonError:
        return None


def _plain_text(made: Streamed, frames: Sequence[Frame]) -> Streamed:
    """Payloads that are text, perhaps with names of which one is the end."""
    made.keys["data"] = "text"
    names = list(dict.fromkeys(frame.event for frame in frames))
    lengths = {name: sum(len(frame.data) for frame in frames if frame.event == name) for name in names}
    kind = max(names, key=lambda name: (sum(frame.event == name for frame in frames), lengths[name]), default="")
    if len(names) > 1:
        events: dict[str, Json] = {name or "message": {"text": "@"} if name == kind else None for name in names}
        last = frames[-1].event
        if last != kind and sum(frame.event == last for frame in frames) == 1 and "end" not in made.keys:
            events[last] = {"done": "'yes'"}
        made.keys["events"] = events
    else:
        made.keys["text"] = "@"
    made.replies["text"] = "".join(frame.data.decode("utf-8", "replace") for frame in frames if frame.event == kind)
    return made


def _kinds(frames: Sequence[Frame], bodies: Sequence[Json]) -> tuple[list[_Told], str | None]:
    """The frames with their kinds, and what `by` is: "" for the names of events, None where there are no kinds."""
    if len({frame.event for frame in frames}) > 1:
        told = [_Told(frame.event or "message", body) for frame, body in zip(frames, bodies, strict=True)]
        return told, ""
    first = bodies[0] if bodies and isinstance(bodies[0], dict) else {}
    for name in TYPE:
        key = next((key for key in first if plain(key) == name), None)
        values = [body.get(key) if isinstance(body, dict) else None for body in bodies] if key is not None else []
        if key is not None and len(set(map(str, values))) > 1 and all(isinstance(value, str) for value in values):
            return [_Told(str(value), body) for value, body in zip(values, bodies, strict=True)], selector((key,))
    return [_Told("", body) for body in bodies], None


def _text(told: Sequence[_Told], prompt: str) -> _Text | None:
    """The text of the stream: what is text by its name, and varies from frame to frame."""
    found: dict[tuple[str, str], tuple[float, list[tuple[int, str]]]] = {}
    for index, each in enumerate(told):
        for path, value in leaves(each.body):
            if isinstance(value, str) and (score := likely(path, value or "a b", each.body, prompt)) > 0:
                pick = general(path, each.body)
                best, texts = found.get((each.kind, pick), (0.0, []))
                if not texts or texts[-1][0] != index:
                    said = search(pick, each.body)
                    texts = [*texts, (index, said if isinstance(said, str) else "")]
                found[each.kind, pick] = (max(best, score), texts)
    best_text, highest = None, 0.0
    for (kind, pick), (named, texts) in found.items():
        said = [text for _, text in texts if text]
        if not said or (len(said) > 2 and len(set(said)) == 1) or (named < LEAST and len(set(said)) < 2):
            continue
        score = named + 4 * min(len(set(said)), 6)
        if score > highest:
            best_text, highest = _Text(kind, pick, said), score
    if best_text is not None:
        said = [search(best_text.pick, each.body) for each in told if each.kind == best_text.kind]
        best_text.texts = [text for text in said if isinstance(text, str) and text]
        _how(best_text)
    return best_text


def _how(text: _Text) -> None:
    """Whether a frame holds all so far, or the last one does."""
    said = text.texts
    pairs = list(pairwise(said))
    if pairs and len(set(said)) > 1 and all(after.startswith(before) for before, after in pairs):
        text.cumulative = True
    elif len(said) > 2 and said[-1] == "".join(said[:-1]):
        text.whole = said.pop()


def _simple(made: Streamed, bodies: Sequence[Json], text: _Text) -> None:
    keys = made.keys
    if text.cumulative:
        keys["text_mode"] = "cumulative"
    done = None if "end" in keys else _done(made, bodies)
    if text.whole and done:
        flag = selector(done[0])
        rest = {name: sink for name, sink in _sinks(bodies, made).items() if name not in ("id", "model")}
        keys["events"] = [
            {"when": f"{flag} != `true`", "text": text.pick},
            {"when": flag, "fallback": True, "text": text.pick, **rest, "done": done[1]},
        ]
        made.comments["events"] = "the last frame repeats the whole text"
        return
    keys["text"] = text.pick
    if thought := _thoughts(bodies):
        keys["reasoning"] = thought
    keys.update(_sinks(bodies, made))
    if done:
        keys["done"] = done[1]
    elif "end" not in keys:
        made.comments["format"] = "no flag and no marker tells the end: the body's end is the end"


def _thoughts(bodies: Sequence[Json]) -> str:
    for body in bodies:
        for path, value in leaves(body):
            if isinstance(value, str) and value and path and plain(str(path[-1])) in REASONING:
                return general(path, body)
    return ""


def _sinks(bodies: Sequence[Json], made: Streamed) -> dict[str, Json]:
    """What else than text frames tell."""
    sinks: dict[str, Json] = {}
    usage: dict[str, str] = {}
    for body in bodies:
        reason = finish_of(body)
        if reason is not None:
            sinks["finish_reason"] = selector(reason[0])
        usage.update({part: selector(path) for part, path in counts_of(body).items()})
        for path, value in leaves(body):
            if len(path) <= 2 and isinstance(value, str) and value and path:
                name = plain(str(path[-1]))
                if name in ID and all(isinstance(step, str) for step in path):
                    sinks.setdefault("id", selector(path))
                if name in ANSWERED and "id" in name + "id":
                    sinks.setdefault("model", selector(path))
    if "prompt" in usage and "completion" in usage:
        usage.pop("total", None)
    order = ("prompt", "completion", "total", "cached", "reasoning")
    if usage:
        sinks["usage"] = {part: usage[part] for part in order if part in usage}
    return {name: sinks[name] for name in ("finish_reason", "usage", "id", "model") if name in sinks}


def _done(made: Streamed, bodies: Sequence[Json]) -> tuple[tuple[str | int, ...], str] | None:
    """What tells the last frame: where it stands, and the selector."""
    if not bodies:
        return None
    *before, last = bodies
    flags = [
        path
        for path, value in leaves(last)
        if value is True and path and not any(at(each, path) is True for each in before)
    ]
    for path in flags:
        if plain(str(path[-1])) in DONE:
            return path, selector(path)
    reason = finish_of(last)
    if reason is not None:
        path, word = reason
        earlier = {value for each in before if (value := at(each, path))}
        if not earlier:
            return path, selector(path)
        if len(earlier) == 1 and word not in earlier:
            unfinished = earlier.pop()
            return path, f"{selector(path)} && {selector(path)} != '{unfinished}'"
    for path, value in leaves(last):
        states = {str(at(each, path)) for each in before}
        if (
            isinstance(value, str)
            and path
            and plain(str(path[-1])) in _STATES
            and len(states) == 1
            and value not in states
        ):
            made.comments["done"] = "guessed: it differs in the last frame alone"
            return path, f"{selector(path)} == '{value}'"
    if flags and len(before) > 1:
        made.comments["done"] = "guessed: it is true in the last frame alone"
        return flags[0], selector(flags[0])
    return None


def _events(made: Streamed, told: Sequence[_Told], text: _Text, by: str) -> None:
    """Frames of several kinds: what each kind tells."""
    if by:
        made.keys["by"] = by
    if text.cumulative:
        made.keys["text_mode"] = "cumulative"
    events: dict[str, Json] = {}
    whole = text.texts[-1] if text.cumulative else "".join(text.texts)
    for kind in dict.fromkeys(each.kind for each in told):
        bodies = [each.body for each in told if each.kind == kind]
        sinks: dict[str, Json] = {"text": text.pick} if kind == text.kind else {}
        if kind == text.kind and text.whole:
            made.missing.append("how the frame that repeats the whole text is told from the others")
        if kind != text.kind and not text.cumulative and (again := _repeated(bodies, whole)):
            sinks = {"fallback": True, "text": again}
        if thought := _thoughts(bodies):
            sinks["reasoning"] = thought
        sinks.update({name: sink for name, sink in _sinks(bodies, made).items() if not _said(events, name, sink)})
        events[kind] = sinks or None
    last = told[-1].kind
    if "end" not in made.keys:
        if last != text.kind and sum(each.kind == last for each in told) == 1:
            events[last] = (events[last] or {}) | {"done": "`true`"}
        elif done := _done(made, [each.body for each in told if each.kind == last]):
            events[last]["done"] = done[1]
        else:
            made.comments["format"] = "no flag and no marker tells the end: the body's end is the end"
    made.keys["events"] = events


def _said(events: dict[str, Json], name: str, sink: Json) -> bool:
    """Whether another kind told it in the same words: an id once is enough."""
    return name in ("id", "model") and any(sinks and name in sinks for sinks in events.values())


def _repeated(bodies: Sequence[Json], whole: str) -> str:
    for path, value in leaves(bodies[-1]):
        if isinstance(value, str) and value == whole:
            return general(path, bodies[-1])
    return ""


def _special(made: Streamed, text: _Text, told: Sequence[_Told], answer: str) -> None:
    """Where the whole text is elsewhere, in the last frame, it tells whether the last piece is none of the text."""
    said = made.replies.get("text")
    if text.cumulative or len(text.texts) < 2 or not isinstance(said, str):
        return
    short = said.removesuffix(text.texts[-1])
    repeated = {value for _, value in leaves(told[-1].body) if isinstance(value, str)} | {answer}
    if said not in repeated and short in repeated and short and re.fullmatch(r"<.*>", text.texts[-1].strip()):
        made.keys["strip"] = {"tokens": [text.texts[-1]]}
        made.replies["text"] = short


def _told(made: Streamed, bodies: Sequence[Json]) -> None:
    """What the client gets beside the text."""
    words = [reason[1] for body in bodies if (reason := finish_of(body)) is not None]
    if words:
        made.replies["finish_reason"] = means(words[-1], made.finish_reasons)
        for word in words[:-1]:
            if word != words[-1] and word.lower() not in FINISH_REASONS:
                made.finish_reasons[word] = None
    usage: dict[str, int] = {}
    for body in bodies:
        for part, path in counts_of(body).items():
            if part in PARTS and (count := int(at(body, path))):  # a 0 in a later frame is no count
                usage[f"{part}_tokens"] = count
    if usage:
        if {"prompt_tokens", "completion_tokens"} <= usage.keys():
            usage.pop("total_tokens", None)
        made.replies["usage"] = usage
