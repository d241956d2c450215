"""Token requests as the recordings have them, and tokens and their ends out of replies of all forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import WIRE, chat, needs_wire

from oaiproxy.auth import TokenAuth
from oaiproxy.errors import BackendError
from oaiproxy.grants import DEFAULT_LIFETIME, MAX_LIFETIME, Grant, Minted, point_in_time
from oaiproxy.signing import Moment

NOW = 1_700_000_000.0
MOMENT = Moment(NOW, "u-u-i-d")


def auth(text: str) -> TokenAuth:
    """The credentials of a mapping."""
    found = chat(response="{text: t}", backend=f"{{url: 'https://b', auth: {text}}}").backend.auth
    assert isinstance(found, TokenAuth)
    return found


def login(more: str, token: str = "t") -> Grant:
    """A login with these selectors."""
    source = auth(f"{{login: {{request: {{path: /l}}, token: {token}{more}}}}}").source
    assert isinstance(source, Grant)
    return source


def read(grant: Grant, body: Any, status: int = 200) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return grant.read(status, {"x-ttl": "7"}, data, NOW)


@needs_wire
@pytest.mark.parametrize(
    ("text", "request_file", "reply_file", "lifetime"),
    [
        (
            "{oauth2: {token_url: 'https://t/x', client_id: scrubbed, client_secret: scrubbed,"
            " refresh_token: scrubbed}}",
            "vertex/request_oauth_refresh.txt",
            "vertex/response_oauth_refresh.json",
            3599,
        ),
        (
            "{login: {request: {url: 'https://t/x', body_form: {apikey: test_api_key,"
            " grant_type: 'urn:ibm:params:oauth:grant-type:apikey'}}, token: access_token, expires_in: expires_in}}",
            "watsonx/request_iam_token.txt",
            "watsonx/response_iam_token.json",
            3600,
        ),
    ],
)
def test_recorded_exchanges(text: str, request_file: str, reply_file: str, lifetime: int) -> None:
    """The same form, though its fields may come in another order; the token of the recorded answer."""
    grant = auth(text).source
    assert isinstance(grant, Grant)
    final = grant.build("https://b", MOMENT, None).final
    recorded = (WIRE / request_file).read_text().strip()
    assert sorted((final.body or b"").decode().split("&")) == sorted(recorded.split("&"))
    reply = (WIRE / reply_file).read_bytes()
    made = grant.read(200, {}, reply, NOW)
    assert (made.value, made.lifetime) == (json.loads(reply)["access_token"], lifetime)


LIFETIMES: dict[str, tuple[str, Any, float]] = {
    "seconds": (", expires_in: in", {"t": "x", "in": 60}, 60),
    "seconds as text": (", expires_in: in", {"t": "x", "in": "60.5"}, 60.5),
    "seconds since 1970": (", expires_at: at", {"t": "x", "at": NOW + 90}, 90),
    "milliseconds": (", expires_at: at", {"t": "x", "at": (NOW + 90) * 1000}, 90),
    "a date": (", expires_at: at", {"t": "x", "at": "2023-11-14T22:14:20.000Z"}, 60),
    "a date of another zone": (", expires_at: at", {"t": "x", "at": "2023-11-15T00:14:20+02:00"}, 60),
    "a constant": (", ttl: 50m", {"t": "x"}, 3000),
    "a constant where nothing is said": (", expires_in: in, ttl: 1m", {"t": "x", "in": None}, 60),
    "the first that says something": (", expires_in: in, expires_at: at", {"t": "x", "at": NOW + 9}, 9),
    "nothing": ("", {"t": "x"}, DEFAULT_LIFETIME),
    "a date that is none": (", expires_at: at", {"t": "x", "at": "soon"}, DEFAULT_LIFETIME),
    "long ago": (", expires_at: at", {"t": "x", "at": 5}, 0),
    "for ever": (", expires_in: in", {"t": "x", "in": 1e15}, MAX_LIFETIME),
    "no number": (", expires_in: in", {"t": "x", "in": "inf"}, DEFAULT_LIFETIME),
    "a header": (", expires_in: \"header('x-ttl')\"", {"t": "x"}, 7),
}


@pytest.mark.parametrize(("more", "body", "wanted"), LIFETIMES.values(), ids=LIFETIMES)
def test_how_long_a_token_is_good(more: str, body: Any, wanted: float) -> None:
    """All the forms in which real token servers say so."""
    assert read(login(more), body).lifetime == pytest.approx(wanted)


@pytest.mark.parametrize(
    "body", [b"", b"plain", b"[]", {}, {"t": None}, {"t": ""}, {"t": True}, {"t": {}}, {"t": "a\nb"}]
)
def test_replies_without_a_token(body: Any) -> None:
    """They are failures of the token server, whatever their status."""
    with pytest.raises(BackendError) as caught:
        read(login(""), body)
    assert (caught.value.status, caught.value.code) == (502, "upstream_auth_error")


def test_tokens_of_other_forms() -> None:
    """A number, and the whole of a body that is text."""
    assert read(login(""), {"t": 12345}).value == "12345"
    assert read(login("", token="'@'"), b"plain").value == "plain"


@pytest.mark.parametrize(("status", "retry"), [(400, False), (401, False), (302, False), (429, None), (500, None)])
def test_failures_say_whether_a_later_try_may_help(status: int, retry: bool | None) -> None:
    """And what the server said, for the log alone."""
    with pytest.raises(BackendError) as caught:
        read(login(""), {"error": "invalid_client", "error_description": "who are you"}, status)
    error = caught.value
    assert (error.retry, error.detail) == (retry, f"the token server answered {status}: invalid_client: who are you")
    assert "who are you" not in error.message


def test_a_token_does_not_print() -> None:
    """Nor does what is sent for one."""
    grant = login("")
    assert "canary" not in repr(read(grant, {"t": "canary"}))
    request = auth("{login: {request: {path: /l, body: {k: canary}}, token: t}}").source
    assert isinstance(request, Grant)
    assert "canary" not in repr(request.build("https://b", MOMENT, None))


def test_a_login_can_be_without_a_body() -> None:
    """As those are that take all in headers."""
    grant = auth("{login: {request: {method: GET, path: /l, headers: {Accept: text/plain}}, token: t}}").source
    assert isinstance(grant, Grant)
    final = grant.build("https://b/v1", MOMENT, None).final
    assert (final.method, final.url, final.headers, final.body) == (
        "GET",
        "https://b/v1/l",
        {"Accept": "text/plain"},
        None,
    )


def test_claims_that_are_added_or_left_out() -> None:
    """`iat` and `exp`, unless the mapping gives or refuses them."""
    import base64

    def claims(text: str) -> Any:
        source = auth(f"{{jwt: {{algorithm: HS256, key: k, ttl: 1m, claims: {text}}}}}").source
        assert isinstance(source, Minted)
        made = source.mint(MOMENT)
        assert made.lifetime == 60
        return json.loads(base64.urlsafe_b64decode(made.value.split(".")[1] + "=="))

    assert claims("{iss: me}") == {"iss": "me", "iat": NOW, "exp": NOW + 60}
    assert claims("{exp: '{{ now * 1000 }}', iat: '{{ none }}', jti: '{{ uuid }}'}") == {
        "exp": NOW * 1000,
        "jti": "u-u-i-d",
    }


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers())))
def test_any_value_is_a_time_or_none(value: Any) -> None:
    """Nothing that a token server may say breaks the reading."""
    found = point_in_time(value)
    assert found is None or found == found
