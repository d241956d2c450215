"""Promises of the command as a process: the example API end to end, its signals, and what it prints."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from scripted import GONE, REQUEST, Backend, Client, answer, chunk, event, fetch, hello, refused, request, stream_head
from support import ROOT

HERE = Path(__file__).parent
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
KEY = "sk-canary-of-the-operator"
MAPPING = """
oaiproxy: 1
models: [m]
backend: {url: "${BACKEND}", auth: {bearer: "${BACKEND_KEY}"}, timeouts: {idle: 1h, first_byte: 1h}}
chat:
  request: {path: /whole, body: {prompt: "{{ prompt }}"}}
  response: {text: text}
  stream: {request: {path: /stream}, format: sse, text: t, done: d}
"""


@contextmanager
def _process(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Python, which is killed if it did not end by itself."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def _serving(config: Path, **environment: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """`oaiproxy serve` and its address, as it prints it."""
    with _process("-m", "oaiproxy", "serve", "--config", str(config), "--port", "0", **environment) as process:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        found = re.search(rb"http://\S+(?=/v1)", line)
        assert found, (line, process.stderr and process.stderr.read())
        yield process, found[0].decode()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a mapping whose backend the environment names."""
    (tmp_path / "backend.yaml").write_text(MAPPING)
    path = tmp_path / "config.yaml"
    path.write_text("mappings: [backend.yaml]\nserver: {shutdown_timeout: 10}\n")
    return path


@pytest.mark.parametrize("form", ["whole", "bytes", "glued"])
async def test_the_example_api_works_end_to_end(form: str) -> None:
    """A backend that knows nothing of us, an official client that knows nothing of it, and the shipped mapping."""
    with _process(str(HERE / "example_backend.py"), form) as backend:
        assert backend.stdout is not None
        port = int(await asyncio.to_thread(backend.stdout.readline))
        address = {"YOUR_API_BASE_URL": f"http://127.0.0.1:{port}", "YOUR_API_KEY": "key-of-the-example"}
        async with (
            _serving(ROOT / "config.yaml", **address) as (_, url),
            AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client,
        ):
            whole = await client.chat.completions.create(model="your-model", messages=QUESTION)
            assert whole.choices[0].message.content == "The capital of France is Paris."
            assert whole.usage is not None
            assert whole.usage.completion_tokens == 8
            chunks = await client.chat.completions.create(model="your-model", messages=QUESTION, stream=True)
            texts = [each.choices[0].delta.content or "" async for each in chunks]
            assert [text for text in texts if text] == ["The ", "capital ", "of France is Paris."]


async def test_a_signal_lets_a_stream_finish(config: Path) -> None:
    """Row 103: no new connections, no cut, exit code 0."""
    more = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("end", done=True)), chunk(b"")]
    async with (
        Backend(script) as backend,
        _serving(config, BACKEND=backend.url, BACKEND_KEY=KEY) as (process, url),
        await Client.connect(url) as client,
    ):
        await client.send(hello(stream=True))
        await client.until(b'"The "')
        process.send_signal(signal.SIGTERM)
        await refused(url)
        assert process.poll() is None
        more.set()
        wire = await client.answer()
        assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
        assert await asyncio.to_thread(process.wait, 10) == 0


async def test_a_second_signal_ends_it_at_once(config: Path) -> None:
    """Row 107: with another exit code and no traceback."""
    async with (
        Backend([REQUEST, stream_head(), chunk(event("The ")), GONE]) as backend,
        _serving(config, BACKEND=backend.url, BACKEND_KEY=KEY) as (process, url),
        await Client.connect(url) as client,
    ):
        await client.send(hello(stream=True))
        await client.until(b'"The "')
        process.send_signal(signal.SIGTERM)
        await refused(url)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 1
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert b"[DONE]" not in await client.rest()
        await backend.gone()


async def test_no_secret_and_no_prompt_is_ever_printed(config: Path) -> None:
    """Canaries in the environment, in the client's key and in its prompt, through success and every kind of failure."""
    fine = answer({"text": "canary-in-the-answer"})
    echo = answer({"error": {"message": f"bad key {KEY}"}}, 500)
    script = [REQUEST, fine, REQUEST, echo, REQUEST, b"oops " + KEY.encode() + b"\r\n\r\n"]
    client_key = {"Authorization": "Bearer sk-canary-of-the-client"}
    prompt = [{"role": "user", "content": "canary-in-the-prompt"}]
    async with (
        Backend(script) as backend,
        _serving(config, BACKEND=backend.url, BACKEND_KEY=KEY) as (process, url),
    ):
        ask = hello(messages=prompt, headers=client_key)
        statuses = [(await fetch(url, ask)).status for _ in range(3)]
        statuses += [
            (await fetch(url, each)).status
            for each in (
                hello(messages=prompt, headers=client_key, temperature="canary-in-a-field"),
                request(b'{"canary-in-bad-json', headers=client_key),
                hello(messages=prompt, headers={**client_key, "X-Bad": "canary\x00"}),
            )
        ]
        assert statuses == [200, 502, 502, 400, 400, 400]
        process.send_signal(signal.SIGTERM)
        out, err = await asyncio.to_thread(process.communicate, None, 10)
        assert b"canary" not in out + err
        lines = [json.loads(line) for line in err.splitlines()]
        assert [line["status"] for line in lines if line["event"] == "request"] == statuses[:5]


async def test_a_log_that_nobody_reads_stops_nothing(config: Path) -> None:
    """Row 112: far more is logged than a pipe holds."""
    async with (
        Backend([REQUEST, answer({"text": "fine"})]) as backend,
        _serving(config, BACKEND=backend.url, BACKEND_KEY=KEY) as (process, url),
    ):
        bad = request(None, "/" + "p" * 150, method="GET") * 5
        async with await Client.connect(url) as client:
            for _ in range(80):
                await client.send(bad)
                for _ in range(5):
                    assert (await client.answer()).status == 404
        assert (await fetch(url, hello())).text == "fine"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
