"""The blocks `response` and `stream` become plans: sinks, events, their defaults, and what is wrong in them."""

from __future__ import annotations

import pytest
from support import chat, findings_of

from oaiproxy.framing import Frame
from oaiproxy.picks import Envelope

HEAD = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://backend.test'}\n"


def test_sinks_that_a_stream_does_not_give_are_the_responses() -> None:
    """And `~` takes one away."""
    mapping = chat(
        response="{text: t, reasoning: r, finish_reason: f, usage: {total: u}}",
        stream="{format: ndjson, reasoning: ~, finish_reason: g}",
    )
    operation = mapping.endpoints["chat"].stream
    assert operation is not None
    [sinks] = operation.plan.choose({}, Envelope())
    assert sinks.text is not None
    assert sinks.reasoning is None
    assert [name for name, _ in sinks.usage] == ["total"]
    assert sinks.finish_reason is not None
    assert sinks.finish_reason({"f": 1, "g": 2}, Envelope()) == 2


@pytest.mark.parametrize("done", ["true", "false", "1", "'`true`'", "[finished, '`true`']", "'{{ true }}'", "\"'x'\""])
def test_a_constant_is_no_end_of_a_simple_stream(done: str) -> None:
    """All its frames have the same sinks; the finding says what to write."""
    text = HEAD + f"chat: {{request: {{path: /g}}, stream: {{format: ndjson, text: t, done: {done}}}}}\n"
    _, findings = findings_of(text)
    assert [(found.code, found.span and found.span.line) for found in findings] == [("E303", 4)]
    assert "events" in findings[0].label


@pytest.mark.parametrize(
    "stream", ["text: t, done: finished", "text: t, done: ~", "by: k, events: {a: {text: t}, b: {done: true}}"]
)
def test_ends_that_are_right(stream: str) -> None:
    """A selector; and in an event the constant."""
    chat(stream=f"{{format: ndjson, {stream}}}")


NAMED: dict[str, tuple[str, str, bool]] = {
    "message": ("format: sse, events: {message: {text: t}}", "", True),
    "a name": ("format: sse, events: {part: {text: t}}", "part", True),
    "the rest": ('format: sse, events: {"*": {text: t}}', "", True),
    "by a selector": ("format: sse, by: k, events: {message: {text: t}}", "", False),
}


@pytest.mark.parametrize(("stream", "event", "found"), NAMED.values(), ids=NAMED)
def test_an_event_without_a_name_is_a_message(stream: str, event: str, found: bool) -> None:
    """As the standard of server-sent events says."""
    operation = chat(stream="{" + stream + "}").endpoints["chat"].stream
    assert operation is not None
    envelope = Envelope()
    envelope.frame = Frame(b"{}", event=event)
    [sinks] = operation.plan.choose({}, envelope)
    assert (sinks.text is not None, sinks.listed) == (found, found)


CLEANED = "strip: {prefix: p, tokens: [a, b, a]}, reasoning_tags: [<t>, </t>]"


@pytest.mark.parametrize(
    ("stream", "tokens", "tags"),
    [
        ("", ("a", "b"), ("<t>", "</t>")),
        (", strip: ~, reasoning_tags: ~", (), None),
        (", strip: {suffix: s}, reasoning_tags: [x, y]", (), ("x", "y")),
    ],
)
def test_a_stream_cleans_as_the_response_does(
    stream: str, tokens: tuple[str, ...], tags: tuple[str, str] | None
) -> None:
    """Unless it says otherwise; `~` turns it off."""
    mapping = chat(response=f"{{text: t, {CLEANED}}}", stream=f"{{format: ndjson{stream}}}")
    operation = mapping.endpoints["chat"].stream
    assert operation is not None
    assert (operation.plan.tokens, operation.plan.reasoning_tags) == (tokens, tags)
    assert (operation.plan.prefix is not None) is bool(tokens)


@pytest.mark.parametrize(
    ("response", "plain", "personal"),
    [
        ("{text: t, usage: {total: u}, id: i}", True, True),
        ("{text: t, finish_reason: f}", False, True),
        ("{text: t, choices: c}", True, True),
    ],
)
def test_a_plan_knows_what_it_tells_of_choices(response: str, plain: bool, personal: bool) -> None:
    """So that what is simple takes a short way."""
    operation = chat(response=response).endpoints["chat"].whole
    assert operation is not None
    [sinks] = operation.plan.choose({}, Envelope())
    assert (sinks.plain, sinks.personal) == (plain, personal)
    assert operation.plan.many is ("choices" in response)
