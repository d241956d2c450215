"""Promises of samples: what is not given is not there."""

from oaiproxy.samples import Received, Sample


def test_a_sample_needs_a_method_and_an_address() -> None:
    """All else is found out or said to be missing."""
    sample = Sample("POST", "https://api.example.com/generate")
    assert (sample.headers, sample.body, sample.answer, sample.stream) == ((), None, None, None)
    assert (sample.stream_body, sample.stream_url) == (None, "")


def test_a_reply_is_a_success_unless_it_says_otherwise() -> None:
    """And of no known type."""
    assert (Received(b"{}").status, Received(b"{}").media_type) == (200, "")
