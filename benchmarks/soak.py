"""Mixed traffic with faults for many minutes: what is held must return to where it was, and every answer be right.

    python benchmarks/soak.py [--minutes M] [--at-once N] [--faults SHARE]

Requests are whole or streams, in two framings; a share of their backends fail before or within the answer, clients
leave at any point, read slowly, do not read at all, and send what is no request. Each request's outcome is held against
its plan: text by text, the status, the code, and whether the stream said that it was done. Memory is held to be flat
by the slope of its readings after a quarter of the time. The exit code is 1 when anything is lost, invented or left.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter

from rig import AFTER, BEFORE, RANDOM, Answer, Backend, Client, Plan, Server, body_of, loop_run, megabytes, request_of
from rig import served as start

SETTINGS = """
server: {max_body: 1048576, write_timeout: 3, body_timeout: 3, keepalive_timeout: 20}
breaker: {failures: 0}
"""
STALLED = 1500
"""Chunks of 32 KiB for a client that does not read: more than all buffers on the way hold."""
WEIGHTS = {"before": 6, "within": 9, "leave": 9, "slow": 3, "bad": 4, "stall": 1}
"""How often each kind of fault comes."""
SLOPE = 1.0
"""MB an hour that memory may grow."""
BAD = {
    "not JSON": (b"{oops", 400),
    "unknown model": (b'{"model": "none", "messages": [{"role": "user", "content": "hi"}]}', 404),
    "no messages": (b'{"model": "lines"}', 400),
    "too large": (b'{"model": "lines", "messages": "' + b"x" * 1_200_000 + b'"}', 413),
}


class Soak:
    """The traffic, and what became of each request."""

    def __init__(self, server: Server, backend: Backend, share: float) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.texts = 0
        self._server = server
        self._backend = backend
        self._share = share
        self._number = 0

    async def work(self, end: float) -> None:
        """One worker: request after request on a connection that is kept for as long as it can be."""
        client: Client | None = None
        while time.monotonic() < end:
            self._number += 1
            number = self._number
            client = client or await Client.connect(self._server.url)
            try:
                kept = await asyncio.wait_for(self._one(client, number), 60)
            except Exception as error:
                self._note(number, "failed", f"{type(error).__name__}: {error}")
                kept = False
            if not kept or number % 50 == 0:
                client.close()
                client = None
        if client is not None:
            client.close()

    async def _one(self, client: Client, number: int) -> bool:
        """One request; whether the connection can be used again."""
        model, streams = RANDOM.choice(("events", "lines")), RANDOM.random() < 0.7
        plan = Plan(number, chunks=RANDOM.randrange(1, 60), gap=RANDOM.choice((0, 0, 0.001, 0.02)))
        if RANDOM.random() >= self._share:
            answer = await client.ask(request_of(body_of(plan, model, streams)))
            return self._check(plan, answer, streams)
        (kind,) = RANDOM.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
        match kind:
            case "before":
                plan.fault = RANDOM.choice(tuple(BEFORE))
                answer = await client.ask(request_of(body_of(plan, model, streams)))
                right = (answer.status, answer.code) == BEFORE[plan.fault] and not answer.texts
                self._note(number, plan.fault, "" if right else f"{answer}")
                return answer.complete
            case "within":
                plan.fault, plan.at = RANDOM.choice(tuple(AFTER)), RANDOM.randrange(1, plan.chunks + 1)
                plan.chunks += 1
                answer = await client.ask(request_of(body_of(plan, model, True)))
                told = answer.code in AFTER[plan.fault] and not answer.done and not answer.complete
                whole = plan.texts == answer.texts
                self.texts += len(answer.texts)
                self._note(number, plan.fault, "" if told and whole else f"{len(plan.texts)} were sent: {answer}")
                return False
            case "bad":
                name = RANDOM.choice(tuple(BAD))
                body, status = BAD[name]
                answer = await client.ask(request_of(body))
                self._note(number, name, "" if answer.status == status and not answer.texts else f"{answer}")
                return answer.status in (400, 404)
            case "slow":
                client.writer.write(request_of(body_of(plan, model, True)))
                await asyncio.sleep(RANDOM.random())
                return self._check(plan, await client.ask(b""), True)
            case "stall":
                await self._stall(plan, model)
                return True
        await self._leave(client, plan, model, streams)
        return False

    async def _leave(self, client: Client, plan: Plan, model: str, streams: bool) -> None:
        data = request_of(body_of(plan, model, streams))
        if RANDOM.random() < 0.5 and streams:
            answer = await client.ask(data, leave_after=RANDOM.randrange(1, plan.chunks + 1))
            good = plan.texts[: len(answer.texts)] == answer.texts
            self._note(plan.number, "left", "" if good else f"{answer}")
        else:
            client.writer.write(data[: RANDOM.randrange(1, len(data) + 1)])
            await asyncio.sleep(RANDOM.random() * 0.1)
            self._note(plan.number, "left", "")
        RANDOM.choice((client.close, client.reset))()

    async def _stall(self, plan: Plan, model: str) -> None:
        """A client that reads nothing is given up, and so is its backend."""
        plan.chunks, plan.gap, plan.pad = STALLED, 0, 32 * 1024
        client = await Client.connect(self._server.url, buffer=16 * 1024)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(request_of(body_of(plan, model, True)))
        for _ in range(300):
            await asyncio.sleep(0.1)
            if plan.number in self._backend.left:
                break
        self._note(plan.number, "stalled", "" if plan.number in self._backend.left else "the backend was not left")
        client.reset()

    def _check(self, plan: Plan, answer: Answer, streams: bool) -> bool:
        texts = plan.texts if streams else ["".join(plan.texts)]
        right = (answer.status, answer.texts, answer.done, answer.code) == (200, texts, True, None)
        self.texts += len(answer.texts)
        self._note(plan.number, "answered", "" if right and answer.complete else f"{answer}")
        return answer.complete

    def _note(self, number: int, outcome: str, wrong: str) -> None:
        self.outcomes[outcome] += 1
        if wrong:
            self.wrong.append(f"request {number}, {outcome}: {wrong[:300]}")


def slope(readings: list[tuple[float, float]]) -> float:
    """MB an hour, by least squares."""
    if len(readings) < 3:
        return 0.0
    fit = statistics.linear_regression([at / 3600 for at, _ in readings], [rss / 1e6 for _, rss in readings])
    return fit.slope


async def main(minutes: float, at_once: int, share: float) -> int:
    """Run it; 1 when anything is lost, invented or left."""
    backend = Backend()
    async with backend.serving(), start(backend, SETTINGS, patience="2s") as server:
        warm = Soak(server, backend, share)
        await asyncio.gather(*(warm.work(time.monotonic() + min(20, minutes * 6)) for _ in range(at_once)))
        await asyncio.sleep(25)  # idle connections are kept for a while on both sides
        base = await server.readings()
        soak, began, cpu = Soak(server, backend, share), time.monotonic(), server.cpu()
        soak._number = 1_000_000_000
        end = began + minutes * 60
        workers = asyncio.gather(*(soak.work(end) for _ in range(at_once)))
        memory: list[tuple[float, float]] = []
        while not workers.done():
            await asyncio.wait([workers], timeout=10)
            at, rss = time.monotonic() - began, server.rss()
            memory.append((at, rss))
            if len(memory) % 30 == 1:
                print(f"{at / 60:6.1f} min {soak.outcomes.total():>9} requests {megabytes(rss):>10}", flush=True)
        await workers
        used = server.cpu() - cpu
        await asyncio.sleep(25)
        now = await server.rest(base, 60)
        growth = slope([each for each in memory if each[0] > minutes * 15])
        print(
            f"\n{soak.outcomes.total()} requests, {soak.texts} texts in {minutes:g} minutes, {used:.0f} s of processor"
        )
        print(", ".join(f"{count} {name}" for name, count in soak.outcomes.most_common()))
        for name in ("tasks", "fds", "requests"):
            print(f"{name:>10}: {base[name]} before, {now[name]} after")
        print(
            f"{'memory':>10}: {megabytes(base['rss'])} before, {megabytes(now['rss'])} after, {growth:+.1f} MB an hour"
        )
        print(f"{'backend':>10}: {len(backend.connections)} connections, {backend.playing} answers under way")
        left = any(now[name] > base[name] for name in ("tasks", "fds", "requests")) or backend.playing
        if growth > SLOPE and minutes >= 30:
            print("memory grows", file=sys.stderr)
        if soak.wrong or left:
            print("\n".join([f"{len(soak.wrong)} are wrong", *soak.wrong[:20]]), file=sys.stderr)
            return 1
        print("0 lost, 0 invented, nothing is left")
        return 1 if growth > SLOPE and minutes >= 30 else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--at-once", type=int, default=60)
    parser.add_argument("--faults", type=float, default=0.2, help="share of requests with a fault")
    asked = parser.parse_args()
    sys.exit(loop_run(main(asked.minutes, asked.at_once, asked.faults)))
