"""The bytes that a client got are read back as one outcome, streamed or not."""

from __future__ import annotations

import pytest
from support import ask, bytewise, chat, example, load

from oaiproxy.errors import ClientError
from oaiproxy.outcomes import Outcome, drive, from_error, from_object, from_stream

WHOLE = b'{"generated_text": "Paris.", "metadata": {"tokens_generated": 8}}'
STREAM = b'{"chunk": "Par", "finished": false}{"chunk": "is.", "finished": true}'
CALLS = chat(response="{text: t, reasoning: r, tool_calls: c}", stream="{format: ndjson, text: t}")
CALLED = b'{"t": "so", "r": "hm", "c": [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": "no json"}]}'


@pytest.mark.parametrize("streams", [False, True])
def test_driving_a_reply(streams: bool) -> None:
    """In any pieces: text, reason, status."""
    data = STREAM if streams else WHOLE
    for pieces in ([data], bytewise(data)):
        outcome = drive(ask(example(), stream=streams).reply(200, {}), pieces)
        assert (outcome.text, outcome.finish_reason, outcome.status, outcome.error) == ("Paris.", "stop", 200, None)
        assert (outcome.usage is None) is streams


@pytest.mark.parametrize("streams", [False, True])
def test_tool_calls_are_read_with_their_arguments_as_data(streams: bool) -> None:
    """Text that is not JSON stays text; whole and streamed are the same."""
    headers = {"content-type": "application/json"}
    outcome = drive(ask(CALLS, stream=streams).reply(200, headers), [CALLED])
    assert (outcome.text, outcome.reasoning, outcome.finish_reason) == ("so", "hm", "tool_calls")
    assert outcome.tool_calls == [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": "no json"}]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_what_is_told_of_tokens_and_of_the_text(endpoint: str, streams: bool) -> None:
    """However the endpoint writes it; a choice without any has none."""
    sinks = "text: t, logprobs: p"
    body = "body: {q: '{{ prompt }}', p: '{{ logprobs }}'}"
    text = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'http://127.0.0.1:9'}\n"
    text += f"{endpoint}:\n  request: {{path: /x, {body}}}\n  response: {{{sinks}, annotations: n}}\n"
    wanted = {"logprobs": True if endpoint == "chat" else 1}
    data = b'{"t": "so", "p": [{"token": "s", "logprob": -1}, {"token": "o", "logprob": -2}], "n": [{"type": "x"}]}'
    reply = ask(load(text), endpoint=endpoint, stream=streams, **wanted).reply(
        200, {"content-type": "application/json"}
    )
    outcome = drive(reply, [data])
    found = [(each["token"], each["logprob"]) for each in outcome.logprobs or ()]
    assert found == [("s", -1), ("o", -2)]
    assert outcome.annotations == ([{"type": "x"}] if endpoint == "chat" else None)
    reply = ask(load(text), endpoint=endpoint, stream=streams, **wanted).reply(
        200, {"content-type": "application/json"}
    )
    outcome = drive(reply, [b'{"t": "so"}'])
    assert (outcome.logprobs, outcome.annotations) == (None, None)


def test_a_failure_is_part_of_the_outcome() -> None:
    """With what was said before it."""
    outcome = drive(ask(example(), stream=True).reply(200, {}), [b'{"chunk": "Par"}', b"oops"])
    assert (outcome.text, outcome.status) == ("Par", 502)
    assert outcome.error is not None
    assert outcome.error["code"] == "upstream_invalid_json"


def test_a_failure_before_everything() -> None:
    """Nothing but the error."""
    outcome = drive(ask(example()).reply(503, {}), [b""])
    assert (outcome.text, outcome.status, outcome.finish_reason) == (None, 503, None)


def test_a_refused_request_is_an_outcome() -> None:
    """With its own status and error object."""
    outcome = from_error(ClientError("no", param="n"))
    assert outcome == Outcome(status=400, error=ClientError("no", param="n").body()["error"])


def test_completions_are_read_too() -> None:
    """Their text stands elsewhere."""
    assert from_object(b'{"choices":[{"text":"a","finish_reason":"stop"}]}').text == "a"
    chunk = 'data: {"choices":[{"text":"%s","finish_reason":%s}]}\n\n'
    chunks = chunk % ("a", "null") + chunk % ("b", '"stop"') + "data: [DONE]\n\n"
    assert from_stream(chunks.encode()) == Outcome(text="ab", finish_reason="stop")


@pytest.mark.parametrize("streams", [False, True])
def test_a_refusal_and_the_answers_name_are_read(streams: bool) -> None:
    """From chunks and from an object."""
    mapping = chat(response="{text: t, refusal: r, id: i, model: m}")
    outcome = drive(ask(mapping, stream=streams).reply(200, {}), [b'{"r": "no", "i": "a1", "m": "big"}'])
    assert (outcome.refusal, outcome.id, outcome.model) == ("no", "a1", "big")
