"""Promises to tools of others: the hook of pre-commit, and the files that docs/editors.md gives for editors and CI."""

from __future__ import annotations

import json
import re
import shlex
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT

from oaiproxy.cli import main, parser

PAGE = (ROOT / "docs/editors.md").read_text("utf-8")
FILES = dict(re.findall(r"<!-- yaml: (\S+) -->\n```yaml\n(.*?)```", PAGE, re.DOTALL))
WORKFLOWS = [name for name in FILES if name.startswith(".github/")]
EXAMPLE = (ROOT / "mappings/example.yaml").read_text("utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good mapping, where commands run."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings/good.yaml").write_text(EXAMPLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hook() -> dict[str, Any]:
    """The only hook there is."""
    (found,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    return dict(found)


def test_the_hook_is_a_command_that_is_installed(hook: dict[str, Any]) -> None:
    """With the keys that pre-commit asks for: https://pre-commit.com/#new-hooks."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    installed = setup["options.entry_points"]["console_scripts"].split()[0]
    assert hook["entry"].split()[0] == installed
    assert hook["language"] == "python"
    assert {"id", "name", "description"} <= hook.keys()


def test_the_hook_is_for_mappings(hook: dict[str, Any]) -> None:
    """As they ship, and for no other YAML."""
    assert all(re.search(hook["files"], f"mappings/{path.name}") for path in ROOT.glob("mappings/*.yaml"))
    assert re.search(hook["files"], "mappings/mine/one.yml")
    assert not any(re.search(hook["files"], name) for name in ("config.yaml", "tests/mappings/a.yaml", "mappings/a.md"))


def test_the_hook_checks_the_files_that_it_is_given(
    hook: dict[str, Any], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pre-commit runs it: the command, its arguments, the files."""
    command = [*hook["entry"].split()[1:], *hook["args"]]
    (place / "mappings/bad.yaml").write_text(EXAMPLE.replace("{{ prompt }}", "{{ promt }}"))
    assert main([*command, "mappings/good.yaml"]) == 0
    assert main([*command, "mappings/good.yaml", "mappings/bad.yaml"]) == 1
    assert "mappings/bad.yaml:14:" in capsys.readouterr().out


def test_the_docs_use_the_hook(hook: dict[str, Any]) -> None:
    """By its name."""
    (repository,) = yaml.safe_load(FILES[".pre-commit-config.yaml"])["repos"]
    assert [each["id"] for each in repository["hooks"]] == [hook["id"]]
    assert {"repo", "rev"} <= repository.keys()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_commands_of_a_workflow_run(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of oaiproxy's own, on a good mapping."""
    steps = yaml.safe_load(FILES[name])["jobs"]["check"]["steps"]
    lines = [step["run"] for step in steps if step.get("run", "").startswith("oaiproxy ")]
    assert lines
    for line in lines:
        command, _, file = line.removeprefix("oaiproxy ").partition(" > ")
        form = shlex.split(command)[shlex.split(command).index("--format") + 1]
        if not knows(form):
            pytest.skip(f"`check` has no `--format {form}`")
        assert main(shlex.split(command)) == 0
        out = capsys.readouterr().out
        if file:
            assert json.loads(out)["runs"]
            assert [step["with"]["sarif_file"] for step in steps if "sarif" in step.get("uses", "")] == [file]


def knows(form: str) -> bool:
    """Whether `check` reports in this form."""
    try:
        parser().parse_args(["check", "--format", form])
    except SystemExit:
        return False
    return True


def test_the_settings_name_the_schemas_that_are_written() -> None:
    """Those of the commands above them."""
    (text,) = re.findall(r"<!-- settings -->\n```json\n(.*?)```", PAGE, re.DOTALL)
    written = re.findall(r"--output (\S+)", PAGE)
    assert {name.removeprefix("./") for name in json.loads(text)["yaml.schemas"]} < set(written)


def test_the_first_lines_name_the_schemas_that_are_written() -> None:
    """Each beside the file."""
    named = set(re.findall(r"`# yaml-language-server: \$schema=(\S+)`", PAGE))
    assert named == {Path(name).name for name in re.findall(r"--output (\S+)", PAGE)}
