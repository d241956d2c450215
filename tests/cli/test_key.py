"""Promises of `oaiproxy key`: a key that nobody guesses, shown once, and lines that let it in."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from commands import OAIPROXY, environment, run

from oaiproxy.cli import main
from oaiproxy.config import read_config


def test_the_lines_let_the_key_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As they are printed, below any configuration."""
    assert main(["key", "my-app"]) == 0
    printed, told = capsys.readouterr()
    shown = told.split()[-1]
    assert shown not in printed
    assert shown.startswith("sk-oaiproxy-")
    assert len(shown) == len("sk-oaiproxy-") + 43
    (tmp_path / "config.yaml").write_text(f"mappings: [example]\n{printed}")
    (key,) = read_config(tmp_path / "config.yaml", {}, host=None, port=None).keys
    assert (key.name, key.sha256) == ("my-app", sha256(shown.encode()).hexdigest())


@pytest.mark.parametrize(
    "name",
    [
        *(
            "123",
            "true",
            "No",
            "null",
            "1e5",
            "1e3",
            "0x1f",
            "0x1F",
            "@bob",
            "@home",
            ".inf",
            "2026-11-23",
            "2026-01-01",
        ),
        *("a.b@c-d", "on", "y", "-", "--", "."),
    ],
)
def test_any_name_is_one_in_the_configuration(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Though YAML would read it otherwise, as a number or a list."""
    assert main(["key", "--", name]) == 0
    (tmp_path / "config.yaml").write_text(f"mappings: [example]\n{capsys.readouterr().out}")
    (key,) = read_config(tmp_path / "config.yaml", {}, host=None, port=None).keys
    assert key.name == name


def test_each_key_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    """And its name is one that the configuration takes."""
    for _ in range(20):
        main(["key"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "sha256" in line]
    assert len(set(lines)) == 20


def test_a_key_that_is_given_is_hashed_and_not_shown() -> None:
    """It comes by standard input, where no list of processes shows it."""
    given = "sk-0123456789-canary"
    done = subprocess.run(
        [*OAIPROXY, "key", "--stdin"], input=f"{given}\n", capture_output=True, text=True, env=environment(), check=True
    )
    assert yaml.safe_load(done.stdout) == {"keys": [{"name": "app", "sha256": sha256(given.encode()).hexdigest()}]}
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "given", [b"", b"short\n", b"two words of a key here\n", b"sk-0123456789\nsk-0123456789", b"\xff" * 20]
)
def test_what_is_no_key_is_not_hashed(given: bytes) -> None:
    """Exit code 2, and it is not shown."""
    done = subprocess.run(
        [sys.executable, "-m", "oaiproxy", "key", "--stdin"],
        input=given,
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"oaiproxy: standard input holds no key")


def test_a_name_that_the_configuration_would_refuse_is_refused() -> None:
    """And not repeated: it may be a key."""
    done = run("key", "sk canary")
    assert done.returncode == 2
    assert "canary" not in done.stderr
