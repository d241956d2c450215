"""Promises of `python -m oaiproxy`: the same command as the installed one."""

from __future__ import annotations

import pytest
from commands import run

import oaiproxy


def test_it_is_the_command() -> None:
    """By its name."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"oaiproxy {oaiproxy.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [([], "usage: oaiproxy "), (["srve"], "oaiproxy: there is no command `srve`; did you mean `serve`?")],
    ids=["no command", "unknown command"],
)
def test_wrong_use_is_exit_code_2(arguments: list[str], told: str) -> None:
    """The code comes through."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)
