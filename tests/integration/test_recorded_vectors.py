"""Promises about real backends: recorded embeddings and rankings come out as OpenAI's, by mappings of a few lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import IDENTITY, WIRE, assert_strict, load, needs_wire

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.exchange import Exchange

pytestmark = needs_wire
HEAD = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b'}\n"


def recorded(name: str) -> Any:
    """A recording, as data."""
    return json.loads((WIRE / name).read_text())


def ask(endpoint: str, request: str, response: str, body: dict[str, Any]) -> Exchange:
    mapping = load(f"{HEAD}{endpoint}:\n  request: {request}\n  response: {response}\n")
    call = DOORS[endpoint].parse({"model": "m", **body})
    return Exchange(mapping, call, DOORS[endpoint].encoder(call, IDENTITY), IDENTITY)


def got(exchange: Exchange, answered: Any, headers: dict[str, str] | None = None) -> Any:
    reply = exchange.reply(200, {"content-type": "application/json", **(headers or {})})
    sent = reply.feed(json.dumps(answered).encode()) + reply.end()
    missing = reply.uncounted()
    sent += reply.close(None if missing is None else 1)
    assert reply.fault is None, (reply.fault, reply.fault.detail)
    return json.loads(sent)


@pytest.mark.parametrize(
    ("name", "count", "response", "first", "tokens"),
    [
        ("tei/response_embed.json", 1, "{vectors: '@', usage: {prompt: \"header('x-compute-tokens')\"}}", 0.0, 6),
        (
            "cohere_v2/response_embed.json",
            None,
            "{vectors: embeddings.float, usage: {prompt: meta.billed_units.input_tokens}}",
            None,
            None,
        ),
        ("gemini/response_embed_batch.json", 2, "{vectors: 'embeddings[].values'}", -0.006419318, None),
        (
            "vertex/response_embed_predict_batch.json",
            2,
            "{vectors: 'predictions[].embeddings.values', "
            "usage: {prompt: 'sum(predictions[].embeddings.statistics.token_count)'}}",
            -0.017999587580561638,
            11,
        ),
        ("ollama/response_embed.json", 1, "{vectors: embeddings, usage: {prompt: prompt_eval_count}}", 0.010071029, 8),
        ("ollama/response_embeddings_legacy.json", 1, "{vectors: embedding}", -0.07757184654474258, None),
        (
            "watsonx/response_embed.json",
            1,
            "{vectors: 'results[].embedding', usage: {prompt: input_token_count}, model: model_id}",
            -0.006929283,
            10,
        ),
    ],
)
def test_recorded_embeddings(
    name: str, count: int | None, response: str, first: float | None, tokens: int | None
) -> None:
    """Each shape by one selector; tokens as the backend counts them, or ours."""
    answered = recorded(name)
    count = count or len(answered["embeddings"]["float"])
    exchange = ask("embeddings", "{body: {t: '{{ input }}'}}", response, {"input": ["text"] * count})
    made = got(exchange, answered, {"x-compute-tokens": "6"})
    assert_strict("CreateEmbeddingResponse", [made])
    assert [item["index"] for item in made["data"]] == list(range(count))
    assert first is None or made["data"][0]["embedding"][0] == first
    assert tokens is None or made["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_recorded_embeddings_in_base64() -> None:
    """As far as the recording goes: it was cut short for its length."""
    answered = recorded("voyage/response_embed_base64.json")
    for item in answered["data"]:
        item["embedding"] = item["embedding"][:64]  # 48 bytes: 12 numbers
    response = "{vectors: 'data[].embedding', order_by: 'data[].index', usage: {total: usage.total_tokens}}"
    asked = recorded("voyage/request_embed_base64.json")
    exchange = ask("embeddings", "{body: {input: '{{ input }}'}}", response, {"input": asked["input"]})
    made = got(exchange, answered)
    assert [len(item["embedding"]) for item in made["data"]] == [12, 12]
    assert all(-1 < number < 1 for item in made["data"] for number in item["embedding"])


@pytest.mark.parametrize(
    ("name", "response", "count", "best"),
    [
        ("tei/response_rerank.json", "{results: '@'}", 2, (1, 0.9976)),
        ("cohere_v2/response_rerank.json", "{results: results, id: id}", 5, (3, 0.999071)),
        ("voyage/response_rerank.json", "{results: data, usage: {total: usage.total_tokens}}", 4, (3, 0.7421875)),
        (
            "watsonx/response_rerank.json",
            "{results: results, usage: {prompt: input_token_count}}",
            6,
            (5, 9.720501899719238),
        ),
    ],
)
def test_recorded_rankings(name: str, response: str, count: int, best: tuple[int, float]) -> None:
    """The best first."""
    documents = [f"document {index}" for index in range(count)]
    body = {"query": "q", "documents": documents, "return_documents": True}
    made = got(ask("rerank", "{body: {q: '{{ query }}', d: '{{ documents }}'}}", response, body), recorded(name))
    first = made["results"][0]
    assert (first["index"], first["relevance_score"]) == best
    assert first["document"] == {"text": f"document {best[0]}"}
    scores = [result["relevance_score"] for result in made["results"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("voyage/error_400.json", 400, "invalid_value"),
        ("tei/error_413.json", 413, "request_too_large"),
        ("cohere_v2/error_404_embed.json", 502, "upstream_not_found"),
        ("gemini/error_404_embed.json", 502, "upstream_not_found"),
    ],
)
def test_recorded_failures(name: str, status: int, code: str) -> None:
    """As those of chat."""
    exchange = ask("embeddings", "{body: {t: '{{ input }}'}}", "{vectors: out}", {"input": "a"})
    reply = exchange.reply(int(name.partition("error_")[2][:3]), {"content-type": "application/json"})
    assert reply.feed((WIRE / name).read_bytes()) + reply.end() == b""
    assert reply.fault is not None
    assert (reply.fault.status, reply.fault.code) == (status, code)
