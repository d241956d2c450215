"""Promises of the table of features: what it says of a field is what happens to a request that has it."""

from __future__ import annotations

from typing import Any

import pytest
from support import ROOT, ask, load

from oaiproxy.errors import ClientError
from oaiproxy.features import WORDS, features
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping

SENT: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "n": 2,
    "stop": ["END"],
    "seed": 1,
    "user": "me",
    "logprobs": True,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "response_format": {"type": "json_object"},
    "reasoning_effort": "low",
    "metadata": {"a": "b"},
}
NAMES = sorted(path.stem for path in (ROOT / "mappings").glob("*.yaml"))


def shipped(name: str) -> Mapping:
    ((made, _),) = Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    return made


def fates(made: Mapping, model: str = "m", endpoint: str = "chat") -> dict[str, str]:
    return {name: word for word, names in features(made, model)[endpoint].items() for name in names}


@pytest.mark.parametrize("name", NAMES)
def test_the_table_says_what_happens(name: str) -> None:
    """Field by field, for each shipped mapping: a 400, a name in the header, or neither."""
    made = shipped(name)
    said = fates(made)
    for field, value in SENT.items():
        if said[field] == "refused":
            with pytest.raises(ClientError) as caught:
                ask(made, **{field: value})
            assert caught.value.param == field
        else:
            assert (said[field] == "dropped") is (field in ask(made, **{field: value}).dropped)


def test_each_field_has_one_word() -> None:
    """In the order of the alphabet; a word that no field has is left out."""
    for table in features(shipped("example"), "m").values():
        names = [name for found in table.values() for name in found]
        assert len(names) == len(set(names))
        assert set(table) <= set(WORDS)
        assert all(list(found) == sorted(found) for found in table.values())


def test_what_is_in_messages_is_told_too() -> None:
    """A mapping that reads the last text alone leaves out the rest, and cannot see."""
    example, real = fates(shipped("example")), fates(shipped("anthropic"))
    assert (example["messages"], example["images"], example["tool_calls"]) == ("dropped", "refused", "dropped")
    assert (real["messages"], real["images"], real["tool_calls"]) == ("used", "used", "used")
    assert real["input_audio"] == "refused"


def test_models_endpoints_and_the_mappings_own_words() -> None:
    """What is emulated, what a model drops, and what `on_unsupported` says."""
    made = load(
        """
oaiproxy: 1
models: {m: ~, blind: {drop: [images, seed]}}
backend: {url: "http://127.0.0.1:9"}
emulate: [n, stop]
on_unsupported: {tools: drop, user: reject}
chat:
  request: {path: /x, body: {messages: "{{ messages }}", seed: "{{ seed }}"}}
  response: {text: t}
embeddings:
  request: {path: /y, body: {ids: "{{ tokens }}"}}
  response: {vectors: v}
"""
    )
    said = fates(made)
    assert (said["n"], said["stop"], said["seed"], said["images"]) == ("emulated", "emulated", "used", "used")
    assert (said["tools"], said["tool_choice"], said["user"]) == ("dropped", "dropped", "refused")
    blind = fates(made, "blind")
    assert (blind["seed"], blind["images"], blind["n"]) == ("dropped", "dropped", "emulated")
    assert list(features(made, "m")) == ["chat", "completions", "embeddings"]
    assert fates(made, endpoint="embeddings")["input"] == "used"


def test_an_echo_is_made_here() -> None:
    """Unless a template reads it, or the mapping says otherwise."""
    text = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b'}\nchat: {request: {body: {p: '{{ prompt }}', %s}}, "
    text += "response: {text: t}}\n%s"
    for body, more, fate in (
        ("", "", "emulated"),
        ("e: '{{ echo }}'", "", "used"),
        ("", "on_unsupported: {echo: drop}\n", "dropped"),
    ):
        assert fates(load(text % (body, more)), endpoint="completions")["echo"] == fate


def test_what_the_proxy_tells_the_model_is_emulated() -> None:
    """With the fields that go with `tools`, their former names, and the history of their calls."""
    text = """
oaiproxy: 1
models: [m]
backend: {url: https://backend.test}
emulate: [response_format, tools]
chat:
  request: {path: /say, body: {q: "{{ messages }}"}}
  response: {text: t}
"""
    found = features(load(text), "m")["chat"]["emulated"]
    with_tools = {"functions", "function_call", "parallel_tool_calls", "tool_calls", "tool_choice", "tools"}
    assert set(found) - {"stop"} == {"response_format"} | with_tools
