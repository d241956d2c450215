"""A request on its way to the backend: proven, sent, and sent once more where that may help."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import replace
from typing import Protocol
from uuid import uuid4
from weakref import WeakKeyDictionary

from oaiproxy import jsontext
from oaiproxy.addresses import origin
from oaiproxy.auth import Auth, Passthrough, Signed, TokenAuth, unprovable
from oaiproxy.backend import BackendClient, Security
from oaiproxy.backends import Backend
from oaiproxy.circuits import Passage
from oaiproxy.credentials import TokenCache
from oaiproxy.errors import BackendError, OaiproxyError, OverloadedError
from oaiproxy.exchange import BackendRequest
from oaiproxy.failures import redact, waiting_time
from oaiproxy.framing import EMPTY
from oaiproxy.grants import Grant, Minted, Token, refused
from oaiproxy.json_framings import JsonArray
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope
from oaiproxy.provisions import context_of
from oaiproxy.sandbox import RenderError
from oaiproxy.signing import Final, Moment, Proof, proven
from oaiproxy.tls import Tls

MAX_TOKEN_REPLY = 64 * 1024
"""Bytes of a token server's reply, and of a backend's whose body may tell that a token is refused."""
TOKEN_SECONDS = 30.0
"""How long a token server may take."""
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[")
NO_CONNECTION = ("upstream_connect_error", "upstream_dns_error", "upstream_connect_timeout")
"""The codes of failures after which the backend has seen nothing of the request."""


class Incoming(Protocol):
    """A reply whose headers have come: release or close it always."""

    status: int
    headers: Dict[str, str]

    async def read(self) -> bytes: ...

    def release(self) -> None: ...

    def close(self) -> None: ...


class Sender:
    """Sends requests as their backends want them. It keeps tokens and TLS contexts, for as long as it lives."""

    def __init__(self, client: BackendClient) -> None:
        self._client = client
        self._tokens: WeakKeyDictionary[TokenAuth, TokenCache] = WeakKeyDictionary()
        self._contexts: dict[Tls, Security] = {}

    async def send(
        self,
        request: BackendRequest,
        backend: Backend,
        client_headers: Dict[str, str] = EMPTY,
        deadline: float | None = None,
        passage: Passage | None = None,
    ) -> Incoming:
        """Send a request with the backend's credentials, and wait for the reply's headers.

        Tries again what `backend.retry` names, as far as `passage` allows, and once with a fresh token when the token
        was refused; by `deadline` (in the event loop's time) it has an answer or none. Nothing of a reply is used
        before this returns. Raises BackendError, ClientError when the client did not bring its key, ProxyError when
        the mapping cannot prove it.
        """
        try:
            return await self._send(request, backend, client_headers, deadline, passage or Passage())
        except BackendError as error:
            error.detail = redact(error.detail, backend.secrets)
            raise

    def keep(self, backends: Iterable[Backend]) -> None:
        """Forget the certificates that none of these backends has any more."""
        used = {backend.tls for backend in backends}
        for tls in self._contexts.keys() - used:
            del self._contexts[tls]

    async def close(self) -> None:
        """End what is under way for tokens."""
        for cache in list(self._tokens.values()):
            await cache.close()

    async def _send(
        self,
        request: BackendRequest,
        backend: Backend,
        client_headers: Dict[str, str],
        deadline: float | None,
        passage: Passage,
    ) -> Incoming:
        tries, renewed = 0, False
        while True:
            tries += 1
            token = await self._token(backend)
            final = self._proven(request, backend, client_headers, token)
            security = self._security(backend, final.url)
            passage.sending(tries)
            try:
                reply = await self._client.send(final, backend.timeouts.connect, security, passage.replace)
            except BackendError as error:
                wait = backend.retry.after_no_connection(tries, random.random())
                if error.code not in NO_CONNECTION or wait is None or _too_late(wait, deadline):
                    raise
                if not passage.again(failed=True):
                    raise
                await asyncio.sleep(wait)
                continue
            passage.status = reply.status
            incoming: Incoming = reply
            if token is not None and isinstance(backend.auth, TokenAuth):
                incoming, is_refused = await _refusal(reply, backend.auth)
                if is_refused and self._replaceable(backend, backend.auth, token, renewed):
                    incoming.release()
                    renewed, tries = True, tries - 1
                    passage.pause()
                    continue
                if is_refused:
                    return incoming
            if incoming.status < 400:
                return incoming
            after = waiting_time(incoming.headers, time.time())
            wait = backend.retry.after_status(tries, incoming.status, after, random.random())
            if wait is None or _too_late(wait, deadline) or not passage.again(failed=incoming.status >= 500):
                return incoming
            incoming.release()
            await asyncio.sleep(wait)

    def _replaceable(self, backend: Backend, auth: TokenAuth, token: Token, renewed: bool) -> bool:
        """Whether another token may help where one was refused."""
        cache = self._cache(backend, auth)
        if renewed:
            cache.distrust()
            return False
        return cache.refuse(token)

    def _proven(
        self, request: BackendRequest, backend: Backend, client_headers: Dict[str, str], token: Token | None
    ) -> BackendRequest:
        if backend.auth is None:
            return request
        final = Final(request.method, request.url, request.headers, request.body)
        proof = _proof(backend.auth, final, client_headers, token)
        if isinstance(backend.auth, Passthrough):
            for value in (client_headers[backend.auth.name], *proof.headers.values()):
                backend.secrets.learn(value, value.rpartition(" ")[2])
        made = proven(final, proof)
        return replace(request, url=made.url, headers=made.headers)

    async def _token(self, backend: Backend) -> Token | None:
        return await self._cache(backend, backend.auth).get() if isinstance(backend.auth, TokenAuth) else None

    def _cache(self, backend: Backend, auth: TokenAuth) -> TokenCache:
        cache = self._tokens.get(auth)
        if cache is None:
            source = auth.source
            bare = replace(backend, auth=None)  # what holds the credentials would keep this entry for ever

            async def fetch(refresh: str | None) -> Token:
                token = await self._fetch(source, bare, refresh)
                bare.secrets.learn(token.value, token.refresh)
                return token

            cache = self._tokens[auth] = TokenCache(fetch)
        return cache

    async def _fetch(self, source: Grant | Minted, backend: Backend, refresh: str | None) -> Token:
        moment = _moment()
        try:
            if isinstance(source, Minted):
                return source.mint(moment)
            asked = source.build(backend.url, moment, refresh)
        except (RenderError, ValueError, ImportError) as error:
            raise refused(f"the token could not be asked for: {redact(str(error), backend.secrets)}", False) from None
        backend.secrets.learn(*asked.secrets)
        try:
            async with asyncio.timeout(TOKEN_SECONDS):
                status, headers, data = await self._ask(asked.final, backend)
            return source.read(status, headers, data, time.time())
        except TimeoutError:
            raise refused("the token server did not answer in time") from None
        except BackendError as error:
            if error.code == OverloadedError.code:
                raise
            detail = (
                error.detail
                if error.code == "upstream_auth_error"
                else f"token server: {error.message}: {error.detail}"
            )
            raise refused(redact(detail, backend.secrets)[:1000], error.retry) from None

    async def _ask(self, final: Final, backend: Backend) -> tuple[int, Dict[str, str], bytes]:
        request = BackendRequest(final.method, final.url, final.headers, final.body)
        reply = await self._client.send(request, backend.timeouts.connect, self._security(backend, final.url))
        try:
            data, complete = await _read(reply, MAX_TOKEN_REPLY)
            if not complete:
                raise refused(f"the token server's answer is larger than {MAX_TOKEN_REPLY} bytes")
            return reply.status, reply.headers, data
        finally:
            reply.close()

    def _security(self, backend: Backend, url: str) -> Security | None:
        """The mapping's certificates, which are for the backend alone."""
        tls = backend.tls
        if tls is None or origin(url) != origin(backend.url):
            return None
        security = self._contexts.get(tls)
        if security is None:
            security = self._contexts[tls] = Security(context_of(tls), tls.server_name)
        return security


class _Peeked:
    """A reply of which the beginning was read already."""

    def __init__(self, reply: Incoming, data: bytes) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._reply = reply
        self._data = data

    async def read(self) -> bytes:
        if self._data:
            data, self._data = self._data, b""
            return data
        return await self._reply.read()

    def release(self) -> None:
        self._reply.release()

    def close(self) -> None:
        self._reply.close()


async def _refusal(reply: Incoming, auth: TokenAuth) -> tuple[Incoming, bool]:
    """The reply, and whether it refuses the token. Only a small body of JSON is looked at."""
    refusal = auth.refusal
    if reply.status in refusal.statuses:
        return reply, True
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if refusal.body is None or not (kind == "application/json" or kind.endswith("+json")):
        return reply, False
    try:
        data, body = await _beginning(reply)
    except BaseException:
        reply.close()
        raise
    told = body is not None and bool(refusal.body(body, Envelope(reply.status, reply.headers)))
    return _Peeked(reply, data), told


async def _beginning(reply: Incoming) -> tuple[bytes, Json]:
    """What was read up to the end of the first value, and that value: a stream of them must not wait for its end."""
    values = JsonArray(MAX_TOKEN_REPLY)
    data = bytearray()
    while len(data) <= MAX_TOKEN_REPLY:
        more = await reply.read()
        data += more
        try:
            frame = next(iter(values.feed(more) if more else values.close()), None)
            value = None if frame is None else jsontext.parse_lenient(frame.data)
        except (OaiproxyError, jsontext.JsonError):
            break  # whoever reads the reply says what is wrong with it
        if frame is not None:
            return bytes(data), [value] if _ARRAY.match(data) else value
        if not more:
            break
    return bytes(data), None


async def _read(reply: Incoming, limit: int) -> tuple[bytes, bool]:
    """The body up to a bound, and whether that is all of it."""
    data = bytearray()
    while len(data) <= limit:
        more = await reply.read()
        if not more:
            return bytes(data), True
        data += more
    return bytes(data), False


def _proof(auth: Auth, final: Final, client_headers: Dict[str, str], token: Token | None) -> Proof:
    match auth:
        case Passthrough():
            return auth.proof(client_headers)
        case TokenAuth():
            assert token is not None
            return auth.send.proof(token.value)
        case Signed(sign=sign):
            try:
                return sign(final, _moment())
            except RenderError as error:
                raise unprovable(error) from error


def _moment() -> Moment:
    return Moment(time.time(), str(uuid4()))


def _too_late(wait: float, deadline: float | None) -> bool:
    return deadline is not None and asyncio.get_running_loop().time() + wait >= deadline
