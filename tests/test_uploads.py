"""Promises of `oaiproxy.uploads`: forms on the wire to fields, bounded in size, number and time."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp.multipart
import pytest
from conftest import Proxy
from scripted import GONE, REQUEST, Backend, Client, answer, fetch, request
from support import load

PATH = "/v1/audio/transcriptions"


def mapping(url: str) -> Any:
    names = {"a": "file", "w": "keywords", "g": "timestamp_granularities", "x": "extra"}
    body = ", ".join(f"{key}: '{{{{ {name} }}}}'" for key, name in names.items())
    asked = f"{{path: /hear, body: {{{body}}}}}"
    lines = ["oaiproxy: 1", "models: [m]", f"backend: {{url: '{url}'}}", "transcriptions:", f"  request: {asked}"]
    return load("\n".join([*lines, "  response: {text: t}"]) + "\n")


def part(name: str, data: bytes, more: str = "", head: str = "") -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{head}\r\n'.encode() + data + b"\r\n"


MODEL = part("model", b"m")
FILE = part("file", b"\x00\xff\r\n--", '; filename="a.wav"', "Content-Type: audio/wav\r\n")
FORM = {"Content-Type": "multipart/form-data; boundary=B"}


def form(*parts: bytes, headers: dict[str, str] | None = None) -> bytes:
    return request(b"".join(parts) + b"--B--\r\n", PATH, headers=FORM | (headers or {}))


async def test_fields_and_files(proxy: Proxy) -> None:
    """A name that comes twice, or ends in `[]`, is a list; bytes are kept."""
    async with Backend([REQUEST, answer({"t": "hi"}), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        parts = [
            part("keywords", b"one"),
            part("keywords", "zwö".encode()),
            part("timestamp_granularities[]", b"segment"),
            part("mood", b"calm"),
        ]
        wire = await fetch(running.url, form(MODEL, FILE, *parts))
        assert wire.json == {"text": "hi"}
        data = base64.b64encode(b"\x00\xff\r\n--").decode()
        assert backend.requests[0].json == {
            "a": {"filename": "a.wav", "media_type": "audio/wav", "base64": data},
            "w": ["one", "zwö"],
            "g": ["segment"],
            "x": {"mood": "calm"},
        }


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (request({"model": "m"}, PATH), 400, "invalid_body"),
        (request(b"x", PATH, headers={"Content-Type": "multipart/form-data"}), 400, "invalid_body"),
        (request(b"no boundary at all", PATH, headers=FORM), 400, "invalid_body"),
        (request(MODEL + FILE[:-20], PATH, headers=FORM), 400, "invalid_body"),
        (form(part("", b"x")), 400, "invalid_body"),
        (form(part("prompt", b"\xff"), MODEL, FILE), 400, "invalid_body"),
        (form(*[part(f"n{index}", b"") for index in range(101)]), 400, "invalid_body"),
        (form(part("_charset_", b"x" * 40), MODEL, FILE), 400, "invalid_body"),
        (form(b"--B\r\nContent-Disposition: form-data; ;name\r\n\r\nx\r\n", MODEL, FILE), 400, "invalid_body"),
        (form(b"--B\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C--\r\n", MODEL), 400, "invalid_body"),
        (form(*[b"--B\r\n" + b"a: b\r\n" * 200 + b"\r\nx\r\n"]), 400, "invalid_body"),
        (form(MODEL, FILE, headers={"Content-Encoding": "gzip"}), 415, "unsupported_encoding"),
        (form(MODEL), 400, "missing_required_parameter"),
        (form(FILE), 400, "missing_required_parameter"),
        (form(MODEL, part("file", b"text")), 400, "invalid_type"),
        (form(MODEL, FILE, FILE), 400, "invalid_type"),
        (form(MODEL, FILE, part("temperature", b"warm")), 400, "invalid_type"),
    ],
)
async def test_what_is_no_form(proxy: Proxy, sent: bytes, status: int, code: str) -> None:
    """Is the client's mistake, and told as such."""
    running = await proxy(mapping("http://127.0.0.1:9"))
    wire = await fetch(running.url, sent)
    assert (wire.status, wire.error["code"]) == (status, code)


async def test_a_form_that_is_too_large(proxy: Proxy) -> None:
    """By what it announces, and by what comes."""
    running = await proxy(mapping("http://127.0.0.1:9"), max_body=1000)
    large = part("file", b"x" * 2000, '; filename="a"')
    announced = await fetch(running.url, form(MODEL, large))
    body = MODEL + large + b"--B--\r\n"
    chunked = {**FORM, "Content-Length": "", "Transfer-Encoding": "chunked"}
    in_chunks = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    head = request(b"", PATH, headers=chunked)
    came = await fetch(running.url, head + in_chunks)
    assert [(wire.status, wire.error["code"]) for wire in (announced, came)] == [(413, "request_too_large")] * 2


async def test_much_around_the_data_of_a_form(proxy: Proxy) -> None:
    """Counts too: headers of parts are part of the body."""
    running = await proxy(mapping("http://127.0.0.1:9"), max_body=1000)
    body = b"".join(part(f"n{index}", b"", head=f"X: {'y' * 100}\r\n") for index in range(50)) + b"--B--\r\n"
    chunked = {**FORM, "Content-Length": "", "Transfer-Encoding": "chunked"}
    sent = request(b"", PATH, headers=chunked) + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    wire = await fetch(running.url, sent)
    assert (wire.status, wire.error["code"]) == (413, "request_too_large")


@pytest.mark.filterwarnings("default")
async def test_warnings_about_forms_are_not_kept(proxy: Proxy) -> None:
    """The library would print what a client wrote, and remember each of them."""
    running = await proxy(mapping("http://127.0.0.1:9"))
    known = len(vars(aiohttp.multipart).get("__warningregistry__", ()))
    for index in range(3):
        await fetch(running.url, form(f"--B\r\nContent-Disposition: form-data; ;n{index}\r\n\r\nx\r\n".encode()))
    assert len(vars(aiohttp.multipart).get("__warningregistry__", ())) == known


async def test_a_form_that_does_not_come(proxy: Proxy) -> None:
    """Is waited for, but not for ever."""
    running = await proxy(mapping("http://127.0.0.1:9"), body_timeout=0.05)
    async with await Client.connect(running.url) as client:
        await client.send(form(MODEL, FILE)[:-30])
        async with asyncio.timeout(60):
            wire = await client.answer()
    assert (wire.status, wire.error["code"]) == (408, "request_timeout")


async def test_lines_before_the_first_part_are_not_read_for_long(proxy: Proxy) -> None:
    """A form has none: it is refused while more of them come, and a blank one or two do no harm."""
    async with Backend([REQUEST, answer({"t": "hi"}), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        assert (await fetch(running.url, form(b"\r\n", MODEL, FILE))).json == {"text": "hi"}
        async with await Client.connect(running.url) as client:
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n".encode()
            head += f"Content-Type: {FORM['Content-Type']}\r\n\r\n".encode()
            lines = b"\n" * 100
            await client.send(head + b"%x\r\n%s\r\n" % (len(lines), lines))
            wire = await client.answer()
            assert (wire.status, wire.error["code"]) == (400, "invalid_body")
