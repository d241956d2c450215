"""Promises of `oaiproxy.responses_handlers`: responses that are kept, read again, gone on from and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from conftest import Proxy
from responding import WEATHER, Rules, ask, check_sequence, made, rules_mapping, told, user, valid
from scripted import settled
from support import serving


@pytest.fixture
async def rules() -> AsyncIterator[Rules]:
    """The backend's own view."""
    return Rules()


@pytest.fixture
async def url(proxy: Proxy, rules: Rules) -> AsyncIterator[str]:
    """The proxy's base address."""
    async with serving(rules.handle) as backend:
        running = await proxy(rules_mapping(backend))
        yield f"{running.url}/v1"


async def test_a_conversation_goes_on(url: str, rules: Rules) -> None:
    """By the id of the response before, whose instructions are not carried over."""
    first = await made(url, input="one", instructions="Be brief.")
    second = await made(url, input="two", previous_response_id=first["id"])
    await made(url, input="three", previous_response_id=second["id"])
    assert [turn["text"] for turn in rules.bodies[2]["talk"]] == ["one", "2: one", "two", "3: two", "three"]
    assert second["previous_response_id"] == first["id"]


async def test_what_is_not_stored_is_not_there(url: str) -> None:
    """With `store: false`, after it was deleted, and where there never was any."""
    kept = await made(url, input="one")
    gone = (await made(url, input="one", store=False))["id"]
    assert (await ask(url, None, f"/responses/{kept['id']}", "GET"))[1] == kept
    _, body, _ = await ask(url, None, f"/responses/{kept['id']}", "DELETE")
    assert body == {"id": kept["id"], "object": "response", "deleted": True}
    for name in (kept["id"], gone, "resp_never"):
        for path, method in (("", "GET"), ("", "DELETE"), ("/input_items", "GET"), ("/cancel", "POST")):
            status, body, _ = await ask(url, {}, f"/responses/{name}{path}", method)
            assert (status, body["error"]["message"]) == (404, f"Response with id '{name}' not found.")
        status, body, _ = await ask(url, {"model": "m", "input": "x", "previous_response_id": name})
        error = body["error"]
        assert (status, error["code"], error["param"]) == (
            400,
            "previous_response_not_found",
            "previous_response_id",
        )


async def test_input_items_come_in_pages(url: str) -> None:
    """The latest first, or the oldest."""
    first = await made(url, input=[user("one"), user("two")])
    second = await made(url, input="three", previous_response_id=first["id"])
    path = f"/responses/{second['id']}/input_items"
    _, page, _ = await ask(url, None, f"{path}?limit=3", "GET")
    valid("ResponseItemList", page)
    texts = [item["content"][0]["text"] for item in page["data"]]
    assert (texts, page["has_more"]) == (["three", "2: two", "two"], True)
    _, rest, _ = await ask(url, None, f"{path}?limit=3&after={page['last_id']}&include=x", "GET")
    assert ([item["content"][0]["text"] for item in rest["data"]], rest["has_more"]) == (["one"], False)
    _, rising, _ = await ask(url, None, f"{path}?order=asc", "GET")
    assert [item["id"] for item in rising["data"]] == [each["id"] for each in (*page["data"], *rest["data"])][::-1]
    for query, param in (("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after")):
        status, body, _ = await ask(url, None, f"{path}?{query}", "GET")
        assert (status, body["error"]["param"]) == (400, param)


async def test_a_kept_response_cannot_be_cancelled(url: str) -> None:
    """It is finished."""
    name = (await made(url, input="one"))["id"]
    status, body, _ = await ask(url, {}, f"/responses/{name}/cancel")
    assert (status, body["error"]["message"]) == (400, "Cannot cancel a synchronous response.")
    status, body, _ = await ask(url, None, f"/responses/{name}?stream=true", "GET")
    assert (status, body["error"]["param"]) == (400, "stream")


async def test_an_item_can_be_named(url: str, rules: Rules) -> None:
    """By its id, as long as its response is kept."""
    said = (await made(url, input="one"))["output"][0]["id"]
    await made(url, input=[{"type": "item_reference", "id": said}, {"id": said}, user("two")])
    assert [turn["text"] for turn in rules.bodies[1]["talk"]] == ["1: one", "1: one", "two"]
    status, body, _ = await ask(url, {"model": "m", "input": [{"type": "item_reference", "id": "msg_x"}]})
    assert (status, body["error"]["param"]) == (404, "input[0].id")


async def test_the_oldest_leave_first(proxy: Proxy, rules: Rules) -> None:
    """As many are kept as the configuration says."""
    async with serving(rules.handle) as backend:
        url = f"{(await proxy(rules_mapping(backend), stored_responses=2)).url}/v1"
        names = [(await made(url, input="one"))["id"] for _ in range(3)]
        found = [(await ask(url, None, f"/responses/{name}", "GET"))[0] for name in names]
    assert found == [404, 200, 200]


async def test_what_broke_off_is_not_kept(url: str, rules: Rules) -> None:
    """The stream tells of it twice, for clients of both kinds, and ends there."""
    rules.breaks = True
    session = aiohttp.ClientSession()
    async with session, session.post(f"{url}/responses", json={"model": "m", "input": "one", "stream": True}) as answer:
        data = b""
        with suppress(aiohttp.ClientPayloadError):
            while piece := await answer.content.readany():
                data += piece
    *_, failed, error = told(data)
    for event in (failed, error):
        valid("ResponseStreamEvent", event)
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["code"] == "server_error"
    assert failed["response"]["output"][0]["status"] == "incomplete"
    assert error["code"] == error["error"]["code"] == "upstream_incomplete"
    assert (await ask(url, None, f"/responses/{failed['response']['id']}", "GET"))[0] == 404


async def test_a_client_that_leaves_leaves_nothing(proxy: Proxy, rules: Rules) -> None:
    """A stream that nobody reads to its end is no response to go on from."""
    rules.extra = [{"reply": "x" * 1000}] * 20_000
    async with serving(rules.handle) as backend:
        running = await proxy(rules_mapping(backend))
        url = f"{running.url}/v1"
        body = {"model": "m", "input": "one", "stream": True}
        async with aiohttp.ClientSession() as session, session.post(f"{url}/responses", json=body) as answer:
            name = told(await answer.content.readuntil(b"\n\n"))[0]["response"]["id"]
            answer.close()
        await settled(lambda: running.state.active == 0)
        assert (await ask(url, None, f"/responses/{name}", "GET"))[0] == 404


async def test_incomplete(url: str) -> None:
    """What ran out of tokens is not complete, and says so."""
    body = await made(url, input="long", max_output_tokens=16)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (body["completed_at"], body["output"][0]["status"]) == (None, "incomplete")
    _, events, _ = await ask(url, {"model": "m", "input": "long", "stream": True})
    assert check_sequence(events)["status"] == "incomplete"


async def test_input_tokens(url: str, rules: Rules) -> None:
    """Counted here, without a word to the backend."""
    status, body, _ = await ask(url, {"model": "m", "input": "hello world"}, "/responses/input_tokens")
    assert (status, body) == (200, {"object": "response.input_tokens", "input_tokens": 8})
    assert rules.bodies == []


async def test_tools_that_only_openai_runs_are_left_out_and_named(url: str, rules: Rules) -> None:
    """As agents send them, whether they are needed or not; knobs go by the names that the client knows."""
    tools = [{"type": "web_search"}, WEATHER, {"type": "namespace", "name": "x", "tools": []}]
    asked = {"model": "m", "input": "hi", "tools": tools, "top_p": 0.5, "truncation": "auto"}
    status, body, headers = await ask(url, asked)
    assert status == 200
    assert headers["x-oaiproxy-dropped"] == "truncation, tools.web_search, tools.namespace, top_p"
    assert [tool["name"] for tool in body["tools"]] == ["get_weather"]
    assert [tool["name"] for tool in rules.bodies[0]["can"]] == ["get_weather"]


async def test_errors_name_the_clients_own_fields(url: str) -> None:
    """Also those that the mapping makes, which speaks of chat."""
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"input": [user("a"), {"role": "user", "content": [audio]}]}, "input[1].content[0].type"),
        ({"input": "a", "temperature": 3}, "temperature"),
        ({"input": "a", "max_output_tokens": "x"}, "max_output_tokens"),
        ({"input": "a", "background": True, "store": False}, "background"),
        ({"input": [{"type": "telepathy"}]}, "input[0].type"),
        ({"input": "a", "n": 1, "text": {"format": {"type": "json_schema"}}}, "text.format.name"),
    ]
    for fields, param in cases:
        status, body, _ = await ask(url, {"model": "m", **fields})
        assert (status, body["error"]["param"]) == (400, param), body
        assert f"'{param}'" in body["error"]["message"]
