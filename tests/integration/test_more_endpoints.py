"""Promises to OpenAI's own client beyond chat: vectors, images, sound, transcripts and verdicts."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest
from conftest import Proxy
from scripted import FIN, GONE, REQUEST, RST, Backend, answer, chunk, fetch, request, stream_head
from support import ROOT, STRICT, assert_strict, events, load

Ask = Callable[..., Any]
BLOCKS = {
    "embeddings": (
        "{path: /embed, body: {texts: '{{ input }}', ids: '{{ tokens }}', size: '{{ dimensions }}'}}",
        "{vectors: out, usage: {total: n}, model: by}",
    ),
    "rerank": ("{path: /rank, body: {q: '{{ query }}', d: '{{ documents }}'}}", "{results: out, usage: {total: n}}"),
    "moderations": ("{path: /judge, body: {texts: '{{ input }}'}}", "{results: out}"),
    "images": ("{path: /paint, body: {p: '{{ prompt }}', n: '{{ n }}'}}", "{images: out}"),
    "speech": ("{path: /say, body: {text: '{{ input }}', voice: '{{ voice }}', speed: '{{ speed }}'}}", "{}"),
    "transcriptions": (
        "{path: /hear, body: {audio: '{{ file.base64 }}', name: '{{ file.filename }}', t: '{{ temperature }}'}}",
        "{text: text, language: lang, duration: secs, segments: parts, words: words}",
    ),
}


def mapping(url: str, endpoint: str, *, response: str = "", body: str = "", more: str = "") -> Any:
    """A mapping with one block."""
    asked, read = BLOCKS[endpoint]
    lines = ["oaiproxy: 1", "models: [m]", f"backend: {{url: '{url}'}}", more, f"{endpoint}:"]
    return load("\n".join([*lines, f"  request: {body or asked}", f"  response: {response or read}"]) + "\n")


class Round:
    """A client, and the backend behind its proxy."""

    def __init__(self, backend: Backend, url: str, client: openai.AsyncOpenAI) -> None:
        self.backend = backend
        self.url = url
        self.client = client

    @property
    def asked(self) -> Any:
        """What the backend was asked, as data."""
        return self.backend.requests[0].json


@pytest.fixture
async def served(proxy: Proxy) -> AsyncIterator[Ask]:
    """Starts a backend that answers so, a proxy for one endpoint, and a client."""
    async with AsyncExitStack() as stack:

        async def start(endpoint: str, *steps: Any, server: dict[str, Any] | None = None, **given: str) -> Round:
            backend = await stack.enter_async_context(Backend([REQUEST, *steps, GONE]))
            running = await proxy(mapping(backend.url, endpoint, **given), **(server or {}))
            client = openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0)
            await stack.enter_async_context(client)
            return Round(backend, running.url, client)

        yield start


def strict(name: str, value: Any) -> None:
    if STRICT.is_dir():
        assert_strict(name, [value])


async def test_embeddings_as_the_client_asks_by_itself(served: Ask) -> None:
    """In base64, which it decodes to the very floats."""
    there = await served("embeddings", answer({"out": [[0.5, -1, 2], ["1", "0.25", "3e0"]], "n": 7, "by": "large"}))
    made = await there.client.embeddings.create(model="m", input=["a", "b"], dimensions=3)
    assert [item.embedding for item in made.data] == [[0.5, -1.0, 2.0], [1.0, 0.25, 3.0]]
    assert [item.index for item in made.data] == [0, 1]
    assert (made.model, made.usage.prompt_tokens, made.usage.total_tokens) == ("large", 7, 7)
    assert there.asked == {"texts": ["a", "b"], "size": 3}


async def test_embeddings_as_numbers(served: Ask) -> None:
    """By OpenAI's schema; the tokens that nobody told are counted."""
    there = await served("embeddings", answer({"out": [0.1, 0.2]}))
    body = {"model": "m", "input": "hello world", "encoding_format": "float"}
    wire = await fetch(there.url, request(body, "/v1/embeddings"))
    strict("CreateEmbeddingResponse", wire.json)
    assert wire.json == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
        "model": "m",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


async def test_embeddings_of_token_ids(served: Ask) -> None:
    """They go to the mapping as they are, and count as many."""
    there = await served("embeddings", answer({"out": [[1], [2]]}))
    made = await there.client.embeddings.create(model="m", input=[[1, 2], [3]])
    assert there.asked == {"ids": [[1, 2], [3]]}
    assert made.usage.prompt_tokens == 3


@pytest.mark.parametrize(
    ("ids", "texts"), [([15339, 1917], ["hello world"]), ([[15339], [1917, 100257]], ["hello", " world<|endoftext|>"])]
)
async def test_token_ids_for_a_mapping_that_reads_texts_alone(served: Ask, ids: Any, texts: list[str]) -> None:
    """They become the texts that they stand for in cl100k_base, as clients make them."""
    there = await served("embeddings", answer({"out": [[1]] * len(texts)}), body="{body: {texts: '{{ input }}'}}")
    made = await there.client.embeddings.create(model="m", input=ids)
    assert there.asked == {"texts": texts}
    assert len(made.data) == len(texts)


@pytest.mark.parametrize(
    ("ids", "param"), [([1, 100300], "input"), ([[1], [-1]], "input[1]"), ([[10**30]], "input[0]")]
)
async def test_ids_that_are_no_tokens(served: Ask, ids: Any, param: str) -> None:
    """Are the client's mistake."""
    there = await served("embeddings", body="{body: {texts: '{{ input }}'}}")
    with pytest.raises(openai.BadRequestError, match="no token of that id in cl100k_base") as caught:
        await there.client.embeddings.create(model="m", input=ids)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        ({"out": [[1, 2]]}, "1 vectors came for 2 inputs (vectors: out)"),
        ({"out": [[1, 2], [1]]}, "not of one length"),
        ({"out": [[1], ["x"]]}, "what is not a number"),
        ({"nothing": 1}, "no vectors were found (vectors: out)"),
        (b'{"out": [[1], [NaN]]}', "not finite"),
        ({"out": [[1], [1e39]]}, "too large for a float of 32 bits"),
    ],
)
async def test_vectors_that_do_not_fit(served: Ask, answered: Any, words: str) -> None:
    """Are a mismatch, which no retry mends."""
    there = await served("embeddings", answer(answered))
    with pytest.raises(openai.InternalServerError) as caught:
        await there.client.embeddings.create(model="m", input=["a", "b"])
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_mapping_mismatch")
    assert words in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_failures_are_told_as_those_of_chat(served: Ask) -> None:
    """The status, the message and the mapping's secrets apart."""
    there = await served("embeddings", answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "7"}))
    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        await there.client.embeddings.create(model="m", input="a")
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([answer({"error": {"message": "broken"}})], "upstream_error"),
        ([answer(b"<html>", headers={"Content-Type": "text/html"})], "upstream_invalid_response"),
        ([answer(b"")], "upstream_empty_response"),
        ([answer(b"{")], "upstream_invalid_json"),
        ([answer(b"{}", headers={"Content-Length": "9"}), FIN], "upstream_truncated"),
        ([answer(b"{}", headers={"Content-Encoding": "br"})], "upstream_unsupported_encoding"),
        ([RST], "upstream_reset"),
    ],
)
async def test_answers_that_are_none(served: Ask, steps: list[Any], code: str) -> None:
    """Each is a 5xx with its own code."""
    there = await served("embeddings", *steps)
    with pytest.raises(openai.InternalServerError) as caught:
        await there.client.embeddings.create(model="m", input="a")
    assert caught.value.code == code


async def test_a_model_that_does_not_serve_an_endpoint(served: Ask) -> None:
    """404 that says what it serves."""
    there = await served("embeddings")
    with pytest.raises(openai.NotFoundError, match="it serves: /v1/embeddings") as caught:
        await there.client.images.generate(model="m", prompt="a cat")
    assert caught.value.code == "model_not_found"


async def test_a_ranking(served: Ask) -> None:
    """The best first, no more than asked for, with the client's own texts."""
    scores = [{"index": 0, "score": 0.1}, {"index": 2, "relevance_score": 0.9}, {"index": 1, "score": "0.5"}]
    there = await served("rerank", answer({"out": scores, "n": 12}))
    documents = ["a", {"text": "b"}, "c"]
    body = {"model": "m", "query": "q", "documents": documents, "top_n": 2, "return_documents": True}
    wire = await fetch(there.url, request(body, "/v1/rerank"))
    assert there.asked == {"q": "q", "d": ["a", "b", "c"]}
    assert wire.json.pop("id").startswith("rerank-")
    assert {key: value for key, value in wire.json.items() if key != "id"} == {
        "model": "m",
        "results": [
            {"index": 2, "relevance_score": 0.9, "document": {"text": "c"}},
            {"index": 1, "relevance_score": 0.5, "document": {"text": "b"}},
        ],
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
    }


async def test_moderations(served: Ask) -> None:
    """All of OpenAI's categories, those of the backend beside them, and OpenAI's own model name by default."""
    told = {"flagged": True, "categories": {"hate": True, "spam": True}, "category_scores": {"hate": 0.9, "spam": 1}}
    there = await served("moderations", answer({"out": [told, {"categories": {"hate": False}}]}))
    raw = await there.client.moderations.with_raw_response.create(model="m", input=["a", "b"])
    strict("CreateModerationResponse", json.loads(raw.content))
    first, second = raw.parse().results
    assert (first.flagged, first.categories.hate, first.categories.violence) == (True, True, False)
    assert (first.categories.model_extra or {})["spam"] is True
    assert (first.category_scores.hate, first.category_scores.violence) == (0.9, 0.0)
    assert second.flagged is False
    with pytest.raises(openai.NotFoundError, match="omni-moderation-latest"):
        await there.client.moderations.create(input="a")


PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.mark.parametrize(
    ("came", "wanted", "got"),
    [
        (PIXEL, None, {"b64_json": PIXEL}),
        ({"base64": PIXEL}, "b64_json", {"b64_json": PIXEL}),
        ({"b64_json": PIXEL, "revised_prompt": "r"}, "url", {"url": f"data:image/png;base64,{PIXEL}"}),
        ("https://h/i.png", None, {"url": "https://h/i.png"}),
        ({"url": f"data:image/gif;base64,{PIXEL}"}, "b64_json", {"b64_json": PIXEL}),
    ],
)
async def test_images(served: Ask, came: Any, wanted: Any, got: dict[str, str]) -> None:
    """As the client wants them, or as they came."""
    there = await served("images", answer({"out": [came]}))
    given = {"response_format": wanted} if wanted else {}
    raw = await there.client.images.with_raw_response.generate(model="m", prompt="a cat", **given)
    strict("ImagesResponse", json.loads(raw.content))
    made = raw.parse()
    assert made.data is not None
    [image] = made.data
    assert image.model_dump(include={"url", "b64_json"}, exclude_none=True) == got
    assert image.revised_prompt == (came.get("revised_prompt") if isinstance(came, dict) else None)


async def test_an_image_that_would_have_to_be_fetched(served: Ask) -> None:
    """Is the client's to mend: nothing is downloaded here."""
    there = await served("images", answer({"out": ["https://h/i.png"]}))
    with pytest.raises(openai.BadRequestError) as caught:
        await there.client.images.generate(model="m", prompt="a cat", response_format="b64_json")
    assert (caught.value.param, caught.value.code) == ("response_format", "unsupported_value")


async def test_sound_comes_as_it_is_made(served: Ask) -> None:
    """The first bytes reach the client before the backend makes the last."""
    more = asyncio.Event()
    there = await served("speech", stream_head("audio/ogg"), chunk(b"\x00first"), more, chunk(b"last\xff"), chunk(b""))
    ask = there.client.audio.speech.with_streaming_response.create(model="m", input="hello", voice="alloy", speed=1.5)
    async with ask as response:
        assert response.headers["content-type"] == "audio/ogg"
        pieces = response.iter_bytes()
        received = b""
        while len(received) < 6:
            received += await anext(pieces)
        assert received == b"\x00first"
        more.set()
        assert b"".join([piece async for piece in pieces]) == b"last\xff"
    assert there.asked == {"text": "hello", "voice": "alloy", "speed": 1.5}


async def test_sound_as_events(served: Ask) -> None:
    """Piece by piece; its text is counted. What breaks off ends in an error event."""
    body = {"model": "m", "input": "hello world", "voice": "v", "stream_format": "sse"}
    there = await served("speech", stream_head("audio/mpeg"), chunk(b"ID3"), chunk(b"\xff"), chunk(b""))
    wire = await fetch(there.url, request(body, "/v1/audio/speech"))
    *deltas, done = [json.loads(each) for each in events(wire.body)]
    assert b"".join(base64.b64decode(each["audio"]) for each in deltas) == b"ID3\xff"
    assert (done["type"], done["usage"]["input_tokens"], wire.complete) == ("speech.audio.done", 2, True)
    assert wire.headers["content-type"].startswith("text/event-stream")


async def test_events_of_sound_that_break_off(served: Ask) -> None:
    """End in an error event."""
    body = {"model": "m", "input": "hello world", "voice": "v", "stream_format": "sse"}
    there = await served("speech", stream_head("audio/mpeg"), chunk(b"ID3"), RST)
    wire = await fetch(there.url, request(body, "/v1/audio/speech"))
    first, last = [json.loads(each) for each in events(wire.body)]
    assert (first["type"], last["error"]["code"], wire.complete) == ("speech.audio.delta", "upstream_reset", False)


async def test_sound_that_breaks_off(served: Ask) -> None:
    """Never looks complete, and nothing is written into it."""
    there = await served("speech", stream_head("audio/mpeg"), chunk(b"ID3"), RST)
    body = {"model": "m", "input": "hello", "voice": "v"}
    wire = await fetch(there.url, request(body, "/v1/audio/speech"))
    assert (wire.status, wire.body, wire.complete) == (200, b"ID3", False)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (answer({"error": "no such voice"}), "upstream_error"),
        (answer({"id": 1}), "upstream_mapping_mismatch"),
        (answer(b"", headers={"Content-Type": "audio/mpeg"}), "upstream_empty_response"),
        (answer(b"<html>", headers={"Content-Type": "text/html"}), "upstream_invalid_response"),
    ],
)
async def test_what_is_no_sound(served: Ask, step: bytes, code: str) -> None:
    """Is told as the failure that it is."""
    there = await served("speech", step)
    with pytest.raises(openai.InternalServerError) as caught:
        await there.client.audio.speech.create(model="m", input="hello", voice="v")
    assert caught.value.code == code


async def test_sound_in_base64(served: Ask) -> None:
    """Becomes bytes; its type is the mapping's, or what the client asked for."""
    there = await served(
        "speech",
        answer({"sound": "UklGRg=="}),
        body="{body: ['{{ input }}', '{{ response_format }}']}",
        response="{audio: sound}",
    )
    made = await there.client.audio.speech.create(model="m", input="hello", voice="v", response_format="wav")
    assert (made.content, made.response.headers["content-type"]) == (b"RIFF", "audio/wav")


async def test_a_format_of_sound_that_the_mapping_does_not_ask_for(served: Ask) -> None:
    """Is refused: the client would get another one."""
    there = await served("speech")
    with pytest.raises(openai.BadRequestError) as caught:
        await there.client.audio.speech.create(model="m", input="hello", voice="v", response_format="wav")
    assert caught.value.param == "response_format"


HEARD = {
    "text": "Hello world. Bye.",
    "lang": "en",
    "secs": "61.5",
    "parts": [
        {"start": 0, "end": 1.25, "text": " Hello world.", "no_speech_prob": 0.5},
        {"start": 60, "end": 61.5, "text": "Bye."},
    ],
    "words": [{"text": "Hello", "start": 0, "end": 0.5, "p": 1}],
}
RECORDING: Any = {"model": "m", "file": ("a b.wav", b"RIFF\x00\xff\r\n--x", "audio/wav")}


async def test_a_transcript(served: Ask) -> None:
    """The file reaches the mapping byte for byte."""
    there = await served("transcriptions", answer(HEARD))
    made = await there.client.audio.transcriptions.create(**RECORDING, temperature=0.5)
    assert made.text == HEARD["text"]
    assert there.asked == {"audio": base64.b64encode(RECORDING["file"][1]).decode(), "name": "a b.wav", "t": 0.5}


async def test_a_transcript_as_events(served: Ask) -> None:
    """Such as the client reads; before them a failure has a status of its own."""
    there = await served("transcriptions", answer(HEARD))
    stream = await there.client.audio.transcriptions.create(**RECORDING, stream=True)
    assert [event.type async for event in stream] == ["transcript.text.delta", "transcript.text.done"]
    failing = await served("transcriptions", answer({"error": {"message": "slow down"}}, 429))
    with pytest.raises(openai.RateLimitError):
        await failing.client.audio.transcriptions.create(**RECORDING, stream=True)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("text", "Hello world. Bye."),
        ("srt", "1\n00:00:00,000 --> 00:00:01,250\nHello world.\n\n2\n00:01:00,000 --> 00:01:01,500\nBye.\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nHello world.\n\n00:01:00.000 --> 00:01:01.500\nBye.\n\n"),
    ],
)
async def test_a_transcript_as_text(served: Ask, wanted: Any, text: str) -> None:
    """Plain, and as subtitles made of the segments."""
    there = await served("transcriptions", answer(HEARD))
    assert await there.client.audio.transcriptions.create(**RECORDING, response_format=wanted) == text


async def test_a_verbose_transcript(served: Ask) -> None:
    """With segments, and words if they are asked for."""
    there = await served("transcriptions", answer(HEARD))
    made = await there.client.audio.transcriptions.create(
        **RECORDING, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (made.language, made.duration, made.text) == ("en", 61.5, HEARD["text"])
    assert made.segments is not None
    assert [(each.id, each.start, each.no_speech_prob) for each in made.segments] == [(0, 0.0, 0.5), (1, 60.0, 0.0)]
    assert made.words is not None
    assert [(each.word, each.end) for each in made.words] == [("Hello", 0.5)]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"response_format": "srt"}, "response_format"),
        ({"response_format": "verbose_json", "timestamp_granularities": ["word"]}, "timestamp_granularities[0]"),
        ({"response_format": "nope"}, "response_format"),
        ({"temperature": "warm"}, "temperature"),
        ({"include": ["logprobs"]}, "include"),
    ],
)
async def test_what_a_transcript_cannot_be(served: Ask, given: Any, param: str) -> None:
    """Is refused before the backend is asked."""
    there = await served("transcriptions", response="{text: text}")
    with pytest.raises(openai.BadRequestError) as caught:
        await there.client.audio.transcriptions.create(**RECORDING, **given)
    assert caught.value.param == param
    assert there.backend.requests == []


async def test_examples_are_a_backend_for_these_too(proxy: Proxy) -> None:
    """With `mock:`, each endpoint answers as its example says."""
    texts = (ROOT / "tests/everything.yaml").read_text().split("\n---\n")
    text = next(each for each in texts if "dimensions" in each)
    running = await proxy(load(text.replace("https://api.example.com", "mock:")))
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        vectors = await client.embeddings.create(model="m", input=["a", "b"], dimensions=2, user="me")
        assert [item.embedding for item in vectors.data] == [[3.0, 4.0], [1.0, 2.0]]
        assert (await client.moderations.create(model="m", input="a")).results[0].flagged
        assert (await client.images.generate(model="m", prompt="a")).data is not None
        assert (await client.audio.speech.create(model="m", input="a", voice="v")).content == b"RIFF"
        assert (await client.audio.transcriptions.create(model="m", file=("a.wav", b"RIFF"))).text == "Hi."
