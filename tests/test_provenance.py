"""Promises of provenance: each value of a tree knows its place and what it read; nothing of that is sent."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.document import load_document
from oaiproxy.provenance import Trace
from oaiproxy.scopes import ABSENT, Scope
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import compile_tree

SHAPES: dict[str, Any] = {
    "messages": [{"role": "text", "text": "text"}],
    "tools": [{"name": "text"}],
    "user": "text",
    "request": None,
}
DATA = {
    "messages": [{"role": "system", "text": "s"}, {"role": "user", "text": "u"}],
    "request": {"a": 1, "b": 2},
}


class Names:
    """The names of a request."""

    def lookup(self, name: str) -> Any:
        """The value."""
        return DATA.get(name, ABSENT)


def rendered(body: str) -> tuple[Any, Trace]:
    """The tree's value, with the trace of it; the same as without one."""
    document, found = load_document(f"body: {body}\n", file="m.yaml", environment={}, read_file=str)
    assert document is not None
    assert found == []
    trace = Trace()
    made = []
    for compilation in (Compilation(SHAPES), Compilation(SHAPES, trace=trace)):
        tree = compile_tree(Source(document, (), document.data)["body"], compilation)
        assert compilation.findings == []
        made.append(tree(Scope(Names())))
    assert made[0] == made[1] or made == [ABSENT, ABSENT]
    return made[1], trace


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        ("{a: 1}", [(("a",), 1, ())]),
        ('{a: "{{ messages[0].role }}"}', [(("a",), "system", ("messages[].role",))]),
        (
            '[{$for: m in messages, t: "{{ m.text }}"}]',
            [((0, "t"), "s", ("messages[0].text",)), ((1, "t"), "u", ("messages[1].text",))],
        ),
        (
            "[{$for: \"m in messages | rejectattr('role', 'eq', 'system')\", t: \"{{ m.text }}\"}]",
            [((0, "t"), "u", ("messages[1].text",))],
        ),
        ('{$merge: ["{{ request }}"], b: 3}', [(("a",), 1, ("request.a",)), (("b",), 3, ())]),
        ('"{{ request }}"', [(("a",), 1, ("request.a",)), (("b",), 2, ("request.b",))]),
        ('{$let: {n: "{{ messages | length }}"}, a: "{{ n }}"}', [(("a",), 2, ("messages",))]),
        ("{$let: {n: {x: 1}}, a: \"{{ n.x }}\"}", [(("a",), 1, ())]),
        ('{$match: "messages[0].role", $cases: {system: {a: 1}, $else: {a: 2}}}', [(("a",), 1, ())]),
        ("{a: {$if: messages, $then: 1, $else: 2}}", [(("a",), 1, ())]),
        ('[{$for: "m in messages[:1]", $items: [1, {$value: 2}]}]', [((0,), 1, ()), ((1,), 2, ())]),
        ("{a: {$keep_empty: true}}", [(("a",), {}, ())]),
    ],
)  # fmt: skip
def test_each_value_has_its_path_and_what_it_read(body: str, pieces: list[Any]) -> None:
    """With the places of items, where they are known."""
    _, trace = rendered(body)
    made, _ = trace.taken()
    assert [(piece.path, piece.value, piece.reads) for piece in made] == pieces
    assert {piece.part for piece in made} == {"body"}


def test_each_value_has_its_place() -> None:
    """The value's own, not that of what holds it."""
    _, trace = rendered('{a: {b: "{{ user }}", c: 1}}')
    pieces, lost = trace.taken()
    assert [(piece.source.span().line, piece.source.span().column) for piece in pieces] == [(1, 32)]
    assert [(each.source.path, each.reads) for each in lost] == [(("body", "a", "b"), ("user",))]


def test_what_makes_nothing_is_noted_once_and_innermost() -> None:
    """A node of which nothing is left says no more than what was to be in it."""
    _, trace = rendered('{a: {b: {c: "{{ user }}"}}, d: {$if: tools, $then: 1}}')
    assert [each.source.path for each in trace.taken()[1]] == [("body", "a", "b", "c"), ("body", "d")]


def test_what_was_taken_is_forgotten() -> None:
    """Each request has its own."""
    _, trace = rendered("{a: 1}")
    trace.taken()
    assert trace.taken() == ([], [])


def test_selectors_tell_what_they_found() -> None:
    """And find it."""
    document, _ = load_document("text: a.b\n", file="m.yaml", environment={}, read_file=str)
    assert document is not None
    source, trace = Source(document, (), document.data)["text"], Trace()
    pick = trace.pick(lambda value, envelope: value["a"], source)
    assert pick({"a": 1}, None) == 1
    assert [(each.source.path, each.value) for each in trace.found()] == [(("text",), 1)]
    assert trace.found() == []
