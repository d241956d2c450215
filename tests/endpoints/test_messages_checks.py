"""A mistake is told by its path, in the words of this API."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints import messages_checks as checks
from oaiproxy.errors import ClientError


@pytest.mark.parametrize(
    ("check", "value", "wanted"),
    [
        (checks.string, 1, "a valid string"),
        (checks.objects, [], "an object"),
        (checks.array, {}, "a valid list"),
        (checks.boolean, 1, "a valid boolean"),
        (checks.integer, True, "a valid integer"),
        (checks.integer, 1.5, "a valid integer"),
        (checks.number, True, "a valid number"),
        (checks.number, "1", "a valid number"),
    ],
)
def test_a_wrong_type(check: Any, value: Any, wanted: str) -> None:
    """Named with its place, which is also the param."""
    with pytest.raises(ClientError) as refused:
        check(value, "a.0")
    assert (refused.value.message, refused.value.param) == (f"a.0: Input should be {wanted}", "a.0")
    assert (refused.value.status, refused.value.code) == (400, "invalid_type")


def test_right_types_pass() -> None:
    """As they are."""
    owner = {"a": "x", "n": None, "list": ["a"], "objects": [{}]}
    assert checks.required(owner, "a", "", checks.string) == "x"
    assert checks.optional(owner, "n", "", checks.string) is None
    assert checks.optional(owner, "a", "", checks.string) == "x"
    assert checks.strings(owner["list"], "list") == ["a"]
    assert list(checks.each_object(owner["objects"], "objects")) == [({}, "objects.0")]
    assert (checks.integer(5, "a"), checks.number(0.5, "a"), checks.boolean(True, "a")) == (5, 0.5, True)


def test_what_is_missing_or_unknown() -> None:
    """Null is missing."""
    with pytest.raises(ClientError, match=r"^a\.b: Field required$"):
        checks.required({"b": None}, "b", "a", checks.string)
    with pytest.raises(ClientError, match=r"^b: Field required$"):
        checks.required({}, "b", "", checks.string)
    with pytest.raises(ClientError, match=r"^a\.b: Input should be one of 'x', 'y', not 'z'$"):
        checks.one_of({"b": "z"}, "b", "a", ("x", "y"))
    with pytest.raises(ClientError, match=r"^a\.1: Input should be a valid string$"):
        checks.strings(["x", 1], "a")
    with pytest.raises(ClientError, match=r"^a\.0: Input should be an object$"):
        list(checks.each_object(["x"], "a"))
