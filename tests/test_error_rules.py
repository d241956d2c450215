"""What a mapping says of failures holds for all of them: failed requests, answers that tell of one, broken streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from support import WIRE, chat, findings_of, play

from oaiproxy.errors import BackendError
from oaiproxy.formats import FORMATS
from oaiproxy.framing import Frame

SSE = {"content-type": "text/event-stream"}


def fault(
    errors: str,
    body: str | bytes,
    status: int = 200,
    *,
    response: str = "{text: t}",
    stream: str = "",
    headers: dict[str, str] | None = None,
) -> BackendError:
    """The error for a reply, by a mapping with these `errors`."""
    mapping = chat(response=response, stream=stream, more=f"errors: {errors}" if errors else "")
    found = play(mapping, body, status=status, headers=headers, stream=bool(stream)).fault
    assert found is not None
    return found


RULES = """
  rules:
    - {when: status == 529, type: overloaded_error, status: 503, retry: true}
    - {when: "status == 400 and 'context' in (body.error.message | default(''))", code: context_length_exceeded}
    - {when: error.code == 'gone', status: 404, code: model_not_found, param: model}
    - {when: "headers['x-kind'] == 'busy'", status: 429, retry: false}
    - {when: event == 'error' and body.n > 1, status: 500, message: "it broke {{ body.n }} times"}
    - {when: status == 402, message: pay first}
"""


def test_an_overload_that_has_its_own_status() -> None:
    """The client gets one that it knows, and the word; the message tells the status that came."""
    error = fault(RULES, '{"error": {"type": "overloaded_error", "message": "Overloaded"}}', 529)
    assert (error.status, error.type, error.retry) == (503, "overloaded_error", True)
    assert error.message == "the backend answered 529: Overloaded"


def test_a_code_leaves_the_rest_as_it_is() -> None:
    """Type, status and message of a 400."""
    error = fault(RULES, '{"error": {"message": "bad context"}}', 400)
    assert (error.status, error.type, error.code) == (400, "invalid_request_error", "context_length_exceeded")
    assert error.message == "bad context"


def test_the_first_rule_that_holds_is_the_last_word() -> None:
    """Later ones are not looked at."""
    error = fault(RULES, '{"error": {"code": "gone"}}', 529, headers={"x-kind": "busy"})
    assert (error.status, error.type) == (503, "overloaded_error")
    error = fault(RULES, '{"error": {"code": "gone"}}', 500, headers={"x-kind": "busy"})
    assert (error.status, error.type, error.code, error.param) == (
        404,
        "invalid_request_error",
        "model_not_found",
        "model",
    )


def test_a_rule_on_a_header() -> None:
    """By its lower-case name; the status brings its own type and code."""
    error = fault(RULES, "{}", 500, headers={"x-kind": "busy"})
    assert (error.status, error.type, error.code, error.retry) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        False,
    )


def test_a_rule_that_only_says_it_better() -> None:
    """Its text is told as it stands."""
    error = fault(RULES, '{"error": "x"}', 402)
    assert (error.status, error.message) == (429, "pay first")


def test_no_rule_holds() -> None:
    """Everything is as it were without them; a condition that cannot be evaluated does not hold."""
    assert str(fault(RULES, '{"error": {"message": "m"}}', 503)) == str(fault("", '{"error": {"message": "m"}}', 503))
    assert fault("{rules: [{when: body < 3, status: 404}]}", "[1]", 500).status == 502


def test_rules_hold_for_failures_in_an_answer() -> None:
    """There the status is the reply's own."""
    error = fault(RULES, '{"error": {"code": "gone", "message": "no"}}')
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert fault("{rules: [{when: status == 200, status: 503}]}", '{"error": "x"}').status == 503


def test_rules_hold_for_failures_in_a_stream() -> None:
    """They see the name of the event, and the template of the message its payload."""
    body = 'data: {"t": "a"}\n\nevent: error\ndata: {"n": 3}\n\n'
    error = fault(RULES, body, stream="{format: sse, text: t}", headers=SSE)
    assert (error.status, error.message) == (500, "it broke 3 times")


def test_rules_hold_for_exceptions_in_a_binary_stream() -> None:
    """Their names are events, their headers headers."""
    rules = """{rules: [{when: "event == 'modelError' and headers[':message-type'] == 'exception'", status: 424}]}"""
    body = b"".join(
        FORMATS["aws-eventstream"].write([Frame(b"", "modelError", headers={":message-type": "exception"})])
    )
    error = fault(rules, body, stream="{format: aws-eventstream, events: {a: {text: t}}}")
    assert (error.status, error.type) == (424, "modelError")


def test_a_message_never_holds_a_secret() -> None:
    """Nor what a template makes of one."""
    mapping = chat(
        response="{text: t}",
        backend="{url: 'https://backend.test', auth: {bearer: very-secret}}",
        more="errors: {rules: [{when: status == 500, message: '{{ body.key }} is bad'}]}",
    )
    found = play(mapping, '{"key": "very-secret"}', status=500).fault
    assert found is not None
    assert found.message == "*** is bad"


STATUSES: dict[str, tuple[str, str, int]] = {
    "a number": ("{status: s}", '{"error": "x", "s": 429}', 429),
    "text": ("{status: s}", '{"error": "x", "s": "429"}', 429),
    "text that holds one": ("{status: s}", '{"error": "x", "s": "HTTP_STATUS/429"}', 429),
    "no status of failure": ("{status: s}", '{"error": "x", "s": 200}', 502),
    "digits of another number": ("{status: s}", '{"error": "x", "s": "14290"}', 502),
    "an alternative": ("{status: [a, s]}", '{"error": "x", "s": 429}', 429),
    "before what was found": ("{status: s}", '{"error": {"status": 400}, "s": 429}', 429),
}


@pytest.mark.parametrize(("errors", "body", "status"), STATUSES.values(), ids=STATUSES)
def test_the_status_that_the_body_tells(errors: str, body: str, status: int) -> None:
    """It stands for the reply's own, in an answer and in a failed request."""
    assert fault(errors, body).status == status


def test_the_status_in_a_failed_request() -> None:
    """What the mapping selects says more than the reply's own, for the rules too."""
    error = fault("{status: s, rules: [{when: status == 429, code: slow}]}", '{"s": 429, "message": "m"}', 500)
    assert (error.status, error.code, error.message) == (429, "slow", "m")


WAITS: dict[str, tuple[str, str, dict[str, str], float | None]] = {
    "seconds in the body": ("{retry_after: w}", '{"w": 20.5}', {}, 20.5),
    "a duration": ("{retry_after: w}", '{"w": "34.4s"}', {}, 34.4),
    "the first found": ("{retry_after: [w, \"header('x-ms')\"]}", "{}", {"x-ms": "1500ms"}, 1.5),
    "a unit added": ("{retry_after: \"concat(header('x-ms'), 'ms')\"}", "{}", {"x-ms": "250"}, 0.25),
    "a date": ("{retry_after: w}", '{"w": "2023-11-14T22:13:30Z"}', {}, 10.0),
    "before the header": ("{retry_after: w}", '{"w": 3}', {"retry-after": "9"}, 3.0),
    "what cannot be read": ("{retry_after: w}", '{"w": "soon"}', {"retry-after": "9"}, 9.0),
    "the header": ("", "{}", {"retry-after": "9"}, 9.0),
    "a minute at most": ("{retry_after: w}", '{"w": 3600}', {}, 60.0),
}


@pytest.mark.parametrize(("errors", "body", "headers", "seconds"), WAITS.values(), ids=WAITS)
def test_how_long_to_wait(errors: str, body: str, headers: dict[str, str], seconds: float | None) -> None:
    """From wherever the backend says so."""
    assert fault(errors, body, 429, headers=headers).retry_after == seconds


def test_how_long_to_wait_in_a_stream() -> None:
    """Before the first byte of the answer the client gets it as a header."""
    body = 'data: {"error": {"code": 429, "wait": "7s"}}\n\n'
    error = fault("{retry_after: error.wait}", body, stream="{format: sse, text: t}", headers=SSE)
    assert (error.status, error.retry_after) == (429, 7.0)


SINKS: dict[str, tuple[str, str, tuple[int, str, str]]] = {
    "a success flag": (
        "{when: success == `false`, message: 'errors[0].message', code: 'errors[0].code'}",
        '{"success": false, "errors": [{"code": 7003, "message": "no such route"}], "result": null}',
        (502, "7003", "no such route"),
    ),
    "a status code that is not 0": (
        "{when: base_resp.status_code != `0`, message: base_resp.status_msg, code: base_resp.status_code}",
        '{"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}',
        (502, "1008", "insufficient balance"),
    ),
    "nothing but the flag": (
        "{when: ok == `false`}",
        '{"ok": false}',
        (502, "upstream_error", "the backend reported a failure"),
    ),
    "a template": (
        "{when: '{{ body.n > 2 }}', message: m, status: s}",
        '{"n": 3, "m": "slow", "s": 429}',
        (429, "rate_limit_exceeded", "slow"),
    ),
    "a status without words": ("{status: s}", '{"s": 400, "message": "bad"}', (400, "invalid_value", "bad")),
    "errors fill in": ("{when: bad}", '{"bad": true, "m": "words", "c": "odd"}', (502, "odd", "words")),
}


@pytest.mark.parametrize(("error", "body", "wanted"), SINKS.values(), ids=SINKS)
def test_failures_told_with_a_good_status(error: str, body: str, wanted: tuple[int, str, str]) -> None:
    """By a condition, or a part that finds something; whole and in a stream."""
    errors = "{message: m, code: c}"
    for found in (
        fault(errors, body, response=f"{{text: t, error: {error}}}"),
        fault(errors, f"data: {body}\n\n", stream=f"{{format: sse, text: t, error: {error}}}", headers=SSE),
    ):
        assert (found.status, found.code, found.message) == wanted


@pytest.mark.parametrize(
    ("error", "body"),
    [
        ("{when: success == `false`, message: 'errors[0].message'}", '{"success": true, "t": "a"}'),
        ("{when: base_resp.status_code != `0`}", '{"base_resp": {"status_code": 0}, "t": "a"}'),
        ("{when: success == `false`, message: t}", '{"t": "a"}'),
        ("{status: s}", '{"s": 200, "t": "a"}'),
        ("{retry_after: w}", '{"w": 5, "t": "a"}'),
    ],
)
def test_answers_that_are_none(error: str, body: str) -> None:
    """Where the condition does not hold, the other parts are not looked at."""
    assert play(chat(response=f"{{text: t, error: {error}}}"), body).outcome.text == "a"


def test_names_in_a_condition() -> None:
    """What is close to one of the four is taken for it; a key of the body may have any other name."""
    text = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://backend.test'}\n"
    text += "chat: {request: {path: /g}, response: {text: t}}\nerrors: {rules: [{when: CONDITION, status: 500}]}\n"
    for condition in ("code == 5", "base_resp.status_code", "body.statsu", "not success"):
        assert findings_of(text.replace("CONDITION", condition))[1] == []
    (found,) = findings_of(text.replace("CONDITION", "header.a == 'b'"))[1]
    assert (found.code, found.label) == ("E203", "did you mean `headers`?")
    assert "body." in found.help


@dataclass(frozen=True)
class Recorded:
    """A failure as it was recorded, a small mapping for it, and what the client gets."""

    file: str
    http: int
    status: int
    type: str
    code: str
    message: str
    errors: str = ""
    stream: str = ""
    response: str = "{text: t}"
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None


BAD, BROKEN, BUSY = "invalid_request_error", "server_error", "service_unavailable_error"
GOOGLE = "{code: error.status, retry_after: \"error.details[?contains(keys(@), 'retryDelay')].retryDelay | [0]\"}"
AWS = "{type: \"header('x-amzn-errortype')\", "
AWS += "rules: [{when: \"headers['x-amzn-errortype'][:7] == 'Unknown'\", status: 404}]}"
EVENTS = "{format: aws-eventstream, events: {messageStart: ~, contentBlockDelta: {text: delta.text}}}"
TYPED = "{type: error_type, message: error}"
RECORDINGS = [
    Recorded("anthropic/error_400.json", 400, 400, BAD, "invalid_value", "This model does not support effort"),
    Recorded(
        "anthropic/error_404_model.json", 404, 502, BROKEN, "upstream_not_found", "the backend answered 404: model"
    ),
    Recorded(
        "anthropic/error_404_model.json",
        404,
        404,
        BAD,
        "model_not_found",
        "the backend answered 404: model: claude",
        "{rules: [{when: status == 404, status: 404, code: model_not_found, param: model}]}",
    ),
    Recorded(
        "anthropic/error_529_overloaded.json",
        529,
        503,
        "overloaded_error",
        "server_is_overloaded",
        "the backend answered 529",
        "{type: error.type, rules: [{when: status == 529, status: 503, retry: true}]}",
    ),
    Recorded(
        "anthropic/stream_error_overloaded.sse",
        200,
        503,
        "overloaded_error",
        "server_is_overloaded",
        "the backend answered 503: Overloaded",
        "{type: error.type}",
        "{format: sse, by: type, events: {content_block_delta: {text: delta.text}, '*': ~}}",
    ),
    Recorded(
        "bedrock_converse/error_400_model.json",
        400,
        400,
        BAD,
        "invalid_value",
        "The provided model identifier",
        AWS,
        headers={"x-amzn-errortype": "ValidationException:http://internal/coral/"},
    ),
    Recorded(
        "bedrock_converse/error_400_model.json",
        400,
        404,
        BAD,
        "upstream_not_found",
        "the backend answered 400",
        AWS,
        headers={"x-amzn-errortype": "UnknownOperationException:http://internal/coral/"},
    ),
    Recorded(
        "bedrock_converse/error_400_model.json",
        500,
        502,
        "InternalServerException",
        "upstream_error",
        "the backend answered 500",
        AWS,
        headers={"x-amzn-errortype": "InternalServerException:http://internal/coral/"},
    ),
    Recorded(
        "bedrock_converse/stream_error_midstream_exception.bin",
        200,
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        "Too many tokens, please wait",
        "",
        EVENTS,
    ),
    Recorded(
        "bedrock_converse/stream_error_modelstream.bin",
        200,
        502,
        "modelStreamErrorException",
        "upstream_error",
        "The system encountered an unexpected error",
        "",
        EVENTS,
    ),
    Recorded(
        "bedrock_converse/stream_error_modelstream.bin",
        200,
        424,
        "modelStreamErrorException",
        "upstream_error",
        "the backend answered 500: The system",
        "{status: originalStatusCode, rules: [{when: event == 'modelStreamErrorException', status: 424}]}",
        EVENTS,
    ),
    Recorded(
        "bedrock_converse/stream_error_unmodelled.bin",
        200,
        502,
        "InternalFailure",
        "InternalFailure",
        "Something went wrong",
        "",
        EVENTS,
    ),
    Recorded(
        "cloudflare_workers_ai/error_400.json", 400, 400, BAD, "5007", "No such model", "{code: 'errors[0].code'}"
    ),
    Recorded(
        "cloudflare_workers_ai/error_400.json",
        200,
        502,
        BROKEN,
        "5007",
        "No such model",
        "",
        response="{text: result.response, error: {when: success == `false`, code: 'errors[0].code'}}",
    ),
    Recorded(
        "cohere_v2/error_404_embed.json", 404, 502, BROKEN, "upstream_not_found", "the backend answered 404: model"
    ),
    Recorded(
        "dashscope/error_400.json", 400, 400, BAD, "InvalidParameter", "Required parameter(s) missing", "{code: code}"
    ),
    Recorded(
        "dashscope/stream_error.sse",
        200,
        400,
        BAD,
        "DataInspectionFailed",
        "Input data may contain",
        "{code: code, status: \"field('')\"}",
        "{format: sse, text: output.text}",
    ),
    Recorded(
        "dify/error_400_app_unavailable.json", 400, 400, BAD, "app_unavailable", "App unavailable", "{code: code}"
    ),
    Recorded("dify/error_429_too_many_requests.json", 429, 429, "rate_limit_error", "rate_limit_exceeded", "Too many"),
    Recorded(
        "dify/error_429_too_many_requests.json",
        200,
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        "Too many",
        "",
        response="{text: answer, error: {status: status}}",
    ),
    Recorded(
        "dify/error_500_internal_server_error.json",
        500,
        502,
        BROKEN,
        "internal_server_error",
        "the backend answered 500: The server",
        "{code: code}",
    ),
    Recorded(
        "dify/error_404_conversation_not_exists.json",
        404,
        404,
        BAD,
        "not_found",
        "the backend answered 404: Conv",
        "{rules: [{when: code == 'not_found', status: 404, code: not_found}]}",
    ),
    Recorded(
        "dify/stream_with_ping_and_error.sse",
        200,
        400,
        BAD,
        "context_length_exceeded",
        "Query or prefix prompt is too long",
        "{code: code}",
        "{format: sse, by: event, events: {message: {text: answer}, error: {error: {status: status}}}}",
    ),
    Recorded(
        "flowise/stream_error.sse",
        200,
        502,
        BROKEN,
        "upstream_error",
        "Request too large",
        "",
        "{format: sse, by: event, events: {token: {text: data}, start: ~, error: {error: data}, end: {done: true}}}",
    ),
    Recorded("gemini/error_404_model.json", 404, 502, BROKEN, "upstream_not_found", "the backend answered 404", GOOGLE),
    Recorded(
        "gemini/error_429_retryinfo.json",
        429,
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        "You exceeded your current quota",
        GOOGLE,
        retry_after=34.4,
    ),
    Recorded(
        "hf_inference/error_503_loading.json",
        503,
        503,
        BUSY,
        "server_is_overloaded",
        "the backend answered 503: Model",
        "{retry_after: estimated_time}",
        retry_after=20.0,
    ),
    Recorded(
        "koboldcpp/error_503_busy.json",
        503,
        503,
        "service_unavailable",
        "server_is_overloaded",
        "the backend answered 503: Server is busy",
        "{type: detail.type}",
    ),
    Recorded(
        "llamacpp/error_503_loading.json",
        503,
        503,
        "unavailable_error",
        "server_is_overloaded",
        "the backend answered 503: Loading model",
        "{type: error.type}",
    ),
    Recorded("ollama/error_500.json", 500, 502, BROKEN, "upstream_error", "the backend answered 500: the model failed"),
    Recorded(
        "ollama/stream_error_midstream.ndjson",
        200,
        502,
        BROKEN,
        "upstream_error",
        "an error was encountered",
        "",
        "{format: ndjson, text: response, done: done}",
    ),
    Recorded(
        "replicate/error_401.json", 401, 502, BROKEN, "upstream_auth_error", "the backend refused the credentials"
    ),
    Recorded("tei/error_413.json", 413, 413, BAD, "request_too_large", "Batch size error", TYPED),
    Recorded("tgi/error_422.json", 422, 400, BAD, "invalid_value", "Input validation error", TYPED),
    Recorded(
        "tgi/error_424.json", 424, 502, "generation", "upstream_error", "the backend answered 424: Request", TYPED
    ),
    Recorded("tgi/error_429.json", 429, 429, "rate_limit_error", "rate_limit_exceeded", "Model is overloaded", TYPED),
    Recorded(
        "tgi/error_500.json", 500, 502, "incomplete_generation", "upstream_error", "the backend answered 500", TYPED
    ),
    Recorded(
        "tgi/stream_error_midstream.sse",
        200,
        502,
        "generation",
        "upstream_error",
        "Request failed during",
        TYPED,
        "{format: sse, text: token.text, finish_reason: details.finish_reason}",
    ),
    Recorded("triton/error_400.json", 400, 400, BAD, "invalid_value", "error message"),
    Recorded(
        "triton/stream_error_http200.sse",
        200,
        502,
        BROKEN,
        "upstream_error",
        "in ensemble 'ensemble', Failed",
        "",
        "{format: sse, text: text_output}",
    ),
    Recorded(
        "vertex/error_400_temperature.json", 400, 400, BAD, "INVALID_ARGUMENT", "Unable to submit request", GOOGLE
    ),
    Recorded("voyage/error_400.json", 400, 400, BAD, "invalid_value", "Model nonexistent is not supported"),
    Recorded(
        "watsonx/error_401.json",
        401,
        401,
        BAD,
        "authentication_token_expired",
        "the token is no longer good",
        "{rules: [{when: \"errors[0].code == 'authentication_token_expired'\", status: 401, "
        "code: authentication_token_expired, message: the token is no longer good}]}",
    ),
    Recorded(
        "yandexgpt/error_400.json",
        400,
        400,
        BAD,
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. Error in session",
        "{rules: [{when: \"error.grpcCode == 3 and 'input tokens' in error.message\", code: context_length_exceeded}]}",
    ),
]


@pytest.mark.parametrize("recorded", RECORDINGS, ids=lambda recorded: f"{recorded.file}-{recorded.status}")
def test_recorded_failures(recorded: Recorded) -> None:
    """Status, type, code and message of what real backends said."""
    path = WIRE / recorded.file
    if not path.is_file():
        pytest.skip("the recordings are not on this machine")
    types = {".sse": "text/event-stream", ".json": "application/json"}
    headers = {"content-type": types.get(path.suffix, "application/octet-stream"), **recorded.headers}
    given: dict[str, Any] = {"response": recorded.response, "stream": recorded.stream, "headers": headers}
    error = fault(recorded.errors, path.read_bytes(), recorded.http, **given)
    assert (error.status, error.type, error.code) == (recorded.status, recorded.type, recorded.code)
    assert error.message.startswith(recorded.message)
    assert error.retry_after == recorded.retry_after


BODIES: dict[str, tuple[str, int, tuple[int, str, str]]] = {
    "a list of details": (
        '{"detail": [{"loc": ["body", "n"], "msg": "field required", "type": "missing"}]}',
        422,
        (400, "invalid_value", "field required"),
    ),
    "a problem": (
        '{"type": "https://a.test/out-of-credit", "title": "No.", "detail": "You have 3 left.", "status": 403}',
        400,
        (400, "invalid_value", "You have 3 left."),
    ),
    "a problem with a title": (
        '{"title": "No such thing.", "status": 400}',
        400,
        (400, "invalid_value", "No such thing."),
    ),
    "a list of texts": ('{"error": ["too long", "and wrong"]}', 400, (400, "invalid_value", "too long")),
    "an array": ('[{"error": {"code": 429, "message": "slow"}}]', 429, (429, "rate_limit_exceeded", "slow")),
    "a capital letter": ('{"Message": "denied"}', 400, (400, "invalid_value", "denied")),
}


@pytest.mark.parametrize(("body", "http", "wanted"), BODIES.values(), ids=BODIES)
def test_bodies_that_are_understood_without_a_word(body: str, http: int, wanted: tuple[int, str, str]) -> None:
    """Shapes that many backends share."""
    error = fault("", body, http)
    assert (error.status, error.code, error.message) == wanted
