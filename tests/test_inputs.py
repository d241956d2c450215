"""Promises of `oaiproxy.inputs`: the requests beyond chat, their fields and names."""

from __future__ import annotations

from typing import Any

import pytest
from support import STRICT

from oaiproxy import jsontext
from oaiproxy.canonical import SHAPES
from oaiproxy.errors import ClientError
from oaiproxy.inputs import (
    INPUTS,
    MAX_INPUTS,
    NAMES,
    endpoint_shapes,
    moderated,
    text_list,
    texts,
    tokens,
    upload,
    voice,
)
from oaiproxy.parameters import read_fields

REQUESTS = {
    "embeddings": "CreateEmbeddingRequest",
    "moderations": "CreateModerationRequest",
    "images": "CreateImageRequest",
    "speech": "CreateSpeechRequest",
    "transcriptions": "CreateTranscriptionRequest",
}


@pytest.mark.skipif(not STRICT.is_dir(), reason="OpenAI's schemas are not on this machine")
@pytest.mark.parametrize("endpoint", REQUESTS)
def test_every_field_of_openais_is_known(endpoint: str) -> None:
    """And no other one."""
    schema = jsontext.parse((STRICT.parent / "relaxed" / f"{REQUESTS[endpoint]}.json").read_bytes())
    assert set(INPUTS[endpoint]) == set(schema["properties"])


@pytest.mark.parametrize("endpoint", INPUTS)
def test_every_name_is_a_fields(endpoint: str) -> None:
    """But for `tokens`, which is another form of one."""
    assert set(NAMES[endpoint]) - {"tokens"} <= set(INPUTS[endpoint])


def test_names_of_one_endpoint() -> None:
    """Its own and those of all; it knows where the others belong."""
    embedding, chat = endpoint_shapes("embeddings", SHAPES), endpoint_shapes("chat", {**SHAPES, "new": None})
    assert set(embedding) == {
        *("input", "tokens", "dimensions", "encoding_format"),
        *("model", "stream", "user", "extra", "request", "headers", "vars", "request_id", "uuid", "now"),
    }
    assert (
        embedding.elsewhere["prompt"]
        == "`prompt` is a name in `chat`, `completions`, `images` and `transcriptions`, not here"
    )
    assert chat.elsewhere["file"] == "`file` is a name in `transcriptions`, not here"
    assert set(chat) == {*SHAPES, "new"}
    assert not chat.elsewhere.keys() & chat.keys()


@pytest.mark.parametrize(
    ("value", "ids"),
    [("a", None), (["a"], None), ([], None), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_token_ids(value: Any, ids: Any) -> None:
    """One input or several."""
    assert tokens(value) == ids


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([[1], "a"], "input[1]"),
        ([[1], []], "input[1]"),
        ([1, "a"], "input[1]"),
        ([True], "input[0]"),
        ([{}], "input[0]"),
    ],
)
def test_token_ids_that_are_none(value: Any, param: str) -> None:
    """The item at fault is named."""
    with pytest.raises(ClientError) as caught:
        tokens(value)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("value", "param"),
    [(7, "input"), ([], "input"), (["a", 1], "input[1]"), (["a"] * (MAX_INPUTS + 1), "input"), ({}, "input")],
)
def test_texts_that_are_none(value: Any, param: str) -> None:
    """The item at fault is named, and their number is bounded."""
    with pytest.raises(ClientError) as caught:
        texts(value, "input")
    assert caught.value.param == param


def test_texts_to_moderate() -> None:
    """Parts are one input, and none of them an image."""
    assert moderated(["a", "b"]) == ["a", "b"]
    assert moderated([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]) == ["a\nb"]
    for parts, param in (
        ([{"type": "image_url", "image_url": {"url": "http://h"}}], "input[0].type"),
        ([{"type": "text", "text": "a"}, "b"], "input[1]"),
        ([{"type": "text"}], "input[0].text"),
    ):
        with pytest.raises(ClientError) as caught:
            moderated(parts)
        assert caught.value.param == param


@pytest.mark.parametrize(
    ("endpoint", "body", "param"),
    [
        ("rerank", {"documents": "a"}, "documents"),
        ("rerank", {"documents": []}, "documents"),
        ("rerank", {"documents": [1]}, "documents[0]"),
        ("rerank", {"documents": [{"title": "a"}]}, "documents[0].text"),
        ("rerank", {"top_n": 0}, "top_n"),
        ("embeddings", {"encoding_format": "int8"}, "encoding_format"),
        ("embeddings", {"dimensions": 0}, "dimensions"),
        ("images", {"n": 11}, "n"),
        ("speech", {"voice": {"name": "a"}}, "voice.id"),
        ("speech", {"speed": 9}, "speed"),
        ("speech", {"stream_format": "ndjson"}, "stream_format"),
        ("transcriptions", {"file": "text"}, "file"),
        ("transcriptions", {"response_format": "diarized_json"}, "response_format"),
        ("transcriptions", {"keywords": [1]}, "keywords[0]"),
    ],
)
def test_fields_of_the_wrong_type(endpoint: str, body: dict[str, Any], param: str) -> None:
    """Are named by their path."""
    with pytest.raises(ClientError) as caught:
        read_fields(body, INPUTS[endpoint])
    assert (caught.value.status, caught.value.param) == (400, param)


def test_values_that_count_as_not_sent() -> None:
    """Those that OpenAI takes by default."""
    assert read_fields({"n": 1, "size": "auto", "stream": False, "user": None}, INPUTS["images"]) == {}
    assert read_fields({"speed": 1.0, "response_format": "mp3", "stream_format": "audio"}, INPUTS["speech"]) == {}


def test_values_as_templates_see_them() -> None:
    """One form for each."""
    assert voice({"id": "v"}, "voice") == voice("v", "voice") == "v"
    assert text_list("a", "keywords") == text_list(["a"], "keywords") == ["a"]
    assert upload({"base64": "AA==", "filename": "a", "other": 1}, "file") == {"filename": "a", "base64": "AA=="}
    assert read_fields({"documents": ["a", {"text": "b"}]}, INPUTS["rerank"]) == {"documents": ["a", "b"]}
