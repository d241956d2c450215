"""Promises of `oaiproxy.secretwords`: names and values that tell a secret, and where one stands in what is no YAML."""

from __future__ import annotations

import pytest

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.diagnostics import Span, concealed_in
from oaiproxy.loader import mapping_schema
from oaiproxy.reporters import REPORTERS
from oaiproxy.secretwords import in_broken, is_literal, tells, written_out

SECRET = "geheim-Pass-4711"
HEAD = "oaiproxy: 1\nmodels: [m]\n"
CHAT = 'chat:\n  request: {path: /x, body: {q: "{{ prompt }}"}}\n  response: {text: out}\n'


@pytest.mark.parametrize("name", ["api_key", "x-api-key", "Authorization", "client_secret", "token", "bearer", "keys"])
def test_names_that_tell(name: str) -> None:
    """Of headers, parameters and settings."""
    assert tells(name)


@pytest.mark.parametrize("name", ["max_tokens", "keyword", "monkey", "model", "author", "tokens"])
def test_names_that_tell_nothing(name: str) -> None:
    """Though they have such a word in them."""
    assert not tells(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(SECRET, True), (f"Bearer {SECRET}", True), ("short", False), ("your-key", False), ("none", False)],
)
def test_what_may_be_a_secret(text: str, expected: bool) -> None:
    """It is long enough, and no word for none."""
    assert is_literal(text) is expected


@pytest.mark.parametrize(
    "line",
    [
        "auth: {{bearer: {}",
        'auth: {{bearer: "{}}}',
        "auth: Bearer: {}",
        "auth: {}: x",
        "auth: !unknown {}",
        "auth: {{bearer: @{}}}",
        'auth: {{bearer: "{}\\q"}}',
        'auth: {{basic: {{user: me, password: "{}" x}}}}',
        "auth: {{bearer: {}, bearer: other}}",
        "auth:\n    basic:\n      user: me\n      {}: x: y",
        "auth:\n    bearer: {}: x",
        'headers: {{Authorization: "Bearer {}" x}}',
        "headers: {{x-api-key: {}]}}",
        "api_key: @{}",
        'auth: {{bearer: "${{KEY:-{}}}" x}}',
    ],
)
def test_the_lines_of_what_is_no_yaml(line: str) -> None:
    """No report shows the secret, nor does a message, and that it is there is told."""
    text = f"{HEAD}backend:\n  url: https://api.example.com\n  {line.format(SECRET)}\n{CHAT}"
    found = check_mapping(text, "test.yaml", Surroundings(mapping_schema(), {}, lambda name: "")).diagnostics
    assert any(each.code.startswith("E0") for each in found)
    for report in REPORTERS.values():
        assert SECRET not in report(found, {"test.yaml": text}, False)


@pytest.mark.parametrize(
    "line",
    [
        "  url: https://api.example.com: x",
        "  headers: {x-version: 2024-01-01, accept: application/json",
        "chat: [request, response",
        "  text: choices[0].message.content: x",
    ],
)
def test_lines_without_secrets_are_shown(line: str) -> None:
    """Addresses, names and selectors help to find what is wrong."""
    found = written_out("", Span("a.yaml", 1, 1, 1, 2))
    assert list(in_broken({"a.yaml": line}, [found])) == []


def test_what_is_named_in_a_block_about_credentials_is_shown() -> None:
    """The address and the name of a user are no secrets."""
    text = f"auth: {{token_url: https://login.example.com/token, client_id: some-client, client_secret: {SECRET}"
    found = written_out("", Span("a.yaml", 1, 1, 1, 2))
    hidden = list(in_broken({"a.yaml": text}, [found]))
    assert list(concealed_in(hidden, {"a.yaml": text})) == [SECRET]


def test_a_line_that_nests_without_end_is_read_in_time() -> None:
    """A megabyte of openings."""
    found = written_out("", Span("a.yaml", 1, 1, 1, 2))
    assert list(in_broken({"a.yaml": "{{" * 500_000}, [found])) == []
