"""Promises of the shipped mappings: each is valid, its examples pass, and an editor finds its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oaiproxy.check import Checked, Surroundings, check_mapping
from oaiproxy.reporters import REPORTERS

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
MAPPINGS = sorted((ROOT / "mappings").glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema=../schemas/mapping.schema.json"


def checked(path: Path) -> Checked:
    def read_file(name: str) -> str:
        return (path.parent / name).read_bytes().decode("utf-8", "surrogateescape")

    return check_mapping(path.read_text(), path.name, Surroundings(SCHEMA, {}, read_file), environment=False)


@pytest.fixture(params=MAPPINGS, ids=lambda path: path.stem)
def path(request: Any) -> Path:
    found: Path = request.param
    return found


def test_it_is_valid_and_its_examples_pass(path: Path) -> None:
    """Not even a warning, whatever the environment."""
    result = checked(path)
    assert not result.diagnostics, REPORTERS["text"](result.diagnostics, {path.name: path.read_text()}, False)
    assert result.mapping is not None


def test_it_has_examples_of_every_way_to_ask(path: Path) -> None:
    """Whole and streamed, as far as the mapping has them, and a failure."""
    mapping = checked(path).mapping
    assert mapping is not None
    asked = {(example.endpoint, example.request.get("stream") is True) for example in mapping.examples}
    for name, endpoint in mapping.endpoints.items():
        assert not endpoint.whole or (name, False) in asked
        assert not endpoint.stream or (name, True) in asked
    assert any(example.backend.get("status", 200) >= 400 for example in mapping.examples)
    assert all(example.name for example in mapping.examples)


def test_its_first_line_names_the_schema(path: Path) -> None:
    """The modeline of yaml-language-server, with a path that is there."""
    first = path.read_text().split("\n")[0]
    assert first == MODELINE
    assert (path.parent / first.partition("=")[2]).is_file()


def test_its_text_is_tidy(path: Path) -> None:
    """No tabs, no blanks at line ends, one line break at the end, lines that fit but for what is shown of the wire."""
    text = path.read_text()
    assert "\t" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    for line in text.split("\n"):
        assert line == line.rstrip()
        assert len(line) <= 120 or line.lstrip().startswith(("data:", '{"'))
