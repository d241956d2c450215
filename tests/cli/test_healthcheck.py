"""Promises of `oaiproxy healthcheck`: an exit code that says whether a proxy takes requests, and why not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import Proxy
from keys import Authority
from scripted import REQUEST, Act, Backend, answer
from support import example

from oaiproxy.cli import main


async def check(url: str, *options: str) -> int:
    """Run the command beside what it asks."""
    return await asyncio.to_thread(main, ["healthcheck", "--url", url, *options])


async def test_a_ready_proxy_is_healthy(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and not a word."""
    running = await proxy(example())
    assert await check(f"{running.url}/readyz") == 0
    assert capsys.readouterr() == ("", "")


async def test_a_proxy_that_is_not_ready_is_not_healthy(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """As at its end; exit code 1, and what it answered."""
    running = await proxy(example())
    running.state.ready = False
    url = f"{running.url}/readyz"
    assert await check(url) == 1
    assert capsys.readouterr().err == f"oaiproxy: {url} answered 503\n"


@pytest.mark.parametrize("status", [204, 404])
async def test_only_200_is_healthy(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Something else may listen there."""
    async with Backend([REQUEST, answer(b"", status)]) as backend:
        assert await check(backend.url) == 1
    assert capsys.readouterr().err == f"oaiproxy: {backend.url} answered {status}\n"


@pytest.mark.parametrize("script", [[REQUEST, Act.FIN], [REQUEST, b"SSH-2.0\r\n", Act.FIN]])
async def test_what_does_not_speak_http_is_not_healthy(
    script: list[Act | bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, no traceback."""
    async with Backend(script) as backend:
        assert await check(backend.url) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"oaiproxy: {backend.url} cannot be reached: ")
    assert err.count("\n") == 1


async def test_nobody_there_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and why."""
    async with Backend([]) as backend:
        pass
    assert await check(backend.url) == 1
    assert "Connection refused" in capsys.readouterr().err


async def test_the_environments_proxies_are_not_asked(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is whether the proxy here is ready."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    running = await proxy(example())
    assert await check(f"{running.url}/readyz") == 0


@pytest.mark.parametrize(
    "url",
    [
        *("nonsense", "", "127.0.0.1:8000", "ftp://127.0.0.1/", "file:///etc/hostname"),
        *("http://", "http:///readyz", "http://[::1", "http://127.0.0.1:port/", "http://127.0.0.1:99999/"),
        *("http://127.0.0.1/a b", "http://127.0.0.1/\n", "http://127.0.0.1/é", "http://127.0.0.1:0/"),
    ],
)
def test_what_is_no_address_is_wrong_use(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: waiting for it to become healthy is of no use."""
    assert main(["healthcheck", "--url", url]) == 2
    shown = url.replace("\n", "\\n")
    assert capsys.readouterr().err == f"oaiproxy: `{shown}` is not an http address\n"


async def test_a_proxy_with_tls_is_asked_by_it(proxy: Proxy, tmp_path: Path) -> None:
    """Whoever its certificate names; where it asks for one, that is shown."""
    authority = Authority()
    for name in ("server", "client", "other"):
        issued = (authority if name != "other" else Authority()).issue(name)
        (tmp_path / f"{name}.pem").write_text(issued.cert)
        (tmp_path / f"{name}.key").write_text(issued.key)
    (tmp_path / "ca.pem").write_text(authority.cert)
    tls = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    running = await proxy(example(), tls=tls)
    assert await check(f"{running.url}/readyz") == 0
    running = await proxy(example(), tls={**tls, "client_ca": str(tmp_path / "ca.pem")})
    assert await check(f"{running.url}/readyz") == 1
    for name, code in (("client", 0), ("other", 1)):
        shown = ["--certificate", str(tmp_path / f"{name}.pem"), "--key", str(tmp_path / f"{name}.key")]
        assert await check(f"{running.url}/readyz", *shown) == code


@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_on_a_socket_is_asked_there(proxy: Proxy, tmp_path: Path, tls: bool) -> None:
    """With TLS too; and who is not there is not healthy."""
    files = {}
    if tls:
        issued = Authority().issue("server")
        for name, text in (("certificate", issued.cert), ("key", issued.key)):
            (tmp_path / name).write_text(text)
            files[name] = str(tmp_path / name)
    path = str(tmp_path / "s")
    running = await proxy(example(), socket=path, tls=files)
    assert await check(f"{running.url}/readyz", "--socket", path) == 0
    assert await check(f"{running.url}/readyz", "--socket", f"{path}x") == 1


@pytest.mark.parametrize("given", [["--certificate", "x"], ["--key", "x"], ["--certificate", "x", "--key", "y"]])
async def test_a_certificate_that_cannot_be_shown_is_wrong_use(given: list[str]) -> None:
    """Exit code 2."""
    assert await check("https://127.0.0.1:1/", *given) == 2


async def test_another_servers_health_is_not_this_ones(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the answer leads is not asked."""
    running = await proxy()
    moved = f"HTTP/1.1 302 Found\r\nLocation: {running.url}/readyz\r\nContent-Length: 0\r\n\r\n".encode()
    async with Backend([REQUEST, moved]) as backend:
        assert await asyncio.to_thread(main, ["healthcheck", "--url", f"{backend.url}/readyz"]) == 1
    assert "answered 302" in capsys.readouterr().err
