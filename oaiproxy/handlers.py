"""The HTTP endpoints: each a straight line from the client's request through an exchange and back."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from oaiproxy import jsontext
from oaiproxy.backend import BackendClient, BackendReply
from oaiproxy.canonical import Identity
from oaiproxy.config import Server
from oaiproxy.endpoints.doors import DOORS, Door
from oaiproxy.endpoints.encoding import error_event
from oaiproxy.endpoints.models import encode_list
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.exchange import Exchange, Reply
from oaiproxy.jsontext import Json
from oaiproxy.logs import Log
from oaiproxy.mapping import Timeouts
from oaiproxy.middleware import RECORD, REQUEST_ID, Record, too_large
from oaiproxy.routes import Routes
from oaiproxy.tokens import Tokenizer

DROPPED = "x-oaiproxy-dropped"
RESCHEDULE_SECONDS = 0.25
"""How much later a deadline must be than the one that runs before the timer is set anew."""


@dataclass(slots=True)
class State:
    """What the handlers share. `routes` is replaced whole; `ready` turns false at shutdown."""

    routes: Routes
    client: BackendClient
    tokenizer: Tokenizer
    log: Log
    server: Server
    ready: bool = False
    active: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no request is under way."""


class EventStream(web.StreamResponse):
    """A response whose headers leave together with its first bytes: one packet and one system call less."""

    _send_headers_immediately = False


def routes(state: State) -> list[web.RouteDef]:
    """The endpoints of the proxy."""

    def generating(door: Door) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            state.active += 1
            state.idle.clear()
            try:
                return await generate(request, state, door)
            finally:
                state.active -= 1
                if not state.active:
                    state.idle.set()

        return handle

    async def list_models(_request: web.Request) -> web.Response:
        return _json(encode_list(state.routes.models()), _request)

    async def get_model(request: web.Request) -> web.Response:
        return _json(jsontext.dump(state.routes.model(request.match_info["model"])), request)

    async def live(request: web.Request) -> web.Response:
        return _json(b'{"status":"ok"}', request)

    async def ready(request: web.Request) -> web.Response:
        if state.ready:
            return _json(b'{"status":"ok"}', request)
        response = _json(b'{"status":"unavailable"}', request)
        response.set_status(503)
        return response

    return [
        web.post("/v1/chat/completions", generating(DOORS["chat"])),
        web.post("/v1/completions", generating(DOORS["completions"])),
        web.get("/v1/models", list_models),
        web.get("/v1/models/{model:.+}", get_model),
        web.get("/livez", live),
        web.get("/readyz", ready),
    ]


async def generate(request: web.Request, state: State, door: Door) -> web.StreamResponse:
    """Answer one request that generates."""
    record: Record = request[RECORD]
    call = door.parse(await read_json(request, state.server))
    record["model"], record["stream"] = call.model, call.stream
    mapping = state.routes.resolve(call.model)
    identity = Identity(str(record["request_id"]), secrets.token_hex(14), str(uuid.uuid4()), time.time())
    exchange = Exchange(mapping, call, door.encoder(call, identity), identity)
    if exchange.dropped:
        record["dropped"] = list(exchange.dropped)
    return await _Relay(request, state, exchange).run()


async def read_json(request: web.Request, server: Server) -> Json:
    """The request's body. Raises ClientError when it is too large, too slow or not JSON in UTF-8."""
    if (request.content_length or 0) > server.max_body:
        raise too_large()
    charset = request.charset if "charset" in request.headers.get("Content-Type", "") else None
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise ClientError("The request body must be JSON in UTF-8.", code="invalid_charset")
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise ClientError("The request's Content-Encoding is not supported.", status=415, code="unsupported_encoding")
    try:
        async with asyncio.timeout(None if request.content.is_eof() else server.body_timeout):
            data = await request.read()
    except TimeoutError:
        raise ClientError("The request body did not arrive in time.", status=408, code="request_timeout") from None
    except (web.RequestPayloadError, ValueError) as error:
        raise ClientError("The request body could not be decoded.", code="invalid_body") from error
    try:
        return jsontext.parse(data)
    except jsontext.JsonError as error:
        raise ClientError(f"We could not parse the JSON body of your request: {error}.", code="invalid_json") from error


class _Relay:
    """One exchange on the wire: the handler's own task is the pump, so a slow client slows the backend."""

    def __init__(self, request: web.Request, state: State, exchange: Exchange) -> None:
        self._request = request
        self._state = state
        self._exchange = exchange
        self._record: Record = request[RECORD]
        self._response: EventStream | None = None
        self._timeouts: Timeouts = exchange.mapping.backend.timeouts
        self._deadline = 0.0

    async def run(self) -> web.StreamResponse:
        """Relay the reply. Before its first byte for the client a failure is raised, after it an error event."""
        outgoing = self._exchange.backend_request()
        reply: Reply | None = None
        try:
            loop = asyncio.get_running_loop()
            end = loop.time() + self._timeouts.total
            async with asyncio.timeout_at(min(end, loop.time() + self._timeouts.first_byte)) as clock:
                incoming = await self._state.client.send(outgoing, self._timeouts.connect)
                try:
                    reply = self._exchange.reply(incoming.status, incoming.headers, time.time())
                    await self._pump(incoming, reply, clock, end)
                finally:
                    incoming.close()
        except TimeoutError as error:
            late = BackendError("the backend did not answer in time", status=504, code="upstream_timeout", retry=False)
            if reply is None:
                raise late from error
            reply.cut(late)
        except BackendError as error:
            if reply is None:
                raise
            reply.cut(error)
        return await self._finish(reply)

    async def _pump(self, incoming: BackendReply, reply: Reply, clock: asyncio.Timeout, end: float) -> None:
        loop = asyncio.get_running_loop()
        idle = self._timeouts.idle
        events = 0
        set_at = 0.0
        while data := await incoming.read():
            out = reply.feed(data)
            if out:
                await self._write(out)
            if reply.done or reply.fault is not None:
                return
            now = loop.time()
            progress = reply.events != events or not self._exchange.backend_streams
            if progress and now - set_at > RESCHEDULE_SECONDS:
                set_at = now
                clock.reschedule(min(end, now + idle))
            events = reply.events

    async def _finish(self, reply: Reply) -> web.StreamResponse:
        out = reply.end()
        if reply.fault is None:
            out += await self._closing(reply)
        if reply.unknown_finish_reasons:
            self._record["unknown_finish_reasons"] = sorted(reply.unknown_finish_reasons)
        if reply.fault is not None and self._response is None and not (out and self._exchange.encoder.streams):
            raise reply.fault
        if not self._exchange.encoder.streams:
            return self._whole(out)
        await self._write(out)
        assert self._response is not None
        if reply.fault is not None:
            await self._break_off(reply.fault)
        else:
            await self._response.write_eof()
        return self._response

    async def _closing(self, reply: Reply) -> bytes:
        """The last bytes, with token counts that the backend did not give."""
        missing = reply.uncounted()
        if missing is None:
            return reply.close()
        texts = [*(missing.prompt or ()), missing.completion or ""]
        counts = await self._state.tokenizer.count(texts)
        prompt = sum(counts[:-1]) if missing.prompt is not None else None
        return reply.close(prompt, counts[-1] if missing.completion is not None else None)

    async def _write(self, data: bytes) -> None:
        """Write whole events; a client that does not read for too long is given up."""
        if not data:
            return
        response = self._response
        if response is None:
            response = self._response = EventStream(headers=self._headers())
            await response.prepare(self._request)
        transport = self._request.transport
        if transport is None or transport.get_write_buffer_size() == 0:
            await response.write(data)
            return
        try:
            async with asyncio.timeout(self._state.server.write_timeout):
                await response.write(data)
        except TimeoutError:
            self._record["stalled"] = True
            transport.abort()
            raise ConnectionResetError("the client does not read") from None

    async def _break_off(self, error: BackendError) -> None:
        """Tell of the failure, then close without the body's end: no client takes that for a complete answer."""
        self._record["code"], self._record["detail"] = error.code, error.detail or error.message
        await self._write(error_event(error))
        if self._request.transport is not None:
            self._request.transport.close()

    def _whole(self, data: bytes) -> web.Response:
        return web.Response(body=data, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        encoder = self._exchange.encoder
        headers = {"Content-Type": encoder.content_type, REQUEST_ID: self._exchange.identity.request_id}
        if encoder.streams:
            headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        if self._exchange.dropped:
            headers[DROPPED] = ", ".join(self._exchange.dropped)
        return headers


def _json(data: bytes, request: web.Request) -> web.Response:
    identity = str(request[RECORD]["request_id"])
    return web.Response(body=data, headers={"Content-Type": "application/json", REQUEST_ID: identity})
