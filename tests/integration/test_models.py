"""Promises to OpenAI's own client at /v1/models, and of endpoints that a model has not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import openai
import pytest
from conftest import Proxy
from scripted import fetch, mapping
from support import STRICT, assert_strict, load

NAMES = ["z-last", "org/name", "a:b@c", "größe"]
MAPPING = "\n".join(
    (
        "oaiproxy: 1",
        "models: [embed]",
        "backend: {url: 'http://backend.test'}",
        "embeddings: {request: {path: /e, body: {i: '{{ input }}'}}, response: {vectors: v}}",
        "rerank: {request: {path: /r, body: {q: '{{ query }}', d: '{{ documents }}'}}, response: {results: r}}",
        "",
    )
)


@pytest.fixture
async def there(proxy: Proxy) -> AsyncIterator[tuple[str, openai.AsyncOpenAI]]:
    models = json.dumps(NAMES, ensure_ascii=False)
    running = await proxy(mapping("http://backend.test", models=models), load(MAPPING))
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        yield running.url, client


There = tuple[str, openai.AsyncOpenAI]


async def test_the_list(there: There) -> None:
    """In the order of the mappings, the same each time, whatever the query says."""
    url, client = there
    assert [model.id async for model in client.models.list()] == [*NAMES, "embed"]
    first, second = [
        await fetch(url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        for path in ("/v1/models", "/v1/models?limit=1&after=x")
    ]
    assert first.json == second.json
    if STRICT.is_dir():
        assert_strict("ListModelsResponse", [first.json])
        assert_strict("Model", first.json["data"])


@pytest.mark.parametrize("name", NAMES)
async def test_one_model(there: There, name: str) -> None:
    """By any name, also with a slash."""
    model = await there[1].models.retrieve(name)
    assert (model.id, model.object, type(model.created), model.owned_by) == (name, "model", int, "test")


async def test_a_model_that_is_not_there(there: There) -> None:
    """Is OpenAI's 404."""
    with pytest.raises(openai.NotFoundError, match="The model 'org/other' does not exist") as caught:
        await there[1].models.retrieve("org/other")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_models_are_not_deleted(there: There) -> None:
    """They are the mappings'."""
    with pytest.raises(openai.APIStatusError) as caught:
        await there[1].models.delete("embed")
    assert (caught.value.status_code, caught.value.code) == (405, "method_not_supported")


async def test_an_endpoint_that_a_model_has_not(there: There) -> None:
    """404 with the paths that it has; completions come with chat."""
    _, client = there
    with pytest.raises(openai.NotFoundError) as caught:
        await client.completions.create(model="embed", prompt="a")
    assert "it serves: /v1/embeddings, /v1/rerank." in caught.value.message
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="it serves: /v1/chat/completions, /v1/completions"):
        await client.embeddings.create(model="org/name", input="a")
