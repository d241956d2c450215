"""The blocks `before`, `poll`, `after` and `cancel` of an endpoint to its flow: the calls around the main one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oaiproxy.canonical import SHAPES
from oaiproxy.durations import compile_seconds
from oaiproxy.filters import text as as_text
from oaiproxy.picks import FRAME_SHAPES, Pick, compile_pick
from oaiproxy.plans import Replies
from oaiproxy.requests import Following, RequestTemplate, compile_request, merge_requests
from oaiproxy.shapes import Shape, explained, joined
from oaiproxy.sinks import Plan, Sinks
from oaiproxy.source import Source
from oaiproxy.templates import Compilation

CREATED = "created"
"""The name of the main call's reply, where `poll` waits for what it began."""
POLLED = "polled"
"""The name of the last reply of `poll`."""
SEEN = "seen"
"""The name of what `stream.remember` took from the stream."""
RESERVED = frozenset(SHAPES) | FRAME_SHAPES.keys() | {CREATED, POLLED, SEEN, "range", "namespace", "loop", "self"}
"""Names that no call can have beside those of its endpoint: templates would see something else under them."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call around the main one, whose reply becomes a name. `timeout` is in seconds."""

    name: str
    request: RequestTemplate
    plan: Plan
    """How the reply is read: before the main call for an error in it alone, after it for what completes the answer."""
    sinks: Sinks
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Poll:
    """How to wait for what the main call began. Without a `request` the main one is repeated. All in seconds."""

    request: RequestTemplate | None
    result: RequestTemplate | None
    plan: Plan
    status: Pick
    done: frozenset[str]
    failed: frozenset[str]
    first: float
    factor: float
    most: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """What is sent when nobody waits for the answer any more. `needs` are the paths of the replies that it reads."""

    request: RequestTemplate
    needs: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """The calls around the main one."""

    before: tuple[Step, ...] = ()
    poll: Poll | None = None
    after: tuple[Step, ...] = ()
    cancel: Cancel | None = None


class Flows:
    """The compiler of one endpoint's flow. What is wrong goes to the compilation's findings."""

    def __init__(
        self, source: Source, shared: Source, compilation: Compilation, replies: Replies, following: Following
    ) -> None:
        self._source = source
        self._shared = shared
        self._compilation = compilation
        self._replies = replies
        self._following = following
        self._names: dict[str, Source] = {}
        for key in ("before", "after"):
            for step in source.get(key) or ():
                self._check_name(step["name"])

    @property
    def before(self) -> frozenset[str]:
        """The names that the main call can read."""
        return frozenset(step.value["name"] for step in self._source.get("before") or ())

    def following(self, names: Iterable[str]) -> Following:
        """What a request that can read these names can follow."""
        return Following(frozenset(names), self._following.base, self._following.allow_hosts)

    def compilation(self, names: Iterable[str]) -> Compilation:
        """The compilation of templates that can read these names beside those of the request."""
        given = self._compilation
        more: dict[str, Shape] = dict.fromkeys(names)
        if SEEN in more and SEEN not in given.shapes:
            more[SEEN] = dict.fromkeys(self._remembered())
        shapes = explained(joined(given.shapes, more), self._elsewhere, CREATED if CREATED in more else "")
        return Compilation(shapes, given.sandbox, given.findings, given.reads, given.trace)

    @property
    def _elsewhere(self) -> dict[str, str]:
        """What to say of the names of calls where they cannot be read."""
        poll, seen = self._source.get("poll"), self._remembered()
        later = dict.fromkeys([*self._names, *([CREATED, POLLED] if poll else []), *([SEEN] if seen else [])])
        none = {CREATED: "there is no `poll`", POLLED: "there is no `poll`", SEEN: "there is no `stream.remember`"}
        return {**none, **{name: f"`{name}` is not there yet: its call comes later" for name in later}}

    def flow(self) -> Flow | None:
        """The flow; None for an endpoint of one call."""
        source = self._source
        if not any(source.get(key) for key in ("before", "poll", "after", "cancel")):
            return None
        before = []
        names: list[str] = []
        for child in source.get("before") or ():
            before.append(self._step(child, names, "POST"))
            names.append(child.value["name"])
        poll = self._poll(source["poll"], names) if source.get("poll") else None
        names += [CREATED, POLLED] if poll or source.written("poll") else []  # a refused one is a finding already
        names += [SEEN] if self._remembered() else []
        cancel = self._cancel(source["cancel"], names) if source.get("cancel") else None
        after = []
        for child in source.get("after") or ():
            after.append(self._step(child, names, "GET"))
            names.append(child.value["name"])
        return Flow(tuple(before), poll, tuple(after), cancel)

    def _step(self, source: Source, names: Iterable[str], method: str) -> Step:
        timeout = source.get("timeout")
        request = self._request(source["request"], names, method)
        wait = compile_seconds(timeout, self._compilation, 0.0) if timeout else None
        return Step(source.value["name"], request, *self._replies.step(source), wait)

    def _poll(self, source: Source, names: list[str]) -> Poll:
        given = source.value
        request, result = source.get("request"), source.get("result")
        every = source.get("every")
        first, factor, most = 0.5, 1.5, 5.0
        if every:
            first = compile_seconds(every.get("first"), self._compilation, first)
            most = compile_seconds(every.get("max"), self._compilation, most)
            factor = float(every.value.get("factor", factor))
        done, failed = (frozenset(map(as_text, given.get(key) or ())) for key in ("done", "failed"))
        if both := sorted(done & failed):
            message = f"`{both[0]}` is `done` and `failed` at once"
            self._compilation.report("E105", message, source["failed"].span(), label="keep one of the two")
        return Poll(
            request=self._request(request, [*names, CREATED, POLLED], "GET") if request else None,
            result=self._request(result["request"], [*names, CREATED, POLLED], "GET") if result else None,
            plan=self._replies.step(source)[0],
            status=compile_pick(source["status"], self._compilation),
            done=done,
            failed=failed,
            first=first,
            factor=factor,
            most=max(first, most),
            timeout=compile_seconds(source.get("timeout"), self._compilation, 300.0),
        )

    def _cancel(self, source: Source, names: list[str]) -> Cancel:
        own = self.compilation(names)
        own.reads = set()
        request = compile_request(self._merged(source["request"]), own, self.following(names))
        self._compilation.reads |= own.reads
        paths = {tuple(step for step in path.split("=")[0].removesuffix(".*").split(".")) for path in own.reads}
        needs = [path for path in paths if path[0] in names and not any("[]" in step for step in path)]
        return Cancel(request, tuple(sorted(needs)))

    def _request(self, source: Source, names: Iterable[str], method: str) -> RequestTemplate:
        names = list(names)
        return compile_request(self._merged(source), self.compilation(names), self.following(names), method)

    def _merged(self, source: Source) -> Source:
        return merge_requests(self._shared, source)

    def _remembered(self) -> tuple[str, ...]:
        stream = self._source.get("stream")
        remember = stream.get("remember") if stream else None
        return tuple(remember.value) if remember else ()

    def _check_name(self, source: Source) -> None:
        name = source.value
        if name in RESERVED or name in self._compilation.shapes:
            message = f"`{name}` cannot name a call: templates see something else under it"
            self._compilation.report("E105", message, source.span(), label=f"call it otherwise: `{name}_reply`")
        elif name in self._names:
            message = f"two calls are named `{name}`"
            self._compilation.report("E105", message, source.span(), label="give each a name of its own")
        self._names[name] = source
