"""Tokens for backends, got once for all who wait and kept until shortly before they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from oaiproxy.errors import BackendError
from oaiproxy.grants import Token

MAX_SKEW = 60.0
SKEW_SHARE = 0.1
"""How long before its end a token is replaced: so many seconds, but no more than this share of its life."""
FAILURE_SECONDS = 2.0
"""For how long a failure to get a token stands for all: a token server that is down is not asked by each request."""
DISTRUST_SECONDS = 30.0
"""For how long a backend that refused a fresh token too may refuse others without their being replaced."""


class TokenCache:
    """The token of one mapping. `fetch` gets one; its argument is the refresh token of the last reply, if any."""

    def __init__(self, fetch: Callable[[str | None], Awaitable[Token]]) -> None:
        self._fetch = fetch
        self._token: Token | None = None
        self._refresh: str | None = None
        self._renewal = 0.0
        self._end = 0.0
        self._fetching: asyncio.Task[Token] | None = None
        self._failure: BackendError | None = None
        self._patience = 0.0
        self._distrust = 0.0

    async def get(self) -> Token:
        """A token that is good now. Raises BackendError.

        While one is being fetched, all wait for that one; who leaves does not take it from the others.
        """
        now = _now()
        held = self._token
        if held is not None and now < self._end:
            if now >= self._renewal and self._fetching is None and now >= self._patience:
                self._start()
            return held
        if self._fetching is None and self._failure is not None and now < self._patience:
            raise _again(self._failure)
        try:
            return await asyncio.shield(self._fetching or self._start())
        except BackendError as error:
            raise _again(error) from error

    def refuse(self, token: Token) -> bool:
        """Whether a token that the backend refused is worth replacing; if so, the next `get` gives another one."""
        if self._token is not token:
            return True
        if _now() < self._distrust:
            return False
        self._token = None
        return True

    def distrust(self) -> None:
        """A fresh token was refused as well: it is not the token."""
        self._distrust = _now() + DISTRUST_SECONDS

    async def close(self) -> None:
        """End what is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _start(self) -> asyncio.Task[Token]:
        self._fetching = asyncio.get_running_loop().create_task(self._replace())
        self._fetching.add_done_callback(self._finished)
        return self._fetching

    async def _replace(self) -> Token:
        try:
            token = await self._fetch(self._refresh)
        except BackendError as error:
            self._failure, self._patience = error, _now() + FAILURE_SECONDS
            self._refresh = None  # the mapping's own may still be good
            raise
        now = _now()
        self._token, self._failure = token, None
        self._refresh = token.refresh or self._refresh
        self._end = now + token.lifetime
        self._renewal = self._end - min(MAX_SKEW, token.lifetime * SKEW_SHARE)
        return token

    def _finished(self, task: asyncio.Task[Token]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # which nobody may be left to wait for


def _now() -> float:
    return asyncio.get_running_loop().time()


def _again(error: BackendError) -> BackendError:
    """The same error for another request: each adds to its own."""
    return BackendError(
        error.message,
        status=error.status,
        type=error.type,
        code=error.code,
        detail=error.detail,
        retry_after=error.retry_after,
        retry=error.retry,
    )
