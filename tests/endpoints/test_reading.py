"""What every generating endpoint reads from its body in the same way."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints.reading import read_body
from oaiproxy.errors import ClientError
from oaiproxy.parameters import CHAT


def test_the_parts_of_a_body() -> None:
    """The body itself, its fields, the model, and how to stream."""
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "x": 1}
    request, fields, model, stream, include_usage = read_body(body, CHAT)
    assert request is body
    assert fields == {key: value for key, value in body.items() if key != "x"}
    assert (model, stream, include_usage) == ("m", True, True)


@pytest.mark.parametrize(
    "options", [None, {}, {"include_usage": None}, {"include_usage": False}, {"include_obfuscation": True}]
)
def test_usage_is_told_only_where_it_is_asked_for(options: Any) -> None:
    """Nothing, null and false are the same."""
    assert read_body({"model": "m", "stream": True, "stream_options": options}, CHAT)[4] is False


@pytest.mark.parametrize("body", [None, [], "x", 5, True])
def test_a_body_is_an_object(body: Any) -> None:
    """Anything else is a 400."""
    with pytest.raises(ClientError):
        read_body(body, CHAT)
