"""Promises of `oaiproxy.templates`: the leaf rule, and failures that know their place."""

from __future__ import annotations

from typing import Any

import pytest
from rendering import ANY, compiled, evaluate, found, marked, only, render, scope, sourced

from oaiproxy.sandbox import Sandbox, as_text
from oaiproxy.scopes import Absent, AbsentError, RenderError
from oaiproxy.templates import Compilation, compile_leaf, has_template

HOSTILE = [
    "42",
    "[1,2]",
    "None",
    "{{7*7}}",
    "true",
    "null",
    "{% for %}",
    '"}],"x":[{',
    "\u2028",
    "a\nb",
    "${HOME}",
    "",
    " x ",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "template",
    [
        "'{{ prompt }}'",
        '"{{prompt}}"',
        "|\n  {{ prompt }}\n",
        "'{{ prompt | string }}'",
        "'{{ prompt if true }}'",
        "'{{- prompt -}}'",
    ],
)
def test_a_users_text_arrives_as_it_was_sent(template: str, text: str) -> None:
    """It is never parsed again, as YAML, as Python or as a template."""
    assert render(template, prompt=text) == text


@pytest.mark.parametrize("value", [1, 1.5, True, None, [1, [2]], {"a": {"b": 1}}, 10**30, []])
@pytest.mark.parametrize("template", ["'{{ v }}'", "'{{ x.v }}'", "'{{ v if true }}'", "|+\n  {{ v }}\n\n"])
def test_one_expression_gives_its_native_value(template: str, value: Any) -> None:
    """With its type; also in a block scalar, whose last line break is not text."""
    result = render(template, v=value, x={"v": value})
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("'{{ n }}{{ n }}'", "11"),
        ("' {{ n }}'", " 1"),
        ("'{{ n }} '", "1 "),
        ("'{% if n %}{{ n }}{% endif %}'", "1"),
        ("|\n  {{ n }}{{ n }}\n", "11\n"),
        ("|\n  {{ n }}\n  {{ n }}\n", "1\n1\n"),
        ("'{{ n }}: {{ true }} {{ none }} {{ [1, \"a\"] }}'", '1: true null [1,"a"]'),
        ("'{# a comment #}{{ n }}{{ n }}'", "11"),
        ("'{# a comment #}'", ""),
        ("'a{# a comment #}b'", "ab"),
    ],
)
def test_all_else_is_text(template: str, expected: str) -> None:
    """Values in it are written as in JSON."""
    assert render(template, n=1) == expected


@pytest.mark.parametrize("text", ["plain", "a { b", "#}", "}} %}", "{ {", "{ #", "{"])
def test_what_holds_no_template_is_literal(text: str) -> None:
    """Neither `{{` nor `{%` nor `{#`."""
    assert not has_template(text)
    assert render("'" + text + "'") == text


@pytest.mark.parametrize("text", ["5", "true", "~", "1.5", '"5"'])
def test_literals_keep_their_type(text: str) -> None:
    """YAML's."""
    expected = {"5": 5, "true": True, "~": None, "1.5": 1.5, '"5"': "5"}[text]
    result = render(text)
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    "template",
    [
        "a {{ user }}",
        "{{ user }}{{ user }}",
        "a{{ user.x.y }}",
        "a{{ user + 1 }}",
        "a{{ user ~ 'b' }}",
        "a{{ user | upper }}",
        "a{% set x = user %}{{ x }}",
        "a{{ user[1:] }}",
        "a{{ -user }}",
    ],
)
def test_no_text_is_made_of_what_was_not_sent(template: str) -> None:
    """The error says which name it was, and where."""
    with pytest.raises(AbsentError) as error:
        render(f'"{template}"')
    assert error.value.name == "user" or "set" in template
    assert error.value.source.path == ("key",)


@pytest.mark.parametrize(
    "template", ["{{ x if no }}", "{{ gone }}", "{{ gone.a }}", "{{ gone + 1 }}", "{{ x if gone }}"]
)
def test_absent_leaves(template: str) -> None:
    """They drop their key or item."""
    assert isinstance(render(f"'{template}'", x=1, no=False), Absent)


def test_none_is_null() -> None:
    """It is a value, and is sent."""
    assert evaluate("none") is None
    assert evaluate("x if no else none", x=1, no=0) is None


def test_a_sandbox_of_its_own_makes_text() -> None:
    """Paths are text whatever stands in them, and their pieces are quoted."""
    sandbox = Sandbox(finalize=lambda value: f"<{as_text(value)}>")
    leaf = compile_leaf(sourced("key: '{{ n }}'"), Compilation(ANY), {}, sandbox)
    assert (leaf.native, leaf.evaluate(scope(n=5))) == (False, "<5>")
    leaf = compile_leaf(sourced("key: '/a/{{ n }}/{% if n %}b{% endif %}'"), Compilation(ANY), {}, sandbox)
    assert leaf.evaluate(scope(n=5)) == "/a/<5>/b"


def test_templates_of_a_request_share_no_variables() -> None:
    """`{% set %}` ends with its leaf."""
    tree = compiled("key: ['{% set prompt = 1 %}{{ prompt }}', '{{ prompt ~ 2 }}', '{{ prompt }}']")
    assert tree(scope(prompt="p")) == ["1", "p2", "p"]


def test_a_failure_does_not_spoil_the_next_request() -> None:
    """Compiled templates keep no state."""
    tree = compiled("key: '{{ [1, n + 1] }}'")
    with pytest.raises(RenderError):
        tree(scope(n="x"))
    assert tree(scope(n=1)) == [1, 2]


def test_a_large_text_passes() -> None:
    """Requests are up to 32 MiB."""
    text = "x" * (32 * 1024 * 1024)
    assert render("'{{ prompt }}'", prompt=text) == text
    assert len(render("'a{{ prompt | trim }}'", prompt=text)) == len(text) + 1


def test_deep_data_is_a_render_error() -> None:
    """Not a RecursionError."""
    value: Any = "x"
    for _ in range(5000):
        value = [value]
    for expression in ("v | json", "v | strip_keys('a')", "v ~ 'a'", "[v] | unique"):
        with pytest.raises(RenderError):
            evaluate(expression, v=value)


@pytest.mark.parametrize(
    ("template", "message", "label"),
    [
        ("{{ user", "`{{` is never closed", "close it with `}}`"),
        ("{% for m in messages %}", "`{% for %}` is never closed", "add `{% endfor %}`"),
        ("{{ user b }}", "`b` stands behind a whole value", "`~` joins text"),
    ],
)
def test_syntax_errors_speak_plainly(template: str, message: str, label: str) -> None:
    """Not in Jinja's terms."""
    finding = only(f"key: '{template}'")
    assert (finding.code, finding.message, finding.label) == ("E201", f"template syntax: {message}", label)


def test_a_syntax_error_in_a_block_has_its_line() -> None:
    """And its column."""
    text = "key: |\n  one\n  two {{ user }}\n  three {{ user % }}\n"
    finding = only(text)
    assert finding.span is not None
    assert (finding.span.line, marked(text, finding.span)) == (4, "}}")


def test_what_is_wrong_does_not_render() -> None:
    """The compiler goes on, so that all findings come at once."""
    compilation = Compilation({})
    leaf = compile_leaf(sourced("key: '{{ x }}'"), compilation, {})
    assert isinstance(leaf.evaluate(scope(x=1)), Absent)
    assert len(compilation.findings) == 1


def test_findings_are_none_for_a_right_mapping() -> None:
    """Of course."""
    assert found("key: {a: '{{ prompt }}', b: ['{{ temperature | default(1) }}']}") == []
