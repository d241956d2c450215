"""Promises of exchanges of several calls over real sockets: their order, their failures, what a client stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from conftest import Proxy
from scripted import Client, event, fetch, hello, request, settled
from support import load, serving

from oaiproxy.app import Running
from oaiproxy.mapping import Mapping

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
PATIENCE = 10
TEXT = {"text": "Hello", "p": 3, "c": 2}
"""What the mappings here read as an answer."""


class Api:
    """A backend that remembers what it was asked, and answers each path in turn, the last answer again."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self._answers: dict[str, list[Any]] = {}
        self._changed = asyncio.Event()

    def on(self, asked: str, *answers: Any) -> Api:
        """What is answered to `GET /path`: data, a status and data, or a coroutine function."""
        self._answers[asked] = list(answers)
        return self

    async def start(self, stack: AsyncExitStack) -> Api:
        """Listen."""
        self.url = await stack.enter_async_context(serving(self._handle))
        return self

    async def until(self, asked: str, times: int = 1) -> None:
        """Wait until something was asked so often."""
        async with asyncio.timeout(PATIENCE):
            while self.asked.count(asked) < times:
                self._changed.clear()
                await self._changed.wait()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = f"{request.method} {request.path_qs}"
        data = await request.read()
        self.asked.append(asked)
        self.bodies.append(json.loads(data) if request.content_type == "application/json" and data else data or None)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self._changed.set()
        known = self._answers.get(asked)
        if known is None:
            return web.json_response({"error": f"nobody expects {asked}"}, status=404)
        found = known.pop(0) if len(known) > 1 else known[0]
        if callable(found):
            response: web.StreamResponse = await found(request)
            return response
        status, body = found if isinstance(found, tuple) else (200, found)
        return web.json_response(body, status=status)


@pytest.fixture
async def api() -> Any:
    """Starts backends."""
    async with AsyncExitStack() as stack:

        async def start() -> Api:
            return await Api().start(stack)

        yield start


def streamed(*parts: bytes, content_type: str = "text/event-stream") -> Answer:
    """A stream."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": content_type})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        await response.write_eof()
        return response

    return answer


def endless(*parts: bytes) -> Answer:
    """A stream that does not end while somebody reads it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        await asyncio.Event().wait()
        return response

    return answer


async def broken(request: web.Request) -> web.StreamResponse:
    """The connection breaks with no answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def mapped(url: str, endpoint: str, backend: str = "") -> Mapping:
    """A mapping whose endpoint is given as YAML."""
    lines = [f"  {line}" for line in endpoint.strip("\n").split("\n")]
    return load(f"oaiproxy: 1\nmodels: [m]\nbackend:\n  url: {url}\n  {backend}\nchat:\n" + "\n".join(lines) + "\n")


BODY = "request: {path: /tasks, body: {prompt: '{{ prompt }}'}}"
RESPONSE = "response: {text: text, usage: {prompt: p, completion: c}}"
POLL = f"""
{BODY}
poll:
  request: {{path: "/tasks/{{{{ created.id }}}}"}}
  every: {{first: 1ms, max: 2ms}}
  status: status
  done: [succeeded]
  failed: [failed, canceled]
cancel: {{request: {{path: "/tasks/{{{{ created.id }}}}/cancel", body: {{why: gone}}}}}}
{RESPONSE}
"""


async def ask(running: Running, **fields: Any) -> Any:
    """What a client gets."""
    return await fetch(running.url, hello(**fields))


async def test_a_task_is_created_and_polled_until_it_is_done(proxy: Proxy, api: Any) -> None:
    """Statuses that nobody names are not the end; the reply that ends it is the answer, also of a client's stream."""
    backend = await api()
    for stream in (False, True):
        backend.on("POST /tasks", (201, {"id": "t1", "status": "starting"}))
        backend.on("GET /tasks/t1", {"status": "starting"}, {"status": "odd"}, {"status": "succeeded", **TEXT})
        backend.asked.clear()
        wire = await ask(await proxy(mapped(backend.url, POLL)), stream=stream)
        assert (wire.status, wire.text) == (200, "Hello")
        assert backend.asked == ["POST /tasks", *["GET /tasks/t1"] * 3]


async def test_a_task_that_is_done_at_once_is_not_polled(proxy: Proxy, api: Any) -> None:
    """The create call's reply is the answer."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1", "status": "succeeded", **TEXT})
    wire = await ask(await proxy(mapped(backend.url, POLL)))
    assert wire.text == "Hello"
    assert wire.json["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert backend.asked == ["POST /tasks"]


async def test_the_result_may_be_elsewhere(proxy: Proxy, api: Any) -> None:
    """It is asked for when the task is done; what `poll` said last is `polled`."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", {"status": "succeeded", "at": "r9"})
    backend.on("GET /results/r9?of=t1", TEXT)
    result = 'result: {request: {path: "/results/{{ polled.at }}", query: {of: "{{ created.id }}"}}}'
    endpoint = POLL.replace("  status: status\n", f"  status: status\n  {result}\n")
    wire = await ask(await proxy(mapped(backend.url, endpoint)))
    assert wire.text == "Hello"
    assert backend.asked[-1] == "GET /results/r9?of=t1"


async def test_without_a_request_the_main_one_is_repeated(proxy: Proxy, api: Any) -> None:
    """For APIs whose address tells whether the answer is there."""
    backend = await api()
    backend.on("POST /tasks", {"ready": False}, {"ready": True, **TEXT})
    poll = "poll: {every: {first: 1ms}, status: ready, done: [true]}"
    wire = await ask(await proxy(mapped(backend.url, f"{BODY}\n{poll}\n{RESPONSE}")))
    assert (wire.text, backend.asked) == ("Hello", ["POST /tasks"] * 2)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"status": "failed", "error": "out of memory"}, "out of memory"),
        ({"status": "canceled"}, "the backend gave up: its status is 'canceled'"),
        ({"status": "starting", "error": {"message": "no such model"}}, "no such model"),
    ],
)
async def test_a_task_that_fails_is_an_error(proxy: Proxy, api: Any, reply: Any, message: str) -> None:
    """With the message that was found."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", reply)
    wire = await ask(await proxy(mapped(backend.url, POLL)))
    assert (wire.status, wire.error["message"]) == (502, message)


async def test_a_task_that_takes_too_long_is_given_up_and_called_off(proxy: Proxy, api: Any) -> None:
    """504, and the backend learns of it."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", {"status": "starting"})
    backend.on("POST /tasks/t1/cancel", {})
    endpoint = POLL.replace("  status: status\n", "  status: status\n  timeout: 50ms\n")
    wire = await ask(await proxy(mapped(backend.url, endpoint)))
    assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")
    await backend.until("POST /tasks/t1/cancel")
    assert backend.bodies[-1] == {"why": "gone"}


async def test_polls_that_fail_in_passing_are_tolerated(proxy: Proxy, api: Any) -> None:
    """Three in a row: a broken connection, too many requests, an overloaded backend."""
    backend = await api()
    passing = [broken, (429, {}), (503, {})]
    backend.on("POST /tasks", {"id": "t1"})
    backend.on("GET /tasks/t1", *passing, {"status": "starting"}, *passing, {"status": "succeeded", **TEXT})
    assert (await ask(await proxy(mapped(backend.url, POLL)))).text == "Hello"


@pytest.mark.parametrize(("answers", "status"), [([(503, {})] * 4, 503), ([(404, {})], 502), ([[]], 504)])
async def test_polls_that_go_on_failing_are_an_error(proxy: Proxy, api: Any, answers: Any, status: int) -> None:
    """As is one that no further poll can mend."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", *answers)
    patience = "200ms" if status == 504 else "10s"
    endpoint = POLL.replace("  status: status\n", f"  status: status\n  timeout: {patience}\n")
    wire = await ask(await proxy(mapped(backend.url, endpoint)))
    assert wire.status == status
    assert backend.asked.count("GET /tasks/t1") >= min(4, len(answers))


async def test_a_client_that_leaves_while_it_is_polled_stops_the_task(proxy: Proxy, api: Any) -> None:
    """The backend is told once, in the background."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", {"status": "starting"})
    backend.on("POST /tasks/t1/cancel", {})
    running = await proxy(mapped(backend.url, POLL))
    async with await Client.connect(running.url) as client:
        await client.send(hello())
        await backend.until("GET /tasks/t1", 2)
    await backend.until("POST /tasks/t1/cancel")
    async with asyncio.timeout(PATIENCE):
        await running.state.idle.wait()
        await asyncio.gather(*running.state.background)
    assert backend.asked.count("POST /tasks/t1/cancel") == 1


async def test_a_stop_of_the_proxy_calls_tasks_off(proxy: Proxy, api: Any) -> None:
    """The client learns that the proxy stops, the backend that nobody waits."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", {"status": "starting"})
    backend.on("POST /tasks/t1/cancel", {})
    running = await proxy(mapped(backend.url, POLL))
    async with await Client.connect(running.url) as client:
        await client.send(hello())
        await backend.until("GET /tasks/t1")
        await running.state.drain(0.01)
        wire = await client.answer()
    assert wire.error["code"] == "server_shutdown"
    assert backend.asked[-1] == "POST /tasks/t1/cancel"


@pytest.mark.parametrize("came", [True, False])
async def test_a_stream_is_stopped_by_an_id_that_came_in_it(proxy: Proxy, api: Any, came: bool) -> None:
    """Where none came there is nothing to say."""
    backend = await api()
    task = b'data: {"task": "s7"}\n\ndata: {"task": ""}\n\n' if came else b""
    backend.on("POST /tasks", endless(task, event("He"))).on("POST /tasks/s7/stop", {})
    stream = "stream: {format: sse, text: t, done: d, remember: {task: task}}"
    cancel = 'cancel: {request: {path: "/tasks/{{ seen.task }}/stop"}}'
    running = await proxy(mapped(backend.url, f"{BODY}\n{stream}\n{cancel}"))
    async with await Client.connect(running.url) as client:
        await client.send(hello(stream=True))
        await client.until(b"He")
    if came:
        await backend.until("POST /tasks/s7/stop")
    async with asyncio.timeout(PATIENCE):
        await running.state.idle.wait()
    assert not running.state.background or came
    assert backend.asked == ["POST /tasks"] + ["POST /tasks/s7/stop"] * came


async def test_an_answer_that_is_complete_is_not_called_off(proxy: Proxy, api: Any) -> None:
    """There is nothing to stop."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1", "status": "succeeded", **TEXT})
    running = await proxy(mapped(backend.url, POLL))
    await ask(running)
    assert not running.state.background
    assert backend.asked == ["POST /tasks"]


STREAMED = """
before:
  - {name: task, request: {path: /tasks, body: {prompt: "{{ prompt }}", stream: "{{ stream }}"}}}
request: {method: GET, url: "{{ task.urls.get }}"}
poll: {every: {first: 1ms}, status: status, done: [succeeded]}
response: {text: text, usage: {prompt: p, completion: c}}
stream:
  request: {url: "{{ task.urls.stream }}", headers: {accept: text/event-stream}}
  format: sse
  data: text
  events:
    output: {text: "@"}
    done: {done: "'yes'"}
after:
  - {name: counts, request: {url: "{{ task.urls.get }}"}, usage: {prompt: p, completion: c}}
cancel: {request: {method: POST, url: "{{ task.urls.cancel }}"}}
"""


def urls(backend: Api, other: str) -> dict[str, Any]:
    """What the create call answers."""
    stream = f"{other}/live/t1?token=a%2Fb"
    return {"urls": {"get": f"{backend.url}/tasks/t1", "stream": stream, "cancel": f"{backend.url}/tasks/t1/cancel"}}


async def test_a_stream_is_read_at_another_host_that_is_allowed(proxy: Proxy, api: Any) -> None:
    """With the credentials; its counts are fetched when it is over."""
    backend, live = await api(), await api()
    backend.on("POST /tasks", (201, urls(backend, live.url))).on("GET /tasks/t1", {"status": "succeeded", **TEXT})
    parts = (b": hi\n\nevent: output\ndata: He\n\n", b"event: output\ndata: llo\ndata: \n\nevent: done\ndata: {}\n\n")
    live.on("GET /live/t1?token=a%2Fb", streamed(*parts))
    auth = f"allow_hosts: ['{live.url[7:]}']\n  auth: {{bearer: the-key}}"
    running = await proxy(mapped(backend.url, STREAMED, auth))
    wire = await ask(running, stream=True, stream_options={"include_usage": True})
    assert wire.text == "Hello\n"
    assert wire.events[-1] == "[DONE]"
    assert wire.events[-2]["usage"]["total_tokens"] == 5
    assert backend.asked == ["POST /tasks", "GET /tasks/t1"]
    assert live.headers[0]["authorization"] == "Bearer the-key"
    assert live.headers[0]["accept"] == "text/event-stream"
    assert (await ask(running, stream=True)).text == "Hello\n"
    assert len(backend.asked) == 3  # nobody wants the counts
    assert (await ask(running)).text == "Hello"


async def test_a_host_that_is_not_allowed_is_never_asked(proxy: Proxy, api: Any) -> None:
    """The client learns that, and no address."""
    backend, other = await api(), await api()
    backend.on("POST /tasks", urls(backend, other.url))
    wire = await ask(await proxy(mapped(backend.url, STREAMED, "allow_hosts: [live.example.com]")), stream=True)
    assert (wire.status, wire.error["code"]) == (502, "upstream_forbidden_url")
    assert "127.0.0.1" not in wire.body.decode()
    assert other.asked == []


SESSION = """
before:
  - {name: session, request: {path: /sessions, body: {user: "{{ user }}"}}, timeout: 10s}
  - {name: template, request: {path: /template, body: {m: "{{ messages }}"}}, error: fault}
request: {path: "/sessions/{{ session.id }}/say", body: {text: "{{ template.prompt }}"}}
response: {text: text}
after: [{name: end, request: {method: DELETE, path: "/sessions/{{ session.id }}"}}]
"""


async def test_calls_before_the_main_one_give_it_names(proxy: Proxy, api: Any) -> None:
    """In order; and what is opened is closed after the answer."""
    backend = await api()
    backend.on("POST /sessions", {"id": "s/1"}).on("POST /template", {"prompt": "<hi>"})
    backend.on("POST /sessions/s%2F1/say", TEXT).on("DELETE /sessions/s%2F1", (204, {}))
    wire = await ask(await proxy(mapped(backend.url, SESSION)), user="me")
    assert wire.text == "Hello"
    assert backend.asked == ["POST /sessions", "POST /template", "POST /sessions/s%2F1/say", "DELETE /sessions/s%2F1"]
    assert (backend.bodies[0], backend.bodies[2]) == ({"user": "me"}, {"text": "<hi>"})


async def forever(request: web.Request) -> web.StreamResponse:
    """No answer at all."""
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize(
    ("session", "template", "status", "code"),
    [
        ((429, {"error": "slow down"}), {}, 429, "rate_limit_exceeded"),
        ((500, {}), {}, 502, "upstream_error"),
        (streamed(b"<html>"), {}, 502, "upstream_invalid_json"),
        (streamed(b""), {}, 502, "upstream_invalid_json"),
        (broken, {}, 502, "upstream_closed"),
        (forever, {}, 504, "upstream_timeout"),
        ({"id": "s1"}, {"fault": "no template"}, 502, "upstream_error"),
        ({"other": "s1"}, {"prompt": "p"}, 502, "upstream_mapping_mismatch"),
        ({"id": ".."}, {"prompt": "p"}, 502, "upstream_mapping_mismatch"),
    ],
)
async def test_a_call_that_fails_before_the_main_one_fails_the_answer(
    proxy: Proxy, api: Any, session: Any, template: Any, status: int, code: str
) -> None:
    """As the main call would."""
    backend = await api()
    backend.on("POST /sessions", session).on("POST /template", template)
    endpoint = SESSION.replace("timeout: 10s", "timeout: 100ms") if session is forever else SESSION
    wire = await ask(await proxy(mapped(backend.url, endpoint)))
    assert (wire.status, wire.error["code"]) == (status, code)
    assert not any("say" in asked for asked in backend.asked)


AFTER = "after: [{name: more, request: {path: /more}, %s, timeout: 10s}]"


@pytest.mark.parametrize("answer", [(500, {}), broken, forever, streamed(b"{oops"), {"error": "no"}])
@pytest.mark.parametrize("stream", [False, True])
async def test_counts_that_cannot_be_fetched_do_not_fail_the_answer(
    proxy: Proxy, api: Any, answer: Any, stream: bool
) -> None:
    """They are counted here, and the log tells of it."""
    backend = await api()
    backend.on("POST /tasks", {"text": "Hello"}).on("GET /more", answer)
    endpoint = f"{BODY}\nresponse: {{text: text}}\n{AFTER % 'usage: {prompt: p, completion: c}'}"
    if answer is forever:
        endpoint = endpoint.replace("timeout: 10s", "timeout: 100ms")
    running = await proxy(mapped(backend.url, endpoint))
    wire = await ask(running, stream=stream, stream_options={"include_usage": True} if stream else None)
    assert (wire.status, wire.text) == (200, "Hello")
    assert (wire.events[-2] if stream else wire.json)["usage"]["completion_tokens"] == 1
    assert list(dict.fromkeys(backend.asked)) == ["POST /tasks", "GET /more"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_text_may_come_after(proxy: Proxy, api: Any, stream: bool) -> None:
    """With why it ended; a text that cannot be fetched is a failure."""
    backend = await api()
    backend.on("POST /tasks", {"id": 1}).on("GET /more", {"said": "Hello", "why": "length"}, (500, {}))
    endpoint = f"{BODY}\nresponse: {{id: id}}\n{AFTER % 'text: said, finish_reason: why'}"
    running = await proxy(mapped(backend.url, endpoint))
    wire = await ask(running, stream=stream)
    assert wire.text == "Hello"
    assert b'"finish_reason":"length"' in wire.body
    assert (await ask(running, stream=stream)).status == 502


async def test_a_backend_that_refuses_to_be_told_is_only_logged(proxy: Proxy, api: Any) -> None:
    """Nobody waits for it."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", {"status": "starting"})
    backend.on("POST /tasks/t1/cancel", broken)
    running = await proxy(mapped(backend.url, POLL))
    async with await Client.connect(running.url) as client:
        await client.send(hello())
        await backend.until("GET /tasks/t1")
    await backend.until("POST /tasks/t1/cancel")
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*running.state.background)
    assert (await fetch(running.url, b"GET /livez HTTP/1.1\r\nHost: p\r\n\r\n")).status == 200


async def test_a_call_off_that_cannot_be_proven_is_only_logged(proxy: Proxy, api: Any) -> None:
    """A signature of what is no text: nothing is sent, and no task is left with an exception."""
    backend = await api()
    backend.on("POST /tasks", {"id": "t1"}).on("GET /tasks/t1", {"status": "starting"})
    endpoint = POLL.replace("body: {why: gone}", "body_base64: /w==")
    signed = "auth: {sign: {headers: {x-signature: '{{ http.body | sha256 }}'}}}"
    running = await proxy(mapped(backend.url, endpoint, signed))
    async with await Client.connect(running.url) as client:
        await client.send(hello())
        await backend.until("GET /tasks/t1")
    await settled(lambda: not running.state.active)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*running.state.background)
    assert "POST /tasks/t1/cancel" not in backend.asked


async def test_a_busy_call_is_not_tried_beyond_its_time(proxy: Proxy, api: Any) -> None:
    """What it answered is told, not that it took too long."""
    backend = await api()
    backend.on("POST /sessions", (503, {"error": "busy"}))
    running = await proxy(mapped(backend.url, SESSION, "retry: {max: 9, on: [503], backoff: 1m}"))
    wire = await ask(running)
    assert (wire.status, backend.asked) == (503, ["POST /sessions"])


async def test_a_token_that_ends_while_a_task_is_polled_is_replaced(proxy: Proxy, api: Any) -> None:
    """The poll is sent again with the new one; the task is not created twice, and the new one calls it off."""
    backend = await api()
    backend.on("POST /token", {"access_token": "one"}, {"access_token": "two"})
    backend.on("POST /tasks", {"id": "t1"}).on("POST /tasks/t1/cancel", {})
    backend.on("GET /tasks/t1", {"status": "starting"}, (401, {}), {"status": "starting"})
    auth = f"auth: {{oauth2: {{token_url: '{backend.url}/token', client_id: me, client_secret: hush}}}}"
    running = await proxy(mapped(backend.url, POLL, auth))
    async with await Client.connect(running.url) as client:
        await client.send(hello())
        await backend.until("GET /tasks/t1", 4)
    await backend.until("POST /tasks/t1/cancel")
    assert (backend.asked.count("POST /token"), backend.asked.count("POST /tasks")) == (2, 1)
    sent = [headers.get("authorization") for headers in backend.headers if "authorization" in headers]
    assert sent[:3] == ["Bearer one"] * 3
    assert set(sent[3:]) == {"Bearer two"}


IMAGES = """
oaiproxy: 1
models: [m]
backend: {url: URL}
images:
  before: [{name: session, request: {path: /sessions}}]
  request: {path: /tasks, body: {prompt: "{{ prompt }}", in: "{{ session.id }}"}}
  poll:
    request: {path: "/tasks/{{ created.id }}"}
    every: {first: 1ms, max: 2ms}
    status: status
    done: [succeeded]
    failed: [failed]
  cancel: {request: {method: DELETE, path: "/tasks/{{ created.id }}"}}
  response: {images: output}
speech:
  request: {path: /say, body: {text: "{{ input }}"}}
  poll:
    request: {path: "/tasks/{{ created.id }}"}
    every: {first: 1ms, max: 2ms}
    status: status
    done: [succeeded]
    result: {request: {path: "/sounds/{{ polled.at }}"}}
  response: {}
"""
PAINT = request({"model": "m", "prompt": "a cat"}, "/v1/images/generations")


async def test_an_image_is_begun_and_waited_for(proxy: Proxy, api: Any) -> None:
    """As an answer in a chat is."""
    backend = await api()
    backend.on("POST /sessions", {"id": "s1"}).on("POST /tasks", (201, {"id": "t1", "status": "queued"}))
    backend.on("GET /tasks/t1", {"status": "running"}, {"status": "succeeded", "output": ["https://h/cat.png"]})
    wire = await fetch((await proxy(load(IMAGES.replace("URL", backend.url)))).url, PAINT)
    assert (wire.status, [image["url"] for image in wire.json["data"]]) == (200, ["https://h/cat.png"])
    assert backend.asked == ["POST /sessions", "POST /tasks", *["GET /tasks/t1"] * 2]
    assert backend.bodies[1] == {"prompt": "a cat", "in": "s1"}


async def test_an_image_that_fails_is_an_error(proxy: Proxy, api: Any) -> None:
    """In each of its calls."""
    backend = await api()
    running = await proxy(load(IMAGES.replace("URL", backend.url)))
    backend.on("POST /sessions", (429, {"message": "slow down"}))
    assert (await fetch(running.url, PAINT)).status == 429
    backend.on("POST /sessions", {"id": "s1"}).on("POST /tasks", {"id": "t1"})
    backend.on("GET /tasks/t1", {"status": "failed", "error": "out of paint"})
    wire = await fetch(running.url, PAINT)
    assert (wire.status, wire.error["message"]) == (502, "out of paint")


async def test_an_image_that_nobody_waits_for_is_called_off(proxy: Proxy, api: Any) -> None:
    """Once, when the client leaves."""
    backend = await api()
    backend.on("POST /sessions", {"id": "s1"}).on("POST /tasks", {"id": "t1"}).on("DELETE /tasks/t1", {})
    backend.on("GET /tasks/t1", {"status": "running"})
    running = await proxy(load(IMAGES.replace("URL", backend.url)))
    async with await Client.connect(running.url) as client:
        await client.send(PAINT)
        await backend.until("GET /tasks/t1", 2)
    await backend.until("DELETE /tasks/t1")
    assert backend.asked.count("DELETE /tasks/t1") == 1


async def test_a_sound_may_be_elsewhere(proxy: Proxy, api: Any) -> None:
    """Its bytes are passed on when the task is done."""

    async def sound(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"ID3", content_type="audio/mpeg")

    backend = await api()
    backend.on("POST /say", {"id": "t1"}).on("GET /tasks/t1", {"status": "succeeded", "at": "x"})
    backend.on("GET /sounds/x", sound)
    running = await proxy(load(IMAGES.replace("URL", backend.url)))
    wire = await fetch(running.url, request({"model": "m", "input": "hi"}, "/v1/audio/speech"))
    assert (wire.status, wire.headers["content-type"], wire.body) == (200, "audio/mpeg", b"ID3")
