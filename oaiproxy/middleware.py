"""Around every request: an id, errors as OpenAI's JSON, one log line."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Callable, Mapping
from itertools import chain
from math import ceil
from pathlib import Path
from typing import TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from oaiproxy import jsontext
from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.clocks import SHUTDOWN
from oaiproxy.cors import Cors
from oaiproxy.errors import ApiError, ClientError, OverloadedError, ProxyError
from oaiproxy.jsontext import Json
from oaiproxy.logs import Log

REQUEST_ID = "x-request-id"
READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing and cost nothing, which pages of any origin may use; they cannot read the answers."""
NO_PAGES = Cors()
MAX_REQUEST_ID = 200
MAX_FRAMES = 6


MAX_SHOWN = 200
"""Characters of what a client chose, such as a path, in a log line or a message."""


class Record(dict[str, object]):
    """What the log line of a request will say; handlers add to it, and may lower its `level`."""

    level = "info"
    started = 0.0
    """When the request's headers had come, by `time.perf_counter`."""


RECORD = web.RequestKey("record", Record)
STRAY = web.RequestKey("stray", bool)
"""Whether what follows a request on its connection is not to be trusted either."""
ErrorBody: TypeAlias = Callable[[ApiError, str], Json]
"""The body that tells of an error, given the request's id."""
ERROR_BODY: web.RequestKey[ErrorBody] = web.RequestKey("error_body")
"""How the endpoint of a request tells of errors, where that is not OpenAI's way."""


def request_id(headers: Mapping[str, str]) -> str:
    """The id that the client gave, if it is one that may stand in a header and a log; else a new one."""
    given = headers.get(REQUEST_ID, "")
    if given and len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable():
        return given
    return "req_" + os.urandom(16).hex()


def json_response(data: bytes) -> web.Response:
    """A whole answer that is JSON."""
    return web.Response(body=data, headers={"Content-Type": "application/json"})


def _openai_body(error: ApiError, identity: str) -> Json:
    return error.body()


def error_response(error: ApiError, identity: str, body: ErrorBody = _openai_body) -> web.Response:
    """An error as OpenAI's clients expect it: https://platform.openai.com/docs/guides/error-codes."""
    headers = {REQUEST_ID: identity}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(error.retry_after)))
        if error.retry_after % 1:
            headers["retry-after-ms"] = str(ceil(error.retry_after * 1000))
    if error.retry is not None:
        headers["x-should-retry"] = "true" if error.retry else "false"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    response = web.Response(body=jsontext.dump(body(error, identity)), status=error.status, headers=headers)
    response.content_type = "application/json"
    if error.code == SHUTDOWN:
        response.force_close()
    return response


def from_http(error: web.HTTPException, request: web.Request) -> ClientError:
    """The framework's own refusals as ours."""
    place = f"{request.method} {request.path[:MAX_SHOWN]}"
    match error:
        case web.HTTPMethodNotAllowed():
            message = f"Not allowed to {request.method} on {request.path[:MAX_SHOWN]}."
            return ClientError(message, status=405, code="method_not_supported")
        case web.HTTPNotFound():
            return ClientError(f"Invalid URL ({place})", status=404)
        case web.HTTPRequestEntityTooLarge():
            return too_large()
    return ClientError(error.reason, status=error.status)


def _foreign_page() -> ClientError:
    message = "Pages of this origin may not call this server; its configuration lists those that may: `server.cors`."
    return ClientError(message, status=403, code="origin_not_allowed")


def _long_headers(most: int) -> ClientError:
    message = f"The request's headers are longer than {most} bytes."
    return ClientError(message, status=431, code="request_too_large")


def too_large() -> ClientError:
    """The request's body is over the limit."""
    return ClientError("The request body is too large.", status=413, code="request_too_large")


def unreadable(status: int, headers: Mapping[str, str]) -> web.Response:
    """What is told of a request that is no HTTP, or whose body is encoded in a way that nobody here knows."""
    message = "The request could not be read." if status < 500 else "The proxy failed to handle the request."
    code = "request_too_large" if status == 431 else "invalid_request"
    error = ClientError(message, status=status, code=code) if status < 500 else ProxyError(message)
    return error_response(error, request_id(headers))


def report_bug(log: Log, identity: str, error: Exception) -> ProxyError:
    """Log an exception that nobody expected, without its text, which may be a client's; what the client is told."""
    log.write("error", "bug", request_id=identity, exception=type(error).__name__, where=_where(error))
    return ProxyError("The proxy failed to handle the request.", retry=False)


def boundary(
    log: Log,
    cors: Cors = NO_PAGES,
    bounds: Callable[[], Bounds] = lambda: BOUNDS,
    knock: Callable[[web.Request], None] = lambda _: None,
) -> Middleware:
    """The middleware. `cors` knows the pages that may call; `bounds` tells how long a request's headers may be.

    `knock` raises ApiError for what nobody is to handle.
    """

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        identity = request_id(request.headers)
        record = Record(request_id=identity, method=request.method, path=request.path[:MAX_SHOWN])
        record.started = time.perf_counter()
        request[RECORD] = record
        status = 499
        try:
            response = await _answered(request, handler, identity, log, cors, knock, bounds().headers)
            status = response.status
            return response
        finally:
            record["status"] = status
            record["ms"] = round((time.perf_counter() - record.started) * 1000, 1)
            grave = status >= 500 and record.get("code") != OverloadedError.code
            log.write("warning" if grave else record.level, "request", **record)

    return handle


async def _answered(
    request: web.Request,
    handler: Handler,
    identity: str,
    log: Log,
    cors: Cors,
    knock: Callable[[web.Request], None],
    max_headers: int,
) -> web.StreamResponse:
    """The handler's response, or an error's."""
    record = request[RECORD]
    allow = None
    try:
        knock(request)
        if request.method not in READING and not cors.allows(request.headers.get("Origin")):
            raise _foreign_page()
        if sum(map(len, chain.from_iterable(request.raw_headers))) > max_headers:
            raise _long_headers(max_headers)
        return await handler(request)
    except ApiError as error:
        answer = error
    except web.HTTPException as error:
        answer = from_http(error, request)
        allow = ", ".join(sorted(error.allowed_methods)) if isinstance(error, web.HTTPMethodNotAllowed) else None
    except ConnectionError:
        raise
    except Exception as error:
        answer = report_bug(log, identity, error)
    _note(answer, record)
    response = error_response(answer, identity, request.get(ERROR_BODY, _openai_body))
    if allow is not None:
        response.headers["Allow"] = allow
    if not request.content.is_eof() or STRAY in request:
        # What is left of the body would be taken for the next request (RFC 9110, 10.1.1).
        response.force_close()
    return response


def _note(answer: ApiError, record: Record) -> None:
    """What the log says of an error: of a client's mistake in a field the field alone, for messages quote its value."""
    record["code"] = answer.code
    if isinstance(answer, ClientError) and answer.param:
        record["param"] = re.split(r"[.\[]", answer.param, maxsplit=1)[0]
    if answer.detail or "param" not in record:
        record["detail"] = answer.detail or answer.message


def _where(error: BaseException) -> str:
    """The innermost frames, outermost first: `file:line file:line`."""
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    return " ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
