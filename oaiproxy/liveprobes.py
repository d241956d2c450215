"""One small request per endpoint to the real backend, and what its answers say of the mapping: the findings E7xx."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64encode
from collections.abc import Iterator

from oaiproxy import jsontext
from oaiproxy.backends import MOCK_URL
from oaiproxy.canonical import Call
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.example_answers import rounds
from oaiproxy.failures import redact
from oaiproxy.jsontext import Json
from oaiproxy.live import Conversation, Live
from oaiproxy.mapping import Endpoint, Example, Mapping
from oaiproxy.redaction import redacted
from oaiproxy.rewriting import locate
from oaiproxy.scalars import Path

SECONDS = 60.0
"""How long one request may take here, whatever the mapping allows."""
MAX_TOKENS = 32
_HI = [{"role": "user", "content": "Say hi."}]
_SAMPLES = 1000
"""An eighth of a second, since backends refuse less than a tenth."""
_SILENCE = b64encode(
    struct.pack(
        "<4sI8sIHHIIHH4sI", b"RIFF", 36 + 2 * _SAMPLES, b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 2 * _SAMPLES
    )
    + bytes(2 * _SAMPLES)
).decode()
REQUESTS: dict[str, dict[str, Json]] = {
    "chat": {"messages": _HI},
    "completions": {"prompt": "Say hi."},
    "embeddings": {"input": "hi"},
    "rerank": {"query": "hi", "documents": ["hi", "no"]},
    "moderations": {"input": "hi"},
    "images": {"prompt": "a dot"},
    "speech": {"input": "hi", "voice": "alloy"},
    "transcriptions": {"file": {"filename": "silence.wav", "media_type": "audio/wav", "base64": _SILENCE}},
}
"""The smallest request of each endpoint."""

_SINKS = {"embeddings": "vectors", "rerank": "results", "moderations": "results", "images": "images", "speech": "audio"}
_UNREACHED = {
    *("upstream_connect_error", "upstream_connect_timeout", "upstream_dns_error", "upstream_tls_error"),
    *("upstream_timeout", "upstream_closed", "upstream_reset", "upstream_protocol_error"),
}
_BROKEN_OFF = {"upstream_truncated", "upstream_incomplete"}


def model_of(mapping: Mapping, endpoint: str) -> str:
    """The model to ask: beyond chat that of an example, for not every model does everything; "" where none is named."""
    shown = _shown(mapping, endpoint)
    name = shown.request.get("model") if shown is not None else None
    return name if isinstance(name, str) else next(iter(mapping.models), "")


def small_body(mapping: Mapping, endpoint: str) -> dict[str, Json]:
    """The smallest request of an endpoint, without its model. An example tells what to ask of: inputs, a voice.

    Texts are generated from a greeting all the same, and a sound in an example may be none.
    """
    shown = _shown(mapping, endpoint)
    body = {**REQUESTS[endpoint]}
    if shown is not None and endpoint not in ("completions", "transcriptions"):
        body |= {name: shown.request[name] for name in body if name in shown.request}
    return body


def _shown(mapping: Mapping, endpoint: str) -> Example | None:
    """The first example of an endpoint beyond chat that succeeds."""
    if endpoint == "chat":
        return None
    fine = (
        each
        for each in mapping.examples
        if each.endpoint == endpoint
        and not each.replies.keys() & {"error", "status"}
        and all(answer.backend.get("status", 200) < 400 for answer in rounds(each))
    )
    return next(fine, None)


def small_request(mapping: Mapping, endpoint: str, described: Endpoint, stream: bool) -> Call | None:
    """The smallest request of an endpoint; None where the mapping refuses even that."""
    body = {"model": model_of(mapping, endpoint) or "model", **small_body(mapping, endpoint)}
    if endpoint in ("chat", "completions"):
        body["stream"] = stream
        if "max_tokens" in described.reads:
            body["max_tokens"] = MAX_TOKENS
    try:
        return DOORS[endpoint].parse(body)
    except ClientError:
        return None


def kinds(mapping: Mapping, endpoint: str) -> list[bool]:
    """Whether an endpoint can be asked whole, as a stream, or both."""
    described = mapping.endpoint(endpoint)
    if described is None:
        return []
    made = [False] if described.whole is not None or described.stream is None else []
    return [*made, True] if described.stream is not None and endpoint in ("chat", "completions") else made or [False]


async def probe_live(live: Live, mapping: Mapping, text: str, file: str) -> list[Diagnostic]:
    """Ask for each endpoint that the mapping has; `text` is that of its file, for the places of the findings."""
    if mapping.backend.url == MOCK_URL:
        return []
    found: list[Diagnostic] = []
    for endpoint, described in mapping.endpoints.items():
        for stream in kinds(mapping, endpoint):
            call = small_request(mapping, endpoint, described, stream) if endpoint in REQUESTS else None
            if call is None:
                continue
            told = await _asked(live, mapping, endpoint, call)
            if told.error is not None:
                found.append(_finding(mapping, endpoint, stream, told, text, file))
                if found[-1].code in ("E701", "E702"):
                    return found  # the others would say the same
    return found


async def _asked(live: Live, mapping: Mapping, endpoint: str, call: Call) -> Conversation:
    try:
        async with asyncio.timeout(SECONDS):
            return await live.ask(mapping, endpoint, call)
    except TimeoutError:
        message = f"the backend did not answer within {SECONDS:g} seconds"
        return Conversation([], ApiError(message, code="upstream_timeout"))
    except ApiError as error:
        return Conversation([], error)


def _finding(mapping: Mapping, endpoint: str, stream: bool, told: Conversation, text: str, file: str) -> Diagnostic:
    error = told.error
    assert error is not None
    secrets = mapping.secrets
    last = told.calls[-1] if told.calls else None
    status = last.status if last is not None else 0
    kind = "stream" if stream else "response"
    asked = f"`{endpoint}`{', streamed' if stream else ''}"
    said = redacted(error.message, secrets)
    why = _beginning(error.detail.encode(), secrets)

    def made(code: str, message: str, path: Path, help_: str) -> Diagnostic:
        begins = redacted(redact(_beginning(bytes(last.body) if last else b"", secrets), secrets), secrets)
        label = f"it answered {status}: {begins}" if begins else f"it answered {status}" if status else why
        return Diagnostic(code, redacted(message, secrets), locate(text, file, path), label, help_)

    if isinstance(error, ClientError):
        return made("E704", f"{asked}: the request is refused: {said}", (endpoint,), "ask for what the backend takes")
    if error.code in _UNREACHED and not status:
        return made("E701", f"the backend cannot be used: {said}", ("backend", "url"), _REACH)
    if status in (401, 403) or error.code == "upstream_auth_error":
        return made("E702", f"the backend refuses the key: {said}", ("backend", "auth"), _KEY)
    if status and not 200 <= status < 300:
        asks: Path = (endpoint, "request", "path") if status == 404 else (endpoint, "request")
        return made("E704", f"{asked}: the backend answers {status}: {said}", asks, _STATUS)
    if error.code in _BROKEN_OFF or error.code in _UNREACHED:
        ends = [(endpoint, kind, name) for name in ("done", "end")]
        place = next((each for each in ends if locate(text, file, each) != locate(text, file, each[:2])), ends[0])
        return made("E705", f"{asked}: the answer broke off: {said}", place, _BROKEN)
    keys = _keys(bytes(last.body)) if last is not None else []
    there = ", ".join(f"`{redacted(key, secrets)}`" for key in keys[:12])
    help_ = (
        f"there are the keys {there}" if there else "see what the answer looks like with `oaiproxy record --dry-run`"
    )
    return made(
        "E703",
        f"{asked}: the answer is not what the mapping reads: {said}",
        (endpoint, kind, _SINKS.get(endpoint, "text")),
        help_,
    )


_REACH = "correct the address, or start the backend; a proxy or a firewall may be in the way"
_KEY = "give it a key that is valid for this address, as this API wants it"
_STATUS = "compare the path and the body with the API's description"
_BROKEN = "correct `done` or `end`, or the `format`; if the backend is to blame, ask again"


def _beginning(body: bytes, secrets: object) -> str:
    """The first words of an answer, on one line. Taken of more than is shown, so that no secret is cut in two."""
    shown = redacted(" ".join(body[:64_000].decode("utf-8", "replace").split()), list(secrets))  # type: ignore[call-overload]
    return shown if len(shown) <= 160 else shown[:159] + "…"


def _keys(body: bytes) -> list[str]:
    """The keys of an answer's first object, be it whole, a line or an event."""
    return next((list(value) for value in _values(body) if isinstance(value, dict)), [])


def _values(body: bytes) -> Iterator[Json]:
    for piece in (body, *body[:64_000].splitlines()[:50]):
        try:
            yield jsontext.parse(piece.removeprefix(b"data:").strip())
        except jsontext.JsonError:
            continue
