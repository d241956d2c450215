"""Promises of what has no effect in a mapping: it is found where it is certain, and nowhere else."""

from __future__ import annotations

import pytest

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.loader import mapping_schema

TEMPLATE = """\
oaiproxy: 1
models: [m]
backend: {url: "https://api.example.com"CLIENT}
MORE
chat:
  request: {path: /x, body: {q: "{{ prompt }}"BODY}}
  response: {text: TEXT}
"""


def findings_of(text: str, environment: dict[str, str] | None = None) -> tuple[Diagnostic, ...]:
    surroundings = Surroundings(mapping_schema(), environment or {}, lambda name: "")
    return check_mapping(text, "test.yaml", surroundings).diagnostics


def codes(client: str = "", more: str = "", body: str = "", text: str = "out") -> list[str]:
    written = TEMPLATE.replace("CLIENT", client).replace("MORE", more).replace("BODY", body).replace("TEXT", text)
    return [found.code for found in findings_of(written)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", ["W108"]),
        (', v: "{{ vars.a }}"', []),
        (""", v: "{{ vars['a'] }}\"""", []),
        (', v: "{{ vars }}"', []),
        (', v: "{{ vars.b | default(1) }}"', ["E204"]),
    ],
)
def test_vars(body: str, expected: list[str]) -> None:
    """One that nothing reads; what takes them whole reads all."""
    assert codes(more="vars: {a: 1}", body=body) == expected


def test_a_var_that_other_places_are_given_by_an_alias() -> None:
    """YAML reads it."""
    assert codes(more="vars: {a: &a 1}", body=", v: *a") == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", ["W108"]),
        (""", v: "{{ headers['x-user'] }}\"""", []),
        (""", v: "{{ headers['X-User'] | default('') }}\"""", ["E204"]),
        (', v: "{{ headers }}"', []),
    ],
)
def test_headers_of_clients(body: str, expected: list[str]) -> None:
    """One that is listed and that nothing reads."""
    assert codes(client=", client_headers: [x-user]", body=body) == expected


@pytest.mark.parametrize(
    ("body", "more", "expected"),
    [
        (", temperature: 0.5", "", ["W403"]),
        (", options: {maxOutputTokens: 100, top-p: 1}", "", ["W403", "W403"]),
        (", temperature: 0.5", "on_unsupported: {temperature: drop}", []),
        (', temperature: 0.5, t: "{{ temperature }}"', "", []),
        (', temperature: 0.5, r: "{{ request.temperature }}"', "", []),
        (', temperature: "0.5", max_length: 5, best_of: 1', "", []),
    ],
)
def test_numbers_in_the_place_of_the_client_s(body: str, more: str, expected: list[str]) -> None:
    """Unless the client's is read elsewhere, or the mapping says what becomes of it."""
    assert codes(body=body, more=more) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("\"'out'\"", ["W302"]), ('"`1`"', ["W302"]), ("out", []), ("'\"out\"'", []), ("[out, \"'none'\"]", [])],
)
def test_a_text_that_is_always_the_same(text: str, expected: list[str]) -> None:
    """One of several alternatives may be."""
    assert codes(text=text) == expected
