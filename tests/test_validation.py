"""Promises of `oaiproxy.validation`: a schema's complaint as a compiler would put it."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import load_document
from oaiproxy.validation import validate


def found(text: str, schema: dict[str, Any], **environment: str) -> list[Diagnostic]:
    document, _ = load_document(text, file="m.yaml", environment=environment, read_file=str)
    assert document is not None
    return validate(document, schema)


def only(text: str, schema: dict[str, Any], **environment: str) -> Diagnostic:
    (diagnostic,) = found(text, schema, **environment)
    return diagnostic


def key(schema: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {"k": schema}, "additionalProperties": False}


def test_a_valid_document_has_no_findings() -> None:
    """Silence is the answer."""
    assert found("k: 1\n", key({"type": "integer"})) == []


def test_an_unknown_key_is_compared_with_the_known() -> None:
    """The key is marked, not its value."""
    diagnostic = only("kk: 1\n", {"properties": {"kkk": {}}, "additionalProperties": False})
    assert (diagnostic.code, diagnostic.message, diagnostic.label) == (
        "E101",
        "unknown key `kk`",
        "did you mean `kkk`?",
    )
    assert diagnostic.span is not None
    assert (diagnostic.span.column, diagnostic.span.end_column) == (1, 3)


def test_an_unknown_key_that_another_mapping_knows_is_sent_there() -> None:
    """A wrong level is the commonest mistake in YAML."""
    schema = {
        "properties": {"outer": {"properties": {"inner": {}}, "additionalProperties": False}},
        "additionalProperties": False,
    }
    assert only("inner: 1\n", schema).label == "it belongs under `outer`"


def test_keys_that_a_pattern_admits_are_known() -> None:
    """`x-` is what the schema says, not what the code says."""
    schema = {"properties": {}, "patternProperties": {"^x-": {}}, "additionalProperties": False}
    assert found("x-note: 1\n", schema) == []
    assert [each.code for each in found("k: {x-note: 1}\n", key({"additionalProperties": False}))] == ["E101"]


def test_a_missing_key_whose_misspelling_is_there_is_no_second_finding() -> None:
    """One mistake is one finding."""
    schema = {"properties": {"format": {}}, "required": ["format"], "additionalProperties": False}
    assert [each.code for each in found("fromat: 1\n", schema)] == ["E101"]


def test_every_missing_key_is_named_with_an_example() -> None:
    """jsonschema tells of them one by one."""
    schema = {"properties": {"a": {"examples": [1]}, "b": {"description": "What b is."}}, "required": ["a", "b"]}
    assert [(each.message, each.help) for each in found("x: 1\n", schema)] == [
        ("missing key `a`", "for example: `a: 1`"),
        ("missing key `b`", "`b`: What b is."),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "message", "label"),
    [
        ("k: 5\n", "string", "`k` is an integer, not a string", 'put it in quotes: `"5"`'),
        ("k: yes\n", "boolean", "`k` is a string, not a boolean", "write `true`"),
        ("k: 'true'\n", "boolean", "`k` is a string, not a boolean", "write it without quotes: `true`"),
        ("k: '5'\n", "integer", "`k` is a string, not an integer", "write it without quotes: `5`"),
        ("k: 1.5\n", "integer", "`k` is a number, not an integer", "expected an integer"),
        ("k: a\n", "array", "`k` is a string, not a list", 'write it as a list: `["a"]`'),
        ("k: [a]\n", "object", "`k` is a list, not a mapping", "expected a mapping"),
        ("k:\n", "object", "`k` is empty", "expected a mapping"),
        ("k: true\n", "string", "`k` is a boolean, not a string", 'put it in quotes: `"true"`'),
    ],
)
def test_a_wrong_type_is_named_with_the_right_writing(text: str, kind: str, message: str, label: str) -> None:
    """E103."""
    diagnostic = only(text, key({"type": kind}))
    assert (diagnostic.code, diagnostic.message, diagnostic.label) == ("E103", message, label)


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("k: ${KEY}\n", {"type": "string"}),
        ("k: '${KEY}'\n", {"type": "integer"}),
        ("k: ${KEY}\n", {"enum": ["a", "b"]}),
        ("k: '${KEY}'\n", {"const": "a"}),
        ("k: '${KEY}'\n", {"pattern": "^[a-z]$"}),
        ("k: ${KEY}\n", {"maximum": 5}),
        ("k: ['${KEY}']\n", {"enum": ["a"]}),
        ("k: {a: '${KEY}'}\n", {"type": "string"}),
        ("k: ['${KEY}']\n", {"maxItems": 0}),
    ],
)
def test_a_value_of_the_environment_is_never_quoted(text: str, schema: dict[str, Any]) -> None:
    """Only its reference is: E103, E104, E105."""
    diagnostic = only(text, key(schema), KEY="8675309")
    assert "8675309" not in repr(diagnostic)


def test_a_key_of_digits_is_to_be_put_in_quotes() -> None:
    """`${KEY}` alone is read as YAML reads the value: digits are a number."""
    assert only("k: ${KEY}\n", key({"type": "string"}), KEY="123").label == 'put it in quotes: `"${KEY}"`'


def test_unresolved_values_are_no_findings() -> None:
    """They were reported when the file was read."""
    assert found("k: '${NONE}'\n", key({"minLength": 1})) == []


CHOICE = {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"examples": [1]}, "b": {}}}


def test_none_of_a_choice_names_all() -> None:
    """E102, with an example of the first."""
    diagnostic = only("k: {c: 1}\n", key(CHOICE))
    assert (diagnostic.message, diagnostic.help) == ("missing key `a` or `b` in `k`", "for example: `a: 1`")


def test_two_of_a_choice_are_one_too_many() -> None:
    """E105, at the second."""
    diagnostic = only("k: {a: 1, b: 2}\n", key(CHOICE))
    assert (diagnostic.message, diagnostic.label) == ("`k` holds `a` and `b`", "keep one of them")
    assert diagnostic.span is not None
    assert diagnostic.span.column == 11


def test_keys_that_exclude_each_other_are_named() -> None:
    """E105, at the second."""
    diagnostic = only("k: {a: 1, b: 2}\n", key({"not": {"required": ["a", "b"]}}))
    assert diagnostic.message == "`k` cannot hold `a` and `b` together"


@pytest.mark.parametrize("value", ["1", "text", "[a]", "~"])
@pytest.mark.parametrize("rule", [CHOICE, {"not": {"required": ["a", "b"]}}])
def test_what_is_no_mapping_is_one_finding(value: str, rule: dict[str, Any]) -> None:
    """Rules on keys say nothing about it."""
    assert [each.code for each in found(f"k: {value}\n", key({"type": "object"} | rule))] == ["E103"]


UNION = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["when"]}]}},
        {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False},
    ]
}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("k: {m: 1}\n", "E101", "unknown key `m` in `k`"),
        ("k: {n: x}\n", "E103", "`k.n` is a string, not an integer"),
        ("k: [{text: a}]\n", "E102", "missing key `when` in `k[0]`"),
    ],
)
def test_of_alternatives_the_one_that_is_meant_is_explained(text: str, code: str, message: str) -> None:
    """The one of the value's type, however deep they nest."""
    diagnostic = only(text, key(UNION))
    assert (diagnostic.code, diagnostic.message) == (code, message)


@pytest.mark.parametrize(
    ("value", "schema", "message"),
    [
        ("0", {"exclusiveMinimum": 0}, "`k` is 0: it must be more than 0"),
        ("1", {"minimum": 2}, "`k` is 1, which is less than 2"),
        ("3", {"maximum": 2}, "`k` is 3, which is more than 2"),
        ("[]", {"minItems": 1}, "`k` is empty"),
        ("5 s", {"pattern": "^[0-9]s$"}, '`k` cannot be "5 s"'),
    ],
)
def test_other_rules_quote_the_value(value: str, schema: dict[str, Any], message: str) -> None:
    """E105, with what the schema says about the key."""
    diagnostic = only(f"k: {value}\n", key(schema | {"description": "What it is.", "examples": ["x"]}))
    assert (diagnostic.code, diagnostic.message) == ("E105", message)
    assert diagnostic.help == 'What it is.\nfor example: "x"'


def test_a_long_value_is_cut() -> None:
    """A message is a line."""
    assert len(only(f"k: {'x' * 5000}\n", key({"enum": ["a"]})).message) < 100
