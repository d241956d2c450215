"""Promises of `oaiproxy.drafts`: an answer goes out when it fits, and is asked for once more when it does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import openai
import pytest
from aiohttp import web
from conftest import Proxy
from pydantic import BaseModel
from scripted import fetch, hello
from support import ask, load, serving, sse

from oaiproxy.drafts import TRIES, draft_of, first_drafts
from oaiproxy.errors import ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.mapping import Mapping
from oaiproxy.outcomes import Outcome
from oaiproxy.rehearsal import rehearse
from oaiproxy.steps import Answer

CHAT = """
chat:
  request: {path: /chat, body: {m: "{{ messages }}", seed: "{{ seed }}", id: "{{ uuid }}", stream: "{{ stream }}"}}
  response:
    text: t
    reasoning: r
    refusal: no
    tool_calls: calls
    finish_reason: why
    usage: {prompt: p, completion: c}
  stream: {format: sse, text: t, reasoning: r, refusal: no, finish_reason: why, usage: {prompt: p, completion: c}}
"""
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
GOOD = '{"name": "Ann", "age": 7}'
BAD = '{"name": "canary"}'


class Person(BaseModel):
    name: str
    age: int


def mapped(url: str = "https://backend.test", emulate: str = "response_format", chat: str = CHAT) -> Mapping:
    return load(f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: '{url}'}}\nemulate: [{emulate}]\n{chat}")


def said(text: str = "", **more: Any) -> dict[str, Any]:
    return {"t": text, "p": 10, "c": 2, **more}


def whole(*answers: Any) -> list[Answer]:
    return [Answer(200, {"content-type": "application/json"}, json.dumps(answer).encode()) for answer in answers]


def streamed(*frames: Any) -> Answer:
    return Answer(200, {"content-type": "text/event-stream"}, sse(*frames).encode())


def played(answers: list[Answer], **fields: Any) -> tuple[Outcome, list[Any]]:
    """What came out, and the bodies that were sent."""
    fields = {"response_format": FORMAT, **fields}
    made = rehearse(ask(mapped(), **fields), answers)
    return made.outcome, [json.loads(request.body or b"") for request in made.requests]


def test_an_answer_that_fits_goes_out_without_what_is_around_it() -> None:
    outcome, sent = played(whole(said(f"Sure!\n```json\n{GOOD}\n```", r="hm")))
    assert (outcome.text, outcome.reasoning, outcome.finish_reason) == (GOOD, "hm", "stop")
    assert outcome.usage == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    system, user = sent[0]["m"]
    assert system["role"] == "system"
    assert json.dumps(SCHEMA, separators=(",", ":")) in system["text"]
    assert user["text"] == "hi"


def test_an_answer_that_does_not_fit_is_asked_for_once_more() -> None:
    """With itself and the reason behind the conversation; both tries are paid for; no backend takes them for one."""
    outcome, sent = played(whole(said(BAD, r="first"), said(GOOD, r="second")))
    assert (outcome.text, outcome.reasoning) == (GOOD, "second")
    assert outcome.usage == {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
    assert [message["role"] for message in sent[1]["m"]] == ["system", "user", "assistant", "user"]
    assert sent[1]["m"][:2] == sent[0]["m"]
    assert sent[1]["m"][2]["text"] == BAD
    assert "lacks the property `age`" in sent[1]["m"][3]["text"]
    assert sent[0]["id"] != sent[1]["id"]


def test_the_second_failure_is_the_backends() -> None:
    outcome, sent = played(whole(said(BAD), said(BAD), said(GOOD)))
    assert len(sent) == TRIES
    assert outcome.status == 502
    assert outcome.error is not None
    assert outcome.error["code"] == "upstream_invalid_structured_output"
    assert "canary" not in str(outcome.error)


@pytest.mark.parametrize(
    ("answer", "text", "finish"),
    [
        (said('{"name": "A', why="length"), '{"name": "A', "length"),
        (said("", no="I will not."), "", "stop"),
        (said("see", calls=[{"name": "f", "arguments": {}}]), "see", "tool_calls"),
        (said("", why="content_filter"), "", "content_filter"),
    ],
)
def test_what_need_not_fit_goes_out_as_it_is(answer: Any, text: str, finish: str) -> None:
    """An answer that is cut, a refusal, a tool call."""
    outcome, sent = played(whole(answer))
    assert (outcome.text or "", outcome.finish_reason, len(sent)) == (text, finish, 1)


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}])
def test_a_failure_of_the_second_try_is_told(fault: dict[str, int]) -> None:
    outcome, _ = played([*whole(said(BAD)), Answer(fault["status"], {}, b"{}")])
    assert outcome.status == (429 if fault["status"] == 429 else 502)


@pytest.mark.parametrize("tries", [1, 2])
def test_a_stream_holds_the_text_until_it_is_valid(tries: int) -> None:
    bad = streamed({"r": "hm"}, {"t": BAD[:5]}, {"t": BAD[5:], "why": "stop", "p": 1, "c": 1})
    good = streamed({"t": "Here: "}, {"t": GOOD[:9]}, {"t": GOOD[9:]}, {"t": "!", "why": "stop", "p": 1, "c": 1})
    outcome, sent = played([bad, good][-tries:], stream=True, stream_options={"include_usage": True})
    assert (outcome.text, outcome.finish_reason, len(sent)) == (GOOD, "stop", tries)
    assert outcome.usage == {"prompt_tokens": tries, "completion_tokens": tries, "total_tokens": 2 * tries}


def test_every_choice_is_looked_at_on_its_own() -> None:
    """With `n` emulated too: one is made again, the other is not."""
    mapping = mapped(emulate="n, response_format")
    answers = whole(said(BAD), said(GOOD), said('{"name": "Bob", "age": 8}'))
    made = rehearse(ask(mapping, response_format=FORMAT, n=2, seed=5), answers)
    assert [json.loads(choice["text"])["name"] for choice in made.outcome.choices] == ["Ann", "Bob"]
    assert [json.loads(request.body or b"")["seed"] for request in made.requests] == [5, 5, 6]
    assert made.outcome.usage == {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26}


def test_choices_of_one_reply_go_out_when_all_fit() -> None:
    chat = """
chat:
  request: {path: /chat, body: {m: "{{ prompt }}", n: "{{ n }}"}}
  response: {choices: all, text: t}
"""
    answers = whole({"all": [{"t": GOOD}, {"t": BAD}]}, {"all": [{"t": f"So: {GOOD}"}, {"t": GOOD}]})
    made = rehearse(ask(mapped(chat=chat), response_format=FORMAT, n=2), answers)
    assert [choice["text"] for choice in made.outcome.choices] == [GOOD, GOOD]
    sent = json.loads(made.requests[1].body or b"")["m"]
    assert BAD in sent
    assert "JSON Schema" in sent


def test_log_probabilities_of_a_text_that_is_cut_out_are_left_out() -> None:
    chat = """
chat:
  request: {path: /chat, body: {m: "{{ prompt }}", l: "{{ logprobs }}"}}
  response: {text: t, logprobs: l}
"""
    tokens = [{"token": "x", "logprob": -1}]
    for text, found in (("{}", True), ("So: {}", False)):
        given = {"response_format": {"type": "json_object"}, "logprobs": True}
        outcome = rehearse(ask(mapped(chat=chat), **given), whole({"t": text, "l": tokens})).outcome
        assert (outcome.text, bool(outcome.logprobs)) == ("{}", found)


def test_a_mapping_that_passes_the_body_on_passes_it_without_the_format() -> None:
    chat = "chat:\n  request: {path: /chat, body: '{{ request }}'}\n  response: {text: t}\n"
    made = rehearse(ask(mapped(chat=chat), response_format=FORMAT), whole({"t": GOOD}))
    sent = json.loads(made.requests[0].body or b"")
    assert sent.keys() == {"model", "messages"}
    assert "JSON Schema" in sent["messages"][0]["content"]


def test_there_is_no_draft_without_need() -> None:
    assert draft_of(ask(mapped())) is None
    assert draft_of(ask(mapped(), response_format={"type": "text"})) is None
    assert draft_of(ask(mapped(), endpoint="completions")) is None
    exchange = ask(mapped())
    assert first_drafts(exchange) == [exchange]


def test_without_emulation_the_format_is_refused() -> None:
    with pytest.raises(ClientError) as error:
        ask(mapped(emulate="stop"), response_format=FORMAT)
    assert error.value.param == "response_format"


class Backend:
    """Plays its answers, one after another, and keeps what it was sent."""

    def __init__(self, *answers: Any) -> None:
        self.url = ""
        self.bodies: list[Any] = []
        self._answers = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer in the way that was asked for."""
        body = await request.json()
        self.bodies.append(body)
        answer = self._answers.pop(0)
        if not body.get("stream"):
            return web.json_response(said(answer) if isinstance(answer, str) else answer)
        pieces = [{"t": answer[at : at + 3]} for at in range(0, len(answer), 3)]
        return web.Response(text=sse(*pieces, {"why": "stop", "p": 10, "c": 2}), content_type="text/event-stream")


@asynccontextmanager
async def backend(*answers: Any) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        made = Backend(*answers)
        made.url = await stack.enter_async_context(serving(made.handle))
        yield made


@asynccontextmanager
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("answers", [(f"Here you are: {GOOD}",), (BAD, GOOD)], ids=["first", "second"])
async def test_the_official_client_parses_a_model(proxy: Proxy, answers: tuple[str, ...]) -> None:
    async with backend(*answers) as behind:
        running = await proxy(mapped(behind.url))
        async with client(running.url) as asking:
            made = await asking.chat.completions.parse(
                model="m", messages=[{"role": "user", "content": "who?"}], response_format=Person
            )
    assert made.choices[0].message.parsed == Person(name="Ann", age=7)
    assert made.usage is not None
    assert made.usage.total_tokens == 12 * len(answers)


@pytest.mark.parametrize("answers", [(f"Here you are: {GOOD}",), (BAD, GOOD)], ids=["first", "second"])
async def test_the_official_client_parses_a_stream(proxy: Proxy, answers: tuple[str, ...]) -> None:
    async with backend(*answers) as behind:
        running = await proxy(mapped(behind.url))
        async with (
            client(running.url) as asking,
            asking.chat.completions.stream(
                model="m", messages=[{"role": "user", "content": "who?"}], response_format=Person
            ) as stream,
        ):
            made = await stream.get_final_completion()
    assert made.choices[0].message.parsed == Person(name="Ann", age=7)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_never_fits_is_an_http_error(proxy: Proxy, stream: bool) -> None:
    """A stream has not begun by then; nothing of the answer is in the error."""
    async with backend(BAD, BAD) as behind:
        running = await proxy(mapped(behind.url))
        wire = await fetch(running.url, hello(stream=stream, response_format=FORMAT))
    assert (wire.status, wire.error["code"]) == (502, "upstream_invalid_structured_output")
    assert wire.headers["x-should-retry"] == "false"
    assert b"canary" not in wire.raw
    assert len(behind.bodies) == TRIES


async def test_a_bad_schema_is_a_400_and_asks_nobody(proxy: Proxy) -> None:
    async with backend() as behind:
        running = await proxy(mapped(behind.url))
        given = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "thing"}}}
        wire = await fetch(running.url, hello(response_format=given))
    assert (wire.status, wire.error["param"]) == (400, "response_format.json_schema.schema")
    assert behind.bodies == []


async def test_choices_are_made_again_each_on_its_own(proxy: Proxy) -> None:
    async with backend(BAD, BAD, GOOD, GOOD) as behind:
        running = await proxy(mapped(behind.url, "n, response_format"))
        wire = await fetch(running.url, hello(stream=True, n=2, response_format=FORMAT))
    assert wire.status == 200
    assert len(behind.bodies) == 4
    texts = {0: "", 1: ""}
    for chunk in wire.events[:-1]:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == {0: GOOD, 1: GOOD}


def test_parts_are_exchanges_of_their_own() -> None:
    parts = first_drafts(ask(mapped(emulate="n, response_format"), response_format=FORMAT, n=3))
    assert len(parts) == 3
    assert all(isinstance(part, Exchange) and "response_format" not in part.call.fields for part in parts)


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def calling(city: str, name: str = "get_weather") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {{"city": "{city}"}}}}\n</tool_call>'


def tooled(answers: list[Answer], emulate: str = "tools", **fields: Any) -> tuple[Outcome, list[Any]]:
    exchange = ask(mapped(emulate=emulate), **{"tools": [WEATHER], **fields})
    made = rehearse(exchange, answers)
    return made.outcome, [json.loads(request.body or b"") for request in made.requests]


def test_a_call_in_the_text_is_a_tool_call() -> None:
    outcome, sent = tooled(whole(said(f"Let me look.\n{calling('Paris')}\n{calling('Rome')}")))
    assert (outcome.text, outcome.finish_reason) == ("Let me look.", "tool_calls")
    assert [call["arguments"] for call in outcome.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert '"name":"get_weather"' in sent[0]["m"][0]["text"]


def test_text_is_an_answer_and_costs_no_second_try() -> None:
    outcome, sent = tooled(whole(said("It is sunny.")))
    assert (outcome.text, outcome.finish_reason, outcome.tool_calls, len(sent)) == ("It is sunny.", "stop", [], 1)


def test_a_stream_is_text_until_a_call_begins() -> None:
    frames = [{"t": piece} for piece in ("Let ", "me look.\n<tool", *calling("Paris")[5:], "\n")]
    outcome, _ = tooled([streamed(*frames, {"why": "stop"})], stream=True)
    assert (outcome.text, outcome.finish_reason) == ("Let me look.", "tool_calls")
    assert outcome.tool_calls == [{"name": "get_weather", "arguments": {"city": "Paris"}}]


def test_plain_text_is_not_held() -> None:
    draft = draft_of(ask(mapped(emulate="tools"), tools=[WEATHER], stream=True))
    assert draft is not None
    draft.exchange.backend_request()
    reply = draft.exchange.reply(200, {"content-type": "text/event-stream"})
    assert b'"content":"Hello"' in reply.feed(sse({"t": "Hello"}).encode())


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_must_be_is_asked_for_once_more(choice: Any) -> None:
    answers = whole(said("It is sunny."), said(calling("Paris")))
    outcome, sent = tooled(answers, tool_choice=choice)
    assert [call["name"] for call in outcome.tool_calls] == ["get_weather"]
    assert (outcome.text or "", outcome.finish_reason) == ("", "tool_calls")
    assert sent[1]["m"][-2]["text"] == "It is sunny."
    refused, _ = tooled(whole(said("No."), said("No, canary.")), tool_choice=choice)
    assert refused.error is not None
    assert (refused.status, refused.error["code"]) == (502, "upstream_invalid_structured_output")


def test_a_call_that_must_be_may_come_without_its_marks() -> None:
    bare = '```json\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n```'
    outcome, sent = tooled(whole(said(bare)), tool_choice="required")
    assert (outcome.tool_calls[0]["arguments"], len(sent)) == ({"city": "Oslo"}, 1)


def test_with_the_choice_none_nothing_is_told_of_tools() -> None:
    outcome, sent = tooled(whole(said(calling("Paris"))), tool_choice="none")
    assert (outcome.text, outcome.tool_calls) == (calling("Paris"), [])
    assert [message["role"] for message in sent[0]["m"]] == ["user"]


def test_an_answer_that_calls_no_tool_must_fit_the_format() -> None:
    both = "tools, response_format"
    outcome, sent = tooled(whole(said(calling("Paris"))), both, response_format=FORMAT)
    assert (outcome.finish_reason, len(sent)) == ("tool_calls", 1)
    outcome, sent = tooled(whole(said(BAD), said(f"So: {GOOD}")), both, response_format=FORMAT)
    assert (outcome.text, outcome.finish_reason, len(sent)) == (GOOD, "stop", 2)


def test_a_cut_call_is_text() -> None:
    outcome, _ = tooled(whole(said(calling("Paris")[:40], why="length")))
    assert (outcome.text, outcome.finish_reason) == (calling("Paris")[:40], "length")


def test_calls_of_several_choices_have_ids_of_their_own() -> None:
    exchange = ask(mapped(emulate="n, tools"), tools=[WEATHER], n=2)
    answers = whole(said(calling("Paris")), said(calling("Rome")))
    made = rehearse(exchange, answers).outcome
    assert [choice["tool_calls"][0]["arguments"]["city"] for choice in made.choices] == ["Paris", "Rome"]


def test_a_body_that_is_passed_on_is_without_tools() -> None:
    chat = "chat:\n  request: {path: /chat, body: '{{ request }}'}\n  response: {text: t}\n"
    for more in ({}, {"tool_choice": "none"}, {"tool_choice": "required", "parallel_tool_calls": False}):
        exchange = ask(mapped(emulate="tools", chat=chat), tools=[WEATHER], **more)
        made = rehearse(exchange, whole({"t": calling("Paris")}))
        assert json.loads(made.requests[0].body or b"").keys() == {"model", "messages"}
        assert made.outcome.error is None


async def test_a_round_of_tools_with_the_official_client(proxy: Proxy) -> None:
    """As agents do it: as long as there are calls, run them and send the results back."""
    async with backend(calling("Paris"), "It is sunny in Paris.") as behind:
        running = await proxy(mapped(behind.url, "tools"))
        async with client(running.url) as asking:
            messages: list[Any] = [{"role": "user", "content": "Weather in Paris?"}]
            while True:
                tools: Any = [WEATHER]
                made = await asking.chat.completions.create(model="m", messages=messages, tools=tools)
                message = made.choices[0].message
                messages.append(message.model_dump(exclude_none=True))
                if not message.tool_calls:
                    break
                for call in message.tool_calls:
                    assert call.type == "function"
                    city = json.loads(call.function.arguments)["city"]
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": f"sunny in {city}"})
    assert message.content == "It is sunny in Paris."
    sent = behind.bodies[1]["m"]
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "user"]
    assert "<tool_call>" in sent[2]["text"]
    assert sent[3]["text"] == ('<tool_response>\n{"name":"get_weather","content":"sunny in Paris"}\n</tool_response>')


async def test_a_stream_of_tools_with_the_official_client(proxy: Proxy) -> None:
    async with backend(f"One moment.\n{calling('Paris')}") as behind:
        running = await proxy(mapped(behind.url, "tools"))
        tools: Any = [WEATHER]
        async with (
            client(running.url) as asking,
            asking.chat.completions.stream(
                model="m", messages=[{"role": "user", "content": "Weather?"}], tools=tools
            ) as stream,
        ):
            made = await stream.get_final_completion()
    message = made.choices[0].message
    assert (message.content, made.choices[0].finish_reason) == ("One moment.", "tool_calls")
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.name == "get_weather"
    assert message.tool_calls[0].id.startswith("call_")
