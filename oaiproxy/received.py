"""What a client got from an endpoint beyond chat, from the bytes that were sent to it, as examples tell it."""

from __future__ import annotations

from base64 import b64encode

from oaiproxy import jsontext
from oaiproxy.jsontext import Json
from oaiproxy.vectors import from_base64


def received(endpoint: str, data: bytes, content_type: str) -> dict[str, Json]:
    """The parts of an answer, under the names that they have in an example's `replies`."""
    if endpoint == "speech":
        return {"audio": b64encode(data).decode(), "media_type": content_type}
    if "json" not in content_type:
        return {"text": data.decode("utf-8", "replace"), "media_type": content_type}
    answer = jsontext.parse(data)
    made = {key: answer[key] for key in _KEYS if key in answer}
    if endpoint == "embeddings":
        made["vectors"] = [_numbers(item["embedding"]) for item in answer["data"]]
    elif endpoint == "images":
        made["images"] = answer["data"]
    return made


_KEYS = ("id", "model", "results", "usage", "text", "language", "duration", "segments", "words")


RECEIVED = ("vectors", "results", "images", "duration", "segments", "words")
"""The parts whose numbers come as they may be written: `1` is `1.0` there."""


def plain(value: Json) -> Json:
    """A value with all its numbers of one type."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value


def _numbers(embedding: Json) -> list[float]:
    return from_base64(embedding) if isinstance(embedding, str) else embedding
