"""Promises of `oaiproxy.directives`: what is surely meant is told, and plain keys stay plain."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from oaiproxy.directives import instead_of, meant_by
from oaiproxy.sandbox import Sandbox


def meant(text: str, *known: str) -> dict[str, str]:
    """The directives that the keys of a node are meant for."""
    node: dict[str, Any] = yaml.safe_load(text)
    found = {key: meant_by(key, node, known, Sandbox()) for key in node if not key.startswith("$")}
    return {key: directive for key, directive in found.items() if directive}


@pytest.mark.parametrize(
    ("node", "directives"),
    [
        ("{for: m in messages, text: '{{ m.text }}'}", {"for": "$for"}),
        ("{form: m in messages, text: ['{% if m.text %}a{% endif %}']}", {"form": "$for"}),
        ("{lets: {a: 1}, text: {inner: '{{ a }}'}}", {"lets": "$let"}),
        ("{let: {a: 1}, text: \"{{ b | map(attribute='c') | join(a) }}\"}", {"let": "$let"}),
        ("{$if: n, then: 1, else: 2}", {"then": "$then", "else": "$else"}),
        ("{$if: n, then: 1}", {"then": "$then"}),
        ("{$if: n, $then: 1, else: 2}", {"else": "$else"}),
    ],
)
def test_a_key_that_is_meant_for_a_directive_is_told(node: str, directives: dict[str, str]) -> None:
    """What it would do is used beside it."""
    assert meant(node) == directives


@pytest.mark.parametrize(
    "node",
    [
        "{left: {pad: 3}, text: \"{% set pad = ' ' %}{{ prompt }}{{ pad }}\"}",
        "{left: {m: 5}, text: '{% for m in messages %}{{ m.text }}{% endfor %}'}",
        "{form: m in conversation, text: '{% for m in messages %}{{ m.text }}{% endfor %}'}",
        "{let: {m: 5}, text: '{% macro say(m) %}{{ m }}{% endmacro %}{{ say(prompt) }}'}",
        "{let: {m: 5}, turns: [{$for: m in messages, text: '{{ m.text }}'}]}",
        "{let: {m: 5}, turns: {$let: {m: 1}, text: '{{ m }}'}}",
        "{let: {m: 5}, text: '{{ x.m }}', word: \"{{ 'm' }}\"}",
        "{let: {m: 5}, text: '{{ m'}",
        "{let: {m: 5}, text: m}",
        "{outlet: {m: 5}, text: '{{ m }}'}",
        "{if: n, then: 1, else: 2}",
        "{$if: n, then: 1, type: object}",
        "{$if: n, else: 1}",
        "{$if: n, $then: {then: 1, else: 2}}",
    ],
)
def test_a_plain_key_stays_one(node: str) -> None:
    """A backend may have a parameter of such a name."""
    assert meant(node) == {}


def test_a_misspelled_key_does_not_bind_what_is_known() -> None:
    """The template beside it reads the name that is there already."""
    node = "{left: {seed: 1}, text: '{{ seed }}'}"
    assert meant(node) == {"left": "$let"}
    assert meant(node, "seed") == meant(node, "*") == {}


@pytest.mark.parametrize(
    ("key", "known", "fix"),
    [
        ("$thn", ["$then", "$else"], "did you mean `$then`?"),
        ("$default", ["$then", "$else"], "did you mean `$else`?"),
        ("$otherwise", ["$else"], "did you mean `$else`?"),
        ("$schema", ["$then", "$else"], "a literal key is written `$$schema`"),
    ],
)
def test_an_unknown_directive_has_a_fix(key: str, known: list[str], fix: str) -> None:
    """Words of other languages are known."""
    assert instead_of(key, known) == fix
