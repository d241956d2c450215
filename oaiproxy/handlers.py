"""The HTTP endpoints: each a straight line from the client's request through an exchange and back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import HttpVersion11, web

from oaiproxy import jsontext
from oaiproxy.backend import BackendClient
from oaiproxy.calls import Calls
from oaiproxy.canonical import Identity
from oaiproxy.clocks import Clock
from oaiproxy.config import Server
from oaiproxy.discovery import Discovery
from oaiproxy.downloads import with_images
from oaiproxy.endpoints.doors import DOORS, Door
from oaiproxy.endpoints.encoding import EVENT_STREAM, error_event
from oaiproxy.endpoints.models import encode_list
from oaiproxy.errors import ApiError, BackendError, ClientError
from oaiproxy.exchange import AnyReply, Exchange
from oaiproxy.failures import redact
from oaiproxy.fan import AT_ONCE, Fan, split
from oaiproxy.jsontext import Json
from oaiproxy.logs import Log
from oaiproxy.mapping import Mapping
from oaiproxy.middleware import MAX_SHOWN, RECORD, REQUEST_ID, report_bug, too_large
from oaiproxy.routes import Routes
from oaiproxy.sender import Incoming, Sender
from oaiproxy.tokens import Tokenizer
from oaiproxy.uploads import read_form

DROPPED = "x-oaiproxy-dropped"
SMALL = 32 * 1024
"""Bytes that an empty write buffer takes at once, so that no client can stall their write."""
MAX_DEPTH = 64
MAX_NODES = 200_000
"""How deep a request's JSON may be, and how many values it may hold."""


@dataclass(slots=True)
class State:
    """What the handlers share. `routes` is replaced whole; `ready` turns false at shutdown."""

    routes: Routes
    client: BackendClient
    sender: Sender
    tokenizer: Tokenizer
    log: Log
    server: Server
    discovery: Discovery | None = None
    ready: bool = False
    active: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while no request is under way."""
    clocks: set[Clock] = field(default_factory=set)
    """Those of the replies that backends are sending."""
    background: set[asyncio.Task[None]] = field(default_factory=set)
    """Calls that outlive their requests, for a short time."""

    async def resolve(self, model: str) -> Mapping:
        """The mapping of a model; one that is unknown is looked for in the lists of backends. Raises ClientError."""
        try:
            return self.routes.resolve(model)
        except ClientError:
            if self.discovery is None:
                raise
        await self.discovery.look_again()
        return self.routes.resolve(model)

    async def drain(self, seconds: float, grace: float = 1.0) -> None:
        """Let what is under way finish for so long; then break it off, with an error that says why."""
        for patience in (seconds, grace):
            if self.active:
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self.idle.wait()
            for clock in tuple(self.clocks):
                clock.interrupt()
        if self.background:
            _, late = await asyncio.wait(self.background, timeout=grace)
            for task in late:
                task.cancel()


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
                response = await generate(request, state, door)
                if not state.ready and not response.prepared:
                    response.force_close()
                return response
            finally:
                state.active -= 1
                if not state.active:
                    state.idle.set()

        return handle

    async def list_models(request: web.Request) -> web.Response:
        return _json(encode_list(state.routes.models()), request)

    async def get_model(request: web.Request) -> web.Response:
        return _json(jsontext.dump(state.routes.model(request.match_info["model"])), request)

    async def live(request: web.Request) -> web.Response:
        request[RECORD].level = "debug"
        return _json(b'{"status":"ok"}', request)

    async def ready(request: web.Request) -> web.Response:
        if state.ready:
            return await live(request)
        response = _json(b'{"status":"unavailable"}', request)
        response.set_status(503)
        return response

    async def expect(request: web.Request) -> None:
        """Ask for the body, but not for one that will not be read (RFC 9110, 10.1.1)."""
        wanted = request.headers.get("Expect", "").lower() == "100-continue"
        if wanted and request.version >= HttpVersion11 and (request.content_length or 0) <= state.server.max_body:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0

    return [
        *(web.post(door.path, generating(door), expect_handler=expect) for door in DOORS.values()),
        web.get("/v1/models", list_models),
        web.get("/v1/models/{model:.+}", get_model),
        web.get("/livez", live),
        web.get("/readyz", ready),
    ]


async def generate(request: web.Request, state: State, door: Door) -> web.StreamResponse:
    """Answer one request that generates."""
    record = request[RECORD]
    read = read_form if door.reads == "form" else read_json
    call = door.parse(await read(request, state.server))
    record["model"], record["stream"] = call.model[:MAX_SHOWN], call.stream
    mapping = await state.resolve(call.model)
    identity = new_identity(str(record["request_id"]))
    endpoint = mapping.endpoint(call.endpoint)
    if endpoint is not None and endpoint.images is not None:
        call = await with_images(call, endpoint.images)
    headers = {name: request.headers[name] for name in mapping.client_headers if name in request.headers}
    exchange = Exchange(mapping, call, door.encoder(call, identity), identity, headers)
    if exchange.dropped:
        record["dropped"] = list(exchange.dropped)
    return await _Relay(request, state, exchange).run()


def new_identity(request_id: str) -> Identity:
    """The identity of a request: one draw of chance and one look at the clock. The uuid is of version 4 (RFC 9562)."""
    token = os.urandom(16).hex()
    uuid = f"{token[:8]}-{token[8:12]}-4{token[13:16]}-a{token[17:20]}-{token[20:]}"
    return Identity(request_id, token, uuid, time.time())


async def read_json(request: web.Request, server: Server) -> Json:
    """The request's body. Raises ClientError when it is too large, too slow or not JSON in UTF-8."""
    if (request.content_length or 0) > server.max_body:
        raise too_large()
    charset = request.charset
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
        body = jsontext.parse(data)
    except jsontext.JsonError as error:
        raise ClientError(f"We could not parse the JSON body of your request: {error}.", code="invalid_json") from error
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _check_shape(body)
    return body


def _check_shape(body: Json) -> None:
    """Raises ClientError for JSON that is deeper or larger than what recurses over it should be given."""
    nodes = 0
    level = [body] if isinstance(body, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if (nodes := nodes + 1) and isinstance(child, dict | list)
        ]
        if nodes > MAX_NODES:
            raise ClientError(f"The JSON body holds more than {MAX_NODES} values.", code="invalid_json")
        if not level:
            return
    raise ClientError(f"The JSON body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json")


class _Relay:
    """One exchange on the wire: the handler's own task is the pump, so a slow client slows the backend."""

    def __init__(self, request: web.Request, state: State, exchange: Exchange) -> None:
        self._request = request
        self._state = state
        self._exchange = exchange
        self._record = request[RECORD]
        self._response: EventStream | None = None
        self._odd: dict[str, set[str]] = {}
        self._turn = asyncio.Lock()
        """Of the parts of an exchange, which one writes."""

    async def run(self) -> web.StreamResponse:
        """Relay the reply. Before its first byte for the client a failure is raised, after it an error event."""
        try:
            fan = split(self._exchange)
            if fan is not None:
                return await self._gather(fan)
            return await self._finish(await self._receive(self._exchange))
        except ConnectionError:
            raise
        except Exception as error:
            if self._response is None:
                raise
            identity = self._exchange.identity.request_id
            return await self._break_off(self._response, report_bug(self._state.log, identity, error))

    async def _gather(self, fan: Fan) -> web.StreamResponse:
        """Relay the parts, some at a time. The first that fails ends all."""
        end = asyncio.get_running_loop().time() + self._exchange.mapping.backend.timeouts.total
        parts = iter(enumerate(fan.parts))

        async def work() -> None:
            for number, part in parts:
                reply = await self._receive(part, end)
                out = reply.end()
                if reply.fault is None:
                    out += await self._closing(reply, prompt=number == 0 or not fan.counts_once)
                self._note(reply)
                if out:
                    await self._write_in_turn(out, None)
                if reply.fault is not None:
                    raise reply.fault

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(fan.parts))):
                    group.create_task(work())
        except BaseExceptionGroup as failed:
            error = failed.exceptions[0]
            if self._response is None or not isinstance(error, ApiError):
                raise error from None
            return await self._break_off(self._response, error)
        out = fan.finish()
        return await (self._complete(out) if fan.encoder.streams else self._whole(out))

    async def _receive(self, exchange: Exchange, end: float | None = None) -> AnyReply:
        """Send the request and read the reply to its end, or to what broke it off; `end` is that of its time."""
        timeouts = exchange.mapping.backend.timeouts
        outgoing = exchange.backend_request() if exchange.flow is None else None
        reply: AnyReply | None = None
        clock = Clock(timeouts, end)
        calls = self._calls(exchange, clock)

        async def write(data: bytes) -> None:
            await (self._write(data, clock) if end is None else self._write_in_turn(data, clock))

        self._state.clocks.add(clock)
        try:
            async with clock.timer:
                incoming: Incoming
                if calls is not None:
                    incoming = await calls.open()
                elif outgoing is not None:
                    incoming = await self._state.sender.send(
                        outgoing, exchange.mapping.backend, exchange.client_headers, clock.timer.when()
                    )
                try:
                    reply = exchange.reply(incoming.status, incoming.headers, time.time())
                    await self._pump(incoming, reply, clock, write)
                except BaseException:
                    incoming.close()
                    raise
                if reply.done:
                    incoming.release()
                else:
                    incoming.close()
                if calls is not None and reply.fault is None:
                    await calls.close(reply, write)
        except TimeoutError as error:
            if calls is not None:
                calls.cancel(reply)
            if reply is None:
                raise clock.error() from error
            if calls is None or calls.vital:
                reply.cut(clock.error())
        except BackendError as error:
            if calls is not None and error.code == "upstream_timeout":
                calls.cancel(reply)
            error.detail = redact(error.detail, exchange.mapping.secrets)
            if reply is None:
                raise
            reply.cut(error)
        except BaseException:
            if calls is not None:
                calls.cancel(reply)
            raise
        finally:
            self._state.clocks.discard(clock)
        return reply

    def _calls(self, exchange: Exchange, clock: Clock) -> Calls | None:
        if exchange.flow is None:
            return None
        state = self._state
        return Calls(exchange, state.sender, clock, state.log, state.background)

    async def _pump(
        self, incoming: Incoming, reply: AnyReply, clock: Clock, write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Feed the reply until it is done or broken, or the body ends. A stream's progress is in events, not bytes."""
        events = 0
        while data := await incoming.read():
            out = reply.feed(data)
            if out:
                await write(out)
            if reply.done or reply.fault is not None:
                return
            if reply.events != events or not reply.streams:
                events = reply.events
                clock.renew()

    async def _finish(self, reply: AnyReply) -> web.StreamResponse:
        """The end of the response."""
        out = reply.end()
        if reply.fault is None:
            out += await self._closing(reply)
        self._note(reply)
        fault = reply.fault
        if not self._exchange.encoder.streams:
            if fault is not None:
                raise fault
            return await self._whole(out)
        if fault is not None and self._response is None and not out:
            raise fault
        if fault is not None:
            return await self._break_off(await self._write(out), fault)
        return await self._complete(out)

    async def _complete(self, out: bytes) -> web.StreamResponse:
        """The end of a stream."""
        response = await self._write(out)
        await self._patiently(response.write_eof())
        return response

    def _note(self, reply: AnyReply) -> None:
        """Keep for the log what was odd in a reply."""
        for name in ("unknown_finish_reasons", "unknown_events", "left_out"):
            if found := getattr(reply, name):
                self._odd.setdefault(name, set()).update(found)
                self._record[name] = sorted(self._odd[name])

    async def _closing(self, reply: AnyReply, *, prompt: bool = True) -> bytes:
        """The last bytes, with token counts that the backend did not give; of the prompt if `prompt` says so."""
        missing = reply.uncounted()
        if missing is None:
            return reply.close()
        # Apart, since a prompt so long that only a sample of it is counted must not blur the answer's count.
        count = self._state.tokenizer.count
        sent = sum(await count(missing.prompt)) if missing.prompt is not None and prompt else None
        completion = sum(await count([missing.completion])) if missing.completion is not None else None
        return reply.close(sent, completion)

    async def _write_in_turn(self, data: bytes, clock: Clock | None) -> None:
        """Write for one of several parts."""
        if clock is not None and self._turn.locked():
            clock.pause()
        async with self._turn:
            await self._write(data, clock)
        if clock is not None:
            clock.renew()

    async def _write(self, data: bytes, clock: Clock | None = None) -> EventStream:
        """Write whole events, or nothing."""
        response = self._response
        if response is None:
            response = self._response = EventStream(headers=self._headers())
            await response.prepare(self._request)
        transport = self._request.transport
        if transport is None or (len(data) <= SMALL and transport.get_write_buffer_size() == 0):
            await response.write(data)
            return response
        if clock is not None:
            clock.pause()
        await self._patiently(response.write(data))
        if clock is not None:
            clock.renew()
        return response

    async def _patiently(self, writing: Awaitable[None]) -> None:
        """Write; a client that does not read for too long is given up."""
        try:
            async with asyncio.timeout(self._state.server.write_timeout):
                await writing
        except TimeoutError:
            self._record["stalled"] = True
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client does not read") from None

    async def _break_off(self, response: EventStream, error: ApiError) -> web.StreamResponse:
        """Tell of the failure, then close without the body's end: no client takes that for a complete answer."""
        self._record.level = "warning"
        self._record["code"], self._record["detail"] = error.code, error.detail or error.message
        if self._exchange.encoder.content_type == EVENT_STREAM:
            await self._write(error_event(error))
        if self._request.transport is not None:
            self._request.transport.close()
        return response

    async def _whole(self, data: bytes) -> web.Response:
        response = web.Response(body=data, headers=self._headers())
        if len(data) > SMALL:
            await response.prepare(self._request)
            await self._patiently(response.write_eof())
        return response

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
