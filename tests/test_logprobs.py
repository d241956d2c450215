"""Log probabilities and annotations become OpenAI's objects, or a fault."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.errors import BackendError
from oaiproxy.events import Logprobs
from oaiproxy.logprobs import LEAST, chat_logprobs, legacy_logprobs, read_annotations, read_logprobs

ENTRY_ALONE = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
ENTRY = {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []}


@pytest.mark.parametrize(
    "found",
    [
        [{"token": "é", "logprob": -0.5}],
        [ENTRY],
        {"content": [ENTRY]},
        {"content": [ENTRY], "refusal": None},
        [{**ENTRY, "bytes": None, "top_logprobs": None, "more": 1}],
    ],
)
def test_tokens_are_completed(found: Any) -> None:
    """Bytes are the token's own where none are given."""
    assert read_logprobs(found, 3) == Logprobs([ENTRY], None, 3)


@pytest.mark.parametrize("top", [[{"token": "a", "logprob": -1}], {"a": -1}])
def test_the_likeliest_tokens_come_as_a_list_or_by_token(top: Any) -> None:
    """Both are in use."""
    [entry] = read_logprobs([{**ENTRY, "top_logprobs": top}], 0).content
    assert entry["top_logprobs"] == [{"token": "a", "logprob": -1, "bytes": [97]}]


@pytest.mark.parametrize("top", [None, [], [None, {"é": -0.5}]])
def test_the_arrays_of_old(top: Any) -> None:
    """As servers of /v1/completions have them: the first token of a prompt has no probability."""
    found = {"tokens": ["A", "é"], "token_logprobs": [None, -0.5], "top_logprobs": top, "text_offset": [0, 1]}
    first, second = read_logprobs(found, 0).content
    assert (first["token"], first["logprob"]) == ("A", LEAST)
    assert second == {**ENTRY, "top_logprobs": [ENTRY_ALONE] if top else []}


@pytest.mark.parametrize("value", [None, float("-inf"), float("nan"), -(10**400)])
def test_a_probability_of_0_has_a_number(value: Any) -> None:
    """JSON has no infinity."""
    assert read_logprobs([{"token": "a", "logprob": value}], 0).content[0]["logprob"] == LEAST


@pytest.mark.parametrize(
    "found",
    ["x", 5, [5], [{}], [{"token": 5, "logprob": 1}], [{"token": "a", "logprob": "x"}], {"content": "x"}]
    + [{"tokens": ["a"]}, {"tokens": "a", "token_logprobs": [1]}, {"tokens": ["a"], "token_logprobs": []}]
    + [{"tokens": ["a"], "token_logprobs": [1], "top_logprobs": top} for top in ("x", [{}, {}])]
    + [[{**ENTRY, "top_logprobs": top}] for top in ("x", [5], {"a": "x"})],
)
def test_what_are_no_log_probabilities_is_a_mismatch(found: Any) -> None:
    """Nothing is invented."""
    with pytest.raises(BackendError, match=r"log probabilit|likeliest"):
        read_logprobs(found, 0)


def test_annotations() -> None:
    """Objects with a type, as they came."""
    note = {"type": "url_citation", "url_citation": {"url": "u"}}
    assert read_annotations([note], 1).items == [note]
    assert read_annotations(note, 1).items == [note]
    for wrong in ("x", [5], [{}]):
        with pytest.raises(BackendError, match="annotations"):
            read_annotations(wrong, 0)


def test_the_chat_form() -> None:
    """One object of all; nothing is null."""
    told = [Logprobs([ENTRY]), Logprobs([], [ENTRY])]
    assert chat_logprobs(told) == {"content": [ENTRY], "refusal": [ENTRY]}
    assert chat_logprobs(told[:1]) == {"content": [ENTRY], "refusal": None}
    assert chat_logprobs([]) is None


def test_the_legacy_form() -> None:
    """Four lists of the same length; offsets count the characters of the tokens."""
    entries = read_logprobs(
        [{"token": "ab", "logprob": -1, "top_logprobs": {"c": -2}}, {"token": "d", "logprob": -3}], 0
    )
    assert legacy_logprobs([entries], 5) == {
        "tokens": ["ab", "d"],
        "token_logprobs": [-1, -3],
        "top_logprobs": [{"c": -2}, {}],
        "text_offset": [5, 7],
    }
    assert legacy_logprobs([]) is None


def test_bytes_that_are_none_are_those_of_the_token() -> None:
    """OpenAI's clients decode them."""
    for wrong in (None, "ab", ["a"], [256], [-1], [True], [1.5]):
        assert read_logprobs([{"token": "a", "logprob": -1, "bytes": wrong}], 0).content[0]["bytes"] == [97]


def test_annotations_that_are_too_deep_are_a_fault() -> None:
    """The answer that holds them could not be written."""
    deep: list[object] = []
    for _ in range(40):
        deep = [deep]
    with pytest.raises(BackendError, match="levels deep"):
        read_annotations([{"type": "x", "of": deep}], 0)
