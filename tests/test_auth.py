"""The `backend.auth` block: each kind compiles, hides its secrets, and says what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from support import chat, findings_of

from oaiproxy.auth import Passthrough, Send, Signed, TokenAuth
from oaiproxy.errors import ClientError, ProxyError
from oaiproxy.picks import Envelope

OAUTH2 = "oauth2: {token_url: 'https://t', client_id: me, client_secret: hunter2-0001"
KINDS: dict[str, tuple[str, type]] = {
    "oauth2": (f"{{{OAUTH2}}}}}", TokenAuth),
    "refresh": (f"{{{OAUTH2}, refresh_token: hunter2-0001}}}}", TokenAuth),
    "jwt": ("{jwt: {algorithm: HS256, key: hunter2-0001}}", TokenAuth),
    "sigv4": ("{sigv4: {service: s, region: r, access_key: a, secret_key: hunter2-0001}}", Signed),
    "session": ("{sigv4: {service: s, region: r, access_key: a, secret_key: b, session_token: hunter2-0001}}", Signed),
    "service account": (
        '{gcp_service_account: \'{"client_email": "a", "private_key": "hunter2-0001", "token_uri": "https://t"}\','
        " scope: s}",
        TokenAuth,
    ),
}


@pytest.mark.parametrize(("text", "kind"), KINDS.values(), ids=KINDS)
def test_secrets_are_known_and_not_printed(text: str, kind: type) -> None:
    """In the vault, for redaction, and nowhere else."""
    mapping = chat(response="{text: t}", backend=f"{{url: 'https://b', auth: {text}}}")
    assert isinstance(mapping.backend.auth, kind)
    assert "hunter2-0001" in mapping.secrets
    assert "hunter2-0001" not in repr(mapping)
    assert mapping.client_headers == frozenset()


PASSED: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "as it is": ("authorization", {"authorization": "Bearer k"}, {"authorization": "Bearer k"}),
    "under another name": ("{from: X-Key, to: api-key}", {"x-key": "k"}, {"api-key": "k"}),
    "stripped": ("{from: authorization, to: k, strip: 'Bearer '}", {"authorization": "BEARER  k "}, {"k": "k"}),
}


@pytest.mark.parametrize(("text", "headers", "wanted"), PASSED.values(), ids=PASSED)
def test_the_clients_own_header(text: str, headers: dict[str, str], wanted: dict[str, str]) -> None:
    """The mapping asks for it, and it goes on."""
    mapping = chat(response="{text: t}", backend=f"{{url: 'https://b', auth: {{passthrough: {text}}}}}")
    assert isinstance(mapping.backend.auth, Passthrough)
    assert mapping.client_headers == headers.keys()
    assert mapping.backend.auth.proof(headers).headers == wanted
    with pytest.raises(ClientError) as caught:
        mapping.backend.auth.proof({})
    assert (caught.value.status, caught.value.code) == (401, "missing_api_key")


@pytest.mark.parametrize("value", ["Bearer k\udcff", "Bearer k\tx"])
def test_a_key_that_none_can_be(value: str) -> None:
    """Bytes that are not UTF-8 would be left out on the way, and another key be sent."""
    with pytest.raises(ClientError) as caught:
        Passthrough("authorization", "authorization").proof({"authorization": value})
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert value not in caught.value.message


def test_where_a_token_goes() -> None:
    """By default it is a bearer."""
    assert Send().proof("t").headers == {"Authorization": "Bearer t"}
    assert token_auth("send: {query: q, value: 'x{{ token }}'}").send.proof("t").query == {"q": "xt"}
    with pytest.raises(ProxyError):
        token_auth("send: {header: h, value: '{{ token | int }}'}").send.proof("t")
    with pytest.raises(ProxyError):
        token_auth("send: {header: h, value: '{{ token }}'}").send.proof("t\r\nx: y")


def token_auth(more: str) -> TokenAuth:
    """Credentials with these keys."""
    auth = chat(response="{text: t}", backend=f"{{url: 'https://b', auth: {{{OAUTH2}, {more}}}}}}}").backend.auth
    assert isinstance(auth, TokenAuth)
    return auth


@pytest.mark.parametrize(
    ("refresh_on", "statuses", "body", "refused"),
    [
        ("[401, 403]", {401, 403}, {}, None),
        ("code", set(), {"code": 0}, False),
        ("code", set(), {"code": "x"}, True),
        ("[401, 'code == `1`', 'error.expired']", {401}, {"code": 1}, True),
        ("[401, 'code == `1`', 'error.expired']", {401}, {"error": {"expired": True}}, True),
        ("[401, 'code == `1`', 'error.expired']", {401}, {"code": 2}, False),
    ],
)
def test_what_refuses_a_token(refresh_on: str, statuses: set[int], body: Any, refused: bool | None) -> None:
    """Statuses, and selectors that find something."""
    refusal = token_auth(f"refresh_on: {refresh_on}").refusal
    assert refusal.statuses == statuses
    assert (None if refusal.body is None else bool(refusal.body(body, Envelope()))) is refused


MISTAKES = {
    "two kinds": "{bearer: a, jwt: {algorithm: HS256, key: k}}",
    "an unknown key": "{jwt: {algorithm: HS256, key: k, tll: 5m}}",
    "an empty key": "{jwt: {algorithm: HS256, key: ''}}",
    "no time": "{jwt: {algorithm: HS256, key: k, ttl: 0}}",
    "a time without end": "{jwt: {algorithm: HS256, key: k, ttl: .inf}}",
    "two places": f"{{{OAUTH2}, send: {{header: a, query: b, value: '{{{{ token }}}}'}}}}}}",
    "a value of two lines": f'{{{OAUTH2}, send: {{header: a, value: "x\\n{{{{ token }}}}"}}}}}}',
    "a bearer's line break": '{bearer: "k\\n"}',
    "a parameter's line break": '{query: q, value: "k\\n"}',
    "a password's line break": '{basic: {user: u, password: "k\\n"}}',
    "a secret's line break": '{oauth2: {token_url: "https://t", client_id: a, client_secret: "k\\n"}}',
    "an access key's line break": '{sigv4: {service: s, region: r, access_key: "k\\r\\nx: y", secret_key: b}}',
    "a session's line break": '{sigv4: {service: s, region: r, access_key: a, secret_key: b, session_token: "k\\n"}}',
    "no place": f"{{{OAUTH2}, send: {{value: '{{{{ token }}}}'}}}}}}",
    "no header": f"{{{OAUTH2}, send: {{header: 'a b', value: '{{{{ token }}}}'}}}}}}",
    "another value": f"{{{OAUTH2}, send: {{header: a, value: '{{{{ now }}}}'}}}}}}",
    "two bodies": "{login: {request: {path: /x, body: {a: 1}, body_form: {a: 1}}, token: t}}",
    "no token": "{login: {request: {path: /x}}}",
    "a path with a query": "{login: {request: {path: '/x?a=b'}, token: t}}",
    "a bad selector": "{login: {request: {path: /x}, token: 'a['}}",
    "a value beside it": "{passthrough: authorization, value: a}",
    "an account without a key": '{gcp_service_account: \'{"client_email": "a", "token_uri": "https://t"}\', scope: s}',
    "an account that is a list": "{gcp_service_account: '[]', scope: s}",
    "an account without a scope": "{gcp_service_account: '{}'}",
    "a signature of nothing": "{sign: {}}",
    "a signature in no header": "{sign: {headers: {host: a}}}",
}


@pytest.mark.parametrize("auth", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_found_on_their_line(auth: str) -> None:
    """Each is one finding, with a fix."""
    head, tail = "oaiproxy: 1\nmodels: [m]\nbackend:\n  url: https://b\n", "chat: {request: {}, response: {text: t}}\n"
    text = f"{head}  auth: {auth}\n{tail}"
    mapping, (found,) = findings_of(text)
    assert mapping is None
    assert found.span is not None
    assert found.span.line == 5
