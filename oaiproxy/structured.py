"""Answers in JSON from a model that has no such mode: how it is told, and how the JSON is found in what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice

from oaiproxy import jsontext
from oaiproxy.errors import ClientError
from oaiproxy.jsonschemas import Schema, SchemaError, TooMuchError
from oaiproxy.jsontext import Json

MAX_STARTS = 64
"""Code fences, and brackets, of a text at which JSON is looked for."""
MAX_TEXT = 256 * 1024
"""Characters of a text in which JSON is looked for, where not all of it is JSON."""
MAX_NESTED = 64
SCHEMA = "response_format.json_schema.schema"
"""The client's name of what may be wrong."""
_OBJECT = (
    "Answer with one JSON object and nothing else: no text before or after it, no explanation, no Markdown code fence."
)
_VALUE = (
    "Answer with one JSON value that is valid against the JSON Schema below, and nothing else: no text before or after "
    "it, no explanation, no Markdown code fence. The answer is the value itself, not the schema."
)
_AGAIN = "Answer again, with the corrected JSON and nothing else."
_FENCED = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_START = re.compile(r"[{\[]")
_DECODER = json.JSONDecoder(strict=False)


class Misfit(Exception):
    """An answer that is not what was asked for. `complaint` says to the model what is wrong, `reason` to the log."""

    def __init__(self, reason: str, complaint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.complaint = complaint


class Format:
    """One `response_format` that asks for JSON. Raises ClientError for a schema that cannot be used."""

    def __init__(self, given: Json) -> None:
        described = given.get("json_schema") or {}
        self._source: Json = described.get("schema") if given["type"] == "json_schema" else None
        self._described = {
            key: described[key] for key in ("name", "description") if isinstance(described.get(key), str)
        }
        try:
            self._schema = Schema({"type": "object"} if self._source is None else self._source)
        except SchemaError as error:
            name = str(described.get("name") or "")[:80]
            raise ClientError(
                f"Invalid schema for response_format '{name}': {error}.", param=SCHEMA, code="invalid_value"
            ) from error

    @property
    def instruction(self) -> str:
        """What the model is told."""
        if self._source is None:
            return _OBJECT
        told = [_VALUE]
        told += [f"{key.capitalize()} of the value: {value}" for key, value in self._described.items()]
        return "\n\n".join([*told, "JSON Schema:\n" + jsontext.dump(self._source).decode()])

    def read(self, text: str) -> str:
        """The JSON in a text, as it is written there. Raises Misfit when there is none that fits."""
        first: str | None = None
        check = self._schema.checker()
        for found, value in candidates(text):
            try:
                problem = check(value) if jsontext.is_shallow(value, MAX_NESTED) else "it is nested too deeply"
            except TooMuchError as error:
                raise Misfit(str(error), f"The JSON in your answer is too large. {_AGAIN}") from error
            if problem is None:
                return found
            first = first or problem
        if first is None:
            raise Misfit("the answer holds no JSON", f"Your answer is not valid JSON. {_AGAIN}")
        raise Misfit("the JSON does not fit the schema", f"The JSON in your answer does not fit: {first}. {_AGAIN}")


def wanted(response_format: Json) -> Format | None:
    """The format, None where any text will do. Raises ClientError for a schema that cannot be used."""
    return Format(response_format) if response_format and response_format["type"] != "text" else None


def candidates(text: str) -> Iterator[tuple[str, Json]]:
    """JSON texts and their values in a text: all of it, else what is in code fences, else what stands in the prose."""
    text = text.strip().removeprefix("\ufeff")
    found = _parsed(text)
    if found is not None:
        yield found
        return
    text = text[:MAX_TEXT]
    for fence in islice(_FENCED.finditer(text), MAX_STARTS):
        found = _parsed(fence[1].strip())
        if found is not None:
            yield found
    at = 0
    for _ in range(MAX_STARTS):
        start = _START.search(text, at)
        if start is None:
            return
        at = start.end()
        try:
            _, end = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        found = _parsed(text[start.start() : end])
        if found is not None:
            yield found
            at = end


def _parsed(text: str) -> tuple[str, Json] | None:
    """A JSON text, made strict where models are not: line ends and tabs inside of strings."""
    try:
        return text, jsontext.parse(text)
    except jsontext.JsonError:
        pass
    if text[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text, strict=False, parse_constant=_no_constant)
        return jsontext.dump(value).decode(), value
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Json:
    raise ValueError(name)
