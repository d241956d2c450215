"""A choice keeps what one frame cannot know: what was said, what is held back, and the state that waits for a call."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest

from oaiproxy.choices import Choice
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Finish, Remainder, ToolCallDelta
from oaiproxy.opaque import MAX_DECODED, MAX_ENCODED, Restored, Restorer
from oaiproxy.sinks import Plan
from oaiproxy.textfilters import NO_TERMS, Terms


def choice(terms: Terms = NO_TERMS, **plan: Any) -> Choice:
    return Choice(2, Plan(lambda value, envelope: (), True, **plan), terms, lambda: "made", set())


def say(made: Choice, *texts: str, kind: Any = "content") -> list[Event]:
    events: list[Event] = []
    for text in texts:
        made.say(text, kind, events)
    return events


def opened(events: list[Event]) -> Restored:
    """What the id of the one call that opens holds."""
    [event] = [event for event in events if isinstance(event, ToolCallDelta) and event.name]
    assert event.id is not None
    return Restorer().restore(event.id)


def test_events_carry_the_number_of_the_choice() -> None:
    """Text, calls and the end."""
    made = choice()
    events = [*say(made, "a"), *made.tool_calls.whole({"name": "f"}), *made.close()]
    assert {event.choice for event in events if not isinstance(event, Remainder)} == {2}  # type: ignore[union-attr]
    assert events[-1] == Finish("tool_calls", 2)


REWRITTEN: dict[str, tuple[list[str], str]] = {
    "goes on": (["ab", "abc"], "abc"),
    "another end": (["abx", "aby"], "abxy"),
    "another beginning": (["ab", "xy"], "abxy"),
    "shorter, then as before": (["abc", "ab", "abcd"], "abcd"),
    "shorter, then otherwise": (["abc", "ab", "abx"], "abcx"),
    "and then goes on": (["abx", "aby", "abyz"], "abxyz"),
}


@pytest.mark.parametrize(("texts", "wanted"), REWRITTEN.values(), ids=REWRITTEN)
def test_cumulative_text_that_was_rewritten_goes_on(texts: list[str], wanted: str) -> None:
    """After the longest beginning that both have in common."""
    events = say(choice(cumulative=True, continues=True), *texts)
    assert "".join(event.text for event in events if isinstance(event, Delta)) == wanted


def test_cumulative_text_that_was_rewritten_is_a_fault() -> None:
    """Unless the mapping says otherwise."""
    with pytest.raises(BackendError, match="changed text"):
        say(choice(cumulative=True), "ab", "x")


def test_half_a_character_at_the_end_is_filtered_too() -> None:
    """It is told as a replacement character, after what the filters held back."""
    made = choice(tokens=("<e>",))
    assert say(made, "a<", "\ud83d") == [Delta("a", "content", 2)]
    assert made.close()[0] == Delta("<\ufffd", "content", 2)


def test_tagged_reasoning_belongs_to_the_state_that_follows() -> None:
    """As that of its own sink does."""
    made = choice(reasoning_tags=("<t>", "</t>"), keeps_state=True)
    say(made, "<t>hm</t>yes")
    made.keep("s")
    assert made.close() == [Remainder([{"text": "hm", "state": "s"}], 2), Finish("stop", 2)]


def test_state_rides_in_the_next_call_that_opens() -> None:
    """Each item with the reasoning since the one before, in order; what comes later goes out at the end."""
    made = choice(keeps_state=True)
    say(made, "a", "b", kind="reasoning_content")
    made.keep("s1")
    made.keep({"blob": 2})
    say(made, "c", kind="reasoning_content")
    made.keep("s3")
    told = made.tool_calls.whole({"id": "c1", "name": "f", "state": "mine"})
    items = ({"text": "ab", "state": "s1"}, {"state": {"blob": 2}}, {"text": "c", "state": "s3"})
    assert opened(list(told)) == Restored("c1", "mine", items)
    assert opened(list(made.tool_calls.whole({"id": "c2", "name": "f"}))) == Restored("c2")
    made.keep("s4")
    assert made.close() == [Remainder([{"state": "s4"}], 2), Finish("tool_calls", 2)]


def test_a_list_is_several_states() -> None:
    """Each may bring its own text; what is empty is none."""
    made = choice(keeps_state=True)
    say(made, "joined", kind="reasoning_content")
    made.keep([{"text": "a", "state": "s1"}, "s2", None, "", {"state": "s3", "text": "c"}])
    [rest, _] = made.close()
    assert rest == Remainder([{"text": "a", "state": "s1"}, {"state": "s2"}, {"state": "s3", "text": "c"}], 2)


def test_the_state_of_a_call_that_was_told_comes_late() -> None:
    """It is kept under the call's id."""
    made = choice()
    made.tool_calls.fragment(0, "c1", "f", "{}")
    made.tool_calls.fragment(0, None, None, None, "late")
    assert made.close()[0] == Remainder([{"id": "c1", "state": "late"}], 2)


def test_state_that_is_too_large_is_left_out_and_named() -> None:
    """The call goes out with its plain id, the message without state."""
    made = choice(keeps_state=True)
    large = {str(n): n**50 for n in range(1000)}
    told = made.tool_calls.whole({"id": "c1", "name": "f", "state": large})
    assert opened(list(told)) == Restored("c1")
    made.keep("x" * MAX_ENCODED)
    assert made.close() == [Finish("tool_calls", 2)]
    assert made.left_out == {"the state of a tool call", "the state of a message"}


def test_what_waits_does_not_keep_a_call_from_its_own_state() -> None:
    """It is left out, and named."""
    made = choice(keeps_state=True)
    made.keep({str(n): n**50 for n in range(1000)})
    told = made.tool_calls.whole({"id": "c1", "name": "f", "state": "mine"})
    assert opened(list(told)) == Restored("c1", "mine")
    assert made.left_out == {"the state of a message"}


@pytest.mark.parametrize("state", [10**5000, "x" * (MAX_DECODED + 1)], ids=["no JSON", "too large"])
def test_state_that_could_never_go_out_is_not_kept(state: Any) -> None:
    """A backend cannot fill the memory with it."""
    made = choice(keeps_state=True)
    made.keep(state)
    assert made.close() == [Finish("stop", 2)]
    assert made.left_out == {"the state of a message"}


def test_reasoning_without_end_is_not_kept() -> None:
    """Its state travels without it, and the log says so."""
    made = choice(keeps_state=True)
    say(made, *["x" * 1000] * (MAX_DECODED // 1000 + 2), kind="reasoning_content")
    made.keep("s")
    assert made.close()[0] == Remainder([{"state": "s"}], 2)
    assert made.left_out == {"the reasoning of a state"}


def test_a_cut_answer_ends_with_stop() -> None:
    """Whatever the backend says."""
    made = choice(Terms(stop=("END",)))
    assert say(made, "aEN", "Db") == [Delta("a", "content", 2)]
    made.finish = "length"
    assert made.stopped
    assert made.close() == [Finish("stop", 2, "END")]


def test_a_choice_is_freed_without_the_garbage_collector() -> None:
    made = choice()
    say(made, "hi")
    calls = ref(made.tool_calls)
    gc.disable()
    try:
        del made
        assert calls() is None
    finally:
        gc.enable()
