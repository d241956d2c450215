"""Promises of `oaiproxy.template_errors`: what is told of a broken template mends it."""

from __future__ import annotations

import pytest
from jinja2 import TemplateSyntaxError

from oaiproxy.analysis import Finding
from oaiproxy.sandbox import Sandbox
from oaiproxy.template_errors import explain


def explained(text: str) -> Finding:
    with pytest.raises(TemplateSyntaxError) as caught:
        Sandbox().tree(text)
    return explain(text, caught.value)


@pytest.mark.parametrize(
    ("text", "marked", "message", "label"),
    [
        ("{{ a", "a", "`{{` is never closed", "close it with `}}`"),
        ("{{ a %}", "%}", "`{{` is not closed by `}}`", "write `}}`"),
        ("{{ a -%}", "-%}", "`{{` is not closed by `}}`", "write `}}`"),
        ("{{ a }", "}", "`{{` is not closed by `}}`", "write `}}`"),
        ("{{ b }}{{ a %}{% endif %}", "%}", "`{{` is not closed by `}}`", "write `}}`"),
        ("{% if a }}b{% endif %}", "}}", "`{%` is not closed by `%}`", "write `%}`"),
        ("{% for a in b }{{ a }}{% endfor %}", "}", "`{%` is not closed by `%}`", "write `%}`"),
        ("{{{ a }}}", "{", "`{{{` opens an object in an expression", "write two braces: `{{ name }}`"),
        ("if a %}b{% endif %}", "%}", "`%}` closes nothing", "open it with `{%`"),
        ("{{ a }} if b -%}c{% else %}", "-%}", "`%}` closes nothing", "open it with `{%`"),
        ("{50%} of {{ a | }}", "}}", "a filter's name is missing", "write it behind `|`, or leave that out"),
        ("{% if a %}b{% elseif c %}d{% endif %}", "elseif", "unknown tag `elseif`", "write `elif`"),
        ("{% if a %}b{% elsif c %}d{% endif %}", "elsif", "unknown tag `elsif`", "write `elif`"),
        ("{% if a %}b{% else if c %}d{% endif %}", "else", "`else` takes no condition", "write `elif`"),
        ("{% if a %}b{% end %}", "end", "`{% if %}` is not closed by `end`", "write `{% endif %}`"),
        ("{% if a %}b{% end if %}", "end", "`{% if %}` is not closed by `end`", "write `{% endif %}`"),
        ("{% for a in b %}{% endif %}", "endif", "`{% for %}` is not closed by `endif`", "write `{% endfor %}`"),
        ("{% if a %}", "%}", "`{% if %}` is never closed", "add `{% endif %}`"),
        ("{% endif %}", "endif", "no tag is open that `endif` belongs to", "leave it out, or open its tag before it"),
        ("{% else %}", "else", "no tag is open that `else` belongs to", "leave it out, or open its tag before it"),
        ("{% prompt %}", "prompt", "unknown tag `prompt`", "the tags are `if`, `for` and `set`"),
        ("{% if a %}{% prompt %}{% endif %}", "prompt", "unknown tag `prompt`", "the tags are `if`, `for` and `set`"),
        ("{% if a = 1 %}b{% endif %}", "=", "`=` compares nothing", "write `==`"),
        ("{{ a = 1 }}", "=", "`=` compares nothing", "write `==`"),
        ("{{ a === 1 }}", "=", "`=` compares nothing", "write `==`"),
        ("{{ a AND b }}", "AND", "`AND` is no operator", "write `and`"),
        ("{% if a Or b %}c{% endif %}", "Or", "`Or` is no operator", "write `or`"),
        ("{{ NOT a }}", "NOT", "`NOT` is no operator", "write `not`"),
        ("{{ a == `7` }}", "`", "back-ticks are for selectors, not for templates", "write `7` without back-ticks"),
        ("{{ a == ` }}", "`", "back-ticks are for selectors, not for templates", "leave it out"),
        ("{{ 'a }}", "'", "a text is not closed", "write `'` behind it"),
        ("{{ a b }}", "b", "`b` stands behind a whole value", "`~` joins text"),
        ("{{ a |", "|", "the text ends inside of a tag", "close what is open"),
        ("{{", "{", "the text ends inside of a tag", "close what is open"),
        ("a {#b", "b", "`{#` begins a comment that is never closed", "close it with `#}`, or write `{{ '{#' }}`"),
        ("{{ }}", "}}", "a value is missing", "write what the tag is about"),
        ("{{ (a }}", "}}", "`)` is missing", "write `)` before it"),
        ("{% = %}", "=", "tag name expected", ""),
    ],
)
def test_a_broken_template_has_its_fix(text: str, marked: str, message: str, label: str) -> None:
    """Where it is broken, in which way, and what to write."""
    found = explained(text)
    assert text[found.offset : found.offset + found.length] == marked
    assert (found.code, found.message, found.label) == ("E201", f"template syntax: {message}", label)
