"""Promises of `oaiproxy.scalars`: what a scalar's value is, in YAML 1.2 and with `${...}` replaced."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from support import marked, only_finding, read_yaml, sound_yaml

from oaiproxy.diagnostics import Diagnostic, Span
from oaiproxy.document import load_document
from oaiproxy.scalars import references


def value(text: str) -> Any:
    return sound_yaml(f"key: {text}\n").data["key"]


@pytest.mark.parametrize(
    "text", ["on", "off", "yes", "No", "y", "12:30", "2023-06-01", "2001-12-14t21:59:43Z", "1_000", "0b11", "tRUE", "="]
)
def test_words_that_only_yaml_1_1_knows_are_strings(text: str) -> None:
    """YAML 1.2's core schema has no other booleans, no dates, no base 60."""
    assert value(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("0755", 755),
        ("-12", -12),
        ("+3", 3),
        ("0o17", 15),
        ("0xFf", 255),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        (".INF", math.inf),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|-\n  1", "1"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ('!!int "1"', 1),
        ('!!float "1"', 1),
        ('!!null ""', None),
        ("!!map {}", {}),
        ("1.2.3", "1.2.3"),
        ("0x", "0x"),
        ("١", "١"),
        ("x" * 2000, "x" * 2000),
        ("1" * 2000, "1" * 2000),
    ],
)
def test_scalars_follow_the_core_schema(text: str, expected: object) -> None:
    """https://yaml.org/spec/1.2.2/#103-core-schema, and digits are ASCII."""
    result = value(text)
    assert (result, type(result)) == (expected, type(expected))


def test_nan_is_a_float() -> None:
    """`.nan` is the one number that does not equal itself."""
    assert math.isnan(value(".nan"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${PORT}", 8000),
        ("'${PORT}'", "8000"),
        ('"${PORT}"', "8000"),
        ("${PORT}/x", "8000/x"),
        ("${ON}", "on"),
        ("${TRUE}", True),
        ("${NONE:-9000}", 9000),
        ("${EMPTY:-~}", None),
        ("${EMPTY}", None),
        ("'${EMPTY}'", ""),
        ("${NONE:-}", None),
        ("${NONE:-a b}", "a b"),
        ("http://${HOST}:${PORT:-1}/", "http://h:8000/"),
        ("${TWICE}", "${PORT}"),
        ("$${PORT}", "${PORT}"),
        ("$$${PORT}", "$${PORT}"),
        ("$PORT $ 5$", "$PORT $ 5$"),
        ("!!str ${PORT}", "8000"),
        ('!!int "${PORT}"', 8000),
        ("|-\n  ${PORT}", "8000"),
        ("'{{ \"$\" }}{x}'", '{{ "$" }}{x}'),
    ],
)
def test_substitution(text: str, expected: object) -> None:
    """Whole unquoted references are read as YAML, others are text; what came in is not looked at again."""
    document = sound_yaml(f"key: {text}\n", PORT="8000", ON="on", TRUE="true", EMPTY="", HOST="h", TWICE="${PORT}")
    assert document.data["key"] == expected
    assert type(document.data["key"]) is type(expected)


def test_a_file_loses_one_final_line_break() -> None:
    """Secrets in files mostly end with one that is not meant."""
    files = {"/run/a": "k1\n", "/run/b": "k2\r\n", "/run/c": "k3\n\n"}
    document = sound_yaml("a: ${file:/run/a}\nb: '${file:/run/b}'\nc: '${file:/run/c}'\n", files)
    assert document.data == {"a": "k1", "b": "k2", "c": "k3\n"}
    assert document.secrets == {"k1", "k2", "k3\n"}


def test_secrets_are_all_that_came_in_but_defaults() -> None:
    """They are for redaction: the author's defaults and empty values are not secret."""
    document = sound_yaml("a: ${KEY}\nb: ${X:-public}\nc: '${PORT} ${EMPTY}'\n", KEY="sk-1", PORT="80", EMPTY="")
    assert document.secrets == {"sk-1", "80"}
    assert "sk-1" not in repr(document)


def test_keys_and_comments_are_not_substituted() -> None:
    """Operator's values are values."""
    assert sound_yaml("# ${NONE}\n${NONE}: 1\n").data == {"${NONE}": 1}


def test_an_unset_variable_is_marked_and_left_unresolved() -> None:
    """The document goes on to later stages, with the place known."""
    document, found = read_yaml("a:\n  - 'x ${YUOR_KEY} y'\nb: 1\n", YOUR_KEY="hush", OTHER="")
    assert document is not None
    assert document.data == {"a": [""], "b": 1}
    assert document.unresolved == {("a", 0)}
    assert document.inner(("a", 0), 3, 2) == document.span(("a", 0))
    assert found == [
        Diagnostic(
            "E601",
            "the environment variable `YUOR_KEY` is not set",
            Span("m.yaml", 2, 8, 2, 19),
            "did you mean `YOUR_KEY`?",
            "`export YUOR_KEY=...`, or give a default: `${YUOR_KEY:-...}`",
        )
    ]


def test_all_unset_variables_are_reported_and_an_alias_once() -> None:
    """One run tells everything, and nothing twice."""
    document, found = read_yaml("a: &a ${ONE}\nb: *a\nc: '${TWO} ${THREE}'\n")
    assert document is not None
    assert [each.message.split("`")[1] for each in found] == ["ONE", "TWO", "THREE"]
    assert document.unresolved == {("a",), ("b",), ("c",)}


def test_an_unreadable_file_is_named_with_the_reason() -> None:
    """E602 says why, in the system's words."""
    found = only_finding("a: ${file:/run/none}\n")
    assert (found.code, found.message) == ("E602", "the file `/run/none` cannot be read: no such file or directory")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnicodeDecodeError("utf-8", b"hush\xff", 4, 5, "invalid start byte"), "it is not UTF-8 text"),
        (ValueError("embedded null byte"), "the path is not valid"),
        (OSError(), "input/output error"),
    ],
)
def test_a_file_that_fails_otherwise_gives_no_content_away(error: Exception, reason: str) -> None:
    """Whatever the reader raises, the content is not in the message."""

    def read_file(path: str) -> str:
        raise error

    _, found = load_document("a: ${file:/k}\n", file="m.yaml", environment={}, read_file=read_file)
    assert [each.message for each in found] == [f"the file `/k` cannot be read: {reason}"]


@pytest.mark.parametrize(
    ("text", "stretch"),
    [
        ("${PORT", "${"),
        ("${}", "${}"),
        ("${A B}", "${A B}"),
        ("${1A}", "${1A}"),
        ("${A:-${B}}", "${"),
        ("${A:-{x}}", "${"),
        ("${file:}", "${file:}"),
        ("${file:/x:-y}", "${file:/x:-y}"),
        ("${É}", "${É}"),
    ],
)
def test_a_malformed_reference_is_refused(text: str, stretch: str) -> None:
    """E006 marks it; the value is unresolved."""
    source = f"a: 'x {text}'\n"
    document, (found, *_) = read_yaml(source)
    assert found.code == "E006"
    assert found.span is not None
    assert marked(source, found.span) == stretch
    assert document is not None
    assert document.unresolved == {("a",)}


@pytest.mark.parametrize("operator", ["-", ":=", "="])
def test_a_shells_other_operators_are_corrected(operator: str) -> None:
    """E006 shows the default as it is written here."""
    assert only_finding(f"a: '${{A{operator}b}}'\n").label == "did you mean `${A:-b}`?"


@pytest.mark.parametrize("mark", ["{{", "{%", "{#"])
@pytest.mark.parametrize("text", ["${V}", "'x ${V} y'", "|\n  ${V}\n"])
def test_a_value_that_brings_in_a_template_is_refused(mark: str, text: str) -> None:
    """E007 names the variable, never the value."""
    document, (found,) = read_yaml(f"a: {text}\n", V=f"hush {mark} x")
    assert (found.code, found.message) == (
        "E007",
        f"the value of `${{V}}` contains `{mark}`, which would be read as a template",
    )
    assert "hush" not in repr(found)
    assert document is not None
    assert document.data == {"a": ""}
    assert document.unresolved == {("a",)}


def test_a_value_that_completes_a_template_mark_is_refused() -> None:
    """The mark may lie across the border."""
    assert only_finding("a: '{${V} x'\n", V="{y").code == "E007"
    assert only_finding("a: 'x ${V}% x'\n", V="{").code == "E007"


def test_templates_beside_substituted_values_are_fine() -> None:
    """The author's own templates are what the language is for."""
    assert sound_yaml("a: '{{ x }}${V}{{ y }}'\n", V="/").data == {"a": "{{ x }}/{{ y }}"}


TEMPLATED = {
    "gpt://${A}/{{ model }}": True,
    "{{ model }}${A}{{ model }}": True,
    "{% if x %}${A}{% endif %}": True,
    "{{ '}}' }}${A}": True,
    "{{ ${A} }}": False,
    "{{ x }}{{ '${A}' }}": False,
    "{{ '}}' ~ ${A} }}": False,
    "{{ {'a': {'b': 1}} ~ ${A} }}": False,
    "{{ ${A}}}": False,
    "{{ ${A:-1} }}": False,
    "{{ ${file:a} }}": False,
    "{% if ${A} %}{% endif %}": False,
    "{%- set x = ${A} -%}": False,
    "{# ${A} #}": False,
    "{{ ${A": True,
    "{{ $${A} }}": True,
}


@pytest.mark.parametrize("text", TEMPLATED)
def test_the_environment_writes_no_code(text: str) -> None:
    """Whatever a variable holds, what a template does is what its author wrote."""
    document, found = load_document(
        json.dumps({"a": text}), file="m.yaml", environment={"A": "1"}, read_file=lambda path: "1"
    )
    assert document is not None
    assert ("E007" not in [one.code for one in found]) is TEMPLATED[text]
    assert not found or "vars.name" in found[0].help or "E006" in [one.code for one in found]


@pytest.mark.parametrize("key", ["$if", "$for", "$match"])
def test_the_environment_writes_no_condition(key: str) -> None:
    """The operands of directives are code without braces; the node goes, and nothing else is said of it."""
    text = f'a: [{{"{key}": "x ${{A}}", "$then": 1}}]\nb: {{"{key}": "x"}}'
    document, found = load_document(text, file="m.yaml", environment={"A": "1"}, read_file=str)
    assert document is not None
    assert [one.code for one in found] == ["E007"]
    assert document.unresolved == {("a",)}


def test_references_are_told_by_their_names() -> None:
    """Each time they stand in a text; what is no reference, or an escaped one, is passed over."""
    found = list(references("${A}/${B:-x}${file:/run/key}$${C} ${D-1} ${E:-}"))
    assert [(each.name, each.default, each.file) for each in found] == [
        ("A", None, ""),
        ("B", "x", ""),
        ("", None, "/run/key"),
        ("E", "", ""),
    ]
    assert found[1].text == "${B:-x}"
