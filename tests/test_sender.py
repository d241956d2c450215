"""Promises of the sender: credentials on the wire, tokens got anew, failures tried again, no secret told."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import hmac
import json
from types import FunctionType, ModuleType
from typing import Any
from urllib.parse import parse_qs

import pytest
from scripted import (
    FIN,
    GONE,
    REQUEST,
    RST,
    Backend,
    Client,
    Request,
    Step,
    answer,
    chunk,
    fetch,
    hello,
    mapping,
    settled,
    stream,
    stream_head,
)
from support import load

from oaiproxy.backend import BackendClient, BackendReply
from oaiproxy.backends import Backend as Described
from oaiproxy.backends import Timeouts
from oaiproxy.errors import BackendError
from oaiproxy.exchange import BackendRequest
from oaiproxy.grants import refused
from oaiproxy.mapping import Mapping
from oaiproxy.sender import MAX_TOKEN_REPLY, Sender
from oaiproxy.signing import Final, Proof

CLOSE = {"Connection": "close"}
OK = answer({"text": "fine", "p": 1, "c": 2})
NO = answer({"error": {"message": "no such token"}}, 401, CLOSE)
BUSY = answer({"error": "busy"}, 503, CLOSE)
SECRET, TOKEN, SECOND = "hunter2-of-the-operator", "token-canary-0001", "token-canary-0002"
FROM_ENV = "http://127.0.0.1:9"


def token(value: str = TOKEN, **more: Any) -> bytes:
    """A token server's answer."""
    return answer({"access_token": value, "token_type": "Bearer", "expires_in": 3600, **more}, headers=CLOSE)


def described(
    url: str, auth: str, more: str = "", response: str = "{text: text, usage: {prompt: p, completion: c}}"
) -> Mapping:
    """A mapping of a scripted backend with these credentials."""
    return mapping(url, backend=f"auth: {auth}\n  {more}".rstrip(), response=response)


def oauth2(url: str, more: str = "") -> str:
    """Client credentials at a scripted token server."""
    return f"{{oauth2: {{token_url: '{url}/token', client_id: me, client_secret: {SECRET}{more}}}}}"


def form(request: Request) -> dict[str, str]:
    """The fields of a form."""
    assert request.header("content-type") == "application/x-www-form-urlencoded"
    return {name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}


async def test_client_credentials(proxy: Any) -> None:
    """The form of RFC 6749, 4.4.2; the token as a bearer; once for both requests."""
    async with Backend([REQUEST, token()]) as server, Backend([REQUEST, OK, REQUEST, OK]) as backend:
        extra = ", scope: 'a b', audience: x, extra: {resource: r}"
        running = await proxy(described(backend.url, oauth2(server.url, extra)))
        for _ in range(2):
            assert (await fetch(running.url, hello())).text == "fine"
        assert [form(request) for request in server.requests] == [
            {
                "grant_type": "client_credentials",
                "client_id": "me",
                "client_secret": SECRET,
                "scope": "a b",
                "audience": "x",
                "resource": "r",
            }
        ]
        assert [request.header("authorization") for request in backend.requests] == [f"Bearer {TOKEN}"] * 2


async def test_client_credentials_in_a_header(proxy: Any) -> None:
    """`client_auth: basic` leaves them out of the form."""
    async with Backend([REQUEST, token()]) as server, Backend([REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url, ", client_auth: basic")))
        await fetch(running.url, hello())
        (asked,) = server.requests
        assert form(asked) == {"grant_type": "client_credentials"}
        assert asked.header("authorization") == "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


async def test_a_newer_refresh_token_is_used(proxy: Any) -> None:
    """RFC 6749, 6: the one that came with the last token replaces the mapping's."""
    scripts = [REQUEST, token(refresh_token="newer-0001")], [REQUEST, token(SECOND)]
    async with Backend(*scripts) as server, Backend([REQUEST, NO], [REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url, ", refresh_token: older")))
        assert (await fetch(running.url, hello())).text == "fine"
        assert [form(request)["refresh_token"] for request in server.requests] == ["older", "newer-0001"]
        assert {form(request)["grant_type"] for request in server.requests} == {"refresh_token"}
        assert [request.header("authorization") for request in backend.requests] == [
            f"Bearer {TOKEN}",
            f"Bearer {SECOND}",
        ]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_refused_token_is_replaced_once_and_the_request_sent_again(proxy: Any, streams: bool) -> None:
    """Before anything went to the client."""
    good = stream("fi", "ne") if streams else OK
    servers = Backend([REQUEST, token()], [REQUEST, token(SECOND)]), Backend([REQUEST, NO], [REQUEST, good])
    async with servers[0] as server, servers[1] as backend:
        running = await proxy(described(backend.url, oauth2(server.url)))
        wire = await fetch(running.url, hello(stream=streams))
        assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
        assert len({request.body for request in backend.requests}) == 1
        assert [request.header("authorization") for request in backend.requests] == [
            f"Bearer {TOKEN}",
            f"Bearer {SECOND}",
        ]


async def test_a_backend_that_refuses_every_token_does_not_wear_out_the_token_server(proxy: Any) -> None:
    """The refusal is passed on, and for a while no other token is got for it."""
    async with Backend([REQUEST, token()], [REQUEST, token(SECOND)]) as server, Backend([REQUEST, NO]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url)))
        for _ in range(3):
            wire = await fetch(running.url, hello())
            assert (wire.status, wire.error["code"]) == (502, "upstream_auth_error")
        assert len(server.requests) == 2
        assert len(backend.requests) == 4


@pytest.mark.parametrize("length", [0, 2 * MAX_TOKEN_REPLY], ids=["small", "large"])
async def test_a_body_can_tell_that_a_token_is_refused(proxy: Any, length: int) -> None:
    """`refresh_on` with a selector; an answer that it is not about comes whole, however large it is."""
    expired, text = answer({"code": 110}, headers=CLOSE), "x" * length + "fine"
    backends = Backend([REQUEST, expired], [REQUEST, answer({"text": text, "p": 1, "c": 2})])
    async with Backend([REQUEST, token()], [REQUEST, token(SECOND)]) as server, backends as backend:
        auth = oauth2(server.url, ", refresh_on: [401, 'code == `110`']")
        running = await proxy(described(backend.url, auth))
        assert (await fetch(running.url, hello())).text == text
        assert backend.requests[1].header("authorization") == f"Bearer {SECOND}"


@pytest.mark.parametrize(
    ("form", "opening"), [("json-concat", b""), ("json-array", b"["), ("json-array", b"\xef\xbb\xbf [ ")]
)
async def test_a_stream_of_json_is_not_held_back(proxy: Any, form: str, opening: bytes) -> None:
    """What may tell of a refused token is its first value, not what comes after."""
    read = asyncio.Event()
    shown = [opening + b'{"t": "first"}', b"," if opening else b"", b'{"t": "last", "d": true}' + b"]" * bool(opening)]
    refused = [chunk(opening + b'{"code": 110}' + b"]" * bool(opening)), chunk(b"")]
    scripts = (
        [REQUEST, stream_head("application/json\r\nConnection: close"), *refused],
        [
            REQUEST,
            stream_head("application/json"),
            chunk(shown[0]),
            read,
            *map(chunk, filter(None, shown[1:])),
            chunk(b""),
        ],
    )
    async with Backend([REQUEST, token()], [REQUEST, token(SECOND)]) as server, Backend(*scripts) as backend:
        auth = oauth2(server.url, f", refresh_on: ['{'[0].' * bool(opening)}code == `110`']")
        made = mapping(backend.url, backend=f"auth: {auth}", stream=f"{{format: {form}, text: t, done: d}}")
        running = await proxy(made)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b"first")
            read.set()
            assert (await client.answer()).text == "firstlast"
        assert [request.header("authorization") for request in backend.requests] == [
            f"Bearer {TOKEN}",
            f"Bearer {SECOND}",
        ]


async def test_a_reply_that_breaks_while_it_is_looked_at(proxy: Any) -> None:
    """Is a reply that broke."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    async with Backend([REQUEST, token()]) as server, Backend([REQUEST, head, FIN]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url, ", refresh_on: [code]")))
        assert (await fetch(running.url, hello())).error["code"] == "upstream_truncated"


LOGIN = """{{login: {{
  request: {{url: '{url}/login', headers: {{x-id: '{{{{ uuid }}}}'}}, query: {{v: 1}},
  body: {{key: {secret}, at: '{{{{ now }}}}'}}}},
  token: result.token, expires_at: result.until, send: {send}}}}}"""


@pytest.mark.parametrize("until", [4102444800, "4102444800000", "2100-01-01T00:00:00Z"])
async def test_any_login(proxy: Any, until: Any) -> None:
    """JSON, a generated header, a query; the token's place, and when it ends, are the mapping's to say."""
    logged_in = answer({"result": {"token": TOKEN, "until": until}})
    async with Backend([REQUEST, logged_in]) as server, Backend([REQUEST, OK, REQUEST, OK]) as backend:
        auth = LOGIN.format(url=server.url, secret=SECRET, send="{header: x-token, value: 'T {{ token }}'}")
        running = await proxy(described(backend.url, auth.replace("\n", "")))
        for _ in range(2):
            assert (await fetch(running.url, hello())).text == "fine"
        (asked,) = server.requests
        assert asked.line == "POST /login?v=1 HTTP/1.1"
        assert asked.json["key"] == SECRET
        assert isinstance(asked.json["at"], int)
        assert len(asked.header("x-id") or "") == 36
        assert [request.header("x-token") for request in backend.requests] == [f"T {TOKEN}"] * 2


async def test_a_login_by_a_form_below_the_backend_with_the_token_in_the_query(proxy: Any) -> None:
    """The recorded exchange of a key for a token, as one mapping has it."""
    login = "{path: /login, body_form: {grant_type: 'urn:x:apikey', apikey: 'a b'}}"
    auth = f"{{login: {{request: {login}, token: tok, expires_in: ttl, send: {{query: t, value: '{{{{ token }}}}'}}}}}}"
    async with Backend([REQUEST, answer({"tok": "a/b", "ttl": "60"}), REQUEST, OK], [REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, auth))
        assert (await fetch(running.url, hello())).text == "fine"
        login_request, asked = backend.requests
        assert form(login_request) == {"grant_type": "urn:x:apikey", "apikey": "a b"}
        assert asked.line == "POST /whole?t=a%2Fb HTTP/1.1"


async def test_a_signed_token(proxy: Any) -> None:
    """Signed here, used again."""
    auth = f"{{jwt: {{algorithm: HS256, key: {SECRET}, claims: {{iss: me}}, headers: {{sign_type: S}}}}}}"
    async with Backend([REQUEST, OK, REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, auth))
        for _ in range(2):
            assert (await fetch(running.url, hello())).text == "fine"
        sent = {request.header("authorization") for request in backend.requests}
        assert len(sent) == 1
        head, claims, _ = (sent.pop() or "").removeprefix("Bearer ").split(".")
        assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT", "sign_type": "S"}
        assert json.loads(base64.urlsafe_b64decode(claims + "==")).keys() == {"iss", "iat", "exp"}


async def test_signatures_are_over_the_request_as_it_is_sent(proxy: Any) -> None:
    """The body's digest in the header is that of the body that came."""
    auth = "{sign: {headers: {x-sign: \"{{ (http.method ~ http.path ~ (http.body | sha256)) | hmac_sha256('k') }}\"}}}"
    async with Backend([REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, auth))
        assert (await fetch(running.url, hello(messages=[{"role": "user", "content": "größe"}]))).text == "fine"
        (asked,) = backend.requests
        told = "POST/whole" + hashlib.sha256(asked.body).hexdigest()
        assert asked.header("x-sign") == hmac.digest(b"k", told.encode(), "sha256").hex()


async def test_the_clients_own_key(proxy: Any) -> None:
    """It is sent on under the backend's name for it."""
    async with Backend([REQUEST, OK]) as backend:
        auth = "{passthrough: {from: authorization, to: x-api-key, strip: 'Bearer '}}"
        running = await proxy(described(backend.url, auth))
        assert (await fetch(running.url, hello(headers={"Authorization": "bearer sk-mine"}))).text == "fine"
        assert backend.requests[0].header("x-api-key") == "sk-mine"
        assert backend.requests[0].header("authorization") is None


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}], ids=repr)
async def test_a_client_without_a_key(proxy: Any, headers: dict[str, str]) -> None:
    """It is told so, and the backend is not asked."""
    async with Backend([REQUEST, OK]) as backend:
        auth = "{passthrough: {from: authorization, to: x-api-key, strip: 'Bearer '}}"
        running = await proxy(described(backend.url, auth))
        wire = await fetch(running.url, hello(headers=headers))
        assert (wire.status, wire.error["code"], wire.error["type"]) == (
            401,
            "missing_api_key",
            "invalid_request_error",
        )
        assert backend.connections == []


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (403, "permission_denied")])
async def test_a_client_whose_own_key_is_refused(proxy: Any, capfd: Any, status: int, code: str) -> None:
    """The refusal is the client's to mend: it gets the status; the key is told nowhere."""
    refusal = answer({"error": {"message": "the key sk-mine-0001 is bad"}}, status)
    async with Backend([REQUEST, refusal]) as backend:
        running = await proxy(described(backend.url, "{passthrough: authorization}"))
        wire = await fetch(running.url, hello(headers={"Authorization": "Bearer sk-mine-0001"}))
        assert (wire.status, wire.error["code"]) == (status, code)
        assert wire.error["message"] == "the key *** is bad"
    running.state.log.close()
    assert "sk-mine-0001" not in "".join(capfd.readouterr())


FAILING: dict[str, list[Step]] = {
    "refused": [REQUEST, answer({"error": "invalid_client", "error_description": f"wrong: {SECRET}"}, 401)],
    "down": [REQUEST, answer(f"down, {SECRET}".encode(), 503, {"Content-Type": "text/plain"})],
    "no token": [REQUEST, answer({"token": TOKEN, "secret": SECRET})],
    "no JSON": [REQUEST, answer(f"<html>{SECRET}".encode())],
    "a token that is none": [REQUEST, answer({"access_token": f"a\r\nx: {SECRET}"})],
    "another type": [REQUEST, answer({"access_token": {"a": SECRET}})],
    "too much": [REQUEST, answer(b" " * (MAX_TOKEN_REPLY + 1))],
    "a redirect": [REQUEST, answer(b"", 302, {"Location": "http://127.0.0.1:9/"})],
    "broken off": [REQUEST, RST],
    "closed": [REQUEST, FIN],
    "half": [REQUEST, answer(b"{", headers={"Content-Length": "100"}), FIN],
}


@pytest.mark.parametrize("script", FAILING.values(), ids=FAILING)
async def test_a_token_server_that_fails(proxy: Any, capfd: Any, script: list[Step]) -> None:
    """A 502 that says so, no request to the backend, and no secret in answers and logs."""
    async with Backend(script) as server, Backend([REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url)))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (502, "upstream_auth_error")
        assert wire.error["message"] == "the proxy could not get a token for the backend"
        assert backend.connections == []
        running.state.log.close()
        said = "".join(capfd.readouterr())
        assert '"code":"upstream_auth_error"' in said.replace(" ", "")
        assert SECRET not in said + wire.raw.decode()


async def test_a_dead_token_server_is_not_hammered(proxy: Any) -> None:
    """Who comes shortly after a failure gets the same."""
    async with Backend([REQUEST, answer(b"", 503)]) as server, Backend([REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url)))
        for _ in range(5):
            assert (await fetch(running.url, hello())).error["code"] == "upstream_auth_error"
        assert len(server.requests) == 1


async def test_all_wait_for_one_token_and_who_leaves_does_not_take_it_along(proxy: Any) -> None:
    """Twenty at once, of which the first leaves while the token is under way: one token request."""
    ready = asyncio.Event()
    async with Backend([REQUEST, ready, token()]) as server, Backend([REQUEST, OK]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url)))
        first = await Client.connect(running.url)
        await first.send(hello())
        await server.asked()
        others = [asyncio.create_task(fetch(running.url, hello())) for _ in range(20)]
        await settled(lambda: running.state.active == 21)
        first.leave()
        await settled(lambda: running.state.active == 20)
        ready.set()
        assert [wire.text for wire in await asyncio.gather(*others)] == ["fine"] * 20
        assert len(server.requests) == 1
        assert len(backend.requests) == 20


async def test_no_token_is_told(proxy: Any, capfd: Any) -> None:
    """Not even when the backend repeats it: it is a secret like those of the mapping."""
    echo = answer({"error": {"message": f"Bearer {TOKEN} and {SECRET} may not do this", "code": TOKEN}}, 400)
    async with Backend([REQUEST, token()]) as server, Backend([REQUEST, echo]) as backend:
        running = await proxy(described(backend.url, oauth2(server.url)))
        wire = await fetch(running.url, hello())
        assert wire.error["message"] == "Bearer *** and *** may not do this"
        running.state.log.close()
        told = "".join(capfd.readouterr()) + wire.raw.decode()
        assert TOKEN not in told
        assert SECRET not in told


async def test_mocks_need_no_credentials(proxy: Any) -> None:
    """`mock:` stands for the examples: no token is got for it."""
    examples = (
        "examples: [{request: {messages: [{role: user, content: hi}]}, backend: {json: {text: fine, p: 1, c: 2}}}]"
    )
    described_ = mapping("'mock:'", backend=f"auth: {oauth2(FROM_ENV)}", more=examples)
    running = await proxy(described_)
    assert (await fetch(running.url, hello())).text == "fine"


# Trying again


async def test_statuses_that_the_mapping_names_are_tried_again(proxy: Any) -> None:
    """Up to `max` times; the same request each time."""
    async with Backend([REQUEST, BUSY], [REQUEST, BUSY], [REQUEST, OK]) as backend:
        running = await proxy(mapping(backend.url, backend="retry: {max: 2, on: [503], backoff: 1ms}"))
        assert (await fetch(running.url, hello())).text == "fine"
        assert len(backend.requests) == 3
        assert len({request.body for request in backend.requests}) == 1


@pytest.mark.parametrize(
    ("retry", "headers", "status", "times"),
    [
        ("", {}, 503, 1),
        ("retry: {on: [429], backoff: 1ms}", {}, 503, 1),
        ("retry: {on: [503], max: 0}", {}, 503, 1),
        ("retry: {on: [503], max: 1, backoff: 1ms}", {}, 503, 2),
        ("retry: {on: [503], max: 1, backoff: 1ms}", {"Retry-After": "0"}, 503, 2),
        ("retry: {on: [503], backoff: 1ms}", {"Retry-After": "31"}, 503, 1),
        ("retry: {on: [503], max: 1, backoff: 1ms, respect_retry_after: false}", {"Retry-After": "31"}, 503, 2),
    ],
)
async def test_how_often_a_failure_is_tried_again(
    proxy: Any, retry: str, headers: dict[str, str], status: int, times: int
) -> None:
    """Not unless the mapping says so, not beyond `max`, and not when the backend wants too long a pause."""
    async with Backend([REQUEST, answer({"error": "busy"}, status, CLOSE | headers)]) as backend:
        running = await proxy(mapping(backend.url, backend=retry))
        wire = await fetch(running.url, hello())
        assert wire.status == status
        assert len(backend.requests) == times


async def test_a_pause_beyond_the_deadline_is_not_made(proxy: Any) -> None:
    """The failure is passed on at once instead of a timeout later."""
    async with Backend([REQUEST, answer({"error": "busy"}, 503, {"Retry-After": "20"})]) as backend:
        retry = "retry: {on: [503], max: 1}"
        running = await proxy(mapping(backend.url, backend=retry, timeouts="{first_byte: 5s}"))
        assert (await fetch(running.url, hello())).status == 503
        assert len(backend.requests) == 1


async def test_a_client_that_leaves_during_the_pause_ends_it(proxy: Any) -> None:
    """No second request for nobody."""
    async with Backend([REQUEST, answer({"error": "busy"}, 503, {"Retry-After": "30"})]) as backend:
        running = await proxy(mapping(backend.url, backend="retry: {on: [503], max: 1}"))
        client = await Client.connect(running.url)
        await client.send(hello())
        await backend.asked()
        client.leave()
        await settled(lambda: running.state.active == 0)
        assert len(backend.requests) == 1


@pytest.mark.parametrize("body", [b'{"error": "late"}', b""], ids=["error", "nothing"])
async def test_an_error_in_an_answer_of_200_is_not_tried_again(proxy: Any, body: bytes) -> None:
    """Work was done for it."""
    async with Backend([REQUEST, answer(body)]) as backend:
        running = await proxy(mapping(backend.url, backend="retry: {on: [503], backoff: 1ms}"))
        assert (await fetch(running.url, hello())).status >= 500
        assert len(backend.requests) == 1


async def test_the_rest_of_a_failure_is_not_waited_for(proxy: Any) -> None:
    """A body without end costs the connection, not the time."""
    endless = answer(b"x", 503, {"Content-Length": "1000000"})
    async with Backend([REQUEST, endless, GONE], [REQUEST, OK]) as backend:
        running = await proxy(mapping(backend.url, backend="retry: {on: [503], backoff: 1ms}"))
        assert (await fetch(running.url, hello())).text == "fine"
        await backend.gone()


async def test_a_connection_that_cannot_be_made_is_tried_once_more() -> None:
    """By default; nothing listens at first, then the backend does."""
    tries: list[str] = []

    class Refusing(BackendClient):
        async def send(self, *arguments: Any) -> BackendReply:
            tries.append(arguments[0].url)
            return await super().send(*arguments)

    client = Refusing(1)
    sender = Sender(client)
    async with Backend([REQUEST, OK]) as gone:
        url = gone.url
    with pytest.raises(BackendError) as caught:
        await sender.send(BackendRequest("POST", url + "/x", {}, b""), Described(url, timeouts=Timeouts()))
    assert caught.value.code == "upstream_connect_error"
    assert tries == [url + "/x"] * 2
    await sender.close()
    await client.close()


async def test_tokens_of_mappings_that_are_gone_are_forgotten() -> None:
    """When routes are replaced, what was kept for the old ones goes with them."""
    client = BackendClient(1)
    sender = Sender(client)
    async with Backend([REQUEST, token()]) as server, Backend([REQUEST, OK]) as backend:
        made = described(backend.url, oauth2(server.url)).backend
        reply = await sender.send(BackendRequest("POST", backend.url, {}, b""), made)
        reply.close()
        assert len(sender._tokens) == 1
        del made
        await settled(lambda: gc.collect() >= 0 and len(sender._tokens) == 0)
    await sender.close()
    await client.close()


# Redirects


@pytest.mark.parametrize("auth", ["{bearer: sk-canary-9}", "{header: x-api-key, value: sk-canary-9}", "token"])
async def test_a_redirect_is_an_error_and_no_credential_follows_it(proxy: Any, auth: str) -> None:
    """The place that it leads to is not asked."""
    async with Backend([REQUEST, OK]) as canary, Backend([REQUEST, token()]) as server:
        redirect = answer(b"", 302, {"Location": canary.url + "/whole"})
        async with Backend([REQUEST, redirect]) as backend:
            running = await proxy(described(backend.url, oauth2(server.url) if auth == "token" else auth))
            wire = await fetch(running.url, hello())
            assert (wire.status, wire.error["code"]) == (502, "upstream_redirect")
        assert canary.connections == []


def test_a_failure_to_get_a_token_is_not_the_clients() -> None:
    """Its detail is for the log."""
    error = refused("detail", None)
    assert (error.status, error.code, error.detail) == (502, "upstream_auth_error", "detail")
    assert "detail" not in error.message


HOLDERS: dict[str, str] = {
    "bearer": "{bearer: '${KEY}'}",
    "basic": "{basic: {user: u, password: '${KEY}'}}",
    "jwt": "{jwt: {algorithm: HS256, key: '${KEY}', claims: {a: '{{ vars.key }}'}}}",
    "sign": "{sign: {headers: {x: '{{ http.body | hmac_sha256(vars.key) | hex }}'}}}",
    "sigv4": "{sigv4: {service: s, region: r, access_key: a, secret_key: '${KEY}'}}",
    "oauth2": "{oauth2: {token_url: '%s/t', client_id: a, client_secret: '${KEY}'}}",
    "login": "{login: {request: {url: '%s/t', body: {k: '{{ vars.key }}'}}, token: access_token}}",
    "passthrough": "{passthrough: authorization}",
}


@pytest.mark.parametrize("auth", HOLDERS.values(), ids=HOLDERS)
async def test_no_secret_is_told_or_printed(proxy: Any, capfd: Any, auth: str) -> None:
    """Not by a backend that repeats it, not in the log, and by no object of ours that anybody might print."""
    said = answer({"error": {"message": f"no {SECRET} here, nor {TOKEN}"}}, 400, CLOSE)
    async with Backend([REQUEST, token()]) as server, Backend([REQUEST, said]) as backend:
        text = f"""oaiproxy: 1
models: {{m: {{vars: {{other: "${{KEY}}"}}}}}}
backend: {{url: "{backend.url}", auth: {auth.replace("%s", server.url)}, query: {{k: "{{{{ vars.key }}}}"}}}}
vars: {{key: "${{KEY}}", other: none}}
chat: {{request: {{path: /x, body: {{k: "{{{{ vars.other }}}}"}}}}, response: {{text: t}}}}
"""
        running = await proxy(load(text, {"KEY": SECRET}))
        wire = await fetch(running.url, hello(headers={"Authorization": f"Bearer {SECRET}"}))
        assert len(backend.requests) == 1
        printed = [repr(found) for found in reachable(running.state) if type(found).__module__.startswith("oaiproxy")]
        assert len(printed) > 50
        kept = "".join([wire.raw.decode(), *printed, repr(Final("GET", SECRET, {"a": SECRET}, SECRET.encode()))])
        kept += repr(Proof({"a": SECRET}, {"a": SECRET})) + repr(BackendRequest("GET", SECRET, {"a": SECRET}, None))
    logged = capfd.readouterr().err
    for secret in (SECRET, *([TOKEN] if server.requests else [])):
        assert secret not in kept
        assert secret not in logged


def reachable(root: object) -> list[object]:
    """All objects that can be got at from one."""
    known: dict[int, object] = {}
    found = [root]
    while found:
        each = found.pop()
        if id(each) not in known and not isinstance(each, type | ModuleType | asyncio.AbstractEventLoop | asyncio.Task):
            known[id(each)] = each
            found += [cell.cell_contents for cell in getattr(each, "__closure__", None) or ()]
            found += [] if isinstance(each, FunctionType) else gc.get_referents(each)
    return list(known.values())
