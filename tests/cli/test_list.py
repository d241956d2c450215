"""Promises of `oaiproxy list`: the mappings that there are, with or without a configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from oaiproxy.bundled import base_path, shipped_mappings
from oaiproxy.cli import main
from oaiproxy.loader import Loader
from oaiproxy.variables import variables


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_configuration_those_that_ship(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sorted and aligned, each with its line and its variables."""
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    head, *lines = out.splitlines()
    assert head == "Shipped:"
    assert [line.split()[0] for line in lines] == shipped_mappings() == sorted(shipped_mappings())
    (line,) = (line for line in lines if line.startswith("  example "))
    assert line.endswith("YOUR_API_BASE_URL, YOUR_API_KEY")
    assert "The example API" in line
    assert {lines[0].index("Anthropic's"), line.index("The example")} == {line.index("The example")}


def test_those_of_the_configuration_come_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With their files and models, also when another file is named."""
    (here / "other.yaml").write_text("mappings: [mine.yaml, example]\n")
    (here / "mine.yaml").write_text("extends: cohere\nmodels: [small, large]\n")
    assert main(["list", "--config", "other.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "In other.yaml:"
    assert lines[1].split() == ["mine", "mine.yaml", "small,", "large"]
    assert lines[2].split()[0] == "example"
    assert lines[3:5] == ["", "Shipped:"]


def test_as_data(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """For scripts; names of variables, never what they hold."""
    monkeypatch.setenv("MY_KEY", "sk-secret")
    (here / "config.yaml").write_text("mappings: [mine.yaml]\n")
    (here / "mine.yaml").write_text("extends: gemini\nbackend: {auth: {bearer: '${MY_KEY}'}}\n")
    assert main(["list", "--format", "json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert "sk-secret" not in out
    assert found["configuration"] == "config.yaml"
    assert found["configured"][0]["models"][0].startswith("gemini-")
    assert {"name": "MY_KEY", "required": True} in found["configured"][0]["environment"]
    shipped = {each["mapping"]: each for each in found["shipped"]}
    assert shipped.keys() == set(shipped_mappings())
    assert shipped["ollama"]["lists_models"] is True
    assert Path(shipped["ollama"]["file"]) == ROOT / "mappings/ollama.yaml"


def test_a_mapping_that_is_not_usable_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what says more; the others are still listed."""
    (here / "config.yaml").write_text("mappings: [mine.yaml, example]\n")
    (here / "mine.yaml").write_text("oaiproxy: 2\n")
    assert main(["list"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == ["mine", "mine.yaml", "not", "usable"]
    assert "your-model" in out
    assert err == "oaiproxy: `mine.yaml` is not usable; `oaiproxy check mine.yaml` says why\n"


def test_a_broken_configuration_is_reported(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its place."""
    (here / "config.yaml").write_text("mapings: [example]\n")
    assert main(["list"]) == 1
    assert "config.yaml:1:1" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_is_wrong_use(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When it was named."""
    assert main(["list", "--config", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "oaiproxy: `nowhere.yaml` cannot be read: No such file or directory\n"


@pytest.mark.parametrize("name", shipped_mappings())
def test_the_head_of_a_shipped_mapping_tells_all(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is listed without its examples is what the whole file says."""
    assert main(["list", "--format", "json"]) == 0
    (listed,) = (each for each in json.loads(capsys.readouterr().out)["shipped"] if each["mapping"] == name)
    document = Loader({}).document(base_path(name, Path()))
    assert listed["environment"] == [{"name": each.name, "required": each.required} for each in variables(document)]
    assert listed["models"] == list(document.data.get("models") or ())
    assert listed["description"] == document.data["description"]
    assert list(document.data)[-1] == "examples" or document.extended


def test_nothing_is_compiled_where_there_is_no_configuration(here: Path) -> None:
    """For it takes many times as long to load what does that."""
    program = "import sys; from oaiproxy.cli import main; main(['list']); sys.exit('oaiproxy.check' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
