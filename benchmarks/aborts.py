"""Clients that leave at any point: nothing of them may be left, and the backend must see each go.

    python benchmarks/aborts.py [STREAMS [AT_ONCE]]

They leave within the request, right after it, before the first event, or after any chunk; by FIN or by RST. The exit
code is 1 when a task, a descriptor, a request or a connection is left, or when a cancel did not reach the backend.
"""

from __future__ import annotations

import asyncio
import sys
import time

from rig import RANDOM, Backend, Client, Plan, body_of, loop_run, megabytes, request_of, served

CHUNKS = 40


async def leave(url: str, number: int) -> str:
    """One client; gives where it left."""
    where = RANDOM.choice(("within the request", "after the request", "within the stream", "within a whole answer"))
    stream = where != "within a whole answer"
    fault = "silence" if not stream else ""
    plan = Plan(number, chunks=CHUNKS, gap=0.02, fault=fault)
    data = request_of(body_of(plan, RANDOM.choice(("events", "lines")), stream))
    client = await Client.connect(url)
    if where == "within the request":
        client.writer.write(data[: RANDOM.randrange(1, len(data))])
        await client.writer.drain()
    elif where == "within the stream":
        await client.ask(data, leave_after=RANDOM.randrange(1, CHUNKS // 2))
    else:
        client.writer.write(data)
        await client.writer.drain()
    await asyncio.sleep(RANDOM.random() * RANDOM.choice((0, 0.05, 0.5)))
    RANDOM.choice((client.close, client.reset))()
    return where


async def main(count: int, at_once: int) -> int:
    """Run them all; 1 when anything is left."""
    backend = Backend()
    async with backend.serving(), served(backend, patience="1h") as server:
        await asyncio.gather(*(leave(server.url, -1 - number) for number in range(at_once)))
        await asyncio.sleep(12)  # idle connections to the backend are kept for 10 s
        base = await server.readings()
        backend.asked.clear()
        backend.played.clear()
        backend.left.clear()
        numbers = iter(range(count))
        places: dict[str, int] = {}
        began = time.perf_counter()

        async def work() -> None:
            for number in numbers:
                where = await leave(server.url, number)
                places[where] = places.get(where, 0) + 1

        await asyncio.gather(*(work() for _ in range(at_once)))
        took = time.perf_counter() - began
        quiet = time.perf_counter()
        await backend.quiet()
        seen = time.perf_counter() - quiet
        now = await server.rest(base)
        unseen = backend.asked - backend.played - backend.left
        print(f"{count} clients left in {took:.0f} s: " + ", ".join(f"{n} {where}" for where, n in places.items()))
        print(f"the backend was asked {len(backend.asked)} times, finished {len(backend.played)} before it noticed,")
        print(f"and saw {len(backend.left)} leave; the last {seen:.1f} s after the last client left")
        for name in ("tasks", "fds", "requests"):
            print(f"{name:>10}: {base[name]} before, {now[name]} after")
        print(f"{'memory':>10}: {megabytes(base['rss'])} before, {megabytes(now['rss'])} after")
        left = {name: now[name] - base[name] for name in ("tasks", "fds", "requests") if now[name] > base[name]}
        if left or unseen or backend.playing or backend.connections:
            held = len(backend.connections)
            print(f"left: {left}; cancels unseen: {len(unseen)}; backend connections: {held}", file=sys.stderr)
            return 1
        print("nothing is left, and the backend saw every cancel")
    return 0


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    sys.exit(loop_run(main(given[0] if given else 10_000, given[1] if len(given) > 1 else 200)))
