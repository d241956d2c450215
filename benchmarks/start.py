"""Times what each command takes to say a first word: `python benchmarks/start.py [rounds]`.

The figure is the operating system's accounting of user and system time; bytecode is cached, as it is where oaiproxy is
installed. The aim is less than 0.35 s for each.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from oaiproxy.cli import COMMANDS  # noqa: E402 - found by the line before

CASES = [["--version"], ["completion", "bash"], ["schema"], ["list"], *([name, "--help"] for name in COMMANDS)]


def seconds(arguments: Sequence[str | Path], bytecode: str) -> float:
    """What one run of the command takes of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, "-m", "oaiproxy", *arguments],
        env=environment | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": bytecode},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as bytecode:
        for case in CASES:
            seconds(case, bytecode)
        times = [[seconds(case, bytecode) for case in CASES] for _ in range(rounds)]
    print(f"{rounds} rounds; seconds of the processor\n\n{'':<24}{'median':>8}   spread")
    for case, column in zip(CASES, zip(*times, strict=True), strict=True):
        print(f"{' '.join(case):<24}{statistics.median(column):>8.2f}   {min(column):.2f} to {max(column):.2f}")


if __name__ == "__main__":
    main()
