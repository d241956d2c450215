"""One client's request through a mapping, explained: `{sends, frames, events, replies, diagnostics}`, as data.

The shape is `schemas/explain.schema.json`, and docs/commands.md tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from oaiproxy import jsontext
from oaiproxy.canonical import Call
from oaiproxy.endpoints import messages
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.entrances import OTHERS, PATHS, RESPONSES, Entrance, enter, entrance_of, refused, served_as
from oaiproxy.errors import ApiError
from oaiproxy.exchange import BackendRequest, Exchange
from oaiproxy.explained_drops import drops
from oaiproxy.explained_replies import frames_and_events, reply
from oaiproxy.explained_sends import Sends, Subject
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.mapping import ENDPOINTS, Mapping
from oaiproxy.outcomes import Outcome, from_error
from oaiproxy.probebodies import least
from oaiproxy.probes import IDENTITY
from oaiproxy.rehearsal import rehearse, requests_of, sample_replies
from oaiproxy.steps import Answer
from oaiproxy.tracing import Answers, Record, traced
from oaiproxy.variants import PLAIN

_ORDER = ("before", "main", "poll", "result", "after", "cancel")
MAX_PARTS = 2048
"""Requests that one reply can be the answer to."""


class UnclearError(ValueError):
    """What is to be explained cannot be told from what was given; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to explain: a client's request, and the backend's answers to the calls that it makes, in order."""

    endpoint: str
    body: Json
    headers: Dict[str, str] = field(default_factory=dict)
    """The client's, by lower-case names."""
    answers: Sequence[Answer] = field(default=(), repr=False)
    again: bool = False
    """Whether the last answer is also that to further calls."""


def explain(subject: Subject, record: Record, question: Question) -> dict[str, Json]:
    """The explanation. A request that is refused is explained as well: nothing is sent, and `diagnostics` tells why."""
    mapping = subject.mapping
    body = question.body
    request = {"endpoint": question.endpoint, "path": PATHS[question.endpoint], "body": subject.discretion.data(body)}
    made: dict[str, Json] = {"request": request, "sends": [], "frames": [], "events": [], "replies": []}
    made["diagnostics"] = []
    entrance = None
    try:
        named = {"model": next(iter(mapping.models), "model"), **body} if isinstance(body, dict) else body
        entrance = enter(question.endpoint, named)
        call = entrance.call
        shown = entrance.encoder(call, IDENTITY)
        encoder = DOORS[call.endpoint].encoder(call, IDENTITY) if question.endpoint in OTHERS else None
        seen = {name: value for name, value in question.headers.items() if name in mapping.client_headers}
        exchange = traced(mapping, call, encoder or shown, IDENTITY, seen, record, shown if encoder else None)
        requests, outcome = _run(exchange, question, record)
    except ApiError as error:
        _rename(error, entrance)
        made["diagnostics"].append(_refusal(subject, error))
        tell = entrance.error if entrance else partial(refused, question.endpoint)
        body = tell(error, IDENTITY.request_id)
        made["replies"].append(reply(subject, b"", "application/json", from_error(error), body))
        return made
    record.settle()
    by_request = {id(sent.request): place for place, sent in enumerate(record.sends)}
    if not question.answers:
        requests = [sent.request for sent in record.sends]
    sends = Sends(subject, entrance, body, question.headers)
    told = [sends.of(record.sends[by_request[id(request)]]) for request in requests]
    if not question.answers:
        told.sort(key=lambda each: _ORDER.index(each["call"]))
    first = next((each for each in told if each["call"] == "main"), None)
    for each in told:
        each["dropped"] = list(drops(subject, entrance, exchange)) if each is first else []
    made["sends"] = told
    if outcome is not None:
        answers = [*question.answers] + [question.answers[-1]] * (len(requests) - len(question.answers))
        answers = answers[: len(requests)]
        made["frames"], made["events"] = frames_and_events(subject, record, answers, outcome)
        made["replies"].append(_reply(subject, entrance, shown, b"".join(record.output), outcome))
        made["diagnostics"] += _uncounted(call, shown, made["events"], outcome)
        made["diagnostics"] += _troubles(subject, outcome, len(requests), question, made["frames"])
    return made


def _run(exchange: Exchange, question: Question, record: Record) -> tuple[list[BackendRequest], Outcome | None]:
    """The requests in the order of sending, and what comes out, if answers are given. Raises ApiError."""
    if not question.answers:
        call = exchange.call
        return requests_of(exchange, sample_replies(exchange.mapping, call.endpoint, exchange.backend_streams)), None
    answers = list(question.answers)
    if question.again and exchange.flow is None:
        answers += [answers[-1]] * MAX_PARTS
    rehearsal = rehearse(exchange, Answers(answers, record))
    if not rehearsal.requests and rehearsal.outcome.error is not None:
        raise _error_of(rehearsal.outcome, rehearsal.outcome.error)
    return rehearsal.requests, rehearsal.outcome


def _error_of(outcome: Outcome, error: dict[str, Json]) -> ApiError:
    """The error that an outcome tells of."""
    return ApiError(
        error["message"], status=outcome.status, type=error["type"], code=error["code"], param=error["param"]
    )


def _rename(error: ApiError, entrance: Entrance | None) -> None:
    """Let an error name the client's own field."""
    if entrance is not None and error.param is not None and (param := entrance.param(error.param)) != error.param:
        error.message = error.message.replace(f"'{error.param}'", f"'{param}'")
        error.param = param


def _reply(subject: Subject, entrance: Entrance, encoder: Encoder, data: bytes, outcome: Outcome) -> dict[str, Json]:
    """What the client gets, of a failure too: what ends the stream that began, or the body."""
    if outcome.error is None:
        return reply(subject, data, encoder.content_type, outcome)
    error = _error_of(outcome, outcome.error)
    _rename(error, entrance)
    body = entrance.error(error, IDENTITY.request_id)
    return reply(subject, data and data + encoder.fail(error), encoder.content_type, outcome, body)


def _refusal(subject: Subject, error: ApiError) -> dict[str, Json]:
    message = f"the request is refused with {error.status}: {error.message}"
    return finding(error.code or error.type, "error", subject.value(message), label=error.param or "")


def _troubles(
    subject: Subject, outcome: Outcome, sent: int, question: Question, frames: Sequence[dict[str, Json]]
) -> list[dict[str, Json]]:
    """Why the answer is a failure, if it is one."""
    if outcome.error is None:
        return []
    if sent > len(question.answers) and not question.again:
        message = f"there is no reply to call {sent}, and {len(question.answers)} are given"
        help_ = "give `--reply` once for each call, in their order"
        return [finding("no_reply", "error", message, help=help_)]
    where = f" at frame {frames[-1]['number']} of call {frames[-1]['call'] + 1}" if frames else ""
    message = f"the client gets an error{where}: {outcome.status}, {outcome.error['message']}"
    return [finding(outcome.error["code"] or outcome.error["type"], "error", subject.value(message))]


def _uncounted(
    call: Call, encoder: Encoder, events: Sequence[dict[str, Json]], outcome: Outcome
) -> list[dict[str, Json]]:
    """That the backend told no counts of tokens, which the answer has."""
    if outcome.error is not None or not encoder.wants_usage:
        return []
    counted = {key for each in events if each["type"] == "usage" for key in each["values"]}
    missing = [key for key in ("prompt", "completion")[: 1 if call.endpoint in INPUTS else 2] if key not in counted]
    if not missing or "total" in counted:
        return []
    what = " and no ".join(f"`{key}_tokens`" for key in missing)
    message = f"the reply tells no {what}: the proxy counts where it serves, and `explain` does not"
    return [finding("uncounted", "note", message)]


def finding(code: str, severity: str, message: str, *, label: str = "", help: str = "") -> dict[str, Json]:  # noqa: A002 - the finding's word
    """A finding that is at no place in the mapping, in the shape of `check --format json`."""
    nowhere = dict.fromkeys(("file", "line", "column", "end_line", "end_column"))
    return {"code": code, "severity": severity, "message": message, **nowhere, "label": label, "help": help}


def minimal(endpoint: str) -> dict[str, Json]:
    """The least request for an endpoint."""
    if endpoint == "completions":
        return {"prompt": "Hello"}
    if endpoint == RESPONSES:
        return {"input": "Hello"}
    if endpoint == messages.ENDPOINT:
        return {"max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    return least(endpoint, "Hello") if endpoint in INPUTS else {"messages": [{"role": "user", "content": "Hello"}]}


def endpoint_of(mapping: Mapping, body: Json) -> str:
    """The endpoint that a request is for. Raises UnclearError where its fields fit several, or none."""
    given = body if isinstance(body, dict) else {}
    served = [name for name in ENDPOINTS if mapping.endpoint(name) is not None]
    other = entrance_of(given)
    if other is not None and served_as(other) in served:
        return other
    fits = [name for name in served if _MARKS[name] <= given.keys()] if given else served
    if "completions" in fits and not given:
        fits = [name for name in fits if name == "chat"] or fits
    best = max((len(_MARKS[name]) for name in fits), default=0)
    fits = [name for name in fits if len(_MARKS[name]) == best]
    if len(fits) == 1:
        return fits[0]
    if not fits and "input" in given and served_as(RESPONSES) in served:
        return RESPONSES
    which = "could be for " + ", ".join(fits or served) if fits else "fits no endpoint of the mapping"
    raise UnclearError(f"the request {which}; say which with `--endpoint`")


_MARKS: Dict[str, frozenset[str]] = {
    "chat": frozenset(("messages",)),
    "completions": frozenset(("prompt",)),
    "embeddings": frozenset(("input",)),
    "rerank": frozenset(("query", "documents")),
    "moderations": frozenset(("input",)),
    "images": frozenset(("prompt",)),
    "speech": frozenset(("input", "voice")),
    "transcriptions": frozenset(("file",)),
}
"""The fields that tell requests apart."""


def answer_for(mapping: Mapping, call: Call, body: bytes, status: int, headers: Dict[str, str]) -> Answer:
    """A recorded body as the answer to a call. What was asked for, and its look, tell its content type."""
    made = dict(headers)
    endpoint = mapping.endpoint(call.endpoint)
    if "content-type" not in made and endpoint is not None:
        streams = endpoint.operation(call.stream, mapping.variants.get(call.model, PLAIN).stream)[1]
        framing = endpoint.stream.framing if endpoint.stream is not None and streams else None
        whole = is_document(body)
        if framing is not None and status < 300 and (not whole or framing.json):
            made["content-type"] = framing.content_type
        else:
            made["content-type"] = "application/json" if whole else "text/plain; charset=utf-8"
    return Answer(status, made, body)


def is_document(body: bytes) -> bool:
    """Whether a body is one JSON value."""
    try:
        jsontext.parse_lenient(body)
    except (jsontext.JsonError, RecursionError):
        return False
    return True


def looks_streamed(mapping: Mapping, endpoint: str, body: bytes) -> bool:
    """Whether a body can only be a stream: it is no document, nor a page, and the endpoint can stream."""
    described = mapping.endpoint(endpoint)
    streams = described is not None and described.stream is not None
    return streams and bool(body.strip()) and not body.lstrip().startswith(b"<") and not is_document(body)


def with_stream(body: Json, stream: bool) -> Json:
    """The request, for a stream or not."""
    return {**body, "stream": stream} if isinstance(body, dict) else body
