"""Promises of the images that the proxy fetches: they arrive, and nobody reaches through it what he must not."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from typing import Any

import pytest
from scripted import GONE, REQUEST, RST, Backend, answer, chunk, fetch, hello, stream_head
from support import load

from oaiproxy import downloads
from oaiproxy.canonical import Call
from oaiproxy.downloads import with_images
from oaiproxy.errors import ClientError
from oaiproxy.images import Host, Images

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SHOWN = "data:image/png;base64," + b64encode(PNG).decode()
OK = [REQUEST, answer(PNG, headers={"Content-Type": "image/png"})]


def redirect(location: str, status: int = 302) -> list[Any]:
    return [REQUEST, answer(b"", status, {"Location": location})]


def allowing(*urls: str, **more: Any) -> Images:
    hosts = []
    for url in urls:
        scheme, _, rest = url.partition("://")
        name, _, port = rest.rpartition(":")
        hosts.append(Host(scheme, name.strip("[]"), int(port)))
    return Images(tuple(hosts), **{"private": True, **more})


def call(*urls: str) -> Call:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return Call("chat", "m", False, False, [{"role": "user", "content": parts}], {})


async def fetched(images: Images, *urls: str) -> list[str]:
    made = await with_images(call(*urls), images)
    return [part["image_url"]["url"] for part in made.messages[0]["content"]]


async def refused(images: Images, *urls: str) -> ClientError:
    with pytest.raises(ClientError) as caught:
        await fetched(images, *urls)
    error = caught.value
    assert (error.status, error.code) == (400, "invalid_image_url")
    assert error.message.startswith("The image could not be fetched.")
    return error


async def test_an_image_arrives_with_nothing_of_ours_going_out() -> None:
    """No cookie, no credential, no header of a client's."""
    async with Backend(OK) as there:
        assert await fetched(allowing(there.url), f"{there.url}/a.png?x=%20y") == [SHOWN]
        (request,) = there.requests
        assert request.line == "GET /a.png?x=%20y HTTP/1.1"
        names = {name for name, _ in request.headers}
        assert names == {"host", "accept", "accept-encoding", "user-agent", "connection"}
        assert request.header("accept-encoding") == "identity"


async def test_an_image_without_urls_is_left_alone() -> None:
    """Nothing is opened."""
    given = call("data:image/png;base64,aaaa")
    assert await with_images(given, Images(())) is given


async def test_a_url_seen_twice_is_fetched_once() -> None:
    """And the order stays."""
    async with Backend(OK) as there:
        urls = [f"{there.url}/a", f"{there.url}/b", f"{there.url}/a"]
        assert await fetched(allowing(there.url), *urls) == [SHOWN] * 3
        assert sorted(request.line.split()[1] for request in there.requests) == ["/a", "/b"]


async def test_no_more_than_four_at_a_time() -> None:
    """The others wait for their turn."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, OK[1]]) as there:
        task = asyncio.create_task(fetched(allowing(there.url), *(f"{there.url}/{n}" for n in range(8))))
        await there.asked(4)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(there.connections) == 4
        go.set()
        assert await task == [SHOWN] * 8


async def test_a_redirect_is_followed_where_it_may_lead() -> None:
    """Up to three times, relative ones too."""
    async with Backend(OK) as there, Backend(redirect("/b", 307), redirect(f"{there.url}/c")) as first:
        assert await fetched(allowing(there.url, first.url), f"{first.url}/a") == [SHOWN]
        assert [request.line.split()[1] for request in (*first.requests, *there.requests)] == ["/a", "/b", "/c"]
    async with Backend(*[redirect(f"/{n}") for n in range(3)], OK) as first:
        assert await fetched(allowing(first.url), f"{first.url}/a") == [SHOWN]
    async with Backend(redirect("/again")) as first:
        error = await refused(allowing(first.url), f"{first.url}/a")
        assert error.detail.endswith("more than 3 redirects")
        assert len(first.requests) == 4


LOCAL = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://①②⑦.0.0.1:{port}/",
    "http://127.0.0.1。:{port}/",
    "http://169.254.169.254:{port}/latest/meta-data/",
    "http://[fe80::1%25lo]:{port}/",
    "http://user:pass@127.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
]
"""Spellings of addresses that are not public."""


@pytest.mark.parametrize("url", LOCAL)
async def test_no_spelling_leads_to_a_private_address(url: str) -> None:
    """Although every host is allowed, and private ones that are written out: not one connection is made."""
    async with Backend(OK) as there:
        port = int(there.url.rpartition(":")[2])
        images = Images((Host("http", "*", port), Host("https", "*", 443)), private=True)
        await refused(images, url.format(port=port))
        assert there.connections == []


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("found", [["127.0.0.1"], ["169.254.169.254"], ["1.1.1.1", "127.0.0.1"], ["::1"]])
async def test_no_name_leads_to_a_private_address(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    """The addresses that are looked at are those that are connected to, so a name cannot change in between."""
    genuine = socket.getaddrinfo

    def flipping(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if host != "images.test":
            return genuine(host, port, *arguments, **named)
        return [info for address in found for info in genuine(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", flipping)
    async with Backend(OK) as there:
        port = int(there.url.rpartition(":")[2])
        images = Images((Host("http", "images.test", port),))
        error = await refused(images, f"http://images.test:{port}/")
        assert "not public" in error.detail
        assert there.connections == []


@pytest.mark.parametrize("url", LOCAL)
async def test_no_redirect_leads_to_a_private_address(url: str) -> None:
    """The host that redirects is written out and may be private; where it leads may not."""
    async with Backend(OK) as there:
        port = int(there.url.rpartition(":")[2])
        async with Backend(redirect(url.format(port=port))) as first:
            images = Images(
                (*allowing(first.url.replace("127.0.0.1", "localhost")).hosts, Host("http", "*", port)), private=True
            )
            await refused(images, first.url.replace("127.0.0.1", "localhost") + "/a")
            assert len(first.requests) == 1
            assert there.connections == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "//127.0.0.1/a",
        "a",
        "",
        "http://",
        "http://[",
        "http://a:99999/",
        "gopher://a/",
    ],
)
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    """Of any form."""
    await refused(Images((Host("http", "*", 80), Host("https", "*", 443))), url)


async def test_only_hosts_that_are_allowed_are_asked() -> None:
    """By scheme and port too; credentials never."""
    async with Backend(OK) as there, Backend(OK) as other:
        images = allowing(there.url)
        for url in (other.url, there.url.replace("http", "https"), there.url.replace("://", "://user@"), "x" * 9000):
            error = await refused(images, url)
            assert "127.0.0.1" not in error.message + error.detail
        assert there.connections == other.connections == []


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ([REQUEST, answer(b"no", 404, {"Content-Type": "image/png"})], "status 404"),
        ([REQUEST, answer(b"<html>", headers={"Content-Type": "text/html"})], "it is no image"),
        ([REQUEST, answer(b"", headers={"Content-Type": "image/png"})], "it is no image"),
        ([REQUEST, answer(PNG, headers={"Content-Encoding": "gzip"})], "it is compressed"),
        ([REQUEST, answer(PNG + b"x" * 300)], "it is larger than `max_bytes`"),
        (
            [REQUEST, stream_head("image/png"), (chunk(b"x" * 200) for _ in range(10**9))],
            "it is larger than `max_bytes`",
        ),
        ([REQUEST, answer(PNG)[:-9], RST], "ClientOSError"),
        ([REQUEST, b"nonsense\r\n\r\n"], "ClientResponseError"),
        ([REQUEST, answer(b"", 302)], "more than 3 redirects"),
        ([REQUEST, answer(b"", 302, {"Location": "http://["})], "ValueError"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_is_no_image_is_refused(script: Any, detail: str) -> None:
    """The client is told no more than that; the log knows."""
    async with Backend(script) as there:
        error = await refused(allowing(there.url, max_bytes=400), f"{there.url}/a")
        assert error.param == "messages[0].content[0].image_url.url"
        assert detail in error.detail or "Error" in detail


async def test_an_image_that_does_not_come_is_given_up() -> None:
    """After `timeout`; the connection is closed."""
    async with Backend([REQUEST, GONE]) as there:
        error = await refused(allowing(there.url, timeout=0.05), f"{there.url}/a")
        assert error.detail.endswith("it took too long")
        await there.gone()


async def test_one_that_fails_ends_the_others() -> None:
    """And is named."""
    async with Backend([REQUEST, answer(b"", 404)]) as bad, Backend([REQUEST, GONE]) as slow:
        images = allowing(bad.url, slow.url)
        error = await refused(images, f"{slow.url}/a", f"{bad.url}/b")
        assert error.param == "messages[0].content[1].image_url.url"


def mapping(backend: str, there: str) -> Any:
    return load(f"""
oaiproxy: 1
models: [m]
backend: {{url: "{backend}"}}
chat:
  images: {{inline: true, allow_hosts: ["{there}"], allow_private: true}}
  request:
    path: /g
    body:
      prompt: "{{{{ prompt }}}}"
      images:
        - $for: m in messages
          $value: "{{{{ m.images_base64 | first }}}}"
  response: {{text: text}}
""")


async def test_templates_have_the_data(proxy: Any) -> None:
    """Through the whole proxy; and a failure is the client's 400."""
    async with (
        Backend(OK, [REQUEST, answer(b"", 404)]) as there,
        Backend([REQUEST, answer({"text": "a cat"})]) as backend,
    ):
        running = await proxy(mapping(backend.url, there.url))
        content = [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": f"{there.url}/a.png"}},
        ]
        request = hello(messages=[{"role": "user", "content": content}], headers={"Authorization": "Bearer client"})
        wire = await fetch(running.url, request)
        assert wire.text == "a cat"
        assert backend.requests[0].json == {"prompt": "What?", "images": [b64encode(PNG).decode()]}
        assert there.requests[0].header("authorization") is None
        wire = await fetch(running.url, request)
        assert (wire.status, wire.error["code"]) == (400, "invalid_image_url")
        assert wire.error["param"] == "messages[0].content[1].image_url.url"
        assert len(backend.requests) == 1


async def test_many_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a bound together, which each alone keeps."""
    monkeypatch.setattr(downloads, "MAX_TOTAL", 2 * len(PNG))
    async with Backend(OK) as there:
        urls = [f"{there.url}/{number}" for number in range(3)]
        assert await fetched(allowing(there.url), *urls[:2]) == [SHOWN] * 2
        assert "together" in (await refused(allowing(there.url), *urls)).detail
