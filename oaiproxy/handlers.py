"""The HTTP endpoints: each a straight line from the client's request to an exchange, and to its relay."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from aiohttp import web

from oaiproxy import jsontext, message_routes, openapi, responses_handlers
from oaiproxy.admission import Gate, Lane, Place
from oaiproxy.canonical import Call, Identity
from oaiproxy.clientkeys import passed_on
from oaiproxy.clocks import broken_off, shutting_down
from oaiproxy.dispatch import DEPLOYMENT
from oaiproxy.downloads import with_images
from oaiproxy.endpoints.doors import DOORS, Door
from oaiproxy.endpoints.models import encode_list
from oaiproxy.entry import HOLDER
from oaiproxy.errors import ApiError, ClientError, OverloadedError
from oaiproxy.exchange import Exchange
from oaiproxy.fallbacks import Fallbacks, asked_of, identity_of, is_trusted
from oaiproxy.jsonbodies import parse_body
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Mapping
from oaiproxy.middleware import ERROR_BODY, MAX_SHOWN, RECORD, Record, json_response, too_large
from oaiproxy.offloop import LARGE, off_loop
from oaiproxy.outlets import to_client
from oaiproxy.parameters import invalid_value
from oaiproxy.pool import was_asked
from oaiproxy.promptlists import place_of_ids, token_ids, with_texts
from oaiproxy.relay import Relay
from oaiproxy.responses_handlers import PLACE, Handle, Relayed
from oaiproxy.routes import unknown_model
from oaiproxy.state import State
from oaiproxy.tokens import IDS_ENCODING, Tokenizer, UnknownTokenError
from oaiproxy.uploads import read_form


def routes(state: State) -> list[web.RouteDef]:
    """The endpoints of the proxy, and the document that tells of them."""
    found = _endpoints(state)
    places = (*((route.method, route.path) for route in found), ("GET", "/openapi.json"))

    async def describe(request: web.Request) -> web.Response:
        return json_response(openapi.document(places))

    return [*found, web.get("/openapi.json", describe)]


def _endpoints(state: State) -> list[web.RouteDef]:
    """The endpoints of the proxy."""

    def counted(work: Handle) -> Handle:
        async def handle(request: web.Request) -> web.StreamResponse:
            task = request.task
            state.enter(task)
            try:
                response = await work(request)
                if not state.ready and not response.prepared:
                    response.force_close()
                return response
            except asyncio.CancelledError:
                if not state.closed or request.writer.output_size:
                    raise
                task.uncancel()
                raise (broken_off() if was_asked() else shutting_down()) from None
            finally:
                state.leave(task)

        return handle

    def generating(door: Door) -> Handle:
        return counted(lambda request: generate(request, state, door))

    async def list_models(request: web.Request) -> web.Response:
        holder, models = request.get(HOLDER), state.routes.models()
        return json_response(
            encode_list(models if holder is None else [each for each in models if holder.allows(str(each["id"]))])
        )

    async def get_model(request: web.Request) -> web.Response:
        name = request.match_info["model"].rstrip("/")
        holder = request.get(HOLDER)
        if holder is not None and not holder.allows(name):
            raise unknown_model(name)
        return json_response(jsontext.dump(state.routes.model(name)))

    async def live(request: web.Request) -> web.Response:
        request[RECORD].level = "debug"
        return json_response(b'{"status":"ok"}')

    async def ready(request: web.Request) -> web.Response:
        if state.ready and not state.refuses:
            return await live(request)
        response = json_response(b'{"status":"unavailable"}')
        response.set_status(503)
        return response

    async def read(request: web.Request, state: State) -> Json:
        state.check()
        return await read_json(request, state)

    return [
        *(web.post(door.path, generating(door)) for door in DOORS.values()),
        *responses_handlers.routes(state, counted, read, answer),
        *message_routes.routes(state, read),
        web.get("/v1/models", list_models),
        web.get("/v1/models/{model:.+}", get_model),
        web.get("/livez", live),
        web.get("/readyz", ready),
        web.get("/", live),
        web.get("/health", ready),
        web.get("/v1/health", ready),
    ]


async def generate(request: web.Request, state: State, door: Door) -> web.StreamResponse:
    """Answer one request that generates."""
    request[ERROR_BODY] = door.error
    state.check()
    body = await (read_form(request, state.server) if door.reads == "form" else read_json(request, state))
    deployment = request.match_info.get(DEPLOYMENT)
    if deployment is not None and isinstance(body, dict):
        body["model"] = deployment
    size = request.content.total_bytes
    call = door.parse(body) if size <= LARGE else await off_loop(size, door.parse, body)
    return await answer(request, state, door, call)


async def answer(
    request: web.Request, state: State, door: Door, call: Call, relay: Relayed | None = None
) -> web.StreamResponse:
    """Answer one call, by `relay` of its exchange. Errors name the client's fields as its endpoint does."""
    try:
        return await _relayed(request, state, door, call, relay or _to_client)
    except ApiError as error:
        if error.param is not None and (param := door.param(call, error.param)) != error.param:
            error.message = error.message.replace(f"'{error.param}'", f"'{param}'")
            error.param = param
        raise


async def _relayed(request: web.Request, state: State, door: Door, call: Call, relay: Relayed) -> web.StreamResponse:
    record = request[RECORD]
    record["model"], record["stream"] = call.model[:MAX_SHOWN], call.stream
    mapping = await state.resolve(call.model, None if state.keys is None else request.get(HOLDER))
    lane = state.gate.lane(mapping.file, call.stream)
    request[PLACE] = place = state.gate.enter(lane) or await _wait_for_place(record, state.gate, lane)
    try:
        identity = new_identity(str(record["request_id"]))
        exchange = await _exchange(request, state, door, call, mapping, identity)
        if exchange.dropped:
            record["dropped"] = list(exchange.dropped)
        fallbacks = None
        if state.fallbacks and (names := state.fallbacks.get(mapping.file)):
            fallbacks = _fallbacks(request, state, door, exchange, call, mapping, identity, names)
        return await relay(request, state, exchange, fallbacks)
    finally:
        place.leave()


async def _wait_for_place(record: Record, gate: Gate, lane: Lane) -> Place:
    """A place after a wait, which the log tells. Raises OverloadedError."""
    began = time.perf_counter()
    try:
        return await gate.wait(lane)
    finally:
        record["queued_ms"] = round((time.perf_counter() - began) * 1000, 1)


def _fallbacks(
    request: web.Request,
    state: State,
    door: Door,
    exchange: Exchange,
    call: Call,
    mapping: Mapping,
    identity: Identity,
    names: Sequence[str],
) -> Fallbacks:
    """Who answers in place of the mapping."""

    async def build(model: str, tries: int) -> Exchange:
        other = await state.resolve(model, request.get(HOLDER))
        if not is_trusted(other, mapping):
            raise ClientError("The key is for another server.", code="permission_denied")
        if not request[PLACE].move(state.gate.lane(other.file, call.stream)):
            raise OverloadedError(detail="no place is free")
        return await _exchange(request, state, door, asked_of(call, model), other, identity, tries)

    return Fallbacks(exchange, names, build)


async def _exchange(
    request: web.Request, state: State, door: Door, call: Call, mapping: Mapping, identity: Identity, tries: int = 0
) -> Exchange:
    """The exchange of a call with a mapping; after so many `tries` of others, with chance of its own."""
    endpoint = mapping.endpoint(call.endpoint)
    if endpoint is not None and endpoint.images is not None:
        call = await with_images(call, endpoint.images)
    if endpoint is not None and (ids := token_ids(call, endpoint.reads)):
        call = await _in_words(call, ids, state.tokenizer)
    headers = passed_on(request.headers, mapping.client_headers)
    size = request.content.total_bytes
    own = identity_of(identity, tries) if tries else identity
    encoder = door.encoder(call, identity)
    if size <= LARGE:
        exchange = Exchange(mapping, call, encoder, own, headers)
    else:
        exchange = await off_loop(size, Exchange, mapping, call, encoder, own, headers)
    exchange.size = size
    if dropped := (*door.dropped, *(door.param(call, name) for name in exchange.dropped)):
        exchange.dropped = tuple(dict.fromkeys(dropped))
    return exchange


async def _to_client(
    request: web.Request, state: State, exchange: Exchange, fallbacks: Fallbacks | None
) -> web.StreamResponse:
    """Ask the backend while the client waits."""
    outlet = to_client(request, state.server, exchange, fallbacks)
    return await Relay(outlet, request[RECORD], state, exchange, fallbacks).run()


async def _in_words(call: Call, ids: list[list[int]], tokenizer: Tokenizer) -> Call:
    """The call with texts in place of token ids. Raises ClientError for an id that is none."""
    try:
        return with_texts(call, await tokenizer.decode(ids))
    except UnknownTokenError as error:
        raise invalid_value(place_of_ids(call, error.index), f"{error} in {IDS_ENCODING}") from None
    except RuntimeError as error:
        param = place_of_ids(call, 0)
        message = f"Unsupported value for '{param}': token ids cannot be decoded here, send text."
        raise ClientError(message, param=param, code="unsupported_value", detail=str(error)) from error


def new_identity(request_id: str) -> Identity:
    """The identity of a request: one draw of chance and one look at the clock. The uuid is of version 4 (RFC 9562)."""
    token = os.urandom(16).hex()
    uuid = f"{token[:8]}-{token[8:12]}-4{token[13:16]}-a{token[17:20]}-{token[20:]}"
    return Identity(request_id, token, uuid, time.time())


async def read_json(request: web.Request, state: State) -> Json:
    """The request's body. Raises ClientError when it is too large, too slow or not JSON in UTF-8."""
    server = state.server
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
    if len(data) <= LARGE:
        return parse_body(data, state.bounds)
    return await off_loop(len(data), parse_body, data, state.bounds)
