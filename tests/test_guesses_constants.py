"""Promises of the search for what belongs to one call: it is told where it stands, once, and nothing else is."""

from __future__ import annotations

from oaiproxy.guesses_constants import passing


def test_what_would_be_sent_for_ever() -> None:
    """Sessions, ids, moments, images and data."""
    sample = {
        "body": {
            "session_id": "7f9c24e8",
            "requestId": "r-1",
            "date": "2024-05-01",
            "meta": {"timestamp": 1714521600},
            "image": {"url": "https://a.test/i.png", "date": "2024-05-01"},
            "photo_b": "data:image/png;base64,iVBOR",
        }
    }
    found = dict(passing(sample, {}))
    assert [path[1:] for path in found] == [
        ("session_id",),
        ("requestId",),
        ("date",),
        ("image",),
        ("photo_b",),
        ("meta", "timestamp"),
    ]
    assert found["body", "date"] == "`date` is the moment of the sample: leave it out, or make it of `{{ now }}`"
    assert found["body", "image"].startswith("how `image` is made of the client's images")


def test_what_may_stand() -> None:
    """What is empty, what has a template, and constants that every call has."""
    sample = {
        "query": {"version": "2024-03-14", "project_id": "c1234567-2222-2222-3333-444444444444"},
        "body": {"conversation_id": "", "files": [], "image": {"url": "{x}"}, "session_id": "s", "session": {"a": 1}},
    }
    taken = {("body", "image", "url"): "{{ x }}", ("body", "session_id"): "{{ uuid }}"}
    assert not list(passing(sample, taken))
