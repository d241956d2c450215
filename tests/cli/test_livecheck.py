"""Promises of `oaiproxy check --live`: what the real backend says of a mapping, at the line that is to blame."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from commands import Service, run
from scripted import FIN, GONE, REQUEST, Backend
from support import ROOT

from oaiproxy.live import live
from oaiproxy.liveprobes import probe_live
from oaiproxy.loader import Loader
from oaiproxy.mock import serve_mock
from oaiproxy.reporters import REPORTERS
from oaiproxy.rewriting import put

SECRET = "k-9f8e7d6c5b4a3"
TEXT = """\
oaiproxy: 1
models: [small]
backend:
  url: ${YOUR_API_BASE_URL}
  auth: {bearer: "${YOUR_API_KEY}"}
chat:
  request:
    path: /talk
    body: {q: "{{ prompt }}", n: "{{ max_tokens }}"}
  response:
    text: text
  stream:
    format: sse
    text: delta
    end: "[DONE]"
"""


def head(body: str, status: str = "200 OK", kind: str = "application/json", missing: int = 0) -> bytes:
    """An answer, with its end cut off or not."""
    length = len(body.encode()) + missing
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}".encode()


async def checked(tmp_path: Path, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Check, while this loop serves."""
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return await asyncio.to_thread(
        run, "check", "--live", "--format", "json", path, *options, YOUR_API_BASE_URL=url, YOUR_API_KEY=SECRET
    )


WHOLE = head('{"text": "Hi."}')
FAULTS = {
    "refused": (head('{"error": "KEY is bad"}', "401 Unauthorized"), WHOLE, [("E702", 5)]),
    "not found": (head("{}", "404 Not Found"), WHOLE, [("E704", 8)]),
    "failed": (head('{"error": "KEY"}', "500 Oops"), WHOLE, [("E704", 8)]),
    "mismatch": (head('{"answer": {"said": "KEY"}, "KEY": 1}'), WHOLE, [("E703", 11)]),
    "broken off": (WHOLE, head('data: {"delta": "Hi"}\n\n', kind="text/event-stream", missing=9), [("E705", 15)]),
    "no end": (WHOLE, head('data: {"delta": "Hi"}\n\n', kind="text/event-stream"), [("E705", 15)]),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_has_its_line(name: str, tmp_path: Path) -> None:
    """The code, the line, what came and what was there; never a secret."""
    whole, streamed, wanted = FAULTS[name]
    scripts = [[REQUEST, each.replace(b"KEY", SECRET[:3].encode()), FIN, GONE] for each in (whole, streamed)]
    async with Backend(*scripts) as backend:
        done = await checked(tmp_path, backend.url)
    assert done.returncode == 1
    found = [(each["code"], each["line"]) for each in json.loads(done.stdout)]
    assert found == wanted, done.stdout


async def test_echoed_keys_are_not_shown(tmp_path: Path) -> None:
    """Neither in the message, nor in what the answer begins with, nor among its keys."""
    body = json.dumps({"error": {"message": f"the key {SECRET} is " + "x" * 120 + SECRET}, SECRET: 1})
    for status in ("200 OK", "401 Unauthorized", "500 Oops"):
        async with Backend([REQUEST, head(body, status), FIN, GONE]) as backend:
            done = await checked(tmp_path, backend.url)
        assert done.returncode == 1
        assert SECRET not in done.stdout + done.stderr
        assert "***" in done.stdout


async def test_keys_that_came_are_named(tmp_path: Path) -> None:
    """So that the selector can be mended."""
    async with Backend([REQUEST, head('{"answer": 1, "cost": 2}'), FIN, GONE]) as backend:
        done = await checked(tmp_path, backend.url)
    assert "there are the keys `answer`, `cost`" in done.stdout
    assert backend.requests[0].json == {"q": "Say hi.", "n": 32}


def test_nobody_there(tmp_path: Path) -> None:
    """Is said once, at the address."""
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    done = run("check", "--live", path, YOUR_API_BASE_URL="http://127.0.0.1:9", YOUR_API_KEY=SECRET)
    assert done.returncode == 1
    assert done.stdout.count("E701") == 1
    assert "mine.yaml:4:8" in done.stdout
    assert "Connect call failed" in done.stdout


def test_what_has_errors_is_not_asked(tmp_path: Path) -> None:
    """As where the variables are not set."""
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    done = run("check", "--live", path)
    assert "E601" in done.stdout
    assert "E7" not in done.stdout


def test_wrong_use() -> None:
    """What is left out cannot be needed."""
    done = run("check", "--live", "--no-env", "example")
    assert done.returncode == 2
    assert "--no-env" in done.stderr


def test_a_mock_is_not_asked() -> None:
    """And that is said."""
    done = run("check", "--live", "example")
    assert done.returncode == 0
    assert "has no backend to ask" in done.stderr


@pytest.mark.parametrize(("name", "variable"), [("anthropic", "ANTHROPIC_BASE_URL"), ("dify", "DIFY_API_URL")])
async def test_a_backend_that_answers_well(name: str, variable: str) -> None:
    """As the mock of a mapping does."""
    keys = dict.fromkeys(("ANTHROPIC_API_KEY", "DIFY_API_KEY"), SECRET)
    async with Service("mock", ROOT / f"mappings/{name}.yaml", "--port", "0", **keys) as mock:
        done = await asyncio.to_thread(run, "check", "--live", name, **keys, **{variable: mock.url})
    assert done.returncode == 0, done.stdout


TOKEN = head('{"access_token": "t", "expires_in": 3600}')


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "mappings").glob("*.yaml")))
async def test_no_shipped_mapping_is_blamed_for_what_its_mock_answers(name: str) -> None:
    """For none of its endpoints, whole or streamed."""
    path = ROOT / f"mappings/{name}.yaml"
    text = path.read_text()
    served = Loader({}).check(path, environment=False, examples=False).mapping
    assert served is not None
    async with serve_mock(served, path, "127.0.0.1", 0) as url, Backend(9 * [REQUEST, TOKEN]) as tokens:
        moved = put(text, ("backend", "url"), url) if "\nbackend:" in text else put(text, ("backend",), {"url": url})
        loader = Loader({"WATSONX_IAM_URL": tokens.url, "WATSONX_APIKEY": SECRET}, {path: moved})
        mapping = loader.check(path, environment=False, examples=False).mapping
        assert mapping is not None
        assert mapping.backend.url == url
        async with live() as asking:
            findings = await probe_live(asking, mapping, moved, str(path))
    assert not findings, REPORTERS["text"](findings, {str(path): moved}, False)
