"""The requests that probe a mapping's endpoints beyond chat: the least one, the fields, and what must arrive."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping

from oaiproxy.jsontext import Json

FIELDS: Mapping[str, Mapping[str, Json]] = {
    "embeddings": {"dimensions": 256, "encoding_format": "base64", "user": "someone"},
    "rerank": {"top_n": 1, "return_documents": True},
    "moderations": {},
    "images": {
        "n": 2,
        "size": "1024x1024",
        "quality": "high",
        "style": "vivid",
        "background": "transparent",
        "output_format": "webp",
        "output_compression": 50,
        "moderation": "low",
        "response_format": "b64_json",
        "user": "someone",
    },
    "speech": {"voice": "alloy", "response_format": "wav", "speed": 1.5, "instructions": "calmly"},
    "transcriptions": {
        "language": "en",
        "languages": ["en", "de"],
        "keywords": ["word"],
        "prompt": "a lecture",
        "response_format": "verbose_json",
        "temperature": 0.5,
        "timestamp_granularities": ["segment"],
        "include": ["logprobs"],
        "chunking_strategy": "auto",
        "known_speaker_names": ["A"],
        "known_speaker_references": ["data:audio/wav;base64,AAAA"],
    },
}
"""A value of each field that can be left out."""


def least(endpoint: str, text: str) -> dict[str, Json]:
    """The least request with a text."""
    match endpoint:
        case "rerank":
            return {"query": text, "documents": [text, "another document"]}
        case "transcriptions":
            data = b64encode(text.encode()).decode()
            return {"file": {"filename": "speech.wav", "media_type": "audio/wav", "base64": data}}
        case "images":
            return {"prompt": text}
    return {"input": text}


def carriers(endpoint: str, text: str) -> Iterator[dict[str, Json]]:
    """The least requests with a text: one for each place where it can be."""
    if endpoint != "rerank":
        yield least(endpoint, text)
        return
    yield {"query": text, "documents": ["a document", "another document"]}
    yield {"query": "a query", "documents": ["a document", text]}


def bodies(endpoint: str, reads: set[str]) -> Iterator[dict[str, Json]]:
    """The least request, all that the templates read, and each of it alone; token ids where they are read."""
    small = least(endpoint, "hi")
    fields = {key: value for key, value in FIELDS[endpoint].items() if reads & {key, "request"}}
    yield small
    yield small | fields
    yield from (small | {key: value} for key, value in fields.items())
    if endpoint in ("embeddings", "moderations"):
        yield {"input": ["hi", "there"]}
    if reads & {"tokens", "request"} and endpoint == "embeddings":
        yield {"input": [[1, 2], [3]]}
