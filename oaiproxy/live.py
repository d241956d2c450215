"""One request to the real backend, as the proxy makes it, and all that was sent and that came, raw."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from collections.abc import Mapping as Dict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from oaiproxy.backend import BackendClient
from oaiproxy.backends import Backend
from oaiproxy.canonical import Call
from oaiproxy.circuits import Passage
from oaiproxy.clocks import Clock
from oaiproxy.config import Server
from oaiproxy.downloads import with_images
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.exchange import BackendRequest, Exchange
from oaiproxy.framing import EMPTY
from oaiproxy.handlers import new_identity
from oaiproxy.logs import Log
from oaiproxy.mapping import Mapping
from oaiproxy.middleware import Record
from oaiproxy.relay import Relay
from oaiproxy.routes import Routes
from oaiproxy.sender import Incoming, Sender
from oaiproxy.state import State
from oaiproxy.steps import Answer
from oaiproxy.tokens import Tokenizer

MAX_KEPT = 64 * 1024 * 1024
"""Bytes of all answers to one request."""


@dataclass(slots=True)
class Kept:
    """One call to the backend: the request, which may hold credentials, and the answer as far as it came."""

    request: BackendRequest
    status: int = 0
    """0: there was no answer."""
    headers: Dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray, repr=False)

    @property
    def answer(self) -> Answer:
        """The answer."""
        return Answer(self.status, self.headers, bytes(self.body))


@dataclass(slots=True)
class Conversation:
    """What one request of a client came to."""

    calls: list[Kept]
    error: ApiError | None = None
    """Why the client got no answer, or not all of it."""

    @property
    def answers(self) -> Sequence[Answer]:
        """The answers, in the order of the calls."""
        return [call.answer for call in self.calls if call.status]


class _Keeper(Sender):
    """A sender that keeps what it sends and what it gets."""

    def __init__(self, client: BackendClient, calls: list[Kept]) -> None:
        super().__init__(client)
        self._calls = calls

    async def send(
        self,
        request: BackendRequest,
        backend: Backend,
        client_headers: Dict[str, str] = EMPTY,
        deadline: float | None = None,
        passage: Passage | None = None,
    ) -> Incoming:
        kept = Kept(request)
        self._calls.append(kept)
        return _Copied(await super().send(request, backend, client_headers, deadline, passage), kept)


class _Copied:
    """A reply of which a copy is kept."""

    def __init__(self, reply: Incoming, kept: Kept) -> None:
        self.status = kept.status = reply.status
        self.headers = kept.headers = reply.headers
        self._reply = reply
        self._kept = kept

    async def read(self) -> bytes:
        data = await self._reply.read()
        self._kept.body += data
        if len(self._kept.body) > MAX_KEPT:
            raise BackendError("the backend's answer is too large", code="upstream_response_too_large", retry=False)
        return data

    def release(self) -> None:
        self._reply.release()

    def close(self) -> None:
        self._reply.close()


class _Sink:
    """Takes the answer for a client, of which there is none."""

    begun = False

    async def write(self, data: bytes, clock: Clock | None = None) -> None:
        self.begun = self.begun or bool(data)

    async def end(self, data: bytes) -> None:
        self.begun = True

    async def whole(self, data: bytes) -> None:
        self.begun = True

    async def break_off(self, told: bytes) -> None:
        self.begun = True

    def close(self) -> None:
        """Nothing follows."""


class _Told(Relay[None]):
    """A relay that keeps what broke an answer off."""

    fault: ApiError | None = None

    async def _break_off(self, error: ApiError) -> None:
        self.fault = error


class _Uncounted(Tokenizer):
    """Counts nothing: what a backend does not count is of no interest here."""

    def __init__(self) -> None:
        """There is nothing to load."""

    async def count(self, texts: Sequence[str], encoding: str = "") -> list[int]:
        return [0] * len(texts)


class Live:
    """Asks backends over connections of its own."""

    def __init__(self, client: BackendClient, log: Log) -> None:
        self._client = client
        self._log = log

    async def ask(
        self, mapping: Mapping, endpoint: str, call: Call, client_headers: Dict[str, str] = EMPTY
    ) -> Conversation:
        """Make a client's call, and all calls of the backend that it takes. Raises ClientError where it makes none."""
        described = mapping.endpoint(endpoint)
        if described is not None and described.images is not None:
            call = await with_images(call, described.images)
        identity = new_identity("req_live")
        door = DOORS[endpoint]
        exchange = Exchange(mapping, call, door.encoder(call, identity), identity, client_headers)
        conversation = Conversation([])
        sender = _Keeper(self._client, conversation.calls)
        state = State(Routes([], 0), self._client, sender, _Uncounted(), self._log, Server())
        relay = _Told(_Sink(), Record(), state, exchange)
        try:
            await relay.run()
            conversation.error = relay.fault
        except ApiError as error:
            conversation.error = error
        finally:
            await sender.close()
        return conversation


@asynccontextmanager
async def live() -> AsyncIterator[Live]:
    """What asks backends, for as long as the block lasts."""
    log = Log("error")
    client = BackendClient(4)
    try:
        yield Live(client, log)
    finally:
        await client.close()
        log.close()
