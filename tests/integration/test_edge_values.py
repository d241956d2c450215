"""Promises of the endpoints beyond chat over raw HTTP: fields of the wrong type, null, and what is unknown."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from conftest import Proxy
from scripted import fetch, request
from support import STRICT, assert_strict, load, serving

MAPPING = """
oaiproxy: 1
models: [m]
backend: {url: "%s"}
chat:
  request: {path: /chat, body: {q: "{{ prompt }}", x: "{{ extra.mood }}"}}
  response: {text: t}
embeddings:
  request: {path: /embed, body: {q: "{{ input }}", x: "{{ extra.mood }}"}}
  response: {vectors: v}
rerank:
  request: {path: /rank, body: {q: "{{ query }}", d: "{{ documents }}", x: "{{ extra.mood }}"}}
  response: {results: r}
moderations:
  request: {path: /judge, body: {q: "{{ input }}", x: "{{ extra.mood }}"}}
  response: {results: j}
images:
  request: {path: /paint, body: {q: "{{ prompt }}", x: "{{ extra.mood }}"}}
  response: {images: i}
speech:
  request: {path: /say, body: {q: "{{ input }}", x: "{{ extra.mood }}"}}
  response: {audio: a}
"""
PATHS = {
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "moderations": "/v1/moderations",
    "images": "/v1/images/generations",
    "speech": "/v1/audio/speech",
}
LEAST: dict[str, dict[str, Any]] = {
    "completions": {"prompt": "a"},
    "embeddings": {"input": "a", "encoding_format": "float"},
    "rerank": {"query": "a", "documents": ["a"]},
    "moderations": {"input": "a"},
    "images": {"prompt": "a"},
    "speech": {"input": "a", "voice": "v"},
}
OPTIONAL = {
    "completions": ("max_tokens", "n", "stop", "user", "logit_bias", "best_of", "stream", "stream_options", "seed"),
    "embeddings": ("dimensions", "user"),
    "rerank": ("top_n", "return_documents"),
    "moderations": (),
    "images": ("n", "size", "quality", "style", "user", "response_format", "stream", "partial_images", "background"),
    "speech": ("instructions", "speed", "response_format", "stream_format"),
}
SCHEMAS = {
    "completions": "CreateCompletionResponse",
    "embeddings": "CreateEmbeddingResponse",
    "moderations": "CreateModerationResponse",
    "images": "ImagesResponse",
}
IMAGE = {"type": "image_url", "image_url": {"url": "https://h/i.png"}}
MISTAKES: list[tuple[str, Any, str | None, str]] = [
    ("completions", {"max_tokens": "5"}, "max_tokens", "invalid_type"),
    ("completions", {"stop": ["a", 1]}, "stop[1]", "invalid_type"),
    ("completions", {"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "invalid_type"),
    ("completions", {"temperature": 3}, "temperature", "decimal_above_max_value"),
    ("completions", {"prompt": [["a"]]}, "prompt[0][0]", "invalid_type"),
    ("completions", {"model": 5}, "model", "invalid_type"),
    ("embeddings", {"input": ["a", "b", "c", {}]}, "input[3]", "invalid_type"),
    ("embeddings", {"input": ["a", ""]}, "input[1]", "invalid_value"),
    ("embeddings", {"input": None}, "input", "missing_required_parameter"),
    ("embeddings", {"dimensions": 2}, "dimensions", "unsupported_parameter"),
    ("embeddings", {"dimensions": 2.5}, "dimensions", "invalid_type"),
    ("embeddings", {"encoding_format": "hex"}, "encoding_format", "invalid_value"),
    ("rerank", {"documents": ["a", None]}, "documents[1]", "invalid_type"),
    ("rerank", {"top_n": True}, "top_n", "invalid_type"),
    ("rerank", {"query": ["a"]}, "query", "invalid_type"),
    ("moderations", {"input": [{"type": "text", "text": "a"}, IMAGE]}, "input[1].type", "invalid_value"),
    ("moderations", {"input": [{"type": "text"}]}, "input[0].text", "invalid_type"),
    ("moderations", {"input": []}, "input", "invalid_value"),
    ("images", {"n": 2}, "n", "unsupported_parameter"),
    ("images", {"n": 0}, "n", "integer_below_min_value"),
    ("images", {"size": 512}, "size", "invalid_type"),
    ("images", {"stream": True}, "stream", "invalid_value"),
    ("images", {"output_format": "webp"}, "output_format", "unsupported_parameter"),
    ("speech", {"voice": 1}, "voice", "invalid_type"),
    ("speech", {"speed": 5}, "speed", "decimal_above_max_value"),
    ("speech", {"response_format": "ogg"}, "response_format", "invalid_value"),
    ("speech", {"input": ["a"]}, "input", "invalid_type"),
]


@pytest.fixture
async def url(proxy: Proxy) -> AsyncIterator[str]:
    async def answer(incoming: web.Request) -> web.Response:
        said = json.loads(await incoming.read())
        answers = {"t": "a", "v": [[0.5]], "r": [1], "j": {"flagged": False}, "i": ["iVBORw0KGgo="], "a": "SUQz"}
        return web.json_response(answers if said.get("x") in (None, "calm") else {"error": "x"})

    async with AsyncExitStack() as stack:
        yield (await proxy(load(MAPPING % await stack.enter_async_context(serving(answer))))).url


@pytest.mark.parametrize(("endpoint", "fields", "param", "code"), MISTAKES)
async def test_mistakes_are_told_by_their_path(
    url: str, endpoint: str, fields: dict[str, Any], param: str, code: str
) -> None:
    """A 400 with the field, and the place in it."""
    wire = await fetch(url, request({"model": "m", **LEAST[endpoint], **fields}, PATHS[endpoint]))
    assert (wire.status, wire.error["param"], wire.error["code"]) == (400, param, code)
    assert wire.error["type"] == "invalid_request_error"
    if STRICT.is_dir():
        assert_strict("ErrorResponse", [wire.json])


@pytest.mark.parametrize("endpoint", PATHS)
@pytest.mark.parametrize("body", [[], "a", 5, True])
async def test_a_body_that_is_no_object(url: str, endpoint: str, body: Any) -> None:
    """Is a mistake, not a failure."""
    wire = await fetch(url, request(body, PATHS[endpoint]))
    assert (wire.status, wire.error["code"]) == (400, "invalid_type")


@pytest.mark.parametrize("endpoint", PATHS)
async def test_null_is_absent_and_what_is_unknown_is_extra(url: str, endpoint: str) -> None:
    """The answer is what OpenAI's schema says."""
    body = {"model": "m", **LEAST[endpoint], "mood": "calm", "x" * 300: [], **dict.fromkeys(OPTIONAL[endpoint])}
    wire = await fetch(url, request(body, PATHS[endpoint]))
    assert wire.status == 200, wire.body
    assert "x-oaiproxy-dropped" not in wire.headers or endpoint == "speech"
    if endpoint in SCHEMAS and STRICT.is_dir():
        assert_strict(SCHEMAS[endpoint], [wire.json])


async def test_vectors_of_megabytes(proxy: Proxy) -> None:
    """Are the same as a few."""
    wide = [[index / 7 for index in range(60_000)]] * 2

    async def answer(incoming: web.Request) -> web.Response:
        return web.json_response({"v": wide})

    async with AsyncExitStack() as stack:
        running = await proxy(load(MAPPING % await stack.enter_async_context(serving(answer))))
        body = {"model": "m", "input": ["a", "b"]}
        wire = await fetch(running.url, request(body, "/v1/embeddings"))
        assert [each["embedding"] for each in wire.json["data"]] == wide
        wire = await fetch(running.url, request(body | {"input": ["a"]}, "/v1/embeddings"))
        assert (wire.status, wire.error["code"]) == (502, "upstream_mapping_mismatch")
