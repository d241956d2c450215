"""A proxy that tells of itself: `python benchmarks/served.py CONFIG` serves, and answers each line with its readings.

It is `oaiproxy serve` but for the signals: what is measured is the same server on the same loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from oaiproxy.app import Running, serve  # noqa: E402 - found by the line before
from oaiproxy.config import read_config  # noqa: E402
from oaiproxy.loader import Loader  # noqa: E402
from oaiproxy.loops import loop_factory  # noqa: E402


def readings(running: Running) -> dict[str, int]:
    """What is held now: tasks, file descriptors, requests, and bytes of memory."""
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "fds": len(os.listdir("/proc/self/fd")) - 1,
        "requests": running.state.active,
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }


async def main(path: Path) -> None:
    """Serve until the input ends."""
    config = read_config(path, os.environ, host=None, port=0)
    mappings, _ = Loader(os.environ).load(config.mappings)
    async with serve(config, mappings) as running:
        print(json.dumps({"url": running.url, "pid": os.getpid()}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(readings(running)), flush=True)


if __name__ == "__main__":
    read = read_config(Path(sys.argv[1]), os.environ, host=None, port=0)
    with asyncio.Runner(loop_factory=loop_factory(read.server.loop)) as runner:
        runner.run(main(Path(sys.argv[1])))
