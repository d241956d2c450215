"""Log probabilities and annotations as backends tell them, to OpenAI's objects; and tokens to the legacy arrays.

https://platform.openai.com/docs/api-reference/chat/object and /completions/object
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from oaiproxy.errors import BackendError
from oaiproxy.events import Annotations, Logprobs
from oaiproxy.filters import kind
from oaiproxy.jsontext import Json, is_shallow

LEAST = -9999.0
"""What OpenAI gives for a token that is no candidate, and what stands here for a probability of 0."""
MAX_LOGPROB = 2**53
MAX_TOP = 1000
MAX_DEPTH = 32
"""Levels of annotations: what holds them must be written too."""


def read_logprobs(found: Json, choice: int) -> Logprobs:
    """OpenAI's own object `{content, refusal}`, its arrays of old, or `[{token, logprob, bytes?, top_logprobs?}]`.

    Raises BackendError for what is none of them.
    """
    if not isinstance(found, dict):
        return Logprobs(_entries(found), None, choice)
    if "tokens" in found:
        return Logprobs(_entries(_transposed(found)), None, choice)
    refusal = found.get("refusal")
    return Logprobs(_entries(found.get("content") or []), _entries(refusal) if refusal else None, choice)


def read_annotations(found: Json, choice: int) -> Annotations:
    """A list of annotations, each an object with a `type`. Raises BackendError for what is none."""
    items = found if isinstance(found, list) else [found]
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            raise _mismatch(f"a selector for annotations found {kind(item)}, not an object with a type")
    if not is_shallow(items, MAX_DEPTH):
        raise _mismatch(f"annotations are nested more than {MAX_DEPTH} levels deep")
    return Annotations(items, choice)


def chat_logprobs(events: Iterable[Logprobs]) -> Json:
    """The `logprobs` of a chat choice; null when there are none."""
    content: list[Json] = []
    refusal: list[Json] = []
    for event in events:
        content += event.content
        refusal += event.refusal or []
    return {"content": content, "refusal": refusal or None} if content or refusal else None


def legacy_logprobs(events: Iterable[Logprobs], offset: int = 0) -> Json:
    """The `logprobs` of a choice of /v1/completions; null when there are none. `offset` counts characters of tokens."""
    made: dict[str, list[Json]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for event in events:
        for entry in event.content:
            made["tokens"].append(entry["token"])
            made["token_logprobs"].append(entry["logprob"])
            made["top_logprobs"].append({each["token"]: each["logprob"] for each in entry["top_logprobs"]})
            made["text_offset"].append(offset)
            offset += len(entry["token"])
    return made if made["tokens"] else None


def _transposed(arrays: dict[str, Json]) -> list[Json]:
    """The arrays `{tokens, token_logprobs, top_logprobs?}` token by token."""
    tokens, logprobs = arrays["tokens"], arrays.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(logprobs, list) or len(tokens) != len(logprobs):
        raise _mismatch("the arrays of log probabilities do not fit each other")
    tops = arrays.get("top_logprobs") or [None] * len(tokens)
    if not isinstance(tops, list) or len(tops) != len(tokens):
        raise _mismatch("the arrays of log probabilities do not fit each other")
    return [
        {"token": token, "logprob": logprob, "top_logprobs": top}
        for token, logprob, top in zip(tokens, logprobs, tops, strict=True)
    ]


def _entries(found: Json) -> list[Json]:
    if not isinstance(found, list):
        raise _mismatch(f"a selector for log probabilities found {kind(found)}, not a list")
    return [{**_token(entry), "top_logprobs": _top(entry.get("top_logprobs"))} for entry in map(_checked, found)]


def _checked(entry: Json) -> dict[str, Json]:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        raise _mismatch("a log probability has no token")
    return entry


def _token(entry: dict[str, Json]) -> dict[str, Json]:
    token, data = entry["token"], entry.get("bytes")
    if not isinstance(data, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in data):
        data = list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": _number(entry.get("logprob")), "bytes": data}


def _top(found: Json) -> list[Json]:
    """The likeliest tokens: a list of entries, or an object of token to log probability."""
    if isinstance(found, dict):
        found = [{"token": token, "logprob": value} for token, value in found.items()]
    if not found:
        return []
    if not isinstance(found, list) or len(found) > MAX_TOP:
        raise _mismatch("the likeliest tokens are not a list")
    return [_token(_checked(entry)) for entry in found]


def _number(value: Json) -> float:
    """A first token may have none, and an impossible one minus infinity."""
    if value is None:
        return LEAST
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(f"a log probability is {kind(value)}")
    if isinstance(value, int):
        value = max(-MAX_LOGPROB, min(MAX_LOGPROB, value))
    return max(LEAST, float(value)) if math.isfinite(value) else LEAST


def _mismatch(message: str) -> BackendError:
    return BackendError(message, code="upstream_mapping_mismatch", retry=False)
