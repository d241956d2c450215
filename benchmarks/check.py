"""Times `oaiproxy check` as users run it: `python benchmarks/check.py [rounds]`.

The cases are a hundred small mappings, which are the example under other names, all that ship, and one, most of which
is the start of the interpreter. Each round runs all, one right after the other. The figure is the operating system's
accounting of user and system time of the command; bytecode is cached, as it is where oaiproxy is installed.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "mappings/example.yaml"
COUNT = 100


def seconds(path: Path, bytecode: str) -> float:
    """What one run of the command takes of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, "-m", "oaiproxy", "check", "--no-env", path],
        env=environment | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": bytecode},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        hundred = Path(folder, "mappings")
        hundred.mkdir()
        for number in range(COUNT):
            (hundred / f"m{number}.yaml").write_text(EXAMPLE.read_text().replace("your-model", f"model-{number}"))
        cases = {f"{COUNT} small mappings": hundred, "all that ship": ROOT / "mappings", "one": EXAMPLE}
        bytecode = str(Path(folder, "bytecode"))
        seconds(EXAMPLE, bytecode)
        times = [[seconds(path, bytecode) for path in cases.values()] for _ in range(rounds)]
    print(f"{rounds} rounds; seconds of the processor\n\n{'':<24}{'median':>8}   spread")
    for name, column in zip(cases, zip(*times, strict=True), strict=True):
        print(f"{name:<24}{statistics.median(column):>8.2f}   {min(column):.2f} to {max(column):.2f}")


if __name__ == "__main__":
    main()
