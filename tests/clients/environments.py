"""The clients' own virtual environments, since their pins of `openai` exclude each other, and their node modules."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLACE = ROOT / ".venv-clients"
"""Where they are: not tracked, kept from run to run."""
PATIENCE = 900
"""Seconds after which an installation or a suite is taken to hang."""


@dataclass(frozen=True)
class Counts:
    """How a suite went: how many of its tests passed and were skipped, and what the others say."""

    passed: int
    skipped: int
    failed: tuple[str, ...]
    output: str

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.skipped} skipped, {len(self.failed)} failed"


def environment(name: str) -> Path:
    """The interpreter of the environment that `requirements/<name>.txt` describes, made where it is missing."""
    wanted = (HERE / "requirements" / f"{name}.txt").read_text()
    home = PLACE / name
    python = home / "bin" / "python"
    ready = home / "ready.txt"
    with _lock(name):
        if not ready.exists() or ready.read_text() != wanted or not python.exists():
            shutil.rmtree(home, ignore_errors=True)
            _run(sys.executable, "-m", "venv", "--without-pip", str(home))
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
            _run(*pip, "--disable-pip-version-check", "--requirement", str(HERE / "requirements" / f"{name}.txt"))
            ready.write_text(wanted)
    return python


def node_modules(source: Path = HERE / "node", name: str = "node") -> str | None:
    """Have the packages of a folder's package.json beside a copy of its files; why not, where that cannot be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node is not on this machine"
    home = PLACE / name
    ready = home / "ready.txt"
    wanted = (source / "package.json").read_text()
    with _lock(name):
        home.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            shutil.copy(path, home / path.name)
        if not ready.exists() or ready.read_text() != wanted:
            try:
                _run("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", cwd=home)
            except RuntimeError as error:
                return f"npm could not install: {str(error).strip().splitlines()[-1]}"
            ready.write_text(wanted)
    return None


async def run_pytest(python: Path, suite: str, report: Path, variables: dict[str, str]) -> Counts:
    """Run a file of suites/ with another interpreter's own pytest."""
    suites = HERE / "suites"
    command = [str(python), "-m", "pytest", "-c", str(suites / "pytest.ini"), "--rootdir", str(suites)]
    output = await run(*command, f"--junitxml={report}", str(suites / f"{suite}.py"), variables=variables, cwd=suites)
    return counts(report, output)


async def run(*command: str, variables: dict[str, str], cwd: Path) -> str:
    """The output of a command, while the loop goes on serving it."""
    kept = {key: value for key, value in os.environ.items() if key not in NOT_FOR_CLIENTS}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**kept, **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace")


NOT_FOR_CLIENTS = {"PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "OPENAI_BASE_URL"}


def counts(report: Path, output: str) -> Counts:
    """What a report in JUnit's form says."""
    if not report.exists():
        return Counts(0, 0, ("it made no report",), output)
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = tuple(
        f"{case.get('name')}: {(found.get('message') or found.text or '').strip()[:300]}"
        for case in cases
        for found in (*case.findall("failure"), *case.findall("error"))
    )
    skipped = sum(case.find("skipped") is not None for case in cases)
    broken = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    return Counts(len(cases) - skipped - broken, skipped, failed, output)


@contextmanager
def _lock(name: str) -> Iterator[None]:
    PLACE.mkdir(exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(*command: str, cwd: Path = ROOT) -> None:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
