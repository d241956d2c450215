"""Promises of the small requests: each endpoint takes its own, and no more is asked than there is."""

from __future__ import annotations

import pytest
from support import ROOT, chat, load

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.live import live
from oaiproxy.liveprobes import REQUESTS, kinds, model_of, probe_live, small_request


@pytest.mark.parametrize("endpoint", REQUESTS)
def test_every_endpoint_takes_its_request(endpoint: str) -> None:
    """As a client's."""
    DOORS[endpoint].parse({"model": "m", **REQUESTS[endpoint]})


def test_what_there_is_to_ask() -> None:
    """Whole, streamed, or both."""
    assert kinds(chat(response="{text: t}"), "chat") == [False]
    assert kinds(chat(stream="{format: sse, text: t}"), "chat") == [True]
    assert kinds(chat(response="{text: t}", stream="{format: sse, text: t}"), "chat") == [False, True]
    assert kinds(chat(response="{text: t}"), "embeddings") == []


def test_answers_are_kept_short() -> None:
    """Where the mapping lets them."""
    mapping = chat(response="{text: t}", request="{path: /g, body: {p: '{{ prompt }}', n: '{{ max_tokens }}'}}")
    described = mapping.endpoint("chat")
    assert described is not None
    call = small_request(mapping, "chat", described, stream=False)
    assert call is not None
    assert call.fields["max_tokens"] == 32


def test_the_model_is_one_that_can_do_it() -> None:
    """As an example of the endpoint shows."""
    mapping = load(
        """
oaiproxy: 1
models: [talks, embeds]
backend: {url: "https://backend.test"}
chat: {request: {path: /g, body: {p: "{{ prompt }}"}}, response: {text: t}}
embeddings: {request: {path: /e, body: {i: "{{ input }}"}}, response: {vectors: v}}
examples:
  - {endpoint: embeddings, request: {model: embeds, input: a}, backend: {json: {v: [[1]]}}, replies: {vectors: [[1]]}}
"""
    )
    assert model_of(mapping, "chat") == "talks"
    assert model_of(mapping, "embeddings") == "embeds"


async def test_a_mock_is_not_asked() -> None:
    """There is nobody there."""
    async with live() as asking:
        assert await probe_live(asking, load((ROOT / "mappings/example.yaml").read_text(), {"A": "b"}), "", "f") == []
