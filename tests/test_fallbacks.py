"""Promises of `fallback`: another model answers where one fails, before anything was told, and who it was is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from faults import BOTH_LOOPS
from guarding import CLOSE, FINE, circuits, failed, guarded, let_pauses_end, logged
from hypothesis import given
from hypothesis import strategies as st
from scripted import (
    FIN,
    GONE,
    REQUEST,
    RST,
    Backend,
    Client,
    Step,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    request,
    settled,
    stream,
    stream_head,
)
from support import chat, load

from oaiproxy.app import Running
from oaiproxy.canonical import Identity
from oaiproxy.errors import ApiError, BackendError, ClientError, ProxyError
from oaiproxy.fallbacks import FALLBACK, MOST, identity_of, may_be_mended
from oaiproxy.heartbeat import COMMENT
from oaiproxy.mapping import Mapping

BOTH_WAYS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
NAMED = "{prompt: '{{ prompt }}', model: '{{ model }}', asked: '{{ request.model }}', id: '{{ uuid }}'}"


def named(url: str, model: str, **more: Any) -> Mapping:
    """A mapping of one model, in a file of that name."""
    return replace(mapping(url, models=f"[{model}]", **more), file=f"{model}.yaml", name=model)


def written(url: str, model: str, models: str, body: str) -> Mapping:
    """A mapping that sends a body of that kind to a path of the model's name."""
    request = f"{{path: /{model}, body: {body}}}"
    made = chat(
        backend=f"{{url: '{url}'}}",
        models=models,
        request=request,
        response="{text: text}",
        stream="{format: sse, text: t, done: d}",
    )
    return replace(made, file=f"{model}.yaml", name=model)


def behind(first: Mapping, *others: Mapping) -> dict[str, Any]:
    """The first, and those that answer in its place."""
    names = [next(iter(other.models)) for other in others]
    return {"fallback": {first.file: names}}


async def nothing_is_left(running: Running) -> None:
    """No request, and no task of one."""
    async with asyncio.timeout(60):
        await running.state.idle.wait()
    await settled(lambda: not running.state.clocks and not running.state.background)


MENDED: dict[str, Sequence[Step]] = {
    "reset": [RST],
    "end": [FIN],
    "not HTTP": [b"220 mail ESMTP\r\n\r\n", GONE],
    "no answer in time": [GONE],
    "500": [failed(500)],
    "503": [failed(503)],
    "our key is refused": [failed(401)],
    "rate limit": [failed(429, **{"Retry-After": "7"})],
    "quota": [failed(429, "no quota")],
    "not found": [failed(404)],
    "redirect": [answer(b"", 307, {**CLOSE, "Location": "http://elsewhere.invalid/"})],
    "short body": [LENGTH % 100 + b'{"text": "hi', FIN],
    "no JSON": [answer(b"{oops", headers=CLOSE)],
    "no text": [answer({"other": 1}, headers=CLOSE)],
    "an error in a 200": [answer({"error": {"message": "no"}}, headers=CLOSE)],
    "a stream that begins with a failure": [stream_head(), chunk(b'data: {"error": {"message": "no"}}\n\n'), GONE],
    "a stream that ends before it began": [stream_head(), chunk(b": hello\n\n"), chunk(b""), FIN],
}


@BOTH_WAYS
@pytest.mark.parametrize("how", MENDED)
async def test_a_failure_that_another_may_not_have(tokenizer: Any, capfd: Any, how: str, streams: bool) -> None:
    """Is not told: the other's answer is, with its name; each backend was asked once."""
    last = [] if MENDED[how][-1] in (RST, GONE) else [GONE]
    async with Backend([REQUEST, *MENDED[how], *last]) as down, Backend([REQUEST, FINE]) as well:
        patience = "{first_byte: 100ms}" if how == "no answer in time" else "{}"
        first, other = named(down.url, "m", timeouts=patience), named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.status, wire.text, wire.complete, wire.headers[FALLBACK]) == (200, "fine", True, "other")
            models = {each["model"] for each in wire.events[:-1]} if streams else {wire.json["model"]}
            assert models == {"other"}
            assert (len(down.requests), len(well.requests)) == (1, 1)
            (line,) = await logged(capfd, "request", bool)
            assert (line["model"], line["fallback"], list(line["failed"])) == ("m", "other", ["m"])
            assert "code" not in line
            await nothing_is_left(running)
            if how != "no answer in time":
                await down.gone()


@BOTH_WAYS
async def test_nobody_listens(tokenizer: Any, streams: bool) -> None:
    """Nor is there any connection."""
    async with Backend([]) as down:
        first = named(down.url, "m", backend="retry: {max: 1, backoff: 1ms}")
    async with Backend([REQUEST, FINE]) as well:
        other = named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.text, wire.headers[FALLBACK]) == ("fine", "other")


async def test_while_the_breaker_is_open_the_other_is_asked_at_once(tokenizer: Any) -> None:
    """And the first one again when it is well."""
    async with Backend([REQUEST, failed()], [REQUEST, FINE]) as down, Backend([REQUEST, FINE]) as well:
        first, other = named(down.url, "m"), named(well.url, "other")
        async with guarded(tokenizer, first, other, failures=1, **behind(first, other)) as running:
            for hits in (1, 2, 3):
                assert (await fetch(running.url, hello())).headers[FALLBACK] == "other"
                assert (len(down.requests), len(well.requests)) == (1, hits)
            let_pauses_end(running)
            wire = await fetch(running.url, hello())
            assert (wire.text, wire.headers.get(FALLBACK), len(down.requests)) == ("fine", None, 2)
            assert len(circuits(running)) == 2


TOLD: dict[str, tuple[bytes, int, str]] = {
    "bad request": (failed(400), 400, "invalid_value"),
    "too long": (failed(500, "the context length is 8 tokens"), 400, "context_length_exceeded"),
    "filtered": (failed(400, "content filter"), 400, "content_filter"),
    "too large": (failed(413), 413, "request_too_large"),
}


@BOTH_WAYS
@pytest.mark.parametrize("how", TOLD)
async def test_a_failure_of_the_clients_making_is_told(tokenizer: Any, how: str, streams: bool) -> None:
    """Nobody else is asked."""
    said, status, code = TOLD[how]
    async with Backend([REQUEST, said]) as down, Backend([REQUEST, FINE]) as well:
        first, other = named(down.url, "m"), named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.status, wire.error["code"], wire.headers.get(FALLBACK)) == (status, code, None)
            assert not well.requests


async def test_an_answer_that_has_begun_is_nobody_elses(tokenizer: Any) -> None:
    """The stream ends with the failure."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), RST]) as down, Backend([REQUEST, FINE]) as well:
        first, other = named(down.url, "m"), named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello(stream=True))
            assert (wire.text, wire.error["code"], wire.headers.get(FALLBACK)) == ("The ", "upstream_reset", None)
            assert not well.requests


async def test_a_whole_answer_that_broke_leaves_nothing_in_the_others(tokenizer: Any) -> None:
    """What had come of the first one's stream is not told."""
    async with (
        Backend([REQUEST, stream_head(), chunk(event("canary")), RST]) as down,
        Backend([REQUEST, stream("fi", "ne")]) as well,
    ):
        first, other = named(down.url, "m"), named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello())
            assert (wire.text, b"canary" in wire.raw) == ("fine", False)


async def test_the_request_is_made_anew(tokenizer: Any) -> None:
    """By the other's mapping, with its name, and an id of its own."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        first = written(down.url, "m", "{m: inner-m}", NAMED)
        other = written(well.url, "other", "{other: inner-other}", NAMED)
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            assert (await fetch(running.url, hello())).text == "fine"
            one, two = down.requests[0], well.requests[0]
            assert [one.line.split()[1], two.line.split()[1]] == ["/m", "/other"]
            assert [one.json["model"], two.json["model"]] == ["inner-m", "inner-other"]
            assert [one.json["asked"], two.json["asked"]] == ["m", "other"]
            assert one.json["prompt"] == two.json["prompt"]
            assert one.json["id"] != two.json["id"]


@BOTH_WAYS
async def test_the_first_failure_is_told_where_all_fail(tokenizer: Any, capfd: Any, streams: bool) -> None:
    """In the listed order each is asked once, and no header names another."""
    async with (
        Backend([REQUEST, failed(503, "first words", **{"Retry-After": "7"})]) as a,
        Backend([REQUEST, failed(500)]) as b,
        Backend([REQUEST, failed(400)]) as c,
    ):
        models = [named(a.url, "m"), named(b.url, "b"), named(c.url, "c")]
        fallback = {"m.yaml": ["b", "m", "unknown", "c", "b"], "b.yaml": ["m"]}
        async with guarded(tokenizer, *models, fallback=fallback) as running:
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.status, wire.error["code"]) == (503, "server_is_overloaded")
            assert (wire.headers["retry-after"], wire.headers.get(FALLBACK)) == ("7", None)
            assert "first words" in wire.error["message"]
            assert [len(each.requests) for each in (a, b, c)] == [1, 1, 1]
            (line,) = await logged(capfd, "request", bool)
            assert line["failed"] == {
                "m": "server_is_overloaded",
                "b": "upstream_error",
                "unknown": "model_not_found",
                "c": "invalid_value",
            }
            assert "fallback" not in line


async def test_a_model_that_cannot_take_the_request_is_passed_over(tokenizer: Any) -> None:
    """Its refusal is not what the client asked about: the first failure is told, or the next one answers."""
    strict = {"more": "on_unsupported: {seed: reject}"}
    async with Backend([REQUEST, failed(), REQUEST]) as down, Backend([REQUEST, FINE]) as well:
        first, other = named(down.url, "m"), named(well.url, "other", **strict)
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello(seed=1))
            assert (wire.status, wire.error["code"]) == (502, "upstream_error")
            assert not well.requests
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        first, other, third = named(down.url, "m"), named(well.url, "b", **strict), named(well.url, "c")
        async with guarded(tokenizer, first, other, third, **behind(first, other, third)) as running:
            wire = await fetch(running.url, hello(seed=1))
            assert (wire.text, wire.headers[FALLBACK], wire.headers["x-oaiproxy-dropped"]) == ("fine", "c", "seed")


@BOTH_LOOPS
async def test_comments_do_not_stand_in_the_way(tokenizer: Any, capfd: Any) -> None:
    """They say nothing of an answer: the other's name stands in its chunks, for the headers are gone."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, RST]) as down, Backend([REQUEST, stream("fi", "ne")]) as well:
        first, other = named(down.url, "m"), named(well.url, "other")
        async with (
            guarded(tokenizer, first, other, **behind(first, other), keepalive_comments=0.02) as running,
            await Client.connect(running.url) as client,
        ):
            await client.send(hello(stream=True))
            await client.until(COMMENT)
            go.set()
            wire = await client.answer()
            body = wire.body.replace(COMMENT, b"")
            events = [json.loads(each.removeprefix(b"data: ")) for each in body.split(b"\n\n")[:-2]]
            assert {each["model"] for each in events} == {"other"}
            assert (body.endswith(b"data: [DONE]\n\n"), wire.complete, FALLBACK in wire.headers) == (True, True, False)
            (line,) = await logged(capfd, "request", bool)
            assert line["fallback"] == "other"


@BOTH_LOOPS
async def test_behind_a_comment_nobody_leaves_out_more_than_was_said(tokenizer: Any) -> None:
    """The header that would name it is gone: the failure is told, in the stream, without any end mark."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, RST]) as down, Backend([REQUEST, stream("fine")]) as well:
        first = written(down.url, "m", "[m]", "{p: '{{ prompt }}', seed: '{{ seed }}'}")
        other = named(well.url, "other")
        async with (
            guarded(tokenizer, first, other, **behind(first, other), keepalive_comments=0.02) as running,
            await Client.connect(running.url) as client,
        ):
            await client.send(hello(stream=True, seed=1))
            await client.until(COMMENT)
            go.set()
            wire = await client.answer()
            (payload,) = [part for part in wire.body.replace(COMMENT, b"").split(b"\n\n") if part]
            assert payload.startswith(b'data: {"error":')
            assert b"upstream_reset" in payload
            assert (wire.status, wire.complete, len(well.requests)) == (200, False, 0)
            await nothing_is_left(running)


@BOTH_WAYS
async def test_a_request_in_parts(tokenizer: Any, streams: bool) -> None:
    """Is asked whole of the other."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        emulate = {"more": "emulate: [n]"}
        first, other = named(down.url, "m", **emulate), named(well.url, "other", **emulate)
        async with guarded(tokenizer, first, other, failures=0, **behind(first, other)) as running:
            wire = await fetch(running.url, hello(stream=streams, n=3))
            assert (wire.status, wire.headers[FALLBACK], len(well.requests)) == (200, "other", 3)
            events = wire.events[:-1] if streams else [wire.json]
            assert {choice["index"] for each in events for choice in each["choices"]} == {0, 1, 2}


OTHERS: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
}


@BOTH_WAYS
@pytest.mark.parametrize("path", OTHERS)
async def test_other_front_doors(tokenizer: Any, path: str, streams: bool) -> None:
    """All lead to it."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        first, other = named(down.url, "m"), named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            body = {"model": "m", "stream": streams, **OTHERS[path]}
            wire = await fetch(running.url, request(body, path))
            assert (wire.status, wire.headers[FALLBACK], b"fine" in wire.body) == (200, "other", True)
            assert b'"model":"other"' in wire.body
            assert b'"model":"m"' not in wire.body


async def test_embeddings(tokenizer: Any) -> None:
    """Objects too."""

    def described(name: str, url: str) -> Mapping:
        text = (
            f"oaiproxy: 1\nmodels: [{name}]\nbackend: {{url: '{url}'}}\nembeddings:\n"
            "  request: {path: /e, body: {t: '{{ input }}'}}\n  response: {vectors: v}\n"
        )
        return replace(load(text), file=f"{name}.yaml")

    vectors = answer({"v": [[1.0, 2.0]]}, headers=CLOSE)
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, vectors]) as well:
        first, other = described("m", down.url), described("other", well.url)
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, request({"model": "m", "input": "hi"}, "/v1/embeddings"))
            assert (wire.status, wire.json["model"], wire.headers[FALLBACK]) == (200, "other", "other")


@BOTH_WAYS
@pytest.mark.parametrize("fails", [False, True], ids=["one fails", "all fail"])
async def test_a_response_in_the_background(tokenizer: Any, streams: bool, fails: bool) -> None:
    """Is made by the other; where none can, it says so and is the first one's."""
    said = failed(500) if fails else FINE
    async with Backend([REQUEST, failed(503, "first words")]) as down, Backend([REQUEST, said]) as well:
        first, other = named(down.url, "m"), named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            body = {"model": "m", "input": "hi", "background": True, "stream": streams}
            wire = await fetch(running.url, request(body, "/v1/responses"))
            if streams:
                payloads = [part.partition(b"data: ")[2] for part in wire.body.split(b"\n\n")[:-1]]
                events = [json.loads(payload) for payload in payloads if payload.startswith(b"{")]
                assert [each["sequence_number"] for each in events] == list(range(len(events)))
                name = events[0]["response"]["id"]
            else:
                name = wire.json["id"]
            ended = ("failed",) if fails else ("completed",)

            async def found() -> Any:
                return (await fetch(running.url, request(path=f"/v1/responses/{name}", method="GET"))).json

            async with asyncio.timeout(60):
                while (response := await found())["status"] not in ended:
                    pass
            if fails:
                assert (response["model"], "first words" in response["error"]["message"]) == ("m", True)
            else:
                assert (response["model"], response["output"][0]["content"][0]["text"]) == ("other", "fine")
            await nothing_is_left(running)


@pytest.mark.parametrize("way", [Client.leave, Client.reset], ids=["FIN", "RST"])
async def test_a_client_that_leaves_the_other_frees_it(tokenizer: Any, way: Any) -> None:
    """As the first."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, GONE]) as well:
        first, other = named(down.url, "m"), named(well.url, "other")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            async with await Client.connect(running.url) as client:
                await client.send(hello())
                await well.asked()
                way(client)
                await well.gone()
            await nothing_is_left(running)


async def test_a_clients_own_key_goes_to_no_other_server(tokenizer: Any) -> None:
    """A mapping that passes it on answers only for one of the same server."""
    passed = {"backend": "auth: {passthrough: authorization}"}
    key = {"Authorization": "Bearer sk-of-the-client"}
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        first, other = named(down.url, "m", **passed), named(well.url, "other", **passed)
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello(headers=key))
            assert (wire.status, len(well.requests)) == (502, 0)


async def test_names_that_fit_no_header(tokenizer: Any) -> None:
    """Are written as in addresses."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        first = named(down.url, "m")
        other = replace(mapping(well.url, models='["ein größeres\\r\\nmodel"]'), file="other.yaml")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            wire = await fetch(running.url, hello())
            assert wire.headers[FALLBACK] == "ein%20gr%C3%B6%C3%9Feres%0D%0Amodel"


async def test_no_more_than_a_few_are_asked(tokenizer: Any) -> None:
    """However long the list is."""
    async with Backend([REQUEST, failed()]) as down:
        models = [named(down.url, f"m{number}" if number else "m") for number in range(MOST + 4)]
        async with guarded(tokenizer, *models, failures=0, **behind(*models)) as running:
            assert (await fetch(running.url, hello())).status == 502
            assert len(down.requests) == 1 + MOST


async def test_a_start_tells_of_models_that_nobody_serves(tokenizer: Any, capfd: Any) -> None:
    """Those of backends that are asked for them may come later."""
    first = named("http://127.0.0.1:9", "m")
    async with guarded(tokenizer, first, fallback={"m.yaml": ["later"]}):
        (line,) = await logged(capfd, "fallback", bool)
        assert (line["level"], line["model"]) == ("warning", "later")


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (BackendError("", status=502), True),
        (BackendError("", status=429), True),
        (BackendError("", status=503, code="upstream_unavailable"), True),
        (BackendError("", status=400), False),
        (BackendError("", status=401), False),
        (BackendError("", code="server_shutdown"), False),
        (ProxyError("", status=503), False),
        (ClientError(""), False),
    ],
)
def test_which_failures_may_be_mended(error: ApiError, wanted: bool) -> None:
    """Those of a backend, where the request is not to blame."""
    assert may_be_mended(error) == wanted


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_every_try_has_chance_of_its_own(token: str) -> None:
    """Of the same shape."""
    identity = Identity("r", token, "01234567-0123-4123-a123-0123456789ab", 0.0)
    made = [identity, *(identity_of(identity, tries) for tries in range(1, MOST + 1))]
    for texts in ([each.token for each in made], [each.uuid for each in made]):
        assert len(set(texts)) == MOST + 1
        assert {len(text) for text in texts} == {len(texts[0])}
    seen: Dict[str, str] = {each.uuid: each.token for each in made}
    assert all(uuid.count("-") == 4 for uuid in seen)


UNTOLD: dict[str, bytes] = {
    "counts": b'{"p": 70, "c": 90}',
    "a call without a name": b'{"call": {"i": 0, "a": "{\\"secret\\": "}}',
    "a call without a name, and counts": b'{"call": {"i": 0, "id": "theirs", "a": "{"}, "p": 70}',
    "a finish reason": b'{"why": "length"}',
    "an id": b'{"id": "theirs"}',
    "no text": b'{"t": ""}',
}


@pytest.mark.parametrize("said", UNTOLD.values(), ids=UNTOLD)
@BOTH_WAYS
async def test_nothing_of_who_broke_down_is_in_the_others_answer(tokenizer: Any, said: bytes, streams: bool) -> None:
    """What a stream told before it broke, and no client was told of yet, is forgotten whole."""
    stream = (
        "{request: {path: /s}, format: sse, text: t, done: d, id: id, finish_reason: why, usage: {prompt: p,"
        " completion: c}, tool_call: {index: call.i, id: call.id, name: call.n, arguments: call.a}}"
    )
    fine = b'{"t": "fine", "why": "stop", "p": 7, "c": 9, "d": true}'
    script = [REQUEST, stream_head(), chunk(b"data: " + said + b"\n\n"), RST]
    answered = [REQUEST, stream_head(), chunk(b"data: " + fine + b"\n\n"), chunk(b"")]
    async with Backend(script) as down, Backend(answered) as well:
        first = named(down.url, "m", stream=stream, response="")
        other = named(well.url, "other", stream=stream, response="")
        async with guarded(tokenizer, first, other, **behind(first, other)) as running:
            options = {"stream_options": {"include_usage": True}} if streams else {}
            wire = await fetch(running.url, hello(stream=streams, **options))
            assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
            assert b"theirs" not in wire.body
            assert b"tool_calls" not in wire.body
            assert b"length" not in wire.body
            usage = wire.events[-2]["usage"] if streams else wire.json["usage"]
            assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 9)
            await nothing_is_left(running)
