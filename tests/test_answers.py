"""Promises of `oaiproxy.answers`: one document to one answer, sound passed on, failures as those of chat."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from support import IDENTITY, bytewise, halves, load

from oaiproxy.answers import MAX_AUDIO, Answer
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.reply import MAX_ERROR, MAX_REPLY, Uncounted

HEAD = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b', auth: {bearer: key-of-the-operator}}\n"
EMBED = "{vectors: out, usage: {prompt: n, total: t}, model: by}"
OUT: dict[str, Any] = {"out": [[1, 2]], "n": 3}
REQUESTS: dict[str, dict[str, Any]] = {
    "embeddings": {"input": "hello"},
    "rerank": {"query": "q", "documents": ["a", "b"]},
    "moderations": {"input": "a"},
    "images": {"prompt": "a"},
    "speech": {"input": "hello"},
    "transcriptions": {"file": {"base64": "AA=="}},
}


def answer(
    response: str = EMBED,
    *,
    endpoint: str = "embeddings",
    status: int = 200,
    headers: dict[str, str] | None = None,
    more: str = "",
    **fields: Any,
) -> Answer:
    mapping = load(f"{HEAD}{more}\n{endpoint}:\n  request: {{body: '{{{{ request }}}}'}}\n  response: {response}\n")
    call = DOORS[endpoint].parse({"model": "m", **REQUESTS[endpoint], **fields})
    exchange = Exchange(mapping, call, DOORS[endpoint].encoder(call, IDENTITY), IDENTITY)
    made = exchange.reply(status, headers or {"content-type": "application/json"}, now=0.0)
    assert isinstance(made, Answer)
    return made


def sent(made: Answer, *pieces: bytes, counts: tuple[int | None, int | None] = (None, None)) -> bytes:
    data = b"".join(made.feed(piece) for piece in pieces) + made.end()
    return data + made.close(*counts)


def fault(made: Answer, *pieces: bytes) -> BackendError:
    assert sent(made, *pieces) == b""
    assert made.fault is not None
    return made.fault


def test_an_answer_however_it_is_cut() -> None:
    """The same bytes, made at the end."""
    data = json.dumps({**OUT, "by": "large"}).encode()
    whole = sent(answer(), data)
    assert json.loads(whole)["data"] == [{"object": "embedding", "index": 0, "embedding": [1.0, 2.0]}]
    assert json.loads(whole)["model"] == "large"
    assert {sent(answer(), *pieces) for pieces in [bytewise(data), *halves(data)]} == {whole}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"n": 3}, (3, 3)),
        ({"t": 7}, (7, 7)),
        ({"n": "3", "t": 7}, (3, 7)),
        ({"n": 5, "t": 2}, (5, 5)),
    ],
)
def test_usage_that_the_backend_tells(told: dict[str, Any], usage: tuple[int, int]) -> None:
    """A total alone is the prompt's: there is nothing else."""
    made = answer()
    made.feed(json.dumps({"out": [1], **told}).encode())
    made.end()
    assert made.uncounted() is None
    found = json.loads(made.close())["usage"]
    assert (found["prompt_tokens"], found["total_tokens"]) == usage


def test_usage_that_nobody_tells_is_counted() -> None:
    """From the request's texts; token ids count themselves."""
    made = answer(input=["a b", "c"])
    made.feed(b'{"out": [[1], [2]]}')
    made.end()
    assert made.uncounted() == Uncounted(("a b", "c"), None)
    assert json.loads(made.close(4))["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    ids = answer(input=[[1, 2], [3]])
    ids.feed(b'{"out": [[1], [2]]}')
    ids.end()
    assert ids.uncounted() is None
    assert json.loads(ids.close())["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_what_has_no_place_for_usage_is_not_counted() -> None:
    """Moderations and transcripts."""
    made = answer("{text: text}", endpoint="transcriptions")
    made.feed(b'{"text": "hi"}')
    made.end()
    assert made.uncounted() is None
    assert made.close() == b'{"text":"hi"}'


def test_usage_of_images() -> None:
    """When all of it is told."""
    made = answer("{images: out, usage: {prompt: p, completion: c}}", endpoint="images")
    data = json.loads(sent(made, b'{"out": ["https://h/i"], "p": 5, "c": 7}'))
    assert data["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
        "output_tokens": 7,
        "total_tokens": 12,
    }
    partly = answer("{images: out, usage: {prompt: p, completion: c}}", endpoint="images")
    assert "usage" not in json.loads(sent(partly, b'{"out": ["https://h/i"], "p": 5}'))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"detail": "bad"}', (400, "invalid_value")),
        (401, b"{}", (502, "upstream_auth_error")),
        (429, b"", (429, "rate_limit_exceeded")),
        (302, b"", (502, "upstream_redirect")),
        (200, b'{"error": {"message": "x", "code": "c"}}', (502, "c")),
        (200, b" \n", (502, "upstream_empty_response")),
        (200, b"", (502, "upstream_empty_response")),
        (200, b"\xef\xbb\xbf<html>", (502, "upstream_invalid_response")),
        (200, b'{"out": ', (502, "upstream_invalid_json")),
        (200, b'{"out": 1}', (502, "upstream_mapping_mismatch")),
    ],
)
def test_failures(status: int, body: bytes, expected: tuple[int, str]) -> None:
    """Whatever cuts the body."""
    for pieces in ([body], bytewise(body)):
        found = fault(answer(status=status), *pieces)
        assert (found.status, found.code) == expected


def test_the_mappings_own_words_for_errors() -> None:
    """By `errors`, and by `error` in the answer; secrets stay here."""
    told = fault(answer(status=418, more="errors: {message: m, code: c}"), b'{"m": "key-of-the-operator", "c": "k"}')
    assert (told.code, "key-of" in told.message) == ("k", False)
    said = fault(answer("{vectors: out, error: {message: bad}}"), b'{"bad": "no", "out": [1]}')
    assert said.message == "no"
    assert json.loads(sent(answer("{vectors: out, error: ~}"), b'{"error": "x", "out": [1]}'))["object"] == "list"


def test_what_is_too_long() -> None:
    """Is named as the client wrote it."""
    body = b'{"error": "this model\'s maximum context length is 512 tokens"}'
    for endpoint, response, param in (("embeddings", EMBED, "input"), ("rerank", "{results: out}", "documents")):
        found = fault(answer(response, endpoint=endpoint, status=400), body)
        assert (found.status, found.code, found.param) == (400, "context_length_exceeded", param)


def test_a_mismatch_names_the_selector_and_to_the_log_its_place() -> None:
    """With the keys that came."""
    found = fault(answer(), b'{"result": 1, "other": 2}')
    assert found.message == "no vectors were found (vectors: out)"
    assert found.detail.startswith("no vectors were found (vectors: out) at test.yaml:")
    assert found.detail.endswith("; keys that came: result, other")


def test_compressed_answers() -> None:
    """As those of chat."""
    data = gzip.compress(json.dumps(OUT).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert json.loads(sent(answer(headers=headers), *bytewise(data)))["usage"]["prompt_tokens"] == 3
    assert fault(answer(headers=headers), data[:-9]).code == "upstream_truncated"
    assert fault(answer(headers={"content-encoding": "br"}), b"x").code == "upstream_unsupported_encoding"


def test_sizes_are_bounded() -> None:
    """Of an answer, of an error's body, of a sound."""
    blank = b" " * (MAX_REPLY // 4 + 1)
    assert fault(answer(), *[blank] * 4).code == "upstream_response_too_large"
    assert fault(answer(status=500), b"x" * (MAX_ERROR + 1)).code == "upstream_error"
    sound = answer("{}", endpoint="speech", headers={"content-type": "audio/mpeg"})
    piece = b"x" * (MAX_AUDIO // 4)
    for _ in range(4):
        assert sound.feed(piece) == piece
    assert sound.feed(b"x") == b""
    assert sound.fault is not None
    assert sound.fault.code == "upstream_response_too_large"


def test_sound_is_passed_on_at_once() -> None:
    """Each piece as it comes, whatever it holds."""
    made = answer("{}", endpoint="speech", headers={"content-type": "audio/ogg; codecs=opus"})
    assert (made.feed(b"<\x00"), made.content_type) == (b"<\x00", "audio/ogg; codecs=opus")
    assert (made.feed(b"\xff"), made.end(), made.close(), made.fault) == (b"\xff", b"", b"", None)


@pytest.mark.parametrize(
    ("headers", "asked", "response", "media_type"),
    [
        ({}, {}, "{}", "audio/mpeg"),
        ({"content-type": "application/octet-stream"}, {"response_format": "wav"}, "{}", "audio/wav"),
        ({"content-type": "audio/x-wav"}, {"response_format": "wav"}, "{}", "audio/x-wav"),
        ({"content-type": "audio/x"}, {}, "{media_type: \"'audio/flac'\"}", "audio/flac"),
        ({"content-type": "audio/x", "x-kind": "audio/aac"}, {}, "{media_type: \"header('x-kind')\"}", "audio/aac"),
        ({"content-type": "no type at all"}, {}, "{}", "audio/mpeg"),
    ],
)
def test_the_type_of_a_sound(headers: dict[str, str], asked: Any, response: str, media_type: str) -> None:
    """The mapping's, the backend's, or that of the format that was asked for."""
    made = answer(response, endpoint="speech", headers={"x": "y", **headers}, **asked)
    assert (sent(made, b"RIFF"), made.content_type) == (b"RIFF", media_type)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b'{"error": "x"}', "upstream_error"),
        ("application/json", b'{"ok": 1}', "upstream_mapping_mismatch"),
        ("text/plain", b"oops", "upstream_invalid_json"),
        ("text/html", b"<html>", "upstream_invalid_response"),
        ("audio/mpeg", b"", "upstream_empty_response"),
    ],
)
def test_what_is_no_sound(content_type: str, body: bytes, code: str) -> None:
    """Is never passed on as one."""
    made = answer("{}", endpoint="speech", headers={"content-type": content_type})
    assert fault(made, body).code == code


def test_a_reply_that_breaks_off() -> None:
    """The first failure stands; nothing follows it."""
    made = answer()
    made.cut(BackendError("broken", code="upstream_reset"))
    made.cut(BackendError("again"))
    assert (made.feed(b"x"), made.end(), made.close(), made.uncounted()) == (b"", b"", b"", None)
    assert made.fault is not None
    assert made.fault.code == "upstream_reset"


def test_a_request_that_asks_for_more_than_the_mapping_reads() -> None:
    """Is refused before the backend is asked."""
    with pytest.raises(ClientError, match="its mapping reads no segments"):
        answer("{text: text}", endpoint="transcriptions", response_format="srt")


def test_the_face_is_that_of_a_reply() -> None:
    """So that the relay need not know which it has."""
    made = answer()
    assert (made.done, made.streams, made.events, made.endpoint) == (False, False, 0, "embeddings")
    assert (set(made.unknown_events), set(made.unknown_finish_reasons)) == (set(), set())
    sent(made, json.dumps(OUT).encode())
    assert made.events == 1
