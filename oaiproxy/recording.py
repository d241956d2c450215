"""What was sent to a backend and what came back, to an example of the mapping, without secrets."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from collections.abc import Mapping as Dict
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from oaiproxy import jsontext
from oaiproxy.canonical import Call
from oaiproxy.decoding import decoder
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError, OaiproxyError
from oaiproxy.example_answers import answer_of, parse_example, rounds
from oaiproxy.examples import told_request
from oaiproxy.exchange import Exchange
from oaiproxy.formats import Format
from oaiproxy.framing import Frame
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Example, Mapping
from oaiproxy.outcomes import Outcome, from_error
from oaiproxy.probes import IDENTITY
from oaiproxy.redaction import HIDDEN, holds_secret, redacted, redacted_headers, redacted_json
from oaiproxy.rehearsal import Rehearsal, rehearse
from oaiproxy.reply import MAX_FRAME, MAX_REPLY
from oaiproxy.source import Source
from oaiproxy.steps import Answer

MAX_INLINE = 16 * 1024
"""Bytes of an answer that stand in the mapping itself; a longer one gets a file."""
MAX_TOLD = 4096
"""Characters of a part of `replies`; what is longer is left out of an example."""
_FINISHED = ("stop", "length", "tool_calls", "content_filter")
_SUFFIXES = {"text/event-stream": "sse", "application/x-ndjson": "ndjson", "application/vnd.amazon.eventstream": "bin"}


class SecretError(OaiproxyError):
    """A secret that cannot be taken out of what would be written."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An example as data, and the files beside the mapping that it names."""

    example: dict[str, Json] = field(repr=False)
    files: Dict[str, bytes] = field(repr=False)
    outcome: Outcome = field(repr=False)


def rehearsed(mapping: Mapping, example: Example, call: Call, answers: Sequence[Answer]) -> Rehearsal:
    """What a mapping makes of an example's request and of these answers."""
    try:
        encoder = DOORS[example.endpoint].encoder(call, IDENTITY)
        return rehearse(Exchange(mapping, call, encoder, IDENTITY, example.headers), answers)
    except ApiError as error:
        return Rehearsal(from_error(error))


def make_example(
    mapping: Mapping,
    endpoint: str,
    request: dict[str, Json],
    answers: Sequence[Answer],
    name: str,
    stem: str,
    *,
    secrets: Collection[str] = (),
    headers: Dict[str, str] | None = None,
) -> Recording:
    """The example of a round that took place. `stem` begins the names of files, `secrets` are more than the mapping's,
    `headers` the client's, by lower-case names.

    Raises SecretError, ClientError."""
    return _Making(mapping, endpoint, request, name, stem, {*mapping.secrets, *secrets}, headers or {}).make(answers)


def told_outcome(outcome: Outcome) -> dict[str, Json]:
    """An outcome as `replies` tells it: what came, and is not too long to be told."""
    made = asdict(outcome)
    if outcome.error is not None:
        error = {key: value for key, value in outcome.error.items() if key in ("code", "message") and value}
        return {"status": outcome.status, "error": error}
    made.pop("id"), made.pop("model"), made.pop("status"), made.pop("error")
    if outcome.choices:
        for key in made["choices"][0]:
            made.pop(key, None)
        made["choices"] = [{key: item for key, item in each.items() if item} for each in made["choices"]]
    made["usage"] = _counts(outcome.usage or {})
    if made.get("finish_reason") not in _FINISHED:
        made.pop("finish_reason", None)
    return {key: value for key, value in made.items() if value not in (None, [], {}) and _is_short(value)}


def told_requests(mapping: Mapping, played: Rehearsal, secrets: Collection[str]) -> dict[str, Json]:
    """The requests as `sends` or, where a secret must be left out, as `sends_like` tells them."""
    listed = [_told(told_request(mapping, request)) for request in played.requests]
    bare = [_bare(each, secrets) for each in listed]
    if not listed:
        return {}
    made: Json = bare if len(bare) > 1 else bare[0]
    return {"sends" if bare == listed else "sends_like": made}


class _Making:
    def __init__(
        self,
        mapping: Mapping,
        endpoint: str,
        request: dict[str, Json],
        name: str,
        stem: str,
        secrets: Collection[str],
        headers: Dict[str, str],
    ) -> None:
        self._mapping = mapping
        self._stem = stem
        self._files: dict[str, bytes] = {}
        # An address of the backend that comes from the environment is in the answers that lead on to it.
        described = mapping.endpoint(endpoint)
        follows = described is not None and described.flow is not None
        self._secrets = [each for each in secrets if not (follows and each == mapping.backend.url)]
        self._example = Example(name, endpoint, request, None, None, {}, {}, cast("Source", None))
        kept = {
            name: value for name, value in redacted_headers(headers, secrets).items() if name in mapping.client_headers
        }
        self._example = replace(self._example, headers=kept)

    def make(self, answers: Sequence[Answer]) -> Recording:
        mapping, example = self._mapping, self._example
        call = parse_example(mapping, example)
        plain = [self._plain(answer) for answer in answers]
        first = rehearsed(mapping, example, call, plain)
        given = []
        for index, answer in enumerate(plain):
            main = first.main is None or index >= first.main
            given.append(self._written(answer, main, call, len(plain) > 1))
        played = first
        for index in range(len(given)):
            played = self._lighten(given, index, call, first)
        made: dict[str, Json] = {"name": example.name}
        if example.endpoint != "chat":
            made["endpoint"] = example.endpoint
        made["request"] = example.request
        if example.headers:
            made["headers"] = dict(example.headers)
        made |= told_requests(mapping, played, self._secrets)
        made["backend"] = given if len(given) > 1 else given[0]
        if replies := told_outcome(played.outcome):
            made["replies"] = replies
        told = jsontext.dump(made).decode() + str(asdict(played.outcome))
        if holds_secret(told, self._secrets):
            raise SecretError("a secret of the mapping is spread over what would be written")
        return Recording(made, self._files, played.outcome)

    def _plain(self, answer: Answer) -> Answer:
        """An answer without secrets, and without a coding of its body."""
        reader = decoder(answer.headers.get("content-encoding", ""), MAX_REPLY)
        body = reader.feed(answer.body) + reader.close()
        headers = redacted_headers(answer.headers, self._secrets)
        if not is_text(body):
            return Answer(
                answer.status, headers, body
            )  # lengths and checksums stand in it: frames are made clean later
        text = body.decode()
        try:
            value = jsontext.parse(body)
        except jsontext.JsonError:
            return Answer(answer.status, headers, redacted(text, self._secrets).encode())
        clean = redacted_json(value, self._secrets)
        return Answer(answer.status, headers, body if clean == value else jsontext.dump(clean))

    def _written(self, answer: Answer, main: bool, call: Call, several: bool) -> dict[str, Json]:
        """The answer as an example has it, with all its headers."""
        made: dict[str, Json] = {} if answer.status == 200 else {"status": answer.status}
        made["headers"] = dict(answer.headers)
        framing = self._framing(answer, call) if main else None
        body = answer.body
        if framing is not None and framing.content_type != "text/plain; charset=utf-8" and not is_text(body):
            frames = _frames(framing, body, self._secrets)
            if frames is not None:
                return made | {"stream": frames}
        text = body.decode() if is_text(body) else None
        value = None if framing is not None or text is None else _json(text)
        if text is None or len(body) > MAX_INLINE:
            if holds_secret(body.decode("utf-8", "replace"), self._secrets):
                raise SecretError("a secret of the mapping is in an answer that is not text")
            suffix = _SUFFIXES.get(framing.content_type, "txt") if framing else "txt" if text is not None else "bin"
            suffix = "json" if value is not None else suffix
            slug = re.sub(r"[^a-z0-9]+", "-", self._example.name.lower()).strip("-")[:60] or "example"
            number = f".{len(self._files) + 1}" if several else ""
            file = f"{self._stem}.{slug}{number}.{suffix}"
            self._files[file] = body
            return made | {"file": file}
        if value is not None:
            return made | {"json": value}
        if not text:
            return made
        return made | {"stream" if framing is not None else "text": text}

    def _framing(self, answer: Answer, call: Call) -> Format | None:
        """How the answer is cut into frames; None for a whole one."""
        mapping = self._mapping
        endpoint = mapping.endpoint(self._example.endpoint)
        if endpoint is None or endpoint.stream is None or not 200 <= answer.status < 300:
            return None
        encoder = DOORS[self._example.endpoint].encoder(call, IDENTITY)
        if not Exchange(mapping, call, encoder, IDENTITY).backend_streams:
            return None
        framing = endpoint.stream.framing
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        return None if framing is not None and framing.telling and kind == "application/json" else framing

    def _lighten(self, given: list[dict[str, Json]], index: int, call: Call, first: Rehearsal) -> Rehearsal:
        """Take out the headers of an answer that change nothing."""
        headers = given[index].pop("headers")

        def play(kept: dict[str, str]) -> Rehearsal:
            given[index].pop("headers", None)
            if kept:
                given[index]["headers"] = kept
            example = replace(self._example, backend=given if len(given) > 1 else given[0])
            answers = [answer_of(self._mapping, each, self._read) for each in rounds(example)]
            return rehearsed(self._mapping, self._example, call, answers)

        played = play({})
        if not _same(played, first):
            for name in list(headers):
                fewer = {key: value for key, value in headers.items() if key != name}
                if _same(play(fewer), first):
                    headers = fewer
            played = play(headers)
        if not {"json", "text", "stream", "file", "status", "headers"} & given[index].keys():
            given[index]["text"] = ""
        return played

    def _read(self, name: str) -> str:
        return self._files[name].decode("utf-8", "surrogateescape")


def _same(one: Rehearsal, other: Rehearsal) -> bool:
    return one.outcome == other.outcome and one.requests == other.requests


def is_text(body: bytes) -> bool:
    """Whether a body can be written as text."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return b"\x00" not in body


def _json(text: str) -> Json:
    try:
        return jsontext.parse(text.encode())
    except jsontext.JsonError:
        return None


def _frames(framing: Format, body: bytes, secrets: Collection[str]) -> list[Json] | None:
    """A stream's frames, if they are the same when they are written again."""
    try:
        reader = framing.open(MAX_FRAME)
        frames = [*reader.feed(body), *reader.close()]
        listed = [_frame(frame, secrets) for frame in frames]
    except (ApiError, UnicodeDecodeError):
        return None
    return listed


def _frame(frame: Frame, secrets: Collection[str]) -> dict[str, Json]:
    text = frame.data.decode()
    value = _json(text)
    made: dict[str, Json] = {"event": frame.event} if frame.event else {}
    made |= {"id": frame.id} if frame.id else {}
    headers = {
        name: item for name, item in frame.headers.items() if not name.startswith(":") or name == ":message-type"
    }
    if frame.headers.get(":message-type", "event") == "event":
        headers.pop(":message-type", None)
    made |= {"headers": redacted_headers(headers, secrets)} if headers else {}
    made["data"] = redacted_json(value, secrets) if isinstance(value, dict | list) else redacted(text, secrets)
    return made


def _told(request: dict[str, Json]) -> dict[str, Json]:
    """What matters of a request."""
    made = {} if request["method"] == "POST" else {"method": request["method"]}
    made["path"] = request["path"]
    return made if request["body"] is None else made | {"body": request["body"]}


_GONE = object()


def _bare(value: Json, secrets: Collection[str]) -> Json:
    """A request without what holds a secret."""
    clean = _without(value, secrets)
    return {} if clean is _GONE else clean


def _without(value: Json, secrets: Collection[str]) -> Json:
    match value:
        case str():
            return _GONE if redacted(value, secrets) != value else value
        case list():
            items = [_without(item, secrets) for item in value]
            return _GONE if any(item is _GONE for item in items) else items
        case dict():
            kept = {key: _without(item, secrets) for key, item in value.items() if not holds_secret(key, secrets)}
            kept = {key: item for key, item in kept.items() if item is not _GONE}
            return _GONE if value and not kept else kept
    return value


def _counts(usage: Dict[str, Json]) -> dict[str, Json]:
    made = {key: _counts(value) if isinstance(value, dict) else value for key, value in usage.items()}
    return {key: value for key, value in made.items() if value}


def _is_short(value: Json) -> bool:
    return len(jsontext.dump(value)) <= MAX_TOLD


__all__ = [
    "HIDDEN",
    "Recording",
    "SecretError",
    "is_text",
    "make_example",
    "rehearsed",
    "told_outcome",
    "told_requests",
]
