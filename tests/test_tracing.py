"""Promises of tracing: an exchange that is noted is as any other, and all of it is noted."""

from __future__ import annotations

from functools import cache

from support import ROOT

from oaiproxy.check import Traced
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.events import Delta, Finish
from oaiproxy.loader import Loader
from oaiproxy.probes import IDENTITY
from oaiproxy.rehearsal import rehearse
from oaiproxy.steps import Answer
from oaiproxy.tracing import Answers, Record, traced

STREAM = {"content-type": "application/x-ndjson"}


@cache
def compiled(name: str) -> Traced:
    made = Loader({}).trace(ROOT / f"mappings/{name}.yaml")
    assert made is not None
    return made


def noted(name: str, answers: list[Answer], **more: object) -> Record:
    made = compiled(name)
    call = DOORS["chat"].parse({"model": "m", "messages": [{"role": "user", "content": "hi"}], **more})
    record = Record(made.trace)
    exchange = traced(made.mapping, call, DOORS["chat"].encoder(call, IDENTITY), IDENTITY, {}, record)
    rehearse(exchange, Answers(answers, record))
    record.settle()
    return record


def test_a_stream_is_noted_frame_by_frame() -> None:
    """With what was found in each, and all that goes to the client."""
    body = b'{"chunk": "a", "finished": false}{"chunk": "b", "finished": true}'
    record = noted("example", [Answer(200, STREAM, body)], stream=True)
    assert [read.frame.data for read in record.frames if read.frame] == [body[:33], body[33:]]
    assert [event for read in record.frames for event in read.events] == [Delta("a"), Delta("b"), Finish("stop")]
    assert [read.ended for read in record.frames] == [False, True, False]
    found = [(each.source.path[-1], each.value) for each in record.frames[0].picked]
    assert found == [("text", "a"), ("completion", None), ("done", False)]
    assert b"".join(record.output).endswith(b"data: [DONE]\n\n")


def test_a_request_is_noted_with_its_pieces() -> None:
    """And its template."""
    (sent,) = noted("example", [Answer(200, {}, b'{"generated_text": "x"}')]).sends
    assert sent.template is sent.exchange.main
    assert [(piece.part, piece.path) for piece in sent.pieces] == [("path", ()), ("body", ("prompt",))]
    assert [each.source.path[-1] for each in sent.lost] == ["temp", "max_length"]


def test_what_is_read_is_noted_with_its_call() -> None:
    """Also where a call is made again."""
    answers = [
        Answer(201, {}, b'{"id": "p", "status": "starting", "urls": {"get": "https://api.replicate.com/v1/p"}}'),
        Answer(200, {}, b'{"status": "processing"}'),
        Answer(200, {}, b'{"status": "succeeded", "output": ["x"]}'),
    ]
    record = noted("replicate", answers)
    found = [(read.call, each.value) for read in record.frames for each in read.picked if "poll" in each.source.path]
    assert found == [(1, "processing"), (2, "succeeded")]
