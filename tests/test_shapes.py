"""Promises of `oaiproxy.shapes`: what is known of names before any request comes."""

from __future__ import annotations

import pytest

from oaiproxy.shapes import EndpointShapes, Shapes, explained, joined, shape_of


def test_constants_have_a_shape() -> None:
    """What `vars` holds is known before any request comes."""
    given = {"a": "x", "b": [1, 2.5], "c": [1, "x"], "d": {"e": True}, "f": None, "g": []}
    shape = {"a": "text", "b": ["number"], "c": [None], "d": {"e": "boolean"}, "f": None, "g": [None]}
    assert shape_of(given) == shape


def test_what_is_said_of_names_that_are_not_there() -> None:
    """Beside what was said before; of a name that is there, nothing is."""
    made = explained(EndpointShapes({"a": "text"}, {"file": "elsewhere"}), {"a": "x", "b": "later"})
    assert dict(made) == {"a": "text"}
    assert made.elsewhere == {"file": "elsewhere", "b": "later"}
    assert explained({"a": None}, {}).elsewhere == {}


@pytest.mark.parametrize("shapes", [{"a": "text"}, EndpointShapes({"a": "text"}, {"file": "elsewhere"})])
def test_more_names_join_those_in_scope(shapes: Shapes) -> None:
    """They stand over those that are called the same, and where other names belong is still known."""
    made = joined(shapes, {"a": None, "b": "number"})
    assert dict(made) == {"a": None, "b": "number"}
    assert getattr(made, "elsewhere", None) == getattr(shapes, "elsewhere", None)
    assert dict(shapes) == {"a": "text"}
