"""Promises of `oaiproxy.background`: a response is made while nobody waits, is found as it stands, can be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from conftest import Proxy
from responding import ask, check_sequence, rules_mapping, text_of, told, valid
from scripted import (
    GONE,
    REQUEST,
    RST,
    Backend,
    Client,
    answer,
    chunk,
    event,
    fetch,
    mapping,
    request,
    settled,
    stream_head,
)

from oaiproxy.app import Running

ASKED: Any = {"model": "m", "input": "one", "background": True}
SAID = answer({"text": "said", "p": 3, "c": 2})


@asynccontextmanager
async def client_of(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client."""
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


async def until(client: openai.AsyncOpenAI, name: str, ended: Callable[[str], bool]) -> Any:
    """Ask for a response until its status is such."""
    async with asyncio.timeout(60):
        while not ended((found := await client.responses.retrieve(name)).status or ""):
            pass
    valid("Response", found.model_dump(mode="json", exclude_unset=True))
    return found


async def until_text(events: Any) -> AsyncIterator[Any]:
    """The events up to the first text."""
    async for each in events:
        yield each
        if each.type == "response.output_text.delta":
            return


def over(status: str) -> bool:
    """Whether it is a status that stays."""
    return status not in ("queued", "in_progress")


async def test_it_is_answered_at_once_and_found_later(proxy: Proxy) -> None:
    """As OpenAI's client polls for it; a conversation goes on from it."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, SAID, REQUEST, SAID]) as backend:
        running = await proxy(mapping(backend.url), stored_responses=1)
        async with client_of(running) as client:
            begun = await client.responses.create(**ASKED)
            assert (begun.status, begun.background, begun.output) == ("in_progress", True, [])
            await backend.asked()
            assert (await client.responses.retrieve(begun.id)).status == "in_progress"
            items = await client.responses.input_items.list(begun.id)
            assert [item.content[0].text for item in items.data] == ["one"]  # type: ignore[union-attr]
            with pytest.raises(openai.BadRequestError) as early:
                await client.responses.create(model="m", input="two", previous_response_id=begun.id)
            assert early.value.param == "previous_response_id"
            go.set()
            done = await until(client, begun.id, over)
            assert (done.id, done.status, done.output_text, done.background) == (begun.id, "completed", "said", True)
            assert done.usage.total_tokens == 5
            await settled(lambda: not running.state.background)
            assert await client.responses.cancel(begun.id) == done
            on = await client.responses.create(model="m", input="two", previous_response_id=begun.id)
            items = await client.responses.input_items.list(on.id)
            assert [item.content[0].text for item in items.data] == ["two", "said", "one"]  # type: ignore[union-attr]


async def test_a_running_response_is_not_pushed_out(proxy: Proxy) -> None:
    """Whatever else is kept meanwhile."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, SAID], [REQUEST, SAID] * 3) as backend:
        running = await proxy(mapping(backend.url), stored_responses=1)
        async with client_of(running) as client:
            begun = await client.responses.create(**ASKED)
            await backend.asked()
            for _ in range(3):
                await client.responses.create(model="m", input="x")
            assert (await client.responses.retrieve(begun.id)).status == "in_progress"
            go.set()
            assert (await until(client, begun.id, over)).status == "completed"


async def test_to_cancel_closes_the_backends_connection(proxy: Proxy) -> None:
    """In the midst of an answer; once more changes nothing, and nobody can go on from it."""
    async with Backend([REQUEST, stream_head("application/json"), chunk(b'{"text": "half'), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with client_of(running) as client:
            begun = await client.responses.create(**ASKED)
            await backend.asked()
            cancelled = await client.responses.cancel(begun.id)
            await backend.gone()
            assert (cancelled.status, cancelled.error) == ("cancelled", None)
            assert await client.responses.cancel(begun.id) == cancelled
            assert await client.responses.retrieve(begun.id) == cancelled
            with pytest.raises(openai.BadRequestError):
                await client.responses.create(model="m", input="two", previous_response_id=begun.id)
        assert not running.state.background
        assert not running.state.clocks


async def test_to_cancel_before_anything_was_sent(proxy: Proxy) -> None:
    """Two at once get the same."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with client_of(running) as client:
            begun = await client.responses.create(**ASKED)
            one, two = await asyncio.gather(*(client.responses.cancel(begun.id) for _ in range(2)))
        assert one == two
        assert one.status == "cancelled"


async def test_to_delete_cancels(proxy: Proxy) -> None:
    """Then it is not there any more."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with client_of(running) as client:
            begun = await client.responses.create(**ASKED)
            await backend.asked()
            await client.responses.delete(begun.id)
            await backend.gone()
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(begun.id)


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
async def test_a_failure_is_told_by_the_response(proxy: Proxy, fields: Any) -> None:
    """In place of an HTTP error, with the same words."""
    async with Backend([REQUEST, RST]) as backend:
        running = await proxy(mapping(backend.url))
        async with client_of(running) as client:
            if fields:
                events = told((await fetch(running.url, request({**ASKED, **fields}, "/v1/responses"))).body)
                assert [event["type"] for event in events[-2:]] == ["response.failed", "error"]
                name = events[0]["response"]["id"]
            else:
                name = (await client.responses.create(**ASKED)).id
            failed = await until(client, name, over)
            assert (failed.status, failed.error.code) == ("failed", "server_error")
            assert failed.error.message
            if fields:
                with pytest.raises(openai.APIError):
                    [each async for each in await client.responses.retrieve(name, stream=True)]
                number = events[-1]["sequence_number"]
                rest = await client.responses.retrieve(name, stream=True, starting_after=number)
                assert [each async for each in rest] == []
            await settled(lambda: not running.state.background)
            with pytest.raises(openai.BadRequestError):
                await client.responses.create(model="m", input="two", previous_response_id=name)


async def test_a_bug_fails_the_response(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged without what it says, and nothing stays behind."""

    def buggy(_self: Any, _event: Any) -> bytes:
        raise KeyError("canary")

    monkeypatch.setattr("oaiproxy.endpoints.responses_encoding.WholeEncoder.feed", buggy)
    async with Backend([REQUEST, SAID]) as backend:
        running = await proxy(mapping(backend.url))
        async with client_of(running) as client:
            failed = await until(client, (await client.responses.create(**ASKED)).id, over)
        assert (failed.status, failed.error.code) == ("failed", "server_error")
        assert "canary" not in failed.error.message
        await settled(lambda: not running.state.background)


async def test_a_mistake_of_the_client_is_told_at_once(proxy: Proxy) -> None:
    """As it is to those who wait."""
    running = await proxy(mapping("http://backend.test"))
    for fields, status, param in (
        ({"model": "nobody's"}, 404, "model"),
        ({"store": False}, 400, "background"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {}}]}, 400, "tools"),
    ):
        got, body, _ = await ask(f"{running.url}/v1", {**ASKED, **fields})
        assert (got, body["error"]["param"]) == (status, param)
    assert not running.state.background


async def test_there_is_a_limit(proxy: Proxy) -> None:
    """Beyond it a client is told when to come again, and finds a place when one is free."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url), background_responses=1)
        url = f"{running.url}/v1"
        _, first, _ = await ask(url, ASKED)
        status, body, headers = await ask(url, ASKED)
        assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "server_is_overloaded", "1")
        await ask(url, {}, f"/responses/{first['id']}/cancel")
        status, second, _ = await ask(url, ASKED)
        assert (status, second["status"]) == (200, "in_progress")


@pytest.mark.parametrize("settings", [{"background_responses": 0}, {"stored_responses": 0}])
async def test_an_operator_can_refuse_them(proxy: Proxy, settings: Any) -> None:
    """Also by keeping nothing."""
    running = await proxy(mapping("http://backend.test"), **settings)
    status, body, _ = await ask(f"{running.url}/v1", ASKED)
    assert (status, body["error"]["param"], body["error"]["code"]) == (400, "background", "unsupported_parameter")


async def test_a_stream_goes_on_without_its_client(proxy: Proxy) -> None:
    """Who comes later gets all of it, or what follows an event."""
    go = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), go, chunk(event("end", done=True)), chunk(b"")]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url))
        url = f"{running.url}/v1"
        async with await Client.connect(running.url) as client:
            await client.send(request({**ASKED, "stream": True}, "/v1/responses"))
            seen = await client.until(b"The ")
            name = f"resp_{seen.partition(b'resp_')[2][:32].decode()}"
        await settled(lambda: running.state.active == 0)
        assert (await ask(url, None, f"/responses/{name}", "GET"))[1]["status"] == "in_progress"
        async with client_of(running) as official:
            kinds = []
            async for each in await official.responses.retrieve(name, stream=True, starting_after=1):
                kinds.append(each.type)
                go.set()
        assert kinds[0] == "response.output_item.added"
        assert kinds[-1] == "response.completed"
        await settled(lambda: not running.state.background)
        _, events, _ = await ask(url, None, f"/responses/{name}?stream=true", "GET")
        last = check_sequence(events)
        assert (text_of(last), last["background"]) == ("The end", True)
        for after in ("x", "-2", "1000", str(len(events))):
            status, body, _ = await ask(url, None, f"/responses/{name}?stream=true&starting_after={after}", "GET")
            assert (status, body["error"]["param"]) == (400, "starting_after")


async def test_who_follows_a_cancelled_stream_is_told(proxy: Proxy) -> None:
    """What came stays, as incomplete."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with client_of(running) as client:
            events = await client.responses.create(**ASKED, stream=True)
            [name] = [each.response.id async for each in until_text(events) if each.type == "response.created"]
            found = await client.responses.cancel(name)
            assert (found.status, found.output_text) == ("cancelled", "The ")
            assert found.output[0].status == "incomplete"  # type: ignore[union-attr]
            with pytest.raises(openai.APIError, match="cancelled"):
                [each async for each in events]
            await backend.gone()


async def test_a_whole_response_has_no_events(proxy: Proxy) -> None:
    """It was not asked for as a stream."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        url = f"{running.url}/v1"
        _, begun, _ = await ask(url, ASKED)
        status, body, _ = await ask(url, None, f"/responses/{begun['id']}?stream=true", "GET")
        assert (status, body["error"]["param"]) == (400, "stream")


async def test_a_shutdown_waits_for_those_who_follow(proxy: Proxy) -> None:
    """But not for what nobody could ask for any more, which fails."""
    go = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), go, chunk(event("end", done=True)), chunk(b"")]
    async with Backend([REQUEST, GONE], script) as backend:
        running = await proxy(mapping(backend.url))
        url, state = f"{running.url}/v1", running.state
        _, alone, _ = await ask(url, ASKED)
        await backend.asked()
        async with await Client.connect(running.url) as client:
            await client.send(request({**ASKED, "stream": True}, "/v1/responses"))
            await client.until(b"The ")
            state.ready = False
            drained = asyncio.create_task(state.drain(3600))
            await backend.gone()
            _, found, _ = await ask(url, None, f"/responses/{alone['id']}", "GET")
            assert (found["status"], found["error"]["message"]) == ("failed", "the proxy is shutting down")
            status, body, _ = await ask(url, ASKED)
            assert (status, body["error"]["code"]) == (503, "server_shutdown")
            assert not drained.done()
            go.set()
            assert told((await client.answer()).body)[-1]["type"] == "response.completed"
            await drained
        assert not state.background


async def test_a_shutdown_has_an_end(proxy: Proxy) -> None:
    """For those who follow too, who are told."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(request({**ASKED, "stream": True}, "/v1/responses"))
            await client.until(b"The ")
            await running.state.drain(0.01)
            events = told((await client.answer()).body)
        assert (events[-1]["code"], events[-2]["type"]) == ("server_shutdown", "response.failed")
        assert not running.state.background
        await backend.gone()


async def test_rules_of_tools_and_shapes_hold(proxy: Proxy) -> None:
    """What runs is the same exchange as for those who wait."""
    async with Backend([REQUEST, answer({"reply": "two", "thought": "one", "why": "cut"})]) as backend:
        running = await proxy(rules_mapping(backend.url))
        async with client_of(running) as client:
            found = await until(client, (await client.responses.create(**ASKED)).id, over)
        assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert [item.type for item in found.output] == ["reasoning", "message"]
