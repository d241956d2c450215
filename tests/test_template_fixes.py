"""Promises of `oaiproxy.template_fixes`: what is written instead does the same, and is no function again."""

from __future__ import annotations

import pytest
from jinja2 import nodes

from oaiproxy.sandbox import Sandbox
from oaiproxy.template_fixes import instead_of_function, instead_of_method

SANDBOX = Sandbox()


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        ("length(messages)", "write `messages | length`"),
        ("len(a.b)", "write `a.b | length`"),
        ("len(a[1:])", "write `... | length`"),
        ("len()", "write `value | length`"),
        ("join(stop, ', ')", "write `stop | join(...)`"),
        ("contains(error.message, 'long')", "write `'long' in error.message`"),
        ("ranges(3)", "did you mean `range`?"),
        ("qqq(3)", ""),
    ],
)
def test_a_function_has_a_filter_in_its_place(call: str, fix: str) -> None:
    """With what it is called on, where that is short."""
    (found,) = SANDBOX.tree("{{ " + call + " }}").find_all(nodes.Call)
    assert isinstance(found.node, nodes.Name)
    assert instead_of_function(found.node.name, found.args, SANDBOX.filters, SANDBOX.globals) == fix


@pytest.mark.parametrize(
    ("name", "fix"),
    [("strip", "write `| trim`"), ("length", "write `| length`"), ("includes", "write `part in text`"), ("qqq", "")],
)
def test_a_method_has_a_filter_in_its_place(name: str, fix: str) -> None:
    """Those of Python and of others."""
    assert instead_of_method(name, SANDBOX.filters) == fix
