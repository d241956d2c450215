"""Promises of `Capabilities`: what is said of a mapping beforehand is what its own blocks do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import ROOT, shipped

from oaiproxy.capabilities import Capabilities, capabilities
from oaiproxy.features import features
from oaiproxy.loader import Loader

NAMES = sorted(path.stem for path in (ROOT / "mappings").glob("*.yaml"))
HEAD = """
oaiproxy: 1
models: [small]
backend: {url: "https://${HOST:-api.example.com}:8443/v1"}
"""
WHOLE = """
chat:
  request: {path: /p, body: {text: "{{ prompt }}"}}
  response: {text: text}
"""
STREAM = """
chat:
  request: {path: /p, body: {messages: "{{ request.messages }}"}}
  stream: {format: [aws-eventstream, sse], text: text, finish_reason: why}
"""


def told(name: str) -> Capabilities:
    """Those of a mapping that ships with us."""
    return capabilities(*shipped(name))


@pytest.fixture
def of(tmp_path: Path):
    """The capabilities of a text."""

    def made(text: str, model: str = "", **environment: str) -> Capabilities:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        loader = Loader(environment)
        ((mapping, _),) = loader.load([(str(path), path)], environment=False)[0]
        return capabilities(mapping, loader.document(path), model)

    return made


@pytest.mark.parametrize("name", NAMES)
def test_each_shipped_mapping_is_told_as_json(name: str) -> None:
    """With a line that says what it is, at least one endpoint, the words of `/v1/models`, and its examples."""
    found = told(name)
    data = json.loads(json.dumps(found.data()))
    mapping, _ = shipped(name)
    assert found.description
    assert data["endpoints"][0]["path"] == "/v1/chat/completions"
    assert data["features"] == json.loads(json.dumps(features(mapping, "")))
    assert data["examples"] == len(mapping.examples) > 0


def test_endpoints_are_those_that_are_served() -> None:
    """Those that `chat` serves, and those with a block of their own."""
    found = {each.endpoint: (each.path, each.block) for each in told("ollama").endpoints}
    assert found == {
        "chat": ("/v1/chat/completions", "chat"),
        "completions": ("/v1/completions", "completions"),
        "responses": ("/v1/responses", "chat"),
        "messages": ("/v1/messages", "chat"),
        "embeddings": ("/v1/embeddings", "embeddings"),
    }


def test_without_chat_nothing_is_made_of_it(of) -> None:
    """Only what has a block, and no conversation."""
    found = of(HEAD + "embeddings:\n  request: {path: /e, body: {t: '{{ input }}'}}\n  response: {vectors: v}\n")
    assert [each.endpoint for each in found.endpoints] == ["embeddings"]
    assert found.endpoints[0].replies.stream == "none"
    assert found.conversation is None


@pytest.mark.parametrize(
    ("block", "whole", "stream", "framing"),
    [
        (WHOLE, "native", "simulated", ""),
        (STREAM, "gathered", "native", "aws-eventstream > sse"),
    ],
    ids=["whole", "stream"],
)
def test_what_a_backend_cannot_do_is_made_of_what_it_can(of, block: str, whole: str, stream: str, framing: str) -> None:
    """A stream of a whole answer, and the other way round."""
    replies = of(HEAD + block).endpoints[0].replies
    assert (replies.whole, replies.stream, replies.framing) == (whole, stream, framing)


def test_a_model_may_never_be_asked_to_stream(of) -> None:
    """What is said of it counts for it alone."""
    text = HEAD.replace("[small]", "{small: {stream: never, drop: [temperature]}, big: ~}")
    block = """
chat:
  request: {path: /p, body: {text: "{{ prompt }}", heat: "{{ temperature }}"}}
  response: {text: text}
  stream: {format: sse, text: text}
"""
    assert of(text + block, "big").endpoints[0].replies.stream == "native"
    small = of(text + block, "small")
    assert small.endpoints[0].replies.stream == "simulated"
    assert "temperature" in small.features["chat"]["dropped"]


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ("", "counted"),
        (", usage: {completion: n}", "partly"),
        (", usage: {prompt: m, completion: n}", "backend"),
        (", usage: ~", "counted"),
    ],
)
def test_who_tells_token_counts(of, usage: str, said: str) -> None:
    """The backend, in part, or the proxy."""
    replies = of(HEAD + WHOLE.replace("text: text}", f"text: text{usage}}}")).endpoints[0].replies
    assert (replies.usage_whole, replies.usage_stream) == (said, said)


def test_counts_of_a_stream_are_those_of_its_events(of) -> None:
    """With `events`, the stream has none of the whole answer's."""
    block = """
chat:
  request: {path: /p, body: {text: "{{ prompt }}"}}
  response: {text: text, usage: {prompt: a, completion: b}}
  stream: {format: sse, events: {d: {text: t}, x: ~, e: {usage: {completion: n}, done: true}}}
"""
    replies = of(HEAD + block).endpoints[0].replies
    assert (replies.usage_whole, replies.usage_stream) == ("backend", "partly")


@pytest.mark.parametrize(
    ("name", "tools", "several", "streamed"),
    [
        ("anthropic", "native", True, "pieces"),
        ("ollama", "native", True, "whole"),
        ("example", "none", False, "none"),
    ],
)
def test_tools(name: str, tools: str, several: bool, streamed: str) -> None:
    """As the mapping reads them, and as they come."""
    found = told(name).conversation
    assert found is not None
    assert (found.tools, found.parallel_tools, found.streamed_tools) == (tools, several, streamed)


def test_emulated_tools(of) -> None:
    """In words, whatever the backend."""
    found = of(HEAD + "emulate: [tools]" + WHOLE.replace("{{ prompt }}", "{{ messages | json }}"))
    assert found.conversation is not None
    assert (found.conversation.tools, found.conversation.streamed_tools) == ("emulated", "whole")


@pytest.mark.parametrize(
    ("body", "system"),
    [
        ('{t: "{{ prompt }}"}', "dropped"),
        ('{t: "{{ prompt }}", s: "{{ system }}"}', "dropped"),
        ('{t: "{{ turns }}", s: "{{ system }}"}', "apart"),
        ('{t: "{{ messages }}"}', "message"),
    ],
)
def test_where_system_text_goes(of, body: str, system: str) -> None:
    """It is told only where the conversation reaches the backend."""
    found = of(HEAD + WHOLE.replace('{text: "{{ prompt }}"}', body)).conversation
    assert found is not None
    assert found.system == system


@pytest.mark.parametrize(
    ("name", "images", "urls"),
    [("gemini", "used", "used"), ("bedrock-converse", "used", "refused"), ("ollama", "used", "fetched")],
)
def test_images(name: str, images: str, urls: str) -> None:
    """As data, and by address."""
    found = told(name).conversation
    assert found is not None
    assert (found.images, found.image_urls) == (images, urls)


def test_calls_around_the_main_one() -> None:
    """By their names."""
    calls = told("replicate").endpoints[0].calls
    assert (calls.before, calls.poll, calls.after, calls.cancel) == (["task"], True, ["counts"], True)


def test_no_value_of_the_environment_is_told(of) -> None:
    """Neither of variables nor in addresses."""
    text = HEAD.replace("backend: {", 'backend: {auth: {bearer: "${KEY}"}, allow_hosts: [b.example.com], ')
    found = of(text + WHOLE, HOST="secret.example.com", KEY="sk-secret")
    assert found.hosts == ["api.example.com:8443", "b.example.com"]
    assert [(each.name, each.required) for each in found.environment] == [("KEY", True), ("HOST", False)]
    assert found.auth == "bearer"
    assert "secret" not in json.dumps(found.data())


def test_a_host_that_only_a_variable_tells(of) -> None:
    """It stands by the variable's name; other addresses of requests count too."""
    auth = "{login: {request: {url: 'https://login.example.com/t'}, token: t}}"
    text = f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: '${{MY_URL}}', auth: {auth}}}\n{WHOLE}"
    found = of(text, MY_URL="https://x.example.com")
    assert found.hosts == ["$MY_URL", "login.example.com"]
    assert found.auth == "login"


def test_files_that_are_taken_in(of, tmp_path: Path) -> None:
    """By their names."""
    (tmp_path / "key").write_text("k")
    found = of(HEAD.replace("backend: {", "backend: {auth: {bearer: '${file:key}'}, ") + WHOLE)
    assert found.files == ["key"]
