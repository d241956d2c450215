"""The HTTP endpoints: each a straight line from the client's request to an exchange, and to its relay."""

from __future__ import annotations

import asyncio
import os
import time

from aiohttp import web

from oaiproxy import jsontext, message_routes, openapi, responses_handlers
from oaiproxy.canonical import Call, Identity
from oaiproxy.clientkeys import passed_on
from oaiproxy.config import Server
from oaiproxy.dispatch import DEPLOYMENT
from oaiproxy.downloads import with_images
from oaiproxy.endpoints.doors import DOORS, Door
from oaiproxy.endpoints.models import encode_list
from oaiproxy.entry import HOLDER
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.jsontext import Json
from oaiproxy.middleware import ERROR_BODY, MAX_SHOWN, RECORD, json_response, too_large
from oaiproxy.outlets import to_client
from oaiproxy.parameters import invalid_value
from oaiproxy.promptlists import place_of_ids, token_ids, with_texts
from oaiproxy.relay import Relay
from oaiproxy.responses_handlers import Handle, Relayed
from oaiproxy.routes import unknown_model
from oaiproxy.state import State
from oaiproxy.tokens import IDS_ENCODING, Tokenizer, UnknownTokenError
from oaiproxy.uploads import read_form

MAX_DEPTH = 64
MAX_NODES = 200_000
"""How deep a request's JSON may be, and how many values it may hold."""


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
            state.active += 1
            state.idle.clear()
            try:
                response = await work(request)
                if not state.ready and not response.prepared:
                    response.force_close()
                return response
            finally:
                state.active -= 1
                if not state.active:
                    state.idle.set()

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
        if state.ready:
            return await live(request)
        response = json_response(b'{"status":"unavailable"}')
        response.set_status(503)
        return response

    return [
        *(web.post(door.path, generating(door)) for door in DOORS.values()),
        *responses_handlers.routes(state, counted, read_json, answer),
        *message_routes.routes(state, read_json),
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
    read = read_form if door.reads == "form" else read_json
    body = await read(request, state.server)
    deployment = request.match_info.get(DEPLOYMENT)
    if deployment is not None and isinstance(body, dict):
        body["model"] = deployment
    return await answer(request, state, door, door.parse(body))


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
    mapping = await state.resolve(call.model, request.get(HOLDER))
    identity = new_identity(str(record["request_id"]))
    endpoint = mapping.endpoint(call.endpoint)
    if endpoint is not None and endpoint.images is not None:
        call = await with_images(call, endpoint.images)
    if endpoint is not None and (ids := token_ids(call, endpoint.reads)):
        call = await _in_words(call, ids, state.tokenizer)
    headers = passed_on(request.headers, mapping.client_headers)
    exchange = Exchange(mapping, call, door.encoder(call, identity), identity, headers)
    if dropped := (*door.dropped, *(door.param(call, name) for name in exchange.dropped)):
        exchange.dropped = tuple(dict.fromkeys(dropped))
        record["dropped"] = list(exchange.dropped)
    return await relay(request, state, exchange)


async def _to_client(request: web.Request, state: State, exchange: Exchange) -> web.StreamResponse:
    """Ask the backend while the client waits."""
    outlet = to_client(request, state.server, exchange)
    return await Relay(outlet, request[RECORD], state, exchange).run()


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
        raise ClientError(f"We could not parse the JSON body of your request. ({error})") from error
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
