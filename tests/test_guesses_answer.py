"""Promises of guessing in answers: the text is what a model said, not an id, a thought or what was asked."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.guesses_answer import answered, counts_of, echoes, finish_of, means


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"generated_text": "Hi."}, "generated_text"),
        ({"id": "a-very-long-id-0123456789abcdef", "answer": "No."}, "answer"),
        ({"choices": [{"text": "a"}, {"text": "a longer one"}]}, "choices[0].text"),
        ([{"generated_text": "Hi."}], "[0].generated_text"),
        ({"output": ["Hi", " you"]}, "join('', output)"),
        ({"content": [{"type": "text", "text": "Hi."}]}, "join('', content[?type == 'text'].text)"),
        ({"parts": [{"text": "Hi "}, {"text": "you."}]}, "join('', parts[].text)"),
        ({"my reply": {"text": "Hi."}}, '"my reply".text'),
        ({"prompt": "Tell me all about it, please.", "text": "Hi."}, "text"),
        ("Hi.", "@"),
        ({"zz": "A text of several words, by no name."}, "zz"),
    ],
)
def test_the_text_is_found(body: Any, text: str) -> None:
    """By its name, and by being text."""
    assert answered(body, prompt="Tell me all about it, please.").sinks["text"] == text


@pytest.mark.parametrize(
    "body", [{}, [], 5, {"id": "x"}, {"status": "starting", "url": "https://a.test/b"}, {"text": ""}]
)
def test_no_text(body: Any) -> None:
    """It is absent, not invented."""
    assert "text" not in answered(body).sinks


def test_all_that_an_answer_tells() -> None:
    """And what a client gets of it."""
    body = {
        "id": "r1",
        "model": "large",
        "message": {"content": "Hi.", "thinking": "They greet."},
        "stopReason": "OUTPUT_LIMIT",
        "usage": {"inputTokens": 3, "outputTokens": "4", "totalTokens": 7},
    }
    made = answered(body)
    assert made.sinks == {
        "text": "message.content",
        "reasoning": "message.thinking",
        "finish_reason": "stopReason",
        "usage": {"prompt": "usage.inputTokens", "completion": "usage.outputTokens"},
        "id": "id",
        "model": "model",
    }
    assert made.replies == {
        "text": "Hi.",
        "reasoning": "They greet.",
        "finish_reason": "length",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
        "id": "r1",
        "model": "large",
    }
    assert made.finish_reasons == {"OUTPUT_LIMIT": "length"}


def test_calls_of_tools() -> None:
    """In the form that is read as it is; the text beside them is empty."""
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}
    made = answered({"message": {"content": None, "tool_calls": [call]}, "done_reason": "stop"})
    assert made.sinks["tool_calls"] == "message.tool_calls"
    assert made.sinks["text"] == "message.content"
    assert made.replies == {"tool_calls": [{"name": "f", "arguments": {"a": 1}}], "finish_reason": "tool_calls"}


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ({"tokens": {"input": 1, "output": 2}}, {"prompt": ("tokens", "input"), "completion": ("tokens", "output")}),
        ({"input": 1, "output": 2}, {}),
        ({"usage": {"total_tokens": 3}}, {}),
        ({"prompt_tokens": True, "eval_count": "many"}, {}),
        ({"billed": {"input_tokens": 1}, "tokens": {"input_tokens": 2}}, {"prompt": ("tokens", "input_tokens")}),
    ],
)
def test_counts_of_tokens(body: Any, counts: Any) -> None:
    """By their names; the total alone is of no use."""
    assert counts_of(body) == counts


def test_finish_reasons_and_echoes() -> None:
    """A word that is not known is a guess."""
    assert finish_of({"choices": [{"finish_reason": "EOS"}]}) == (("choices", 0, "finish_reason"), "EOS")
    unknown: dict[str, str | None] = {}
    assert [means(word, unknown) for word in ("END_TURN", "fertig", "BLOCKED")] == ["stop", "stop", "content_filter"]
    assert unknown == {"fertig": "stop", "BLOCKED": "content_filter"}
    assert echoes("Why is it? So.", "Why is it?")
    assert not echoes("Why is it?", "Why is it?")
