"""Promises of `oaiproxy.lowering`: which expressions run as closures, and that generated code is the sandbox's."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import nodes
from rendering import scope

from oaiproxy.lowering import closure_of, evaluation_of, generate, text_in
from oaiproxy.sandbox import Sandbox

SANDBOX = Sandbox()


def parsed(expression: str) -> nodes.Expr:
    template = SANDBOX.tree("{{ " + expression + " }}")
    output = template.body[0]
    assert isinstance(output, nodes.Output)
    return output.nodes[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("5", 5),
        ("'a'", "a"),
        ("x", {"a": [1, {"b": 2}]}),
        ("x.a", [1, {"b": 2}]),
        ("x['a'][1].b", 2),
        ("x.a[0] | string | upper", "1"),
        ("y | default(x.a[0])", 1),
        ("x.a[0] | clamp(5, 9)", 5),
    ],
)
def test_simple_expressions_are_closures(expression: str, expected: Any) -> None:
    """They are what most leaves are."""
    closure = closure_of(parsed(expression), SANDBOX)
    assert closure is not None
    assert closure(scope(x={"a": [1, {"b": 2}]})) == expected


@pytest.mark.parametrize(
    "expression", ["1 + 1", "x if y", "[x]", "x | join(separator=1)", "range(3)", "x[y]", "x is none"]
)
def test_other_expressions_are_generated(expression: str) -> None:
    """The fast lane stays small enough to be seen to be right."""
    assert closure_of(parsed(expression), SANDBOX) is None


def test_generated_code_leaves_its_result() -> None:
    """Through a variable that no template can mistake for its own."""
    root = generate([nodes.Assign(nodes.Name("result", "store"), parsed("result + 1"))], SANDBOX)
    assert evaluation_of(root, SANDBOX)(scope(result=1)) == 2


def test_text_between_tags_is_counted() -> None:
    """At every depth: it is what a turn of a loop writes at least."""
    assert text_in(SANDBOX.tree("ab{{ x }}c{% for y in z %}de{% endfor %}").body) == 5
