"""Promises of the generated text in an answer that was made: there is one, and it is the likeliest."""

from __future__ import annotations

from oaiproxy.generatedtext import SENTENCE, Candidate, best_score, settled


def test_the_likeliest_string_becomes_the_text() -> None:
    """The others stay."""
    value = {"a": [Candidate.of("a", 1, given=False), {"b": Candidate.of("b", 5, given=False)}], "c": 1}
    assert settled(value) == {"a": ["a", {"b": SENTENCE}], "c": 1}
    assert best_score(value) == 5


def test_a_document_with_an_example_of_the_text_knows_better() -> None:
    """But a word alone is hardly one, and a stream needs pieces."""
    value = [Candidate.of("Good morning to you.", 5, given=True)]
    assert settled(value) == ["Good morning to you."]
    assert settled(value, "Good", piece=True) == ["Good"]
    assert settled([Candidate.of("string", 5, given=True)]) == [SENTENCE]


def test_without_a_candidate_nothing_changes() -> None:
    """Nothing is invented."""
    value = {"id": "a", "model": Candidate.of("model-1", 0, given=False)}
    assert settled(value) == {"id": "a", "model": "model-1"}
    assert best_score(value) == 0
