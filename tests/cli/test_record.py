"""Promises of `oaiproxy record`: real answers become examples that pass, and no secret is ever among them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from commands import run
from scripted import FIN, GONE, PATIENCE, REQUEST, Backend
from support import ROOT, serving

from oaiproxy.composer import compose
from oaiproxy.loader import Loader
from oaiproxy.mock import serve_mock
from oaiproxy.nodes import SourceText
from oaiproxy.scalars import written

SECRET = "k-9f/8e7d+6c5b4a3"
MAPPING = """\
# mine
oaiproxy: 1
models: [small]
backend:
  url: ${YOUR_API_BASE_URL:-http://127.0.0.1:9}
  auth: {bearer: "${YOUR_API_KEY:-}"}
vars: {team: "${YOUR_TEAM:-none}"}
chat:
  request: {path: /talk, body: {q: "{{ prompt }}", key: {team: "{{ vars.team }}"}}}   # what it takes
  response: {text: text}
  stream:
    format: sse
    text: delta
    end: "[DONE]"
"""
SHIPPED = {
    "example": "YOUR_API_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
    "ollama": "OLLAMA_HOST_URL",
    "cohere": "CO_API_URL",
    "replicate": "REPLICATE_BASE_URL",
    "koboldcpp": "KOBOLDCPP_URL",
}
KEYS = dict.fromkeys(("YOUR_API_KEY", "ANTHROPIC_API_KEY", "CO_API_KEY", "REPLICATE_API_TOKEN"), SECRET)


def head(body: str, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole answer."""
    lines = (f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body.encode())}", *headers)
    return "\r\n".join([*lines, "", body]).encode()


async def recorded(path: Path, url: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Record, while this loop serves."""
    variables = {"YOUR_API_BASE_URL": url, "YOUR_API_KEY": SECRET, **more}
    return await asyncio.to_thread(run, "record", path, *options, **variables)


def nameless(text: str) -> Any:
    """The examples of a text, without their names."""
    root, found = compose(SourceText("", text))
    assert root is not None
    assert not found
    data = written(root)
    assert isinstance(data, list)
    return [{key: value for key, value in each.items() if key != "name"} for each in data]


def mapping_in(folder: Path, text: str = MAPPING) -> Path:
    """A mapping file."""
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def mocked(path: Path) -> AbstractAsyncContextManager[str]:
    """The address of a mapping's mock."""
    mapping = Loader(KEYS).check(path).mapping
    assert mapping is not None
    return serve_mock(mapping, path, "127.0.0.1", 0)


@pytest.mark.parametrize("name", SHIPPED)
async def test_what_a_mock_answers_is_recorded(name: str, tmp_path: Path) -> None:
    """Of shipped mappings: the examples pass, and their own mock answers them the same again."""
    path = tmp_path / f"{name}.yaml"
    before = (ROOT / f"mappings/{name}.yaml").read_text()
    path.write_text(before)
    async with mocked(path) as url:
        done = await asyncio.to_thread(run, "record", path, **KEYS, **{SHIPPED[name]: url})
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 examples added" in done.stdout
    assert path.read_text().startswith(before.rstrip("\n"))
    added = path.read_text()[len(before.rstrip("\n")) :]
    for variables in ({}, {**KEYS, SHIPPED[name]: "https://other.example.com/base"}):
        assert Loader(variables).check(path, environment=bool(variables)).diagnostics == ()
    path.write_text(before.partition("\nexamples:")[0] + "\nexamples:" + added)
    async with mocked(path) as url:
        again = await asyncio.to_thread(run, "record", path, "--dry-run", **KEYS, **{SHIPPED[name]: url})
    assert again.returncode == 0, again.stderr
    assert nameless(again.stdout) == nameless(added)


async def test_no_secret_is_written(tmp_path: Path) -> None:
    """Not one that the answer echoes in text, keys, headers or escapes, nor what looks like one or is called so."""
    body = {
        "text": f"your header was Bearer {SECRET}, and sk-abcdefghijklmnopqrstuvwx another",
        "echo": {"authorization": "something short", "account_id": "acc", SECRET: 1, "team": "the-a-team"},
        "organization": "my company",
        "token": "Hello",
    }
    answer = head(json.dumps(body).replace("/", "\\/"), f"x-echo: {SECRET}", "set-cookie: session=1", "x-request-id: 7")
    path = mapping_in(tmp_path)
    async with Backend([REQUEST, answer, GONE]) as backend:
        done = await recorded(path, backend.url, "--no-stream", YOUR_TEAM="the-a-team")
    assert (done.returncode, done.stderr) == (0, "")
    text = path.read_text()
    for secret in (
        SECRET,
        "6c5b4a3",
        "sk-abcd",
        "something",
        ": acc",
        "my company",
        "the-a-team",
        "session",
        backend.url,
    ):
        assert secret not in text + done.stdout, secret
    assert "token: Hello" in text
    assert "sends_like: {path: /talk, body: {q: Say hi.}}" in text
    assert run("check", "--no-env", path).returncode == 0


async def test_a_secret_in_pieces_is_refused(tmp_path: Path) -> None:
    """Where it cannot be taken out of a stream."""
    frames = "".join(f'data: {{"delta": "{part}"}}\n\n' for part in (SECRET[:6], SECRET[6:])) + "data: [DONE]\n\n"
    path = mapping_in(tmp_path)
    async with Backend([REQUEST, head(frames, kind="text/event-stream"), GONE]) as backend:
        done = await recorded(path, backend.url, "--stream")
    assert done.returncode == 1
    assert "a secret of the mapping is spread" in done.stderr
    assert path.read_text() == MAPPING
    assert SECRET not in done.stderr + done.stdout


async def test_a_long_answer_has_a_file(tmp_path: Path) -> None:
    """Beside the mapping; a second one of the same name is refused."""
    path = mapping_in(tmp_path)
    frames = "".join(f'data: {{"delta": "{number} of many words "}}\n\n' for number in range(900)) + "data: [DONE]\n\n"
    async with Backend([REQUEST, head(frames, kind="text/event-stream"), GONE]) as backend:
        done = await recorded(path, backend.url, "--stream", "--name", "Long, long!")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "mine.long-long.sse").read_text() == frames
        assert "file: mine.long-long.sse" in path.read_text()
        assert run("check", "--no-env", path).returncode == 0
        path.write_text(MAPPING)
        done = await recorded(path, backend.url, "--stream", "--name", "Long, long!")
    assert done.returncode == 1
    assert "is there already" in done.stderr


FAULTS = {
    "refused": ([REQUEST, head('{"error": "bad key KEY"}', status="401 Unauthorized"), GONE], "refused"),
    "broken": ([REQUEST, head("{" + 99 * " ")[:-50], FIN], "broke off"),
    "no HTTP": ([REQUEST, b"hello\r\n\r\n", FIN], "not HTTP"),
    "other": ([REQUEST, head('{"answer": "KEY"}'), GONE], "text"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_failure_is_one_line(name: str, tmp_path: Path) -> None:
    """And the file stays as it was."""
    script, told = FAULTS[name]
    script = [step.replace(b"KEY", SECRET[:3].encode()) if isinstance(step, bytes) else step for step in script]
    path = mapping_in(tmp_path)
    async with Backend(script) as backend:
        done = await recorded(path, backend.url, "--no-stream")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("oaiproxy: nothing recorded: `recorded: chat` failed: ")
    assert told in done.stderr
    assert SECRET not in done.stderr
    assert path.read_text() == MAPPING
    assert os.listdir(tmp_path) == [path.name]


def test_a_backend_that_is_not_there(tmp_path: Path) -> None:
    """One line too."""
    path = mapping_in(tmp_path)
    done = run("record", path, YOUR_API_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "could not be reached" in done.stderr


async def test_an_expected_error_is_kept(tmp_path: Path) -> None:
    """With its status, its code and the headers that say when to come again; an answer that succeeds is not one."""
    answer = head("slow down", "retry-after: 7", "x-other: 1", status="429 Too Many Requests", kind="text/plain")
    path = mapping_in(tmp_path)
    async with Backend([REQUEST, answer, GONE]) as backend:
        done = await recorded(path, backend.url, "--no-stream", "--expect-error", "--name", "busy")
    assert (done.returncode, done.stderr) == (0, "")
    assert "status: 429" in path.read_text()
    assert "x-other" not in path.read_text()
    assert run("check", "--no-env", path).returncode == 0
    async with Backend([REQUEST, head('{"text": "hi"}'), GONE]) as backend:
        done = await recorded(path, backend.url, "--no-stream", "--expect-error")
    assert "succeeded" in done.stderr


async def test_a_request_from_a_file(tmp_path: Path) -> None:
    """Is sent, and kept, as it is; a dry run writes nothing."""
    request = tmp_path / "request.json"
    request.write_text('{"messages": [{"role": "user", "content": "How?"}], "stream": false}')
    path = mapping_in(tmp_path)
    async with Backend([REQUEST, head('{"text": "So."}'), GONE]) as backend:
        done = await recorded(path, backend.url, "--request", str(request), "--dry-run")
        assert backend.requests[0].json["q"] == "How?"
    assert done.returncode == 0, done.stderr
    assert path.read_text() == MAPPING
    assert "replies: {text: So., finish_reason: stop}" in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["example"], "ships with oaiproxy"),
        (["nowhere.yaml"], "No such file"),
        (["mine.yaml", "--endpoint", "embeddings"], "has no `embeddings`"),
        (["mine.yaml", "--request", "broken.json"], "not JSON"),
        (["mine.yaml", "--request", "absent.json"], "absent.json"),
    ],
)
def test_wrong_use(options: list[str], told: str, tmp_path: Path) -> None:
    """Exits with 2 and says why."""
    mapping_in(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    done = run("record", *options, cwd=tmp_path, YOUR_API_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


def test_a_mock_is_no_backend(tmp_path: Path) -> None:
    """There is nothing to learn from it."""
    path = tmp_path / "mine.yaml"
    path.write_text((ROOT / "mappings/example.yaml").read_text())
    done = run("record", path)
    assert done.returncode == 1
    assert "`mock:`" in done.stderr


async def test_the_clients_own_key_is_sent_on_and_not_kept(tmp_path: Path) -> None:
    """With `auth: passthrough`; other headers that templates read stay in the example."""
    key = "canary-of-the-client-1"
    auth = "auth: {passthrough: x-mine}\n  client_headers: [x-tenant]"
    text = MAPPING.replace('auth: {bearer: "${YOUR_API_KEY:-}"}', auth)
    path = tmp_path / "m.yaml"
    path.write_text(text.replace("key: {team:", "tenant: \"{{ headers['x-tenant'] }}\", key: {team:"))
    refused = await recorded(path, "http://127.0.0.1:9", "--no-stream")
    assert refused.returncode == 2
    assert "give it with `--client-header 'x-mine: ...'`" in refused.stderr
    answer = head(json.dumps({"text": f"Hi {key}"}), f"x-echo: {key}")
    async with Backend([REQUEST, answer, GONE]) as backend:
        given = ("--client-header", f"X-Mine: {key}", "--client-header", "X-Tenant: a")
        made = await recorded(path, backend.url, "--no-stream", *given)
        assert made.returncode == 0, made.stderr
        assert backend.requests[0].header("x-mine") == key
    kept = path.read_text()
    assert key not in kept + made.stdout + made.stderr
    assert "x-tenant: a" in kept


def another_thread(process: int) -> int:
    """One that is not the first, to which the system may bring a signal as well."""
    return next(int(thread) for thread in os.listdir(f"/proc/{process}/task") if int(thread) != process)


@pytest.mark.parametrize(
    "receiver",
    [
        int,
        pytest.param(another_thread, marks=pytest.mark.skipif(sys.platform != "linux", reason="threads are found so")),
    ],
)
async def test_an_interrupt_leaves_the_file_whole(receiver: Callable[[int], int], tmp_path: Path) -> None:
    """While the backend is silent, whichever thread gets it; nothing lies beside it afterwards."""
    path = tmp_path / "m.yaml"
    path.write_text(MAPPING)
    async with Backend([REQUEST, GONE]) as backend:
        command = [sys.executable, "-m", "oaiproxy", "record", str(path)]
        variables = {**os.environ, "YOUR_API_BASE_URL": backend.url}
        process = await asyncio.create_subprocess_exec(*command, env=variables, stderr=asyncio.subprocess.PIPE)
        try:
            await backend.asked()
            os.kill(receiver(process.pid), signal.SIGINT)
            async with asyncio.timeout(PATIENCE):
                _, told = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
    assert (process.returncode, told) == (130, b"")
    assert path.read_text() == MAPPING
    assert os.listdir(tmp_path) == ["m.yaml"]


JOBS = """\
oaiproxy: 1
models: [small]
backend: {url: "URL"}
chat:
  before: [{name: job, request: {path: /jobs, body: {q: "{{ prompt }}"}}}]
  request: {method: GET, url: "{{ job.next }}"}
  response: {text: text}
"""


@pytest.mark.parametrize("url", ["${YOUR_API_BASE_URL}", "${YOUR_API_BASE_URL:-https://home.example.com/v1}/"])
async def test_addresses_in_answers_are_told_by_the_reference(url: str, tmp_path: Path) -> None:
    """So that the examples pass in any environment; an address that is like another begins no other."""
    path = mapping_in(tmp_path, JOBS.replace("URL", url))
    async with Backend([]) as backend:
        backend._scripts = [
            [
                *(REQUEST, head(json.dumps({"next": f"{backend.url}/base/jobs/${{1}}"}))),
                *(REQUEST, head(json.dumps({"text": f"See {backend.url}1 and {backend.url}/base."})), GONE),
            ]
        ]
        variables = {"YOUR_API_BASE_URL": f"{backend.url}/base"}
        done = await asyncio.to_thread(run, "record", path, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(re.escape(backend.url) + r"\S*", path.read_text()) == 2 * [f"{backend.url}1"]
    assert "}/jobs/$${1}" in path.read_text()
    for options, there in (
        ((), variables),
        ((), {"YOUR_API_BASE_URL": "https://a.example.com/b/c"}),
        (("--no-env",), {}),
    ):
        checked = await asyncio.to_thread(run, "check", *options, path, **there)
        assert checked.returncode == 0, checked.stdout


def endless(event: bytes) -> Iterator[bytes]:
    """The same for as long as somebody reads."""
    while True:
        yield event


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
ENDLESS = {
    "never answers": ("--no-stream", [REQUEST, GONE]),
    "stops in the answer": ("--no-stream", [REQUEST, head("{" + 99 * " ")[:-50], GONE]),
    "stops in the stream": ("--stream", [REQUEST, STREAM, b'data: {"delta": "a"}\n\n', GONE]),
    "never ends": ("--stream", [REQUEST, STREAM, endless(b'data: {"delta": "a"}\n\n')]),
    "says nothing for ever": ("--stream", [REQUEST, STREAM, endless(b": still here\n\n")]),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_backend_has_so_much_time(name: str, tmp_path: Path) -> None:
    """As the mapping gives it, which is told; the file stays as it was, also where an error is expected."""
    way, script = ENDLESS[name]
    text = MAPPING.replace("vars:", "  timeouts: {first_byte: 500ms, idle: 500ms, total: 1s}\nvars:")
    path = mapping_in(tmp_path, text)
    async with Backend(script) as backend:
        done = await recorded(path, backend.url, way)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "in time; " in done.stderr or "`timeouts.total` is over; " in done.stderr
    assert "; `backend.timeouts` waits 0.5s for the first of it, 0.5s for more, 1s" in done.stderr
    assert path.read_text() == text
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("form", ["messages", "[messages, sse]"])
async def test_a_websocket_is_recorded(form: str, tmp_path: Path) -> None:
    """Frame by frame, without the secret that a message echoes."""
    said = [{"delta": f"Hi {SECRET}"}, {"delta": "you" * 100}, {"done": True}]
    asked: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        asked.append((request.headers["Authorization"], await socket.receive_json()))
        for each in said:
            await socket.send_str(json.dumps(each) if form == "messages" else f"data: {json.dumps(each)}\n\n")
        await socket.receive()
        return socket

    text = MAPPING.replace("backend:\n", "backend:\n  transport: websocket\n").replace("  response: {text: text}\n", "")
    path = mapping_in(tmp_path, text.replace("format: sse", f"format: {form}").replace('end: "[DONE]"', "done: done"))
    async with serving(handle, "ws") as url:
        done = await recorded(path, url)
    assert (done.returncode, done.stderr) == (0, "")
    assert asked == [(f"Bearer {SECRET}", {"q": "Say hi.", "key": {"team": "none"}})]
    assert SECRET not in path.read_text()
    assert "delta: Hi ***" in path.read_text()
    checked = run("check", "--no-env", path)
    assert checked.returncode == 0, checked.stdout


async def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    """Nor what an editor writes while a backend is waited for."""
    path = mapping_in(tmp_path)
    go = asyncio.Event()
    async with Backend([REQUEST, go, head('{"text": "Hi."}'), GONE]) as backend:
        both = asyncio.gather(*(recorded(path, backend.url, "--no-stream") for _ in range(2)))
        await backend.asked(2)
        path.write_text(f"# edited\n{MAPPING}")
        go.set()
        done = await both
    assert [(each.returncode, each.stderr) for each in done] == 2 * [(0, "")]
    text = path.read_text()
    assert text.startswith(f"# edited\n{MAPPING}")
    assert re.findall("name: (.*)", text) == ['"recorded: chat"', '"recorded: chat 2"']
    assert run("check", "--no-env", path).returncode == 0
    assert os.listdir(tmp_path) == [path.name]
