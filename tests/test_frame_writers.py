"""Frames are written as backends send them, or refused."""

from __future__ import annotations

import pytest

from oaiproxy.formats import make_format
from oaiproxy.frame_writers import write_array, write_events, write_lines, write_sse, write_sse_unspaced, write_values
from oaiproxy.framing import Frame
from oaiproxy.stages import encode_length


def test_server_sent_events() -> None:
    """All their fields; a comment stands under the empty name, data over as many lines as it has."""
    frame = Frame(b"a\nb", "delta", "7", {"": "HTTP_STATUS/400", "meta": "m"})
    assert list(write_sse([frame])) == [
        b"event: delta\nid: 7\nmeta: m\ndata: a\ndata: b\n\n".replace(b"meta", b":HTTP_STATUS/400\nmeta")
    ]
    assert list(write_sse([Frame(b"", "ping"), Frame(b"")])) == [b"event: ping\n\n", b"data: \n\n"]
    assert list(write_sse_unspaced([Frame(b" a")])) == [b"data: a\n\n"]


def test_a_line_end_in_a_name_is_refused() -> None:
    """It would be another field."""
    with pytest.raises(ValueError, match="one line each"):
        list(write_sse([Frame(b"", "a\nb")]))


def test_a_payload_that_holds_what_ends_it_is_refused() -> None:
    """It would be two frames."""
    for written, data in (("ndjson", b"a\nb"), ({"delimited": "--"}, b"a--b")):
        with pytest.raises(ValueError, match="what ends a frame"):
            list(make_format(written).write([Frame(data)]))


def test_json_values() -> None:
    """Nothing stands between two, unless they would be read as one."""
    frames = [Frame(data) for data in (b"{}", b"1", b"2", b"{}", b"3")]
    assert b"".join(write_values(frames)) == b"{}\n1\n2{}\n3"
    assert b"".join(write_array(frames)) == b"[{},\n1,\n2,\n{},\n3]"
    assert b"".join(write_array([])) == b"[]"
    assert b"".join(write_lines(frames[:2])) == b"{}\n1\n"


def test_binary_messages() -> None:
    """An event unless the headers say otherwise; a name is that of an event or an exception."""
    (event,) = write_events([Frame(b"{}", "delta")])
    assert b":event-type\x07\x00\x05delta" in event
    assert b":message-type\x07\x00\x05event" in event
    (exception,) = write_events([Frame(b"{}", "slow", headers={":message-type": "exception"})])
    assert b":exception-type\x07\x00\x04slow" in exception
    assert b":event-type" not in exception


def test_an_error_in_a_pipeline_stands_beside_what_is_within() -> None:
    """In its place among the frames."""
    form = make_format(["aws-eventstream", "sse"])
    failed = Frame(b'{"message": "slow"}', "slow", headers={":message-type": "exception"})
    framing = form.open(1000)
    written = b"".join(form.write([Frame(b"a"), failed, Frame(b"b"), failed]))
    assert [frame.data for frame in framing.feed(written)] == [b"a", failed.data, b"b", failed.data]


def test_messages() -> None:
    """Behind their lengths."""
    assert list(make_format("messages").write([Frame(b"ab")])) == [encode_length(b"ab")]
