"""An exchange to its answer: the backend asked, the reply relayed as it comes to where the answer goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Generic

from oaiproxy.calls import Calls
from oaiproxy.circuits import Passage
from oaiproxy.clocks import SHUTDOWN, Clock, broken_off, shutting_down
from oaiproxy.drafts import draft_of
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.exchange import AnyReply, Exchange
from oaiproxy.failures import redact, sealed
from oaiproxy.fallbacks import Fallbacks, may_be_mended
from oaiproxy.fan import AT_ONCE, Fan, split
from oaiproxy.middleware import Record, report_bug
from oaiproxy.offloop import LARGE, in_thread, off_loop, weight_of
from oaiproxy.outlets import Made, Outlet
from oaiproxy.pool import Attempt, attempt, was_asked
from oaiproxy.sender import Incoming
from oaiproxy.state import State


class Relay(Generic[Made]):
    """One exchange under way: whose task runs it is the pump, so what takes its bytes slowly slows the backend."""

    def __init__(
        self,
        outlet: Outlet[Made],
        record: Record,
        state: State,
        exchange: Exchange,
        fallbacks: Fallbacks | None = None,
    ) -> None:
        self._outlet = outlet
        self._state = state
        self._exchange = exchange
        self._record = record
        self._odd: dict[str, set[str]] = {}
        self._mended = 0
        self._tries = 1
        self._fallbacks = fallbacks
        self._told = False
        """Whether anything of an answer went out, comments aside: then nobody else can give another."""
        self._fan: Fan | None = None
        """The parts of the exchange, if it has several."""
        self._turn = asyncio.Lock()
        """Of the parts, which one writes."""

    async def run(self) -> Made:
        """Relay the reply. Before its first byte for the client a failure is raised, after it an error event."""
        try:
            return await (self._made() if self._fallbacks is None else self._made_by_any(self._fallbacks))
        except ConnectionError:
            raise
        except Exception as error:
            if not self._outlet.begun:
                raise
            if not isinstance(error, ApiError):
                error = report_bug(self._state.log, self._exchange.identity.request_id, error)
            return await self._break_off(error)
        finally:
            self._outlet.close()

    async def _made(self) -> Made:
        self._fan = fan = split(self._exchange, Lock())
        if fan is not None:
            return await self._gather(fan)
        return await self._finish(*await self._ask(self._exchange))

    async def _made_by_any(self, fallbacks: Fallbacks) -> Made:
        """The answer of the first model that has one; where none has, the error of the one that was asked for."""
        first: ApiError | None = None
        while True:
            try:
                return await self._made()
            except ApiError as error:
                if self._told or error.code == SHUTDOWN or not (first or may_be_mended(error)):
                    raise
                first = first or error
                exchange = await fallbacks.next(error, committed=self._outlet.begun)
                self._exchange = fallbacks.exchange
                self._record["failed"] = fallbacks.failed
                if exchange is None:
                    self._record.pop("fallback", None)
                    raise first from None
                self._record["fallback"] = fallbacks.model
                self._record.pop("dropped", None)
                if exchange.dropped:
                    self._record["dropped"] = list(exchange.dropped)

    async def _gather(self, fan: Fan) -> Made:
        """Relay the parts, some at a time: one, where the backend is only tried. The first that fails ends all."""
        end = asyncio.get_running_loop().time() + self._exchange.mapping.backend.timeouts.total
        parts = iter(enumerate(fan.parts))
        attempt.set(any_ := Attempt())

        async def work() -> None:
            try:
                for number, part in parts:
                    reply, out = await self._ask(part, end, prompt=fan.counts_prompt(number))
                    await self._write(out, None)
                    if reply.fault is not None:
                        raise reply.fault
            finally:
                any_.asked = any_.asked or was_asked()

        try:
            async with asyncio.TaskGroup() as group:
                closed = self._state.circuits.is_closed(self._exchange.mapping)
                for _ in range(min(AT_ONCE, len(fan.parts)) if closed else 1):
                    group.create_task(work())
        except BaseExceptionGroup as failed:
            first = failed.exceptions[0]
            late = isinstance(first, ApiError) and first.code == SHUTDOWN and any_.asked
            raise (broken_off() if late else first) from None
        out = fan.finish()
        return await (self._outlet.end(out) if fan.encoder.streams else self._outlet.whole(out))

    async def _ask(
        self, exchange: Exchange, end: float | None = None, *, prompt: bool = True
    ) -> tuple[AnyReply, bytes]:
        """The reply, read to its end, and the last bytes that it makes; a draft that does not fit is made again.

        What becomes of each is kept for the next who would ask that backend.
        """
        small = exchange.size <= LARGE
        draft = draft_of(exchange) if small else await off_loop(exchange.size, draft_of, exchange)
        if draft is not None and end is None:
            end = asyncio.get_running_loop().time() + exchange.mapping.backend.timeouts.total
        apart = draft is not None and draft.checks
        while True:
            asked = exchange if draft is None else draft.exchange
            passage = self._state.circuits.enter(asked.mapping)
            try:
                reply = await self._receive(asked, end, passage, apart=apart)
                # one document is read only when it is complete
                small = reply.size <= LARGE and not apart
                out = reply.end() if small else await in_thread(reply.end)
                if not passage.ended:
                    passage.end(reply.fault)
            except BackendError as error:
                passage.end(error)
                raise
            finally:
                if not passage.ended:
                    passage.leave()
                if passage.repeated:
                    self._tries += passage.repeated
                    self._record["tries"] = self._tries
            if reply.fault is None:
                out += await self._closing(reply, prompt=prompt)
            self._note(reply)
            if draft is None or reply.fault is not None or not draft.again():
                return reply, out
            self._record["repaired"] = True

    async def _receive(self, exchange: Exchange, end: float | None, passage: Passage, *, apart: bool) -> AnyReply:
        """Send the request and read the reply to its end, or to what broke it off; `end` is that of its time.

        `apart` says that even a small answer may take long to read.
        """
        timeouts = exchange.mapping.backend.timeouts
        outgoing = None
        if exchange.flow is None:
            small = exchange.size <= LARGE
            outgoing = exchange.backend_request() if small else await off_loop(exchange.size, exchange.backend_request)
        reply: AnyReply | None = None
        clock = Clock(timeouts, end)
        calls = self._calls(exchange, clock, passage)

        def write(data: bytes) -> Awaitable[None]:
            return self._write(data, clock)

        self._state.clocks.add(clock)
        if self._state.closed:
            clock.interrupt()
        try:
            async with clock.timer:
                incoming: Incoming
                if calls is not None:
                    incoming = await calls.open()
                elif outgoing is not None:
                    incoming = await self._state.sender.send(
                        outgoing, exchange.mapping.backend, exchange.client_headers, clock.timer.when(), passage
                    )
                try:
                    reply = exchange.reply(incoming.status, incoming.headers, time.time())
                    await self._pump(incoming, reply, clock, write, passage, apart=apart)
                except BaseException:
                    incoming.close()
                    raise
                if reply.done:
                    incoming.release()
                else:
                    incoming.close()
                if calls is not None and reply.fault is None:
                    await calls.close(reply, write)
        except TimeoutError as error:
            if calls is not None:
                calls.cancel(reply)
            if reply is None:
                unseen = clock.interrupted and not was_asked()
                raise (shutting_down() if unseen else clock.error()) from error
            if calls is None or calls.vital:
                reply.cut(clock.error())
        except BackendError as error:
            if calls is not None and error.code == "upstream_timeout":
                calls.cancel(reply)
            sealed(error, exchange.mapping.secrets)
            if reply is None:
                raise
            reply.cut(error)
        except BaseException:
            if calls is not None:
                calls.cancel(reply)
            raise
        finally:
            self._state.clocks.discard(clock)
        return reply

    def _calls(self, exchange: Exchange, clock: Clock, passage: Passage) -> Calls | None:
        if exchange.flow is None:
            return None
        state = self._state
        return Calls(exchange, state.sender, clock, state.log, state.background, passage)

    async def _pump(
        self,
        incoming: Incoming,
        reply: AnyReply,
        clock: Clock,
        write: Callable[[bytes], Awaitable[None]],
        passage: Passage,
        *,
        apart: bool,
    ) -> None:
        """Feed the reply until it is done or broken, or the body ends. A stream's progress is in events, not bytes.

        The bytes that complete a large event are fed in a thread, and those of which much may come.
        """
        events = held = 0
        weight = weight_of(incoming.headers)
        while data := await incoming.read():
            held += len(data) * weight
            large = apart or (held > LARGE and (reply.streams or weight > 1))
            out = await in_thread(reply.feed, data) if large else reply.feed(data)
            if not events and reply.events and reply.fault is None:
                passage.answered()
            if out or (self._fan is not None and reply.events != events):
                await write(out)
            if reply.done or reply.fault is not None:
                return
            if reply.events != events or not reply.streams:
                events, held = reply.events, 0
                clock.renew()

    async def _finish(self, reply: AnyReply, out: bytes) -> Made:
        """The end of the response."""
        fault = reply.fault
        if not self._exchange.encoder.streams:
            if fault is not None:
                raise fault
            return await self._outlet.whole(out)
        if fault is not None and not self._told and not out:
            raise fault
        if fault is not None:
            await self._outlet.write(out)
            return await self._break_off(fault)
        return await self._outlet.end(out)

    def _note(self, reply: AnyReply) -> None:
        """Keep for the log what was odd in a reply."""
        for name in ("unknown_finish_reasons", "unknown_events", "left_out"):
            if found := getattr(reply, name):
                self._odd.setdefault(name, set()).update(redact(each, self._exchange.mapping.secrets) for each in found)
                self._record[name] = sorted(self._odd[name])
        self._mended += reply.invalid_utf8
        if self._mended:
            self._record["invalid_utf8"] = self._mended
        if reply.unmarked_end:
            self._record["unmarked_end"] = True

    async def _closing(self, reply: AnyReply, *, prompt: bool = True) -> bytes:
        """The last bytes, with token counts that the backend did not give; of the prompt if `prompt` says so."""
        missing = reply.uncounted()
        if missing is None:
            small = reply.streams or reply.size <= LARGE
            return reply.close() if small else await off_loop(reply.size, reply.close)
        # Apart, since a prompt so long that only a sample of it is counted must not blur the answer's count.
        count = self._state.tokenizer.count
        sent = sum(await count(missing.prompt)) if missing.prompt is not None and prompt else None
        completion = sum(await count([missing.completion])) if missing.completion is not None else None
        return reply.close(sent, completion)

    def _write(self, data: bytes, clock: Clock | None) -> Awaitable[None]:
        """Write what a reply made; where that is one of several parts, what all of them did, in that order."""
        if self._fan is not None:
            return self._write_in_turn(self._fan, clock)
        self._told = self._told or bool(data)
        return self._outlet.write(data, clock)

    async def _write_in_turn(self, fan: Fan, clock: Clock | None) -> None:
        if not fan.waits:
            return
        if clock is not None and self._turn.locked():
            clock.pause()
        async with self._turn:
            if made := fan.take():
                self._told = True
                await self._outlet.write(made, clock)
        if clock is not None:
            clock.renew()

    async def _break_off(self, error: ApiError) -> Made:
        """Tell of the failure."""
        self._record.level = "warning"
        self._record["code"], self._record["detail"] = error.code, error.detail or error.message
        return await self._outlet.break_off(self._exchange.encoder.fail(error))
