"""A mapping's examples, run: what is sent, and what comes out whole, byte by byte, cut anywhere, streamed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

from oaiproxy import jsontext
from oaiproxy.canonical import Call
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError
from oaiproxy.exchange import Exchange
from oaiproxy.filters import kind
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Example, Mapping
from oaiproxy.outcomes import Outcome, drive, from_error
from oaiproxy.probes import IDENTITY

MAX_CUTS = 200
"""Places at which an example's answer is cut in two; a longer answer is cut at so many, evenly spread."""

CONTENT_TYPES = {
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
    "json-array": "application/json",
    "json-concat": "application/json",
    "text": "text/plain; charset=utf-8",
}


def run_examples(mapping: Mapping, read_file: Callable[[str], str]) -> list[Diagnostic]:
    """Run all examples; the findings name what differs."""
    findings: list[Diagnostic] = []
    for example in mapping.examples:
        findings.extend(_run(mapping, example, read_file))
    return findings


def answer_bytes(example: Example, read_file: Callable[[str], str]) -> bytes:
    """The backend's answer in an example, as bytes."""
    backend = example.backend
    if "json" in backend:
        return jsontext.dump(backend["json"])
    if "file" in backend:
        return read_file(backend["file"]).encode("utf-8", "surrogateescape")
    return str(backend.get("stream", backend.get("text", ""))).encode()


def answer_headers(mapping: Mapping, example: Example) -> dict[str, str]:
    """The headers of the backend's answer, by lower-case names."""
    headers = {name.lower(): value for name, value in example.backend.get("headers", {}).items()}
    if "content-type" not in headers:
        headers["content-type"] = _content_type(mapping, example)
    return headers


def parse_example(mapping: Mapping, example: Example) -> Call:
    """The client's request. Raises ClientError when it is none."""
    return DOORS[example.endpoint].parse({"model": next(iter(mapping.models)), **example.request})


def _content_type(mapping: Mapping, example: Example) -> str:
    endpoint = mapping.endpoint(example.endpoint)
    if "stream" in example.backend and endpoint is not None and endpoint.stream is not None:
        return CONTENT_TYPES.get(endpoint.stream.framing, "application/octet-stream")
    return "text/plain; charset=utf-8" if "text" in example.backend else "application/json"


def _run(mapping: Mapping, example: Example, read_file: Callable[[str], str]) -> Iterator[Diagnostic]:
    span = example.source.span()
    try:
        call = parse_example(mapping, example)
    except ApiError as error:
        yield Diagnostic("E503", f"the request of the example `{example.name}` is refused: {error.message}", span)
        return
    try:
        data = answer_bytes(example, read_file)
    except OSError as error:
        yield Diagnostic("E602", f"the file of the example `{example.name}` cannot be read: {error.strerror}", span)
        return
    yield from _sends(mapping, example, call)
    first, *others = _outcomes(mapping, example, call, data)
    yield from _replies(example, first[1])
    for how, outcome in others:
        if _comparable(outcome) != _comparable(first[1]):
            message = f"the example `{example.name}` comes out otherwise when it is {how}"
            difference = _difference(asdict(first[1]), asdict(outcome), "")
            yield Diagnostic("E504", message, span, help=difference)
            return


def _sends(mapping: Mapping, example: Example, call: Call) -> Iterator[Diagnostic]:
    if example.sends is None and example.sends_like is None:
        return
    try:
        request = _exchange(mapping, example, call, call.stream).backend_request()
    except ApiError as error:
        if example.replies.get("error") is None:
            message = f"the example `{example.name}` sends nothing: {error.message}"
            yield Diagnostic("E501", message, example.source.span(), help=error.detail)
        return
    made: dict[str, Json] = {
        "method": request.method,
        "path": request.url.removeprefix(mapping.backend.url),
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": _body(request.body),
    }
    for key, exact in (("sends", True), ("sends_like", False)):
        wanted = getattr(example, key)
        for part, value in (wanted or {}).items():
            value = {name.lower(): item for name, item in value.items()} if part == "headers" else value
            difference = _difference(value, made[part], part, exact=exact and part != "headers")
            if difference:
                span = example.source[key][part].span()
                yield Diagnostic("E501", f"the example `{example.name}` sends something else", span, difference)


def _body(data: bytes | None) -> Json:
    if data is None:
        return None
    try:
        return jsontext.parse(data)
    except jsontext.JsonError:
        return data.decode("utf-8", "replace")


def _exchange(mapping: Mapping, example: Example, call: Call, streams: bool) -> Exchange:
    encoder = DOORS[example.endpoint].encoder(replace(call, stream=streams), IDENTITY)
    return Exchange(mapping, call, encoder, IDENTITY)


def _outcomes(mapping: Mapping, example: Example, call: Call, data: bytes) -> Iterator[tuple[str, Outcome]]:
    """The outcome of every way to deliver the answer; the first is the plain one."""
    status, headers = example.backend.get("status", 200), answer_headers(mapping, example)

    def outcome(pieces: Sequence[bytes], streams: bool) -> Outcome:
        try:
            exchange = _exchange(mapping, example, call, streams)
            exchange.backend_request()
        except ApiError as error:
            return from_error(error)
        return drive(exchange.reply(status, headers), pieces)

    yield "whole", outcome([data], call.stream)
    other = "not streamed to the client" if call.stream else "streamed to the client"
    yield other, outcome([data], not call.stream)
    yield "cut into single bytes", outcome([data[i : i + 1] for i in range(len(data))], call.stream)
    if "stream" in example.backend and b"\n" in data and b"\r" not in data:
        yield "sent with CRLF line ends", outcome([data.replace(b"\n", b"\r\n")], call.stream)
    step = max(1, len(data) // MAX_CUTS)
    for at in range(1, len(data), step):
        yield f"cut after byte {at}", outcome([data[:at], data[at:]], call.stream)


def _comparable(outcome: Outcome) -> Json:
    """An outcome without what may differ: a client that does not stream gets no partial text with an error."""
    made = asdict(outcome)
    if outcome.error is not None:
        return {"error": made["error"], "status": made["status"]}
    made["text"] = made["text"] or ""
    made.pop("usage")
    return made


def _replies(example: Example, outcome: Outcome) -> Iterator[Diagnostic]:
    made = asdict(outcome)
    for key, wanted in example.replies.items():
        if key == "text":
            difference = _difference(wanted or "", made["text"] or "", "text")
        else:
            difference = _difference(wanted, made[key], key, exact=False)
        if difference:
            help_ = ""
            if outcome.error is not None and key not in ("error", "status"):
                help_ = f"it failed: {outcome.error['message']}"
            span = example.source["replies"][key].span()
            yield Diagnostic("E502", f"the example `{example.name}` comes out otherwise", span, difference, help_)


def _difference(wanted: Json, made: Json, where: str, *, exact: bool = True) -> str:
    """Where two values first differ, types included; "" when they do not. Without `exact`, more keys are allowed."""
    if type(wanted) is not type(made):
        return f"{where}: {_shown(wanted)} expected, {_shown(made)} came ({kind(made)})"
    if isinstance(wanted, dict):
        for key in wanted:
            if key not in made:
                return f"{where}.{key}: missing"
            if found := _difference(wanted[key], made[key], f"{where}.{key}", exact=exact):
                return found
        extra = [key for key in made if key not in wanted]
        return f"{where}.{extra[0]}: {_shown(made[extra[0]])} came too" if exact and extra else ""
    if isinstance(wanted, list):
        for index, (one, other) in enumerate(zip(wanted, made, strict=False)):
            if found := _difference(one, other, f"{where}[{index}]", exact=exact):
                return found
        return "" if len(wanted) == len(made) else f"{where}: {len(wanted)} items expected, {len(made)} came"
    return "" if wanted == made else f"{where}: {_shown(wanted)} expected, {_shown(made)} came"


def _shown(value: Json) -> str:
    text = jsontext.dump(value).decode()
    return text if len(text) <= 80 else text[:79] + "…"
