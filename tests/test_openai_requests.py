"""Whatever OpenAI's own schema of a chat request allows is answered, or refused with a 400: never a fault of ours."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from support import IDENTITY, ROOT, STRICT, chat, needs_strict

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.loader import Loader

RELAXED = STRICT.parent / "relaxed"
MAPPINGS = ("anthropic", "openai-compatible", "gemini", "example")
WORDS = ("", "f", "a b", "é\u2028", "{}", "data:image/png;base64,aQ==", "none")
EACH = 150


class Sampler:
    """Values that a schema describes, more or less: what it leaves open is anything."""

    def __init__(self, schema: dict[str, Any], seed: int) -> None:
        self._definitions = schema.get("$defs", {})
        self._random = random.Random(seed)

    def value(self, schema: Any, depth: int = 0) -> Any:
        """A value of that schema."""
        draw = self._random
        if "$ref" in schema:
            return self.value(self._definitions[schema["$ref"].rpartition("/")[2]], depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return draw.choice(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema and "properties" not in schema:
                return self.value(draw.choice(schema[key]), depth)
        if "allOf" in schema:
            made: dict[str, Any] = {}
            for each in schema["allOf"]:
                found = self.value(each, depth)
                if not isinstance(found, dict):
                    return found
                made |= found
            return made | (self._object(schema, depth) if "properties" in schema else {})
        types = schema.get("type", "object" if "properties" in schema else "string")
        return self._of(draw.choice(types) if isinstance(types, list) else types, schema, depth)

    def _of(self, type_: str, schema: Any, depth: int) -> Any:
        draw = self._random
        low, high = schema.get("minimum", -2), schema.get("maximum", 200)
        match type_:
            case "null":
                return None
            case "boolean":
                return draw.random() < 0.5
            case "integer":
                return draw.choice((low, high, draw.randint(int(max(low, -100)), int(min(high, 100)))))
            case "number":
                return draw.choice((low, high, draw.uniform(low, high)))
            case "array":
                count = draw.randint(schema.get("minItems", 0), 3)
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "object":
                return self._object(schema, depth)
        return draw.choice(WORDS)

    def _object(self, schema: Any, depth: int) -> dict[str, Any]:
        wanted = schema.get("required", ())
        likely = 0.12 if depth == 0 else 0.4 if depth < 6 else 0
        return {
            key: self.value(each, depth + 1)
            for key, each in schema.get("properties", {}).items()
            if key in wanted or self._random.random() < likely
        }


@needs_strict
@pytest.mark.parametrize("name", MAPPINGS)
def test_what_the_schema_allows_is_served_or_refused(name: str) -> None:
    """The request that it makes, if any, is JSON; what is refused names a parameter."""
    schema = json.loads((RELAXED / "CreateChatCompletionRequest.json").read_text())
    path = ROOT / f"mappings/{name}.yaml"
    environment = {"YOUR_API_BASE_URL": "https://backend.test", "YOUR_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    ((mapping, _),) = Loader(environment | {"GEMINI_API_KEY": "k"}).load([(name, path)])[0]
    served, refused = 0, []
    for seed in range(EACH):
        body = Sampler(schema, seed).value(schema) | {"model": next(iter(mapping.models))}
        try:
            call = DOORS["chat"].parse(body)
            exchange = Exchange(mapping, call, DOORS["chat"].encoder(call, IDENTITY), IDENTITY)
            json.loads(exchange.backend_request().body or b"{}")
        except ClientError as error:
            refused.append(error)
            continue
        served += 1
    assert [error for error in refused if error.status != 400 or not error.param] == []
    assert served > EACH / 15


@needs_strict
def test_the_sampler_reaches_every_field() -> None:
    """So that the test above says something."""
    schema = json.loads((RELAXED / "CreateChatCompletionRequest.json").read_text())
    found: set[str] = set()
    for seed in range(EACH):
        found |= set(Sampler(schema, seed).value(schema))
    assert {"messages", "tools", "functions", "tool_choice", "function_call", "response_format", "audio"} <= found
    assert {"moderation", "prompt_cache_options", "web_search_options", "prediction", "stop"} <= found


NULLS = [
    {"stream": None, "stream_options": None, "tools": None, "tool_choice": None, "parallel_tool_calls": None},
    {"stream_options": {"include_usage": None, "include_obfuscation": None}},
    {"response_format": None, "functions": None, "function_call": None, "stop": None, "n": None, "user": None},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": None, "strict": None}}},
    {"tools": [{"type": "function", "function": {"name": "f", "description": None, "parameters": None}}]},
    {"messages": [{"role": "user", "content": "a", "name": None}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x", "detail": None}}]},
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "reasoning_content": None,
                "tool_calls": [
                    {"id": None, "type": "function", "index": None, "function": {"name": "f", "arguments": None}}
                ],
            },
        ]
    },
]


@pytest.mark.parametrize("fields", NULLS)
def test_null_is_absent_wherever_it_may_stand(fields: dict[str, Any]) -> None:
    """In messages, tools and options too."""
    mapping = chat(
        response="{text: t}",
        request="{path: /g, body: {m: '{{ messages }}', t: '{{ tools }}', f: '{{ response_format }}'}}",
    )
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], **fields}
    call = DOORS["chat"].parse(body)
    exchange = Exchange(mapping, call, DOORS["chat"].encoder(call, IDENTITY), IDENTITY)
    assert exchange.dropped == ()
    assert json.loads(exchange.backend_request().body or b"")["m"]
