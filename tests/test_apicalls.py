"""Promises of the call that a document describes: where it goes, what it carries, and whose key."""

from __future__ import annotations

from typing import Any

import pytest
from documents import document, shown, text_of

from oaiproxy.apicalls import call, streaming
from oaiproxy.apioperations import choose
from oaiproxy.apispecs import SpecError, parse_spec
from oaiproxy.samples import Sample

PROMPT = {"required": ["prompt"], "properties": {"prompt": {"type": "string"}}}


def made(text: str, server: str | None = None) -> tuple[Sample, list[str]]:
    """The call of a document's one operation, and what was noted."""
    spec = parse_spec(text)
    notes: list[str] = []
    return call(spec, choose(spec, None), server, notes), notes


def url(server: str | None = None, **more: Any) -> str:
    """Where the call of such a document goes."""
    return made(shown(document(PROMPT) | more), server)[0].url


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({"servers": [{"url": "https://a.example/v1/"}]}, "https://a.example/v1/generate"),
        ({"servers": [{"url": "//a.example"}]}, "https://a.example/generate"),
        (
            {
                "servers": [
                    {"url": "https://{r}.a.example/{v}", "variables": {"r": {"default": "eu"}, "v": {"enum": ["b"]}}}
                ]
            },
            "https://eu.a.example/b/generate",
        ),
        ({"servers": [{"url": "/api"}]}, "http://localhost:8000/api/generate"),
        ({"servers": []}, "http://localhost:8000/generate"),
    ],
)
def test_the_server_is_the_documents(more: Any, address: str) -> None:
    """With its variables' defaults; a server that is none is one's own machine."""
    assert url(**more) == address


def test_another_server_can_be_given() -> None:
    """A relative one of the document is then relative to it."""
    assert url("https://b.example/x", servers=[{"url": "/api"}]) == "https://b.example/x/api/generate"
    assert url("https://b.example/x", servers=[{"url": "https://a.example/v1"}]) == "https://b.example/x/generate"


def test_swagger_has_its_server_in_parts() -> None:
    """https before http."""
    assert (
        made(text_of("swagger-query-key"))[0].url == "https://api.quill.example/api/v2/complete?api_key=$QUILL_API_KEY"
    )


def test_a_document_without_a_server_is_told_of() -> None:
    """With what to do."""
    assert made(text_of("home-grown"))[1] == [
        "the document does not say where the API is: `http://localhost:8000` is taken; change it, or give `--server`"
    ]


SCHEMES = {
    "bearer": ({"type": "http", "scheme": "Bearer"}, ("authorization", "Bearer $EXAMPLE_API_KEY")),
    "basic": ({"type": "http", "scheme": "basic"}, ("authorization", "Basic $EXAMPLE_USER:$EXAMPLE_PASSWORD")),
    "header": ({"type": "apiKey", "in": "header", "name": "X-Own"}, ("x-own", "$EXAMPLE_API_KEY")),
    "oauth2": ({"type": "oauth2", "flows": {}}, ("authorization", "Bearer $EXAMPLE_API_KEY")),
    "openid": ({"type": "openIdConnect"}, ("authorization", "Bearer $EXAMPLE_API_KEY")),
    "authorization": (
        {"type": "apiKey", "in": "header", "name": "Authorization"},
        ("authorization", "Bearer $EXAMPLE_API_KEY"),
    ),
    "cookie": ({"type": "apiKey", "in": "cookie", "name": "sid"}, ("cookie", "sid=$EXAMPLE_API_KEY")),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_a_security_scheme_becomes_a_header(name: str) -> None:
    """With a variable in the place of the secret, which is named after the API."""
    scheme, header = SCHEMES[name]
    secured = document(PROMPT, security=[{}, {name: []}], components={"securitySchemes": {name: scheme}})
    assert header in made(shown(secured))[0].headers


def test_no_security_is_none() -> None:
    """An operation can lift what holds for the whole API."""
    lifted = document(PROMPT, operation={"security": []}, security=[{"bearer": []}])
    assert made(shown(lifted))[0].headers == (("content-type", "application/json"),)


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ({"type": "mutualTLS"}, "the security scheme `s` is `mutualTLS`"),
        (None, "the security scheme `s` is not in the document"),
        ({"type": "http", "scheme": "hmac"}, "the security scheme `s` is `hmac`"),
        ({"type": "oauth2"}, "the security scheme `s` gives tokens by OAuth 2"),
    ],
)
def test_what_a_header_does_not_do_is_said(scheme: Any, said: str) -> None:
    """So that nobody looks for it in the mapping."""
    secured = document(PROMPT, security=[{"s": []}], components={"securitySchemes": {"s": scheme} if scheme else {}})
    assert said in made(shown(secured))[1][0]


def test_parameters_stand_where_they_belong() -> None:
    """Those that are required, and those of generation; keys as variables; what the standard ignores is left out."""
    parameters = [
        {"name": "tenant", "in": "path", "required": True, "schema": {"type": "string"}, "example": "a/b"},
        {"name": "version", "in": "query", "required": True, "schema": {"enum": ["2024-01-01"]}},
        {"name": "temperature", "in": "query", "schema": {"type": "number"}},
        {"name": "trace", "in": "query", "schema": {"type": "boolean"}},
        {"name": "X-Api-Key", "in": "header", "schema": {"type": "string"}},
        {"name": "X-Region", "in": "header", "required": True, "schema": {"type": "string", "example": "eu\r\nx: y"}},
        {"name": "Accept", "in": "header", "required": True, "schema": {"type": "string"}},
        {"name": "lang", "in": "cookie", "required": True, "schema": {"type": "string", "default": "en"}},
        {"name": "filter", "in": "query", "required": True, "content": {"application/json": {"example": {"a": 1}}}},
    ]
    text = document(PROMPT, operation={"parameters": parameters})
    text["paths"] = {"/{tenant}/{other}/generate": text["paths"]["/generate"]}
    sample, notes = made(shown(text))
    assert sample.url == (
        "https://api.example.com/a%2Fb/other/generate?version=2024-01-01&temperature=0.7&filter=%7B%22a%22%3A1%7D"
    )
    assert sample.headers == (
        ("x-api-key", "$EXAMPLE_API_KEY"),
        ("x-region", "eu x: y"),
        ("content-type", "application/json"),
        ("cookie", "lang=en"),
    )
    assert notes == ["the document does not say what `other` in the path is: it is sent as it stands"]


@pytest.mark.parametrize(
    ("name", "media_type", "body"),
    [
        ("multipart", "multipart/form-data", {"question": "Say hello.", "temperature": "0.7"}),
        ("form", "application/x-www-form-urlencoded", "prompt=Say+hello.&temperature=0.7"),
        ("query-prompt", None, None),
    ],
)
def test_a_body_has_its_form(name: str, media_type: str | None, body: Any) -> None:
    """JSON before forms before others, where there is a choice."""
    sample, _ = made(text_of(name))
    assert dict(sample.headers).get("content-type") == media_type
    assert sample.body == body


def test_an_example_of_the_body_is_completed() -> None:
    """By the parameters that it leaves out, so that the mapping can send them."""
    assert made(text_of("examples-given"))[0].body == {
        "question": "What is the capital of France?",
        "tone": "formal",
        "temperature": 0.7,
        "max_tokens": 64,
    }


def test_a_body_that_cannot_be_made_is_refused() -> None:
    """With the place of its schema, and why."""
    with pytest.raises(SpecError, match=r"could not be made.*names another document"):
        made(shown(document({"$ref": "body.json"})))


def test_the_flag_of_a_stream_is_set_in_its_body() -> None:
    """By the name that the schema has for it."""
    text = parse_spec(shown(document({"properties": {"isStream": {"type": "boolean"}}})))
    operation = choose(text, "generate")
    assert streaming({"prompt": "a"}, text, operation) == {"prompt": "a", "isStream": True}
    assert streaming("text", text, operation) == "text"
