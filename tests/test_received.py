"""Promises of `oaiproxy.received`: an answer's bytes back to what examples tell of it."""

from __future__ import annotations

from oaiproxy.jsontext import dump
from oaiproxy.received import plain, received
from oaiproxy.vectors import to_base64


def test_vectors_in_either_encoding() -> None:
    """As numbers."""
    for embedding in ([0.5, 2.0], to_base64([0.5, 2.0])):
        data = dump({"data": [{"embedding": embedding}], "model": "m", "usage": {"prompt_tokens": 1}})
        found = received("embeddings", data, "application/json")
        assert found == {"vectors": [[0.5, 2.0]], "model": "m", "usage": {"prompt_tokens": 1}}


def test_other_answers() -> None:
    """What each endpoint tells."""
    assert received("rerank", dump({"id": "r", "results": []}), "application/json") == {"id": "r", "results": []}
    assert received("images", dump({"created": 1, "data": [{"url": "u"}]}), "application/json") == {
        "images": [{"url": "u"}]
    }
    assert received("speech", b"RIFF", "audio/wav") == {"audio": "UklGRg==", "media_type": "audio/wav"}
    assert received("transcriptions", b"hi", "text/plain") == {"text": "hi", "media_type": "text/plain"}
    verbose = {"text": "hi", "language": "en", "duration": 1.0, "segments": [], "words": []}
    assert received("transcriptions", dump(verbose | {"task": "t"}), "application/json") == verbose


def test_numbers_of_one_type() -> None:
    """But true is none."""
    made = plain({"a": [1, 2.5, True, "1", None]})
    assert dump(made) == b'{"a":[1.0,2.5,true,"1",null]}'
