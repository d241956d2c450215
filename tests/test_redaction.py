"""Promises of redaction: no secret stays, however it is spelled, and what is none stays as it is."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.redaction import HIDDEN, holds_secret, redacted, redacted_headers, redacted_json

SECRET = 'k/9"f\\8é7d'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(SECRET)[1:-1].replace("/", "\\/"),
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_spellings(form: str) -> None:
    """Of a mapping's secret."""
    assert redacted(f"a {form} b", [SECRET]) == f"a {HIDDEN} b"
    assert holds_secret(form, [SECRET])


@pytest.mark.parametrize(
    "text",
    [
        "sk-abcdefghijklmnopqrst",
        "xy_abcDefghijklmnopqrstuvwxyzabcdefgh",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
        "Bearer abcdefghijklmno",
        "org-abcdefghijklmnopqrst",
    ],
)
def test_what_looks_like_a_secret(text: str) -> None:
    """Goes, whoever it belongs to."""
    assert text.split()[-1] not in redacted(f"was {text}.", ())


@pytest.mark.parametrize(
    "text", ["Hello, risk-free basic text", "task-1", "a token", "chatcmpl-abcdefghijklmnopqrst", "fc_" + 40 * "a"]
)
def test_what_does_not(text: str) -> None:
    """Stays: above all ids, on which other calls depend."""
    assert redacted(text, ()) == text


def test_what_is_called_a_secret() -> None:
    """Goes where it is text: counts and tokens of text stay."""
    body = {"api_key": "x", "account_id": "y", "token": "Hi", "tokens": 3, "account": {"Email": "z"}, "password": None}
    clean = {"api_key": HIDDEN, "account_id": HIDDEN, "token": "Hi", "tokens": 3}
    clean |= {"account": {"Email": HIDDEN}, "password": None}
    assert redacted_json(body, ()) == clean
    assert json.loads(redacted(json.dumps(body), ())) == clean


def test_headers() -> None:
    """Cookies, keys and what says nothing go."""
    given_ = {"Set-Cookie": "a=1", "Date": "now", "X-Api-Key": "k", "Retry-After": "7", "X-Echo": f"a {SECRET}"}
    assert redacted_headers(given_, [SECRET]) == {"retry-after": "7", "x-echo": f"a {HIDDEN}"}


@given(st.text(max_size=30), st.text(min_size=4, max_size=12), st.text(max_size=30))
def test_json_stays_json(before: str, secret: str, after: str) -> None:
    """And without the secret, wherever it stands."""
    value = {"a": [before + secret + after], before + secret: 1}
    clean = redacted_json(value, [secret])
    assert (
        not holds_secret(json.dumps(clean["a"], ensure_ascii=False).replace(HIDDEN, ""), [secret])
        or secret in json.dumps(before + after) + before + after + HIDDEN
    )
