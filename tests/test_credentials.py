"""Promises of the token cache: one fetch for all, a new token in time, failures that stand for a while."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from scripted import settled

from oaiproxy import credentials
from oaiproxy.credentials import TokenCache
from oaiproxy.errors import BackendError
from oaiproxy.grants import Token, refused


class Server:
    """Gives numbered tokens, when it is let to."""

    def __init__(self, *lifetimes: float | BackendError) -> None:
        self.asked: list[str | None] = []
        self.open = asyncio.Event()
        self.open.set()
        self._lifetimes = lifetimes

    async def __call__(self, refresh: str | None) -> Token:
        number = len(self.asked)
        self.asked.append(refresh)
        await self.open.wait()
        lifetime = self._lifetimes[min(number, len(self._lifetimes) - 1)]
        if isinstance(lifetime, BackendError):
            raise lifetime
        return Token(f"token-{number}", lifetime, f"refresh-{number}")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the cache's time on."""
    now = [1000.0]
    monkeypatch.setattr(credentials, "_now", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


async def test_a_token_is_kept(clock: Callable[[float], None]) -> None:
    """Until its last tenth."""
    server = Server(100)
    cache = TokenCache(server)
    assert (await cache.get()).value == "token-0"
    clock(89.9)
    assert (await cache.get()).value == "token-0"
    assert server.asked == [None]


@pytest.mark.parametrize(("lifetime", "before"), [(100.0, 10.0), (6000.0, 60.0)])
async def test_it_is_replaced_in_the_background_while_it_is_good(
    clock: Callable[[float], None], lifetime: float, before: float
) -> None:
    """A tenth of its life before the end, a minute at most; nobody waits, and it is asked for once."""
    server = Server(lifetime)
    cache = TokenCache(server)
    await cache.get()
    server.open.clear()
    clock(lifetime - before)
    assert [(await cache.get()).value for _ in range(3)] == ["token-0"] * 3
    server.open.set()
    await settled(lambda: cache._fetching is None)
    assert (await cache.get()).value == "token-1"
    assert server.asked == [None, "refresh-0"]


async def test_an_old_token_outlives_a_failure_to_replace_it(clock: Callable[[float], None]) -> None:
    """As long as it is good, and the server is left in peace between two tries."""
    server = Server(100, refused("down"), 100)
    cache = TokenCache(server)
    await cache.get()
    clock(95)
    assert (await cache.get()).value == "token-0"
    await settled(lambda: cache._fetching is None)
    assert (await cache.get()).value == "token-0"
    assert len(server.asked) == 2
    clock(2)
    await cache.get()
    await settled(lambda: cache._fetching is None)
    assert (await cache.get()).value == "token-2"
    assert server.asked[2] is None  # the refused refresh token is given up


async def test_an_ended_token_is_waited_for(clock: Callable[[float], None]) -> None:
    """It is not sent any more."""
    cache = TokenCache(Server(100))
    await cache.get()
    clock(100)
    assert (await cache.get()).value == "token-1"


async def test_who_leaves_does_not_take_the_token_along() -> None:
    """Neither the first who waits, nor all of them."""
    server = Server(100)
    server.open.clear()
    cache = TokenCache(server)
    waiting = [asyncio.create_task(cache.get()) for _ in range(5)]
    await settled(lambda: bool(server.asked))
    waiting[0].cancel()
    server.open.set()
    assert [(await task).value for task in waiting[1:]] == ["token-0"] * 4
    assert len(server.asked) == 1


async def test_a_failure_that_nobody_waits_for_is_quiet() -> None:
    """asyncio reports exceptions that are never looked at."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    server = Server(refused("down"))
    server.open.clear()
    cache = TokenCache(server)
    task = asyncio.create_task(cache.get())
    await settled(lambda: bool(server.asked))
    task.cancel()
    await asyncio.wait([task])
    server.open.set()
    await settled(lambda: cache._fetching is None)
    gc.collect()
    assert reported == []


async def test_failures_stand_for_a_while(clock: Callable[[float], None]) -> None:
    """Each request gets an error of its own, and the server is asked again later."""
    server = Server(refused("down"), 100)
    cache = TokenCache(server)
    errors = []
    for _ in range(3):
        with pytest.raises(BackendError) as caught:
            await cache.get()
        errors.append(caught.value)
    assert len(server.asked) == 1
    assert len({id(error) for error in errors}) == 3
    clock(2)
    assert (await cache.get()).value == "token-1"


async def test_a_refused_token_is_replaced_once_for_all_who_had_it(clock: Callable[[float], None]) -> None:
    """Ten requests with the same token make one new one; a backend that refuses that too is not believed."""
    server = Server(100)
    cache = TokenCache(server)
    first = await cache.get()
    assert [cache.refuse(first) for _ in range(10)] == [True] * 10
    second = await cache.get()
    assert cache.refuse(first)
    assert await cache.get() is second
    cache.distrust()
    assert not cache.refuse(second)
    assert await cache.get() is second
    clock(30)
    assert cache.refuse(second)
    assert len(server.asked) == 2


async def test_closing_ends_what_is_under_way() -> None:
    """Who waits is cancelled."""
    server = Server(100)
    server.open.clear()
    cache = TokenCache(server)
    task: Awaitable[Token] = asyncio.create_task(cache.get())
    await settled(lambda: bool(server.asked))
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cache.close()
