"""CPU per request and per 50-chunk stream: oaiproxy beside a bare aiohttp handler that hard-codes the same translation.

    python benchmarks/overhead.py [ROUNDS]

Both proxies run as processes of their own, on the same loop (uvloop where it is installed), before the same backend,
and take turns in one run. The figure is the operating system's accounting of user and system time of the proxy alone.
What counts is the ratio and its spread over the rounds; the microseconds are this machine's, at this moment. The
backend tells both token counts, so neither side counts tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

CHUNKS = 50
CONNECTIONS = 8
REQUESTS = 2000
STREAMS = 300
WARM_UP = 200

MAPPING = """
oaiproxy: 1
models: [your-model]
backend: {url: "%s", auth: {bearer: key}}
chat:
  request:
    path: /generate
    body: {prompt: "{{ prompt }}", params: {temp: "{{ temperature }}", max_length: "{{ max_tokens }}"}}
  response:
    text: generated_text
    usage: {prompt: metadata.prompt_tokens, completion: metadata.tokens_generated}
  stream:
    request: {path: /generate/stream}
    format: json-concat
    text: chunk
    done: finished
"""

BARE = """
import sys, time, secrets, asyncio
import aiohttp, msgspec
from aiohttp import web
loads, dumps = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
BASE = sys.argv[1]

async def chat(request):
    asked = loads(await request.read())
    params = {}
    if asked.get("temperature") is not None: params["temp"] = asked["temperature"]
    if asked.get("max_tokens") is not None: params["max_length"] = asked["max_tokens"]
    body = {"prompt": asked["messages"][-1]["content"]}
    if params: body["params"] = params
    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    head = {"id": "chatcmpl-" + secrets.token_hex(14), "created": int(time.time()), "model": asked["model"]}
    session = request.app["session"]
    if not asked.get("stream"):
        async with session.post(BASE + "/generate", data=dumps(body), headers=headers) as reply:
            said = loads(await reply.read())
        meta = said["metadata"]
        usage = {"prompt_tokens": meta["prompt_tokens"], "completion_tokens": meta["tokens_generated"],
                 "total_tokens": meta["prompt_tokens"] + meta["tokens_generated"]}
        message = {"role": "assistant", "content": said["generated_text"], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        answer = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return web.Response(body=dumps(answer), content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    head["object"] = "chat.completion.chunk"
    def chunk(delta, reason=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return b"data: " + dumps({**head, "choices": [choice]}) + b"\\n\\n"
    await response.write(chunk({"role": "assistant", "content": "", "refusal": None}))
    async with session.post(BASE + "/generate/stream", data=dumps(body), headers=headers) as reply:
        async for line in reply.content:            # knows that each object is a line
            said = loads(line)
            if said["chunk"]:
                await response.write(chunk({"content": said["chunk"]}))
            if said["finished"]:
                break
    await response.write(chunk({}, "stop") + b"data: [DONE]\\n\\n")
    return response

async def session(app):
    app["session"] = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=0))
    yield
    await app["session"].close()

async def main():
    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("http://127.0.0.1:%d/v1" % runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

try:
    import uvloop
    uvloop.run(main())
except ImportError:
    asyncio.run(main())
"""

WHOLE = json.dumps(
    {
        "generated_text": "The capital of France is Paris. " * 12,
        "metadata": {"tokens_generated": 84, "prompt_tokens": 7, "generation_time": 0.5},
    }
).encode()
LINES = [json.dumps({"chunk": f"token {n} ", "finished": n == CHUNKS - 1}).encode() + b"\n" for n in range(CHUNKS)]
QUESTION = {
    "model": "your-model",
    "messages": [{"role": "user", "content": "What is the capital of France? " * 10}],
    "temperature": 0.7,
    "max_tokens": 100,
}


async def _backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The example API, as cheap as it can be: each chunk of a stream is a write of its own."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(length)
            if b"/generate/stream" in head.partition(b"\r\n")[0]:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
                for line in LINES:
                    writer.write(b"%x\r\n%b\r\n" % (len(line), line))
                    await asyncio.sleep(0.0005)
                writer.write(b"0\r\n\r\n")
            else:
                size = str(len(WHOLE)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " + size)
                writer.write(b"\r\n\r\n" + WHOLE)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@asynccontextmanager
async def backend() -> AsyncIterator[str]:
    """The backend in this process; gives its address."""
    server = await asyncio.start_server(_backend, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextmanager
def proxy(command: list[str], folder: str) -> Iterator[tuple[int, str]]:
    """A proxy as a process; gives its id and the address that it prints."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = next((word for word in line.split() if word.startswith("http://")), None)
        if url is None:
            raise RuntimeError(f"{' '.join(command)} did not start: run it by hand to see why")
        yield process.pid, url.removesuffix("/v1")
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(url: str, stream: bool, count: int) -> None:
    """Send requests over a few connections, and count every chunk that comes back."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({**QUESTION, "stream": stream}).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body

    async def connection(times: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(times):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            if stream:
                data = await reader.readuntil(b"0\r\n\r\n")
                assert data.count(b'"delta":{"content":"token') == CHUNKS, data
                assert b"[DONE]" in data
            else:
                size = next(int(ln[15:]) for ln in head.split(b"\r\n") if ln.lower().startswith(b"content-length:"))
                assert b"Paris" in await reader.readexactly(size)
        writer.close()

    await asyncio.gather(*(connection(count // CONNECTIONS) for _ in range(CONNECTIONS)))


def write_files(folder: Path, address: str) -> None:
    """What the two proxies need: a mapping and a configuration, and a program."""
    folder.joinpath("mapping.yaml").write_text(MAPPING % address)
    folder.joinpath("config.yaml").write_text("mappings: [mapping.yaml]\n")
    folder.joinpath("bare.py").write_text(BARE)


async def measure(rounds: int) -> None:
    """Run the rounds and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        async with backend() as address:
            write_files(Path(folder), address)
            ours = [sys.executable, "-m", "oaiproxy", "serve", "--port", "0"]
            with proxy(ours, folder) as one, proxy([sys.executable, "bare.py", address], folder) as other:
                print(f"{'':24}{'oaiproxy':>12}{'bare aiohttp':>14}{'ratio':>8}   spread of the ratio")
                await _compare("request, µs", rounds, one, other, lambda url: ask(url, False, REQUESTS), REQUESTS)
                name = f"{CHUNKS}-chunk stream, µs"
                await _compare(name, rounds, one, other, lambda url: ask(url, True, STREAMS), STREAMS)


async def _compare(
    name: str,
    rounds: int,
    one: tuple[int, str],
    other: tuple[int, str],
    load: Callable[[str], Awaitable[None]],
    count: int,
) -> None:
    figures: list[tuple[float, float]] = []
    for _, url in (one, other):
        await ask(url, "stream" in name, WARM_UP)
    for _ in range(rounds):
        pair = []
        for pid, url in (one, other):
            before = cpu_seconds(pid)
            await load(url)
            pair.append((cpu_seconds(pid) - before) / (count // CONNECTIONS * CONNECTIONS) * 1e6)
        figures.append((pair[0], pair[1]))
    ratios = [a / b for a, b in figures]
    middle = [statistics.median(column) for column in zip(*figures, strict=True)]
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    print(f"{name:24}{middle[0]:12.0f}{middle[1]:14.0f}{statistics.median(ratios):8.2f}   {spread}")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
