"""Tool calls come out as OpenAI's whatever their shape: dense indexes, one id and name each, arguments as text."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.errors import BackendError
from oaiproxy.events import ToolCallDelta
from oaiproxy.toolcalls import ToolCalls

Fragment = tuple[Any, Any, Any, Any]  # index, id, name, arguments


def told(*fragments: Fragment) -> list[ToolCallDelta]:
    """All that is said of some fragments, with ids made as `new1` and so on."""
    made: list[str] = []

    def new_id() -> str:
        made.append(f"new{len(made) + 1}")
        return made[-1]

    calls = ToolCalls(0, new_id)
    found = [delta for fragment in fragments for delta in calls.fragment(*fragment)]
    return found + calls.close()


def summary(deltas: list[ToolCallDelta]) -> list[tuple[int, str | None, str | None, str]]:
    """Index, id, name and all arguments of each call; each is opened once, before its arguments."""
    calls: dict[int, list[Any]] = {}
    for delta in deltas:
        if delta.name is not None:
            assert delta.index not in calls
            calls[delta.index] = [delta.id, delta.name, delta.arguments]
        else:
            assert delta.id is None
            calls[delta.index][2] += delta.arguments
    assert list(calls) == list(range(len(calls)))
    return [(index, *call) for index, call in calls.items()]


SHAPES: dict[str, tuple[list[Fragment], list[tuple[int, str, str, str]]]] = {
    "opened and appended by index": (
        [(0, "a", "f", None), (0, None, None, '{"x"'), (0, None, None, ":1}")],
        [(0, "a", "f", '{"x":1}')],
    ),
    "indexes are renumbered": (
        [(1, "a", "f", "1"), (5, "b", "g", "2"), (1, None, None, "3")],
        [(0, "a", "f", "13"), (1, "b", "g", "2")],
    ),
    "indexes may be text": ([("x", "a", "f", "1"), ("x", None, None, "2")], [(0, "a", "f", "12")]),
    "indexes may be anything": ([([0], "a", "f", "1"), ([0], None, None, "2")], [(0, "a", "f", "12")]),
    "without index, appended to the last": (
        [(None, "a", "f", None), (None, None, None, "1"), (None, "b", "g", None), (None, None, None, "2")],
        [(0, "a", "f", "1"), (1, "b", "g", "2")],
    ),
    "without index, by id": (
        [(None, "a", "f", "1"), (None, "b", "g", "2"), (None, "a", None, "3")],
        [(0, "a", "f", "13"), (1, "b", "g", "2")],
    ),
    "every call with index 0": (
        [(0, "a", "f", "1"), (0, "b", "g", "2"), (0, None, None, "3")],
        [(0, "a", "f", "1"), (1, "b", "g", "23")],
    ),
    "id and name in every fragment": ([(0, "a", "f", "1"), (0, "a", "f", "2")], [(0, "a", "f", "12")]),
    "no arguments": ([(0, "a", "f", None), (0, None, None, "")], [(0, "a", "f", "{}")]),
    "no id": ([(0, None, "f", "1"), (1, "", "g", "2")], [(0, "new1", "f", "1"), (1, "new2", "g", "2")]),
    "the name comes late": ([(0, "a", None, "1"), (0, None, "f", "2")], [(0, "a", "f", "12")]),
    "the name in pieces": (
        [(0, "a", "get_", None), (0, None, "weather", None), (0, None, None, "{}")],
        [(0, "a", "get_weather", "{}")],
    ),
    "the name said again": (
        [(0, "a", "f", None), (0, None, "f", '{"x"'), (0, None, "f", ":1}")],
        [(0, "a", "f", '{"x":1}')],
    ),
    "another name under an index, after arguments": (
        [(0, None, "f", "{"), (0, None, None, "}"), (0, None, "g", "{}")],
        [(0, "new1", "f", "{}"), (1, "new2", "g", "{}")],
    ),
    "another name under an index, with arguments": (
        [(0, None, "f", None), (0, None, "g", "{}")],
        [(0, "new1", "f", "{}"), (1, "new2", "g", "{}")],
    ),
    "the same name under an index, after all arguments": (
        [(0, None, "f", "{}"), (0, None, "f", None), (0, None, "f", '{"x":1}')],
        [(0, "new1", "f", "{}"), (1, "new2", "f", '{"x":1}')],
    ),
    "the name in every fragment, without index and id": (
        [(None, None, "f", '{"x": "}'), (None, None, "f", '\\"]"'), (None, None, "f", "}")],
        [(0, "new1", "f", '{"x": "}\\"]"}')],
    ),
    "an escape that is cut": (
        [(None, None, "f", '{"x": "\\'), (None, None, "f", '"}"'), (None, None, "f", "}")],
        [(0, "new1", "f", '{"x": "\\"}"}')],
    ),
    "calls of one name, each with all arguments": (
        [(None, None, "f", {"x": 1}), (None, None, "f", {}), (None, None, "f", "[]")],
        [(0, "new1", "f", '{"x":1}'), (1, "new2", "f", "{}"), (2, "new3", "f", "[]")],
    ),
    "calls without arguments": (
        [(None, None, "f", None), (None, None, "g", None)],
        [(0, "new1", "f", "{}"), (1, "new2", "g", "{}")],
    ),
    "an empty object, then arguments": ([(0, "a", "f", {}), (0, None, None, '{"x":1}')], [(0, "a", "f", '{"x":1}')]),
    "the id comes before the name": ([(None, "a", None, None), (None, None, "f", "{}")], [(0, "a", "f", "{}")]),
    "the id comes late": ([(0, None, "f", "{"), (0, "a", "f", "}")], [(0, "new1", "f", "{}")]),
    "garbage after the arguments": ([(0, "a", "f", "{}"), (0, None, None, " }")], [(0, "a", "f", "{} }")]),
    "arguments as an object": ([(0, "a", "f", {"x": [1, None]})], [(0, "a", "f", '{"x":[1,null]}')]),
    "an id that is a number": ([(0, 17, "f", "1")], [(0, "17", "f", "1")]),
}


@pytest.mark.parametrize(("fragments", "calls"), SHAPES.values(), ids=SHAPES)
def test_fragments_become_calls(fragments: list[Fragment], calls: list[tuple[int, str, str, str]]) -> None:
    """Each shape that backends use comes out as the same kind of calls."""
    assert summary(told(*fragments)) == calls


WHOLE: dict[str, tuple[dict[str, Any], str]] = {
    "object arguments": ({"name": "f", "arguments": {"a": 1}}, '{"a":1}'),
    "text arguments": ({"name": "f", "arguments": '{"a": 1}'}, '{"a": 1}'),
    "none": ({"name": "f"}, "{}"),
    "null": ({"name": "f", "arguments": None}, "{}"),
    "empty": ({"name": "f", "arguments": ""}, "{}"),
    "inside function": ({"type": "function", "function": {"name": "f", "arguments": "1"}}, "1"),
}


@pytest.mark.parametrize(("call", "arguments"), WHOLE.values(), ids=WHOLE)
def test_a_whole_call_is_told_at_once(call: dict[str, Any], arguments: str) -> None:
    """Nothing is left for the end, and two alike are two calls."""
    calls = ToolCalls(0, lambda: "new")
    deltas = [*calls.whole(call), *calls.whole(call)]
    assert summary(deltas) == [(0, "new", "f", arguments), (1, "new", "f", arguments)]
    assert calls.close() == []


def test_a_call_without_a_name_is_not_told() -> None:
    """It is held, and known to be nameless, until the name comes."""
    calls = ToolCalls(0, lambda: "new")
    assert calls.fragment(0, "a", None, "1") == []
    assert calls.nameless
    calls.fragment(0, None, "f", None)
    assert not calls.nameless


def test_no_calls_are_false() -> None:
    """Until the first fragment came."""
    calls = ToolCalls(0, lambda: "new")
    assert not calls
    calls.fragment(0, "a", "f", None)
    assert calls


@pytest.mark.parametrize(
    "pieces", [['{"a":1}{"a":2}'], ["{}", "{}"], ["[1]", " ", '{"b"'], ['{"a":1}', '"x"']], ids=" ".join
)
def test_two_values_are_never_joined(pieces: list[str]) -> None:
    """Arguments that are no JSON would be the client's to find out: this is the mapping's fault."""
    with pytest.raises(BackendError) as caught:
        told(*((0, "a", "f", piece) for piece in pieces))
    assert (caught.value.code, caught.value.retry) == ("upstream_mapping_mismatch", False)


def test_a_call_is_told_with_its_first_arguments() -> None:
    """Its name may not be whole before; a call that follows another ends the wait for it."""
    calls = ToolCalls(0, lambda: "new")
    assert calls.fragment(0, "a", "f", "") == []
    assert summary(calls.fragment(1, "b", "g", "{")) == [(0, "a", "f", ""), (1, "b", "g", "{")]
    assert summary([ToolCallDelta(0, "a", "f"), *calls.fragment(0, None, None, "{}")]) == [(0, "a", "f", "{}")]


@pytest.mark.parametrize("pieces_first", [False, True])
def test_arguments_come_in_one_form(pieces_first: bool) -> None:
    """As text or in pieces at their places; both would be two values."""
    calls = ToolCalls(0, lambda: "made")
    forms: list[tuple[Any, Any]] = [("{}", None), (None, [{"path": "$.a", "value": 1}])]
    first, second = reversed(forms) if pieces_first else forms
    calls.fragment(0, "c", "f", first[0], None, first[1])
    with pytest.raises(BackendError, match="more than one JSON value"):
        calls.fragment(0, None, None, second[0], None, second[1])


def test_the_state_of_a_call_is_sealed_in_its_id() -> None:
    """When it came before the id was told; else it is late."""
    late: list[Any] = []
    calls = ToolCalls(0, lambda: "made", lambda call_id, state: f"{call_id}+{state}", lambda *told: late.append(told))
    [opened, _] = calls.whole({"name": "f", "arguments": {"a": 1}, "state": "s"})
    assert opened.id == "made+s"
    calls.fragment(1, "c", None, None, "early")
    [opened, _] = calls.fragment(1, None, "g", "{}")
    assert opened.id == "c+early"
    calls.fragment(1, None, None, None, "too late")
    assert late == [("c", "too late")]


CUSTOM: dict[str, tuple[list[Fragment], str]] = {
    "text": ([(0, "a", "f", "*** Begin"), (0, None, None, " Patch")], "*** Begin Patch"),
    "nothing": ([(0, "a", "f", None)], ""),
    "what might be JSON": ([(0, "a", "f", '{"a":1}'), (0, None, None, "{} []")], '{"a":1}{} []'),
    "a name that comes late": ([(0, "a", None, "{} {}"), (0, None, "f", "!")], "{} {}!"),
    "a name with every piece": ([(0, "a", "f", "{}"), (0, "a", "f", " x")], "{} x"),
}


@pytest.mark.parametrize(("fragments", "text"), CUSTOM.values(), ids=CUSTOM)
def test_custom_tools_take_text(fragments: list[Fragment], text: str) -> None:
    """As it comes, be it JSON or nothing at all."""
    calls = ToolCalls(0, str, custom={"f"})
    deltas = [delta for fragment in fragments for delta in calls.fragment(*fragment)] + calls.close()
    assert summary(deltas) == [(0, "a", "f", text)]
    assert all(delta.custom for delta in deltas)


def test_functions_beside_custom_tools_take_json() -> None:
    """An empty object where they take nothing; two values are a fault."""
    calls = ToolCalls(0, str, custom={"f"})
    deltas = [*calls.fragment(0, "a", "g", None), *calls.close()]
    assert (summary(deltas), deltas[0].custom) == ([(0, "a", "g", "{}")], False)
    with pytest.raises(BackendError):
        calls.fragment(1, "b", "h", "{} {}")


@pytest.mark.parametrize(
    "call",
    [
        {"id": "a", "type": "custom", "custom": {"name": "f", "input": "x y"}},
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "x y"}},
        {"id": "a", "name": "f", "input": "x y"},
    ],
)
def test_whole_calls_of_custom_tools(call: dict[str, Any]) -> None:
    """Whatever the backend has for them."""
    calls = ToolCalls(0, str, custom={"f"})
    deltas = calls.whole(call) + calls.close()
    assert (summary(deltas), deltas[0].custom) == ([(0, "a", "f", "x y")], True)


def test_a_custom_call_that_nobody_declared_loses_nothing() -> None:
    """Its text is what its arguments are."""
    calls = ToolCalls(0, str)
    assert summary(calls.whole({"id": "a", "custom": {"name": "f", "input": "x"}})) == [(0, "a", "f", "x")]


def test_one_call_is_all_that_is_told() -> None:
    """Of the others neither text nor state, nor that they have no name."""
    late: list[Any] = []
    calls = ToolCalls(0, str, late=lambda *told: late.append(told), single=True)
    deltas = [
        *calls.fragment(0, "a", "f", "1"),
        *calls.fragment(1, "b", "g", "2", "state"),
        *calls.fragment(2, "c", None, "3"),
        *calls.fragment(0, None, None, "4"),
    ]
    assert calls.unwanted
    assert not calls.nameless
    assert summary(deltas + calls.close()) == [(0, "a", "f", "14")]
    assert late == []


def test_a_first_call_without_a_name_is_missed() -> None:
    """Also where no other is wanted."""
    calls = ToolCalls(0, str, single=True)
    calls.fragment(0, "a", None, "1")
    assert calls.nameless
    assert not calls.unwanted
