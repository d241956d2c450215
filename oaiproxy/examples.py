"""A mapping's examples, run: what is sent, and what comes out whole, byte by byte, cut anywhere, streamed or not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from oaiproxy.answers import Answer as Answered
from oaiproxy.bodies import content_type, decoded
from oaiproxy.canonical import Call
from oaiproxy.diagnostics import Diagnostic, Severity, Span, did_you_mean
from oaiproxy.differences import Difference, difference, place_name
from oaiproxy.document import Path
from oaiproxy.drafts import draft_of, first_drafts
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError
from oaiproxy.example_answers import FrameError, answer_of, framing_of, parse_example, rounds
from oaiproxy.exchange import BackendRequest, Exchange
from oaiproxy.failures import redact_cut
from oaiproxy.fan import split
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Example, Mapping
from oaiproxy.outcomes import Outcome, delivered, drive, from_error, told
from oaiproxy.parameters import CHAT, COMPLETIONS
from oaiproxy.probes import IDENTITY
from oaiproxy.received import RECEIVED, plain
from oaiproxy.rehearsal import Rehearsal, rehearse
from oaiproxy.source import Source, leaves
from oaiproxy.steps import Answer

MAX_CUTS = 24
"""Places at which an example's stream is cut in two; a longer one is cut at so many, evenly spread."""
MAX_WHOLE_CUTS = 8
"""The same for a whole answer, of which nothing is read before its end."""
MAX_PIECES = 4096
"""Pieces of the answer that is fed byte by byte; a longer answer is fed in longer pieces."""
MAX_FED = 4 << 20
"""Bytes that all the cut answers of one example may come to."""

FIELDS = {"chat": CHAT, "completions": COMPLETIONS, **INPUTS}
"""The fields of OpenAI's request, by endpoint."""


def run_examples(mapping: Mapping, read_file: Callable[[str], str], *, thorough: bool = True) -> list[Diagnostic]:
    """Run all examples; the findings name what differs.

    Each is run once, as it stands; when `thorough`, also delivered in all the other ways that must not matter.
    """
    return [found for example in mapping.examples for found in _Run(mapping, example).findings(read_file, thorough)]


class _Run:
    def __init__(self, mapping: Mapping, example: Example) -> None:
        self._mapping = mapping
        self._example = example
        self._source: Source = example.source
        self._answers: list[Answer] = []
        self._refusals: dict[bool, ApiError | None] = {}
        """Why nothing is sent for a client that streams, or not: the same however the answer comes."""
        self._asked: dict[bool, Call] = {}
        self._exchanges: dict[bool, Exchange] = {}
        """One of each, of which the others are made."""
        self._outcomes: dict[bytes, Outcome] = {}
        """What is told by answers that went well."""

    def findings(self, read_file: Callable[[str], str], thorough: bool) -> Iterator[Diagnostic]:
        """All that is wrong with the example."""
        example = self._example
        try:
            call = parse_example(self._mapping, example)
        except ApiError as error:
            yield self._invalid(error)
            return
        if call.model not in self._mapping.models and self._mapping.model_list is None:
            known = self._mapping.models
            label = did_you_mean(call.model, known) or f"the models are: {', '.join(known)}"
            yield self._finding("E503", f"no model is called `{call.model}`", self._at("request", "model"), label)
            return
        for index, each in enumerate(rounds(example)):
            place = ("backend", index) if each is not example else ("backend",)
            try:
                self._answers.append(answer_of(self._mapping, each, read_file))
            except FrameError as error:
                yield self._finding("E503", f"its frames cannot be sent: {error}", self._at(*place, "stream"), _FRAMES)
                return
            except (OSError, ValueError) as error:
                reason = (getattr(error, "strerror", None) or "it is not UTF-8 text").lower()
                message = f"the file `{each.backend['file']}` cannot be read: {reason}"
                help_ = "the path is relative to the mapping"
                yield self._finding("E602", message, self._at(*place, "file"), help_=help_)
                return
        for name in example.headers.keys() - self._mapping.client_headers:
            label = did_you_mean(name, self._mapping.client_headers) or "list it under `backend.client_headers`"
            yield self._finding("E503", f"templates never see the header `{name}`", self._at("headers"), label)
        odd = list(self._misspelled(call))
        found = list(self._ran(call, thorough))
        follows = [each for each in found if each.code == "E501"] if odd else []
        if not follows:
            yield from (*odd, *found)
            return
        told = "\n".join(f"{each.message}: {each.label}" for each in odd)
        yield replace(follows[0], help=f"{follows[0].help}\n{told}".strip())
        yield from (each for each in found if each not in follows)

    def _ran(self, call: Call, thorough: bool) -> Iterator[Diagnostic]:
        """What is wrong with what is sent and comes out."""
        played = self._played(call)
        yield from self._miscounted(played)
        if len(played.requests) > len(self._answers):
            return
        data = self._answers[played.main or 0].body
        yield from self._sends(played)
        yield from self._unlisted(played)
        first = played.outcome
        yield from self._replies(first)
        if first.error is None:
            yield from self._says_little()
        if thorough:
            yield from self._otherwise(call, data, first)

    def _invalid(self, error: ApiError) -> Diagnostic:
        steps = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", error.param or "")]
        span = self._at("request", *steps)
        return self._finding("E503", f"the request is refused: {error.message}", span, "this is no request of OpenAI's")

    def _says_little(self) -> Iterator[Diagnostic]:
        example = self._example
        if not (example.sends or example.sends_like or example.replies):
            label = "say what comes out: `replies: {text: ...}`"
            help_ = "`sends: {body: ...}` says what is sent"
            span = self._source.span()
            span = replace(span, end_line=span.line, end_column=span.column + 1)
            yield self._warning("W501", "it passes whatever is sent and comes out", span, label, help_)

    def _misspelled(self, call: Call) -> Iterator[Diagnostic]:
        """Fields that OpenAI does not define, and that no template reads, but that look like one of OpenAI's."""
        endpoint = self._mapping.endpoint(self._example.endpoint)
        reads = endpoint.reads if endpoint else frozenset()
        for key in call.extra:
            known = get_close_matches(key, FIELDS[self._example.endpoint], n=1, cutoff=0.8)
            if known and not reads & {f"extra.{key}", f"request.{key}"}:
                span = self._source.document.span((*self._source.path, "request", key), key=True)
                label = f"did you mean `{known[0]}`?"
                yield self._warning("W502", f"OpenAI has no field `{key}`, and no template reads it", span, label)

    def _unlisted(self, played: Rehearsal) -> Iterator[Diagnostic]:
        """Events of a stream that the mapping does not list: what they tell is lost."""
        endpoint = self._mapping.endpoint(self._example.endpoint)
        for name in sorted(played.unlisted) if endpoint else ():
            events = self._events()
            label = f"list it: `{name}: {{text: ...}}`, or `{name}: ~` where it tells nothing"
            if not isinstance(events, dict):
                label = "give a rule for it: `{when: ..., text: ...}`"
            elif near := did_you_mean(name, (known for known in events if not _says(self._source["backend"], known))):
                label = near
            message = f"no event is called `{name}`" if isinstance(events, dict) else f"no rule takes `{name}`"
            yield self._warning("W503", message, self._place_of(name, played.main or 0), label)

    def _events(self) -> Json:
        blocks = self._source.document.data
        for name in (self._example.endpoint, "chat"):
            block = blocks.get(name)
            stream = block.get("stream") if isinstance(block, dict) else None
            if isinstance(stream, dict):
                return stream.get("events")
        return None

    def _place_of(self, name: str, index: int) -> Span:
        """Where the example's answer first says a name; the answer where that is not clear."""
        backend = self._source["backend"]
        answer = backend[index] if isinstance(backend.value, list) else backend
        whole = next((leaf for leaf in leaves(answer) if leaf.value == name), None)
        if whole is not None:
            return whole.span()
        for leaf in leaves(answer):
            if found := re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", leaf.value):
                return leaf.inner(found.start(), len(name))
        return answer.span()

    def _warning(self, code: str, what: str, span: Span, label: str, help_: str = "") -> Diagnostic:
        return replace(self._finding(code, what, span, label, help_), severity=Severity.WARNING)

    def _miscounted(self, played: Rehearsal) -> Iterator[Diagnostic]:
        """More or fewer calls than the example has answers."""
        given, made = len(self._answers), len(played.requests)
        if made > given:
            request = played.requests[given]
            path = told_request(self._mapping, request)["path"]
            label = f"give the answer to {request.method} {path}, in the order of the calls"
            yield self._finding("E505", f"call {given + 1} gets no answer", self._at("backend"), label)
        elif 0 < made < given:
            called = "one call is" if made == 1 else f"{made} calls are"
            message = f"{called} made, and there are {given} answers"
            yield self._finding("E505", message, self._at("backend", made), "take it out: nothing asks for it")

    def _sends(self, played: Rehearsal) -> Iterator[Diagnostic]:
        requests = played.requests
        for key, exact in (("sends", True), ("sends_like", False)):
            wanted = getattr(self._example, key)
            listed = wanted if isinstance(wanted, list) else [wanted]
            for index, (each, request, prompt) in enumerate(zip(listed, requests, played.prompts, strict=False)):
                place = (key, index) if listed is wanted else (key,)
                made = told_request(self._mapping, request)
                yield from self._sent(with_prompt(each or {}, prompt), made, place, exact)
            if len(listed) > len(requests) > 0:
                message = f"{len(requests)} calls are made, not {len(listed)}"
                yield self._finding("E501", message, self._at(key, len(requests)), "take it out: it is never sent")

    def _sent(self, wanted: dict[str, Json], made: dict[str, Json], place: Path, exact: bool) -> Iterator[Diagnostic]:
        for part, value in wanted.items():
            told = {name.lower(): item for name, item in value.items()} if part == "headers" else value
            found = difference(told, made[part], exact=exact and part != "headers", open_=not exact)
            if found:
                yield self._differs("E501", "sends something else", found, *place, part)

    def _replies(self, outcome: Outcome) -> Iterator[Diagnostic]:
        made, wanted = asdict(outcome), self._example.replies
        if outcome.error is not None and not wanted.keys() & {"error", "status"}:
            span = self._source["replies"].span(key=True) if wanted else self._source.span()
            yield self._finding("E502", f"it fails: {self._told(outcome)}", span, help_=_EXPECT_ERROR)
            return
        for key, value in wanted.items():
            if key == "text":
                found = difference(value or "", made["text"] or "")
            elif key in RECEIVED or key == "logprobs":
                found = difference(plain(value), plain(made[key]), exact=False)
            else:
                found = difference(value, made[key], exact=False)
            if found:
                failed = f"it fails: {self._told(outcome)}" if outcome.error and key not in ("error", "status") else ""
                yield self._differs("E502", "comes out otherwise", found, "replies", key, help_=failed)

    def _otherwise(self, call: Call, data: bytes, first: Outcome) -> Iterator[Diagnostic]:
        """The first way to deliver the answer that changes what comes out."""
        for how, streams, pieces in self._deliveries(call, data):
            outcome = self._outcome(call, pieces, streams)
            if outcome == first:
                continue
            found = difference(_comparable(first, call, streams), _comparable(outcome, call, streams))
            if found:
                message = f"comes out otherwise when it is {how}"
                help_ = f"{place_name(found.path)}: {self._safe(found.text)}"
                yield self._finding("E504", message, self._at("backend"), _ENGINE, help_)
                return

    def _deliveries(self, call: Call, data: bytes) -> Iterator[tuple[str, bool, list[bytes]]]:
        other = "not streamed to the client" if call.stream else "streamed to the client"
        endpoint = self._mapping.endpoint(self._example.endpoint)
        if endpoint is None or not (endpoint.stream and endpoint.flow and endpoint.flow.poll):  # else: other calls
            yield other, not call.stream, [data]
        size = max(1, -(-len(data) // MAX_PIECES))
        small = "cut into single bytes" if size == 1 else f"cut into pieces of {size} bytes"
        yield small, call.stream, [data[at : at + size] for at in range(0, len(data), size)]
        framing = framing_of(self._mapping, self._example)
        if framing is not None and framing.lines and b"\n" in data and b"\r" not in data:
            yield "sent with CRLF line ends", call.stream, [data.replace(b"\n", b"\r\n")]
        most = MAX_CUTS if framing else MAX_WHOLE_CUTS
        cuts = max(1, min(most, MAX_FED // max(1, len(data))))
        for at in range(1, len(data), max(1, -(-len(data) // cuts))):
            yield f"cut after byte {at}", call.stream, [data[:at], data[at:]]

    def _exchange(self, call: Call, streams: bool) -> Exchange:
        if streams not in self._asked:
            self._asked[streams] = replace(call, stream=streams)
        encoder = DOORS[self._example.endpoint].encoder(self._asked[streams], IDENTITY)
        if streams in self._exchanges:
            return self._exchanges[streams].again(encoder)
        made = Exchange(self._mapping, call, encoder, IDENTITY, self._example.headers)
        self._exchanges[streams] = made
        return made

    def _played(self, call: Call) -> Rehearsal:
        try:
            return rehearse(self._exchange(call, call.stream), self._answers)
        except ApiError as error:
            return Rehearsal(from_error(error))

    def _refusal(self, call: Call, streams: bool) -> ApiError | None:
        """Why no request can be made, if that is so."""
        try:
            exchange = self._exchange(call, streams)
            for part in first_drafts(exchange):
                if part.flow is None:
                    part.backend_request()
        except ApiError as error:
            return error
        return None

    def _outcome(self, call: Call, pieces: list[bytes], streams: bool) -> Outcome:
        if streams not in self._refusals:
            self._refusals[streams] = self._refusal(call, streams)
        if (refusal := self._refusals[streams]) is not None:
            return from_error(refusal)
        exchange = self._exchange(call, streams)
        if exchange.flow is not None or split(exchange) is not None or draft_of(exchange) is not None:
            return rehearse(exchange, self._answers, pieces).outcome
        answer = self._answers[0]
        reply = exchange.reply(answer.status, answer.headers)
        if isinstance(reply, Answered):
            return drive(reply, pieces)
        sent = delivered(reply, pieces)
        if reply.fault is not None:
            return told(sent, reply.fault, "", "")
        if sent not in self._outcomes:
            self._outcomes[sent] = told(sent, None, "", "")
        return self._outcomes[sent]

    def _differs(self, code: str, what: str, found: Difference, *place: str | int, help_: str = "") -> Diagnostic:
        names = (*(step for step in place[1:] if isinstance(step, str)), *found.path)
        return self._finding(
            code, what, self._at(*place, *found.path), self._safe(f"{place_name(names)}: {found.text}"), help_
        )

    def _finding(self, code: str, what: str, span: Span, label: str = "", help_: str = "") -> Diagnostic:
        return Diagnostic(code, self._safe(f"the example `{self._example.name}`: {what}"), span, label, help_)

    def _at(self, *path: str | int) -> Span:
        """The place in the example; of what holds it where there is no such place."""
        return self._source.document.span((*self._source.path, *path))

    def _told(self, outcome: Outcome) -> str:
        return str((outcome.error or {}).get("message"))

    def _safe(self, text: str) -> str:
        return redact_cut(text, self._mapping.secrets)


def _says(source: Source, word: str) -> bool:
    return any(word in leaf.value for leaf in leaves(source))


_EXPECT_ERROR = "if it is meant to fail, say so: `replies: {status: ..., error: {code: ...}}`"
_FRAMES = "write the stream as text, byte for byte, or change the frames"
_ENGINE = "where an answer is cut must not change what it says"


def told_request(mapping: Mapping, request: BackendRequest) -> dict[str, Json]:
    """A backend request as examples tell it: without the credentials."""
    credentials = tuple(f"{quote(name, safe='')}=" for name in mapping.backend.query)
    path, _, query = request.url.removeprefix(mapping.backend.url).partition("?")
    pairs = [pair for pair in query.split("&") if pair and not pair.startswith(credentials)]
    hidden = {name.lower() for name in mapping.backend.headers}
    return {
        "method": request.method,
        "path": "?".join([path, "&".join(pairs)] if pairs else [path]),
        "headers": {name.lower(): value for name, value in request.headers.items() if name.lower() not in hidden},
        "body": None if request.body is None else decoded(request.body, content_type(request.headers)),
    }


PROMPT = re.compile(r"\{\{ *chat_prompt *\}\}")
"""What stands for the conversation as the chat template writes it, which may be told by the environment alone."""


def with_prompt(wanted: Any, chat_prompt: Callable[[], str | None]) -> Any:
    """What an example wants to be sent, with the conversation in the place of `{{ chat_prompt }}` in its texts."""
    match wanted:
        case dict():
            return {key: with_prompt(value, chat_prompt) for key, value in wanted.items()}
        case list():
            return [with_prompt(value, chat_prompt) for value in wanted]
        case str() if PROMPT.search(wanted) and (prompt := chat_prompt()) is not None:
            return PROMPT.sub(lambda _: prompt, wanted)
    return wanted


def _comparable(outcome: Outcome, call: Call, streams: bool) -> Json:
    """An outcome without what may differ: a client that does not stream gets no partial text with an error."""
    made = asdict(outcome)
    if outcome.error is not None and call.stream != streams:
        return {"error": made["error"], "status": made["status"]}
    made["text"] = made["text"] or ""
    if call.stream != streams:
        made.pop("usage")
    return made
