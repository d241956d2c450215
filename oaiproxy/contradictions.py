"""The `response` and `stream` blocks of an endpoint to what in them reads nothing or contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

from oaiproxy.formats import MAX_DELIMITER, Format, make_format
from oaiproxy.jsontext import Json
from oaiproxy.source import Source
from oaiproxy.templates import Compilation

ANSWERS = ("text", "reasoning", "refusal", "tool_calls", "tool_call")
"""The sinks of which one must be given: without them no answer comes out."""
TELLING = frozenset(("id", "name", "arguments", "arguments_at"))
"""The keys of `tool_call` of which one must be given: the others tell nothing by themselves."""
_FIELD = re.compile(r"data:\s*([^\r\n]*)")
"""The field of a server-sent event that is its payload."""
_ADD = "say where the text stands: `text: <selector>`"


def check_replies(endpoint: Source, compilation: Compilation, *, websocket: bool = False) -> None:
    """Report what could only fail when an answer comes."""
    check = _Check(compilation, websocket)
    response, stream = endpoint.get("response"), endpoint.get("stream")
    elsewhere = any(step.get("text") for step in endpoint.value.get("after") or ())
    if response and _is_written(response):
        if not elsewhere and not _speaks([response.value]):
            check.report("`response` reads no text and no tool calls", response, _ADD, key=True)
        check.numbers(response, {})
        check.tags(response)
    if response and websocket:
        label = "give `stream` alone: it serves clients that do not stream too"
        check.report("`response` is never read: a websocket sends messages", response, label, key=True)
    if websocket and (poll := endpoint.get("poll")):
        check.report("`poll` waits for a whole answer: a websocket sends messages", poll, "leave it out", key=True)
    if stream and _is_written(stream):
        known = not elsewhere and not _is_gone(endpoint, "response")
        check.stream(stream, (response.value if response else {}) if known else {"text": "@"})


def _is_written(source: Source) -> bool:
    """Whether the block stands in the file so: what was taken out of it as wrong was reported."""
    data: Json = source.document.data
    for step in source.path:
        if not isinstance(data, dict) or step not in data:
            return False
        data = data[step]
    return bool(data == source.value)


def _is_gone(endpoint: Source, key: str) -> bool:
    """Whether a block of the endpoint was taken out as wrong, in whole or in part."""
    written: Json = endpoint.document.data
    for step in endpoint.path:
        written = written.get(step) if isinstance(written, dict) else None
    return isinstance(written, dict) and bool(written.get(key) != endpoint.value.get(key))


def _speaks(blocks: Iterable[Json]) -> bool:
    return any(isinstance(block, dict) and any(block.get(sink) is not None for sink in ANSWERS) for block in blocks)


def _kinds(events: Source) -> list[Source]:
    return list(events) if isinstance(events.value, list) else [child for _, child in events.items()]


class _Check:
    def __init__(self, compilation: Compilation, websocket: bool) -> None:
        self._compilation = compilation
        self._websocket = websocket

    def stream(self, source: Source, response: dict[str, Json]) -> None:
        """Report what is wrong in a `stream` block; sinks that it does not give are those of `response`."""
        given = source.value
        self.numbers(source, response)
        self.pieces(source)
        self.tags(source)
        if (rewrite := source.get("on_rewrite")) and given.get("text_mode") != "cumulative":
            label = "leave it out, or say `text_mode: cumulative`"
            self.report("`on_rewrite` is about cumulative text", rewrite, label, key=True)
        form = make_format(given["format"])
        self._format(source["format"])
        if events := source.get("events"):
            for kind in _kinds(events):
                self._kind(kind)
            self._events(source, events, form)
        elif not _speaks([{**{key: value for key, value in response.items() if key in ANSWERS}, **given}]):
            self.report("`stream` reads no text and no tool calls", source, _ADD, key=True)
        if given.get("end") is not None:
            self._end(source, form)
        if form.yields == "text":
            self._text(source)

    def _end(self, source: Source, form: Format) -> None:
        """Report an end that no frame can be; one of a text may begin with anything."""
        end: str = source.value["end"]
        field = _FIELD.match(end.strip())
        if not end.strip():
            label = "write the payload that ends the stream, such as `[DONE]`, or leave it out"
            self.report("`end` is blank", source["end"], label)
        elif field and form.yields == "sse" and source.value.get("data") != "text":
            label = f'write `end: "{field[1]}"`' if '"' not in field[1] else "leave `data:` out"
            self.report("`end` is compared with the payload, without `data:`", source["end"], label)

    def numbers(self, source: Source, base: dict[str, Json]) -> None:
        """Report a number for choices that are not told apart."""
        given = {**base, **(source.value or {})}
        index = source.get("choice_index")
        if index and given.get("choices") is None:
            label = "say which items tell of choices: `choices: <selector>`; `[@]` where each frame is one"
            self.report("`choice_index` has no effect without `choices`", index, label, key=True)

    def tags(self, source: Source) -> None:
        """Report reasoning that nothing would end."""
        tags = source.get("reasoning_tags")
        if tags and tags.value and tags.value[1] is None:
            self.report("nothing tells where reasoning ends", tags, "write the closing tag: `[~, </think>]`")

    def pieces(self, source: Source) -> None:
        """Report a list of pieces of which nothing is read."""
        call = source.get("tool_call")
        if call and call.get("each") and not call.value.keys() & TELLING:
            label = "say what stands in each of them: `name: <selector>`, `arguments: <selector>`"
            self.report("`each` finds pieces of tool calls, and nothing reads them", call["each"], label, key=True)

    def _kind(self, source: Source) -> None:
        if source.value is None:
            return
        self.numbers(source, {})
        self.pieces(source)
        if source.value.get("fallback") and not _speaks([source.value]):
            label = "leave it out, or give the rule a `text` or `tool_calls`"
            self.report("`fallback` is about what a rule says", source["fallback"], label, key=True)

    def _events(self, source: Source, events: Source, form: Format) -> None:
        by = source.get("by")
        if not events.value:
            self.report("`events` is empty", events, "name the kinds of events, or leave it out", key=True)
            return
        if not _speaks(kind.value for kind in _kinds(events)):
            self.report("`events` read no text and no tool calls", events, _ADD, key=True)
        if isinstance(events.value, list):
            if by:
                label = "leave it out, or write `events` as a map by kind"
                self.report("`by` has no effect beside a list of events", by, label, key=True)
        elif not by and not form.named:
            message = f"the events of `{form.yields}` have no names to tell them apart"
            self.report(message, events, "say with `by` what tells their kinds: `by: type`", key=True)

    def _format(self, source: Source) -> None:
        stages = list(source) if isinstance(source.value, list) else [source]
        messages = stages[0].value == "messages"
        if self._websocket and not messages:
            label = "write `messages`, or what reads them: `[messages, sse]`"
            self.report("a websocket sends messages", source, label)
        elif messages and not self._websocket:
            self.report("only a websocket sends messages", stages[0], "add `transport: websocket` to `backend`")
        for stage in stages:
            settings = stage.value if isinstance(stage.value, dict) else {}
            if len(settings.get("delimited", "").encode()) > MAX_DELIMITER:
                label = "write the few characters that stand between two frames"
                self.report(f"a delimiter has at most {MAX_DELIMITER} bytes", stage["delimited"], label)
            if stage.value == "messages" and stage is not stages[0]:
                self.report("`messages` are never in the frames of another format", stage, "put it first")
            if stage is stages[0] and "base64" in settings:
                label = "say what yields the frames, in a list before it: `[sse, {base64: ...}]`"
                self.report("`base64` is in the frames of another format", stage, label)

    def _text(self, source: Source) -> None:
        """Text comes in pieces that the network cuts: nothing can be looked for in one of them."""
        if source.value.get("data") == "json":
            self.report("`format: text` is not cut into JSON", source["data"], "leave `data` out")
        events = source.get("events")
        for block in (source, *(_kinds(events) if events else ())):
            if done := block.get("done"):
                label = "leave it out: the stream ends with the body"
                self.report("`done` cannot be told from a piece of text", done, label, key=True)

    def report(self, message: str, source: Source, label: str, *, key: bool = False) -> None:
        """Add a finding."""
        self._compilation.report("E105", message, source.span(key=key), label=label)
