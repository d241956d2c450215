"""Promises of rehearsals and of `mock:`: an example's answers stand for a backend that is called more than once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import Proxy
from scripted import fetch, hello
from support import ROOT, ask, chat, load

from oaiproxy.mapping import Mapping
from oaiproxy.mock import answers
from oaiproxy.reading import file_reader
from oaiproxy.rehearsal import rehearse, requests_of, sample_replies
from oaiproxy.steps import Answer

LANGUAGE = (ROOT / "docs/mapping.md").read_text()
(TASKS,) = [text for text in re.findall(r"```yaml\n(.*?)```", LANGUAGE, re.DOTALL) if "name: task\n" in text]
"""The mapping of the documentation that creates, polls and streams elsewhere."""


def mocked() -> Mapping:
    """The same on its own examples: then its host must be named."""
    text = TASKS.replace('"https://api.example.com/v1", allow_hosts: [', '"mock:", allow_hosts: [api.example.com, ')
    return load(text)


def said(*bodies: bytes) -> list[Answer]:
    """Whole answers."""
    return [Answer(200, {}, body) for body in bodies]


def test_a_round_of_one_call_is_one_request() -> None:
    """The main one, with the answer."""
    played = rehearse(ask(chat(response="{text: t}")), said(b'{"t": "a"}'))
    assert (played.outcome.text, played.main, len(played.requests)) == ("a", 0, 1)


def test_a_round_of_several_calls_takes_no_time() -> None:
    """However long its waits are; the answer that is the main one is known."""
    bodies = (b'{"urls": {"get": "/v1/tasks/7"}}', b"{}", b"{}", b'{"status": "succeeded", "output": ["a", "b"]}')
    played = rehearse(ask(load(TASKS)), said(*bodies, b'{"metrics": {"in": 1, "out": 2}}'))
    assert (played.outcome.text, played.main) == ("ab", 3)
    assert played.outcome.usage is not None
    assert played.outcome.usage["total_tokens"] == 3
    assert len(played.requests) == 5


def test_an_answer_that_is_missing_is_a_failure() -> None:
    """Of the round, told by the number of the call."""
    played = rehearse(ask(load(TASKS)), said(b'{"urls": {"get": "/v1/tasks/7"}}'))
    assert played.outcome.error is not None
    assert "no answer to call 2" in played.outcome.error["message"]
    assert played.main is None


@pytest.mark.parametrize("stream", [False, True])
def test_every_request_can_be_made_without_a_backend(stream: bool) -> None:
    """With the replies of examples, or with stand-ins for them."""
    mapping = load(TASKS)
    samples = sample_replies(mapping, "chat", stream)
    assert samples["task"] == {"urls": {"get": "https://api.example.com/v1/tasks/7"}}
    assert {request.method for request in requests_of(ask(mapping, stream=stream))} == {"GET", "POST", "DELETE"}
    assert len(requests_of(ask(mapping, stream=stream))) == 4


def test_the_mock_has_an_answer_to_each_call() -> None:
    """In the order of the calls, by path."""
    known = answers(load(TASKS), file_reader(ROOT))
    assert [(each.method, each.path) for each in known[:3]] == [("POST", "/tasks"), *[("GET", "/tasks/7")] * 2]
    assert [(each.method, each.path) for each in known[3:]] == [("POST", "/tasks"), ("GET", "/8"), ("GET", "/tasks/8")]


async def test_a_proxy_on_its_examples_makes_all_calls(proxy: Proxy) -> None:
    """Whole and streaming, again and again, and nothing leaves the machine."""
    running = await proxy(mocked())
    whole: dict[str, Any] = {"model": "large"}
    streaming = {
        "model": "large",
        "messages": [{"role": "user", "content": "ho"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for _ in range(2):
        wire = await fetch(running.url, hello(**whole))
        assert (wire.status, wire.text) == (200, "Hello")
        assert wire.json["usage"]["total_tokens"] == 5
        wire = await fetch(running.url, hello(**streaming))
        assert (wire.status, wire.text) == (200, "Hello")
        assert wire.events[-2]["usage"]["total_tokens"] == 5
