"""Promises of `/v1/audio/transcriptions`: a form in, JSON, text or subtitles out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import IDENTITY, events, load

from oaiproxy import jsontext
from oaiproxy.endpoints.transcriptions import encoder, parse, srt, vtt
from oaiproxy.errors import ClientError
from oaiproxy.events import Result
from oaiproxy.exchange import Exchange

FORM: dict[str, Any] = {"model": "m", "file": {"base64": "AA=="}}
FOUND = {"text": "Hi.", "segments": [{"start": 0.0, "end": 1.5, "text": "Hi."}], "words": []}


def made(found: Any, **fields: Any) -> bytes:
    answer = encoder(parse(FORM | fields), IDENTITY)
    answer.feed(Result(found))
    return answer.close(None)


def test_fields_of_a_form_have_their_types() -> None:
    """Texts become numbers, booleans, lists and objects."""
    call = parse(
        FORM
        | {
            "temperature": " 0.5 ",
            "stream": "false",
            "timestamp_granularities[]": ["word"],
            "include[]": [],
            "chunking_strategy": '{"type": "server_vad"}',
            "language": "12",
        }
    )
    assert {key: value for key, value in call.fields.items() if key not in FORM} == {
        "temperature": 0.5,
        "timestamp_granularities": ["word"],
        "chunking_strategy": {"type": "server_vad"},
        "language": "12",
    }
    assert parse(FORM | {"chunking_strategy": "{"}).fields["chunking_strategy"] == "{"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "stream"),
        ({"timestamp_granularities[]": ["segment", "phoneme"]}, "timestamp_granularities[1]"),
        ({"file": None}, "file"),
        ({"file": "text"}, "file"),
    ],
)
def test_fields_of_the_wrong_type(fields: dict[str, Any], param: str) -> None:
    """Are named."""
    with pytest.raises(ClientError) as caught:
        parse(FORM | fields)
    assert caught.value.param == param


@pytest.mark.parametrize("wanted", [{}, {"response_format": "text"}])
def test_a_stream(wanted: dict[str, str]) -> None:
    """Of events: the text, and that it is all. The backend is not asked for it."""
    delta, done, end = events(made({"text": "a\n\nb", "segments": []}, stream="true", **wanted))
    assert [json.loads(delta), json.loads(done), end] == [
        {"type": "transcript.text.delta", "delta": "a\n\nb"},
        {"type": "transcript.text.done", "text": "a\n\nb"},
        "[DONE]",
    ]
    assert "stream" not in parse(FORM | {"stream": "true"}).request


def test_a_prompt_that_was_not_sent_is_absent() -> None:
    """An empty one would be another request."""
    mapping = load(
        "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b.test'}\ntranscriptions:\n"
        "  request: {path: /t, body: {p: '{{ prompt }}', f: '{{ file.base64 }}'}}\n  response: {text: t}\n"
    )
    call = parse(FORM)
    request = Exchange(mapping, call, encoder(call, IDENTITY), IDENTITY).backend_request()
    assert jsontext.parse(request.body or b"") == {"f": "AA=="}


def test_formats() -> None:
    """JSON of the text alone by default, all of it when asked for."""
    assert made(FOUND) == b'{"text":"Hi."}'
    assert made(FOUND, response_format="text") == b"Hi."
    assert made(FOUND, response_format="srt") == b"1\n00:00:00,000 --> 00:00:01,500\nHi.\n\n"
    assert made({"text": ""}, response_format="vtt") == b"WEBVTT\n\n"
    assert encoder(parse(FORM | {"response_format": "vtt"}), IDENTITY).content_type == "text/plain; charset=utf-8"


def test_verbose() -> None:
    """What was found, and of what is missing what is known."""
    verbose = jsontext.parse(made(FOUND, response_format="verbose_json", language="de"))
    assert (verbose["task"], verbose["language"], verbose["duration"], verbose["text"]) == (
        "transcribe",
        "de",
        1.5,
        "Hi.",
    )
    [segment] = verbose["segments"]
    assert (segment["id"], segment["start"], segment["end"], segment["text"]) == (0, 0.0, 1.5, "Hi.")
    assert segment.keys() > {"seek", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"}
    assert "words" not in verbose
    least = jsontext.parse(made({"text": "a"}, response_format="verbose_json"))
    assert least == {"task": "transcribe", "language": "", "duration": 0.0, "text": "a"}
    both = {"response_format": "verbose_json", "timestamp_granularities[]": ["word"]}
    assert jsontext.parse(made(FOUND, **both)).keys() & {"words", "segments"} == {"words"}


def test_no_text_breaks_a_cue() -> None:
    """Neither an empty line nor an arrow."""
    segments = [{"start": 3599.9996, "end": 7322.0004, "text": " a\n\n b --> c\r\n"}]
    assert srt(segments) == "1\n01:00:00,000 --> 02:02:02,000\na\nb -> c\n\n"
    assert vtt(segments).endswith("\na\nb -> c\n\n")
