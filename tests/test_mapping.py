"""A mapping file becomes compiled templates and selectors, or findings at their places."""

from __future__ import annotations

import pytest
from support import chat, example, findings_of, load

from oaiproxy.mapping import UnfitError, path_piece, seconds

HEAD = "oaiproxy: 1\nmodels: [m]\n"


def codes(text: str) -> list[tuple[str, int]]:
    _, findings = findings_of(text)
    return [(finding.code, finding.span.line if finding.span else 0) for finding in findings]


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


AUTHS = {
    "{bearer: k123}": ({"Authorization": "Bearer k123"}, {}),
    "{bearer: ''}": ({}, {}),
    "{header: x-key, value: k123}": ({"x-key": "k123"}, {}),
    "{query: key, value: k123}": ({}, {"key": "k123"}),
    "{basic: {user: me, password: k123}}": ({"Authorization": "Basic bWU6azEyMw=="}, {}),
}


@pytest.mark.parametrize(("auth", "wanted"), AUTHS.items())
def test_credentials(auth: str, wanted: tuple[dict[str, str], dict[str, str]]) -> None:
    """Where they go; their values are secrets, and not in what is printed."""
    mapping = chat(response="{text: t}", backend=f"{{url: 'http://b', auth: {auth}}}")
    assert (mapping.backend.headers, mapping.backend.query) == wanted
    assert "k123" not in repr(mapping)
    assert ("k123" in mapping.secrets) is any(wanted)


BROKEN = {
    "no scheme": ("backend: {url: backend.test}", "E105"),
    "another scheme": ("backend: {url: 'ftp://b'}", "E105"),
    "no host": ("backend: {url: 'http://'}", "E105"),
    "a bad port": ("backend: {url: 'http://b:99999'}", "E105"),
    "a template": ("backend: {url: 'http://{{ model }}/'}", "E105"),
    "credentials": ("backend: {url: 'http://u:p@b'}", "E105"),
    "a query": ("backend: {url: 'http://b?a=1'}", "E105"),
    "a line break in a key": ('backend: {url: "http://b", auth: {bearer: "a\\n"}}', "E105"),
    "a header that is none": ("backend: {url: 'http://b', headers: {'a b': x}}", "E106"),
    "a header of the connection": ("backend: {url: 'http://b', headers: {Host: x}}", "E106"),
}


@pytest.mark.parametrize(("line", "code"), BROKEN.values(), ids=BROKEN)
def test_mistakes_about_the_backend(line: str, code: str) -> None:
    """An address or a header that cannot work is found at load, on its line."""
    assert codes(f"{HEAD}{line}\nchat: {{request: {{}}, response: {{text: t}}}}\n") == [(code, 3)]


PATHS = {
    "relative": "g",
    "with a query": "/g?a=1",
    "with a fragment": "/g#a",
    "with dots": "/a/../g",
    "with dots beside a template": "/{{ user }}/../g",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_mistakes_in_a_path(path: str) -> None:
    """A path that would lead elsewhere is found at load."""
    text = f"{HEAD}backend: {{url: 'http://b'}}\nchat: {{request: {{path: '{path}'}}, response: {{text: t}}}}\n"
    assert codes(text) == [("E105", 4)]


def test_a_question_mark_inside_a_template_is_no_query() -> None:
    """Only the path's own text is looked at."""
    chat(response="{text: t}", request="{path: \"/{{ user | default('?..#') }}/g\", body: {a: 1}}")


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


def test_sinks_that_a_stream_does_not_give_are_the_responses() -> None:
    """And `~` takes one away."""
    mapping = chat(
        response="{text: t, reasoning: r, finish_reason: f, usage: {total: u}}",
        stream="{format: ndjson, reasoning: ~, finish_reason: g}",
    )
    operation = mapping.endpoints["chat"].stream
    assert operation is not None
    from oaiproxy.picks import Envelope

    [sinks] = operation.plan.choose({}, Envelope())
    assert sinks.text is not None
    assert sinks.reasoning is None
    assert [name for name, _ in sinks.usage] == ["total"]
    assert sinks.finish_reason is not None
    assert sinks.finish_reason({"f": 1, "g": 2}, Envelope()) == 2


def test_every_mistake_is_found_once() -> None:
    """All of them in one go; what both ways to ask share is not told twice."""
    text = f"""{HEAD}backend: {{url: 'http://b'}}
chat:
  request: {{path: /g, body: {{a: "{{{{ nope }}}}"}}}}
  response: {{text: 'a.['}}
  stream: {{format: sse, text: 'b.['}}
"""
    assert codes(text) == [("E203", 5), ("E301", 6), ("E301", 7)]


@pytest.mark.parametrize(
    ("value", "wanted"), [(5, 5.0), (0.5, 0.5), ("30s", 30.0), ("500ms", 0.5), ("2 m", 120.0), ("1h", 3600.0)]
)
def test_durations(value: float | str, wanted: float) -> None:
    """Numbers are seconds; text has a unit."""
    assert seconds(value) == wanted


@pytest.mark.parametrize("value", ["", "5", "s", "5 days", "-5s"])
def test_what_is_no_duration(value: str) -> None:
    """It is said, with a hint."""
    with pytest.raises(ValueError, match="duration"):
        seconds(value)


def test_timeouts() -> None:
    """Those that are given, over the defaults."""
    timeouts = chat(
        response="{text: t}", backend="{url: 'http://b', timeouts: {idle: 5s, connect: 1}}"
    ).backend.timeouts
    assert (timeouts.connect, timeouts.idle, timeouts.total) == (1.0, 5.0, 900.0)


@pytest.mark.parametrize(("value", "piece"), [("a/b", "a%2Fb"), (5, "5"), (True, "true"), ("\ud83d", "%3F")])
def test_a_piece_of_a_path(value: object, piece: str) -> None:
    """Any value stays one segment."""
    assert path_piece(value) == piece


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_what_is_no_piece_of_a_path(value: str) -> None:
    """It would change the path."""
    with pytest.raises(UnfitError):
        path_piece(value)


def test_examples_are_read() -> None:
    """With a name, made if need be, and the endpoint that they ask."""
    mapping = chat(response="{text: t}", more="examples: [{request: {messages: []}, backend: {json: {}}}]")
    [found] = mapping.examples
    assert (found.name, found.endpoint, found.replies) == ("example 1", "chat", {})
