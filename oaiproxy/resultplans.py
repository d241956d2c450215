"""The `response` block of an endpoint beyond chat to a plan: how its replies are read."""

from __future__ import annotations

from dataclasses import dataclass

from oaiproxy.canonical import Call
from oaiproxy.errors import BackendError
from oaiproxy.filters import kind
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick, compile_pick
from oaiproxy.plans import Replies
from oaiproxy.results import READERS, ResultError, check_transcription
from oaiproxy.sinks import Plan
from oaiproxy.source import Source
from oaiproxy.templates import Compilation

SHARED = ("data", "id", "model", "usage", "error")
"""The keys of `response` that mean the same for every endpoint."""
MAX_KEYS = 20
"""Keys of an answer that are named in the log."""


@dataclass(frozen=True, slots=True)
class _Sink:
    """What to pick, and how and where the mapping says so."""

    pick: Pick
    where: str
    place: str


@dataclass(frozen=True, slots=True)
class ResultPlan:
    """How to read the replies of one endpoint. `plan` reads what every endpoint has: errors, usage, id and model."""

    endpoint: str
    plan: Plan
    sinks: dict[str, _Sink]

    @property
    def binary(self) -> bool:
        """Whether the body itself is the answer."""
        return self.endpoint == "speech" and "audio" not in self.sinks

    def check(self, call: Call) -> None:
        """Raises ClientError for a request that asks for more than the mapping reads."""
        if self.endpoint == "transcriptions":
            check_transcription(call, frozenset(self.sinks))

    def find(self, sink: str, value: Json, envelope: Envelope) -> Json:
        """What one sink finds; None where the mapping does not give it."""
        return self.sinks[sink].pick(value, envelope) if sink in self.sinks else None

    def read(self, value: Json, envelope: Envelope, call: Call) -> Json:
        """The result in a payload. Raises BackendError when there is none that fits the request."""
        found = {name: sink.pick(value, envelope) for name, sink in self.sinks.items()}
        try:
            return READERS[self.endpoint](found, call)
        except ResultError as error:
            raise self._mismatch(error, value) from error

    def _mismatch(self, error: ResultError, value: Json) -> BackendError:
        keys = ", ".join(list(value)[:MAX_KEYS]) if isinstance(value, dict) else kind(value)
        sink = self.sinks.get(error.sink)
        told = f"{error.message} ({error.sink}: {sink.where})" if sink else error.message
        detail = f"{told} at {sink.place}; keys that came: {keys or 'none'}" if sink else told
        return BackendError(told, code="upstream_mapping_mismatch", retry=False, detail=detail)


def compile_result(endpoint: str, source: Source, replies: Replies, compilation: Compilation) -> ResultPlan:
    """The plan of a `response` block."""
    children = dict(source.items())
    shared = {key: child for key, child in children.items() if key in SHARED}
    values = {key: child.value for key, child in shared.items()}
    plan = replies.whole(Source(source.document, source.path, values, shared))
    own = {key: child for key, child in children.items() if key not in SHARED and child.value is not None}
    return ResultPlan(endpoint, plan, {key: _sink(child, compilation) for key, child in own.items()})


def _sink(source: Source, compilation: Compilation) -> _Sink:
    span, value = source.span(), source.value
    where = " or ".join(map(str, value)) if isinstance(value, list) else str(value)
    return _Sink(compile_pick(source, compilation), where, f"{span.file}:{span.line}")
