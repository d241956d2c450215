"""A mapping's examples as a backend: what it would be sent is answered over HTTP with what the examples say.

A request that an example sends exactly gets that example's answer; any other one gets that of the first example on the
same path that succeeds. A query counts only where it tells examples apart, for it may hold a key. Streams come frame by
frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from aiohttp import web

from oaiproxy import jsontext
from oaiproxy.backends import MOCK_URL
from oaiproxy.bodies import content_type, decoded
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError
from oaiproxy.examples import answer_bytes, answer_headers, parse_example
from oaiproxy.exchange import Exchange
from oaiproxy.framing import FRAMINGS
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Mapping
from oaiproxy.probes import IDENTITY
from oaiproxy.reply import MAX_FRAME

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


def answers(mapping: Mapping, read_file: Callable[[str], str]) -> list[Answer]:
    """The answers of a mapping's examples; one whose request is refused has none."""
    mapping = replace(mapping, backend=replace(mapping.backend, url=MOCK_URL))
    return [answer for example in mapping.examples for answer in _answer(mapping, example, read_file)]


def choose(known: Sequence[Answer], method: str, target: str, body: Json) -> Answer | None:
    """The answer to a request; None when no example asks at that path."""
    path, _, query = target.partition("?")
    there = [answer for answer in known if (answer.method, answer.path) == (method, path)]
    there = [answer for answer in there if answer.query == query] or there
    same = [answer for answer in there if _same(answer.body, body)]
    fine = [answer for answer in there if answer.status < 400]
    return next(iter(same or fine or there), None)


def mock_app(known: list[Answer]) -> web.Application:
    """The backend as an application."""

    async def handle(request: web.Request) -> web.StreamResponse:
        target = request.rel_url.raw_path_qs
        answer = choose(
            known, request.method, target, decoded(await request.read(), request.headers.get("Content-Type", ""))
        )
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


def _answer(mapping: Mapping, example: Json, read_file: Callable[[str], str]) -> Iterator[Answer]:
    try:
        call = parse_example(mapping, example)
        exchange = Exchange(mapping, call, DOORS[example.endpoint].encoder(call, IDENTITY), IDENTITY)
        request = exchange.backend_request()
    except ApiError:
        return
    data = answer_bytes(example, read_file)
    endpoint = mapping.endpoint(example.endpoint)
    framing = endpoint.stream.framing if endpoint is not None and endpoint.stream is not None else "whole"
    path, _, query = request.url.removeprefix(MOCK_URL).partition("?")
    yield Answer(
        method=request.method,
        path=path or "/",
        query=query,
        body=decoded(request.body or b"", content_type(request.headers)),
        status=example.backend.get("status", 200),
        headers=answer_headers(mapping, example),
        pieces=tuple(_frames(data, framing)) if "stream" in example.backend else (data,),
    )


def _same(wanted: Json, given: Json) -> bool:
    """Whether two JSON values are equal; unlike in Python, true is not 1. No deeper than what is wanted."""
    match wanted, given:
        case dict(), dict():
            return wanted.keys() == given.keys() and all(_same(wanted[key], given[key]) for key in wanted)
        case list(), list():
            return len(wanted) == len(given) and all(map(_same, wanted, given))
    return isinstance(wanted, bool) == isinstance(given, bool) and bool(wanted == given)


def _frames(data: bytes, framing: str) -> Iterator[bytes]:
    """The bytes up to the end of each frame: fed one by one, the framing itself tells where that is."""
    reader = FRAMINGS[framing](MAX_FRAME)
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
