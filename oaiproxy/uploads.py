"""A client's `multipart/form-data` request to its fields by name (RFC 7578), never more of it than is allowed."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from oaiproxy.config import Server
from oaiproxy.errors import ClientError
from oaiproxy.jsontext import Json
from oaiproxy.middleware import too_large

MAX_PARTS = 100
MAX_PREAMBLE = 10
"""Lines before the first part. A form has none; to skip them costs a step for each."""
CHUNK = 64 * 1024


class Form(MultipartReader):
    """The library's reader, which would skip as many lines before the first part as a client sends."""

    async def _read_until_first_boundary(self) -> None:
        for _ in range(MAX_PREAMBLE):
            line = (await self._readline()).rstrip()
            if line in (self._boundary, self._boundary + b"--"):
                self._at_eof = line != self._boundary
                return
        raise ValueError("the form does not begin")


async def read_form(request: web.Request, server: Server) -> dict[str, Json]:
    """The fields: texts, lists of texts where a name came more than once or ends in `[]`, and files.

    A file is `{filename, media_type, base64}`. Raises ClientError for what is no form, too large or too slow.
    """
    if request.content_type != "multipart/form-data":
        raise ClientError("The request body must be multipart/form-data.", code="invalid_body")
    if (request.content_length or 0) > server.max_body:
        raise too_large()
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ClientError("The request's Content-Encoding is not supported.", status=415, code="unsupported_encoding")
    try:
        async with asyncio.timeout(server.body_timeout):
            return await _fields(Form(request.headers, request.content), request.content, server.max_body)
    except TimeoutError:
        raise ClientError("The request body did not arrive in time.", status=408, code="request_timeout") from None
    except (web.RequestPayloadError, HttpProcessingError, ValueError, AssertionError, RuntimeError) as error:
        raise ClientError("The request body is not a form that can be read.", code="invalid_body") from error


async def _fields(reader: MultipartReader, content: StreamReader, max_bytes: int) -> dict[str, Json]:
    fields: dict[str, Json] = {}
    for _ in range(MAX_PARTS):
        part = await reader.next()
        if content.total_bytes > max_bytes:
            raise too_large()
        if part is None:
            return fields
        if not isinstance(part, BodyPartReader) or not part.name:
            raise ValueError("a part of a form has a name and no parts")
        data = bytearray()
        while chunk := await part.read_chunk(CHUNK):
            data += chunk
            if content.total_bytes > max_bytes:
                raise too_large()
        _add(fields, part.name, _value(part, bytes(data)))
    raise ClientError(f"The form holds more than {MAX_PARTS} parts.", code="invalid_body")


def _value(part: BodyPartReader, data: bytes) -> Json:
    if part.filename is None:
        return data.decode("utf-8")
    media_type = part.headers.get("Content-Type", "application/octet-stream")
    return {"filename": part.filename, "media_type": media_type, "base64": b64encode(data).decode()}


def _add(fields: dict[str, Json], name: str, value: Json) -> None:
    if name in fields:
        known = fields[name]
        fields[name] = [*known, value] if isinstance(known, list) else [known, value]
    else:
        fields[name] = [value] if name.endswith("[]") else value
