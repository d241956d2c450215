"""What the sinks of an endpoint beyond chat found in a reply to one canonical result, checked against the request.

A result is plain data, whatever the client asked it to be written as: the endpoint's encoder does that.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import TypeAlias

from oaiproxy.canonical import Call
from oaiproxy.errors import ClientError
from oaiproxy.filters import kind
from oaiproxy.jsontext import Json
from oaiproxy.vectors import VectorError, in_order, index_of, read_vectors

Found: TypeAlias = Mapping[str, Json]
"""What each sink of the mapping found, by its name."""
TIMED_FORMATS = ("srt", "vtt")
"""Formats of a transcript that are made of its segments."""


class ResultError(Exception):
    """A sink found what it should not have."""

    def __init__(self, sink: str, message: str) -> None:
        super().__init__(message)
        self.sink = sink
        self.message = message


def read_embeddings(found: Found, call: Call) -> Json:
    """The vectors, one for each input, in their order."""
    wanted = len(call.fields.get("tokens") or call.fields["input"])
    try:
        vectors = read_vectors(found.get("vectors"))
    except VectorError as error:
        raise ResultError("vectors", str(error)) from error
    if len(vectors) != wanted:
        raise ResultError("vectors", f"{len(vectors)} vectors came for {wanted} inputs")
    if "order_by" not in found:
        return vectors
    try:
        return in_order(vectors, found["order_by"])
    except VectorError as error:
        raise ResultError("order_by", str(error)) from error


def read_ranking(found: Found, call: Call) -> Json:
    """`{index, score, document?}` of the documents, the best first, no more than `top_n`."""
    documents = call.fields["documents"]
    results: list[dict[str, Json]] = []
    for position, item in enumerate(_items(found, "results")):
        if isinstance(item, int | float):
            item = {"index": position, "score": item}
        if not isinstance(item, dict):
            raise ResultError("results", f"{kind(item)} was found in place of a result")
        index = index_of(item.get("index"))
        if not 0 <= index < len(documents):
            raise ResultError("results", f"the index of a result is none of the {len(documents)} documents")
        score = _number(item.get("score", item.get("relevance_score")))
        if score is None:
            raise ResultError("results", "a result has no number as its `score`")
        made = {"index": index, "score": score}
        text = item.get("document", item.get("text"))
        text = text.get("text") if isinstance(text, dict) else text
        results.append(made | {"document": text} if isinstance(text, str) else made)
    if len({made["index"] for made in results}) != len(results):
        raise ResultError("results", "a document came twice")
    results.sort(key=lambda made: -made["score"])
    return results[: call.fields.get("top_n")]


def read_verdicts(found: Found, call: Call) -> Json:
    """`{flagged, categories, scores}` of each input."""
    wanted, verdicts = len(call.fields["input"]), []
    for item in _items(found, "results"):
        if not isinstance(item, dict):
            raise ResultError("results", f"{kind(item)} was found in place of a result")
        categories, scores = item.get("categories") or {}, item.get("category_scores") or {}
        if not (isinstance(categories, dict) and isinstance(scores, dict)):
            raise ResultError("results", "`categories` and `category_scores` are objects")
        if not all(value is None or isinstance(value, bool) for value in categories.values()):
            raise ResultError("results", "a category is neither true nor false")
        numbers = {name: _number(value) for name, value in scores.items()}
        if None in numbers.values():
            raise ResultError("results", "the score of a category is not a number")
        flagged = item.get("flagged")
        if flagged is None and categories:
            flagged = any(categories.values())
        if not isinstance(flagged, bool):
            raise ResultError("results", "a result says neither `flagged` nor `categories`")
        told = {name: bool(value) for name, value in categories.items()}
        verdicts.append({"flagged": flagged, "categories": told, "scores": numbers})
    if len(verdicts) != wanted:
        raise ResultError("results", f"{len(verdicts)} results came for {wanted} inputs")
    return verdicts


def read_images(found: Found, call: Call) -> Json:
    """`{url?, base64?, media_type?, revised_prompt?}` of each image."""
    revised = found.get("revised_prompt")
    images = []
    for position, item in enumerate(_items(found, "images")):
        made = _image(item)
        told = revised[position] if isinstance(revised, list) and position < len(revised) else revised
        if isinstance(item, dict):
            told = item.get("revised_prompt") or told
        images.append(made | {"revised_prompt": told} if isinstance(told, str) and told else made)
    return images


def read_transcript(found: Found, call: Call) -> Json:
    """`{text, language?, duration?, segments?, words?}`, times in seconds."""
    text = found.get("text")
    if not isinstance(text, str):
        raise ResultError("text", "no text was found" if text is None else f"{kind(text)} was found, not a string")
    made: dict[str, Json] = {"text": text}
    if isinstance(found.get("language"), str):
        made["language"] = found["language"]
    if (duration := _number(found.get("duration"))) is not None:
        made["duration"] = duration
    for sink, key in (("segments", "text"), ("words", "word")):
        if found.get(sink) is not None:
            made[sink] = [_timed(item, sink, key) for item in _items(found, sink, empty=True)]
    return made


def read_sound(found: Found, call: Call) -> Json:
    """`{data, media_type?}`: the bytes of what came as base64."""
    audio = found.get("audio")
    if not isinstance(audio, str) or not audio:
        raise ResultError("audio", "no sound was found" if not audio else f"{kind(audio)} was found, not base64")
    media_type, data = _from_data_url(audio)
    return {"data": _decoded(data, "audio"), "media_type": found.get("media_type") or media_type}


def check_transcription(call: Call, sinks: frozenset[str]) -> None:
    """Raises ClientError for a format, or for times, that cannot be made of what the mapping reads."""
    written = call.fields.get("response_format")
    if written in TIMED_FORMATS and "segments" not in sinks:
        raise _unsupported("response_format", written, call.model, "segments")
    for index, wanted in enumerate(call.fields.get("timestamp_granularities", ())):
        if wanted == "word" and "words" not in sinks:
            raise _unsupported(f"timestamp_granularities[{index}]", wanted, call.model, "words")


READERS: Mapping[str, Callable[[Found, Call], Json]] = {
    "embeddings": read_embeddings,
    "rerank": read_ranking,
    "moderations": read_verdicts,
    "images": read_images,
    "speech": read_sound,
    "transcriptions": read_transcript,
}
"""The reader of each endpoint. All raise ResultError."""


def _items(found: Found, sink: str, *, empty: bool = False) -> list[Json]:
    """What a sink found, as a list: one object or text alone is a list of one."""
    value = found.get(sink)
    if value is None or (not value and not empty):
        raise ResultError(sink, f"no {sink} were found")
    if not isinstance(value, dict | str | list):
        raise ResultError(sink, f"{kind(value)} was found, not a list")
    return value if isinstance(value, list) else [value]


def _number(value: Json) -> float | None:
    """A finite number, also as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _image(item: Json) -> dict[str, Json]:
    if isinstance(item, str):
        item = {"url": item} if re.match(r"(https?|data):", item) else {"base64": item}
    if not isinstance(item, dict):
        raise ResultError("images", f"{kind(item)} was found in place of an image")
    url, data = item.get("url"), item.get("base64") or item.get("b64_json")
    if isinstance(url, str) and url.startswith("data:"):
        media_type, data = _from_data_url(url)
        url, item = None, {"media_type": media_type}
    if isinstance(data, str) and data:
        _decoded(data, "images")
        return {"base64": data, "media_type": str(item.get("media_type") or _media_type(data))}
    if isinstance(url, str) and url:
        return {"url": url}
    raise ResultError("images", "an image has neither `url` nor `base64`")


_MAGIC = {"iVBOR": "image/png", "/9j/": "image/jpeg", "UklGR": "image/webp", "R0lGOD": "image/gif"}
"""How the formats of images begin, in base64."""


def _media_type(data: str) -> str:
    return next((media for magic, media in _MAGIC.items() if data.startswith(magic)), "image/png")


def _from_data_url(text: str) -> tuple[str, str]:
    """The media type and the base64 of a `data:` URL (RFC 2397); what is none is base64 alone."""
    head, comma, data = text.partition(",")
    if not (comma and head.startswith("data:")):
        return "", text
    return head.removeprefix("data:").split(";")[0], data


def _decoded(text: str, sink: str) -> bytes:
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        raise ResultError(sink, "what was found is not base64") from None


def _timed(item: Json, sink: str, key: str) -> dict[str, Json]:
    """A stretch of a transcript, its times and its text; all else as it came."""
    if not isinstance(item, dict):
        raise ResultError(sink, f"{kind(item)} was found in place of an object")
    text = item.get(key, item.get("text"))
    start, end = (_number(item.get(name)) for name in ("start", "end"))
    if start is None or end is None or not isinstance(text, str):
        raise ResultError(sink, f"{sink} are objects with `start`, `end` and `{key}`")
    return {**item, "start": start, "end": end, key: text}


def _unsupported(param: str, value: str, model: str, sink: str) -> ClientError:
    message = f"Unsupported value: '{param}' cannot be '{value}' with the model '{model}': its mapping reads no {sink}."
    return ClientError(message, param=param, code="unsupported_value")
