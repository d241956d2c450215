"""A mapping by its name: found where it ships, and refused with a reason and an exit code."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

import pytest
from support import ROOT

from oaiproxy.cli import main
from oaiproxy.cli.loading import load_documented, load_shown


def test_a_shipped_mapping_is_found_by_its_name() -> None:
    """With the file that it stands in."""
    loaded = load_shown("example")
    assert not isinstance(loaded, int)
    assert (loaded[0].name, loaded[1].name) == ("example", "example.yaml")


def test_what_cannot_be_had_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 for a broken mapping, 2 for none, with the names of those that ship."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("oaiproxy: 2\n")
    assert load_shown(str(broken)) == 1
    assert "not started" in capsys.readouterr().err
    assert load_documented(str(broken)) == 1
    assert capsys.readouterr().err.endswith(f"oaiproxy: `{broken}` is not usable: 4 errors\n")
    assert load_shown("nowhere") == 2
    assert "shipped mappings: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check -", "describe -", "explain - --example 'a whole answer'"])
def test_a_mapping_can_come_on_standard_input(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sound or broken; findings name it."""
    text = (ROOT / "mappings/example.yaml").read_text()
    example = re.findall(r"- name: (.+)", text)[0]
    arguments = shlex.split(command.replace("a whole answer", example))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(arguments) == 0
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.replace("{{ prompt", "{{ promt").encode())))
    assert main(arguments) == 1
    assert "<stdin>:" in "".join(capsys.readouterr())


def test_nothing_is_recorded_into_standard_input(capsys: pytest.CaptureFixture[str]) -> None:
    """Which cannot be written."""
    assert main(["record", "-"]) == 2
    assert (
        capsys.readouterr().err
        == "oaiproxy: nothing recorded: examples are added to a file, and standard input is none\n"
    )
