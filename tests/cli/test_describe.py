"""Promises of `oaiproxy describe`: what clients can expect of a mapping, before one finds out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import ROOT

from oaiproxy.cli import main

EXAMPLE = (ROOT / "mappings/example.yaml").read_text()


def test_a_table_of_the_mapping_and_of_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that fit a terminal, with no key and no address needed."""
    assert main(["describe", "example"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mapping         example: The example API, ")
    assert "\nstreaming       native, json-concat\n" in out
    assert "\n\nchat\n  used      max_completion_tokens, max_tokens, temperature\n  emulated  " in out
    assert "\ncompletions\n" in out
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""


def test_the_table_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts; one of the models may be named."""
    assert main(["describe", "example", "--model", "your-model", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["mappings"]
    assert found["model"] == "your-model"
    assert "tools" in found["features"]["chat"]["refused"]


def test_the_table_for_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    """In Markdown."""
    assert main(["describe", "example", "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("| | `example` |\n| --- | --- |\n")
    assert "| auth | bearer |" in out


@pytest.mark.parametrize(("form", "start"), [("text", "mapping"), ("markdown", "| Mapping |")])
def test_several_are_compared(form: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row each, in the order given."""
    assert main(["describe", "gemini", "example", "--format", form]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(start)
    assert ["gemini" in lines[-2], "example" in lines[-1]] == [True, True]


def test_several_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    """In one list."""
    assert main(["describe", "gemini", "example", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["mappings"]
    assert [each["mapping"] for each in found] == ["gemini", "example"]


def test_a_secret_of_the_environment_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where requests really go."""
    monkeypatch.setenv("YOUR_API_KEY", "sk-secret")
    monkeypatch.setenv("YOUR_API_BASE_URL", "https://inside.example.com")
    for form in ("text", "json", "markdown"):
        assert main(["describe", "example", "--format", form]) == 0
        out = capsys.readouterr().out
        assert "YOUR_API_KEY" in out
        assert "sk-secret" not in out
        assert "inside.example.com" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "`nothing` cannot be read: "),
        (["example", "--model", "x"], "`example` has no model `x`; it has: "),
        (["example", "nothing"], "`nothing` cannot be read: "),
    ],
    ids=["mapping", "model", "second"],
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
