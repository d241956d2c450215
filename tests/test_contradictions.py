"""Blocks that read nothing, or that contradict themselves, are found before an answer comes."""

from __future__ import annotations

import pytest
from support import chat, findings_of

HEAD = """oaiproxy: 1
models: [m]
backend: {url: "http://b"}
chat:
  request: {path: /g, body: {p: "{{ prompt }}"}}
"""

WRONG: dict[str, tuple[str, str, str]] = {
    "no sink": ("response: {}", "`response` reads no text", "text: <selector>"),
    "no sink that says something": ("response: {id: i, usage: {total: u}}", "`response` reads no text", "text:"),
    "a sink taken away": ("response: {text: ~}", "`response` reads no text", "text:"),
    "a stream of nothing": ("stream: {format: sse, done: d}", "`stream` reads no text", "text:"),
    "events of nothing": ("stream: {format: sse, events: {a: ~, b: {done: d}}}", "`events` read no text", "text:"),
    "no events": ("stream: {format: sse, events: {}}", "`events` is empty", "name the kinds"),
    "an empty list of events": ("stream: {format: sse, events: []}", "`events` is empty", "name the kinds"),
    "lines without names": (
        "stream: {format: ndjson, events: {a: {text: t}}}",
        "of `ndjson` have no names",
        "`by: type`",
    ),
    "items without names": ("stream: {format: json-array, events: {a: {text: t}}}", "have no names", "by"),
    "values without names": ("stream: {format: json-concat, events: {a: {text: t}}}", "have no names", "by"),
    "pieces without names": ("stream: {format: text, events: {a: {text: t}}}", "have no names", "by"),
    "a name for rules": (
        "stream: {format: sse, by: type, events: [{when: a, text: t}]}",
        "`by` has no effect beside a list",
        "map by kind",
    ),
    "pieces of JSON": ("stream: {format: text, data: json, text: t}", "is not cut into JSON", "leave `data` out"),
    "a number without choices": ("response: {text: t, choice_index: i}", "without `choices`", "choices: <selector>"),
    "a number in a stream": ("stream: {format: sse, text: t, choice_index: i}", "without `choices`", "choices:"),
    "a number in a rule": (
        "stream: {format: sse, events: {a: {text: t, choice_index: i}}}",
        "without `choices`",
        "choices:",
    ),
    "a rewrite of deltas": ("stream: {format: sse, text: t, on_rewrite: continue}", "about cumulative", "text_mode"),
    "a fallback that says nothing": (
        "stream: {format: sse, events: {a: {text: t}, b: {fallback: true, done: d}}}",
        "`fallback` is about what a rule says",
        "leave it out",
    ),
    "an end with the name of its field": (
        "stream: {format: sse, text: t, end: 'data:[\"end\"]'}",
        "without `data:`",
        "leave `data:` out",
    ),
    "an end in a piece": ("stream: {format: text, text: '@', done: d}", "`done` cannot be told", "leave it out"),
    "an end in a rule": (
        "stream: {format: text, events: [{when: '@', text: '@', done: d}]}",
        "`done` cannot be told",
        "leave it out",
    ),
    "a blank end": ("stream: {format: sse, text: t, end: ' '}", "`end` is blank", "[DONE]"),
}


@pytest.mark.parametrize(("block", "message", "fix"), WRONG.values(), ids=WRONG)
def test_what_cannot_work_is_found(block: str, message: str, fix: str) -> None:
    """Once, on its line, with what to do."""
    _, findings = findings_of(f"{HEAD}  {block}\n")
    [found] = findings
    assert (found.code, found.span and found.span.line) == ("E105", 6)
    assert message in found.message
    assert fix in found.label


FINE = {
    "reasoning alone": {"response": "{reasoning: r}"},
    "a refusal alone": {"response": "{refusal: r}"},
    "tools alone": {"response": "{tool_calls: c}"},
    "the sinks of the answer": {"response": "{text: t}", "stream": "{format: sse, done: d}"},
    "named events": {"stream": "{format: sse, events: {a: {text: t}}}"},
    "a kind by a field": {"stream": "{format: ndjson, by: type, events: {a: {tool_call: {name: n}}}}"},
    "rules": {"stream": "{format: ndjson, events: [{when: a, text: t, done: d}]}"},
    "text": {"stream": "{format: text, text: '@'}"},
    "a payload of text that repeats its field": {"stream": "{format: sse, data: text, text: '@', end: 'data: end'}"},
    "an end without a field": {"stream": "{format: ndjson, text: t, end: 'data: end'}"},
    "text that says so": {"stream": "{format: text, data: text, text: '@'}"},
}


@pytest.mark.parametrize("blocks", FINE.values(), ids=FINE)
def test_what_can_work_is_let_through(blocks: dict[str, str]) -> None:
    """Without a finding."""
    chat(**blocks)


def test_pieces_of_text_are_text() -> None:
    """`data: text` need not be said, and is not what other framings hold."""
    for framing, data in {"text": "text", "sse": "json"}.items():
        operation = chat(stream=f"{{format: {framing}, text: '@'}}").endpoints["chat"].stream
        assert operation is not None
        assert operation.plan.data == data


def test_blanks_around_an_end_do_not_hide_it() -> None:
    """Payloads are compared without theirs."""
    operation = chat(stream="{format: sse, text: t, end: ' [DONE] '}").endpoints["chat"].stream
    assert operation is not None
    assert operation.plan.end == b"[DONE]"


def test_a_websocket_is_not_polled() -> None:
    """Its answer comes as it is made."""
    text = HEAD.replace("}\nchat", ", transport: websocket}\nchat")
    text += "  poll: {status: s, done: [a]}\n  stream: {format: messages, text: t}\n"
    mapping, (found,) = findings_of(text)
    assert mapping is None
    assert (found.code, found.label) == ("E105", "leave it out")
    assert "`poll` waits" in found.message
