"""Any cut of a reply: the same bytes for the client. Any bytes: only our errors. Any request: its text, whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import HI, ROOT, Round, ask, bytewise, chat, events, example, load, play

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.inputs import INPUTS
from oaiproxy.mapping import Mapping

unhurried = settings(deadline=None)  # a busy machine is no failure

SIMPLE = "text: t, reasoning: r, tool_calls: c, finish_reason: f, usage: {total: u, prompt: p}, done: d, id: i"
BY_EVENT = """by: k, events: {a: {text: t, reasoning: r}, b: {tool_call: {index: x, id: i, name: n, arguments: g}},
  c: {usage: {completion: u}, finish_reason: f}, d: {done: d}, e: ~, '*': {text: w}}"""
RULES = "events: [{when: t, text: t}, {when: n, tool_call: {id: i, name: n, arguments: g}}, {when: d, done: d}]"
RESPONSE = "{text: o, tool_calls: c, usage: {total: u}}"
FORMS = {"simple": SIMPLE, "by event": BY_EVENT, "rules": RULES, "cumulative": f"text_mode: cumulative, {SIMPLE}"}
MAPPINGS: dict[str, Mapping] = {
    "example": example(),
    "whole": chat(response=RESPONSE),
    "text": chat(stream="{format: text, data: text, text: '@'}"),
    **{
        f"{form} {how}": chat(response=RESPONSE, stream=f"{{format: {form}, end: '[DONE]', {sinks}}}")
        for form in ("sse", "ndjson", "json-array", "json-concat")
        for how, sinks in FORMS.items()
        if how in ("simple", "by event") or form == "ndjson"
    },
}
mappings = pytest.mark.parametrize("mapping", MAPPINGS.values(), ids=MAPPINGS)

texts = st.text(max_size=8) | st.sampled_from(["a", "ab", "abc", "\ud83d", "\ude00", "\ufffd", "\u2028", "\r\n\n", ""])
scalars = st.none() | st.booleans() | st.integers(-1, 10**20) | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("tnimgo"), inner, max_size=2)
)
calls = st.lists(st.fixed_dictionaries({}, optional={"id": values, "name": texts, "arguments": values}), max_size=2)
well_typed = st.fixed_dictionaries(
    {},
    optional={
        "k": st.sampled_from("abcde"),
        "t": texts,
        "r": texts,
        "o": texts,
        "c": calls,
        "f": texts,
        "u": scalars,
        "d": st.booleans(),
        "x": st.integers(0, 3),
        "n": texts,
        "g": texts,
        "i": texts,
        "chunk": texts,
        "finished": st.booleans(),
        "generated_text": texts,
    },
)
keys = st.sampled_from(["k", "t", "r", "o", "c", "f", "u", "d", "x", "n", "g", "i", "error", "chunk", "finished"])
frames = st.lists(well_typed | st.dictionaries(keys, values, max_size=5), max_size=5)
contents = st.sampled_from(["", "application/json", "text/event-stream", "application/x-ndjson", "text/html"])


def wire(mapping: Mapping, values_: list[dict[str, Any]], end: bool) -> bytes:
    """Frames in the mapping's own framing."""
    stream = mapping.endpoints["chat"].stream
    form = stream.framing.name if stream else "whole"
    written = [json.dumps(value) for value in values_]
    if form == "sse":
        return "".join(f"data: {line}\r\n\r\n" for line in [*written, *["[DONE]"] * end]).encode()
    if form == "json-array":
        return f"[{', '.join(written)}]".encode()
    return ("\n" if form == "ndjson" else "").join(written).encode() + b"[DONE]" * (end and form == "json-concat")


def client_view(got: Round) -> tuple[bytes, str | None, str | None]:
    return got.sent, got.fault and got.fault.code, got.fault and got.fault.message


def check(got: Round, streams: bool) -> None:
    """What a client may always count on."""
    assert got.fault is None or isinstance(got.fault, BackendError)
    if not streams:
        assert got.fault is None or got.sent == b""
        return
    *before, last = [*events(got.sent)] or [""]
    assert (last == "[DONE]") is (got.fault is None)
    assert "[DONE]" not in before
    chunks = got.chunks
    assert not any("error" in chunk for chunk in chunks)
    finished = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert len(finished) == (got.fault is None)
    roles = [at for at, chunk in enumerate(chunks) for choice in chunk["choices"] if "role" in choice["delta"]]
    assert roles in ([0], [] if not chunks else [0])
    if got.fault is None:
        calls_ = [call for chunk in chunks for c in chunk["choices"] for call in c["delta"].get("tool_calls", ())]
        indexes = {call["index"] for call in calls_}
        assert indexes == set(range(len(indexes)))


@mappings
@settings(unhurried, max_examples=25)
@given(data=st.data(), values_=frames, end=st.booleans(), content=contents, streams=st.booleans())
def test_any_cut_of_a_reply_gives_the_same_bytes(
    mapping: Mapping, data: st.DataObject, values_: list[dict[str, Any]], end: bool, content: str, streams: bool
) -> None:
    """Where reads end changes nothing that the client gets; text without borders comes in other pieces, the same."""
    body = wire(mapping, values_, end)
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6), label="places"))
    pieces = [body[start:stop] for start, stop in zip([0, *places], [*places, len(body)], strict=True)]
    headers = {"content-type": content}
    whole = play(mapping, body, stream=streams, headers=headers)
    check(whole, streams)
    for reads in (pieces, bytewise(body)):
        got = play(mapping, *reads, stream=streams, headers=headers)
        check(got, streams)
        if mapping is MAPPINGS["text"] and got.fault is None:
            assert got.outcome == whole.outcome
        else:
            assert client_view(got) == client_view(whole)


@mappings
@settings(unhurried, max_examples=25)
@given(values_=st.lists(well_typed, max_size=5), end=st.booleans(), content=contents)
def test_whole_and_streamed_answers_are_one(
    mapping: Mapping, values_: list[dict[str, Any]], end: bool, content: str
) -> None:
    """A client that streams sees the same answer in the end as one that does not."""
    body, headers = wire(mapping, values_, end), {"content-type": content}
    if mapping.endpoints["chat"].whole is not None:
        headers = {"content-type": "text/event-stream"}  # the same kind of reply to both
        if mapping.endpoints["chat"].stream is None or mapping.endpoints["chat"].stream.framing.name != "sse":
            return
    one, other = (play(mapping, body, stream=streams, headers=headers) for streams in (False, True))
    assert (one.fault and one.fault.code) == (other.fault and other.fault.code)
    if one.fault is None:
        first, second = one.outcome, other.outcome
        first.usage = second.usage = None
        assert first == second


PIECES = [*(bytes([byte]) for byte in b'{}[]",:\\ \n<\x00'), b"data: ", b"\n\n", b'{"t":', b'"a"', b"\xff", b"\\ud83d"]
noise = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)


@mappings
@settings(unhurried, max_examples=25)
@given(
    body=noise,
    content=contents,
    encoding=st.sampled_from(["", "gzip", "deflate", "br", "\x00"]),
    status=st.integers(200, 599),
    streams=st.booleans(),
)
def test_any_bytes_give_only_our_errors(
    mapping: Mapping, body: bytes, content: str, encoding: str, status: int, streams: bool
) -> None:
    """Whatever a backend sends, with whatever status, nothing but a BackendError comes of it."""
    headers = {"content-type": content, "content-encoding": encoding, "retry-after": "0x10"}
    got = play(mapping, body, status=status, headers=headers, stream=streams)
    check(got, streams)
    assert status < 300 or got.fault is not None


HOSTILE = st.text(max_size=30) | st.sampled_from(
    [
        '"}],"x":[{',
        "{{ 7*7 }}",
        "{% for %}",
        "\0\x07\x1b",
        "\r\n\u2028\u2029\x85",
        "\\u0041\\",
        "${HOME}",
        "1",
        "true",
        "[]",
    ]
)
parts = st.fixed_dictionaries({"type": st.just("text"), "text": HOSTILE})
messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant"]),
            "content": HOSTILE | st.lists(parts, max_size=3),
        }
    ),
    min_size=1,
    max_size=5,
)
requests = st.fixed_dictionaries(
    {"messages": messages},
    optional={
        "temperature": st.none() | st.floats(0, 2),
        "max_tokens": st.none() | st.integers(0, 1000) | st.just(100.0),
        "max_completion_tokens": st.none() | st.integers(0, 1000),
        "stop": st.none() | HOSTILE | st.lists(HOSTILE, max_size=4),
        "user": st.none() | HOSTILE,
        "stream": st.none() | st.booleans(),
        "tools": st.none() | st.just([]),
        "x-unknown": st.none() | HOSTILE,
    },
)
EVERYTHING = chat(
    response="{text: t}",
    request="""{path: /g, body: {p: '{{ prompt }}', s: '{{ system }}', stop: '{{ stop }}', u: '{{ user }}',
      m: [{$for: m in messages, r: '{{ m.role }}', t: '{{ m.text }}'}], x: '{{ extra }}', n: '{{ max_tokens }}'}}""",
)


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@unhurried
@given(request=requests)
def test_the_users_text_arrives_as_it_was_sent(request: dict[str, Any]) -> None:
    """Every valid request renders to JSON, with each text byte for byte where the mapping puts it."""
    body = json.loads(ask(EVERYTHING, request).backend_request().body or b"")
    assert body["p"] == text_of(request["messages"][-1])
    assert [one.get("t") for one in body.get("m", ())] == [text_of(message) for message in request["messages"]]
    assert body.get("u") == request.get("user")
    assert body.get("x", {}) == ({"x-unknown": request["x-unknown"]} if request.get("x-unknown") is not None else {})
    assert json.loads(ask(example(), request).backend_request().body or b"")["prompt"] == body["p"]


WORDS = ["role", "content", "type", "text", "image_url", "url", "file", "function", "name", "id", "tool_calls"]
numbers = st.integers() | st.just(10**400) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | texts, inner, max_size=4),
    max_leaves=10,
)
FIELDS = (
    *(
        "model",
        "messages",
        "prompt",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "response_format",
        "stop",
        "n",
    ),
    *("temperature", "max_tokens", "max_completion_tokens", "logprobs", "logit_bias", "functions", "suffix", "echo"),
)
bodies = (
    json_values
    | st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4)
    | st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4).map(
        lambda given_: HI | {"prompt": "hi"} | given_
    )
)
BEYOND = load((ROOT / "tests/everything.yaml").read_text().rsplit("\n---\n", 1)[1])
"""A mapping with the endpoints beyond chat."""
LEAST: dict[str, Any] = {
    "model": "m",
    "input": "a",
    "query": "q",
    "documents": ["a"],
    "prompt": "p",
    "file": {"base64": "AA=="},
}
more_bodies = st.dictionaries(
    st.sampled_from(sorted({key for fields in INPUTS.values() for key in fields})), json_values, max_size=4
).map(lambda given_: LEAST | given_)


@pytest.mark.parametrize("endpoint", INPUTS)
@settings(unhurried, max_examples=150)
@given(body=json_values | more_bodies)
def test_any_body_beyond_chat_is_a_call_or_the_clients_mistake(endpoint: str, body: Any) -> None:
    """No request makes another error than one of ours, up to the request for the backend."""
    door = DOORS[endpoint]
    try:
        call = door.parse(body)
        identity = ask(example()).identity
        Exchange(BEYOND, call, door.encoder(call, identity), identity).backend_request()
    except ClientError as error:
        told = error.status, bool(error.code)
    else:
        told = 400, True
    assert told == (400, True)


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@settings(unhurried, max_examples=300)
@given(body=bodies)
def test_any_body_is_a_call_or_the_clients_mistake(endpoint: str, body: Any) -> None:
    """No request makes another error than one of ours, up to the request for the backend."""
    door = DOORS[endpoint]
    try:
        call = door.parse(body)
        for mapping in (EVERYTHING, example()):
            identity = ask(mapping).identity
            Exchange(mapping, call, door.encoder(call, identity), identity).backend_request()
    except ClientError as error:
        told = error.status, bool(error.code)
    else:
        told = 400, True
    assert told == (400, True)
