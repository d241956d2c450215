"""Promises of `oaiproxy.examples`: an example that passes is true, however its answer is delivered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import load_document
from oaiproxy.examples import run_examples
from oaiproxy.mapping import Mapping, compile_mapping
from oaiproxy.source import Source

HEAD = """oaiproxy: 1
models: [m]
backend: {url: 'https://h/v1', auth: {query: key, value: "${KEY:-}"}, headers: {x-a: '1'}}
vars: {folder: "${FOLDER:-f}"}
chat:
  request: {path: /x, body: {q: "{{ prompt }}", t: "{{ temperature }}", s: "{{ stream }}"}}
"""
WHOLE = HEAD + "  response: {text: out, usage: {completion: n}}\n"
STREAM = HEAD + "  stream: {format: json-concat, text: t, done: d}\n"
ASK = "request: {messages: [{role: user, content: hi}]}"
ASK_STREAM = "request: {messages: [{role: user, content: hi}], stream: true}"


def no_file(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory")


def compiled(text: str, **environment: str) -> Mapping:
    document, found = load_document(text, file="m.yaml", environment=environment, read_file=str)
    assert document is not None
    mapping, more = compile_mapping(Source(document, (), document.data), "m")
    assert mapping is not None, [*found, *more]
    return mapping


def example(head: str, *lines: str) -> str:
    return head + "examples:\n  - name: one\n" + "".join(f"    {line}\n" for line in lines)


def ran(
    head: str, *lines: str, read_file: Callable[[str], str] = no_file, **environment: str
) -> list[tuple[str, str, str]]:
    found = run_examples(compiled(example(head, *lines), **environment), read_file)
    assert all(each.span is not None and (each.label or each.help) for each in found)
    return [(each.code, each.message.removeprefix("the example `one`: "), each.label) for each in found]


def only(head: str, *lines: str, **environment: str) -> Diagnostic:
    (found,) = run_examples(compiled(example(head, *lines), **environment), no_file)
    return found


OUT = "backend: {json: {out: a, n: 3}}"


def test_a_true_example_has_no_findings() -> None:
    """All of it: what is sent, and what comes out."""
    assert not ran(
        WHOLE,
        ASK,
        "sends: {method: POST, path: /x, headers: {X-A: '1', content-type: application/json}, body: {q: hi, s: false}}",
        OUT,
        "replies: {text: a, finish_reason: stop, usage: {completion_tokens: 3}, status: 200}",
    )


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        ("{q: hi, s: 0}", "body.s: the integer 0 expected, false came"),
        ("{q: hi, s: 'false'}", 'body.s: the string "false" expected, false came'),
        ("{q: hi}", "body.s: false came too"),
        ("{q: hi, s: false, z: 1}", "body.z: expected, and did not come"),
        ("{q: ho, s: false}", 'body.q: "ho" expected, "hi" came'),
        ("[1]", 'body: the list [1] expected, the object {"q":"hi","s":false} came'),
    ],
)
def test_what_is_sent_is_compared_exactly(wanted: str, difference: str) -> None:
    """E501: types count, and so do keys that are too many."""
    assert ran(WHOLE, ASK, f"sends: {{body: {wanted}}}", OUT) == [("E501", "sends something else", difference)]


def test_an_integer_is_no_fractional_number() -> None:
    """1 and 1.0 are different JSON, though Python says that they are equal."""
    ask = "request: {messages: [{role: user, content: hi}], temperature: 1}"
    ((_, _, label),) = ran(WHOLE, ask, "sends: {body: {q: hi, t: 1.0, s: false}}", OUT)
    assert label == "body.t: the fractional number 1.0 expected, the integer 1 came"


TEMPLATED = """oaiproxy: 1
models: [m]
backend: {url: 'https://h'}
chat:
  chat_template: ${FORM:-chatml}
  request: {path: /x, body: {q: "a: {{ chat_prompt }}", t: "{{ temperature }}"}}
  response: {text: out}
"""


@pytest.mark.parametrize("form", ["chatml", "mistral", "llama-3"])
def test_the_conversation_can_be_named_whatever_the_template(form: str) -> None:
    """The rest is held to account exactly, and so is what stands beside it."""
    wanted = """sends: {body: {q: "a: {{ chat_prompt }}"}}"""
    assert not ran(TEMPLATED, ASK, wanted, OUT, FORM=form)
    more = "request: {messages: [{role: user, content: hi}], temperature: 0.5}"
    assert ran(TEMPLATED, more, wanted, OUT, FORM=form)[0][2] == "body.t: 0.5 came too"
    ((code, _, label),) = ran(TEMPLATED, ASK, wanted.replace("a:", "b:"), OUT, FORM=form)
    assert code == "E501"
    assert "b: " in label
    assert "chat_prompt" not in label


def test_the_conversation_is_that_of_each_call() -> None:
    """`emulate` tells the model more than the client did, and more again at the second try."""
    text = TEMPLATED.replace("chat:", "emulate: [response_format]\nchat:", 1)
    ask = "request: {messages: [{role: user, content: hi}], response_format: {type: json_object}}"
    wanted = """sends: [{body: {q: "a: {{ chat_prompt }}"}}, {body: {q: "%s: {{ chat_prompt }}"}}]"""
    answers = "backend: [{json: {out: no}}, {json: {out: '{}'}}]"
    assert not ran(text, ask, wanted % "a", answers)
    assert [code for code, _, _ in ran(text, ask, wanted % "b", answers)] == ["E501"]


def test_what_no_template_writes_is_text() -> None:
    """Without a chat template, or with one that cannot write this conversation."""
    wanted = """sends: {body: {q: "{{ chat_prompt }}", s: false}}"""
    assert ran(WHOLE, ASK, wanted, OUT)[0][2] == 'body.q: "{{ chat_prompt }}" expected, "hi" came'
    failing = TEMPLATED.replace("${FORM:-chatml}", "{text: \"{{ raise_exception('no') }}\"}")
    failing = failing.replace('"a: {{ chat_prompt }}"', '{$if: seed, $value: "{{ chat_prompt }}"}, r: none')
    wanted = """sends: {body: {r: "{{ chat_prompt }}"}}"""
    assert ran(failing, ASK, wanted, OUT)[0][2] == 'body.r: "{{ chat_prompt }}" expected, "none" came'


def test_a_part_of_what_is_sent_can_be_named() -> None:
    """`sends_like` looks at what it names."""
    assert not ran(WHOLE, ASK, "sends_like: {body: {q: hi}}", OUT)
    assert ran(WHOLE, ASK, "sends_like: {body: {q: ho}}", OUT)
    assert not ran(WHOLE, ASK, "sends_like: {body: {q: ~}}", OUT)
    assert ran(WHOLE, ASK, "sends_like: {body: {k: ~}}", OUT)
    assert ran(WHOLE, ASK, "sends: {body: {q: ~}}", OUT)


def test_a_difference_is_marked_at_its_leaf() -> None:
    """Not at the example."""
    found = only(WHOLE, ASK, "sends: {body: {q: hi, s: true}}", OUT)
    assert found.span is not None
    assert (found.span.line, found.span.column) == (11, 30)


def test_credentials_are_not_part_of_what_is_sent() -> None:
    """Neither in the path nor in the headers, so that an example holds no secret."""
    assert not ran(WHOLE, ASK, "sends: {path: /x}", OUT, KEY="hush-hush")
    ((_, _, label),) = ran(WHOLE, ASK, "sends: {path: /y}", OUT, KEY="hush-hush")
    assert label == 'path: "/y" expected, "/x" came'


def test_values_of_the_environment_are_not_told() -> None:
    """Differences are shown without them."""
    head = WHOLE.replace(" t: ", ' f: "{{ vars.folder }}", t: ')
    ((_, _, label),) = ran(head, ASK, "sends_like: {body: {f: x}}", OUT, FOLDER="hush-hush")
    assert label == 'body.f: "x" expected, "***" came'


@pytest.mark.parametrize(
    ("replies", "label"),
    [
        ("{text: b}", 'text: "b" expected, "a" came'),
        ("{finish_reason: length}", 'finish_reason: "length" expected, "stop" came'),
        ("{usage: {completion_tokens: 4}}", "usage.completion_tokens: 4 expected, 3 came"),
        ("{tool_calls: [{name: f, arguments: {}}]}", "tool_calls: 1 items expected, 0 came"),
        ("{reasoning: r}", 'reasoning: the string "r" expected, null came'),
        ("{error: {code: x}}", 'error: the object {"code":"x"} expected, null came'),
    ],
)
def test_what_comes_out_is_compared(replies: str, label: str) -> None:
    """E502."""
    assert ran(WHOLE, ASK, OUT, f"replies: {replies}") == [("E502", "comes out otherwise", label)]


def test_an_example_that_fails_unexpectedly_is_one_finding() -> None:
    """Also where it says nothing about what comes out, and also where it says much."""
    for replies in ("{}", "{text: a, finish_reason: stop, usage: {completion_tokens: 3}}"):
        ((code, message, _),) = ran(WHOLE, ASK, "backend: {json: {other: a}}", f"replies: {replies}")
        assert code == "E502"
        assert message.startswith("it fails: ")


def test_an_http_error_can_be_an_example() -> None:
    """Of the mapping's `errors`, and of what the client sees."""
    backend = "backend: {status: 429, json: {error: {message: slow down}}}"
    replies = "replies: {status: 429, error: {code: rate_limit_exceeded, message: slow down}}"
    assert not ran(WHOLE, ASK, backend, replies)
    assert not ran(WHOLE, ASK, "backend: {status: 503}", "replies: {status: 503}")


def test_a_refused_field_can_be_an_example() -> None:
    """What a mapping cannot express is documented so."""
    ask = "request: {messages: [{role: user, content: hi}], n: 2}"
    assert not ran(WHOLE, ask, OUT, "replies: {status: 400, error: {param: n}}")


def test_a_stream_that_breaks_can_be_an_example() -> None:
    """The text so far, and the error."""
    backend = """backend: {stream: '{"t": "a"}{"error": {"message": "no"}}'}"""
    assert not ran(STREAM, ASK_STREAM, backend, "replies: {text: a, status: 502, error: {message: no}}")
    assert ran(STREAM, ASK_STREAM, backend, "replies: {text: b, status: 502}")[0][2] == 'text: "b" expected, "a" came'


@pytest.mark.parametrize(
    ("request_", "column", "message"),
    [
        ("{messages: [{role: usr, content: hi}]}", 33, "Invalid value for 'messages[0].role'"),
        ("{messages: []}", 25, "Invalid 'messages': empty array"),
        (
            "{messages: [{role: user, content: hi}], temperature: 3}",
            67,
            "Invalid 'temperature': decimal above maximum value",
        ),
        ("{prompt: hi}", 14, "Missing required parameter: 'messages'"),
        ("{messages: [{role: user, content: hi}], model: n}", 61, "no model is called `n`"),
    ],
)
def test_a_request_that_is_none_is_marked_where_it_is_wrong(request_: str, column: int, message: str) -> None:
    """E503."""
    found = only(WHOLE, f"request: {request_}", OUT)
    assert found.code == "E503"
    assert message in found.message
    assert found.span is not None
    assert (found.span.line, found.span.column) == (10, column)


def test_an_answer_can_be_a_file() -> None:
    """Its bytes are served as they are; its ending tells a whole answer from a stream."""
    files = {"wire/a.json": '{"out": "a"}', "wire/a.txt": '{"t": "é"}\n{"d": true}'}
    assert not ran(WHOLE, ASK, "backend: {file: wire/a.json}", "replies: {text: a}", read_file=files.__getitem__)
    assert not ran(STREAM, ASK_STREAM, "backend: {file: wire/a.txt}", "replies: {text: é}", read_file=files.__getitem__)


@pytest.mark.parametrize("file", ["wire/x.sse", "wire/x.txt", "x"])
def test_a_file_of_server_sent_events_is_a_stream(file: str) -> None:
    """Whatever its name, unless that says JSON."""
    head = HEAD + "  response: {text: out}\n  stream: {format: sse, text: t}\n"
    text = f"backend: {{file: {file}}}"
    assert not ran(head, ASK_STREAM, text, "replies: {text: ab}", read_file=lambda _: 'data: {"t": "ab"}\n\n')


@pytest.mark.parametrize("error", [OSError(13, "Permission denied"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")])
def test_a_file_that_cannot_be_read_is_named(error: Exception) -> None:
    """E602, with the reason."""

    def read_file(path: str) -> str:
        raise error

    ((code, message, _),) = ran(WHOLE, ASK, "backend: {file: f.json}", read_file=read_file)
    assert code == "E602"
    assert message.startswith("the file `f.json` cannot be read: ")


def test_an_answer_that_depends_on_cuts_is_found() -> None:
    """E504, with what differs."""
    head = HEAD + "  stream: {format: text, data: text, text: '@', text_mode: cumulative}\n"
    found = only(head, ASK_STREAM, "backend: {stream: hello}", "replies: {text: hello}")
    assert (found.code, found.message) == (
        "E504",
        "the example `one`: comes out otherwise when it is cut into single bytes",
    )
    assert found.help


@pytest.mark.parametrize("form", ["sse", "ndjson", "json-concat"])
def test_crlf_is_tried_where_line_ends_are_framing(form: str) -> None:
    """And changes nothing."""
    data = {"sse": 'data: {"t": "a"}\\n\\ndata: {"t": "b"}\\n\\n'}.get(form, '{"t": "a"}\\n{"t": "b"}\\n')
    quoted = '"' + data.replace('"', '\\"') + '"'
    text = f"backend: {{stream: {quoted}}}"
    assert not ran(HEAD + f"  stream: {{format: {form}, text: t}}\n", ASK_STREAM, text, "replies: {text: ab}")


def test_line_ends_of_plain_text_stay_as_they_are() -> None:
    """They are the answer, not its framing."""
    head = HEAD + "  stream: {format: text, data: text, text: '@'}\n"
    assert not ran(head, ASK_STREAM, 'backend: {stream: "a\\nb\\n"}', 'replies: {text: "a\\nb\\n"}')


FORMATS = (
    "sse, ndjson, json-array, json-concat, aws-eventstream, {sse: {keep_space: true}}, {delimited: '--'}, "
    "[aws-eventstream, sse], [aws-eventstream, {base64: bytes}], [sse, ndjson], [{delimited: ';'}, {base64: b}, sse]"
)


@pytest.mark.parametrize("form", re.findall(r"\[.*?\]|\{.*?\}(?=,|$)|[\w-]+", FORMATS))
def test_a_stream_can_be_a_list_of_frames(form: str) -> None:
    """In any format, delivered in all the ways that must not matter."""
    head = HEAD + f"  stream: {{format: {form}, text: t, done: d}}\n"
    backend = 'backend: {stream: [{data: {t: Hé}}, {data: \'{"t": "llo"}\'}, {data: {d: true}}]}'
    assert not ran(head, ASK_STREAM, backend, "replies: {text: Héllo}")


@pytest.mark.parametrize(
    ("stream", "frame", "message"),
    [
        ("{format: ndjson, text: t}", "{event: a, data: {t: a}}", "have no `event`"),
        ("{format: ndjson, text: t}", '{data: "{}\\n{}"}', "what ends a frame"),
        ("{format: sse, text: t}", '{event: "a\\nb"}', "one line each"),
    ],
)
def test_frames_that_a_format_cannot_carry(stream: str, frame: str, message: str) -> None:
    """They are never sent as something else."""
    found = only(HEAD + f"  stream: {stream}\n", ASK_STREAM, f"backend: {{stream: [{frame}]}}", "replies: {text: a}")
    assert found.code == "E503"
    assert message in found.message


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_long_answers_take_time_in_proportion(size: int) -> None:
    """Cuts and pieces are bounded; in seconds of this process."""
    data = '{"t": "' + "x" * 80 + '"}'
    answer = data * (size // len(data)) + '{"d": true}'
    started = time.process_time()
    assert not ran(
        STREAM, ASK_STREAM, "backend: {file: long.txt}", "replies: {finish_reason: stop}", read_file=lambda _: answer
    )
    assert time.process_time() - started < 5


def test_the_shipped_example_is_quick() -> None:
    """In seconds of this process."""
    mapping = compiled((Path(__file__).parents[1] / "mappings/example.yaml").read_text())
    started = time.process_time()
    assert run_examples(mapping, no_file) == []
    assert time.process_time() - started < 0.5


def test_an_example_that_asserts_nothing_is_warned_about() -> None:
    """It passes whatever is sent and whatever comes out."""
    found = only(WHOLE, ASK, OUT)
    assert (found.code, found.severity) == ("W501", "warning")
    assert "replies" in found.label
    assert "sends" in found.help


@pytest.mark.parametrize("says", ["sends: {path: /x}", "sends_like: {path: /x}", "replies: {text: a}"])
def test_an_example_that_asserts_anything_is_not(says: str) -> None:
    """`sends`, `sends_like` or `replies` is enough."""
    if says == "sends: {path: /x}":
        says = "sends: {path: /x, body: {q: hi, s: false}}"
    assert ran(WHOLE, ASK, OUT, says) == []


def test_a_misspelled_field_in_a_request_is_warned_about() -> None:
    """It would be a field of the client's own, and the example would show nothing."""
    ask = "request: {messages: [{role: user, content: hi}], temprature: 0.5}"
    found = only(WHOLE, ask, OUT, "replies: {text: a}")
    assert (found.code, found.severity, found.label) == ("W502", "warning", "did you mean `temperature`?")
    assert found.span is not None
    assert found.span.column == 54


def test_fields_of_their_own_are_not() -> None:
    """Those that look like none of OpenAI's, and those that a template reads."""
    read = WHOLE.replace('s: "{{ stream }}"', 's: "{{ extra.temprature }}"')
    fields = "messages: [{role: user, content: hi}]"
    assert ran(read, f"request: {{{fields}, temprature: 0.5}}", OUT, "replies: {text: a}") == []
    assert ran(WHOLE, f"request: {{{fields}, mood: calm, repetition: 1}}", OUT, "replies: {text: a}") == []


def test_a_quick_run_delivers_the_answer_once() -> None:
    """A start needs to know that the examples hold, not that the engine does."""
    mapping = compiled(example(STREAM, ASK_STREAM, 'backend: {stream: \'{"t": "a"}\'}', "replies: {text: b}"))
    assert [found.code for found in run_examples(mapping, no_file, thorough=False)] == ["E502"]
    assert {found.code for found in run_examples(mapping, no_file)} >= {"E502"}
