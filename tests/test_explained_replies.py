"""Promises of what is told of replies: which selector found what, where, and what came of it."""

from __future__ import annotations

from explaining import HEAD, HI, explained_by

from oaiproxy.steps import Answer

STREAM = f"""{HEAD}backend: {{url: 'https://a.example'}}
chat:
  request: {{body: {{prompt: "{{{{ prompt }}}}"}}}}
  stream:
    format: sse
    events:
      text: {{text: [missing, delta.text]}}
      end: {{done: "`true`", finish_reason: why}}
"""
ASKED = {**HI, "stream": True}
SSE = {"content-type": "text/event-stream"}


def test_alternatives_are_told_one_by_one() -> None:
    """Each with its place, and what it found."""
    body = b'event: text\ndata: {"delta": {"text": "a"}}\n\nevent: end\ndata: {"why": "stop"}\n\n'
    found = explained_by(STREAM, ASKED, Answer(200, SSE, body))
    first, second = found["frames"]
    told = [(each["sink"], each["selector"], each["type"], each["source"]["line"]) for each in first["selectors"]]
    assert told == [
        ("events.text.text[0]", "missing", "null", 9),
        ("events.text.text[1]", "delta.text", "string", 9),
    ]
    assert (first["event"], first["data"], second["done"]) == ("text", {"delta": {"text": "a"}}, True)
    assert [(each["type"], each["frame"]) for each in found["events"]] == [("delta", 0), ("finish", None)]


def test_what_cannot_be_read_is_a_fault_at_its_frame() -> None:
    """With what came before it."""
    body = b'event: text\ndata: {"delta": {"text": "a"}}\n\nevent: text\ndata: {oops\n\n'
    found = explained_by(STREAM, ASKED, Answer(200, SSE, body))
    assert [(each["type"], each["frame"]) for each in found["events"]] == [("delta", 0), ("fault", 1)]
    assert found["events"][1]["values"]["code"] == "upstream_invalid_json"
    (reply,) = found["replies"]
    assert (reply["status"], reply["chunks"][-1]["error"]["code"]) == (200, "upstream_invalid_json")


def test_a_stream_that_breaks_off_is_a_fault() -> None:
    """At its end."""
    found = explained_by(STREAM, ASKED, Answer(200, SSE, b'event: text\ndata: {"delta": {"text": "a"}}\n\n'))
    assert [(each["type"], each["frame"]) for each in found["events"]] == [("delta", 0), ("fault", None)]
    assert found["diagnostics"][0]["code"] == "upstream_incomplete"


def test_a_failure_is_shown_with_the_selectors_of_errors() -> None:
    """It is no frame, and is told as one."""
    answer = Answer(400, {"content-type": "application/json"}, b'{"why": "bad"}')
    found = explained_by(STREAM + "errors: {message: why}\n", ASKED, answer)
    (frame,) = found["frames"]
    assert frame["data"] == {"why": "bad"}
    assert [(each["sink"], each["value"]) for each in frame["selectors"]] == [("errors.message", "bad")]
    assert found["events"][0]["values"]["status"] == found["replies"][0]["status"] == 400


def test_long_texts_are_cut() -> None:
    """So that an explanation can be read; their size is told."""
    body = b'event: text\ndata: {"delta": {"text": "' + b"a" * 2000 + b'"}}\n\nevent: end\ndata: {}\n\n'
    frame = explained_by(STREAM, ASKED, Answer(200, SSE, body))["frames"][0]
    assert frame["size"] > 2000
    assert max(len(frame["text"]), len(frame["data"]["delta"]["text"])) == 501


def test_no_secret_of_an_answer_is_told() -> None:
    """A backend may tell it."""
    text = STREAM.replace("'https://a.example'", "'https://a.example', auth: {bearer: '${KEY}'}")
    answer = Answer(400, {}, b'{"error": {"message": "the key s3cret-key is bad"}}')
    found = explained_by(text, ASKED, answer, environment={"KEY": "s3cret-key"})
    assert "s3cret" not in str(found)


def test_replies_that_are_missing_are_asked_for() -> None:
    """The first call is shown then."""
    text = STREAM.replace("chat:\n", "chat:\n  before: [{name: session, request: {path: /open}}]\n")
    text = text.replace("{{ prompt }}", "{{ session.id ~ prompt }}")
    found = explained_by(text, ASKED, Answer(200, {}, b'{"id": "x"}'))
    assert [send["call"] for send in found["sends"]] == ["before", "main"]
    assert found["diagnostics"][0]["code"] == "no_reply"
