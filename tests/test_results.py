"""Promises of `oaiproxy.results`: what sinks found, checked against the request and made canonical."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.canonical import Call
from oaiproxy.errors import ClientError
from oaiproxy.results import READERS, ResultError, check_transcription


def call(endpoint: str, **fields: Any) -> Call:
    return Call(endpoint, "m", False, False, [], fields)


def read(endpoint: str, found: dict[str, Any], **fields: Any) -> Any:
    return READERS[endpoint](found, call(endpoint, **fields))


def refused(endpoint: str, found: dict[str, Any], **fields: Any) -> tuple[str, str]:
    with pytest.raises(ResultError) as caught:
        read(endpoint, found, **fields)
    return caught.value.sink, caught.value.message


def test_embeddings_are_as_many_as_the_inputs() -> None:
    """Texts or token ids, in order."""
    assert read("embeddings", {"vectors": [[1], [2]], "order_by": [1, 0]}, input=["a", "b"]) == [[2.0], [1.0]]
    assert read("embeddings", {"vectors": [[1]]}, tokens=[[5, 6]]) == [[1.0]]
    assert refused("embeddings", {"vectors": [[1]]}, input=["a", "b"])[0] == "vectors"
    assert refused("embeddings", {"vectors": [[1]], "order_by": [1]}, input=["a"])[0] == "order_by"
    assert refused("embeddings", {"vectors": [[1]], "order_by": None}, input=["a"])[0] == "order_by"


def test_a_ranking_is_sorted_and_cut() -> None:
    """Objects of either habit, or scores alone."""
    found = [{"index": 0, "score": -1}, {"index": "1", "relevance_score": "2.5", "document": {"text": "B"}}]
    ranked = [{"index": 1, "score": 2.5, "document": "B"}, {"index": 0, "score": -1.0}]
    assert read("rerank", {"results": found}, documents=["a", "b"]) == ranked
    assert read("rerank", {"results": [0.1, 0.3]}, documents=["a", "b"], top_n=1) == [{"index": 1, "score": 0.3}]
    same = [{"index": 1, "score": 1}, {"index": 0, "score": 1}]
    assert [made["index"] for made in read("rerank", {"results": same}, documents=["a", "b"])] == [1, 0]


@pytest.mark.parametrize(
    "results",
    [
        *(None, [], 7, ["x"], [{"index": 2, "score": 1}], [{"index": -1, "score": 1}], [{"index": True, "score": 1}]),
        *([{"score": 1}], [{"index": 0}], [{"index": 0, "score": "x"}], [{"index": 0, "score": float("nan")}]),
        *([{"index": 0, "score": 1}, {"index": 0, "score": 2}], [1, 2, 3]),
    ],
)
def test_rankings_that_are_none(results: Any) -> None:
    """An index is that of a document, once; a score is a number."""
    assert refused("rerank", {"results": results}, documents=["a", "b"])[0] == "results"


def test_verdicts() -> None:
    """A category decides where nothing says `flagged`."""
    found = [
        {"flagged": False},
        {"categories": {"hate": True, "other": None}, "category_scores": {"hate": "0.9"}},
        {"categories": {"hate": False}},
    ]
    assert read("moderations", {"results": found}, input=["a", "b", "c"]) == [
        {"flagged": False, "categories": {}, "scores": {}},
        {"flagged": True, "categories": {"hate": True, "other": False}, "scores": {"hate": 0.9}},
        {"flagged": False, "categories": {"hate": False}, "scores": {}},
    ]


@pytest.mark.parametrize(
    "results",
    [
        *(None, [{}], ["x"], [{"flagged": "yes"}], [{"flagged": True, "categories": {"hate": 1}}]),
        *([{"flagged": True, "category_scores": {"hate": "much"}}], [{"flagged": True}] * 2, [{"categories": [1]}]),
        [{"category_scores": {"hate": 0.9}}],
    ],
)
def test_verdicts_that_are_none(results: Any) -> None:
    """Nothing is taken for a verdict that is none."""
    assert refused("moderations", {"results": results}, input=["a"])[0] == "results"


@pytest.mark.parametrize(
    ("found", "image"),
    [
        ("https://h/i", {"url": "https://h/i"}),
        ({"url": "http://h/i", "revised_prompt": "r"}, {"url": "http://h/i", "revised_prompt": "r"}),
        ("iVBORw==", {"base64": "iVBORw==", "media_type": "image/png"}),
        ({"b64_json": "/9j/"}, {"base64": "/9j/", "media_type": "image/jpeg"}),
        ({"base64": "AAAA", "media_type": "image/avif"}, {"base64": "AAAA", "media_type": "image/avif"}),
        ("data:image/webp;base64,AAAA", {"base64": "AAAA", "media_type": "image/webp"}),
    ],
)
def test_images(found: Any, image: Any) -> None:
    """An object or a text, an address or base64."""
    assert read("images", {"images": [found]}) == [image]
    assert read("images", {"images": found}) == [image]


def test_revised_prompts() -> None:
    """Of all images, or one for each."""
    two = ["http://h/1", "http://h/2"]
    for revised, made in (("r", ["r", "r"]), (["a", "b"], ["a", "b"]), (["a"], ["a", None]), (7, [None, None])):
        images = read("images", {"images": two, "revised_prompt": revised})
        assert [image.get("revised_prompt") for image in images] == made


@pytest.mark.parametrize("images", [None, [], [7], [{}], [{"url": ""}], ["not base64!"], [{"base64": 7}]])
def test_images_that_are_none(images: Any) -> None:
    """Neither an address nor base64."""
    assert refused("images", {"images": images})[0] == "images"


def test_sound() -> None:
    """Base64, also in a `data:` URL."""
    assert read("speech", {"audio": "UklG\nRg=="}) == {"data": b"RIFF", "media_type": ""}
    assert read("speech", {"audio": "data:audio/wav;base64,UklGRg=="})["media_type"] == "audio/wav"
    for audio in (None, "", 7, "***"):
        assert refused("speech", {"audio": audio})[0] == "audio"


def test_a_transcript() -> None:
    """Times as numbers, whatever else a segment holds."""
    found = {
        "text": "",
        "language": "en",
        "duration": "2.5",
        "segments": [{"start": "0", "end": 1, "text": "a", "x": 1}],
    }
    assert read("transcriptions", found) == {
        "text": "",
        "language": "en",
        "duration": 2.5,
        "segments": [{"start": 0.0, "end": 1.0, "text": "a", "x": 1}],
    }
    assert read("transcriptions", {"text": "a", "segments": [], "language": None}) == {"text": "a", "segments": []}


@pytest.mark.parametrize(
    ("found", "sink"),
    [
        ({}, "text"),
        ({"text": 7}, "text"),
        ({"text": "a", "segments": [{"start": 0, "text": "a"}]}, "segments"),
        ({"text": "a", "words": ["a"]}, "words"),
        ({"text": "a", "words": 7}, "words"),
    ],
)
def test_transcripts_that_are_none(found: dict[str, Any], sink: str) -> None:
    """Text is a string, a stretch has its times."""
    assert refused("transcriptions", found)[0] == sink


def test_what_a_transcript_needs() -> None:
    """Segments for subtitles, words for their times."""
    check_transcription(call("transcriptions", response_format="text"), frozenset({"text"}))
    check_transcription(call("transcriptions", response_format="srt"), frozenset({"text", "segments"}))
    for fields in ({"response_format": "vtt"}, {"timestamp_granularities": ["word"]}):
        with pytest.raises(ClientError, match="its mapping reads no"):
            check_transcription(call("transcriptions", **fields), frozenset({"text"}))
