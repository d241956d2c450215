"""Promises of the small requests: each endpoint takes its own, and no more is asked than there is."""

from __future__ import annotations

import io
import wave
from base64 import b64decode

import pytest
from support import ROOT, chat, load

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.live import live
from oaiproxy.liveprobes import REQUESTS, kinds, model_of, probe_live, small_body, small_request


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


def test_an_example_tells_what_there_is_to_ask_of() -> None:
    """How many inputs go together, and what a voice is called; not what else it asks for, nor its sound."""
    mapping = load(
        """
oaiproxy: 1
models: [m]
backend: {url: "https://backend.test"}
embeddings: {request: {path: /e, body: {i: "{{ input }}"}}, response: {vectors: v}}
speech: {request: {path: /s, body: {i: "{{ input }}", v: "{{ voice }}"}}, response: {audio: sound}}
transcriptions: {request: {path: /t, body_form: {f: "{{ file }}"}}, response: {text: text}}
examples:
  - {endpoint: embeddings, request: {input: c}, backend: {status: 500, text: no}, replies: {status: 502}}
  - {endpoint: embeddings, request: {input: [a, b], dimensions: 1}, backend: {json: {v: [[1], [2]]}}}
  - {endpoint: speech, request: {input: Hello, voice: Ana, speed: 2}, backend: {json: {sound: aGk=}}}
  - {endpoint: transcriptions, request: {file: {filename: a.wav, base64: UklGRg==}}, backend: {json: {text: hi}}}
"""
    )
    assert small_body(mapping, "embeddings") == {"input": ["a", "b"]}
    assert small_body(mapping, "speech") == {"input": "Hello", "voice": "Ana"}
    assert small_body(mapping, "transcriptions") == REQUESTS["transcriptions"]
    assert small_body(mapping, "rerank") == REQUESTS["rerank"]


def test_the_silence_can_be_played() -> None:
    """It is base64 of a WAV file, long enough for backends to take it."""
    file = REQUESTS["transcriptions"]["file"]
    assert isinstance(file, dict)
    with wave.open(io.BytesIO(b64decode(file["base64"], validate=True))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, 1, 2)
        assert sound.getnframes() / sound.getframerate() > 0.1
        assert set(sound.readframes(sound.getnframes())) == {0}
