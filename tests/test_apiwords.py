"""Promises of the names that are known: one spelling stands for all, and `init` knows the same."""

from __future__ import annotations

import pytest

from oaiproxy import apiwords, guesses_names
from oaiproxy.apiwords import count_value, kind_score, plain, text_score


def test_a_name_is_the_same_in_all_spellings() -> None:
    """APIs write names in camels, snakes and kebabs."""
    assert {plain(each) for each in ("maxOutputTokens", "max_output_tokens", "max-output-tokens")} == {
        "maxoutputtokens"
    }


def test_init_finds_what_is_sent_by_name() -> None:
    """A parameter that a sample has would else stay a constant in the mapping."""
    known = {name for names in guesses_names.PARAMETERS.values() for name in names}
    assert {*apiwords.PARAMETERS} - known <= {"stopat", "maximumtokens"}
    assert {*apiwords.MODELS} <= guesses_names.MODEL


@pytest.mark.parametrize(
    ("likely", "less"),
    [
        (("generated_text",), ("model",)),
        (("choices", "message", "content"), ("choices", "message", "role")),
        (("completions", "data", "text"), ("prompt", "text")),
        (("output",), ("request_id",)),
        (("response",), ("finish_reason",)),
        (("delta", "text"), ("reasoning", "text")),
        ((), ("usage", "text")),
    ],
)
def test_the_generated_text_is_told_by_its_name(likely: tuple[str, ...], less: tuple[str, ...]) -> None:
    """And by the names above it."""
    assert text_score(likely) > text_score(less)


def test_a_description_can_say_what_a_text_is() -> None:
    """Where the name does not."""
    assert text_score(("blurb",)) == 0
    assert text_score(("blurb",), "What the model generated") > 0


def test_counts_of_tokens_add_up() -> None:
    """So that nothing that reads them sees a contradiction."""
    assert count_value("prompt_tokens") + count_value("completion_tokens") == count_value("total_tokens")


def test_a_kind_of_frames_tells_by_its_name_whether_it_has_text() -> None:
    """Kinds for tools, sound or failures have none, whatever their fields are called."""
    assert kind_score("content_block_delta") > kind_score("message_start") > kind_score("tool.delta")
