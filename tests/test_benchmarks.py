"""Promises of the load programs: each runs, and finds nothing lost, invented or left, in a small measure."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import ROOT

pytestmark = pytest.mark.thorough

RUNS = {
    "streams.py 60 30 0.02": "every chunk of 60 streams came once",
    "stalled.py 20": "given up: 20 of 20",
    "aborts.py 400 40": "nothing is left, and the backend saw every cancel",
    "soak.py --minutes 0.2 --at-once 20": "0 lost, 0 invented, nothing is left",
}


@pytest.mark.parametrize("command", RUNS)
def test_nothing_is_lost_under_load(command: str) -> None:
    """The exit code tells, and so do the words."""
    name, *arguments = command.split()
    run = [sys.executable, str(ROOT / "benchmarks" / name), *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert RUNS[command] in done.stdout
