"""Selectors of a mapping to functions that pick a value from a frame: JMESPath, Jinja, alternatives, constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from jinja2 import nodes

from oaiproxy.diagnostics import Severity
from oaiproxy.framing import Frame
from oaiproxy.jsontext import Json
from oaiproxy.sandbox import ABSENT, Absent, RenderError, Scope
from oaiproxy.selectors import SelectorError, compile_selector
from oaiproxy.shapes import Shapes
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, compile_expression, compile_leaf, has_template

FRAME_SHAPES: Shapes = {"body": None, "status": "number", "headers": None, "event": "text", "created": None, "*": None}
"""The names that a Jinja selector sees; any other one is a top-level key of the body."""


_NOTHING: Mapping[str, Json] = {}
FAILURE_NAMES = ("status", "headers", "body", "event")
"""The names that a condition on a failure sees; any other one is a top-level key of the body."""


class Envelope:
    """What a selector can know beside the payload: the frame around it and the reply it came in. One per reply."""

    __slots__ = ("_headers", "created", "frame", "now", "seen", "status")

    def __init__(
        self, status: int = 200, headers: Mapping[str, str] | None = None, created: Json = None, now: float = 0.0
    ) -> None:
        self.status = status
        self.now = now
        self._headers = headers or {}
        self.created = created
        self.seen: Mapping[str, Json] = _NOTHING
        """What the mapping remembers of the stream, by name."""
        self.frame = Frame(b"")

    def with_status(self, status: int) -> Envelope:
        """The same around the same frame, but for the status."""
        made = Envelope(status, self._headers, self.created, self.now)
        made.frame = self.frame
        return made

    @property
    def event(self) -> str:
        """The name of a server-sent event."""
        return self.frame.event

    @property
    def id(self) -> str:
        """The id of a server-sent event."""
        return self.frame.id

    @property
    def fields(self) -> Mapping[str, str]:
        """Other fields of a server-sent event."""
        return self.frame.fields

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the frame, where its framing has them; else those of the reply."""
        return self.frame.headers or self._headers

    @property
    def raw(self) -> bytes:
        """The payload as it came."""
        return self.frame.data


Pick: TypeAlias = Callable[[Json, Envelope], Json]
"""A frame's payload and envelope to a value; None where the frame says nothing."""


def compile_pick(source: Source, compilation: Compilation) -> Pick:
    """Compile a selector entry; what is wrong in it goes to the compilation's findings."""
    pick = _pick(source, compilation)
    return pick if compilation.trace is None else compilation.trace.pick(pick, source)


def _pick(source: Source, compilation: Compilation) -> Pick:
    match source.value:
        case str() if has_template(source.value):
            return _jinja(source, compilation)
        case str():
            return _jmespath(source, compilation)
        case list():
            return _first([compile_pick(child, compilation) for child in source])
    constant = source.value
    return lambda value, envelope: constant


def _jmespath(source: Source, compilation: Compilation) -> Pick:
    try:
        selector = compile_selector(source.value)
    except SelectorError as error:
        code = "E302" if "function" in error.message or "argument" in error.message else "E301"
        span = source.inner(error.offset, error.length)
        compilation.report(
            code, f"selector: {error.message}", span, label=error.help or "a selector is a path such as `a.b[0].c`"
        )
        return lambda value, envelope: None
    for warning in selector.warnings:
        span = source.inner(warning.offset, warning.length)
        compilation.report("W301", warning.message, span, label=warning.help, severity=Severity.WARNING)
    return selector


def _jinja(source: Source, compilation: Compilation) -> Pick:
    frames = Compilation(FRAME_SHAPES, compilation.sandbox, compilation.findings)
    evaluate = compile_leaf(source, frames, {}).evaluate

    def pick(value: Json, envelope: Envelope) -> Json:
        try:
            found = evaluate(Scope(_FrameNames(value, envelope)))
        except RenderError:
            return None
        return None if isinstance(found, Absent) else found

    return pick


def compile_condition(source: Source, compilation: Compilation) -> Pick:
    """Compile a bare Jinja expression over a failed reply; one that cannot be evaluated does not hold."""
    strict = Compilation(dict.fromkeys(FAILURE_NAMES), compilation.sandbox)
    compile_expression(source, strict, {})
    meant = {f"did you mean `{name}`?" for name in FAILURE_NAMES}
    likely = [found for found in strict.findings if found.code == "E203" and found.label in meant]
    shapes = {name: shape for name, shape in FRAME_SHAPES.items() if name in (*FAILURE_NAMES, "*")}
    frames = Compilation(shapes, compilation.sandbox)
    evaluate = compile_expression(source, frames, {})
    if not frames.findings:
        _check_condition(source, frames)
    compilation.findings += frames.findings
    compilation.findings += [replace(found, help=_KEY_OF_BODY) for found in likely]

    def holds(value: Json, envelope: Envelope) -> bool:
        try:
            found = evaluate(Scope(_FrameNames(value, envelope)))
        except RenderError:
            return False
        return bool(found) and not isinstance(found, Absent)

    return holds


_KEY_OF_BODY = "if it is a key of the body, write `body.` before it"


def _check_condition(source: Source, compilation: Compilation) -> None:
    """Report what is the same for every failure, be it the whole or an operand; a plain `true` is surely meant."""
    output = next(compilation.sandbox.tree("{{ " + source.value + " }}").find_all(nodes.Output))
    waiting = [] if source.value.strip() in ("true", "false") else list(output.nodes)
    while waiting:
        match waiting.pop():
            case nodes.Or(left=left, right=right):
                waiting += [right, left]
            case nodes.And(left=left, right=right):  # a name that always holds does no harm here
                waiting += [each for each in (right, left) if not isinstance(each, nodes.Name)]
            case nodes.Not(node=operand):
                waiting.append(operand)
            case nodes.Const(value=found) | nodes.Name(name="status" as found):
                message = f"`{found}` alone is no condition: it is the same for every failure"
                status = found if found in range(100, 600) else 404
                compilation.report("E303", message, source.span(), label=f"compare it, as in `status == {status}`")


class _FrameNames:
    """A frame as the names of a Jinja selector."""

    __slots__ = ("_envelope", "_value")

    def __init__(self, value: Json, envelope: Envelope) -> None:
        self._value = value
        self._envelope = envelope

    def lookup(self, name: str) -> Json:
        match name:
            case "body":
                return self._value
            case "status" | "headers" | "event" | "created":
                return getattr(self._envelope, name)
        return self._value.get(name, ABSENT) if isinstance(self._value, dict) else ABSENT


def _first(picks: list[Pick]) -> Pick:
    """The first that says something; what is empty stands where nothing does."""

    def pick(value: Json, envelope: Envelope) -> Json:
        empty = None
        for alternative in picks:
            found = alternative(value, envelope)
            if found or (found == 0 and found is not False):
                return found
            if empty is None:
                empty = found
        return empty

    return pick
