"""Promises of flows: what the blocks around the main call compile to, and which names their requests read."""

from __future__ import annotations

from support import chat, load

from oaiproxy.flows import Cancel, Flow
from oaiproxy.mapping import Mapping

REQUEST = "{path: /g, body: {p: '{{ prompt }}'}}"


def flow_of(mapping: Mapping) -> Flow:
    """The flow of the chat endpoint."""
    endpoint = mapping.endpoint("chat")
    assert endpoint is not None
    assert endpoint.flow is not None
    return endpoint.flow


def made(*blocks: str) -> Flow:
    """The flow of these blocks."""
    lines = [f"  {block}" for block in (f"request: {REQUEST}", "response: {text: t}", *blocks)]
    return flow_of(
        load("oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b.test'}\nchat:\n" + "\n".join(lines) + "\n")
    )


def test_an_endpoint_of_one_call_has_none() -> None:
    """And goes the straight way."""
    endpoint = chat(response="{text: t}").endpoint("chat")
    assert endpoint is not None
    assert endpoint.flow is None


def test_calls_have_the_methods_of_their_kind() -> None:
    """What is asked afterwards is got; a body is posted."""
    flow = made(
        "before: [{name: a, request: {path: /a}}]",
        "poll: {request: {path: /p}, result: {request: {path: /r}}, status: s, done: [x]}",
        "after: [{name: b, request: {path: /b}}, {name: c, request: {path: /c, method: DELETE}}]",
        "cancel: {request: {path: /x}}",
    )
    assert flow.poll is not None
    assert flow.poll.request is not None
    assert flow.poll.result is not None
    assert flow.cancel is not None
    requests = [flow.before[0].request, flow.poll.request, flow.poll.result, flow.cancel.request]
    assert [each.method for each in requests] == ["POST", "GET", "GET", "POST"]
    assert [step.request.method for step in flow.after] == ["GET", "DELETE"]


def test_polls_have_the_waits_of_the_documentation() -> None:
    """Half a second, and half as long again each time, up to five seconds, for five minutes."""
    poll = made("poll: {status: s, done: [x, 1, true]}").poll
    assert poll is not None
    assert (poll.first, poll.factor, poll.most, poll.timeout) == (0.5, 1.5, 5.0, 300.0)
    assert (poll.request, poll.result) == (None, None)
    assert poll.done == {"x", "1", "true"}
    longer = made("poll: {every: {first: 1m, factor: 2, max: 500ms}, timeout: 10, status: s, done: [x]}").poll
    assert longer is not None
    assert (longer.first, longer.factor, longer.most, longer.timeout) == (60, 2, 60, 10)


def test_a_cancel_knows_what_it_needs() -> None:
    """Of replies, not of the client's request."""
    flow = made(
        "before: [{name: a, request: {path: /a}}]",
        "poll: {status: s, done: [x]}",
        "cancel: {request: {path: '/{{ created.t.id }}', query: {a: '{{ a.b | default(1) }}', u: '{{ user }}'}}}",
    )
    assert isinstance(flow.cancel, Cancel)
    assert flow.cancel.needs == (("a",), ("a", "b"), ("created",), ("created", "t"), ("created", "t", "id"))


def test_what_calls_around_read_is_read() -> None:
    """A field that only a call before the main one takes is not dropped."""
    flow = "before: [{name: a, request: {path: /a, body: {t: '{{ temperature }}'}}}]"
    text = f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: 'https://b.test'}}\nchat:\n  {flow}\n  request: {REQUEST}\n"
    endpoint = load(text + "  response: {text: t}\n").endpoint("chat")
    assert endpoint is not None
    assert "temperature" in endpoint.reads


def test_shared_headers_are_those_of_every_call() -> None:
    """As of the main one."""
    text = f"""
oaiproxy: 1
models: [m]
backend: {{url: "https://b.test", headers: {{x-version: "2"}}}}
chat:
  before: [{{name: a, request: {{path: /a, headers: {{x-a: "1"}}}}}}]
  request: {REQUEST}
  response: {{text: t}}
"""
    assert flow_of(load(text)).before[0].request.headers is not None


def test_statuses_are_compared_as_they_are_written() -> None:
    """A word as it is; a number or a boolean as JSON has it."""
    poll = "poll: {request: {path: /p}, status: s, done: [done, true, 2]}"
    flow = flow_of(chat(response="{text: t}", request=f"{{path: /g}}\n  {poll}"))
    assert flow.poll is not None
    assert flow.poll.done == {"done", "true", "2"}
