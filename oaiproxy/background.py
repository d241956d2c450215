"""Responses that are made while nobody need wait for them, a bounded number at once.

https://platform.openai.com/docs/guides/background
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from oaiproxy.admission import Place
from oaiproxy.clocks import SHUTDOWN_MESSAGE, Clock, shutting_down
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.endpoints.responses_encoding import ResponseEncoder
from oaiproxy.endpoints.responses_items import Item
from oaiproxy.errors import ApiError, ClientError, ProxyError
from oaiproxy.eventlog import EventLog
from oaiproxy.exchange import Exchange
from oaiproxy.fallbacks import Fallbacks
from oaiproxy.keyring import Turn
from oaiproxy.middleware import Record, report_bug
from oaiproxy.relay import Relay
from oaiproxy.responses_store import ResponseStore
from oaiproxy.state import State

RETRY_SECONDS = 1
"""When a client that found no place is to ask again."""


class LogOutlet:
    """Keeps an answer: its events, if it is streamed; else its encoder has it."""

    def __init__(self, log: EventLog | None) -> None:
        self._log = log

    @property
    def begun(self) -> bool:
        """Whether there is a stream, for its first events are written before the backend is asked."""
        return self._log is not None

    async def write(self, data: bytes, clock: Clock | None = None) -> None:
        """Keep events. That waits for nobody."""
        if self._log is not None:
            self._log.add(data)

    async def end(self, data: bytes) -> None:
        """Keep the last events."""
        await self.write(data)

    async def whole(self, data: bytes) -> None:
        """Nothing: the encoder has it."""

    async def break_off(self, told: bytes) -> None:
        """Keep what tells of the failure."""
        await self.write(told)

    def close(self) -> None:
        """Nothing: who made this ends the log."""


@dataclass(slots=True)
class Run:
    """One response in the making. `before` and `own` are the items that it answers, as the store takes them."""

    encoder: ResponseEncoder
    before: Sequence[Item]
    own: Sequence[Item]
    record: Record
    log: EventLog | None = None
    task: asyncio.Task[None] | None = None
    forgotten: bool = False
    """Whether it is not to be kept."""
    error: ApiError | None = None
    """Why it was broken off, if a client did not cancel it."""
    owner: str = ""
    """For whose key it is made."""

    @property
    def response(self) -> Item:
        """It, as it stands."""
        return self.encoder.ended or self.encoder.object("in_progress")

    async def cancel(self) -> None:
        """Break it off, and with it the call to the backend."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])

    def turn(self, encoder: Encoder) -> None:
        """Another model makes it from now on. What begins its stream was written, and is the same but for the name."""
        assert isinstance(encoder, ResponseEncoder)
        encoder.open()
        self.encoder = encoder

    def break_off(self, error: ApiError) -> None:
        """Break it off for a reason of ours."""
        assert self.task is not None
        self.error = error
        self.task.cancel()


class Background:
    """Runs by the ids of their responses; each moves to the store when it ends."""

    def __init__(self, state: State, store: ResponseStore) -> None:
        self.runs: dict[str, Run] = {}
        self._state = state
        self._store = store
        state.unattended.append(self._break_off)

    def run(self, name: str, owner: str) -> Run | None:
        """The run of that response, if it is this owner's."""
        run = self.runs.get(name)
        return run if run is not None and run.owner == owner else None

    def admit(self) -> None:
        """Raises ApiError when no run can begin."""
        server = self._state.server
        limit = server.background_responses if server.stored_responses else 0
        if not limit:
            message = "Unsupported parameter: 'background' is not supported here; use 'stream' for long answers."
            raise ClientError(message, param="background", code="unsupported_parameter")
        if not self._state.ready:
            raise shutting_down()
        if len(self.runs) >= limit:
            message = "Too many responses are made in the background now. Try again later."
            code, kind = "server_is_overloaded", "service_unavailable_error"
            raise ProxyError(message, status=503, type=kind, code=code, retry_after=RETRY_SECONDS, retry=True)

    def start(
        self, run: Run, exchange: Exchange, held: Sequence[Place | Turn], fallbacks: Fallbacks | None = None
    ) -> None:
        """Begin a run, which holds to its end what its request was given. Raises ApiError when none can begin."""
        self.admit()
        encoder = run.encoder
        if encoder.streams:
            run.log = EventLog()
            run.log.add(encoder.open())
        if fallbacks is not None:
            fallbacks.turned = run.turn
        relay = Relay(LogOutlet(run.log), run.record, self._state, exchange, fallbacks)
        run.record.started = time.perf_counter()
        run.task = asyncio.get_running_loop().create_task(relay.run())
        self.runs[encoder.id] = run
        self._state.background.add(run.task)
        run.task.add_done_callback(lambda task: self._finish(run, task))
        for each in held:
            each.hold()
        run.task.add_done_callback(lambda task: [each.leave() for each in held])

    def _finish(self, run: Run, task: asyncio.Task[None]) -> None:
        """Keep what became of a run, however it ended."""
        told, record = b"", run.record
        failure = run.error if task.cancelled() else task.exception()
        if isinstance(failure, Exception):
            error = failure
            if not isinstance(error, ApiError):
                error = report_bug(self._state.log, str(record["request_id"]), error)
            record.level, record["code"], record["detail"] = "warning", error.code, error.detail or error.message
            told = run.encoder.fail(error)
        elif run.encoder.ended is None:
            told = run.encoder.cancel()
        response = run.response
        if run.log is not None:
            run.log.add(told, last=True, broken=response["status"] in ("failed", "cancelled"))
        self._state.background.discard(task)
        del self.runs[run.encoder.id]
        if not run.forgotten:
            self._store.put(response, run.before, run.own, run.log, run.owner)
        record["status"] = response["status"]
        record["ms"] = round((time.perf_counter() - record.started) * 1000, 1)
        self._state.log.write(record.level, "background", **record)

    def _break_off(self, everything: bool) -> None:
        """Break off the runs that nobody follows, or all: what they make cannot be asked for any more."""
        for run in self.runs.values():
            if everything or run.log is None or not run.log.followers:
                run.break_off(ProxyError(SHUTDOWN_MESSAGE, status=503, code="server_shutdown", retry=False))
