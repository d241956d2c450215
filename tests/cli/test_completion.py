"""Promises of `oaiproxy completion`: all that the command line knows is there to be completed."""

from __future__ import annotations

import argparse

import pytest

from oaiproxy.bundled import shipped_mappings
from oaiproxy.catalog import CATALOG
from oaiproxy.cli import COMMANDS, main, parser
from oaiproxy.cli.completion import commands_of
from oaiproxy.cli.shells import SHELLS, Values


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else."""
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert out == SHELLS[shell](commands_of(parser()))
    assert err == ""


def test_another_shell_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    with pytest.raises(SystemExit) as caught:
        main(["completion", "csh"])
    assert caught.value.code == 2
    assert "'bash', 'fish', 'zsh'" in capsys.readouterr().err


def test_every_command_is_known_with_what_it_says_of_itself() -> None:
    """The program itself comes first."""
    found = commands_of(parser())
    assert [(each.name, each.told) for each in found] == [("", ""), *COMMANDS.items()]


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ({"dest": "mapping", "metavar": "MAPPING"}, Values(tuple(shipped_mappings()), "yaml")),
        ({"dest": "paths", "metavar": "PATH", "nargs": "*"}, Values(tuple(shipped_mappings()), "yaml", several=True)),
        ({"dest": "--format", "choices": ("a", "b")}, Values(("a", "b"))),
        ({"dest": "code", "metavar": "CODE"}, Values(tuple(CATALOG))),
        ({"dest": "--config", "metavar": "FILE"}, Values(files="yaml")),
        ({"dest": "--request", "metavar": "FILE"}, Values(files="any")),
        ({"dest": "--message", "metavar": "TEXT"}, Values()),
        ({"dest": "--port", "type": int}, Values()),
        ({"dest": "--no-env", "action": "store_true"}, None),
    ],
    ids=lambda value: value["dest"] if isinstance(value, dict) else "",
)
def test_what_is_offered_for_an_argument(argument: dict[str, object], values: Values | None) -> None:
    """By its choices, or by what it is called."""
    made = argparse.ArgumentParser()
    commands = made.add_subparsers()
    command = commands.add_parser("do", help="does it")
    name = argument.pop("dest")
    command.add_argument(name, **argument)
    (_, found) = commands_of(made)
    assert found.told == "does it"
    if str(name).startswith("--"):
        assert found.options[-1].values == values
    else:
        assert found.arguments == (values,)
