"""Times `oaiproxy check` as users run it: `python benchmarks/check.py [rounds]`.

The cases are a hundred small mappings, which are the example under other names, all that ship, and one, most of which
is the start of the interpreter. Each round runs all, one right after the other. The figure is the operating system's
accounting of user and system time of the command; bytecode is cached, as it is where oaiproxy is installed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from start import ROOT, seconds

EXAMPLE = ROOT / "mappings/example.yaml"
COUNT = 100


CHECK = ["check", "--no-env"]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        hundred = Path(folder, "mappings")
        hundred.mkdir()
        for number in range(COUNT):
            (hundred / f"m{number}.yaml").write_text(EXAMPLE.read_text().replace("your-model", f"model-{number}"))
        cases = {f"{COUNT} small mappings": hundred, "all that ship": ROOT / "mappings", "one": EXAMPLE}
        bytecode = str(Path(folder, "bytecode"))
        seconds([*CHECK, EXAMPLE], bytecode)
        times = [[seconds([*CHECK, path], bytecode) for path in cases.values()] for _ in range(rounds)]
    print(f"{rounds} rounds; seconds of the processor\n\n{'':<24}{'median':>8}   spread")
    for name, column in zip(cases, zip(*times, strict=True), strict=True):
        print(f"{name:<24}{statistics.median(column):>8.2f}   {min(column):.2f} to {max(column):.2f}")


if __name__ == "__main__":
    main()
