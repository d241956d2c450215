"""A mapping file becomes compiled templates and selectors, or findings at their places."""

from __future__ import annotations

from support import chat, codes, example, load

HEAD = "oaiproxy: 1\nmodels: [m]\n"


def test_the_example_compiles() -> None:
    """With its model, address, credentials and both ways to ask."""
    mapping = example()
    assert (mapping.name, mapping.models) == ("test", {"your-model": "your-model"})
    assert mapping.backend.url == "https://backend.test/api"
    assert mapping.backend.headers == {"Authorization": "Bearer key-of-the-operator"}
    endpoint = mapping.endpoint("chat")
    assert endpoint is not None
    assert endpoint.operation(stream=True)[1]
    assert not endpoint.operation(stream=False)[1]
    assert endpoint.reads == {"prompt", "temperature", "max_tokens"}


def test_completions_fall_back_to_chat() -> None:
    """And are their own endpoint where they have a block."""
    assert example().endpoint("completions") is example().endpoint("chat")
    own = load(HEAD + "backend: {url: 'http://b'}\ncompletions: {request: {}, response: {text: t}}")
    assert own.endpoint("chat") is None
    assert own.endpoint("completions") is not None


def test_models_may_be_renamed() -> None:
    """An empty name is the same name."""
    mapping = load(
        "oaiproxy: 1\nmodels: {a: theirs, b: ~}\nbackend: {url: 'http://b'}\nchat: {request: {}, response: {text: t}}"
    )
    assert mapping.models == {"a": "theirs", "b": "b"}


def test_the_request_of_a_stream_is_laid_over_the_endpoints() -> None:
    """Maps merge, null deletes, and findings keep their places."""
    text = f"""{HEAD}backend: {{url: 'http://b'}}
chat:
  request: {{path: /g, body: {{a: "{{{{ nope }}}}", b: 1}}}}
  response: {{text: t}}
  stream:
    format: sse
    text: t
    request:
      body: {{c: "{{{{ wrong }}}}"}}
"""
    assert codes(text) == [("E203", 5), ("E203", 11)]


def test_every_mistake_is_found_once() -> None:
    """All of them in one go; what both ways to ask share is not told twice."""
    text = f"""{HEAD}backend: {{url: 'http://b'}}
chat:
  request: {{path: /g, body: {{a: "{{{{ nope }}}}"}}}}
  response: {{text: 'a.['}}
  stream: {{format: sse, text: 'b.['}}
"""
    assert codes(text) == [("E203", 5), ("E301", 6), ("E301", 7)]


def test_examples_are_read() -> None:
    """With a name, made if need be, and the endpoint that they ask."""
    mapping = chat(response="{text: t}", more="examples: [{request: {messages: []}, backend: {json: {}}}]")
    [found] = mapping.examples
    assert (found.name, found.endpoint, found.replies) == ("example 1", "chat", {})
