"""An example's answers to the bytes that its backend sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import replace

from oaiproxy import jsontext
from oaiproxy.canonical import Call
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.formats import FORMATS, Format
from oaiproxy.framing import EMPTY, Frame
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Example, Mapping
from oaiproxy.steps import Answer
from oaiproxy.variants import PLAIN

_SUFFIXES = {
    "json": "application/json",
    "sse": FORMATS["sse"].content_type,
    "ndjson": FORMATS["ndjson"].content_type,
    "bin": FORMATS["aws-eventstream"].content_type,
}


def rounds(example: Example) -> list[Example]:
    """The example of each of the backend's answers: itself, where there is one."""
    if not isinstance(example.backend, list):
        return [example]
    return [replace(example, backend=backend) for backend in example.backend]


def answer_of(mapping: Mapping, example: Example, read_file: Callable[[str], str]) -> Answer:
    """The backend's one answer in an example. Raises OSError, UnicodeError, ValueError or FrameError."""
    status = example.backend.get("status", 200)
    return Answer(status, answer_headers(mapping, example), answer_bytes(mapping, example, read_file))


def answer_bytes(mapping: Mapping, example: Example, read_file: Callable[[str], str]) -> bytes:
    """The backend's answer in an example, as bytes. Raises OSError, UnicodeError or ValueError for a file.

    And FrameError for frames that the format of the stream cannot carry.
    """
    backend = example.backend
    if isinstance(backend.get("stream"), list):
        return _written(framing_of(mapping, example), backend["stream"])
    if "json" in backend:
        return jsontext.dump(backend["json"])
    if "file" in backend:
        return read_file(backend["file"]).encode("utf-8", "surrogateescape")
    return str(backend.get("stream", backend.get("text", ""))).encode()


def answer_headers(mapping: Mapping, example: Example) -> dict[str, str]:
    """The headers of the backend's answer, by lower-case names."""
    headers = {name.lower(): value for name, value in example.backend.get("headers", {}).items()}
    headers.setdefault("content-type", _content_type(mapping, example))
    return headers


def parse_example(mapping: Mapping, example: Example) -> Call:
    """The client's request. Raises ClientError when it is none."""
    return DOORS[example.endpoint].parse({"model": next(iter(mapping.models), "model"), **example.request})


def _content_type(mapping: Mapping, example: Example) -> str:
    if framing := framing_of(mapping, example):
        return framing.content_type
    return "text/plain; charset=utf-8" if "text" in example.backend else "application/json"


class FrameError(ValueError):
    """Frames that an example gives, and that its stream cannot carry."""


def _written(framing: Format | None, frames: Sequence[Dict[str, Json]]) -> bytes:
    """The bytes of frames that an example gives one by one."""
    if framing is None:
        raise FrameError("the endpoint has no `stream` whose format says how frames are written")
    try:
        return b"".join(framing.write(map(_frame, frames)))
    except ValueError as error:
        raise FrameError(str(error)) from error


def _frame(given: Dict[str, Json]) -> Frame:
    """A frame of an example: data that is text stands for itself, all else for its JSON."""
    data = given.get("data", "")
    payload = data.encode() if isinstance(data, str) else jsontext.dump(data)
    headers = {name.lower(): value for name, value in given.get("headers", {}).items()}
    return Frame(payload, given.get("event", ""), given.get("id", ""), given.get("fields", EMPTY), headers or EMPTY)


def framing_of(mapping: Mapping, example: Example) -> Format | None:
    """The framing of an example's answer; None when the answer is whole."""
    endpoint, backend = mapping.endpoint(example.endpoint), example.backend
    if endpoint is None or endpoint.stream is None:
        return None
    framing = endpoint.stream.framing
    if "file" not in backend:
        return framing if "stream" in backend else None
    suffix = backend["file"].rpartition(".")[2]
    variant = mapping.variants.get(example.request.get("model", next(iter(mapping.models), "")), PLAIN)
    streams = endpoint.operation(example.request.get("stream") is True, variant.stream)[1]
    return framing if streams and _SUFFIXES.get(suffix, framing.content_type) == framing.content_type else None
