"""Promises of `oaiproxy.syntax`: broken YAML is explained where it is broken, with what to change."""

from __future__ import annotations

import pytest
from support import marked, only_finding, read_yaml

BROKEN = {
    "tab": ("a:\n\tb: 1\n", "a tab stands in the indentation", "\t"),
    "no space after colon": ("a: 1\nb:2\n", "a space is missing after `b:`", ":"),
    "no space after colon, more keys below": ("a:1\nb: 2\n", "a space is missing after `a:`", ":"),
    "colon in value": ("a: b: c\n", "a second `: ` stands in text outside quotes", ":"),
    "too deep": ("a: 1\n  b: 2\n", "`b` is indented too deep", "b"),
    "not deep enough": ("  a: 1\nb: 2\n", "the indentation of `b:` fits nothing above", "b:"),
    "list item out of line": ("a:\n  - b\n - c\n", "the indentation of `-` fits nothing above", "-"),
    "single quote open": ("a: 'x\nb: y\n", "the quote `'` is never closed", "'"),
    "double quote open": ('a: "x\nb: y\n', 'the quote `"` is never closed', '"'),
    "apostrophe": ("a: 'it's'\n", "unexpected `s'` after the closing quote", "s'"),
    "escape": ('a: "\\q"\n', "`\\q` is not an escape of YAML", "\\q"),
    "bracket open": ("a: [1, 2\nb: 3\n", "the `[` is never closed", "["),
    "brace open": ("a: {b: 1\nc: d\n", "the `{` is never closed", "{"),
    "wrong bracket": ("a: [1, 2}\n", "expected `,` or `]`, found `}`", "}"),
    "reference in flow": ("a: {b: ${KEY}}\n", "`${KEY}` must be in quotes inside `[...]` and `{...}`", "${KEY}"),
    "at sign": ("a: @x\n", "text outside quotes cannot start with `@`", "@"),
    "backtick": ("a: `x`\n", "text outside quotes cannot start with a backtick", "`"),
    "asterisk": ("a:\n  *: stop\n", "text outside quotes cannot start with `*`", "*"),
    "neither": ("a: 1\nplain\nb: 1\n", "`plain` is neither a key nor part of a value", "plain"),
    "block text": ("a: | x\n  y\n", "unexpected `x` after `|`", "x"),
    "list on key line": ("a: - b\n", "`-` cannot start here", "-"),
    "template": ("a: {{ x }}\n", "`{{` outside quotes is read as YAML, not as a template", "{{ x }}"),
    "template with filter": (
        "a: {{ x | y(1) }}\n",
        "`{{` outside quotes is read as YAML, not as a template",
        "{{ x | y(1) }}",
    ),
    "template with dict": (
        'a: {{ {"b": 1} }}\n',
        "`{{` outside quotes is read as YAML, not as a template",
        '{{ {"b": 1} }}',
    ),
    "template and text": ("a: {{ x }} y\n", "`{{` outside quotes is read as YAML, not as a template", "{{ x }}"),
    "template statement": ("a: {% if x %}\n", "`{%` outside quotes is read as YAML, not as a template", "{% if x %}"),
    "template comment": ("a: {# x #}\n", "`{#` outside quotes is read as YAML, not as a template", "{# x #}"),
    "template and colon": ("a: hi {{ x }}: b\n", "`{{` outside quotes is read as YAML, not as a template", "{{ x }}"),
    "template in flow": ("a: {b: {{ x }}}\n", "`{{` outside quotes is read as YAML, not as a template", "{{ x }}"),
    "control character": ("a: x\x00y\n", "the character U+0000 is not allowed in YAML", "\x00"),
    "lone surrogate": ("a: \ud800\n", "the character U+D800 is not allowed in YAML", "\ud800"),
    "exclamation mark": ("a: !${URL}\n", "text outside quotes cannot start with `!`", "!"),
    "ampersand": ("a: & b\n", "text outside quotes cannot start with `&`", "&"),
    "undefined tag handle": ("a: !e!x b\n", "not valid YAML: found undefined tag handle `!e!`", "!e!x"),
    "escape beyond Unicode": ('a: "\\U00110000"\n', "not valid YAML", None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_yaml_is_explained_where_it_is_broken(name: str) -> None:
    """E001 says what to change, at the place to change."""
    text, message, stretch = BROKEN[name]
    document, (found, *others) = read_yaml(text)
    assert document is None
    assert others == []
    assert (found.code, found.message) == ("E001", message)
    assert found.span is not None
    if stretch is not None:
        assert marked(text, found.span) == stretch


def test_every_unquoted_template_is_found_in_one_run() -> None:
    """They are read as mappings, so reading goes on."""
    _, found = read_yaml("a: {{ x }}\nb: '{{ fine }}'\nc:\n  - {{ y }}\n")
    assert [(each.code, each.span.line) for each in found if each.span] == [("E001", 1), ("E001", 4)]
    assert [each.help for each in found] == ['put it in quotes: "{{ x }}"', 'put it in quotes: "{{ y }}"']


def test_a_template_with_double_quotes_is_to_be_put_in_single_ones() -> None:
    """The fix offered is itself valid."""
    assert only_finding('a: {{ x["y"] }}\n').help == "put it in quotes: '{{ x[\"y\"] }}'"
