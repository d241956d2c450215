"""Promises of the recorder: it lets pass what is right, and finds each way to be wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contract import Recorder, Sent, place_of, violations
from scripted import REQUEST, RST, Backend, answer, chunk, event, fetch, hello, mapping, stream_head
from support import needs_strict

CHAT = "/v1/chat/completions"
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req_1"}
DONE = b"data: [DONE]\n\n"
FAILED = {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}


def choice(delta: dict[str, Any] | None = None, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": reason}


def part(*choices: dict[str, Any], **more: Any) -> bytes:
    made = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": list(choices)}
    return b"data: " + json.dumps(made | more).encode() + b"\n\n"


FIRST = part(choice({"role": "assistant", "content": ""}))
TEXT = part(choice({"content": "hi"}))
LAST = part(choice(reason="stop"))
USAGE = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
MORE = {"index": 0, "function": {"arguments": "{}"}}
ERROR = b"data: " + json.dumps(FAILED).encode() + b"\n\n"


def stream(*writes: bytes, ended: bool = True, broken: bool = False, path: str = CHAT) -> list[str]:
    """What is wrong with a stream."""
    sent = Sent("POST", path, 200, HEADERS, ended=ended, broken=broken)
    for data in writes:
        sent.add(data)
    return list(violations(sent))


def whole(value: Any, status: int = 200, path: str = CHAT, **headers: str) -> list[str]:
    """What is wrong with a whole answer."""
    sent = Sent("POST", path, status, {"content-type": "application/json", "x-request-id": "r", **headers}, ended=True)
    sent.add(value if isinstance(value, bytes) else json.dumps(value).encode())
    return list(violations(sent))


@pytest.mark.parametrize(
    "writes",
    [
        (FIRST, TEXT, LAST, DONE),
        (b": wait\n\n", FIRST + TEXT, b": wait\n\n", LAST + DONE),
        (FIRST, part(choice({"tool_calls": [CALL]})), part(choice({"tool_calls": [MORE]})), LAST, DONE),
        (part(choice({"role": "assistant"}, "stop")), part(choice({"role": "assistant"}, "stop", 1)), DONE),
    ],
)
def test_a_right_stream_passes(writes: tuple[bytes, ...]) -> None:
    """Comments between events, and several events in a write, are right too."""
    assert stream(*writes) == []


def test_a_stream_with_usage_passes() -> None:
    """The key is null on all chunks but the last, which has no choice."""
    begun = [part(*json.loads(each[6:])["choices"], usage=None) for each in (FIRST, LAST)]
    assert stream(*begun, part(**USAGE), DONE) == []
    assert stream(FIRST, LAST, part(**USAGE), DONE)


def test_a_stream_that_fails_passes_if_it_says_so() -> None:
    """With an error as its last event, and no clean end; or if its client has left."""
    assert stream(FIRST, ERROR, ended=False) == []
    assert stream(FIRST, TEXT, ended=False, broken=True) == []


@pytest.mark.parametrize(
    ("writes", "why"),
    [
        ((FIRST, LAST), "the last event is not [DONE]"),
        ((FIRST, LAST, DONE, DONE), "something follows"),
        ((FIRST, TEXT, DONE), "finished"),
        ((DONE,), "finished"),
        ((FIRST, LAST, TEXT, DONE), "goes on after"),
        ((FIRST, LAST, LAST, DONE), "goes on after"),
        ((TEXT, LAST, DONE), "opened by its role"),
        ((FIRST, FIRST, LAST, DONE), "opened by its role"),
        ((FIRST[:20], FIRST[20:], LAST, DONE), "a write ends within an event"),
        ((FIRST, part(choice(reason="stop"), id="other"), DONE), "differ in 'id'"),
        ((FIRST, part(choice(reason="stop"), created=2), DONE), "differ in 'created'"),
        ((FIRST, part(), LAST, DONE), "has no choice"),
        ((FIRST, part(choice({"tool_calls": [MORE]})), LAST, DONE), "calls are numbered"),
        ((FIRST, part(choice({"tool_calls": [{**CALL, "index": 1}]})), LAST, DONE), "calls are numbered"),
        ((b"event: ping\n\n", FIRST, LAST, DONE), "not one line of data"),
        ((b"retry: 3\n\n", FIRST, LAST, DONE), "not one line of data"),
        ((b"data:\n\n", FIRST, LAST, DONE), "not one line of data"),
        ((FIRST, ERROR), "has a clean end"),
        ((FIRST, ERROR, DONE), "something follows"),
    ],
)
def test_a_wrong_stream_is_found(writes: tuple[bytes, ...], why: str) -> None:
    """Each rule of the order."""
    found = stream(*writes)
    assert any(why in each for each in found), found


def test_a_stream_that_just_ends_is_found() -> None:
    """Clients would take it for a whole answer, or hang."""
    assert "a stream was broken off without a word" in stream(FIRST, TEXT, ended=False)


@needs_strict
def test_a_chunk_against_the_schema_is_found() -> None:
    """With the place in it."""
    found = stream(FIRST, part(choice({"content": 5})), LAST, DONE)
    assert any("choices/0/delta" in each for each in found), found
    assert stream(FIRST, part(choice(reason="eos")), DONE)


@needs_strict
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (CHAT, {}),
        (CHAT, b"no JSON"),
        ("/v1/embeddings", {"object": "list", "data": [], "model": "m"}),
        ("/v1/responses", {"id": "r"}),
        ("/v1/chat/completions/", {}),
        ("/chat/completions", {}),
        ("/v1/unheard-of", {}),
    ],
)
def test_a_wrong_answer_is_found(path: str, value: Any) -> None:
    """By its path, however that is written."""
    assert whole(value, path=path)


@needs_strict
@pytest.mark.parametrize(
    ("value", "wrong"), [(FAILED, False), ({"error": "no"}, True), ({"error": {"message": "no"}}, True)]
)
def test_an_error_has_all_four_keys(value: Any, wrong: bool) -> None:
    """Wherever it comes from, but at endpoints that are not OpenAI's."""
    assert bool(whole(value, 404, "/v1/nowhere")) is wrong
    assert whole(value, 400, "/v1/messages") == []


def test_an_answer_without_an_id_is_found() -> None:
    """Clients show it to their users."""
    sent = Sent("GET", "/livez", 200, {"content-type": "application/json"}, ended=True)
    assert list(violations(sent)) == ["no x-request-id"]


@needs_strict
def test_the_events_of_a_response_are_numbered() -> None:
    """From 0, and each is what its type says."""
    created = {"type": "response.output_text.delta", "sequence_number": 1, "delta": 5}
    data = b"event: response.output_text.delta\ndata: " + json.dumps(created).encode() + b"\n\n"
    found = stream(data, path="/v1/responses")
    assert any("sequence_number" in each for each in found)
    assert any("ResponseStreamEvent" in each for each in found)
    assert any("first event" in each for each in found)


SOUND = {"type": "speech.audio.delta", "audio": "AAAA"}
SOUND_END = {"type": "speech.audio.done", "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}
WORDS = {"type": "transcript.text.delta", "delta": "hi"}
WORDS_END = {"type": "transcript.text.done", "text": "hi"}


@pytest.mark.parametrize(
    ("path", "events", "right"),
    [
        ("/v1/audio/speech", [SOUND, SOUND_END], True),
        ("/v1/audio/speech", [SOUND, FAILED], False),
        ("/v1/audio/speech", [SOUND_END, SOUND], False),
        ("/v1/audio/speech", [SOUND, {"type": "speech.audio.done"}], False),
        ("/v1/audio/speech", [WORDS, WORDS_END], False),
        ("/v1/audio/transcriptions", [WORDS, WORDS_END, "[DONE]"], True),
        ("/v1/audio/transcriptions", [WORDS, WORDS_END], False),
        ("/v1/audio/transcriptions", [WORDS, "[DONE]"], False),
        ("/v1/audio/transcriptions", [{**WORDS, "delta": None}, WORDS_END, "[DONE]"], False),
    ],
)
def test_events_of_sound_and_of_transcripts(path: str, events: list[Any], right: bool) -> None:
    """Each has its fields, and the last one is the end."""
    writes = [b"data: " + (each if isinstance(each, str) else json.dumps(each)).encode() + b"\n\n" for each in events]
    assert (stream(*writes, path=path) == []) is right


def test_sound_that_breaks_off_says_so() -> None:
    """By an error as its last event."""
    sound = b"data: " + json.dumps(SOUND).encode() + b"\n\n"
    assert stream(sound, ERROR, ended=False, path="/v1/audio/speech") == []
    assert stream(sound, ended=False, path="/v1/audio/speech")


def test_a_place_is_known_by_its_end() -> None:
    """Of a path with whatever before it."""
    for path in ("/v1/models", "/models/", "//v1//models", "/v1/v1/models"):
        place = place_of("GET", path)
        assert place is not None
        assert place.whole == "ListModelsResponse"


async def test_what_a_server_sends_is_recorded(proxy: Any, contract: Recorder) -> None:
    """Whole answers, streams and errors; a stream that fails is broken off."""
    script = [REQUEST, answer({"text": "hi"}), REQUEST, stream_head(), chunk(event("The ")), RST]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url))
        await fetch(running.url, hello())
        await fetch(running.url, hello(stream=True))
        await fetch(running.url, hello(model="other"))
    assert [(sent.status, sent.ended, bool(sent.writes)) for sent in contract.sent] == [
        (200, True, True),
        (200, False, True),
        (404, True, True),
    ]
    contract.sent[0].writes[0] = b"{}"
    with pytest.raises(AssertionError, match=r"breaks OpenAI's contract"):
        contract.check()
    contract.sent.clear()
