"""Promises of the whole checker: what comes out for each broken mapping of tests/golden, told in its first lines.

`# expect: error[E203] 17:20 words of the message; fix: words of the label or the help`, one line for each finding;
`# env: NAME=value` sets a variable. There are no other findings than those expected.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import bases_in

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.provisions import provide
from oaiproxy.reporters import REPORTERS

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
BASES = bases_in(ROOT / "tests/golden/bases")
FILES = sorted((ROOT / "tests/golden").glob("*.yaml"))
EXPECTED = re.compile(r"# expect: (\w+\[\w+\]) (\d+):(\d+) (.+?); fix: (.+)")
ENVIRONMENT = re.compile(r"# env: (\w+)=(.*)")


def read_file(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory")


def environment(text: str) -> dict[str, str]:
    return dict(found.groups() for line in text.split("\n") if (found := ENVIRONMENT.fullmatch(line)))


def expected(text: str) -> list[tuple[Any, ...]]:
    found = []
    for line in text.split("\n"):
        if line.startswith("# expect"):
            each = EXPECTED.fullmatch(line)
            assert each, f"an expectation demands a code, a place, a message and a fix: {line}"
            found.append(each.groups())
    return found


def checked(path: Path) -> tuple[Diagnostic, ...]:
    text = path.read_text()
    surroundings = Surroundings(SCHEMA, environment(text), read_file, BASES, provide=provide)
    return check_mapping(text, path.name, surroundings).diagnostics


def place(found: Diagnostic) -> tuple[str, str, str]:
    assert found.span is not None, found
    return f"{found.severity}[{found.code}]", str(found.span.line), str(found.span.column)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_expected_comes_out_and_nothing_else(path: Path) -> None:
    """Code, place, message and fix of every finding, in the order of the file."""
    text = path.read_text()
    diagnostics, wanted = checked(path), expected(text)
    assert wanted
    report = REPORTERS["text"](diagnostics, {path.name: text}, False)
    assert [place(found) for found in diagnostics] == [each[:3] for each in wanted], report
    for found, (_, _, _, message, fix) in zip(diagnostics, wanted, strict=True):
        assert message in found.message, report
        assert fix in f"{found.label}\n{found.help}", report


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_finding_has_a_place_and_a_fix(path: Path) -> None:
    """A finding without them leaves its reader to guess."""
    lines = path.read_text().split("\n")
    for found in checked(path):
        assert found.span is not None
        assert found.span.file == path.name
        assert 1 <= found.span.line <= len(lines)
        assert 1 <= found.span.column <= len(lines[found.span.line - 1]) + 1
        assert found.label or found.help, found
        assert not found.message.endswith(".") or found.code == "E503", found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_value_of_the_environment_is_told(path: Path) -> None:
    """It may be a secret: the findings name `${...}`."""
    for value in environment(path.read_text()).values():
        assert value not in repr(checked(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_told_twice(path: Path) -> None:
    """One mistake is one finding."""
    places = [(found.code, found.span, found.message) for found in checked(path)]
    assert len(places) == len(set(places))


def test_there_is_a_golden_for_every_stage() -> None:
    """yaml, schema, templates, selectors, probes, examples and environment."""
    stages = {each[0][-4] for path in FILES for each in expected(path.read_text())}
    assert len(FILES) >= 100
    assert stages == set("0123456")
