"""A format is one thing: its frames, its bytes, and what is known of both."""

from __future__ import annotations

from typing import Any

import pytest
from support import chat, play

from oaiproxy.formats import FORMATS, make_format
from oaiproxy.framing import Frame

LARGE = 1 << 20
WRITTEN: list[Any] = [
    *FORMATS,
    {"sse": {"keep_space": True}},
    {"sse": {}},
    {"sse": None},
    {"delimited": "\0"},
    ["aws-eventstream", {"base64": "bytes"}],
    ["aws-eventstream", {"base64": "bytes"}, "json-array"],
    ["sse", "ndjson"],
    ["messages", "sse"],
    ["ndjson", {"base64": "b"}, "sse"],
    [{"delimited": "--"}, "json-concat"],
    ["sse"],
]
PAYLOADS = [b'{"t":"a"}', b'{"t":" \xc3\xa9"}', b"7", b"8", b'" x"', b"[1]"]


@pytest.mark.parametrize("written", WRITTEN, ids=str)
def test_what_a_format_writes_it_reads(written: Any) -> None:
    """Each payload in a frame of its own, however the bytes are cut."""
    form = make_format(written)
    body = b"".join(form.write([Frame(payload) for payload in PAYLOADS]))
    wanted = b"".join(PAYLOADS) if form.yields == "text" else PAYLOADS
    for size in (1, 2, 7, len(body)):
        framing = form.open(LARGE)
        frames = [frame for at in range(0, len(body), size) for frame in framing.feed(body[at : at + size])]
        frames += framing.close()
        found = [frame.data for frame in frames]
        assert (b"".join(found) if form.yields == "text" else found) == wanted


@pytest.mark.parametrize("written", WRITTEN, ids=str)
def test_a_format_writes_frame_by_frame(written: Any) -> None:
    """What follows the last frame closes the body."""
    pieces = list(make_format(written).write([Frame(payload) for payload in PAYLOADS]))
    assert len(PAYLOADS) <= len(pieces) <= len(PAYLOADS) + 1


@pytest.mark.parametrize("written", WRITTEN, ids=str)
def test_an_empty_body(written: Any) -> None:
    """No frames, no events."""
    form = make_format(written)
    framing = form.open(LARGE)
    body = b"".join(form.write([]))
    assert [*framing.feed(body), *framing.close()] == []


@pytest.mark.parametrize("written", WRITTEN, ids=str)
def test_names_are_kept_where_there_are_any(written: Any) -> None:
    """And refused where there are none."""
    form = make_format(written)
    if form.named:
        body = b"".join(form.write([Frame(b"{}", "delta"), Frame(b"[1]", "stop")]))
        framing = form.open(LARGE)
        assert [frame.event for frame in (*framing.feed(body), *framing.close())] == ["delta", "stop"]
    else:
        with pytest.raises(ValueError, match="have no `event`"):
            list(form.write([Frame(b"{}", "delta")]))


def test_a_pipeline_is_known_by_its_outer_format() -> None:
    """Its content type is what is on the wire, its name in findings that of its frames."""
    form = make_format(["aws-eventstream", "sse"])
    assert (form.name, form.yields, form.content_type) == (
        "aws-eventstream",
        "sse",
        "application/vnd.amazon.eventstream",
    )
    assert not form.lines


def test_end_and_done_are_those_of_the_inner_frames() -> None:
    """The end mark stands within."""
    mapping = chat(stream="{format: [aws-eventstream, sse], text: t, end: '[DONE]'}")
    body = b"".join(make_format(["aws-eventstream", "sse"]).write([Frame(b'{"t":"a"}'), Frame(b"[DONE]")]))
    assert play(mapping, body, stream=True).outcome.text == "a"
    fault = play(
        mapping, b"".join(FORMATS["aws-eventstream"].write([Frame(b'data: {"t":"a"}\n\n')])), stream=True
    ).fault
    assert fault is not None
    assert fault.code == "upstream_incomplete"


def test_a_stream_of_binary_messages_that_was_not_asked_for() -> None:
    """Its content type tells what it is."""
    mapping = chat(response="{text: t}", stream="{format: aws-eventstream, by: '`x`', events: {x: {text: t}}}")
    body = b"".join(FORMATS["aws-eventstream"].write([Frame(b'{"t":"a"}'), Frame(b'{"t":"b"}')]))
    headers = {"content-type": "application/vnd.amazon.eventstream"}
    assert play(mapping, body, headers=headers).outcome.text == "ab"


def test_a_whole_answer_in_place_of_delimited_frames() -> None:
    """The first value tells."""
    mapping = chat(response="{text: whole}", stream='{format: {delimited: "\\0"}, text: t}')
    assert play(mapping, b'{"whole": "a"}', stream=True).outcome.text == "a"
    assert play(mapping, b'{"t": "a"}\0{"t": "b"}\0', stream=True).outcome.text == "ab"
