"""Promises of completion: real shells complete commands, options, values and files with the scripts made for them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from oaiproxy.bundled import shipped_mappings
from oaiproxy.catalog import CATALOG
from oaiproxy.cli import COMMANDS, parser
from oaiproxy.cli.completion import commands_of
from oaiproxy.cli.shells import SHELLS, Command, Option, Values

MAPPINGS = set(shipped_mappings())
YAML = {"a.yaml", "b c.yml", "sub"}
"""The files and folders there that a mapping can be in."""
CASES = {
    "oaiproxy ": set(COMMANDS),
    "oaiproxy he": {"healthcheck"},
    "oaiproxy --v": {"--version"},
    "oaiproxy check --no": {"--no-env"},
    "oaiproxy check ": MAPPINGS | YAML,
    "oaiproxy check example ": MAPPINGS | YAML,
    "oaiproxy check a": {"a.yaml"} | {name for name in MAPPINGS if name.startswith("a")},
    "oaiproxy describe --format ": {"text", "json", "markdown"},
    "oaiproxy describe --format=m": {"markdown"},
    "oaiproxy describe --format json ex": {"example"},
    "oaiproxy describe --format=json --model x ex": {"example"},
    "oaiproxy describe --model ": set(),
    "oaiproxy schema ": {"mapping", "extension", "config", "explain"},
    "oaiproxy schema --output d": {"d.txt"},
    "oaiproxy schema config ": set(),
    "oaiproxy serve --config ": YAML,
    "oaiproxy serve --port ": set(),
    "oaiproxy completion ": set(SHELLS),
    "oaiproxy init --curl d": {"d.txt"},
    "oaiproxy init --output d": {"d.txt"},
    "oaiproxy init -o d": {"d.txt"},
    "oaiproxy init --prompt ": set(),
    "oaiproxy init --from-o": {"--from-openapi"},
    "oaiproxy explain ex": {"example"},
    "oaiproxy explain example --reply d": {"d.txt"},
    "oaiproxy explain example --endpoint com": {"completions"},
    "oaiproxy explain example --status ": set(),
    "oaiproxy explain --header ": set(),
    "oaiproxy record a": {"a.yaml"} | {name for name in MAPPINGS if name.startswith("a")},
    "oaiproxy record --request d": {"d.txt"},
    "oaiproxy record --message ": set(),
    "oaiproxy record --endpoint=re": {"rerank"},
    "oaiproxy check --format s": {"sarif"},
    "oaiproxy check --explain E20": {code for code in CATALOG if code.startswith("E20")},
    "oaiproxy mock exa": {"example"},
    "oaiproxy list --format ": {"text", "json"},
    "oaiproxy healthcheck --url ": set(),
}
ASK = """
source {script}
COMP_WORDS=({words}) COMP_CWORD={index}
_oaiproxy
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the files of `CASES`, and the three scripts beside it."""
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.yaml", "b c.yml", "d.txt"):
        (folder / name).touch()
    for name, make in SHELLS.items():
        (tmp_path / name).write_text(make(commands_of(parser())))
    return folder


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine")
    return path


def said(*command: str, cwd: Path) -> set[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return {line for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize("line", CASES)
def test_bash_completes(line: str, place: Path) -> None:
    """What is offered for the last word, which bash has cut at `=`."""
    words = [part for word in line.split(" ") for part in word.replace("=", " = ").split(" ")]
    asked = ASK.format(script=place.parent / "bash", words=shlex.join(words), index=len(words) - 1)
    assert said(shell("bash"), "--norc", "-c", asked, cwd=place) == CASES[line]


@pytest.mark.parametrize("line", CASES)
def test_fish_completes(line: str, place: Path) -> None:
    """Fish also says what each is, and lists other files behind those with the ending."""
    asked = f"source {place.parent / 'fish'}; complete -C {shlex.quote(line)}"
    found = {each.partition("\t")[0].rstrip("/") for each in said(shell("fish"), "-N", "-c", asked, cwd=place)}
    head = line.rpartition(" ")[2].rpartition("=")
    wanted = {f"{head[0]}{head[1]}{each}" for each in CASES[line]}
    assert wanted <= found
    assert found - wanted <= {"d.txt", "mapping", "extension", "config", "explain"}


@pytest.mark.parametrize("name", SHELLS)
def test_each_script_is_one_of_its_shell(name: str, place: Path) -> None:
    """It is read without an error."""
    assert said(shell(name), "-n", str(place.parent / name), cwd=place) == set()


@pytest.mark.parametrize("make", SHELLS.values(), ids=SHELLS)
def test_every_command_and_option_is_in_each_script(make: Callable[[list[Command]], str]) -> None:
    """By its names."""
    commands = commands_of(parser())
    script = make(commands)
    for command in commands:
        assert command.name in script
        for option in command.options:
            for name in option.names:
                assert name in script or f"-l {name[2:]} " in script or f"-s {name[1:]} " in script


def test_help_with_marks_of_the_shells_is_only_text(tmp_path: Path) -> None:
    """Quotes, brackets, colons and substitutions."""
    told = 'it\'s [a]: $(touch here) `touch here` \\ "b"'
    command = Command("do", told, (Option(("--as",), told, Values(words=("x", "y"))),), (Values(files="any"),))
    for name, make in SHELLS.items():
        script = tmp_path / name
        script.write_text(make([Command("", "", (), ()), command]))
        if path := shutil.which(name):
            said(path, "-n", str(script), cwd=tmp_path)
            if name == "bash":
                said(path, "--norc", "-c", f"source {script}", cwd=tmp_path)
    assert not (tmp_path / "here").exists()
