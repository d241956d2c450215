"""The calls around the main one over real connections: made, waited for, and called off when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Protocol, TypeAlias, TypeVar

from oaiproxy.circuits import Passage
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.exchange import AnyReply, BackendRequest, Exchange
from oaiproxy.failures import redact
from oaiproxy.framing import EMPTY
from oaiproxy.logs import Log
from oaiproxy.offloop import off_loop, weight_of
from oaiproxy.sender import Incoming, Sender
from oaiproxy.steps import Answer, Send, Sleep, Steps, Write

Made = TypeVar("Made")
Asked = TypeVar("Asked", bound=Send | Sleep | Write)
Result: TypeAlias = Answer | ApiError | None
CANCEL_SECONDS = 5.0
"""How long the call that calls a request off may take."""


class Clock(Protocol):
    """The deadline of a request."""

    timer: asyncio.Timeout

    def widen(self) -> None:
        """The time for the whole request alone counts from now on."""

    def restart(self) -> None:
        """The main call begins now."""


class Held:
    """A main reply that was read already."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._body = answer.body

    async def read(self) -> bytes:
        """The body, then b""."""
        body, self._body = self._body, b""
        return body

    def release(self) -> None:
        """There is no connection any more."""

    def close(self) -> None:
        """There is no connection any more."""


class Calls:
    """The calls of one request whose endpoint has a flow. `background` keeps what outlives the request."""

    def __init__(
        self,
        exchange: Exchange,
        sender: Sender,
        clock: Clock,
        log: Log,
        background: set[asyncio.Task[None]],
        passage: Passage | None = None,
    ) -> None:
        self.vital = True
        """Whether the answer cannot do without what is under way."""
        self._exchange = exchange
        self._timeouts = exchange.mapping.backend.timeouts
        self._sender = sender
        self._clock = clock
        self._log = log
        self._background = background
        self._passage = passage
        self._steps = Steps(exchange, asyncio.get_running_loop().time)
        self._over = False

    async def open(self) -> Incoming:
        """Make the calls up to the main reply, and send for that. Raises ApiError."""
        self._clock.widen()
        opening = self._steps.opening()
        result: Result = None
        while True:
            action, main = await off_loop(_size(result), _advance, opening, result)
            if action is None:
                assert main is not None
                break
            result = None
            if isinstance(action, Sleep):
                await asyncio.sleep(action.seconds)
            else:
                result = await self._answer(action)
        self._clock.restart()
        return Held(main) if isinstance(main, Answer) else await self._send(main, self._clock.timer)

    async def close(self, reply: AnyReply, write: Callable[[bytes], Awaitable[object]]) -> None:
        """Make the calls that complete the answer, after the main reply came to its end."""
        self._over = True
        if data := await off_loop(reply.size, reply.complete):
            await write(data)
        flow = self._exchange.flow
        self.vital = flow is not None and any(step.sinks.text is not None for step in flow.after)
        self._clock.widen()
        closing = self._steps.closing(reply)
        result: Result = None
        while True:
            action, _ = await off_loop(_size(result), _advance, closing, result)
            if action is None:
                break
            result = None
            if isinstance(action, Write):
                await write(action.data)
            else:
                result = await self._answer(action)
        for name, error in self._steps.lost:
            self._note("warning", "after", name=name, code=error.code, detail=error.detail or error.message)

    def cancel(self, reply: AnyReply | None) -> None:
        """Tell the backend in the background that nobody waits any more, if the mapping says how."""
        if self._over or self._exchange.flow is None or self._exchange.flow.cancel is None:
            return
        self._over = True
        try:
            request = self._steps.cancellation(reply.seen if reply is not None else EMPTY)
        except ApiError as error:
            self._note("warning", "cancel", code=error.code, detail=error.detail or error.message)
            return
        if request is None:
            self._note("debug", "cancel", detail="what the request is made of did not come")
            return
        task = asyncio.get_running_loop().create_task(self._cancel(request))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _send(self, request: BackendRequest, timer: asyncio.Timeout) -> Incoming:
        exchange = self._exchange
        backend, headers = exchange.mapping.backend, exchange.client_headers
        return await self._sender.send(request, backend, headers, timer.when(), self._passage)

    async def _cancel(self, request: BackendRequest) -> None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS) as timer:
                incoming = await self._send(request, timer)
            incoming.close()
            self._note("info" if incoming.status < 300 else "warning", "cancel", status=incoming.status)
        except TimeoutError:
            self._note("warning", "cancel", code="upstream_timeout", detail=f"no answer in {CANCEL_SECONDS:g} seconds")
        except ApiError as error:
            self._note("warning", "cancel", code=error.code, detail=error.detail or error.message)

    async def _answer(self, action: Send) -> Answer | ApiError:
        """The whole reply to a call, or why there is none."""
        patience = action.timeout if action.timeout is not None else self._timeouts.first_byte
        try:
            async with asyncio.timeout(patience) as timer:
                incoming = await self._send(action.request, timer)
                try:
                    body = await _whole(incoming, self._exchange.mapping.bounds.answer)
                    return Answer(incoming.status, incoming.headers, body)
                finally:
                    incoming.close()
        except TimeoutError:
            if not timer.expired():
                raise
            return BackendError("the backend did not answer in time", status=504, code="upstream_timeout", retry=False)
        except ApiError as error:
            return error

    def _note(self, level: str, event: str, *, detail: str = "", **fields: object) -> None:
        more = {"detail": redact(detail, self._exchange.mapping.secrets)} if detail else {}
        self._log.write(level, event, request_id=self._exchange.identity.request_id, **fields, **more)


def _advance(steps: Generator[Asked, Answer | None, Made], result: Result) -> tuple[Asked | None, Made | None]:
    """What is to be done next, or what came of it all."""
    try:
        return (steps.throw(result) if isinstance(result, ApiError) else steps.send(result)), None
    except StopIteration as end:
        return None, end.value


def _size(result: Result) -> int:
    """Bytes that are to be read."""
    if not isinstance(result, Answer):
        return 0
    return len(result.body) * weight_of(result.headers)


async def _whole(incoming: Incoming, most: int) -> bytes:
    """The body of a reply, as far as one may be long."""
    body = bytearray()
    while data := await incoming.read():
        body += data
        if len(body) > most:
            raise BackendError("the backend's answer is too large", code="upstream_response_too_large", retry=False)
    return bytes(body)
