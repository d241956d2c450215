"""Promises of `oaiproxy.diagnostics`: findings are plain data, and a slip of the pen is recognised."""

from __future__ import annotations

import pytest

from oaiproxy.diagnostics import Diagnostic, Severity, Span, closest, did_you_mean, overlap

NAMES = ["temperature", "top_p", "max_tokens", "messages", "Content-Type"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        ("max_token", "max_tokens"),
        ("topp", "top_p"),
        ("content-type", "Content-Type"),
        ("tpo_p", "top_p"),
        ("topp_p", "top_p"),
        ("content-typpe", "Content-Type"),
        ("max_new_tokens", "max_tokens"),
        ("history", "messages"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_the_closest_word_is_found(word: str, meant: str) -> None:
    """Case does not count; what is far away is not guessed."""
    assert closest(word, NAMES) == meant


def test_the_guess_does_not_depend_on_the_order() -> None:
    """Sets have none, and messages are compared in tests."""
    assert closest("ab1", ["ab3", "ab2"]) == closest("ab1", ["ab2", "ab3"])


def test_the_guess_is_a_question() -> None:
    """It becomes the label under the marked text."""
    assert did_you_mean("messags", NAMES) == "did you mean `messages`?"
    assert did_you_mean("xyz", NAMES) == ""


def test_a_finding_is_an_error_unless_said() -> None:
    """Warnings are the exception."""
    assert Diagnostic("E1", "m").severity is Severity.ERROR


def test_findings_are_values() -> None:
    """Equal ones can be told once."""
    assert len({Diagnostic("E1", "m"), Diagnostic("E1", "m")}) == 1


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Span("a", 1, 5, 1, 9), True),
        (Span("a", 1, 8, 1, 9), False),
        (Span("a", 2, 5, 2, 9), False),
        (Span("b", 1, 5, 1, 9), False),
    ],
)
def test_stretches_that_overlap(other: Span, expected: bool) -> None:
    """Of one file, with a character in common."""
    assert overlap(Span("a", 1, 2, 1, 8), other) is expected
