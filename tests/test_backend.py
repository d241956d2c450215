"""Promises of the backend client: what it sends, which connections it uses again, and what each failure is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from scripted import FIN, GONE, REQUEST, RST, Backend, Step, answer, chunk, settled, stream_head

from oaiproxy.backend import BackendClient, BackendReply
from oaiproxy.errors import BackendError
from oaiproxy.exchange import BackendRequest

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
SECRET = "sk-canary-in-a-url"


@pytest.fixture
async def client() -> AsyncIterator[BackendClient]:
    """The client under test."""
    made = BackendClient(10)
    yield made
    await made.close()


def to(backend: Backend | str, path: str = "/whole", method: str = "POST", **headers: str) -> BackendRequest:
    """A request to a backend."""
    base = backend if isinstance(backend, str) else backend.url
    return BackendRequest(method, f"{base}{path}?key={SECRET}", headers, b"{}")


async def read(reply: BackendReply) -> bytes:
    """The whole body; the connection is given back."""
    body = b""
    try:
        while data := await reply.read():
            body += data
    finally:
        reply.close()
    return body


async def failure(client: BackendClient, script: Sequence[Step], scheme: str = "http") -> BackendError:
    """The error that comes of a script."""
    async with Backend(script) as backend:
        with pytest.raises(BackendError) as caught:
            await read(await client.send(to(backend.url.replace("http", scheme)), 5))
        return caught.value


async def test_a_reply_has_its_status_its_headers_in_lower_case_and_its_body(client: BackendClient) -> None:
    """What comes is told as it came."""
    async with Backend([REQUEST, answer(b"hello", 418, {"X-Kettle": "On"})]) as backend:
        reply = await client.send(to(backend), 5)
        assert (reply.status, reply.headers["x-kettle"], await read(reply)) == (418, "On", b"hello")


async def test_only_what_the_mapping_says_is_sent(client: BackendClient) -> None:
    """Beside the mapping's own headers go those that HTTP needs, our name, and a wish for plain bytes."""
    async with Backend([REQUEST, answer(b"")]) as backend:
        await read(await client.send(to(backend, Authorization="Bearer k"), 5))
        names = {name: value for name, value in backend.requests[0].headers if name not in ("host", "content-length")}
        assert names == {
            "authorization": "Bearer k",
            "accept-encoding": "identity",
            "user-agent": "oaiproxy",
            "content-type": "application/octet-stream",
        }


async def test_the_url_is_sent_as_it_was_built(client: BackendClient) -> None:
    """Percent-encoding done by the mapping is not undone."""
    async with Backend([REQUEST, answer(b"")]) as backend:
        await read(await client.send(to(backend, "/a%2Fb%20c/d"), 5))
        assert backend.requests[0].line == f"POST /a%2Fb%20c/d?key={SECRET} HTTP/1.1"


async def test_cookies_are_never_sent_back(client: BackendClient) -> None:
    """One client's session at a backend is not another's."""
    cookie = {"Set-Cookie": "session=canary; Path=/"}
    async with Backend([REQUEST, answer(b"", headers=cookie), REQUEST, answer(b"")]) as backend:
        for _ in range(2):
            await read(await client.send(to(backend), 5))
        assert backend.requests[1].header("cookie") is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(client: BackendClient, status: int) -> None:
    """Keys go to the host that the mapping names and nowhere else."""
    async with (
        Backend([REQUEST]) as elsewhere,
        Backend([REQUEST, answer(b"", status, {"Location": elsewhere.url})]) as backend,
    ):
        reply = await client.send(to(backend), 5)
        assert reply.status == status
        await read(reply)
        assert not elsewhere.connections


async def test_proxies_of_the_environment_are_not_used(client: BackendClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend's address is where its requests go."""
    async with Backend([REQUEST]) as elsewhere, Backend([REQUEST, answer(b"direct")]) as backend:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert await read(await client.send(to(backend), 5)) == b"direct"
        assert not elsewhere.connections


async def test_a_connection_is_used_again_after_a_body_was_read(client: BackendClient) -> None:
    """`close` after the end of the body gives the connection back."""
    async with Backend([REQUEST, answer(b"one"), REQUEST, answer(b"two")]) as backend:
        bodies = [await read(await client.send(to(backend), 5)) for _ in range(2)]
        assert (bodies, len(backend.connections)) == ([b"one", b"two"], 1)


async def test_a_connection_is_used_again_when_the_end_of_the_body_comes_a_little_later(client: BackendClient) -> None:
    """`release` waits a moment, for many backends send the end of a stream apart from its last event."""
    later = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(b"done"), later, chunk(b""), REQUEST, answer(b"two")]
    async with Backend(script) as backend:
        reply = await client.send(to(backend), 5)
        assert await reply.read() == b"done"
        reply.release()
        later.set()
        await settled(lambda: reply._response.connection is None)
        assert await read(await client.send(to(backend), 5)) == b"two"
        assert len(backend.connections) == 1


async def test_a_connection_whose_body_does_not_end_is_closed(client: BackendClient) -> None:
    """`release` does not wait for ever."""
    async with Backend([REQUEST, stream_head(), chunk(b"done"), GONE]) as backend:
        reply = await client.send(to(backend), 5)
        assert await reply.read() == b"done"
        reply.release()
        await backend.gone()


async def test_closing_an_unread_reply_closes_the_connection_at_once(client: BackendClient) -> None:
    """So the backend stops generating."""
    async with Backend([REQUEST, stream_head(), GONE]) as backend:
        reply = await client.send(to(backend), 5)
        reply.close()
        await backend.gone()


async def test_a_kept_connection_that_dies_without_a_reply_is_replaced_once(client: BackendClient) -> None:
    """Row 8: the backend closed it while the request was under way; nobody notices."""
    first = [REQUEST, answer(b"one"), REQUEST, RST]
    async with Backend(first, [REQUEST, answer(b"two")]) as backend:
        bodies = [await read(await client.send(to(backend), 5)) for _ in range(2)]
        assert (bodies, len(backend.requests)) == ([b"one", b"two"], 3)


async def test_a_request_is_not_sent_again_after_a_byte_of_reply(client: BackendClient) -> None:
    """The backend did begin to answer, and may have billed."""
    first = [REQUEST, answer(b"one"), REQUEST, b"HTTP/1.1 200 OK\r\nX-Half", FIN]
    async with Backend(first, [REQUEST, answer(b"two")]) as backend:
        await read(await client.send(to(backend), 5))
        with pytest.raises(BackendError, match="broke off in its headers"):
            await client.send(to(backend), 5)
        assert len(backend.requests) == 2


async def test_a_request_is_not_sent_again_after_a_byte_of_reply_and_a_reset(client: BackendClient) -> None:
    """Row 8 is not for it: the reset says nothing of the bytes before."""
    half, later = b"HTTP/1.1 200 OK\r\nX-Half", asyncio.Event()
    first = [REQUEST, answer(b"one"), REQUEST, half, later, RST]
    async with Backend(first, [REQUEST, answer(b"two")]) as backend:
        await read(await client.send(to(backend), 5))
        (kept,) = (each for (each, _), *_ in client._session.connector._conns.values())  # type: ignore[union-attr]
        sending = asyncio.create_task(client.send(to(backend), 5))
        await settled(lambda: bool(kept.heard))
        later.set()
        with pytest.raises(BackendError) as caught:
            await sending
        assert (caught.value.code, len(backend.requests)) == ("upstream_reset", 2)


async def test_a_request_is_not_sent_again_when_a_kept_connection_dies_later(
    client: BackendClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the backend had it, and may have worked on it until it broke down."""
    monkeypatch.setattr("oaiproxy.pool.STALE_SECONDS", 0)
    first = [REQUEST, answer(b"one"), REQUEST, RST]
    async with Backend(first, [REQUEST, answer(b"two")]) as backend:
        await read(await client.send(to(backend), 5))
        with pytest.raises(BackendError):
            await client.send(to(backend), 5)
        assert len(backend.requests) == 2


async def test_a_kept_connection_that_dies_is_not_replaced_where_that_is_not_allowed(client: BackendClient) -> None:
    """By the budget of retries, for one."""
    first = [REQUEST, answer(b"one"), REQUEST, RST]
    async with Backend(first, [REQUEST, answer(b"two")]) as backend:
        await read(await client.send(to(backend), 5))
        with pytest.raises(BackendError):
            await client.send(to(backend), 5, may_repeat=lambda: False)
        assert len(backend.requests) == 2


async def test_a_request_on_a_fresh_connection_is_not_sent_again(client: BackendClient) -> None:
    """Row 9: the backend broke it off after it read the request."""
    async with Backend([REQUEST, RST]) as backend:
        with pytest.raises(BackendError):
            await client.send(to(backend), 5)
        assert len(backend.requests) == 1


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
FAILURES: dict[str, tuple[Sequence[Step], str, int]] = {
    "9 reset before headers": ([REQUEST, RST], "upstream_reset", 502),
    "10 end before headers": ([REQUEST, FIN], "upstream_closed", 502),
    "11 end within headers": ([REQUEST, b"HTTP/1.1 200 OK\r\nX-A: b", FIN], "upstream_protocol_error", 502),
    "12 not HTTP": ([REQUEST, b"220 mail.example ESMTP\r\n\r\n"], "upstream_protocol_error", 502),
    "12 another HTTP": ([REQUEST, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], "upstream_protocol_error", 502),
    "13 both lengths": (
        [REQUEST, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"],
        "upstream_protocol_error",
        502,
    ),
    "14 a huge header": (
        [REQUEST, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n"],
        "upstream_protocol_error",
        502,
    ),
    "37 short body": ([REQUEST, HALF, FIN], "upstream_truncated", 502),
    "37 reset within the body": ([REQUEST, HALF, RST], "upstream_reset", 502),
    "37 no terminal chunk": ([REQUEST, stream_head(), chunk(b"half"), FIN], "upstream_truncated", 502),
}


@pytest.mark.parametrize("row", FAILURES)
async def test_a_failure_has_its_code(client: BackendClient, row: str) -> None:
    """Rows of the fault matrix: never the client's fault, and never with the address, which may hold a key."""
    script, code, status = FAILURES[row]
    error = await failure(client, script)
    assert (error.code, error.status) == (code, status)
    assert SECRET not in error.message + error.detail


async def test_a_bad_chunk_after_good_ones_ends_the_body_at_once(client: BackendClient) -> None:
    """The library lets its reader hang there until a timer fires, even after the connection is gone."""
    later = asyncio.Event()
    async with Backend([REQUEST, stream_head(), chunk(b"good"), later, b"zz\r\n", GONE]) as backend:
        reply = await client.send(to(backend), 5)
        assert await reply.read() == b"good"
        later.set()
        with pytest.raises(BackendError) as caught:
            await read(reply)
        assert caught.value.code == "upstream_truncated"


async def test_nobody_listens(client: BackendClient) -> None:
    """Row 1: connection refused."""
    async with Backend([]) as backend:
        address = backend.url
    with pytest.raises(BackendError) as caught:
        await client.send(to(address), 5)
    assert (caught.value.code, caught.value.status, caught.value.retry) == ("upstream_connect_error", 502, None)


async def test_no_such_name(client: BackendClient) -> None:
    """Row 2: the name does not resolve."""
    with pytest.raises(BackendError) as caught:
        await client.send(to("http://backend.invalid"), 5)
    assert (caught.value.code, caught.value.status) == ("upstream_dns_error", 502)


async def test_a_connection_that_is_not_made_in_time(client: BackendClient) -> None:
    """Row 3: the backend takes the connection and never shakes hands."""
    async with Backend([GONE]) as backend:
        with pytest.raises(BackendError) as caught:
            await client.send(to(backend.url.replace("http", "https")), 0.05)
        await backend.gone()
    assert (caught.value.code, caught.value.status) == ("upstream_connect_timeout", 504)
    assert SECRET not in caught.value.detail


async def test_tls_to_a_plain_port(client: BackendClient) -> None:
    """Row 5: no TLS comes of it, and trying again is of no use."""
    error = await failure(client, [b"HTTP/1.1 400 Bad Request\r\n\r\n", FIN], "https")
    assert (error.code, error.retry) == ("upstream_protocol_error", False)


async def test_a_cancelled_request_closes_its_connection(client: BackendClient) -> None:
    """Before the headers came."""
    async with Backend([REQUEST, GONE]) as backend:
        task = asyncio.create_task(client.send(to(backend), 5))
        await backend.asked()
        task.cancel()
        await backend.gone()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_connections_to_one_host_are_bounded_and_those_to_another_are_not_affected() -> None:
    """One busy backend does not use up the others' connections."""
    client = BackendClient(1)
    async with Backend([REQUEST, GONE]) as busy, Backend([REQUEST, answer(b"free")]) as other:
        first = await_reply = asyncio.create_task(client.send(to(busy), 5))
        await busy.asked()
        second = asyncio.create_task(client.send(to(busy), 5))
        assert await read(await client.send(to(other), 5)) == b"free"
        assert len(busy.connections) == 1
        for task in (first, second):
            task.cancel()
        await asyncio.gather(await_reply, second, return_exceptions=True)
    await client.close()


async def test_parsed_addresses_are_kept_but_not_without_bound(client: BackendClient) -> None:
    """A path with a part from the request makes ever new ones."""
    for number in range(3000):
        client._url(f"http://backend.test/{number}")
    assert len(client._urls) <= 1024
