"""Promises of the Responses API for any answer: a valid sequence of events, and the same response whole."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from responding import check_sequence, told, valid
from support import IDENTITY

from oaiproxy.endpoints.responses import parse
from oaiproxy.endpoints.responses_encoding import encoder
from oaiproxy.endpoints.responses_items import Conversation, listed
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.events import Annotations, Delta, Event, Finish, Head, Logprobs, Remainder, ToolCallDelta, Usage

TEXT = st.text(max_size=5)
UNCLOSED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="}"), max_size=5)
"""Arguments to which more may come."""
WEIGHT = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
CITED = {"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://a.test", "title": "A"}
SIMPLE: Any = st.one_of(
    st.builds(Delta, TEXT, st.sampled_from(["content", "reasoning_content", "refusal"])),
    st.builds(Logprobs, st.just([WEIGHT])),
    st.builds(Annotations, st.just([CITED])),
    st.builds(Head, TEXT, TEXT),
)
COUNTS = st.none() | st.integers(0, 9)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """What a reader of replies can tell: calls are opened before they grow, and the end comes once."""
    made: list[Event] = []
    calls = 0
    growing: list[int] = []
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.integers(0, 3))
        if kind == 0:
            whole = draw(st.booleans())
            text = "{}" if whole else draw(UNCLOSED)
            made.append(ToolCallDelta(calls, f"c{calls}", draw(st.sampled_from(["f", "g"])), text))
            growing += [] if whole else [calls]
            calls += 1
        elif kind == 1 and growing:
            made.append(ToolCallDelta(draw(st.sampled_from(growing)), arguments=draw(UNCLOSED)))
        else:
            made.append(draw(SIMPLE))
    if draw(st.booleans()):
        made.append(Remainder([{"state": 1}], owner="t"))
    reason = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    return [*made, Finish(reason)]  # type: ignore[arg-type]


def asked(stream: bool) -> Any:
    """A request with a function and a custom tool, and log probabilities."""
    tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
    return parse({"model": "m", "input": "hi", "stream": stream, "tools": tools, "top_logprobs": 1, "user": "u"})


@settings(deadline=None)
@given(answers(), st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
def test_any_answer_is_a_valid_sequence(events: list[Event], usage: Usage) -> None:
    """Whose response is that of the whole answer."""
    made = encoder(asked(True), IDENTITY)
    sent = told(b"".join(map(made.feed, events)) + made.close(usage))
    for event in sent:
        valid("ResponseStreamEvent", event)
    last = check_sequence(sent)
    whole = encoder(asked(False), IDENTITY)
    assert b"".join(map(whole.feed, events)) == b""
    assert json.loads(whole.close(usage)) == last
    valid("Response", last)


@settings(deadline=None)
@given(answers(), st.integers(0, 12))
def test_any_answer_may_break_off(events: list[Event], at: int) -> None:
    """The failure ends it, once as the response's and once as an error."""
    made = encoder(asked(True), IDENTITY)
    begun = b"".join(map(made.feed, events[: min(at, len(events) - 1)]))
    *before, failed, error = told(begun + made.fail(BackendError("it broke", status=429, param="messages")))
    for event in (*before, failed, error):
        valid("ResponseStreamEvent", event)
    assert (failed["type"], failed["response"]["error"]["code"]) == ("response.failed", "rate_limit_exceeded")
    assert (error["param"], error["error"]["param"]) == ("input", "input")
    assert {item["status"] for item in failed["response"]["output"]} <= {"completed", "incomplete"}


KEYS = st.sampled_from(
    [
        *("model", "input", "instructions", "tools", "tool_choice", "text", "format", "reasoning", "include", "type"),
        *("role", "content", "id", "name", "call_id", "arguments", "output", "encrypted_content", "text", "refusal"),
        *("image_url", "detail", "file_id", "file_data", "input_audio", "data", "schema", "strict", "mode", "function"),
        *("custom", "allowed_tools", "stream", "max_output_tokens", "top_logprobs", "stop", "metadata", "parameters"),
    ]
)
WORDS = st.sampled_from(
    [
        *("user", "assistant", "message", "function_call", "function_call_output", "custom_tool_call", "reasoning"),
        *("input_text", "output_text", "refusal", "input_image", "input_file", "input_audio", "item_reference"),
        *("compaction", "function", "custom", "allowed_tools", "auto", "json_schema", "grammar", "hi", ""),
    ]
)
LEAF = st.none() | st.booleans() | st.integers(-1, 20) | WORDS
ANY = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6))
ITEMS = st.lists(st.dictionaries(KEYS, ANY, max_size=7), max_size=3)


@settings(deadline=None, max_examples=300)
@given(st.fixed_dictionaries({"model": st.just("m"), "input": ITEMS | WORDS}, optional={"more": ANY}), ANY)
def test_any_request_is_a_call_or_the_clients_mistake(body: Any, more: Any) -> None:
    """Never a failure of ours; and what is a call has a response."""
    if isinstance(more, dict):
        body = more | body
    try:
        asked_ = parse(body)
    except ClientError:
        return
    made = encoder(asked_, IDENTITY)
    assert made.feed(Finish("stop")) + made.close(None)
    items = listed(asked_.items, "t")
    assert len({item["id"] for item in items}) <= len(items) == len(asked_.items)
    again = Conversation(lambda item_id: None)
    again.remember(items)
    assert len(again.finished()) <= len(asked_.call.messages)
