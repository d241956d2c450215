"""Promises of `oaiproxy schema`: the schemas that ship, for editors of files anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import ROOT

from oaiproxy.cli import main


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ([], "mapping"),
        (["mapping"], "mapping"),
        (["extension"], "extension"),
        (["config"], "config"),
        (["explain"], "explain"),
    ],
    ids=["none", "mapping", "extension", "config", "explain"],
)
def test_it_is_printed_as_it_ships(arguments: list[str], file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Byte for byte."""
    assert main(["schema", *arguments]) == 0
    assert capsys.readouterr().out == (ROOT / f"schemas/{file}.schema.json").read_text("utf-8")


def test_it_is_written_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is printed."""
    path = tmp_path / "mine.json"
    assert main(["schema", "--output", str(path)]) == 0
    assert path.read_bytes() == (ROOT / "schemas/mapping.schema.json").read_bytes()
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 1."""
    path = tmp_path / "nowhere" / "mine.json"
    assert main(["schema", "--output", str(path)]) == 1
    assert capsys.readouterr().err == f"oaiproxy: `{path}` cannot be written: No such file or directory\n"
