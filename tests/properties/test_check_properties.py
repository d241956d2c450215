"""Promises of `oaiproxy.check` for any edit of a mapping: findings with a place and a fix, never an exception."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from oaiproxy.check import Surroundings, check_mapping

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
EVERYTHING = (ROOT / "tests/everything.yaml").read_text().split("\n---\n")
TEXTS = [(ROOT / "mappings/example.yaml").read_text(), *EVERYTHING]
VALUES = [
    *("1", "~", "[]", "{}", "true", "1.5", "[1, 2]", "{a: b}", "text", "-1", "99999999999999999999", "${X}", "'${X'"),
    *("'{{ prompt }}'", "'{{'", '"{% if x %}"', "'{{ 1/0 }}'", "'{{ range(10**9) }}'", "'{{ messages ~ system }}'"),
    *("{$for: x in messages}", "[{$for: messages}]", "{$match: model}", "'a[?'", "'length(@)'", "'a.b.'"),
]
SIGNS = "{}[]:,'\"|-#&*!%@ \tax$0~é\u2028\x00"


@st.composite
def edited(draw: st.DrawFn) -> str:
    """A mapping with one line gone, doubled, moved, given another value, or with a sign put into it."""
    lines = draw(st.sampled_from(TEXTS)).split("\n")
    at = draw(st.integers(0, len(lines) - 1))
    line = lines[at]
    middle = draw(st.integers(0, len(line)))
    lines[at : at + 1] = draw(
        st.sampled_from([[], [line, line], [line[:middle]], [line[:middle] + line[middle + 1 :]]])
        | st.integers(0, 8).map(lambda indent: [" " * indent + line.lstrip()])
        | st.sampled_from(VALUES).map(lambda value: [line.partition(":")[0] + ": " + value])
        | st.sampled_from(SIGNS).map(lambda sign: [line[:middle] + sign + line[middle:]])
    )
    return "\n".join(lines)


@settings(max_examples=100, deadline=None)
@given(text=edited())
def test_any_edit_gives_a_mapping_or_findings(text: str) -> None:
    """Every finding is inside the file, and says what to do."""
    result = check_mapping(text, "m.yaml", Surroundings(SCHEMA, {}, lambda path: '{"out": "a"}'))
    assert (result.mapping is None) == any(found.severity == "error" for found in result.diagnostics)
    for found in result.diagnostics:
        assert found.span is not None
        assert 1 <= found.span.line <= text.count("\n") + text.count("\r") + 1
        assert found.label or found.help, found
    assert len(set(result.diagnostics)) == len(result.diagnostics)
