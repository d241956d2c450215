"""What the tests share: mappings from text, rounds through an exchange, and what a client reads from the bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from strict import STRICT, schema

from oaiproxy.canonical import Identity
from oaiproxy.diagnostics import Diagnostic, Span
from oaiproxy.document import Document, load_document
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import BackendError
from oaiproxy.exchange import Exchange
from oaiproxy.formats import FORMATS, WHOLE
from oaiproxy.framing import Frame as Framed
from oaiproxy.framing import Framing
from oaiproxy.layers import Base, Bases
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping, compile_mapping
from oaiproxy.outcomes import Outcome, from_object, from_stream
from oaiproxy.reply import Reply
from oaiproxy.selectors import compile_selector
from oaiproxy.source import Source
from oaiproxy.validation import validate

ROOT = Path(__file__).parents[1]
WIRE = ROOT.parent / "shared" / "wire"  # recorded exchanges, on the machines that have them
IDENTITY = Identity("req_1", "t" * 24, "6f1c1c1e-0000-4000-8000-000000000000", 1_700_000_000.5)
ENVIRONMENT = {"YOUR_API_BASE_URL": "https://backend.test/api", "YOUR_API_KEY": "key-of-the-operator"}
LARGE = 1 << 20
BOM = b"\xef\xbb\xbf"
FRAMINGS = {form.name: form.open for form in (*FORMATS.values(), WHOLE)}
"""Constructors of framings, by name."""
HI: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

needs_wire = pytest.mark.skipif(not WIRE.is_dir(), reason="the recordings are not on this machine")
needs_strict = pytest.mark.skipif(not STRICT.is_dir(), reason="OpenAI's schemas are not on this machine")


def bases_in(folder: Path) -> Bases:
    """The mappings of a folder as those that others can extend, by file name with or without its ending."""

    def open_(name: str) -> Base:
        path = folder / f"{name.removesuffix('.yaml')}.yaml"
        return Base(f"{folder.name}/{path.name}", path.name, path.read_text(), lambda file: "", bases_in(folder))

    return Bases(open_, sorted(path.stem for path in folder.glob("*.yaml")))


@cache
def mapping_schema() -> dict[str, Any]:
    """The schema of mappings; one for all, for it is compiled for each object that it is."""
    schema: dict[str, Any] = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
    return schema


def findings_of(text: str, environment: dict[str, str] | None = None) -> tuple[Mapping | None, list[Diagnostic]]:
    """The mapping that a text compiles to, if any, and the findings of all stages up to there."""
    document, findings = load_document(
        text, file="test.yaml", environment=environment or ENVIRONMENT, read_file=lambda name: ""
    )
    assert document is not None, findings
    findings = [*findings, *validate(document, mapping_schema())]
    if findings:
        return None, findings
    return compile_mapping(Source(document, (), document.data), "test")


def codes(text: str) -> list[tuple[str, int]]:
    """The codes of the findings, each with its line."""
    _, findings = findings_of(text)
    return [(finding.code, finding.span.line if finding.span else 0) for finding in findings]


def load(text: str, environment: dict[str, str] | None = None) -> Mapping:
    """The mapping that a text compiles to; it must be without findings."""
    mapping, findings = findings_of(text, environment)
    assert mapping is not None, findings
    return mapping


def chat(
    *,
    response: str = "",
    stream: str = "",
    request: str = "{path: /g, body: {p: '{{ prompt }}'}}",
    more: str = "",
    backend: str = "{url: 'https://backend.test/v1'}",
    models: str = "[m]",
) -> Mapping:
    """A mapping with one `chat` block, whose parts are given in YAML's flow style."""
    lines = ["oaiproxy: 1", f"models: {models}", f"backend: {backend}", more, "chat:", f"  request: {request}"]
    lines += [f"  response: {response}"] if response else []
    lines += [f"  stream: {stream}"] if stream else []
    return load("\n".join(lines) + "\n")


@cache
def shipped(name: str) -> tuple[Mapping, Document]:
    """A mapping that ships with us, in no environment, and its file."""
    loader, path = Loader({}), ROOT / f"mappings/{name}.yaml"
    ((mapping, _),) = loader.load([(str(path), path)], environment=False)[0]
    return mapping, loader.document(path)


@cache
def example() -> Mapping:
    """The shipped example mapping."""
    return load((ROOT / "mappings/example.yaml").read_text())


def ask(mapping: Mapping, body: dict[str, Any] | None = None, *, endpoint: str = "chat", **fields: Any) -> Exchange:
    """The exchange of a request; `fields` are laid over its body."""
    base = HI if endpoint == "chat" else {"model": "m", "prompt": "hi"}
    given = {**(body or base), **fields}
    given["model"] = next(iter(mapping.models))
    door = DOORS[endpoint]
    call = door.parse(given)
    return Exchange(mapping, call, door.encoder(call, IDENTITY), IDENTITY)


@dataclass(frozen=True)
class Round:
    """What a client got."""

    sent: bytes
    fault: BackendError | None
    reply: Reply

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The chunks of a stream, without its end mark."""
        return [json.loads(payload) for payload in events(self.sent) if payload != "[DONE]"]

    @property
    def answer(self) -> dict[str, Any]:
        """A whole answer."""
        assert self.fault is None, self.fault
        made: dict[str, Any] = json.loads(self.sent)
        return made

    @property
    def outcome(self) -> Outcome:
        """The answer as a client sees it in the end."""
        assert self.fault is None, (self.fault, self.fault.detail)
        return from_stream(self.sent) if self.sent.startswith(b"data: ") else from_object(self.sent)

    @property
    def text(self) -> str | None:
        """The text that came, be it all or not."""
        return from_stream(self.sent).text if self.sent.startswith(b"data: ") else self.outcome.text


def play(
    mapping: Mapping,
    *pieces: bytes | str,
    status: int = 200,
    headers: dict[str, str] | None = None,
    endpoint: str = "chat",
    counts: tuple[int | None, int | None] = (None, None),
    **fields: Any,
) -> Round:
    """One round: the pieces of the backend's reply, and what the client got of it."""
    exchange = ask(mapping, endpoint=endpoint, **fields)
    exchange.backend_request()
    reply = exchange.reply(status, headers or {}, now=1_700_000_000.0)
    sent = b"".join(reply.feed(piece if isinstance(piece, bytes) else piece.encode()) for piece in pieces)
    sent += reply.end()
    sent += reply.close(*counts)
    return Round(sent, reply.fault, reply)


def events(sent: bytes) -> Iterator[str]:
    """The payloads of an event stream: each event is one `data:` line, as every client can read it."""
    text = sent.decode()
    assert not sent or text.endswith("\n\n")
    for event in text.removesuffix("\n\n").split("\n\n") if text else ():
        assert event.startswith("data: ")
        assert len(event.splitlines()) == 1, event  # also at U+2028, U+2029 and U+0085
        yield event.removeprefix("data: ")


def drive(framing: Framing, reads: Iterable[bytes]) -> tuple[list[Framed], str | None]:
    """The frames of a body, and the code of the error that ended it."""
    frames: list[Framed] = []
    try:
        for data in reads:
            frames.extend(framing.feed(data))
        frames.extend(framing.close())
    except BackendError as error:
        return frames, error.code
    return frames, None


def segmentations(body: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, with empty reads between, and cut in two at every position."""
    yield [body]
    yield [body[at : at + 1] for at in range(len(body))]
    yield [piece for at in range(len(body)) for piece in (b"", body[at : at + 1])]
    yield from ([body[:at], body[at:]] for at in range(len(body)))


def check_framing(
    name: str, body: bytes, frames: list[Framed], code: str | None = None, max_frame: int = LARGE
) -> None:
    """A framing finds these frames, however the body is cut."""
    for reads in segmentations(body):
        assert drive(FRAMINGS[name](max_frame), reads) == (frames, code), reads


def framed(*texts: bytes) -> list[Framed]:
    """Frames that are nothing but their data."""
    return [Framed(text) for text in texts]


@asynccontextmanager
async def listening(app: web.Application, scheme: str = "http") -> AsyncIterator[str]:
    """The address of an application on a free port of loopback; a client that leaves ends its request."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], scheme: str = "http"
) -> AbstractAsyncContextManager[str]:
    """The address of a server that answers every request so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    return listening(app, scheme)


def bytewise(data: bytes) -> list[bytes]:
    """Single bytes, with an empty read between them."""
    return [piece for at in range(len(data)) for piece in (b"", data[at : at + 1])]


def halves(data: bytes) -> Iterator[list[bytes]]:
    """Cut in two at every place."""
    yield from ([data[:at], data[at:]] for at in range(1, len(data)))


def sse(*payloads: Any) -> str:
    """Server-sent events of JSON payloads; text stays as it is, a pair is a named event."""
    made = ""
    for payload in payloads:
        name, payload = payload if isinstance(payload, tuple) else ("", payload)
        data = payload if isinstance(payload, str) else json.dumps(payload)
        made += (f"event: {name}\n" if name else "") + f"data: {data}\n\n"
    return made


@cache
def validator(name: str) -> Draft202012Validator:
    """The validator of one of OpenAI's own objects."""
    return Draft202012Validator(schema(name))


def assert_strict(name: str, values: Iterable[Any]) -> None:
    """Every value is what OpenAI's schema of that name describes."""
    for value in values:
        errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(value)]
        assert not errors, (errors, value)


def read_yaml(
    text: str, files: dict[str, str] | None = None, **environment: str
) -> tuple[Document | None, list[Diagnostic]]:
    """A document and its findings; `files` are those that `${file:...}` can name."""

    def read_file(path: str) -> str:
        if path not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory")
        return (files or {})[path]

    return load_document(text, file="m.yaml", environment=environment, read_file=read_file)


def sound_yaml(text: str, files: dict[str, str] | None = None, **environment: str) -> Document:
    """A document in which nothing is wrong."""
    document, found = read_yaml(text, files, **environment)
    assert found == []
    assert document is not None
    return document


def only_finding(text: str, files: dict[str, str] | None = None, **environment: str) -> Diagnostic:
    """The one finding in a document."""
    _, found = read_yaml(text, files, **environment)
    assert len(found) == 1, found
    return found[0]


def marked(text: str, span: Span) -> str:
    """The text that a span covers, found by counting lines and columns, independent of the code under test."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return "\n".join(lines)


@dataclass(frozen=True)
class Frame:
    """What a selector reads beside the payload."""

    event: str = ""
    id: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    raw: bytes = b""


FRAME = Frame()


def select(source: str, value: Any = None, frame: Any = FRAME) -> Any:
    """What a selector picks."""
    return compile_selector(source)(value, frame)


def evaluate(source: str, value: Any = None) -> Any:
    """What a selector gives, before what is not JSON becomes null."""
    return compile_selector(source).evaluate(value, FRAME)
