"""Promises of what a refused key or value was meant to be: the advice, followed, mends the mapping."""

from __future__ import annotations

from typing import Any

import pytest
from support import mapping_schema

from oaiproxy.intentions import meant_key, meant_value, place, resolved, stands_in_for

SCHEMA = mapping_schema()


def owner(*path: str | int) -> dict[str, Any]:
    part: Any = SCHEMA
    for step in path:
        part = resolved(SCHEMA, part)
        part = part["items"] if isinstance(step, int) else part["properties"][step]
    return dict(resolved(SCHEMA, part))


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        (("chat", "poll"), "path", "it belongs under `chat.poll.request`"),
        (("chat", "poll"), "url", "it belongs under `chat.poll.request`"),
        (("chat", "cancel"), "method", "it belongs under `chat.cancel.request`"),
        (("chat",), "text", "it belongs under `chat.response` or `chat.chat_template`"),
        (("chat",), "errors", "it belongs at the top level"),
        (("chat",), "emulate", "it belongs at the top level"),
        (("chat", "response"), "errors", "did you mean `error`?"),
        (("chat", "response"), "content", "did you mean `text`?"),
        (("chat", "request"), "stream", "it belongs under `chat.request.body`"),
        (("chat", "request"), "timeout", "it belongs under `backend.timeouts`"),
        (("chat", "request"), "auth", "it belongs under `backend`"),
        (("backend",), "api_key", "it belongs under `backend.auth`: `bearer`, or `header` and `value`"),
        ((), "api_key", "it belongs under `backend.auth`: `bearer`, or `header` and `value`"),
        (("backend", "auth"), "token", "did you mean `bearer`?"),
        (("backend", "auth"), "errors", ""),
        (("backend", "auth", "oauth2"), "url", "did you mean `token_url`?"),
        (("backend", "auth", "basic"), "username", "did you mean `user`?"),
        (("examples", 0, "backend"), "body", "did you mean `json`?"),
        (("examples", 0, "backend"), "api_key", ""),
        (("chat",), "nonsense", ""),
    ],
)
def test_a_key_in_the_wrong_place(path: tuple[str | int, ...], key: str, expected: str) -> None:
    """First below its own block, then at the top, and never outside where its block stands alone."""
    assert meant_key(SCHEMA, owner(*path), path, key) == expected


def test_what_is_meant_is_not_missing() -> None:
    """Neither what another word stands for, nor the block in which the key belongs."""
    path = ("backend", "auth", "oauth2")
    assert stands_in_for(SCHEMA, owner(*path), path, "id") == {"client_id"}
    assert "request" in stands_in_for(SCHEMA, owner("chat", "after", 0), ("chat", "after", 0), "path")


@pytest.mark.parametrize(
    ("given", "path", "types", "expected"),
    [
        (True, ("a",), ["string"], "name it: for example `authorization`"),
        ("yes", ("a",), ["boolean"], "write `true`"),
        ("off", ("a",), ["boolean"], "write `false`"),
        ("yes", ("a",), ["integer"], ""),
        ("https://h.example.com/x", ("allow_hosts",), ["array"], 'write hosts alone, in a list: `["h.example.com"]`'),
        (["DONE"], ("end",), ["string"], 'put it in quotes: `"[DONE]"`'),
        (["x"], ("extends",), ["string"], "write it without the brackets: `x`"),
        (["x", "y"], ("extends",), ["string"], ""),
        ([{"a": "b"}], ("a",), ["object"], "leave out the `- ` of each line: it is a mapping"),
        ([{"a": "b", "c": "d"}], ("a",), ["object"], ""),
    ],
)
def test_a_value_of_another_type(given: Any, path: tuple[str, ...], types: list[str], expected: str) -> None:
    """What YAML made of it is not what was meant."""
    assert meant_value({"examples": ["authorization"]}, given, path, types) == expected


def test_a_place_is_written_as_in_messages() -> None:
    """With dots, and with brackets for items."""
    assert place(("chat", "after", 0, "request")) == "chat.after[0].request"
