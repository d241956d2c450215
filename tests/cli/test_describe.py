"""Promises of `oaiproxy describe`: what becomes of each field, before a client finds out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import ROOT

from oaiproxy.cli import main

EXAMPLE = (ROOT / "mappings/example.yaml").read_text()


def test_a_table_for_each_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that fit a terminal, with no key and no address needed."""
    assert main(["describe", "example"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("chat\n  used      max_completion_tokens, max_tokens, temperature\n  emulated  ")
    assert "\ncompletions\n" in out
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""


def test_the_table_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts; one of the models may be named."""
    assert main(["describe", "example", "--model", "your-model", "--format", "json"]) == 0
    assert "tools" in json.loads(capsys.readouterr().out)["chat"]["refused"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "`nothing` cannot be read: "),
        (["example", "--model", "x"], "`example` has no model `x`; it has: "),
    ],
    ids=["mapping", "model"],
)
def test_what_is_not_there_is_wrong_use(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert main(["describe", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"oaiproxy: {words}")


def test_a_broken_mapping_is_refused_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `mock` does."""
    path = tmp_path / "my.yaml"
    path.write_text(EXAMPLE.replace("{{ prompt }}", "{{ promt }}"))
    assert main(["describe", str(path)]) == 1
    assert f"{path}:14:" in capsys.readouterr().err
