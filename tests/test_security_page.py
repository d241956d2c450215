"""docs/security.md: every threat has a row, every test that one names exists, and an audit that fails is a failure."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
ROWS = re.findall(r"^\| T(\d+) \| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
LINK = re.compile(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)")
AUDIT = ROOT / "deploy/audit.sh"


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_threat_has_its_row() -> None:
    """In their order."""
    assert [int(number) for number, *_ in ROWS] == list(range(1, 41))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"T{row[0]}")
def test_what_a_row_names_exists(row: tuple[str, str, str, str]) -> None:
    """Functions in the files, in the files that they are said to be in; or it says why there are none."""
    links = LINK.findall(row[3])
    assert [(name, path) for name, path in links if name not in functions(path)] == []
    assert LINK.sub("", row[3]).strip() == "" or (not links and re.fullmatch(r"No test: .{20,}\.", row[3]))
    assert links or row[2].startswith("not defended")


def test_what_is_not_defended_is_told_below_too() -> None:
    """By its number."""
    _, _, rest = PAGE.partition("## What is not defended")
    assert [number for number, _, _, shown in ROWS if not LINK.search(shown) and f"(T{number})" not in rest] == []


@pytest.mark.parametrize("status", [0, 1, 3])
def test_an_audit_ends_as_pip_audit_does(tmp_path: Path, status: int) -> None:
    """With the options that make what could not be looked up a failure."""
    tool = tmp_path / "pip-audit"
    tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\nexit {status}\n')
    tool.chmod(0o755)
    done = audit(tmp_path, PIP_AUDIT=str(tool))
    assert done.returncode == status
    options = ["--strict", "--require-hashes", "--disable-pip", "--requirement", str(ROOT / "deploy/constraints.txt")]
    assert done.stdout.splitlines() == options


def test_no_audit_is_a_failure(tmp_path: Path) -> None:
    """Where there is no pip-audit."""
    assert audit(tmp_path, PIP_AUDIT=str(tmp_path / "nowhere")).returncode not in (0, 1)


def audit(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it from another folder."""
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, AUDIT], cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False
    )
