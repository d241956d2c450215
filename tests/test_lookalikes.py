"""Promises of what is written as another tool writes a variable: it is told of where a reference is near certain."""

from __future__ import annotations

import pytest

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.loader import mapping_schema
from oaiproxy.lookalikes import meant_reference

MAPPING = """oaiproxy: 1
models: [m]
{more}
backend: {{url: "{url}"{backend}}}
chat:
  request: {{path: {path}, headers: {{x-a: "{header}"}},
    body: {{q: "{{{{ prompt }}}}", c: "{body}", u: "{{{{ vars }}}}"}}}}
  response: {{text: t}}
"""


def found_in(
    *,
    url: str = "https://api.example.com",
    backend: str = "",
    path: str = "/x",
    header: str = "1",
    body: str = "",
    more: str = "",
) -> list[tuple[str, str]]:
    text = MAPPING.format(url=url, backend=backend, path=path, header=header, body=body, more=more)
    surroundings = Surroundings(mapping_schema(), {"SET": "$HOME"}, lambda name: "")
    found = check_mapping(text, "test.yaml", surroundings).diagnostics
    return [(each.code, each.label) for each in found]


@pytest.mark.parametrize(
    ("places", "meant"),
    [
        ({"header": "$ORG"}, "${ORG}"),
        ({"header": "$(ORG)"}, "${ORG}"),
        ({"header": "%ORG%"}, "${ORG}"),
        ({"header": "{ORG}"}, "${ORG}"),
        ({"header": "Token $ORG_1"}, "Token ${ORG_1}"),
        ({"backend": ", headers: {authorization: Bearer $TOKEN}"}, "Bearer ${TOKEN}"),
        ({"backend": ', auth: {bearer: "{API_KEY}"}'}, "${API_KEY}"),
        (
            {"backend": ", auth: {oauth2: {token_url: 'https://t/$REALM', client_id: a, client_secret: x}}"},
            "https://t/${REALM}",
        ),
        ({"url": "https://api.example.com/$TENANT/v1"}, "https://api.example.com/${TENANT}/v1"),
        ({"path": "/v1/$MODEL"}, "/v1/${MODEL}"),
        ({"more": "vars: {key: $OPEN}"}, "${OPEN}"),
        ({"more": "vars: {k: $API_KEY}"}, "${API_KEY}"),
    ],
)
def test_a_variable_of_another_tool_is_told_of_once(places: dict[str, str], meant: str) -> None:
    """A credential that is none is no secret as well."""
    assert found_in(**places) == [("W006", f"did you mean `{meant}`?")]


@pytest.mark.parametrize(
    "places",
    [
        {"body": "$HOME"},
        {"body": "{NAME}"},
        {"header": "US$"},
        {"header": "$1"},
        {"header": "100%A%"},
        {"header": "${SET}"},
        {"header": "a {NAME} in text"},
        {"header": "{{ model }}"},
        {"path": "/Orders/$count"},
        {"path": "/%C3ABC%A9"},
        {"more": "vars: {prompt: $HOME}"},
        {"more": "vars: {key: '%d items of $TOKEN'}"},
    ],
)
def test_what_may_be_meant_is_left_alone(places: dict[str, str]) -> None:
    """A body may hold it for another program."""
    assert found_in(**places) == []


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("https://$HOST/v1", "https://${HOST}/v1"),
        ("https://{HOST}:8080", "https://${HOST}:8080"),
        ("https://b:$PORT", "https://b:${PORT}"),
        ("$(API_URL)", "${API_URL}"),
        ("%API_URL%", "${API_URL}"),
        ("$API_URL/v1", "${API_URL}/v1"),
    ],
)
def test_a_host_is_refused(url: str, meant: str) -> None:
    """No name of a host has such signs."""
    assert found_in(url=url) == [("E105", f"did you mean `{meant}`?")]


def test_what_holds_none() -> None:
    """Nothing is offered for a reference, a template or another text."""
    assert [meant_reference(text) for text in ("${HOST}", "{{HOST}}", "$host", "https://api.example.com")] == [""] * 4
