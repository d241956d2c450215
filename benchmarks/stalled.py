"""Clients that do not read: what each costs, and that they are given up.

    python benchmarks/stalled.py [STREAMS]

Each asks for a stream of 48 MB and reads nothing. The backend's sending stops when all buffers on the way are full;
then the proxy's memory is read. After `write_timeout` every one of them, and its backend, must have been left.
"""

from __future__ import annotations

import asyncio
import sys

from rig import Backend, Client, Plan, body_of, loop_run, megabytes, request_of, served

SETTINGS = "server: {write_timeout: 20}\n"
CHUNKS, PAD = 1500, 32 * 1024


async def stall(url: str, number: int) -> Client:
    """One client that asks and does not read."""
    client = await Client.connect(url, buffer=16 * 1024)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.writer.write(request_of(body_of(Plan(number, chunks=CHUNKS, pad=PAD), "events", True)))
    return client


async def main(count: int) -> int:
    """Stall them all; 1 when one is not given up."""
    backend = Backend()
    async with backend.serving(), served(backend, SETTINGS) as server:
        client = await Client.connect(server.url)
        await client.ask(request_of(body_of(Plan(-1), "events", True)))
        before = await server.readings()
        clients = [await stall(server.url, number) for number in range(count)]
        await backend.quiet(count)
        sent = -1
        while sent != backend.sent:
            sent = backend.sent
            await asyncio.sleep(1)
        held = await server.readings()
        per = (held["rss"] - before["rss"]) / count / 1024
        print(f"{count} streams stand still: {per:.0f} KiB of memory each ({megabytes(held['rss'])} in all),")
        print(f"after the backend sent {sent / count / 1e6:.1f} MB to each")
        answer = await client.ask(request_of(body_of(Plan(-2), "events", True)))
        print(f"a stream beside them came {'whole' if answer.texts == Plan(-2).texts else 'NOT whole'}")
        await backend.quiet(0, 60)
        now = await server.rest(before, 30)
        for client in clients:
            client.reset()
        print(f"given up: {len(backend.left)} of {count}; requests {now['requests']}, {megabytes(now['rss'])}")
        return 0 if len(backend.left) == count and now["requests"] == 0 and answer.done else 1


if __name__ == "__main__":
    sys.exit(loop_run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)))
