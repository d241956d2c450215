"""Promises of guessing credentials: they become variables, named as a sample names them, and are never told."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.guesses_auth import access, is_secret, secret_leaves, variables

BASIC = {"user": "${ACME_USER:-}", "password": "${ACME_PASSWORD:-}"}


@pytest.mark.parametrize(
    ("header", "value", "auth", "secrets"),
    [
        ("authorization", "Bearer sk-1", {"bearer": "${ACME_API_KEY:-}"}, ["sk-1"]),
        ("authorization", "bearer $MY_KEY", {"bearer": "${MY_KEY:-}"}, []),
        ("authorization", "Bearer ${MY_KEY}", {"bearer": "${MY_KEY:-}"}, []),
        ("authorization", "Bearer <your api key>", {"bearer": "${ACME_API_KEY:-}"}, []),
        ("authorization", "Bearer YOUR_ACME_KEY", {"bearer": "${YOUR_ACME_KEY:-}"}, []),
        ("authorization", "Bearer {{acme_token}}", {"bearer": "${ACME_TOKEN:-}"}, []),
        ("authorization", "Api-Key k", {"header": "authorization", "value": "Api-Key ${ACME_API_KEY:-}"}, ["k"]),
        ("authorization", "Basic bWU6cHc=", {"basic": BASIC}, ["bWU6cHc=", "me", "pw"]),
        ("x-api-key", "k", {"header": "x-api-key", "value": "${ACME_API_KEY:-}"}, ["k"]),
        ("ocp-subscription-key", "k", None, []),
    ],
)  # fmt: skip
def test_who_sends_it(header: str, value: str, auth: Any, secrets: list[str]) -> None:
    """In the form that `backend.auth` has for it."""
    made = access(((header, value),), "", "ACME")
    assert made.auth == auth
    assert made.secrets == secrets


def test_the_rest_of_headers_and_query() -> None:
    """What belongs to the sender of the sample is left out; a second credential is a reference as well."""
    headers = (
        ("user-agent", "me"), ("sec-fetch-mode", "cors"), ("x-version", "2"), ("x-api-key", "k"), ("x-auth-token", "t"),
    )  # fmt: skip
    made = access(headers, "a=1&a=2&b=", "ACME")
    assert made.headers == {"x-version": "2", "x-auth-token": "${ACME_AUTH_TOKEN:-}"}
    assert made.query == {"a": ["1", "2"], "b": ""}
    assert access((), "key=k&alt=sse", "ACME").auth == {"query": "key", "value": "${ACME_API_KEY:-}"}


def test_a_cookie_is_left_out_and_told() -> None:
    """It is a credential of a browser."""
    made = access((("cookie", "session=1"),), "", "ACME")
    assert (made.auth, made.headers, made.secrets) == (None, {}, ["session=1"])
    assert made.missing


def test_credentials_in_a_body() -> None:
    """By their names; counts of tokens and keys of data are none."""
    body = {"api_key": "k", "deep": [{"accessToken": "t"}], "max_tokens": 5, "token": "word", "key": "word"}
    assert secret_leaves(body) == [(("api_key",), "k"), (("deep", 0, "accessToken"), "t")]
    assert [is_secret(name) for name in ("X-Api-Key", "accept", "x-goog-api-key")] == [True, False, True]


def test_variables_of_the_shell_become_references() -> None:
    """With a default, so that the mapping can be checked without them."""
    assert variables("/a/$MY_ID/${OTHER}/$5") == "/a/${MY_ID:-my-id}/${OTHER:-other}/$5"
