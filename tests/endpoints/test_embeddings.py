"""Promises of `/v1/embeddings`: texts or token ids in, a list object out."""

from __future__ import annotations

from typing import Any

import pytest
from support import IDENTITY, assert_strict, needs_strict

from oaiproxy import jsontext
from oaiproxy.endpoints.embeddings import encoder, parse
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.events import Head, Result, Usage
from oaiproxy.vectors import to_base64


def made(vectors: Any, **fields: Any) -> Any:
    answer = encoder(parse({"model": "m", "input": "a", **fields}), IDENTITY)
    answer.feed(Head(None, "large"))
    answer.feed(Result(vectors))
    return jsontext.parse(answer.close(Usage(prompt=2, total=2)))


def test_many_vectors_are_written_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As what a few are, and so that no other thread waits for all of them."""
    sizes = []
    dump = jsontext.dump

    def noted(value: Any) -> bytes:
        sizes.append(len(value))
        return dump(value)

    monkeypatch.setattr(jsontext, "dump", noted)
    vectors = [[number / 7, 1e-9, -0.5] for number in range(100)]
    data = made(vectors)["data"]
    assert [each["embedding"] for each in data] == vectors
    assert [each["index"] for each in data] == list(range(100))
    assert sizes[:100] == [3] * 100
    assert made(vectors, encoding_format="base64")["data"][1]["embedding"] == to_base64(vectors[1])


@pytest.mark.parametrize(
    ("given", "fields", "texts"),
    [
        ("a", {"input": ["a"]}, ("a",)),
        (["a", "b"], {"input": ["a", "b"]}, ("a", "b")),
        ([1, 2], {"tokens": [[1, 2]]}, ()),
        ([[1], [2]], {"tokens": [[1], [2]]}, ()),
    ],
)
def test_inputs(given: Any, fields: dict[str, Any], texts: tuple[str, ...]) -> None:
    """Always a list; the texts are counted."""
    call = parse({"model": "m", "input": given, "dimensions": None})
    assert ({key: call.fields[key] for key in call.fields if key != "model"}, call.texts) == (fields, texts)


MISTAKES: list[tuple[Any, str, str]] = [
    ([], "input", "invalid_value"),
    ("", "input", "invalid_value"),
    (["a", ""], "input[1]", "invalid_value"),
    (["a", "b", "c", 5], "input[3]", "invalid_type"),
    (["a", [1]], "input[1]", "invalid_type"),
    ([1, "a"], "input[1]", "invalid_type"),
    ([1, True], "input[1]", "invalid_type"),
    ([[1], []], "input[1]", "invalid_type"),
    ([[1], [1.5]], "input[1]", "invalid_type"),
    (["a"] * 2049, "input", "invalid_value"),
    ([[1]] * 2049, "input", "invalid_value"),
    (5, "input", "invalid_type"),
    (None, "input", "missing_required_parameter"),
]


@pytest.mark.parametrize(("given", "param", "code"), MISTAKES)
def test_inputs_that_are_none(given: Any, param: str, code: str) -> None:
    """An empty one asks for nothing, as OpenAI has it; no more than 2048."""
    with pytest.raises(ClientError) as caught:
        parse({"model": "m", "input": given})
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@needs_strict
def test_the_answer_is_openais() -> None:
    """By its own schema."""
    assert_strict("CreateEmbeddingResponse", [made([[0.5, 1.0]]), made([[0.5]], encoding_format="float")])


def test_base64() -> None:
    """When it is asked for: 0.5 is 00 00 00 3f."""
    assert made([[0.5]], encoding_format="base64")["data"] == [
        {"object": "embedding", "index": 0, "embedding": "AAAAPw=="}
    ]
    with pytest.raises(BackendError, match="too large"):
        made([[1e39]], encoding_format="base64")
