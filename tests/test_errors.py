"""Promises of `oaiproxy.errors`: every error knows what a client is to be told."""

from __future__ import annotations

import pytest

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.errors import ApiError, BackendError, ClientError, MappingError, OaiproxyError, ProxyError


@pytest.mark.parametrize(
    ("error", "status", "type_", "code"),
    [
        (ClientError("m"), 400, "invalid_request_error", None),
        (BackendError("m"), 502, "server_error", "upstream_error"),
        (ProxyError("m"), 500, "server_error", "internal_error"),
        (BackendError("m", status=429, type="t", code="c"), 429, "t", "c"),
    ],
)
def test_an_error_knows_its_answer(error: ApiError, status: int, type_: str, code: str | None) -> None:
    """Each class has its own; the one who raises may know better."""
    assert (error.status, error.type, error.code) == (status, type_, code)


def test_the_body_has_all_four_keys() -> None:
    """Clients read them without asking whether they are there."""
    body = ClientError("no `n`", param="n").body()
    assert body == {"error": {"message": "no `n`", "type": "invalid_request_error", "param": "n", "code": None}}


def test_what_is_for_the_log_stays_out_of_the_body() -> None:
    """`detail` may name files and selectors."""
    assert "secret" not in str(BackendError("m", detail="secret").body())


def test_one_error_does_not_change_the_next() -> None:
    """An own status belongs to the instance."""
    ClientError("m", status=404)
    assert ClientError("m").status == 400


def test_a_mapping_error_tells_all_findings() -> None:
    """The operator sees them at once."""
    error = MappingError([Diagnostic("E1", "one"), Diagnostic("E2", "two")])
    assert str(error) == "one; two"
    assert [found.code for found in error.diagnostics] == ["E1", "E2"]


def test_a_mapping_error_is_no_answer() -> None:
    """It cannot become HTTP by accident."""
    assert isinstance(MappingError([]), OaiproxyError)
    assert not isinstance(MappingError([]), ApiError)
