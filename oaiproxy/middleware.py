"""Around every request: an id, errors as OpenAI's JSON, one log line."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from oaiproxy import jsontext
from oaiproxy.errors import ApiError, ClientError, ProxyError
from oaiproxy.logs import Log

REQUEST_ID = "x-request-id"
MAX_REQUEST_ID = 200


class Record(dict[str, object]):
    """What the log line of a request will say; handlers add to it."""


RECORD = "oaiproxy_record"


def request_id(headers: Mapping[str, str]) -> str:
    """The id that the client gave, if it is one that may stand in a header and a log; else a new one."""
    given = headers.get(REQUEST_ID, "")
    if given and len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable():
        return given
    return "req_" + secrets.token_hex(16)


def error_response(error: ApiError, identity: str) -> web.Response:
    """An error as OpenAI's clients expect it: https://platform.openai.com/docs/guides/error-codes."""
    headers = {REQUEST_ID: identity}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if error.retry is not None:
        headers["x-should-retry"] = "true" if error.retry else "false"
    response = web.Response(body=jsontext.dump(error.body()), status=error.status, headers=headers)
    response.content_type = "application/json"
    return response


def from_http(error: web.HTTPException, request: web.Request) -> ClientError:
    """The framework's own refusals as ours."""
    place = f"{request.method} {request.path[:200]}"
    match error:
        case web.HTTPMethodNotAllowed():
            return ClientError(
                f"Not allowed to {request.method} on {request.path[:200]}.", status=405, code="method_not_supported"
            )
        case web.HTTPNotFound():
            return ClientError(f"Invalid URL ({place})", status=404)
        case web.HTTPRequestEntityTooLarge():
            return too_large()
    return ClientError(error.reason, status=error.status)


def too_large() -> ClientError:
    """The request's body is over the limit."""
    return ClientError("The request body is too large.", status=413, code="request_too_large")


def boundary(log: Log) -> Middleware:
    """The middleware."""

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        identity = request_id(request.headers)
        record = Record(request_id=identity, method=request.method, path=request.path)
        request[RECORD] = record
        status = 499
        try:
            response = await handler(request)
            status = response.status
            return response
        except ApiError as error:
            status = error.status
            record["code"], record["detail"] = error.code, error.detail or error.message
            return error_response(error, identity)
        except web.HTTPException as error:
            status = error.status
            response = error_response(from_http(error, request), identity)
            if isinstance(error, web.HTTPMethodNotAllowed):
                response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
            return response
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            status = 500
            record["exception"] = type(error).__name__
            log.write("error", "bug", request_id=identity, exception=repr(error)[:500], where=_where(error))
            return error_response(ProxyError("The proxy failed to handle the request.", retry=False), identity)
        finally:
            record["status"] = status
            record["ms"] = round((time.perf_counter() - started) * 1000, 1)
            log.write("info" if status < 500 else "warning", "request", **record)

    return handle


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
