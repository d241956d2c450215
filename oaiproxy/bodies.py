"""The body of a backend request, in each of the forms that mappings know, to bytes and back.

Forms are encoded as browsers do (https://url.spec.whatwg.org/#urlencoded-serializing), files as in RFC 7578.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from oaiproxy import jsontext
from oaiproxy.diagnostics import Severity, did_you_mean
from oaiproxy.filters import kind
from oaiproxy.filters import text as as_text
from oaiproxy.jsontext import Json
from oaiproxy.scopes import Absent, RenderError, Scope
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, has_template
from oaiproxy.trees import Render, compile_tree

BODIES = ("body", "body_text", "body_form", "body_multipart", "body_base64")
"""The keys of `request` of which one at most is given."""
FILE = ("filename", "media_type", "base64", "text")
"""The keys of a file among the parts of a body."""
_BOUNDARY = re.compile(r'multipart/form-data;.*\bboundary="?([^";]+)', re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(;[\x20-\x7e]*)?", re.ASCII)
_JSON = re.compile(r"\s*(\{(?![{%#])|\[\s*[\[{\"])")
"""The beginning of what can only be a JSON object or list."""
_ESCAPES = {'"': "%22", "\r": "%0D", "\n": "%0A"}


class UnfitError(RenderError):
    """A value of this request cannot stand where the mapping puts it; the message is for the client.

    `param` is the client's field, where it is known.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Body:
    """How a body is made: `key` is that of the mapping."""

    key: str
    tree: Render

    def encode(self, scope: Scope, token: str) -> tuple[bytes, str]:
        """The bytes and their content type. `token` makes the boundary between parts, the same in each retry.

        Raises UnfitError and RenderError.
        """
        return _ENCODERS[self.key](self.tree(scope), token)


def compile_body(request: Source, compilation: Compilation) -> Body | None:
    """Compile the one body of a `request` block; what is wrong in it goes to the compilation's findings."""
    for key in BODIES:
        if (source := request.get(key)) is not None:
            if key == "body":
                _check_tree(source, compilation)
            if key in ("body_form", "body_multipart"):
                _check_fields(source, compilation, files=key == "body_multipart")
            if key == "body_multipart":
                _check_content_type(request.get("headers"), compilation)
            return Body(key, compile_tree(source, compilation))
    return None


def _check_tree(source: Source, compilation: Compilation) -> None:
    """Warn of JSON that is written as text: it is sent as one string."""
    text = source.value
    if isinstance(text, str) and has_template(text) and _JSON.match(text):
        message = "the body is one string, in which JSON is only text"
        label = "leave out the quotes or the `|` around it: a body is a YAML tree"
        compilation.report("W201", message, source.span(), label=label, severity=Severity.WARNING)


def decoded(data: bytes, content_type: str) -> Json:
    """A body as examples tell it: JSON as data, a form or parts as an object, text; what is no text in base64."""
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type == "application/x-www-form-urlencoded":
            return _gathered(parse_qsl(data.decode(), keep_blank_values=True, errors="replace"))
        if found := _BOUNDARY.match(content_type):
            return _gathered(_parts(data, found[1].encode()))
        return jsontext.parse(data)
    except ValueError:
        pass
    try:
        return data.decode()
    except UnicodeError:
        return base64.b64encode(data).decode()


def content_type(headers: Mapping[str, str]) -> str:
    """The content type among headers, however its name is written; "" where there is none."""
    return next((value for name, value in headers.items() if name.lower() == "content-type"), "")


def texts(body: Json) -> Iterator[str]:
    """All strings in a decoded body."""
    match body:
        case str():
            yield body
        case dict():
            for item in body.values():
                yield from texts(item)
        case list():
            for item in body:
                yield from texts(item)


def _json(value: Any, _token: str) -> tuple[bytes, str]:
    try:
        return jsontext.dump({} if isinstance(value, Absent) else value), "application/json"
    except (TypeError, ValueError, RecursionError) as error:
        raise RenderError(f"the body is not JSON: {error}") from error


def _text(value: Any, _token: str) -> tuple[bytes, str]:
    return b"" if isinstance(value, Absent) else _bytes(value), "text/plain; charset=utf-8"


def _form(value: Any, _token: str) -> tuple[bytes, str]:
    pairs = (f"{_escaped(name)}={_escaped(_field(name, item))}" for name, item in _fields(value))
    return "&".join(pairs).encode(), "application/x-www-form-urlencoded"


def _multipart(value: Any, token: str) -> tuple[bytes, str]:
    parts = [_part(name, item) for name, item in _fields(value)]
    boundary = b"oaiproxy-" + token.encode()
    while any(boundary in part for part in parts):
        boundary += b"-"
    pieces = [piece for part in parts for piece in (b"--", boundary, b"\r\n", part, b"\r\n")]
    return b"".join([*pieces, b"--", boundary, b"--\r\n"]), f"multipart/form-data; boundary={boundary.decode()}"


def _raw(value: Any, _token: str) -> tuple[bytes, str]:
    return b"" if isinstance(value, Absent) else _unpacked("body_base64", value), "application/octet-stream"


_ENCODERS: Mapping[str, Callable[[Any, str], tuple[bytes, str]]] = dict(
    zip(BODIES, (_json, _text, _form, _multipart, _raw), strict=True)
)


def _fields(value: Any) -> Iterator[tuple[str, Json]]:
    """The fields of a form: a list repeats its field, null is left out."""
    if isinstance(value, Absent):
        return
    if not isinstance(value, dict):
        raise RenderError(f"a form is an object, not {kind(value)}")
    for name, found in value.items():
        for item in found if isinstance(found, list) else [found]:
            if item is not None:
                yield name, item


def _field(name: str, item: Json) -> str:
    if isinstance(item, dict | list):
        raise RenderError(f"the form's field `{name}` is text, not {kind(item)}")
    return as_text(item)


def _escaped(text: str) -> str:
    return quote_plus(text, safe="*-._", errors="replace").replace("~", "%7E")


def _part(name: str, item: Json) -> bytes:
    if not isinstance(item, dict):
        return _disposition(name) + b"\r\n\r\n" + _bytes(_field(name, item))
    if unknown := [key for key in item if key not in FILE]:
        raise RenderError(f"the part `{name}` has a key `{unknown[0]}`; it can have: {', '.join(FILE)}")
    if ("base64" in item) == ("text" in item):
        raise RenderError(f"the part `{name}` needs `base64` or `text`, and one of them")
    data = _unpacked(name, item["base64"]) if "base64" in item else _bytes(item["text"])
    media_type = as_text(item.get("media_type") or "application/octet-stream")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise UnfitError(f"the media type of the file '{name}' is none")
    head = _disposition(name)
    if item.get("filename") is not None:
        head += b'; filename="' + _quoted(as_text(item["filename"])) + b'"'
    return head + b"\r\nContent-Type: " + media_type.encode() + b"\r\n\r\n" + data


def _disposition(name: str) -> bytes:
    return b'Content-Disposition: form-data; name="' + _quoted(name) + b'"'


def _quoted(text: str) -> bytes:
    """A name inside quotes, as browsers write it (https://html.spec.whatwg.org/#multipart-form-data)."""
    return re.sub(r'["\r\n]', lambda found: _ESCAPES[found[0]], text).encode("utf-8", "replace")


def _unpacked(name: str, value: Json) -> bytes:
    if not isinstance(value, str):
        raise RenderError(f"`{name}` is base64 text, not {kind(value)}")
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UnfitError(f"what the backend takes as '{name}' is not base64") from None


def _bytes(value: Json) -> bytes:
    return as_text(value).encode("utf-8", "replace")


def _gathered(pairs: Any) -> dict[str, Json]:
    """Fields as an object; one that came several times is a list."""
    made: dict[str, Json] = {}
    lists: set[str] = set()
    for name, value in pairs:
        if name not in made:
            made[name] = value
        elif name in lists:
            made[name].append(value)
        else:
            lists.add(name)
            made[name] = [made[name], value]
    return made


def _parts(data: bytes, boundary: bytes) -> Iterator[tuple[str, Json]]:
    """The parts of a body that was made here."""
    for part in (b"\r\n" + data).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        names = dict(re.findall(r'; (\w+)="([^"]*)"', lines[0]))
        media_type = next((line[14:] for line in lines[1:] if line.lower().startswith("content-type: ")), None)
        if media_type is None:
            yield names.get("name", ""), content.decode("utf-8", "replace")
            continue
        made: dict[str, Json] = {"filename": names["filename"]} if "filename" in names else {}
        yield names.get("name", ""), made | {"media_type": media_type, **_content(content)}


def _content(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeError:
        return {"base64": base64.b64encode(data).decode()}


def _check_fields(source: Source, compilation: Compilation, *, files: bool) -> None:
    """What is written out in a form and cannot be a field of one."""
    for name, child in source.items():
        if name.startswith("$") and not name.startswith("$$"):
            continue
        for item in child if isinstance(child.value, list) else [child]:
            _check_field(name, item, compilation, files=files)


def _check_field(name: str, item: Source, compilation: Compilation, *, files: bool) -> None:
    given = item.value
    if not isinstance(given, dict | list) or any(key in given for key in ("$for", "$if", "$match", "$value", "$merge")):
        return
    if isinstance(given, list) or not files:
        what, label = f"`{name}` is a field of a form, which is text", "write it as JSON: `{{ value | json }}`"
        compilation.report("E105", f"{what}, not {kind(given)}", item.span(), label=label)
        return
    for key, child in item.items():
        if key not in FILE and not key.startswith("$"):
            label = did_you_mean(key, FILE) or f"a file has: {', '.join(FILE)}"
            compilation.report("E101", f"unknown key `{key}` of the file `{name}`", child.span(key=True), label=label)
    if ("base64" in given) == ("text" in given):
        label = "write `base64` for bytes, `text` for text"
        compilation.report("E105", f"the file `{name}` needs `base64` or `text`", item.span(), label=label)


def _check_content_type(headers: Source | None, compilation: Compilation) -> None:
    for name, child in headers.items() if headers else ():
        if name.lower() == "content-type":
            message = "the content type of a body in parts is made here: it holds the boundary"
            compilation.report("E106", message, child.span(key=True), label="leave it out")
