"""A backend's reply becomes the client's answer, whatever it is, however it comes and wherever it is cut."""

from __future__ import annotations

import gc
import json
from typing import Any
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ask, assert_strict, bytewise, chat, events, example, halves, needs_strict, play, sse

from oaiproxy.reply import MAX_ERROR

PARIS = '{"generated_text": "Paris.", "metadata": {"tokens_generated": 8}}'
STREAM = '{"chunk": "Par", "finished": false}{"chunk": "is.", "finished": true}'
SSE = chat(response="{text: text}", stream="{format: sse, text: text, done: stop, end: '[DONE]'}")
EVENTS = chat(
    response="{text: out}",
    stream="""
      format: sse
      by: type
      events:
        start: {id: id, usage: {prompt: usage.in}}
        delta: {text: text, reasoning: thought}
        tool: {tool_call: {index: index, id: id, name: name, arguments: args}}
        end: {finish_reason: reason, usage: {completion: usage.out}}
        bye: {done: true}
        ping: ~""",
    more="finish_reasons: {cut: length, not_yet: ~}",
)


def test_a_whole_answer() -> None:
    """The example API's answer as a completion object."""
    answer = play(example(), PARIS, counts=(5, None)).answer
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Paris.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}


def test_a_stream_of_chunks() -> None:
    """Role first, text, one finish chunk, `[DONE]`; no usage key where none was asked for."""
    *chunks, done = events(play(example(), STREAM, stream=True).sent)
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Par"},
        {"content": "is."},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    assert done == "[DONE]"
    assert not any("usage" in json.loads(chunk) for chunk in chunks)


def test_usage_comes_last_in_a_stream_that_asks_for_it() -> None:
    """Every chunk has the key, null but for the last one, which has no choices."""
    asked: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = play(example(), STREAM, counts=(3, 2), **asked).chunks
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize("streams", [False, True])
def test_a_client_gets_what_it_asked_for_whatever_the_backend_does(streams: bool) -> None:
    """A backend that only streams answers whole, one that never does answers as a stream: with the same outcome."""
    for mapping, data in (
        (chat(response="{text: t}"), '{"t": "all"}'),
        (chat(stream="{format: ndjson, text: t, done: d}"), '{"t": "a"}\n{"t": "ll", "d": true}\n'),
    ):
        got = play(mapping, data, stream=streams)
        assert got.sent.startswith(b"data: ") is streams
        assert (got.outcome.text, got.outcome.finish_reason) == ("all", "stop")


def test_the_end_of_the_answer_is_not_waited_for() -> None:
    """After `done` the reply is complete, and what follows is not read."""
    got = play(example(), STREAM, '{"chunk": " And more", "finished": true}', "garbage", stream=True)
    assert (got.text, got.reply.done) == ("Paris.", True)
    assert got.sent.endswith(b"data: [DONE]\n\n")


def test_the_literal_end_mark_ends_the_stream() -> None:
    """`end` is not parsed, and ends a stream as `done` does."""
    assert play(SSE, sse({"text": "a"}, "[DONE]", {"text": "b"}), stream=True).outcome.text == "a"


def test_a_stream_that_stops_before_its_end_is_incomplete() -> None:
    """A mapping that knows the end must see it: no invented finish, no `[DONE]`."""
    got = play(SSE, sse({"text": "a"}), stream=True)
    assert got.fault is not None
    assert (got.fault.code, got.text) == ("upstream_incomplete", "a")
    assert b"[DONE]" not in got.sent
    assert not any(chunk["choices"][0]["finish_reason"] for chunk in got.chunks)


def test_require_done_can_be_turned_off() -> None:
    """Then the end of the body is the end of the answer."""
    mapping = chat(stream="{format: sse, text: text, done: stop, require_done: false}")
    assert play(mapping, sse({"text": "a"}), stream=True).outcome.text == "a"


def test_frames_before_a_fault_in_the_same_read_are_sent() -> None:
    """What was said before a failure reaches the client; nothing after it does, and no end mark."""
    got = play(SSE, sse({"text": "a"}, {"error": {"message": "no"}}, {"text": "b", "stop": True}), stream=True)
    assert got.fault is not None
    assert (got.text, got.fault.message) == ("a", "no")
    assert b"[DONE]" not in got.sent
    assert b"error" not in got.sent


def test_a_failure_before_the_first_text_leaves_the_client_without_a_byte() -> None:
    """So that the server can still answer with a status of failure."""
    got = play(EVENTS, sse({"type": "start", "id": "x"}, {"error": "no"}), stream=True)
    assert (got.sent, got.fault and got.fault.message) == (b"", "no")


def test_transport_failures_end_the_answer() -> None:
    """A reply that broke off says so, unless it had already failed."""
    from oaiproxy.errors import BackendError

    reply = ask(example(), stream=True).reply(200, {})
    reply.feed(b'{"chunk": "a"}')
    reply.cut(BackendError("the connection broke", code="upstream_reset"))
    reply.cut(BackendError("again"))
    assert (reply.end(), reply.close()) == (b"", b"")
    assert reply.fault is not None
    assert reply.fault.code == "upstream_reset"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/x+json"])
def test_a_stream_that_comes_as_one_document_is_read_whole(content_type: str) -> None:
    """The content type tells, where the framing is not JSON's."""
    got = play(SSE, '{"text": "all"}', stream=True, headers={"content-type": content_type})
    assert got.outcome.text == "all"


def test_an_error_document_in_place_of_a_stream_is_an_error() -> None:
    """It is read by the rules of a whole answer."""
    got = play(SSE, '{"error": "busy"}', stream=True, headers={"content-type": "application/json"})
    assert (got.sent, got.fault and got.fault.message) == (b"", "busy")


JSON_FORMATS = ("ndjson", "json-array", "json-concat")


@pytest.mark.parametrize("form", JSON_FORMATS)
def test_the_first_value_of_a_json_stream_tells_whether_it_is_one(form: str) -> None:
    """A whole answer, an empty one and an error body are known by what they hold; a stream's head is none."""
    mapping = chat(
        response="{text: out, id: id}",
        stream=f"{{format: {form}, by: type, events: {{d: {{text: t}}, s: ~, e: {{done: true}}}}}}",
    )
    assert play(mapping, '{"out": "all", "id": "x"}', stream=True).outcome.text == "all"
    assert play(mapping, '{"out": ""}', stream=True).outcome.text == ""
    assert (fault := play(mapping, '{"error": "no"}', stream=True).fault)
    assert fault.message == "no"
    stream = ['{"type": "s", "id": "x"}', '{"type": "d", "t": "a"}', '{"type": "e"}']
    data = f"[{','.join(stream)}]" if form == "json-array" else "\n".join(stream)
    assert play(mapping, data, stream=True).outcome.text == "a"


def test_a_stream_that_nobody_asked_for_is_assembled() -> None:
    """A whole answer was asked for and events came: the content type tells."""
    got = play(SSE, sse({"text": "a"}, {"text": "b", "stop": True}), headers={"content-type": "text/event-stream"})
    assert got.outcome.text == "ab"


@pytest.mark.parametrize(
    ("form", "headers"), [("sse", "text/event-stream"), ("json-concat", ""), ("whole", "text/html")]
)
def test_a_web_page_is_never_passed_on(form: str, headers: str) -> None:
    """A page with status 200 is not the answer, whatever its type says."""
    stream = "" if form == "whole" else f"{{format: {form}, text: text}}"
    mapping = chat(response="{text: text}", stream=stream)
    for pieces in (["\ufeff \n<!doctype html><p>Sign in</p>"], ["\n", " ", "<", "html>"]):
        got = play(mapping, *pieces, stream=True, headers={"content-type": headers})
        assert got.fault is not None
        assert (got.fault.code, got.fault.status) == ("upstream_invalid_response", 502)
        assert "<" not in got.fault.message


@pytest.mark.parametrize("data", ["", "\r\n", "\ufeff"])
def test_an_empty_answer_is_a_failure(data: str) -> None:
    """Nothing at all is not an empty completion."""
    for mapping in (example(), SSE):
        for streams in (False, True):
            got = play(mapping, data, stream=streams)
            assert got.fault is not None
            assert got.fault.code in ("upstream_empty_response", "upstream_invalid_json"), streams


EMPTY = {
    "empty text": sse({"text": "", "stop": True}),
    "only the end mark": sse("[DONE]"),
    "zero tokens": None,
}


@pytest.mark.parametrize("data", [data for data in EMPTY.values() if data])
def test_an_empty_completion(data: str) -> None:
    """Role, finish and `[DONE]`, where the backend says that it is complete."""
    got = play(SSE, data, stream=True)
    assert got.fault is None
    assert [chunk["choices"][0]["finish_reason"] for chunk in got.chunks] == [None, "stop"]
    assert got.sent.endswith(b"data: [DONE]\n\n")


def test_text_that_is_not_found_is_a_mismatch_that_names_the_selector() -> None:
    """The client learns the selector, the log the mapping's line and the keys that came."""
    for streams in (False, True):
        got = play(chat(response="{text: a.b}"), '{"x": 1, "y": 2}', stream=streams)
        assert got.fault is not None
        assert (got.fault.code, got.fault.retry) == ("upstream_mapping_mismatch", False)
        assert "text: a.b" in got.fault.message
        assert "test.yaml:7" in got.fault.detail
        assert "keys that came: x, y" in got.fault.detail


@pytest.mark.parametrize("value", ["5", "0", "true", "[1]", '{"a": 1}'])
def test_text_that_is_not_a_string_is_a_mismatch(value: str) -> None:
    """Numbers, lists and objects are not made text."""
    got = play(SSE, sse({"text": "a"}) + f'data: {{"text": {value}}}\n\n', stream=True)
    assert got.fault is not None
    assert (got.fault.code, got.text) == ("upstream_mapping_mismatch", "a")


@pytest.mark.parametrize("value", ["null", "false", '""', "[]", "{}"])
def test_what_is_empty_says_nothing(value: str) -> None:
    """In every sink of a stream."""
    mapping = chat(
        stream="{format: ndjson, text: t, reasoning: r, tool_calls: c, finish_reason: f, usage: {total: u}, done: d}"
    )
    nothing = ", ".join(f'"{key}": {value}' for key in "trcfud")
    got = play(mapping, f'{{{nothing}}}\n{{"t": "a"}}\n{{{nothing}}}\n{{"d": true}}', stream=True)
    assert (got.outcome.text, got.outcome.finish_reason) == ("a", "stop")
    assert len(got.chunks) == 3


@pytest.mark.parametrize(("done", "ends"), [("0", False), ("false", False), ("1", True), ('"yes"', True)])
def test_done_may_be_a_number(done: str, ends: bool) -> None:
    """Backends that write 0 and 1 mean false and true."""
    mapping = chat(stream="{format: ndjson, text: t, done: d}")
    assert play(mapping, f'{{"t": "a", "d": {done}}}\n', stream=True).reply.done is ends


def test_characters_that_are_cut_come_out_whole() -> None:
    """The halves of a surrogate pair in two frames are one character; a half alone is U+FFFD."""
    mapping = chat(stream="{format: ndjson, text: t}")
    assert play(mapping, '{"t": "a\\ud83d"}\n{"t": "\\ude00b"}\n', stream=True).outcome.text == "a😀b"
    assert play(mapping, '{"t": "a\\ud83d"}\n{"t": ""}\n{"t": "b"}\n', stream=True).outcome.text == "a\ufffdb"
    assert play(mapping, '{"t": "a\\ud83d"}\n', stream=True).outcome.text == "a\ufffd"


CUMULATIVE = {
    "growing": (["a", "ab", "abc"], "abc"),
    "repeated": (["a", "a", "ab", "ab"], "ab"),
    "half a character": (["a", "a\ufffd", "aé"], "aé"),
    "half a character at the end": (["a", "a\ufffd\ufffd"], "a\ufffd\ufffd"),
    "a replacement character inside": (["a\ufffdb", "a\ufffdbc"], "a\ufffdbc"),
    "half a surrogate pair": (["a\ud83d", "a😀"], "a😀"),
    "trimmed at the end": (["a ", "a b ", "a b"], "a b "),
    "empty in between": (["a", "", "ab"], "ab"),
}


@pytest.mark.parametrize(("texts", "text"), CUMULATIVE.values(), ids=CUMULATIVE)
def test_cumulative_text_is_told_once(texts: list[str], text: str) -> None:
    """Each frame holds all so far; the client gets what is new."""
    mapping = chat(stream="{format: ndjson, text: t, text_mode: cumulative}")
    assert play(mapping, "\n".join(json.dumps({"t": part}) for part in texts), stream=True).outcome.text == text


def test_cumulative_text_that_was_rewritten_is_a_fault() -> None:
    """What was passed on cannot be taken back."""
    mapping = chat(stream="{format: ndjson, text: t, text_mode: cumulative}")
    got = play(mapping, '{"t": "abc"}\n{"t": "abd"}\n', stream=True)
    assert got.fault is not None
    assert (got.fault.code, got.text) == ("upstream_mapping_mismatch", "abc")


def test_events_route_to_their_sinks() -> None:
    """Reasoning, text, tool calls, usage and reason from their own events, known pings ignored."""
    got = play(
        EVENTS,
        sse(
            {"type": "start", "id": "b-1", "usage": {"in": 7}},
            {"type": "ping"},
            {"type": "delta", "thought": "hm"},
            {"type": "delta", "text": "one"},
            {"type": "new kind", "text": "unread"},
            {"type": "end", "reason": "cut", "usage": {"out": 3}},
            {"type": "bye"},
        ),
        stream=True,
        stream_options={"include_usage": True},
    )
    outcome = got.outcome
    assert (outcome.reasoning, outcome.text, outcome.finish_reason) == ("hm", "one", "length")
    assert outcome.usage == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert {chunk["id"] for chunk in got.chunks} == {"b-1"}


def test_events_that_are_listed_as_ignored_are_not_the_rest() -> None:
    """`~` stands for itself, also beside `*`."""
    mapping = chat(stream="{format: ndjson, by: k, events: {ping: ~, '*': {text: t}}}")
    assert play(mapping, '{"k": "ping", "t": "x"}\n{"k": "other", "t": "y"}', stream=True).outcome.text == "y"


def test_events_may_be_told_apart_by_numbers() -> None:
    """A status code, as a number or a boolean, names an event as the mapping writes it."""
    mapping = chat(stream="{format: ndjson, by: k, events: {1: {text: t}, 2: {done: true}, true: {text: u}}}")
    got = play(mapping, '{"k": 1, "t": "x"}\n{"k": true, "u": "y"}\n{"k": 2}\n', stream=True)
    assert got.outcome.text == "xy"


def test_events_may_be_rules() -> None:
    """All rules that match a frame apply, in their order."""
    mapping = chat(
        stream="{format: ndjson, events: [{when: t, text: t}, {when: last, done: true}, {when: u, usage: {total: u}}]}"
    )
    got = play(mapping, '{"t": "x"}\n{"t": "y", "last": 1, "u": 4}\n', stream=True)
    assert (got.outcome.text, got.reply.done) == ("xy", True)


def test_events_may_be_named_by_the_framing() -> None:
    """The name of a server-sent event is the discriminator where the mapping gives none."""
    mapping = chat(stream="{format: sse, events: {out: {text: '@'}, bye: {done: true}}, data: text}")
    got = play(mapping, sse(("out", "a b"), ("bye", "x")), stream=True)
    assert got.outcome.text == "a b"


def test_not_yet_is_no_reason() -> None:
    """A reason that the mapping calls `~` is not kept, and the last real one stands."""
    frames = [{"type": "delta", "text": "a"}] + [{"type": "end", "reason": r} for r in ("cut", "not_yet")]
    assert play(EVENTS, sse(*frames, {"type": "bye"}), stream=True).outcome.finish_reason == "length"


def test_unknown_reasons_are_stop_and_are_reported() -> None:
    """So that the operator can add them."""
    frames = [{"type": "delta", "text": "a"}, {"type": "end", "reason": "weird"}, {"type": "bye"}]
    got = play(EVENTS, sse(*frames), stream=True)
    assert (got.outcome.finish_reason, got.reply.unknown_finish_reasons) == ("stop", {"weird"})


def test_whole_and_streamed_tool_calls_have_one_outcome() -> None:
    """Fragments by index, renumbered; empty arguments; a made id; the reason derived."""
    frames = [
        {"type": "tool", "index": 1, "id": "a", "name": "f"},
        {"type": "tool", "index": 1, "args": '{"x"'},
        {"type": "tool", "index": 3, "name": "g"},
        {"type": "tool", "index": 1, "args": ": 1}"},
        {"type": "end", "reason": "stop"},
        {"type": "bye"},
    ]
    for streams in (False, True):
        outcome = play(EVENTS, sse(*frames), stream=streams, headers={"content-type": "text/event-stream"}).outcome
        assert outcome.tool_calls == [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}}]
        assert (outcome.finish_reason, outcome.text) == ("tool_calls", None)


PIECES = (
    "{format: ndjson, choices: all, text: t, tool_call: {each: calls, index: n, id: id, name: name, arguments: args}}"
)
RULES = "{format: ndjson, events: [{when: all, choices: all, " + PIECES.partition("text: t, ")[2][:-1] + "}]}"


@pytest.mark.parametrize("stream", [PIECES, RULES], ids=["simple", "rules"])
def test_a_frame_may_hold_several_pieces_of_tool_calls(stream: str) -> None:
    """Of several choices too, in any order, wherever the bytes are cut."""
    frames = [
        {"all": [{"index": 1, "calls": [{"n": 1, "name": "h"}]}, {"calls": [{"n": 0, "id": "a", "name": "f"}]}][::-1]},
        {"all": [{"index": 0, "calls": [{"n": 1, "id": "b", "name": "g"}, {"n": 0, "args": '{"x": '}]}]},
        {"all": [{"index": 0, "calls": [{"n": 0, "args": "1}"}, {"n": 1, "args": "{}"}]}, {"index": 1, "calls": []}]},
        {"all": [{"index": 0, "calls": None}]},
    ]
    data = "".join(json.dumps(frame) + "\n" for frame in frames).encode()
    mapping = chat(request="{path: /g, body: {p: '{{ prompt }}', n: '{{ n }}'}}", stream=stream)
    for pieces in ([data], bytewise(data)):
        told = play(mapping, *pieces, stream=True, n=2).outcome
        assert told.tool_calls == [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {}}]
        assert [choice["tool_calls"] for choice in told.choices][1:] == [[{"name": "h", "arguments": {}}]]


def test_pieces_of_tool_calls_that_are_no_list_are_a_fault() -> None:
    """Nothing of them is left out."""
    mapping = chat(stream="{format: ndjson, text: t, tool_call: {each: calls, name: name}}")
    fault = play(mapping, '{"calls": {"name": "f"}}\n', stream=True).fault
    assert fault is not None
    assert (fault.code, "found an object, not a list" in fault.message) == ("upstream_mapping_mismatch", True)


def test_tool_calls_are_streamed_as_clients_expect() -> None:
    """Content null, id, type and name once, dense indexes, then arguments alone."""
    mapping = chat(stream="{format: ndjson, text: t, tool_calls: calls}")
    got = play(mapping, '{"calls": [{"name": "f", "arguments": {"x": 1}}, {"id": "b", "name": "g"}]}', stream=True)
    first, *deltas, last = [chunk["choices"][0] for chunk in got.chunks]
    assert first["delta"] == {"role": "assistant", "content": None, "refusal": None}
    assert [choice["delta"]["tool_calls"][0] for choice in deltas] == [
        {"index": 0, "id": f"call_{'t' * 24}01", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x":1}'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    assert last["finish_reason"] == "tool_calls"


USAGES = {
    "last one wins": (['{"p": 1, "c": 1}', '{"p": 2, "c": 5}'], (2, 5, 7)),
    "field by field": (['{"p": 4}', '{"c": 5}'], (4, 5, 9)),
    "0 after something better": (['{"p": 4, "c": 3}', '{"p": 0, "c": 0}'], (4, 3, 7)),
    "0 if nothing is better": (['{"p": 4, "c": 0}'], (4, 0, 4)),
    "text and fractions": (['{"p": "4", "c": 5.0}'], (4, 5, 9)),
    "a total of more": (['{"p": 4, "c": 5, "n": 12}'], (4, 5, 12)),
    "a total of less": (['{"p": 4, "c": 5, "n": 3}'], (4, 5, 9)),
    "total and prompt": (['{"p": 4, "n": 10}'], (4, 6, 10)),
    "total and completion": (['{"c": 4, "n": 10}'], (6, 4, 10)),
    "what is no count": (['{"p": true, "c": "many", "n": -5}', '{"p": [1], "c": 1e400, "n": NaN}'], (70, 80, 150)),
}


@pytest.mark.parametrize(("frames", "counts"), USAGES.values(), ids=USAGES)
def test_usage(frames: list[str], counts: tuple[int, int, int]) -> None:
    """Counts are merged field by field; what the backend did not tell is counted here."""
    mapping = chat(stream="{format: ndjson, text: t, usage: {prompt: p, completion: c, total: n}}")
    answer = play(mapping, "\n".join(['{"t": "a"}', *frames]), counts=(70, 80)).answer
    assert tuple(answer["usage"].values()) == counts


def test_details_of_usage() -> None:
    """Cached and reasoning tokens have their places."""
    mapping = chat(response="{text: t, usage: {prompt: '`5`', completion: '`6`', cached: c, reasoning: r}}")
    usage = play(mapping, '{"t": "a", "c": 2, "r": 3}').answer["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 2}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_what_is_to_be_counted() -> None:
    """The texts that were sent and that came, where the backend did not count and the answer needs it."""
    mapping = chat(response="{text: t, usage: {completion: n}}")
    for body, fields, prompt, completion in (
        ('{"t": "out"}', {}, ("hi",), "out"),
        ('{"t": "out", "n": 3}', {}, ("hi",), None),
    ):
        reply = ask(mapping, **fields).reply(200, {})
        reply.feed(body.encode())
        reply.end()
        missing = reply.uncounted()
        assert missing is not None
        assert (missing.prompt, missing.completion) == (prompt, completion)
    reply = ask(mapping, stream=True).reply(200, {})
    reply.feed(b'{"t": "out"}')
    reply.end()
    assert reply.uncounted() is None


STATUSES: dict[str, tuple[int, str, dict[str, str], tuple[int, str, str, bool | None, float | None]]] = {
    "20 redirect": (302, "", {"location": "http://x"}, (502, "server_error", "upstream_redirect", False, None)),
    "20 not modified": (304, "", {}, (502, "server_error", "upstream_redirect", False, None)),
    "21 our key": (401, '{"error": "key-of-us"}', {}, (502, "server_error", "upstream_auth_error", False, None)),
    "21 forbidden": (403, "", {}, (502, "server_error", "upstream_auth_error", False, None)),
    "23 bad request": (400, '{"detail": "bad"}', {}, (400, "invalid_request_error", "invalid_value", None, None)),
    "23 unprocessable": (422, "{}", {}, (400, "invalid_request_error", "invalid_value", None, None)),
    "24 context": (
        500,
        '{"message": "This model\'s maximum context length is 8 tokens"}',
        {},
        (400, "invalid_request_error", "context_length_exceeded", None, None),
    ),
    "25 not found": (404, "", {}, (502, "server_error", "upstream_not_found", False, None)),
    "26 too many": (429, "", {"retry-after": "7"}, (429, "rate_limit_error", "rate_limit_exceeded", None, 7.0)),
    "26 too many, date": (
        429,
        "",
        {"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"},
        (429, "rate_limit_error", "rate_limit_exceeded", None, 10.0),
    ),
    "27 too long a wait": (
        429,
        "",
        {"retry-after": "300"},
        (429, "rate_limit_error", "rate_limit_exceeded", False, 60),
    ),
    "28 quota": (429, '{"error": "quota"}', {}, (429, "insufficient_quota", "insufficient_quota", False, None)),
    "29 broken": (500, "", {"retry-after": "3"}, (502, "server_error", "upstream_error", None, 3.0)),
    "29 busy": (
        503,
        "",
        {"retry-after": "999"},
        (503, "service_unavailable_error", "server_is_overloaded", None, 60.0),
    ),
    "29 late": (504, "", {}, (504, "server_error", "upstream_timeout", False, None)),
    "29 overloaded": (529, "", {}, (503, "service_unavailable_error", "server_is_overloaded", None, None)),
    "31 too large": (413, "", {}, (413, "invalid_request_error", "request_too_large", None, None)),
    "teapot": (418, "", {}, (502, "server_error", "upstream_error", False, None)),
}


@pytest.mark.parametrize(("status", "body", "headers", "wanted"), STATUSES.values(), ids=STATUSES)
@pytest.mark.parametrize("streams", [False, True])
def test_statuses_of_failure(
    status: int,
    body: str,
    headers: dict[str, str],
    wanted: tuple[int, str, str, bool | None, float | None],
    streams: bool,
) -> None:
    """Each status becomes the one that tells the client what to do."""
    got = play(example(), body, status=status, headers=headers, stream=streams)
    fault = got.fault
    assert fault is not None
    assert (fault.status, fault.type, fault.code, fault.retry, fault.retry_after) == wanted
    assert got.sent == b""
    assert "key-of-us" not in fault.message


def test_the_backends_message_is_passed_on_in_bounds() -> None:
    """Without secrets, on one line, of at most 500 characters."""
    message = "key-of-the-operator is\n odd " + "x" * 1000
    fault = play(example(), json.dumps({"error": {"message": message}}), status=400).fault
    assert fault is not None
    assert fault.message.startswith("*** is odd xxx")
    assert len(fault.message) == 500
    assert "key-of" not in fault.detail


PAGES = (
    "<html><body>nginx</body></html>",
    '{"message": "<!DOCTYPE html><p>x</p>"}',
    '{"detail": "Traceback (most recent call last):\\n  File x"}',
)


@pytest.mark.parametrize("body", PAGES)
def test_pages_and_traces_are_kept_back(body: str) -> None:
    """The status is all that is told of them."""
    for status in (400, 500, 503):
        fault = play(example(), body, status=status).fault
        assert fault is not None
        assert fault.message == f"the backend answered {status}"


def test_the_mappings_own_error_selectors() -> None:
    """Message, type and code from where the mapping says."""
    mapping = chat(response="{text: t}", more="errors: {message: m, type: k, code: c}")
    fault = play(mapping, '{"m": "odd", "k": "own_type", "c": 17}', status=500).fault
    assert fault is not None
    assert (fault.message, fault.type, fault.code) == ("the backend answered 500: odd", "own_type", "17")


@pytest.mark.parametrize("encoding", ["", "gzip", "br"])
def test_a_body_of_failure_that_cannot_be_read_leaves_the_status(encoding: str) -> None:
    """Too long, not what its encoding says, or in an unknown one: the status tells enough."""
    for body in (b"x" * (MAX_ERROR + 10), b"\x1f\x8b\x08"):
        fault = play(example(), body, status=503, headers={"content-encoding": encoding}).fault
        assert fault is not None
        assert fault.status == 503


ERRORS: dict[str, tuple[str, tuple[int, str, str]]] = {
    "text": ('{"error": "no"}', (502, "server_error", "upstream_error")),
    "object": ('{"error": {"message": "no", "type": "t", "code": "c"}}', (502, "t", "c")),
    "status": (
        '{"error": {"message": "no", "status": 503}}',
        (503, "service_unavailable_error", "server_is_overloaded"),
    ),
    "code": ('{"error": {"message": "no", "code": 401}}', (502, "server_error", "upstream_auth_error")),
    "rate limit": ('{"error": {"type": "rate_limit_error"}}', (429, "rate_limit_error", "rate_limit_exceeded")),
    "overload": ('{"error": {"type": "overloaded_error"}}', (503, "overloaded_error", "server_is_overloaded")),
    "context": (
        '{"error": "prompt is too long"}',
        (400, "invalid_request_error", "context_length_exceeded"),
    ),
}


@pytest.mark.parametrize(("body", "wanted"), ERRORS.values(), ids=ERRORS)
def test_failures_told_with_status_200(body: str, wanted: tuple[int, str, str]) -> None:
    """An `error` key is a failure: whole, at the first frame and later."""
    for mapping, prefix in ((example(), ""), (chat(stream="{format: ndjson, text: t}"), '{"t": "a"}\n')):
        for streams in (False, True):
            fault = play(mapping, prefix + body, stream=streams).fault
            assert fault is not None
            assert (fault.status, fault.type, fault.code) == wanted


@pytest.mark.parametrize("value", ["null", "false", '""', "0", "{}", "[]"])
def test_an_empty_error_is_none(value: str) -> None:
    """Many backends send the key always."""
    assert play(chat(response="{text: t}"), f'{{"t": "a", "error": {value}}}').outcome.text == "a"


def test_secrets_in_failures_of_streams_are_redacted() -> None:
    """Also those that are written in the mapping itself, and the encoded pair of Basic authentication."""
    basic = "{url: 'http://b', auth: {basic: {user: me, password: hidden}}}"
    mapping = chat(stream="{format: ndjson, text: t}", backend=basic)
    fault = play(mapping, '{"error": {"message": "hidden bWU6aGlkZGVu", "code": "hidden"}}', stream=True).fault
    assert fault is not None
    assert (fault.message, fault.code) == ("*** ***", "***")


UNREADABLE: dict[str, tuple[bytes, str, bool | None]] = {
    "35 not JSON": (b"Hello", "upstream_invalid_json", False),
    "35 bad JSON": (b'{"generated_text": oops}', "upstream_invalid_json", False),
    "36 cut short": (b'{"generated_text": "Par', "upstream_invalid_json", None),
    "42 not UTF-8": (b'{"generated_text": "\xff"}', "upstream_invalid_utf8", False),
    "nested": (b"[" * 100_000, "upstream_invalid_json", None),
}


@pytest.mark.parametrize(("body", "code", "retry"), UNREADABLE.values(), ids=UNREADABLE)
def test_answers_that_cannot_be_read(body: bytes, code: str, retry: bool | None) -> None:
    """They are a 502 that says whether another try is worth it, and never quotes the answer."""
    fault = play(example(), body).fault
    assert fault is not None
    assert (fault.status, fault.code) == (502, code)
    if code == "upstream_invalid_json" and body.startswith(b"{"):
        assert fault.retry is retry
    assert "Hello" not in fault.message


def test_odd_json_is_read() -> None:
    """A wrong content type, lone surrogates, NaN and huge numbers are no reason to fail."""
    body = '{"generated_text": "\\ud83d", "x": [NaN, 1e400, 18446744073709551617]}'
    assert play(example(), body, headers={"content-type": "text/html"}).outcome.text == "\ufffd"


def test_huge_numbers_in_tool_arguments_are_exact() -> None:
    """No rounding; NaN, which JSON does not have, is null."""
    mapping = chat(response="{text: t, tool_calls: c}")
    body = '{"c": [{"name": "f", "arguments": {"a": 18446744073709551617, "b": NaN}}]}'
    assert play(mapping, body).outcome.tool_calls == [
        {"name": "f", "arguments": {"a": 18446744073709551617, "b": None}}
    ]


HOSTILE = '\n\ndata: {"error": 1}\n\n\r\u2028\u2029\x85\x1c "}]} [DONE] \ud7ff😀'


def test_no_text_breaks_out_of_its_event() -> None:
    """Whatever the text, id, model or tool name is, the client reads one event with exactly that in it."""
    mapping = chat(stream="{format: ndjson, text: t, id: i, model: m, tool_calls: c}")
    frame = json.dumps({"t": HOSTILE, "i": HOSTILE, "m": HOSTILE, "c": [{"name": HOSTILE, "arguments": HOSTILE}]})
    got = play(mapping, frame, stream=True)
    assert got.outcome.text == HOSTILE
    assert got.outcome.tool_calls == [{"name": HOSTILE, "arguments": HOSTILE}]
    assert {(chunk["id"], chunk["model"]) for chunk in got.chunks} == {(HOSTILE, HOSTILE)}
    assert play(mapping, frame).outcome.text == HOSTILE


STREAMS = {
    "example": (example(), STREAM.encode()),
    "sse": (SSE, sse({"text": "Pé"}, {"text": "😀"}, "[DONE]").encode()),
    "events": (
        EVENTS,
        sse({"type": "delta", "text": "é"}, {"type": "tool", "index": 0, "name": "f"}, {"type": "bye"}).encode(),
    ),
    "failing": (SSE, (sse({"text": "a"}) + "data: {oops\n\n").encode()),
    "cut short": (example(), STREAM[:-5].encode()),
}


@pytest.mark.parametrize(("mapping", "data"), STREAMS.values(), ids=STREAMS)
def test_a_client_gets_the_same_bytes_however_the_reply_is_cut(mapping: Any, data: bytes) -> None:
    """Byte by byte and cut in two anywhere, up to a failure too."""
    whole = play(mapping, data, stream=True)
    for pieces in (bytewise(data), *halves(data)):
        got = play(mapping, *pieces, stream=True)
        assert got.sent == whole.sent
        assert (got.fault and got.fault.code) == (whole.fault and whole.fault.code)


@needs_strict
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_everything_sent_is_what_openai_describes(endpoint: str) -> None:
    """Chunks and whole answers validate against OpenAI's own schemas."""
    frames = [
        {"type": "delta", "thought": "hm"},
        {"type": "delta", "text": "one"},
        {"type": "end", "reason": "cut", "usage": {"out": 3}},
        {"type": "bye"},
    ]
    if endpoint == "chat":
        frames.insert(2, {"type": "tool", "index": 0, "name": "f", "args": "{}"})
    names = {
        ("chat", True): "CreateChatCompletionStreamResponse",
        ("chat", False): "CreateChatCompletionResponse",
        ("completions", True): "CreateCompletionResponse",
        ("completions", False): "CreateCompletionResponse",
    }
    for streams in (False, True):
        for options in ({}, {"stream_options": {"include_usage": True}}):
            headers = {"content-type": "text/event-stream"}
            got = play(
                EVENTS, sse(*frames), endpoint=endpoint, headers=headers, stream=streams, counts=(1, 2), **options
            )
            assert got.fault is None
            values = got.chunks if streams else [got.answer]
            plain = [{k: v for k, v in value.items() if k != "usage" or v} for value in values]
            assert_strict(names[endpoint, streams], plain if endpoint == "completions" else values)


STREAMED = "{format: sse, text: t, done: d}"
NAMED_ERRORS: dict[str, tuple[str, Any, str | None]] = {
    "an object": (STREAMED, {"message": "no"}, "no"),
    "text": (STREAMED, "went wrong", "went wrong"),
    "the mapping's own place": ("{format: sse, text: t, error: {message: why}}", {"why": "no", "message": "x"}, "no"),
    "not its own place": ("{format: sse, text: t, error: why}", {"message": "no"}, "no"),
    "turned off": ("{format: sse, text: t, error: ~}", {"t": "b"}, None),
    "text payloads": ('{format: sse, data: text, text: "@"}', '{"message": "no"}', "no"),
    "not listed": ("{format: sse, events: {message: {text: t}}}", {"message": "no"}, "no"),
    "listed": ("{format: sse, events: {message: {text: t}, error: {text: t}}}", {"t": "b"}, None),
    "listed as ignored": ("{format: sse, events: {message: {text: t}, error: ~}}", {"message": "no"}, None),
    "the rest": ('{format: sse, events: {message: {text: t}, "*": ~}}', {"message": "no"}, "no"),
    "known by a selector": ("{format: sse, by: k, events: {a: {text: t}, b: ~}}", {"k": "b"}, None),
    "not known by it": ("{format: sse, by: k, events: {a: {text: t}, b: ~}}", {"k": "c", "message": "no"}, "no"),
    "known by a rule": (
        "{format: sse, events: [{when: t, text: t}, {when: event() == 'error', error: why}]}",
        {"why": "no"},
        "no",
    ),
}


@pytest.mark.parametrize(("stream", "payload", "message"), NAMED_ERRORS.values(), ids=NAMED_ERRORS)
def test_an_event_named_error_is_a_failure(stream: str, payload: Any, message: str | None) -> None:
    """It never ends as a clean stop, unless the mapping says what else it is."""
    first = "a" if "data: text" in stream else {"t": "a", "k": "a"}
    got = play(chat(stream=stream), sse(first, ("error", payload)), stream=True)
    assert (got.fault.message if got.fault else None) == message


def test_events_that_are_not_listed_are_reported() -> None:
    """For the log, as unknown finish reasons are."""
    got = play(EVENTS, sse({"type": "delta", "text": "a"}, {"type": "odd"}, {"type": "bye"}), stream=True)
    assert (got.text, got.fault, got.reply.unknown_events) == ("a", None, {"odd"})


JSON_TYPE = {"content-type": "application/json"}
DOCUMENTS: dict[str, tuple[str, str, str | None, str | None]] = {
    "an error": ("format: sse, text: t, done: d", '{"error": {"message": "no"}}', None, "no"),
    "an error by its own sink": ("format: sse, text: t, error: why", '{"why": "no"}', None, "no"),
    "an answer": ("format: sse, text: t, done: d", '\ufeff {\n "t": "a"}', "a", None),
    "events after all": ("format: sse, text: t, done: d", 'data: {"t": "a", "d": 1}\n\n', "a", None),
    "an error in place of text": ('format: text, data: text, text: "@"', '{"error": "no"}', None, "no"),
    "where that is turned off": (
        'format: text, data: text, text: "@", error: ~',
        '{"error": "no"}',
        '{"error": "no"}',
        None,
    ),
    "an object as text": ('format: text, data: text, text: "@"', '{"a": 1}', '{"a": 1}', None),
    "text that is no JSON": ('format: text, data: text, text: "@"', "[so] it is", "[so] it is", None),
}


@pytest.mark.parametrize(("stream", "data", "text", "message"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_in_place_of_a_stream(stream: str, data: str, text: str | None, message: str | None) -> None:
    """Where the mapping has no `response`, the stream's own sinks read it, and an error is one."""
    for pieces in ([data], bytewise(data.encode())):
        got = play(chat(stream=f"{{{stream}}}"), *pieces, headers=JSON_TYPE, stream=True)
        assert (got.fault.message if got.fault else None) == message
        assert got.fault or got.text == text


PRETTY: dict[str, tuple[str, str | None, str | None]] = {
    "a whole answer": ('{\n  "out": "a",\n  "x": [\n1]\n}\n', "a", None),
    "an error": ('\n{\n  "error": {\n    "message": "no"}\n}', None, "no"),
    "a value per line": ('\n{"t": "a"}\n{"t": "b"}\n', "ab", None),
    "values of many lines": ('{\n"t": "a"}\n{"t":\n"b"}', "ab", None),
    "one line without an end": ('{"t": "a"}', "a", None),
}


@pytest.mark.parametrize(("data", "text", "message"), PRETTY.values(), ids=PRETTY)
def test_a_value_over_many_lines_in_place_of_lines(data: str, text: str | None, message: str | None) -> None:
    """The first line tells; what then comes is read as any JSON stream."""
    mapping = chat(response="{text: out}", stream="{format: ndjson, text: t}")
    for pieces in ([data], bytewise(data.encode())):
        got = play(mapping, *pieces, headers=JSON_TYPE, stream=True)
        assert (got.fault.message if got.fault else None) == message
        assert got.fault or got.text == text


def test_a_blank_line_does_not_end_the_first_one() -> None:
    """Wherever the network cuts: the first line that says something tells, and only when all of it is there."""
    data = b'\n{"t": "a"}\n{"t": "b"}\nnone'
    mapping = chat(stream="{format: ndjson, text: t}")
    told = {
        (got.fault.message if got.fault else None, got.sent)
        for got in (play(mapping, *pieces, stream=True) for pieces in ([data], *halves(data)))
    }
    assert len(told) == 1


def test_a_first_line_that_is_too_long_is_not_kept() -> None:
    """The bound of a frame stands."""
    got = play(chat(stream="{format: ndjson, text: t}"), *([b'{"t": "' + b"a" * 300_000] * 4), stream=True)
    assert got.fault is not None
    assert got.fault.code == "upstream_frame_too_large" or "large" in got.fault.message


@pytest.mark.parametrize("form", ["ndjson", "text"])
def test_streams_of_text_may_begin_with_a_bracket(form: str) -> None:
    """They are not JSON, and what looks like a page is what the model said."""
    mapping = chat(stream=f'{{format: {form}, data: text, text: "@"}}')
    assert play(mapping, "<b>bold</b>", stream=True).text == "<b>bold</b>"


MANY = chat(
    request="{path: /g, body: {p: '{{ prompt }}', n: '{{ n }}', lp: '{{ logprobs }}'}}",
    response="""
      {choices: all, text: t, finish_reason: f, logprobs: l, annotations: a, usage: {prompt: u, completion: u}}""",
    stream="{format: ndjson}",
    more="emulate: [stop]",
)
NOTE = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}
LOGPROBS = [{"token": "a", "logprob": -1.5, "top_logprobs": [{"token": "b", "logprob": -2}]}]
ALL = {"all": [{"t": "ab", "l": LOGPROBS, "a": [NOTE]}, {"t": "cd", "f": "length"}], "u": 3}


@needs_strict
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_all_that_a_choice_says_is_as_openai_describes_it(endpoint: str, stream: bool) -> None:
    """Several choices, log probabilities and annotations, whole and in chunks."""
    wanted: Any = True if endpoint == "chat" else 2
    made = play(MANY, json.dumps(ALL) + "\n", endpoint=endpoint, stream=stream, n=2, logprobs=wanted)
    assert made.fault is None
    name = "CreateCompletionResponse" if endpoint == "completions" else "CreateChatCompletionResponse"
    if stream and endpoint == "chat":
        name = "CreateChatCompletionStreamResponse"
    assert_strict(name, made.chunks if stream else [made.answer])
    assert [choice["text"] for choice in made.outcome.choices] == ["ab", "cd"]
    assert b'"logprobs":{' in made.sent
    assert (b"url_citation" in made.sent) is (endpoint == "chat")


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_for_those_who_asked(stream: bool) -> None:
    """Others get null, as from OpenAI."""
    assert b'"logprobs":{' not in play(MANY, json.dumps(ALL) + "\n", stream=stream).sent


def test_legacy_offsets_go_on_from_chunk_to_chunk() -> None:
    """They count the characters of all tokens so far."""
    made = play(MANY, (json.dumps(ALL) + "\n") * 2, endpoint="completions", stream=True, logprobs=1)
    told = [chunk["choices"][0]["logprobs"] for chunk in made.chunks if chunk["choices"]]
    assert [each["text_offset"] for each in told if each] == [[0], [1]]


def test_choices_are_opened_in_their_order() -> None:
    """Those that were asked for; a number beyond them opens no other."""
    frames = "".join(json.dumps({"all": [{"index": index, "t": "a"}]}) + "\n" for index in (1, 5, 0))
    made = play(MANY, frames, stream=True, n=2)
    opened = [chunk["choices"][0]["index"] for chunk in made.chunks if "role" in chunk["choices"][0]["delta"]]
    assert opened == [0, 1, 5]


STOPPING = [{"all": [{"t": "aE"}]}, {"all": [{"t": "NDb"}], "u": 5}, {"all": [{"t": "c"}], "u": 7}]


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_text_is_cut_at_the_clients_stop_strings(endpoint: str) -> None:
    """The backend is not read further; what it told of usage until then stands."""
    data = "".join(json.dumps(each) + "\n" for each in STOPPING) + "garbage"
    made = play(MANY, data, endpoint=endpoint, stream=True, stop="END", stream_options={"include_usage": True})
    assert made.reply.done
    assert made.outcome.usage == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    assert (made.outcome.text, made.outcome.finish_reason) == ("a", "stop")


def test_a_whole_answer_is_cut_too() -> None:
    """Its usage is the backend's."""
    answer = play(MANY, json.dumps({"all": [{"t": "aENDb", "f": "length"}], "u": 5}), stop=["x", "END"]).answer
    assert answer["choices"][0]["message"]["content"] == "a"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == 10


@pytest.mark.parametrize("stream", [False, True])
def test_no_tool_is_called_after_a_stop_string(stream: bool) -> None:
    """What comes in the same frame follows the text, and is cut with it."""
    mapping = chat(response="{text: t, tool_calls: c}", stream="{format: ndjson}", more="emulate: [stop]")
    said = {"t": "aENDb", "c": [{"name": "f", "arguments": {}}]}
    made = play(mapping, json.dumps(said) + "\n", stream=stream, stop="END").outcome
    assert (made.text, made.tool_calls, made.finish_reason) == ("a", [], "stop")


def test_each_choice_is_cut_for_itself() -> None:
    """The reply goes on until all that were asked for are cut."""
    first = {"all": [{"index": 0, "t": "aEND"}, {"index": 1, "t": "b"}]}
    second = {"all": [{"index": 0, "t": "x"}, {"index": 1, "t": "cENDy"}]}
    exchange = ask(MANY, stream=True, n=2, stop="END")
    reply = exchange.reply(200, {})
    reply.feed(json.dumps(first).encode() + b"\n")
    assert not reply.done
    reply.feed(json.dumps(second).encode() + b"\n")
    assert reply.done


def test_an_emulated_parameter_is_not_dropped() -> None:
    """Nor are stop strings that no template reads: those are cut at without being told to."""
    assert ask(MANY, stop="END").dropped == ()
    blind = chat(response="{text: t}")
    assert ask(blind, stop="END").dropped == ()
    assert play(blind, '{"t": "oneENDtwo"}', stop="END").outcome.text == "one"


def test_stop_strings_that_a_template_reads_are_the_backends_matter() -> None:
    """Unless the mapping says that they are not, or that nobody is to see to them."""
    body = '{"t": "oneENDtwo"}'
    reads = "{path: /g, body: {p: '{{ prompt }}', s: '{{ stop }}'}}"
    assert play(chat(response="{text: t}", request=reads), body, stop="END").outcome.text == "oneENDtwo"
    both = chat(response="{text: t}", request=reads, more="emulate: [stop]")
    assert play(both, body, stop="END").outcome.text == "one"
    dropped = chat(response="{text: t}", more="on_unsupported: {stop: drop}")
    assert ask(dropped, stop="END").dropped == ("stop",)
    assert play(dropped, body, stop="END").outcome.text == "oneENDtwo"


ECHO = chat(
    response="{text: 'text[0]', strip: {prefix: '{{ prompt }}', tokens: [<e>]}}",
    stream="{format: ndjson, text_mode: cumulative, reasoning_tags: [<t>, </t>]}",
)


def test_an_echo_of_the_prompt_is_taken_out() -> None:
    """Whole, and of cumulative text, with what else is to be cleaned; `stream` takes `strip` over."""
    assert play(ECHO, '{"text": ["hi there<e>"]}').outcome.text == " there"
    frames = ["h", "hi", "hi<t>", "hi<t>so</t>y", "hi<t>so</t>yes<", "hi<t>so</t>yes<e>"]
    outcome = play(ECHO, "".join(json.dumps({"text": [text]}) + "\n" for text in frames), stream=True).outcome
    assert (outcome.text, outcome.reasoning) == ("yes", "so")


def test_what_strip_reads_is_not_what_is_sent() -> None:
    """A body that reads no `system` sends none, whatever the prefix reads."""
    mapping = chat(response="{text: t, strip: {prefix: '{{ system }}{{ prompt }}'}}")
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    assert ask(mapping, messages=messages).dropped == ("messages",)
    assert play(mapping, '{"t": "shi!"}', messages=messages).outcome.text == "!"


@pytest.mark.parametrize("stream", [False, True])
def test_state_goes_out_and_comes_back(stream: bool) -> None:
    """Through a client that knows nothing of it, streamed or not."""
    mapping = chat(
        request="""
    path: /g
    body:
      tools: "{{ tools }}"
      m:
        - $for: m in messages
          $value:
            - $for: p in m.parts
              $match: p.type
              $cases:
                reasoning: {r: "{{ p.text }}", s: "{{ p.state }}"}
                tool_call: {id: "{{ p.id }}", s: "{{ p.state }}"}
                tool_result: {id: "{{ p.id }}"}
                text: {t: "{{ p.text }}"}""",
        response="{text: t, reasoning: r, state: s, tool_calls: c}",
        stream="{format: ndjson}",
    )
    tools = [{"type": "function", "function": {"name": "f"}}]
    first = {"r": "hm", "s": {"sig": "x"}, "c": [{"id": "c1", "name": "f", "state": "mine"}]}
    made = play(mapping, json.dumps(first) + "\n" + json.dumps({"s": "after"}), stream=stream, tools=tools)
    if not stream:
        made = play(mapping, json.dumps(first), tools=tools)
        call = made.answer["choices"][0]["message"]
    else:
        call = {"role": "assistant", "content": None, "tool_calls": []}
        for chunk in made.chunks:
            delta = chunk["choices"][0]["delta"]
            call["tool_calls"] += [each for each in delta.get("tool_calls", []) if "id" in each]
            call |= {key: delta[key] for key in ("extra_content",) if key in delta}
    result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "ok"}
    back = ask(mapping, messages=[{"role": "user", "content": "hi"}, call, result], tools=tools).backend_request()
    wanted: list[Any] = [{"r": "hm", "s": {"sig": "x"}}] + [{"s": "after"}] * stream + [{"id": "c1", "s": "mine"}]
    assert json.loads(back.body or b"")["m"] == [[{"t": "hi"}], wanted, [{"id": "c1"}]]


def test_state_that_no_call_takes_is_beside_the_message() -> None:
    """For clients that send messages back as they came."""
    mapping = chat(response="{text: t, reasoning: r, state: s}")
    message = play(mapping, '{"t": "a", "r": "b", "s": "x"}').answer["choices"][0]["message"]
    assert message["extra_content"] == {"oaiproxy": {"of": "test", "state": [{"text": "b", "state": "x"}]}}


def test_state_never_reaches_the_backend_of_another_mapping() -> None:
    """Its templates see the plain id; a raw request holds no state of any mapping."""
    tree = "{$for: m in messages, $value: '{{ m.parts }}'}"
    request = f"{{path: /g, body: {{m: [{tree}], t: '{{{{ tools }}}}', raw: '{{{{ request.messages }}}}'}}}}"
    sinks = "{text: t, state: s, tool_calls: c}"
    ours, theirs = (chat(response=sinks, request=request, more=f"name: {name}") for name in ("ours", "theirs"))
    said = {"s": "secret", "c": [{"id": "c1", "name": "f", "state": "mine"}]}
    tools = [{"type": "function", "function": {"name": "f"}}]
    call = play(ours, json.dumps(said), tools=tools).answer["choices"][0]["message"]
    alone = play(ours, '{"t": "a", "s": "secret"}').answer["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "ok"}
    messages = [{"role": "user", "content": "hi"}, call, result, alone, {"role": "user", "content": "so?"}]
    sent = {
        mapping.name: json.loads(ask(mapping, messages=messages).backend_request().body or b"")
        for mapping in (ours, theirs)
    }
    assert [part.get("state") for part in sent["ours"]["m"][1]] == ["mine"]
    assert [part.get("state") for part in sent["theirs"]["m"][1]] == [None]
    for body in sent.values():
        assert body["m"][1][-1]["id"] == body["m"][2][0]["id"] == "c1"
        assert (body["raw"][1]["tool_calls"][0]["id"], body["raw"][2]["tool_call_id"]) == ("c1", "c1")
        assert "extra_content" not in body["raw"][3]
    assert "secret" not in json.dumps(sent["theirs"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.text("a<e>b", max_size=4)), max_size=8))
def test_choices_cumulative_text_and_deltas_agree(frames: list[tuple[int, str]]) -> None:
    """The same text in other words comes out the same."""
    tokens = "strip: {tokens: [<e>]}"
    delta = chat(stream=f"{{format: ndjson, choices: all, text: t, {tokens}}}")
    cumulative = chat(stream=f"{{format: ndjson, choices: all, text: t, text_mode: cumulative, {tokens}}}")
    so_far = {0: "", 1: "", 2: ""}
    news, wholes = [json.dumps({"all": [{"t": "x"}] * 3})], [json.dumps({"all": [{"t": "x"}] * 3})]
    for number, text in frames:
        so_far[number] += text
        news.append(json.dumps({"all": [{"index": number, "t": text}]}))
        wholes.append(json.dumps({"all": [{"index": number, "t": "x" + so_far[number]}]}))
    wanted = ["x" + text.replace("<e>", "") for text in so_far.values()]
    for mapping, lines in ((delta, news), (cumulative, wholes)):
        data = "\n".join(lines).encode()
        for pieces in ([data], bytewise(data)):
            made = play(mapping, *pieces, stream=True)
            assert [choice["text"] for choice in made.outcome.choices] == wanted


def test_a_reply_is_freed_without_the_garbage_collector() -> None:
    exchange = ask(chat(response="{text: t}"))
    exchange.backend_request()
    reply = exchange.reply(200, {})
    assert reply.feed(b'{"t": "hello"}') + reply.end() == b""
    assert b"hello" in reply.close()
    freed = ref(reply)
    gc.disable()
    try:
        del reply
        assert freed() is None
    finally:
        gc.enable()


PASSES = (
    "{path: /g, body: '{{ request }}'}",
    "{choices: choices, text: message.content, tool_calls: message.tool_calls, finish_reason: finish_reason}",
    "{format: ndjson, text: delta.content, tool_calls: ~, tool_call: {each: delta.tool_calls, index: index, id: id, "
    "name: 'function.name || custom.name', arguments: 'function.arguments || custom.input'}}",
)
PATCH = {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}}
LOOK = {"type": "function", "function": {"name": "look"}}


def test_a_custom_tool_is_called_with_text() -> None:
    """Whole and in a stream, beside a function."""
    mapping = chat(request=PASSES[0], response=PASSES[1], stream=PASSES[2])
    calls = [
        {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "{+ one"}},
        {"id": "b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
    ]
    body = json.dumps({"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]})
    (choice,) = play(mapping, body, tools=[PATCH, LOOK]).answer["choices"]
    assert (choice["message"]["tool_calls"], choice["finish_reason"]) == (calls, "tool_calls")
    deltas = [
        [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}}],
        [{"index": 0, "custom": {"input": "{+"}}],
        [{"index": 0, "custom": {"input": " one"}}],
    ]
    lines = [json.dumps({"choices": [{"delta": {"tool_calls": each}}]}) + "\n" for each in deltas]
    lines.append(json.dumps({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}) + "\n")
    found = play(mapping, *lines, tools=[PATCH, LOOK], stream=True).chunks
    told = [call for chunk in found for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert told == [call for each in deltas for call in each]
    assert found[0]["choices"][0]["delta"]["content"] is None


CALLS = chat(
    response="{text: t, tool_calls: c}",
    stream="{format: ndjson, tool_calls: ~, tool_call: {index: i, name: n, arguments: a}}",
    request="{path: /g, body: {p: '{{ prompt }}', t: '{{ tools }}'}}",
)


def test_one_tool_call_is_all_that_a_client_gets_who_asks_for_one() -> None:
    """Though no template reads it; what was left out is for the log."""
    whole = '{"c": [{"id": "a", "name": "f"}, {"id": "b", "name": "g"}]}'
    lines = [json.dumps({"i": i, "n": name, "a": "{}"}) + "\n" for i, name in enumerate("fgh")]
    for stream, pieces in ((False, [whole]), (True, lines)):
        both = play(CALLS, *pieces, tools=[LOOK], stream=stream)
        one = play(CALLS, *pieces, tools=[LOOK], stream=stream, parallel_tool_calls=False)
        assert len(both.outcome.tool_calls) > 1
        assert [call["name"] for call in one.outcome.tool_calls] == ["f"]
        assert one.outcome.finish_reason == "tool_calls"
        assert one.reply.left_out == {"tool calls after the first"}
        assert both.reply.left_out == set()


def test_functions_are_served_by_a_mapping_with_tools() -> None:
    """Which knows nothing of functions."""
    whole = '{"c": [{"id": "a", "name": "f", "arguments": {"x": 1}}, {"id": "b", "name": "g"}]}'
    exchange = ask(CALLS, functions=[{"name": "f"}])
    assert json.loads(exchange.backend_request().body or b"")["t"] == [{"name": "f"}]
    found = play(CALLS, whole, functions=[{"name": "f"}])
    (choice,) = found.answer["choices"]
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"x":1}'}
    assert (choice["finish_reason"], found.outcome.tool_calls[0]["name"]) == ("function_call", "f")
