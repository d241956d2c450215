"""Promises of reading API documents: JSON and YAML alike, references within the document alone, all in bounds."""

from __future__ import annotations

import pytest

from oaiproxy.apispecs import MAX_CHARACTERS, SpecError, parse_spec, pointer

HEAD = "openapi: 3.1.0\ninfo: {title: A, version: '1'}\n"


def test_json_and_yaml_are_the_same_document() -> None:
    """A YAML document may be written as JSON, and most are written as one of the two."""
    assert parse_spec('{"openapi": "3.0.0", "paths": {}}') == parse_spec("openapi: 3.0.0\npaths: {}\n")


def test_yaml_is_read_as_yaml_1_2() -> None:
    """A date, `on` and a status as a key are text."""
    data = parse_spec(HEAD + "x: {when: 2023-06-01, on: off, 200: ok, number: 1.5, none: ~}\n").data
    assert data["x"] == {"when": "2023-06-01", "on": "off", "200": "ok", "number": 1.5, "none": None}


def test_merge_keys_are_read() -> None:
    """YAML 1.2 has none, but documents written for older readers use them; own keys win."""
    data = parse_spec(HEAD + "a: &a {one: 1, two: 2}\nb: {<<: *a, two: 3}\nc: {<<: [*a, {four: 4}]}\n").data
    assert data["b"] == {"one": 1, "two": 3}
    assert data["c"] == {"one": 1, "two": 2, "four": 4}


def test_swagger_is_told_from_openapi() -> None:
    """Also where its version is not in quotes."""
    assert parse_spec("swagger: 2.0\n").swagger
    assert not parse_spec("openapi: 3.2.0\n").swagger


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a mapping"),
        ("- 1", "not a mapping"),
        ("a: 1", "neither `openapi` nor `swagger`"),
        ("openapi: 4.0.0", "version `4.0.0` of OpenAPI is not known"),
        ("swagger: '1.2'", "version `1.2` of OpenAPI is not known"),
        ('{"openapi": "3.0.0",', "is not JSON"),
        ("openapi: 3.0.0\n  paths: x", "neither JSON nor YAML"),
        ("a: [1, *nothing]", "the alias `*nothing` names no finished value, in line 1"),
        ("a: &a [*a]", "the alias `*a` names no finished value"),
        ("? [a]\n: b", "a key in the document is a list or a mapping"),
        ("a: " + "[" * 300, "nested deeper than 200 levels"),
        ('{"a": ' + "[" * 100_000, "is not JSON"),
        ("a: \x00", "neither JSON nor YAML"),
        ("x" * (MAX_CHARACTERS + 1), "larger than 16 MiB"),
    ],
)
def test_what_is_no_document_is_refused(text: str, said: str) -> None:
    """With a sentence that says what it is instead."""
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert said in str(caught.value)


def test_many_laughs_are_refused() -> None:
    """Aliases are counted as if they were written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(SpecError, match="with aliases written out"):
        parse_spec(HEAD + "\n".join(lines))


def test_a_reference_is_followed_to_its_end() -> None:
    """Over several steps and with escapes; what stands beside it is laid over."""
    spec = parse_spec(HEAD + "a: {$ref: '#/b'}\nb: {$ref: '#/c~1d/0', title: B}\nc/d: [{type: string, title: C}]\n")
    assert spec.follow({"$ref": "#/a", "description": "D"}, "#/x") == (
        {"type": "string", "title": "B", "description": "D"},
        "#/c~1d/0",
    )
    assert spec.follow(5, "#/x") == (5, "#/x")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("other.yaml#/A", "names another document"),
        ("https://example.com/a.json", "names another document"),
        ("#anchor", "is not a JSON pointer"),
        ("#/nothing", "names nothing in this document"),
        ("#/infos", "did you mean `info`?"),
        ("#/loop", "leads back to itself"),
    ],
)
def test_a_reference_that_cannot_be_followed_says_why(reference: str, said: str) -> None:
    """Nothing is fetched, and nothing runs in a circle."""
    spec = parse_spec(HEAD + "loop: {$ref: '#/back'}\nback: {$ref: '#/loop'}\n")
    with pytest.raises(SpecError) as caught:
        spec.follow({"$ref": reference}, "#/paths")
    assert said in str(caught.value)


def test_a_pointer_escapes() -> None:
    """https://www.rfc-editor.org/rfc/rfc6901#section-3"""
    assert pointer("#/paths", "/a~b", "post") == "#/paths/~1a~0b/post"
