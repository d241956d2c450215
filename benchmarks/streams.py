"""Many streams at once: every chunk once, in order; memory per stream; processor time beside a bare aiohttp handler.

    python benchmarks/streams.py [STREAMS [CHUNKS [GAP_SECONDS]]]

All streams are open before any goes on: each waits after its first chunk until all have theirs. Memory is read then.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from overhead import BARE
from rig import (
    Answer,
    Backend,
    Client,
    Plan,
    Server,
    body_of,
    first_line,
    loop_run,
    megabytes,
    process,
    request_of,
    served,
)

BARE_RIG = BARE.replace("/generate/stream", "/lines").replace('"chunk"', '"t"').replace('"finished"', '"d"')
"""The same translation for the rig's backend."""


@asynccontextmanager
async def bare(backend: Backend) -> AsyncIterator[Server]:
    """The bare handler before that backend."""
    with process("-c", BARE_RIG, backend.url) as started:
        url = await asyncio.to_thread(first_line, started)
        yield Server(started, url.strip().removesuffix("/v1"))


async def stream(url: str, plan: Plan) -> Answer:
    """One client's stream."""
    client = await Client.connect(url)
    try:
        return await client.ask(request_of(body_of(plan, "lines", True)))
    finally:
        client.close()


async def run(server: Server, backend: Backend, streams: int, chunks: int, gap: float, first: int) -> list[str]:
    """Run all streams; gives the row of figures. Raises AssertionError when a chunk was lost or invented."""
    plans = [Plan(first + number, chunks=chunks, gap=gap, gate=True) for number in range(streams)]
    for plan in (Plan(first - 1 - number, chunks=chunks) for number in range(50)):
        await stream(server.url, plan)  # warm-up
    backend.gate.clear()
    before, cpu, began = server.rss(), server.cpu(), time.perf_counter()
    tasks = [asyncio.create_task(stream(server.url, plan)) for plan in plans]
    await backend.quiet(streams, 60)
    await asyncio.sleep(1)
    held = server.rss()
    backend.gate.set()
    answers = await asyncio.gather(*tasks)
    peak, used, took = server.rss(), server.cpu() - cpu, time.perf_counter() - began
    wrong = [
        plan.number
        for plan, answer in zip(plans, answers, strict=True)
        if answer.texts != plan.texts or not answer.done or answer.status != 200
    ]
    assert not wrong, f"{len(wrong)} streams are not what was sent: {wrong[:10]}"
    per = max(held, peak) - before
    return [
        f"{streams * chunks}",
        f"{took:.1f}",
        f"{used:.1f}",
        f"{used / (streams * chunks) * 1e6:.0f}",
        f"{per / streams / 1024:.0f}",
        megabytes(max(held, peak)),
    ]


async def main(streams: int, chunks: int, gap: float) -> None:
    """Both, one after the other, and the table."""
    backend = Backend()
    heads = ["", "chunks", "seconds", "CPU s", "µs/chunk", "KiB/stream", "memory"]
    print("".join(f"{head:>12}" for head in heads))
    async with backend.serving():
        figures: list[float] = []
        for name, start in (("oaiproxy", served), ("bare", bare)):
            async with start(backend) as server:
                row = await run(server, backend, streams, chunks, gap, first=1_000_000 * (1 + len(figures)))
            figures.append(float(row[2]))
            print("".join(f"{cell:>12}" for cell in (name, *row)), flush=True)
    print(f"\nratio of processor time: {figures[0] / figures[1]:.2f}")
    print(f"every chunk of {streams} streams came once, in order, on both; none was invented")


if __name__ == "__main__":
    given = sys.argv[1:]
    loop_run(
        main(
            int(given[0]) if given else 1000,
            int(given[1]) if len(given) > 1 else 100,
            float(given[2]) if len(given) > 2 else 0.2,
        )
    )
