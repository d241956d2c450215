"""Promises of YAML text from data: short things on a line, long ones as blocks, quotes where needed."""

from __future__ import annotations

from oaiproxy.yamltext import after_dash, after_key, inline


def test_quotes_stand_where_they_are_needed() -> None:
    """Words and questions go without; what YAML would read otherwise does not."""
    assert inline({"a": "What is it?", "b": "yes", "c": "true", "d": "12", "e": "x: y", "f": ""}) == (
        '{a: What is it?, b: "yes", c: "true", d: "12", e: "x: y", f: ""}'
    )


def test_json_is_possible() -> None:
    """In a file that is JSON."""
    assert inline({"a": ["b", None, 1.5]}, strict=True) == '{"a": ["b", null, 1.5]}'


def test_long_things_are_blocks() -> None:
    """Of lines that fit."""
    made = "a:" + after_key({"b": ["x" * 80, "y" * 80], "c": {}}, 2, 2)
    assert made == f"a:\n  b:\n    - {'x' * 80}\n    - {'y' * 80}\n  c: {{}}"
    assert after_dash({"a": 1, "b": {"c": 2}}, 2, deep=1) == " a: 1\n  b: {c: 2}"


def test_lines_stand_as_lines() -> None:
    """Streams above all."""
    assert after_key("data: {}\n\ndata: [DONE]\n\n", 4, 3) == " |+\n    data: {}\n\n    data: [DONE]\n"
    assert after_key("one\ntwo " + "x" * 40, 2, 3) == " |-\n  one\n  two " + "x" * 40
    assert after_key("one\r\ntwo " + "x" * 40, 2, 3) == ' "one\\r\\ntwo ' + "x" * 40 + '"'
