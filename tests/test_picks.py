"""A selector entry picks from a frame: by JMESPath, by Jinja, by the first that is there, or as a constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import load_document
from oaiproxy.framing import Frame
from oaiproxy.picks import FRAME_SHAPES, Envelope, Pick, compile_condition, compile_pick
from oaiproxy.source import Source
from oaiproxy.templates import Compilation

BODY = {"a": {"b": "deep"}, "n": 5, "z": 0, "empty": "", "no": None, "status": "theirs"}


def compiled(entry: str) -> tuple[Pick, list[Diagnostic]]:
    document, findings = load_document(f"pick: {entry}\n", file="t.yaml", environment={}, read_file=lambda name: "")
    assert document is not None, findings
    compilation = Compilation(FRAME_SHAPES)
    return compile_pick(Source(document, (), document.data)["pick"], compilation), compilation.findings


def pick(entry: str, body: Any = BODY, envelope: Envelope | None = None) -> Any:
    found, findings = compiled(entry)
    assert not findings
    return found(body, envelope or Envelope())


PICKS: dict[str, tuple[str, Any]] = {
    "a path": ("a.b", "deep"),
    "a miss": ("a.c.d", None),
    "a Jinja expression": ("'{{ a.b | upper }}'", "DEEP"),
    "Jinja gives native values": ("'{{ n + 1 }}'", 6),
    "Jinja decides": ("\"{{ 'many' if n > 3 }}\"", "many"),
    "Jinja that finds nothing": ("'{{ nowhere.at.all }}'", None),
    "Jinja that fails": ("'{{ a + n }}'", None),
    "Jinja text": ("'<{{ n }}>'", "<5>"),
    "Jinja text of nothing": ("'<{{ nowhere }}>'", None),
    "Jinja sees the whole body": ("'{{ body.n }}'", 5),
    "a key called as the envelope's": ("status", "theirs"),
    "the first that says something": ("[no, a.c, a.b, n]", "deep"),
    "what is empty says nothing": ("[no, empty, a.b]", "deep"),
    "what is empty, where nothing says more": ("[no, empty, a.c]", ""),
    "the first that is empty": ("[no, '`false`', '`[]`']", False),
    "0 says something": ("[no, '`0`', n]", 0),
    "none of them": ("[no, a.c]", None),
    "Jinja among them": ("[no, '{{ n }}']", 5),
    "a number": ("7", 7),
    "a boolean": ("true", True),
}


@pytest.mark.parametrize(("entry", "value"), PICKS.values(), ids=PICKS)
def test_what_is_picked(entry: str, value: Any) -> None:
    """Each kind of entry finds its value; what is not there is None."""
    found = pick(entry)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("body", [None, "text", 5, [1], True])
def test_a_body_that_is_no_object_has_no_keys(body: Any) -> None:
    """Both languages find nothing in it, and the body itself."""
    assert pick("a", body) is None
    assert pick("'{{ a }}'", body) is None
    assert pick("'@'", body) == body
    assert pick("'{{ body }}'", body) == body


def test_the_envelope_is_at_hand() -> None:
    """Status, headers, event, id, other fields and raw bytes, to both languages."""
    envelope = Envelope(503, {"x-kind": "odd"}, created={"id": "j1"})
    envelope.frame = Frame(b"{}", event="ping", id="7", fields={"meta": "m"})
    values = {
        "status()": 503,
        "header('x-kind')": "odd",
        "event()": "ping",
        "id()": "7",
        "field('meta')": "m",
        "raw()": "{}",
        "'{{ status }}'": 503,
        "'{{ headers[\"x-kind\"] }}'": "odd",
        "'{{ event }}'": "ping",
        "'{{ created.id }}'": "j1",
    }
    assert {entry: pick(f'"{entry}"' if "{" not in entry else entry, {}, envelope) for entry in values} == values


def test_a_frames_own_headers_stand_over_the_replys() -> None:
    """Binary framings send headers with each frame."""
    envelope = Envelope(200, {"a": "reply"})
    assert envelope.headers == {"a": "reply"}
    envelope.frame = Frame(b"", headers={"a": "frame"})
    assert envelope.headers == {"a": "frame"}


WRONG = {
    "a.[b": "E301",
    "a..b": "E301",
    "nofunction(a)": "E302",
    "'{{ a. }}'": "E201",
    "'{{ a | nofilter }}'": "E202",
}


@pytest.mark.parametrize(("entry", "code"), WRONG.items())
def test_mistakes_are_found_with_their_place(entry: str, code: str) -> None:
    """A broken selector is a finding on its line, and picks nothing."""
    found, findings = compiled(entry)
    assert [finding.code for finding in findings] == [code]
    assert findings[0].span is not None
    assert findings[0].span.line == 1
    assert found(BODY, Envelope()) is None


def test_a_footgun_is_a_warning() -> None:
    """`true` without back-ticks is a field; the selector still works."""
    _, findings = compiled("done == true")
    assert [finding.code for finding in findings] == ["W301"]


def condition(text: str, body: Any = BODY, envelope: Envelope | None = None) -> bool:
    """Whether a condition holds."""
    document, _ = load_document(f"when: {text}\n", file="m.yaml", environment={}, read_file=str)
    assert document is not None
    compilation = Compilation(FRAME_SHAPES)
    holds = compile_condition(Source(document, ("when",), document.data["when"]), compilation)
    assert compilation.findings == []
    return bool(holds(body, envelope or Envelope(529, {"x-kind": "busy"})))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("status == 529", True),
        ("status == 500", False),
        ("headers['x-kind'] == 'busy' and event == ''", True),
        ("body is mapping", True),
        ("nowhere", False),
        ("nowhere.at.all == 1", False),
        ("nowhere < 3", False),
        ("'a' in nowhere", False),
        ("body < 3", False),
        ("true", True),
        ("false", False),
        ("not status == 500 and (event or code is not defined)", True),
    ],
)
def test_a_condition_on_a_failure(text: str, held: bool) -> None:
    """What cannot be evaluated does not hold."""
    assert condition(f'"{text}"') is held


def test_an_envelope_with_another_status() -> None:
    """All else is the same."""
    envelope = Envelope(200, {"a": "b"}, {"id": 1}, now=5.0)
    envelope.frame = Frame(b"x", "delta")
    other = envelope.with_status(400)
    assert (other.status, other.headers, other.created, other.now, other.frame) == (
        400,
        {"a": "b"},
        {"id": 1},
        5.0,
        envelope.frame,
    )
    assert envelope.status == 200


CARETS = {
    "a.b.[c": "a.b.[c^",
    "a.": "a.^",
    "a[0": "a[0^",
    "a[?b": "a[?b^",
    "length(a,": "length(a,^",
    "a.{b": "a.{b^",
    "a ||": "a ||^",
    "a = b": "a ^= b",
    "a b": "a ^b",
    "a.b]": "a.b^]",
    "a[-]": "a[^-]",
    "a.'bc": "a.^'bc",
    "a.`bc": "a.^`bc",
    'a."bc': 'a.^"bc',
    "a[::0]": "a^[::0]",
    "a | nolen(b)": "a | ^nolen(b)",
    "a | length()": "a | ^length()",
    "a | &b": "a | ^&b",
}
"""Selectors that are wrong, and where their reader has to look: behind the end for what is missing."""
STYLES = {
    "plain": ("pick: {}\n", lambda text: text),
    "single": ("pick: '{}'\n", lambda text: text.replace("'", "''")),
    "double": ('pick: "{}"\n', lambda text: text.replace('"', '\\"')),
    "literal": ("pick: |\n  {}\n", lambda text: text),
    "folded": ("pick: >-\n  {}\n", lambda text: text),
}


@pytest.mark.parametrize(("style", "write"), STYLES.values(), ids=STYLES)
@pytest.mark.parametrize(("source", "marked"), CARETS.items(), ids=CARETS)
def test_a_mistake_in_a_path_is_marked_at_its_character(
    source: str, marked: str, style: str, write: Callable[[str], str]
) -> None:
    """However the text is written."""
    text = style.format(write(source))
    document, findings = load_document(text, file="t.yaml", environment={}, read_file=lambda name: "")
    assert document is not None, findings
    compilation = Compilation(FRAME_SHAPES)
    compile_pick(Source(document, (), document.data)["pick"], compilation)
    (found,) = compilation.findings
    assert found.span is not None
    before, after = marked.split("^")
    line = style.format(write(before) + "^" + write(after)).split("\n")[found.span.line - 1]
    assert found.span.column == line.index("^") + 1
