"""The blocks `response` and `stream` of a mapping to plans: how each kind of reply is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from oaiproxy.error_rules import compile_rules
from oaiproxy.failures import NO_ERRORS, ErrorSelectors
from oaiproxy.filters import text as as_text
from oaiproxy.formats import make_format
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick, compile_pick
from oaiproxy.shapes import Shapes
from oaiproxy.sinks import FinishReasons, Plan, Render, Sinks, ToolCallPicks
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, compile_leaf, has_template


def compile_errors(source: Source | None, compilation: Compilation) -> ErrorSelectors:
    """Where an error body holds its parts: an `errors` block, or an `error` sink in parts."""
    if source is None:
        return ErrorSelectors()
    picks = {key: compile_pick(source[key], compilation) for key in _ERROR_PARTS if source.get(key)}
    rules = source.get("rules")
    return ErrorSelectors(**picks, rules=compile_rules(rules, compilation) if rules else ())


_ERROR_PARTS = ("message", "type", "code", "status", "retry_after", "when")


class Replies:
    """The compiler of one mapping's plans. What is wrong goes to the compilation's findings."""

    def __init__(
        self,
        compilation: Compilation,
        finish_reasons: Source | None,
        secrets: Collection[str],
        shapes: Shapes | None = None,
        errors: ErrorSelectors = NO_ERRORS,
        owner: str = "",
    ) -> None:
        self._compilation = compilation
        self._request = Compilation(shapes or compilation.shapes, compilation.sandbox, compilation.findings)
        """Of what `strip` reads of the request: nothing of it is sent, so it does not count as read."""
        self._reasons = FinishReasons(dict(finish_reasons.value) if finish_reasons else {})
        self._secrets = secrets
        self._errors = errors
        self._owner = owner

    def whole(self, source: Source) -> Plan:
        """The plan of a `response` block."""
        sinks = self._sinks(source, None)
        return Plan(_always(sinks), streamed=False, **self._reading(source, None, [sinks]))

    def stream(self, source: Source, response: Source | None) -> Plan:
        """The plan of a `stream` block; sinks that it does not give are those of `response`."""
        given = source.value
        end = given["end"].strip().encode() if given.get("end") is not None else None
        if events := source.get("events"):
            by = source.get("by")
            default = _NAMES.get(make_format(given["format"]).yields, _event_name)
            name = compile_pick(by, self._compilation) if by else default
            choose, every = self._events(events, name)
        else:
            name = None
            self._check_done(source.get("done"))
            sinks = _catching(self._sinks(source, response))
            choose, every = _always(sinks), [sinks]
        if remember := source.get("remember"):
            choose = _remembering(
                choose, [(key, compile_pick(child, self._compilation)) for key, child in remember.items()]
            )
        has_end = end is not None or any(sinks.done for sinks in every)
        must_finish = has_end and given.get("require_done", True)
        reading = self._reading(source, response, every)
        return Plan(choose, streamed=True, name=name, end=end, must_finish=must_finish, goes_on=not has_end, **reading)

    def step(self, source: Source) -> tuple[Plan, Sinks]:
        """The plan of a reply around the main one, and its sinks: an entry of `before` or `after`, or `poll`."""
        own = {key: value for key, value in source.value.items() if key in ("text", "finish_reason", "usage", "error")}
        sinks = replace(self._sinks(Source(source.document, source.path, own), None), fallback=True, plain=False)
        plan = Plan(
            _always(sinks),
            streamed=False,
            finish_reasons=self._reasons,
            secrets=self._secrets,
            errors=self._errors,
        )
        return plan, sinks

    def _check_done(self, done: Source | None) -> None:
        """Every frame of a simple stream has the same sinks: an end that they all tell is none."""
        if done is None or done.value is None:
            return
        for entry in done if isinstance(done.value, list) else [done]:
            text = entry.value.strip() if isinstance(entry.value, str) else "`true`"
            label = "select what tells the last frame, such as `finished`, or give `done` to one of `events`"
            if literal := _LITERAL.fullmatch(text):
                label = f'a payload that ends the stream goes under `end`: `end: "{literal[1]}"`'
            if literal or _CONSTANT.fullmatch(text):
                message = f"`done: {as_text(entry.value)}` is the same in every frame"
                self._compilation.report("E303", message, entry.span(), label=label)

    def _reading(self, source: Source, base: Source | None, every: Sequence[Sinks]) -> dict[str, Any]:
        """The parts of a plan that both forms of a reply have; `every` are all the sinks in it."""
        tags = _inherited("reasoning_tags", source, base)
        return {
            **self._strip(_inherited("strip", source, base)),
            "reasoning_tags": tuple(tags.value) if tags else None,
            "continues": source.value.get("on_rewrite") == "continue",
            "many": any(sinks.choices for sinks in every),
            "owner": self._owner,
            "keeps_state": any(sinks.state for sinks in every),
            "data": source.value.get("data", "text" if _yields_text(source.value.get("format")) else "json"),
            "cumulative": source.value.get("text_mode") == "cumulative",
            "finish_reasons": self._reasons,
            "secrets": self._secrets,
            "errors": self._errors,
        }

    def _strip(self, source: Source | None) -> dict[str, Any]:
        """What is taken out of the text."""
        if source is None:
            return {}
        tokens = tuple(dict.fromkeys(source.value.get("tokens") or ()))
        return {"prefix": self._end(source.get("prefix")), "suffix": self._end(source.get("suffix")), "tokens": tokens}

    def _end(self, source: Source | None) -> Render | None:
        """A template of the request, or literal text."""
        if source is None:
            return None
        if has_template(source.value):
            return compile_leaf(source, self._request, {}).evaluate
        literal = source.value
        return lambda scope: literal

    def _events(
        self, events: Source, discriminate: Pick
    ) -> tuple[Callable[[Json, Envelope], Sequence[Sinks]], Sequence[Sinks]]:
        unlisted = (Sinks(error=_error_key, listed=False, catches=True, personal=False),)
        if isinstance(events.value, list):
            rules = []
            for child in events:
                when = compile_pick(child["when"], self._compilation)
                rules.append((when, self._sinks(child, None)))

            def matching(value: Json, envelope: Envelope) -> Sequence[Sinks]:
                return [sinks for when, sinks in rules if when(value, envelope)] or unlisted

            return matching, [sinks for _, sinks in rules]
        ignored = Sinks(error=_error_key, personal=False)
        table = {
            name: (ignored if child.value is None else self._sinks(child, None),) for name, child in events.items()
        }
        rest = tuple(map(_catching, table["*"])) if "*" in table else unlisted

        def named(value: Json, envelope: Envelope) -> Sequence[Sinks]:
            name = discriminate(value, envelope)
            if isinstance(name, bool | int):
                name = str(name).lower()  # as the keys of a YAML mapping are written
            return table.get(name, rest) if isinstance(name, str) else rest

        return named, [sinks for (sinks,) in table.values()]

    def _sinks(self, source: Source, base: Source | None) -> Sinks:
        """The sinks of a block; those it does not give are the base's."""

        def entry(key: str) -> Source | None:
            if key in source.value:
                return source.get(key)
            return base.get(key) if base else None

        def pick(key: str) -> Pick | None:
            found = entry(key)
            return compile_pick(found, self._compilation) if found else None

        usage = entry("usage")
        text = entry("text")
        call = source.get("tool_call")
        span = text.span() if text else None
        told = [key for key in _PERSONAL if entry(key)]
        return Sinks(
            text=pick("text"),
            reasoning=pick("reasoning"),
            refusal=pick("refusal"),
            tool_calls=pick("tool_calls"),
            tool_call=self._tool_call(call) if call else None,
            finish_reason=pick("finish_reason"),
            logprobs=pick("logprobs"),
            annotations=pick("annotations"),
            state=pick("state"),
            choices=pick("choices"),
            choice_index=pick("choice_index"),
            fallback=source.value.get("fallback") is True,
            plain=call is None and not source.value.get("fallback") and told == ["text"],
            personal=call is not None or bool(told),
            usage=tuple((key, compile_pick(child, self._compilation)) for key, child in usage.items()) if usage else (),
            id=pick("id"),
            model=pick("model"),
            done=compile_pick(source["done"], self._compilation) if source.value.get("done") is not None else None,
            error=self._error(source, base),
            where=f"text: {_shown(text.value)}" if text else "",
            place=f"{span.file}:{span.line}" if span else "",
        )

    def _error(self, source: Source, base: Source | None) -> Pick | ErrorSelectors | None:
        owner = source if "error" in source.value else base
        if owner is None or "error" not in owner.value:
            return _error_key
        found = owner.get("error")
        if found is None:
            return None
        return (
            compile_errors(found, self._compilation)
            if isinstance(found.value, dict)
            else compile_pick(found, self._compilation)
        )

    def _tool_call(self, source: Source) -> ToolCallPicks:
        return ToolCallPicks(**{key: compile_pick(child, self._compilation) for key, child in source.items()})


def _inherited(key: str, source: Source, base: Source | None) -> Source | None:
    """What the block gives; where it gives nothing, what its base does."""
    return source.get(key) if key in source.value or base is None else base.get(key)


def _yields_text(written: Json) -> bool:
    return written is not None and make_format(written).yields == "text"


def _shown(selector: Json) -> str:
    return " or ".join(map(str, selector)) if isinstance(selector, list) else str(selector)


def _always(sinks: Sinks) -> Callable[[Json, Envelope], Sequence[Sinks]]:
    chosen = (sinks,)
    return lambda value, envelope: chosen


def _remembering(
    choose: Callable[[Json, Envelope], Sequence[Sinks]], picks: Sequence[tuple[str, Pick]]
) -> Callable[[Json, Envelope], Sequence[Sinks]]:
    """The same choice, which also keeps what the picks find: the last that says something stands."""

    def chosen(value: Json, envelope: Envelope) -> Sequence[Sinks]:
        for name, pick in picks:
            found = pick(value, envelope)
            if found or (found == 0 and found is not False):
                envelope.seen = {**envelope.seen, name: found}
        return choose(value, envelope)

    return chosen


def _event_name(_value: Json, envelope: Envelope) -> Json:
    return envelope.event or envelope.headers.get(":event-type")


def _message_name(value: Json, envelope: Envelope) -> Json:
    """The name of a server-sent event without one is `message` (HTML, 9.2.6)."""
    return _event_name(value, envelope) or "message"


_PERSONAL = ("text", "reasoning", "refusal", "tool_calls", "finish_reason", "logprobs", "annotations", "state")
"""Sinks, beside `tool_call`, that tell something of a choice."""
_NAMES: dict[str, Pick] = {"sse": _message_name}
"""What frames are called where a mapping has no `by`, by format."""
_CONSTANT = re.compile(r"`[^`]*`|'[^']*'|\{\{-?\s*(true|false|\d+)\s*-?\}\}", re.IGNORECASE)
"""Selectors that find the same in every frame."""
_LITERAL = re.compile(r"'?(\[[A-Za-z_]\w*\])'?")
"""A literal end such as `[DONE]`, which as a selector is a list of one field."""


def _catching(sinks: Sinks) -> Sinks:
    """The sinks of frames without a name in the mapping: one that calls itself an error is one, but for `error: ~`."""
    return replace(sinks, catches=sinks.error is not None)


def _error_key(value: Json, _envelope: Envelope) -> Json:
    """The failure that most APIs tell in this way even with status 200: a top-level `error`."""
    return value.get("error") if isinstance(value, dict) else None
