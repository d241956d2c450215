"""A mapping's examples as a backend: what it would be sent is answered over HTTP with what the examples say.

A request that an example sends exactly gets that example's answer; any other one gets that of the first example on the
same path that succeeds. A query counts only where it tells examples apart, for it may hold a key. Streams come frame by
frame. Where an example sends the same request several times, its answers come in turn. Addresses in them that lead to
the backend lead here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp import WSCloseCode, web

from oaiproxy import jsontext
from oaiproxy.addresses import local_pattern, target
from oaiproxy.bodies import content_type, decoded
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError
from oaiproxy.example_answers import answer_of, parse_example, rounds
from oaiproxy.exchange import Exchange
from oaiproxy.formats import WHOLE, Format
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Example, Mapping
from oaiproxy.probes import IDENTITY
from oaiproxy.reading import file_reader
from oaiproxy.rehearsal import rehearse
from oaiproxy.reply import MAX_FRAME
from oaiproxy.stages import Messages

MAX_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What an example sends, and what is answered to it."""

    method: str
    path: str
    query: str
    body: Json
    status: int
    headers: dict[str, str]
    pieces: tuple[bytes, ...]
    example: int = 0
    """Which of the examples it is of."""
    elsewhere: re.Pattern[bytes] | None = None
    """The addresses in it that lead here."""

    def at(self, address: bytes) -> Answer:
        """The answer of a server at that address."""
        if self.elsewhere is None:
            return self
        pattern = self.elsewhere
        return replace(self, pieces=tuple(pattern.sub(lambda found: address, piece) for piece in self.pieces))


def answers(mapping: Mapping, read_file: Callable[[str], str]) -> list[Answer]:
    """The answers of a mapping's examples; one whose request is refused has none."""
    return [
        replace(answer, example=number)
        for number, example in enumerate(mapping.examples)
        for answer in _answers(mapping, example, read_file)
    ]


def choose(known: Sequence[Answer], method: str, target: str, body: Json) -> Answer | None:
    """The answer to a request; None when no example asks at that path."""
    path, _, query = target.partition("?")
    there = [answer for answer in known if (answer.method, answer.path) == (method, path)]
    there = [answer for answer in there if answer.query == query] or there
    same = [answer for answer in there if _same(answer.body, body)]
    fine = [answer for answer in there if answer.status < 400]
    return next(iter(same or fine or there), None)


def in_turn(known: Sequence[Answer], chosen: Answer) -> list[Answer]:
    """All answers of an example to the same request as the chosen one, in its order."""
    return [
        answer
        for answer in known
        if (answer.example, answer.method, answer.path, answer.query)
        == (chosen.example, chosen.method, chosen.path, chosen.query)
        and _same(chosen.body, answer.body)
    ]


def mock_app(known: list[Answer]) -> web.Application:
    """The backend as an application."""
    asked: Counter[int] = Counter()

    async def handle(request: web.Request) -> web.StreamResponse:
        target = request.rel_url.raw_path_qs
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _talk(request, target, known)
        body = decoded(await request.read(), request.headers.get("Content-Type", ""))
        answer = choose(known, request.method, target, body)
        if answer is not None:
            turns = in_turn(known, answer)
            answer = turns[asked[id(turns[0])] % len(turns)].at(str(request.url.origin()).encode())
            asked[id(turns[0])] += 1
        if answer is None:
            there = ", ".join(sorted({f"{one.method} {one.path}" for one in known}))
            text = f"no example asks {request.method} {request.rel_url.raw_path}; there are: {there}"
            return web.Response(status=404, body=jsontext.dump({"error": text}), content_type="application/json")
        if len(answer.pieces) <= 1:
            return web.Response(status=answer.status, headers=answer.headers, body=b"".join(answer.pieces))
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        for piece in answer.pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


@asynccontextmanager
async def serve_mock(mapping: Mapping, path: Path, host: str, port: int) -> AsyncIterator[str]:
    """Serve a mapping's examples as its backend; gives the base address."""
    runner = web.AppRunner(mock_app(answers(mapping, file_reader(path.parent))), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()


async def _talk(request: web.Request, target: str, known: Sequence[Answer]) -> web.WebSocketResponse:
    """Answer the first message of a websocket, frame by frame; what cannot be answered so closes it with an error."""
    socket = web.WebSocketResponse(max_msg_size=MAX_BODY)
    await socket.prepare(request)
    first = await socket.receive()
    body = first.data.encode() if isinstance(first.data, str) else bytes(first.data or b"")
    answer = choose(known, "GET", target, decoded(body, "application/json"))
    if answer is None or answer.status >= 400:
        await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"no example answers this")
        return socket
    for frame in Messages(MAX_FRAME).feed(b"".join(answer.pieces)):
        await socket.send_str(frame.data.decode("utf-8", "replace"))
    await socket.close()
    return socket


def _answers(mapping: Mapping, example: Example, read_file: Callable[[str], str]) -> Iterator[Answer]:
    given = [answer_of(mapping, each, read_file) for each in rounds(example)]
    try:
        call = parse_example(mapping, example)
        exchange = Exchange(mapping, call, DOORS[example.endpoint].encoder(call, IDENTITY), IDENTITY, example.headers)
        requests = rehearse(exchange, given).requests
    except ApiError:
        return
    endpoint = mapping.endpoint(example.endpoint)
    framing = endpoint.stream.framing if endpoint is not None and endpoint.stream is not None else WHOLE
    backend = mapping.backend
    elsewhere = None if exchange.flow is None else local_pattern(backend.url, backend.allow_hosts)
    for each, answer, request in zip(rounds(example), given, requests, strict=False):
        path, _, query = target(request.url, backend.url).partition("?")
        yield Answer(
            method=request.method,
            path=path or "/",
            query=query,
            body=decoded(request.body or b"", content_type(request.headers)),
            status=answer.status,
            headers=dict(answer.headers),
            pieces=tuple(_frames(answer.body, framing)) if "stream" in each.backend else (answer.body,),
            elsewhere=elsewhere,
        )


def _same(wanted: Json, given: Json) -> bool:
    """Whether two JSON values are equal; unlike in Python, true is not 1. No deeper than what is wanted."""
    match wanted, given:
        case dict(), dict():
            return wanted.keys() == given.keys() and all(_same(wanted[key], given[key]) for key in wanted)
        case list(), list():
            return len(wanted) == len(given) and all(map(_same, wanted, given))
    return isinstance(wanted, bool) == isinstance(given, bool) and bool(wanted == given)


def _frames(data: bytes, framing: Format) -> Iterator[bytes]:
    """The bytes up to the end of each frame: fed one by one, the framing itself tells where that is."""
    reader = framing.open(MAX_FRAME)
    start = 0
    try:
        for at in range(len(data)):
            if list(reader.feed(data[at : at + 1])):
                yield data[start : at + 1]
                start = at + 1
    except ApiError:
        pass  # an example may show a broken stream
    if start < len(data):
        yield data[start:]
