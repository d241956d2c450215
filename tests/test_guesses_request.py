"""Promises of guessing in requests: the prompt, the parameters by their names, and all else as it stands."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.guesses_request import Asked, asked
from oaiproxy.yamlwriter import Note

PROMPT = Note("{{ prompt }}", "the text of the last message")


def of(body: Any, **more: Any) -> Asked:
    return asked({"query": {}, "body": body}, **more)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"prompt": "hi", "model": "large model"}, "prompt"),
        ({"inputs": {"text": "Why is it so?", "language": "the english one"}}, "inputs.text"),
        ({"q": "Why?", "id": "a b c d e f g h i j k l"}, "q"),
        ({"zz": "Why is the sky so very blue today?", "flavour": "dry"}, "zz"),
        ({"texts": ["Why?"], "mode": "x"}, "texts.0"),
        ({"system_prompt": "Be a very kind and long answerer?", "user_prompt": "hi"}, "user_prompt"),
    ],
)
def test_the_prompt_is_found(body: Any, path: str) -> None:
    """By its name, and by being text."""
    made = of(body)
    value = made.tree["body"]
    for step in path.split("."):
        value = value[int(step) if step.isdigit() else step]
    assert value == PROMPT
    assert not made.missing


@pytest.mark.parametrize("body", [{}, None, {"n": 1}, {"zz": "abc"}, {"model": "a b c"}, {"messages": []}])
def test_no_prompt(body: Any) -> None:
    """It is said, not invented."""
    assert of(body).missing == ["which text of the request is the prompt: write `{{ prompt }}` in its place"]


@pytest.mark.parametrize(
    ("key", "value", "template", "field", "sent"),
    [
        ("temp", 0.5, "{{ temperature }}", "temperature", 0.5),
        ("Temperature", 1, "{{ temperature }}", "temperature", 1),
        ("topP", 0.9, "{{ top_p }}", "top_p", 0.9),
        ("max_new_tokens", 5, "{{ max_tokens }}", "max_tokens", 5),
        ("maxOutputTokens", "5", "{{ max_tokens | string }}", "max_tokens", 5),
        ("num_predict", -1, -1, "max_tokens", None),
        ("stopSequences", ["a"], "{{ stop }}", "stop", ["a"]),
        ("stop", "a", Note("{{ stop | first }}", "one alone, as in the sample"), "stop", ["a"]),
        ("stop", [], [], "stop", None),
        ("seed", 0, "{{ seed }}", "seed", 0),
        ("seed", True, True, "seed", None),
        ("user", "it's", "{{ user | default('it\\'s') }}", "user", "it's"),
        ("n", 2, 2, "n", None),
        ("response_format", {"type": "text"}, {"type": "text"}, "response_format", None),
        (
            "response_format",
            {"type": "json_object"},
            "{{ response_format }}",
            "response_format",
            {"type": "json_object"},
        ),
    ],
)
def test_parameters_are_found_by_name(key: str, value: Any, template: Any, field: str, sent: Any) -> None:
    """Anywhere; one that cannot be OpenAI's stays."""
    made = of({"prompt": "hi there", "deep": {"options": {key: value}}})
    assert made.tree["body"]["deep"]["options"][key] == template
    assert made.request.get(field) == sent


def test_model_stream_and_tools() -> None:
    """The flag is told of, with its place."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"temperature": 1}}}]
    made = of({"prompt": "hi there", "model_id": "large", "opts": {"stream": False}, "tools": tools})
    assert (made.model, made.stream) == ("large", ("body", "opts", "stream"))
    assert made.tree["body"]["opts"] == {"stream": "{{ stream }}"}
    assert made.tree["body"]["tools"] == "{{ request.tools }}"
    assert made.request["tools"] == tools


@pytest.mark.parametrize(
    ("system", "template"),
    [
        ("Be kind.", "{{ system }}"),
        ([{"type": "text", "text": "Be kind."}], [{"$if": "system", "type": "text", "text": "{{ system }}"}]),
        ({"parts": [{"text": "Be kind."}]}, {"parts": [{"text": "{{ system }}"}]}),
    ],
)
def test_system_text_beside_the_conversation(system: Any, template: Any) -> None:
    """What stands around it goes with it."""
    made = of({"system": system, "messages": [{"role": "user", "content": "hi"}]})
    assert made.tree["body"]["system"] == template
    assert made.tree["body"]["messages"][0]["$for"] == "m in messages if m.role != 'system'"
    assert made.request["messages"][0] == {"role": "system", "content": "Be kind."}


def test_other_samples_show_more() -> None:
    """Of the roles, and of where system text stands."""
    messages = [{"role": "user", "content": "hi"}]
    other = {"query": {}, "body": {"system": "Be kind.", "messages": messages}}
    made = of({"messages": messages}, others=[other])
    assert made.tree["body"]["messages"][0]["$for"] == "m in messages if m.role != 'system'"


def test_a_prompt_that_is_known() -> None:
    """It is found within a text too; one that is not there is missing."""
    body = {"a": "Q: why?", "prompt": "hi there"}
    assert of(body, prompt="why?").tree["body"]["a"] == PROMPT.__class__("Q: {{ prompt }}", PROMPT.comment)
    assert of(body, prompt="nowhere").missing
