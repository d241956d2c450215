"""The tutorial is true: all of its commands run, in their order, in one folder, and come to what it shows.

What a block is for stands in the HTML comment above it: `file: NAME` is saved, `background` is started and left
running, `made: NAME` is what a command wrote, `broken: OLD -> NEW` is what `check` says after that change, and
`run: python` is run by Python. All else is shown, or a shell's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import free_ports

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/tutorial.md"
BLOCK = re.compile(r"^(?:<!-- ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = ("8000", "9000")
LEFT = ("__pycache__", ".git", ".venv", ".venv-clients", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache")
"""What is no part of a checkout."""
DEADLINE = 60.0
"""Seconds for a server to listen, and for a command to end; installing may take five times that."""


class Reader:
    """Somebody who does what the page says, in a checkout."""

    def __init__(self, folder: Path, *, installs: bool) -> None:
        self._folder = folder
        self._installs = installs
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MINE_", "YOUR_"))
        }
        self._servers: list[subprocess.Popen[bytes]] = []
        self._ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self.output = ""

    def do(self, note: str, language: str, text: str) -> None:
        """One block."""
        kind, _, rest = note.partition(": ")
        match kind:
            case "file":
                self._path(rest).write_text(self._here(text), encoding="utf-8")
            case "background":
                self._start(self._here(text))
            case "made":
                made = self._path(rest).read_text("utf-8").partition("\nexamples:")[0].rstrip()
                assert self._there(made) == text.rstrip()
            case "broken":
                self._break(*rest.split(" -> "), text)
            case "run":
                self.output = self._run([sys.executable, "-c", self._here(text)])
            case "" if language == "sh":
                self.output = self._shell(self._here(text))

    def stop(self) -> None:
        """End what was started."""
        for process in self._servers:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=DEADLINE)

    def _shell(self, text: str) -> str:
        """Run the lines; what they export stays."""
        if "pip install" in text and not self._installs:
            self._stand_in()
            text = "\n".join(line for line in text.splitlines() if "pip install" not in line and "-m venv" not in line)
        saved = self._folder / ".environment"
        told = self._run(["sh", "-c", f"set -e\n{text}\nenv -0 > '{saved}'\n"])
        pairs = (each.partition("=") for each in saved.read_text("utf-8").split("\0") if each)
        self._environment = {name: value for name, _, value in pairs}
        return told

    def _stand_in(self) -> None:
        """A command where the installed one would be."""
        command = self._folder / ".venv/bin/oaiproxy"
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m oaiproxy "$@"\n')
        command.chmod(0o755)

    def _run(self, command: list[str], *, code: int = 0) -> str:
        patience = 5 * DEADLINE if self._installs else DEADLINE
        run = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience,
        )
        assert run.returncode == code, f"{command}\n{run.stdout}{run.stderr}"
        return run.stdout

    def _start(self, line: str) -> None:
        """Start a server, and wait until one of the page's ports that nobody listened on is listened on."""
        silent = [port for port in self._ports.values() if not _listens(port)]
        options = f" --port {self._ports['8000']}" if line.startswith("oaiproxy serve") else ""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {line.strip()}{options}"],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._servers.append(process)
        end = time.monotonic() + DEADLINE
        while not any(map(_listens, silent)):
            assert process.poll() is None, f"{line} ended"
            assert time.monotonic() < end, f"{line} does not listen"
            time.sleep(0.05)

    def _break(self, old: str, new: str, told: str) -> None:
        """Change the mapping, check it, and take the change back."""
        path = self._path("mappings/mine.yaml")
        text = path.read_text("utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
        shown = self._run([".venv/bin/oaiproxy", "check", "mappings/mine.yaml"], code=1)
        path.write_text(text, encoding="utf-8")
        assert self._there(shown).strip() == told.strip()

    def _path(self, name: str) -> Path:
        return self._folder / name

    def _here(self, text: str) -> str:
        for port, ours in self._ports.items():
            text = re.sub(rf"\b{port}\b", ours, text)
        return text

    def _there(self, text: str) -> str:
        for port, ours in self._ports.items():
            text = text.replace(ours, port)
        return text


def _listens(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def blocks() -> Iterator[tuple[str, str, str]]:
    """The note, the language and the text of each block."""
    for found in BLOCK.finditer(PAGE.read_text("utf-8")):
        yield found[1] or "", found[2], found[3]


@pytest.mark.parametrize(
    "installs", [False, pytest.param(True, marks=pytest.mark.thorough)], ids=["in this environment", "from nothing"]
)
def test_all_of_it_works(installs: bool, tmp_path: Path) -> None:
    """From the first command to the last; where it `installs`, into an empty environment, as the page says."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    checkout = [each for each in ROOT.iterdir() if each.name not in LEFT]
    names = checkout if installs else [ROOT / "mappings", ROOT / "schemas"]
    for each in names:
        if each.is_dir():
            shutil.copytree(each, tmp_path / each.name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(each, tmp_path)
    reader = Reader(tmp_path, installs=installs)
    outputs = []
    try:
        for note, language, text in blocks():
            reader.do(note, language, text)
            outputs.append(reader.output)
    finally:
        reader.stop()
    told = "".join(outputs)
    assert '"content":"The capital of France is Paris."' in told.replace('": "', '":"')
    assert told.count("The capital of France is Paris.\nThe capital of France is Paris.\n") >= 1


def test_it_has_what_this_test_looks_for() -> None:
    """Files, servers, and what was written: none of them is passed over."""
    kinds = {note.partition(": ")[0] for note, _, _ in blocks()}
    assert kinds == {"", "file", "background", "made", "broken", "run"}
