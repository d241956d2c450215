"""Frames become events: each sink picks its part, and the engine owns what lasts longer than a frame."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import chat

from oaiproxy.events import Delta, Event, Fault, Finish, Head, ToolCallDelta, Usage
from oaiproxy.extraction import MAX_UNKNOWN, Extraction
from oaiproxy.framing import Frame
from oaiproxy.opaque import Restorer
from oaiproxy.picks import Envelope


def reader(stream: str) -> Extraction:
    operation = chat(stream=f"{{format: ndjson, {stream}}}").endpoints["chat"].stream
    assert operation is not None
    return Extraction(operation.plan, Envelope(), lambda: "made")


def feed(extraction: Extraction, *values: Any) -> list[Event]:
    return [event for value in values for event in extraction.feed(Frame(json.dumps(value).encode()))]


def code(events: list[Event]) -> str | None:
    last = events[-1] if events else None
    return last.error.code if isinstance(last, Fault) else None


def test_events_come_in_order() -> None:
    """Head, reasoning, text; usage and reason at the end."""
    extraction = reader("text: t, reasoning: r, id: i, model: m, usage: {total: u}, finish_reason: f")
    assert feed(extraction, {"t": "a", "r": "b", "i": 7, "m": "x", "u": 3, "f": "length"}) == [
        Head("7", "x"),
        Delta("b", "reasoning_content"),
        Delta("a"),
    ]
    assert extraction.close() == [Finish("length"), Usage(total=3)]


def test_the_head_is_told_before_the_text_only() -> None:
    """An id that comes later changes nothing that the client has seen."""
    extraction = reader("text: t, id: i")
    assert feed(extraction, {"i": "a"}, {"t": "x"}, {"i": "b"}) == [Head("a"), Delta("x")]


@pytest.mark.parametrize("value", [None, "", [], {"a": 1}, True, 0])
def test_an_id_that_is_none_is_left_out(value: Any) -> None:
    """Only words and numbers name an answer."""
    assert feed(reader("text: t, id: i"), {"i": value}) == []


def test_a_fault_is_the_last_event_of_its_frame() -> None:
    """What the frame said before is told first."""
    events = feed(reader("text: t, reasoning: r"), {"r": "ok", "t": 5})
    assert events[0] == Delta("ok", "reasoning_content")
    assert code(events) == "upstream_mapping_mismatch"


def test_nothing_is_read_after_the_end() -> None:
    """Frames after `done` are not even parsed."""
    extraction = reader("text: t, done: d")
    assert feed(extraction, {"t": "a", "d": True}) == [Delta("a")]
    assert extraction.feed(Frame(b"garbage")) == []
    assert extraction.close() == [Finish("stop")]


def test_a_reason_does_not_end_the_stream() -> None:
    """Usage often comes after it."""
    extraction = reader("text: t, finish_reason: f, usage: {completion: u}")
    feed(extraction, {"t": "a", "f": "stop"}, {"u": 3})
    assert extraction.close() == [Finish("stop"), Usage(completion=3)]


CLOSING: dict[str, tuple[str, list[Any], str | None]] = {
    "nothing came": ("text: t", [], "upstream_empty_response"),
    "no text": ("text: t", [{"x": 1}], "upstream_mapping_mismatch"),
    "no text, but a reason for it": ("text: t, finish_reason: f", [{"f": "content_filter"}], None),
    "no text, though a count of 0": ("text: t, usage: {completion: u}", [{"u": 0}], "upstream_mapping_mismatch"),
    "empty text": ("text: t", [{"t": ""}], None),
    "frames about other things": ('text: "k && t", finish_reason: f', [{"k": False, "f": "stop"}], None),
    "only unknown events": ("by: k, events: {a: {text: t}}", [{"k": "b"}], "upstream_mapping_mismatch"),
    "an unlisted event, and the end": (
        "by: k, events: {a: {text: t}, b: {done: true}}",
        [{"k": "c", "t": "x"}, {"k": "b"}],
        "upstream_mapping_mismatch",
    ),
    "an unlisted event, and a reason": (
        "by: k, events: {a: {text: t}, b: {finish_reason: f}}",
        [{"k": "c", "t": "x"}, {"k": "b", "f": "length"}],
        "upstream_mapping_mismatch",
    ),
    "an unlisted event, and a filter": (
        "by: k, events: {a: {text: t}, b: {finish_reason: f}}",
        [{"k": "c"}, {"k": "b", "f": "content_filter"}],
        None,
    ),
    "an unlisted event, and empty text": ("by: k, events: {a: {text: t}}", [{"k": "a", "t": ""}, {"k": "c"}], None),
    "a listed event, and the end": (
        "by: k, events: {a: {text: t}, b: {done: true}, c: ~}",
        [{"k": "c"}, {"k": "b"}],
        None,
    ),
    "the rest, and the end": ('by: k, events: {a: {text: t}, b: {done: true}, "*": ~}', [{"k": "c"}, {"k": "b"}], None),
    "no rule for it": (
        "events: [{when: a, text: t}, {when: b, done: true}]",
        [{"c": 1}, {"b": 1}],
        "upstream_mapping_mismatch",
    ),
    "only the end": ("by: k, events: {a: {text: t}, b: {done: true}}", [{"k": "b"}], None),
    "not the end": ("by: k, events: {a: {text: t}, b: {done: true}}", [{"k": "a", "t": "x"}], "upstream_incomplete"),
    "only reasoning": ("text: t, reasoning: r", [{"r": "x"}], None),
    "only a refusal": ("text: t, refusal: r", [{"r": "x"}], None),
    "only a tool call": ("text: t, tool_calls: c", [{"c": {"name": "f"}}], None),
    "a call without a name": ("text: t, tool_call: {arguments: a}", [{"a": "x"}], "upstream_mapping_mismatch"),
}


@pytest.mark.parametrize(
    ("stream", "reasons", "wanted"),
    [
        ("", ["going on"], "upstream_incomplete"),
        ("", ["going on", "length"], None),
        ("", ["going on", ""], "upstream_incomplete"),
        ("", ["length", "going on"], "upstream_incomplete"),
        (", end: x, require_done: false", ["going on"], None),
    ],
)
def test_a_stream_whose_last_reason_is_not_the_end_broke_off(
    stream: str, reasons: list[str], wanted: str | None
) -> None:
    """Where the mapping knows no other mark of the end; with `require_done: false` it may end anywhere."""
    given = f"{{format: ndjson, text: t, finish_reason: f{stream}}}"
    operation = chat(more="finish_reasons: {going on: ~}", stream=given).endpoints["chat"].stream
    assert operation is not None
    extraction = Extraction(operation.plan, Envelope(), lambda: "made")
    feed(extraction, *({"t": "x", "f": reason} for reason in reasons))
    assert code(extraction.close()) == wanted


@pytest.mark.parametrize(("stream", "values", "wanted"), CLOSING.values(), ids=CLOSING)
def test_whether_an_answer_is_complete(stream: str, values: list[Any], wanted: str | None) -> None:
    """An answer in which the mapping found nothing is its mismatch; one that is truly empty is an answer."""
    extraction = reader(stream)
    assert code(feed(extraction, *values)) is None
    assert code(extraction.close()) == wanted


@pytest.mark.parametrize("calls", ["x", 5, [5], [{"arguments": {}}], [{"name": ""}]])
def test_tool_calls_that_are_none_are_a_mismatch(calls: Any) -> None:
    """A call is an object with a name."""
    assert code(feed(reader("text: t, tool_calls: c"), {"c": calls})) == "upstream_mapping_mismatch"


@pytest.mark.parametrize("reason", ["stop", "auto", "tool_calls", None])
def test_calls_give_the_reason(reason: str | None) -> None:
    """A backend that says `stop` after tool calls means them."""
    extraction = reader("text: t, tool_calls: c, finish_reason: f")
    feed(extraction, {"c": [{"name": "f"}], "f": reason})
    assert extraction.close()[-1] == Finish("tool_calls")


def test_a_cut_answer_stays_cut() -> None:
    """The length reason stands over the calls."""
    extraction = reader("text: t, tool_calls: c, finish_reason: f")
    feed(extraction, {"c": [{"name": "f"}], "f": "length"})
    assert extraction.close()[-1] == Finish("length")


def test_deeply_nested_arguments_are_no_exception() -> None:
    """They are told, or they are our fault event."""
    data = b'{"c": {"name": "f", "arguments": ' + b"[" * 900 + b"]" * 900 + b"}}"
    events = reader("text: t, tool_calls: c").feed(Frame(data))
    assert events
    assert code(events) in (None, "upstream_invalid_json")


@pytest.mark.parametrize("mapped", ["tool_calls: c", "finish_reason: c", "tool_call: {index: c, name: n}"])
def test_what_can_be_read_but_not_written_is_no_exception(mapped: str) -> None:
    """Python's limit is reached a little sooner where values are written again: at every depth there is an answer."""
    for depth in range(900, 1010):
        nested = b"[" * depth + b"1" + b"]" * depth
        value = b'{"name": "f", "arguments": ' + nested + b"}" if mapped == "tool_calls: c" else nested
        events = reader(f"text: t, {mapped}").feed(Frame(b'{"t": "a", "n": "f", "c": ' + value + b"}"))
        assert code(events) in (None, "upstream_invalid_json")


def test_error_parts_have_their_own_selectors() -> None:
    """Any of them tells of a failure; numbers that are 0 do not."""
    extraction = reader("text: t, error: {message: m, type: k, code: c}")
    assert feed(extraction, {"t": "a", "c": 0}) == [Delta("a")]
    [fault] = feed(extraction, {"m": "no", "k": "kind", "c": 7})
    assert isinstance(fault, Fault)
    assert (fault.error.message, fault.error.type, fault.error.code) == ("no", "kind", "7")


def test_the_look_for_errors_can_be_turned_off() -> None:
    """`error: ~` makes the key an ordinary one."""
    assert feed(reader("text: t, error: ~"), {"t": "a", "error": "none"}) == [Delta("a")]


def test_events_that_are_not_listed_are_counted() -> None:
    """The first of them, by name, their names cut short; the mismatch names them."""
    extraction = reader("by: k, events: {a: {text: t}, b: ~}")
    feed(extraction, {"k": "b"}, {"k": "x"}, {"k": "x"}, {}, {"k": "y" * 500}, *({"k": str(n)} for n in range(100)))
    assert len(extraction.unlisted) == MAX_UNKNOWN
    assert (extraction.unlisted["x"], extraction.unlisted["(no name)"]) == (2, 1)
    assert all(len(name) <= 80 for name in extraction.unlisted)
    [fault] = extraction.close()
    assert isinstance(fault, Fault)
    assert "'x', '(no name)', " in fault.error.message


@pytest.mark.parametrize("word", ["false", "False", " 0 ", ""])
def test_words_that_are_not_the_end(word: str) -> None:
    """Some backends send all values as text."""
    extraction = reader("text: t, done: d")
    feed(extraction, {"t": "a", "d": word})
    assert not extraction.done
    feed(extraction, {"d": "true"})
    assert extraction.done


def test_only_text_is_cumulative() -> None:
    """Reasoning that repeats itself is told as often."""
    extraction = reader("text: t, reasoning: r, text_mode: cumulative")
    assert feed(extraction, {"r": "so "}, {"r": "so "}, {"t": "a"}, {"t": "ab"}) == [
        Delta("so ", "reasoning_content"),
        Delta("so ", "reasoning_content"),
        Delta("a"),
        Delta("b"),
    ]


@pytest.mark.parametrize(("texts", "wanted"), [(["abc", "ab"], "upstream_mapping_mismatch"), (["ab \n", "ab"], None)])
def test_cumulative_text_that_shrinks(texts: list[str], wanted: str | None) -> None:
    """White space at the end may go, nothing else."""
    extraction = reader("text: t, text_mode: cumulative")
    assert code(feed(extraction, *({"t": text} for text in texts))) == wanted


MANY = "choices: all, text: t, reasoning: r, tool_calls: c, finish_reason: f, usage: {completion: u}"


def test_each_choice_has_its_own_state() -> None:
    """Numbered by `index`, closed in their order, with a reason each."""
    extraction = reader(MANY)
    first = {"all": [{"index": 1, "t": "b"}, {"index": 0, "t": "a", "f": "length"}], "u": 2}
    second = {"all": [{"index": 1, "c": [{"id": "x", "name": "g"}]}]}
    assert feed(extraction, first) == [Delta("b", choice=1), Delta("a")]
    assert [event.choice for event in feed(extraction, second)] == [1, 1]  # type: ignore[union-attr]
    assert extraction.close() == [Finish("length"), Finish("tool_calls", 1), Usage(completion=2)]


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ([{"t": "a"}, {"t": "b"}], [0, 1]),
        ([{"t": "a", "index": None}, {"t": "b", "index": "x"}], [0, 1]),
        ([{"t": "a", "index": 1.0}, {"t": "b", "index": "0"}], [1, 0]),
        ([{"t": "a", "index": True}, {"t": "b", "index": False}], [0, 1]),
        ([{"t": "a", "index": 127}], [127]),
    ],
)
def test_a_choice_is_numbered_by_its_index_or_its_place(items: list[Any], wanted: list[int]) -> None:
    """What is no number is none."""
    assert [event.choice for event in feed(reader(MANY), {"all": items})] == wanted  # type: ignore[union-attr]


def test_items_that_are_text() -> None:
    """Their place is all that tells them apart."""
    assert feed(reader("choices: all, text: '@'"), {"all": ["a", "b"]}) == [Delta("a"), Delta("b", choice=1)]


def test_the_number_may_stand_elsewhere() -> None:
    """`choice_index` is relative to the item."""
    extraction = reader("choices: all, choice_index: at.n, text: t")
    assert feed(extraction, {"all": [{"at": {"n": 3}, "t": "a", "index": 1}]}) == [Delta("a", choice=3)]


@pytest.mark.parametrize(
    "found", ["x", {"t": "a"}, 5, [{"index": 128, "t": "a"}], [{"index": -1, "t": "a"}], [{"t": "a"}] * 129]
)
def test_choices_that_are_none_are_a_mismatch(found: Any) -> None:
    """A list of at most 128, numbered from 0."""
    assert code(feed(reader(MANY), {"all": found})) == "upstream_mapping_mismatch"


CHOICES: dict[str, tuple[list[Any], str | None]] = {
    "each said something": ([{"all": [{"t": "a"}, {"t": "b"}]}], None),
    "one said nothing": ([{"all": [{"t": "a"}, {}]}], "upstream_mapping_mismatch"),
    "one was filtered": ([{"all": [{"t": "a"}, {"f": "content_filter"}]}], None),
    "none came": ([{"all": []}], "upstream_mapping_mismatch"),
    "nothing came": ([], "upstream_empty_response"),
    "one call has no name": ([{"all": [{"t": "a"}, {"c": [{"name": ""}]}]}], "upstream_mapping_mismatch"),
}


@pytest.mark.parametrize(("values", "wanted"), CHOICES.values(), ids=CHOICES)
def test_every_choice_that_came_must_be_complete(values: list[Any], wanted: str | None) -> None:
    """What holds for one holds for each."""
    extraction = reader(MANY)
    assert code(feed(extraction, *values) + extraction.close()) == wanted


def test_cumulative_text_is_told_apart_by_choice() -> None:
    """Each choice has its own text so far."""
    extraction = reader("choices: all, text: t, text_mode: cumulative")
    frames = [{"all": [{"t": "a"}, {"t": "x"}]}, {"all": [{"t": "ab"}, {"t": "xy"}]}]
    assert feed(extraction, *frames) == [Delta("a"), Delta("x", choice=1), Delta("b"), Delta("y", choice=1)]


FALLBACKS: dict[str, tuple[list[Any], list[Event]]] = {
    "text came before": ([{"k": "d", "t": "a"}, {"k": "e", "t": "a", "r": "x"}], [Delta("a")]),
    "nothing came before": ([{"k": "e", "t": "a"}], [Delta("a")]),
    "only reasoning came before": (
        [{"k": "d", "r": "x"}, {"k": "e", "t": "a", "r": "x"}],
        [Delta("x", "reasoning_content"), Delta("a")],
    ),
    "text and reasoning at once": (
        [{"k": "e", "t": "a", "r": "x"}],
        [Delta("x", "reasoning_content"), Delta("a")],
    ),
}


@pytest.mark.parametrize(("values", "wanted"), FALLBACKS.values(), ids=FALLBACKS)
def test_a_fallback_is_taken_if_nothing_was_said(values: list[Any], wanted: list[Event]) -> None:
    """What it tells beside that is taken in any case."""
    extraction = reader(
        "by: k, events: {d: {text: t, reasoning: r}, "
        "e: {fallback: true, text: t, reasoning: r, finish_reason: f, usage: {total: u}, done: 'k'}}"
    )
    values[-1].update(f="length", u=3)
    assert feed(extraction, *values) == wanted
    assert extraction.done
    assert extraction.close() == [Finish("length"), Usage(total=3)]


def test_a_fallback_repeats_no_tool_calls() -> None:
    """A call is something that was said; and it is each choice's own affair."""
    rules = (
        "events: [{when: d, choices: d, tool_calls: c}, {when: e, fallback: true, choices: e, tool_calls: c, text: t}]"
    )
    extraction = reader(rules)
    call = [{"id": "x", "name": "f"}]
    feed(extraction, {"d": [{"index": 0, "c": call}]})
    assert feed(extraction, {"e": [{"c": call, "t": "a"}, {"t": "b"}]}) == [Delta("b", choice=1)]


def test_arguments_at_their_places() -> None:
    """Pieces belong to the call last opened, and are told when all came; a name opens another one."""
    extraction = reader("text: t, tool_call: {name: n, arguments_at: p, state: s}")
    frames = [
        {"n": "f", "s": "sig"},
        {"p": [{"path": "$.city", "value": "Bos", "more": True}]},
        {"p": [{"path": "$.city", "value": "ton"}]},
        {},
        {"n": "f"},
        {"p": [{"path": "$.city", "value": "Rome"}]},
        {"n": "g"},
    ]
    events = feed(extraction, *frames) + extraction.close()
    calls: dict[int, list[Any]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            known = calls.setdefault(event.index, ["", "", ""])
            known[0] += event.id or ""
            known[1] += event.name or ""
            known[2] += event.arguments
    assert [call[1:] for call in calls.values()] == [["f", '{"city":"Boston"}'], ["f", '{"city":"Rome"}'], ["g", "{}"]]
    assert [Restorer("test").restore(call[0]).state for call in calls.values()] == ["sig", None, None]
