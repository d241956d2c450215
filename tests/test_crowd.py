"""Promises of `oaiproxy.crowd`: who is one too many is told so in a whole answer; over sockets in test_overload.py."""

from __future__ import annotations

import json

from scripted import _wire

from oaiproxy.crowd import REFUSAL
from oaiproxy.errors import OverloadedError


def test_the_answer_to_a_client_too_many_is_that_of_any_overload() -> None:
    """It says the same as what a request gets for which there is no place."""
    wire = _wire(REFUSAL)
    assert wire is not None
    assert wire.complete
    assert (wire.status, wire.json) == (503, json.loads(json.dumps(OverloadedError().body())))
    assert {"retry-after": "1", "x-should-retry": "true", "connection": "close"}.items() <= wire.headers.items()
