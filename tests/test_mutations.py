"""Promises of `check` under random mistakes in the shipped mappings: it finds those that matter, in their lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from mutations import LEGAL, MAPPINGS, OUTCOMES, Verdict, subject, table, told, verdicts
from mutators import MUTATORS, Edit, Text, edits, every

SOME = 12
"""Edits of each mapping that every run of the tests makes."""
MANY = 200
"""Edits of each mapping that a run of all tests makes; `python tests/mutations.py` makes 500, of any seed."""
EXAMPLES = 40
ESCAPES = 0.005
"""The part of many edits that may change a mapping unseen: one of them, which an example may yet be added for."""


@pytest.fixture(params=MAPPINGS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def shown(path: Path, made: list[Verdict], *outcomes: str) -> str:
    text = path.read_text()
    return "\n".join(told(path, each, text) for each in made if each.outcome in outcomes)


def test_a_mistake_is_found_in_its_line(path: Path) -> None:
    """Some edits; those that change what the mapping does, and what no example shows, are counted by the next test."""
    assert not shown(path, verdicts(path, SOME, "few"), "wrong line", "traceback")


@pytest.mark.thorough
def test_of_many_mistakes_few_escape(path: Path) -> None:
    """None with a traceback or in a wrong line."""
    made = verdicts(path, MANY, "1")
    counts = Counter(each.outcome for each in made)
    assert not shown(path, made, "wrong line", "traceback")
    assert counts["escaped"] <= ESCAPES * counts.total(), shown(path, made, "escaped")
    assert counts["caught"] > 0.7 * counts.total(), table([(path.stem, counts)])


@pytest.mark.thorough
def test_a_mistake_in_an_example_gives_no_traceback(path: Path) -> None:
    """It may be another example that is right as well."""
    assert not shown(path, verdicts(path, EXAMPLES, "1", examples=True), "traceback")


def test_the_same_seed_makes_the_same_edits() -> None:
    """So that what was found can be found again."""
    text = Text(MAPPINGS[0].read_text())
    assert list(edits(text, 20, "a")) == list(edits(text, 20, "a"))
    assert list(edits(text, 20, "a")) != list(edits(text, 20, "b"))


def test_every_kind_of_edit_is_made() -> None:
    """And each changes the text, in what the file says to the proxy alone."""
    text = Text(MAPPINGS[0].read_text())
    made = list(edits(text, 300, "a"))
    assert len({each.kind for each in made}) == len(set(MUTATORS))
    examples = text.text.index("\nexamples:")
    head = text.text.index("\noaiproxy:")
    assert all(head < each.start <= examples for each in made)
    assert len({each.apply(text.text) for each in made}) == 300


def test_every_key_is_dropped_once() -> None:
    """And every item; all edits differ."""
    text = Text(MAPPINGS[0].read_text())
    made = list(every(text))
    assert len({each.apply(text.text) for each in made}) == len(made)
    dropped = {each.path for each in made if each.kind in ("drop a key", "drop an item")}
    assert dropped == {each.path for each in (*text.entries, *text.items)}
    assert {each.kind for each in made} == {"drop a key", "drop an item", "change a type", "break a sign"}


@pytest.mark.parametrize(
    ("kind", "old", "new", "outcome"),
    [
        ("misspell a name", "path: /v1/messages", "path: /v1/message", "caught"),
        ("change a number", "oaiproxy: 1\n", "oaiproxy:  1\n", "harmless"),
        ("drop an item", ", claude-haiku-5-5", "", "legal"),
        ("misspell a key", "pause_turn: stop", "pause_turm: stop", "harmless"),
        ("misspell a key", "refusal: content_filter", "refusla: content_filter", "caught"),
        ("change a type", "    model: model\n", "    model: 1\n", "caught"),
    ],
)
def test_an_edit_is_judged(kind: str, old: str, new: str, outcome: str) -> None:
    """By what `check` says, then by what the mapping does."""
    judged = subject(next(path for path in MAPPINGS if path.stem == "anthropic"))
    start = judged.text.index(old)
    verdict = judged.judge(Edit(kind, ("models", 2), start, start + len(old), new))
    assert verdict.outcome == outcome, verdict.told


def test_a_finding_may_stand_at_an_alias() -> None:
    """Where what is edited stands by another name, a reader looks there too."""
    judged = subject(next(path for path in MAPPINGS if path.stem == "openai-compatible"))
    old = """"{{ request | strip_keys('modalities', 'stream_options') }}\""""
    start = judged.text.index(old)
    edit = Edit("change a type", ("embeddings", "request", "body", "$merge", 0), start, start + len(old), "{}")
    verdict = judged.judge(edit)
    assert verdict.outcome == "caught", verdict.told


def test_what_is_legal_has_a_reason() -> None:
    """And there are few kinds of it."""
    assert all(LEGAL.values())
    assert len(LEGAL) <= 6
    assert "legal" in OUTCOMES
