# ruff: noqa: E501, SIM905 - tables of pieces
"""Templates compile or are refused whatever they are, and both lanes of evaluation agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from jinja2 import nodes
from rendering import ANY, Values, sourced

from oaiproxy import jsontext
from oaiproxy.canonical import SHAPES
from oaiproxy.lowering import closure_of, evaluation_of, generate
from oaiproxy.sandbox import Sandbox
from oaiproxy.scopes import Absent, RenderError, Scope
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import compile_tree

SANDBOX = Sandbox()
PLACE = sourced("key: x")

PIECES = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{-",
    "-}}",
    "{%-",
    "-%}",
    "'",
    '"',
    "\\",
    "|",
    ".",
    ",",
    ":",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "~",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "==",
    "!=",
    "<",
    ">",
    "=",
    "if",
    "else",
    "elif",
    "endif",
    "for",
    "in",
    "endfor",
    "set",
    "endset",
    "is",
    "not",
    "and",
    "or",
    "none",
    "true",
    "false",
    "loop",
    "self",
    "x",
    "xs",
    "prompt",
    "messages",
    "range",
    "namespace",
    "(",
    ")",
    "default",
    "upper",
    "map",
    "select",
    "join",
    "1",
    "2.5",
    "1e9",
    "0x1f",
    "1_0",
    "macro",
    "endmacro",
    "call",
    "filter",
    "endfilter",
    "with",
    "endwith",
    "raw",
    "endraw",
    "include",
    "import",
    "block",
    "break",
    "continue",
    "recursive",
    "autoescape",
    "do",
    "é",
    "\r",
    "\n",
    "\u2028",
    "\x00",
    "�",
    "$",
    "#",
    "@",
    "`",
]
templates = st.one_of(
    st.text(),
    st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda inner: "{{ " + " ".join(inner) + " }}"),
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda inner: "{% " + " ".join(inner) + " %}"),
)

scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.text("ab1 é{}", max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(("a", "b", "items")), inner, max_size=3)
    ),
    max_leaves=8,
)
scopes = st.fixed_dictionaries({}, optional=dict.fromkeys(("x", "y", "xs"), values))


def tree_of(value: Any, shapes: Any) -> tuple[Any, Compilation]:
    compilation = Compilation(shapes, SANDBOX)
    return compile_tree(Source(PLACE.document, PLACE.path, value), compilation), compilation


@given(templates, scopes)
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=2000)
@example("{{ 1e999 }}", {})
@example("{{ '\\ud800' }}", {})
@example('{{ "\\N{x}" }}', {})
@example("{{ " + "9" * 5000 + " }}", {})
@example("{% for x in xs %}{% for y in x %}{% endfor %}{% endfor %}", {"xs": ["ab"]})
@example("a{{ x }}", {"x": float("nan")})
def test_any_text_is_a_template_or_a_finding(text: str, names: dict[str, Any]) -> None:
    """No exception at compile time for any string, and none but ours at the request."""
    for shapes in (SHAPES, ANY):
        tree, compilation = tree_of(text, shapes)
        if compilation.findings:
            assert all(found.span is not None for found in compilation.findings)
            continue
        try:
            value = tree(Scope(Values(names)))
        except RenderError:
            continue
        if not isinstance(value, Absent):
            jsontext.dump(value)


@given(templates)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=2000)
@pytest.mark.parametrize("shape", ["if", "for", "match"])
def test_any_text_is_an_operand_or_a_finding(shape: str, text: str) -> None:
    """The operands of directives too."""
    value: Any = {
        "if": {"$if": text, "a": 1},
        "for": [{"$for": text, "a": 1}],
        "match": {"$match": text, "$cases": {"a": 1}},
    }[shape]
    tree, compilation = tree_of(value, ANY)
    if not compilation.findings:
        try:
            tree(Scope(Values({})))
        except RenderError:
            return


names = st.sampled_from(("x", "y", "xs", "gone"))
constants = st.sampled_from(("1", "2.5", "'a'", "''", "true", "false", "none", "0", "7"))
paths = st.builds(
    lambda name, steps: name + "".join(steps),
    names,
    st.lists(st.sampled_from((".a", ".items", "['b']", "[0]", "['é']")), max_size=3),
)
filters = st.sampled_from(
    "default(1);default(x);upper;string;length;first;last;json;int;float;round;trim;clamp(0, 1);clamp(x, 2);join;join(y);"
    "unique;map('string');select;b64;replace('a', x);merge(x);split('a');parse_json;map_to(x);strip_keys('a');urlencode;"
    "jmes('a');sha256".split(";")
)
expressions = st.builds(
    lambda subject, applied: " | ".join([subject, *applied]), st.one_of(paths, constants), st.lists(filters, max_size=3)
)


def outcome(evaluate: Any, names_: dict[str, Any]) -> Any:
    try:
        value = evaluate(Scope(Values(names_)))
    except Exception as error:  # which ones escape is another property
        return type(error), str(error)
    return "absent" if isinstance(value, Absent) else (type(value), jsontext.dump(value))


@given(expressions, scopes)
@settings(max_examples=1500, deadline=None)
def test_closures_and_generated_code_agree(expression: str, given_names: dict[str, Any]) -> None:
    """A leaf means the same, whichever way it runs."""
    template = SANDBOX.tree("{{ " + expression + " }}")
    output = template.body[0]
    assert isinstance(output, nodes.Output)
    closure = closure_of(output.nodes[0], SANDBOX)
    assume(closure is not None)
    assignment = nodes.Assign(nodes.Name("result", "store"), output.nodes[0])
    generated = evaluation_of(generate([assignment], SANDBOX), SANDBOX)
    assert outcome(closure, given_names) == outcome(generated, given_names)


@given(scopes, st.sampled_from(("+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "not in", "and", "or")))
@settings(max_examples=800, deadline=None)
def test_operators_give_data_or_our_error(given_names: dict[str, Any], operator: str) -> None:
    """Whatever they are given."""
    tree, compilation = tree_of("{{ x " + operator + " y }}", ANY)
    assert compilation.findings == []
    try:
        value = tree(Scope(Values(given_names)))
    except RenderError:
        return
    if not isinstance(value, Absent):
        jsontext.dump(value)


trees = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text("ab{ }%", max_size=4),
        st.just("{{ x }}"),
        st.just("{{ gone }}"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(("a", "b", "$$c", "$if", "$value", "$merge", "$let", "$then", "$nope")), inner, max_size=3
        ),
    ),
    max_leaves=12,
)


@given(trees, scopes)
@settings(max_examples=500, deadline=None)
def test_any_tree_renders_or_is_a_finding(value: Any, given_names: dict[str, Any]) -> None:
    """Directives in any company."""
    tree, compilation = tree_of(value, ANY)
    if compilation.findings:
        return
    try:
        rendered = tree(Scope(Values(given_names)))
    except RenderError:
        return
    assert isinstance(rendered, Absent) or jsontext.dump(rendered)
