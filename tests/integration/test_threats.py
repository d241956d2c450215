"""What the threat model says of files, addresses and hosts: each item with the test that fails where it is not so."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from commands import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import REQUEST, Backend, answer, fetch, hello, request
from support import ask, chat, codes

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ClientError
from oaiproxy.handlers import routes
from oaiproxy.message_routes import COUNT

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
WHOLE = answer({"text": "fine", "p": 1, "c": 2})

# T2: files

BAD = {
    "a tag": "oaiproxy: !x 1",
    "an object": "a: !!python/object/apply:os.system [id]",
    "a merge key": "a: &a {b: 1}\nc:\n  <<: *a",
    "an alias of nothing": "a: *b",
    "an alias of itself": "a: &a [*a]",
    "an alias bomb": "x0: &x0 [lol]\n"
    + "\n".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)),
    "a key twice": "oaiproxy: 1\noaiproxy: 1",
    "a key twice in braces": "a: {b: 1, b: 2}",
    "two documents": "a: 1\n---\nb: 1",
    "a directive": "%YAML 1.1\n---\na: 1",
    "a tab": "a:\n\tb: 1",
    "a key that is a list": "[a]: 1",
    "a list as the whole": "- a",
    "a text as the whole": "oaiproxy",
    "nothing": "",
    "a quote that is not closed": "a: 'b",
    "a bracket that is not closed": "a: [b",
    "a bracket too many": "a: b]\nc: ]",
    "a colon too many": "a: b: c",
    "an indentation that fits nothing": "a:\n    b: 1\n  c: 2",
    "a control character": "a: \x01",
    "a zero byte": "a: \x00",
    "deep": "a: " + "[" * 60 + "]" * 60,
    "deeper": "a: " + "[" * 100_000,
    "large": "a: " + "x" * (1 << 20),
    "an unknown key": "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'http://h', urll: x}",
    "another version": "oaiproxy: 2",
    "yes for true": "oaiproxy: yes",
    "a date": "oaiproxy: 2020-01-01",
    "a host of its own": "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'http://h'}\n"
    "chat: {request: {headers: {Host: evil}, body: {p: '{{ prompt }}'}}, response: {text: t}}",
    "text in JSON, unescaped": "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'http://h'}\n"
    'chat: {request: {headers: {Content-Type: application/json}, body_raw: \'{"p": "{{ prompt }}"}\'}, '
    "response: {text: t}}",
}


def test_bad_files_are_refused_with_their_place(tmp_path: Path) -> None:
    """Each with its file and a line, and none of them is loaded."""
    for number, text in enumerate(BAD.values()):
        (tmp_path / f"m{number}.yaml").write_bytes(text.encode())
    names = [f"m{number}.yaml" for number in range(len(BAD))]
    done = run("check", "--format", "github", *names, cwd=tmp_path)
    assert done.returncode == 1
    told = [re.search(rf"error file={name},line=\d+.*", done.stdout) for name in names]
    assert [what for what, line in zip(BAD, told, strict=True) if line is None] == []
    assert "Traceback" not in done.stderr


FORBIDDEN = ("Host", "Content-Length", "Transfer-Encoding", "Connection", "TE", "Trailer", "Upgrade", "Expect")


@pytest.mark.parametrize("name", [*FORBIDDEN, "Keep-Alive", "Proxy-Authorization", "X:Y", "X Y", "X\\r\\nY", "é", ""])
def test_headers_of_the_connection_are_no_headers_of_a_mapping(name: str) -> None:
    """Nor names that no header can have."""
    found = codes(
        "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'http://h'}\nchat:\n  response: {text: t}\n  request:\n"
        f'    body: {{p: "{{{{ prompt }}}}"}}\n    headers:\n      "{name}": x\n'
    )
    assert [line for _, line in found] == [9]


# T4: addresses

NASTY = ["..", ".", "../", "%2e%2e", "%2E%2E/", "@", "@evil.test", "#", "?", "?a=b#c", "/", "//evil.test/", "\\", ":"]
NASTY += [
    "\r\n",
    "\n",
    "\x00",
    "\u2028",
    "\ud800",
    "%",
    "%00",
    ";",
    "&x=1",
    "http://evil.test",
    "é",
    "\u202e",
    " ",
    "+",
]
nasty = st.lists(st.sampled_from(NASTY) | st.text(max_size=4), min_size=1, max_size=4).map("".join)
ADDRESSED = chat(
    request="{path: '/a/{{ user }}/b', query: {q: '{{ user }}'}, headers: {x-user: '{{ user }}'},"
    " body: {p: '{{ prompt }}'}}",
    response="{text: text}",
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(nasty)
def test_no_text_leaves_its_place_in_an_address(text: str) -> None:
    """The host, the number of segments and the names in the query are those of the mapping; or it is refused."""
    try:
        made = ask(ADDRESSED, user=text).backend_request()
    except ClientError:
        return
    base, _, query = made.url.partition("?")
    assert base.startswith("https://backend.test/v1/a/")
    segments = base.removeprefix("https://backend.test/v1/").split("/")
    plain = text.encode("utf-8", "replace").decode()
    assert (segments[0], len(segments), segments[2]) == ("a", 3, "b")
    assert unquote(segments[1]) == plain
    assert segments[1] not in ("", ".", "..")
    assert made.url.isascii()
    assert made.url.isprintable()
    assert " " not in made.url
    assert "#" not in made.url
    name, _, value = query.partition("=")
    assert (name, "&" in value, unquote(value)) == ("q", False, plain)
    assert made.headers["x-user"] == text
    assert not set(text) & {chr(number) for number in (*range(32), 127)}


@pytest.mark.parametrize("text", ["../../admin", "%2e%2e/admin", "x?y=1#z", "@evil.test/", "a/b", "a;b=c", "é\u2028"])
async def test_the_backend_sees_the_segments_of_the_mapping(proxy: Any, text: str) -> None:
    """On the wire."""
    async with Backend([REQUEST, WHOLE]) as backend:
        made = chat(
            request="{path: '/a/{{ user }}/b', body: {p: '{{ prompt }}'}}",
            response="{text: text}",
            backend=f"{{url: '{backend.url}'}}",
        )
        assert (await fetch((await proxy(made)).url, hello(user=text))).status == 200
        (sent,) = backend.requests
        _, path, _ = sent.line.split(" ")
        assert [unquote(segment) for segment in path.split("/")] == ["", "a", text, "b"]
        assert sent.header("host") == backend.url.removeprefix("http://")


# T5: hosts

LEADING = ("api_base", "base_url", "url", "endpoint", "host", "proxy", "x_backend")


@pytest.mark.parametrize("status", [0, 301, 302, 303, 307, 308])
async def test_nothing_that_a_client_or_a_backend_says_leads_to_another_host(proxy: Any, status: int) -> None:
    """Not a field, not a header, not a redirect."""
    async with Backend([REQUEST, WHOLE]) as canary:
        host = canary.url.removeprefix("http://")
        said = answer(b"", status, {"Location": canary.url + "/whole"}) if status else WHOLE
        async with Backend([REQUEST, said]) as backend:
            made = chat(
                request="{path: /g, body: {p: '{{ prompt }}'}}",
                response="{text: text}",
                backend=f"{{url: '{backend.url}'}}",
            )
            running = await proxy(made)
            headers = {f"X-Forwarded-{name}": host for name in ("Host", "Server", "For")} | {
                "Forwarded": f"host={host}"
            }
            headers |= {"X-Original-URL": canary.url, "X-Rewrite-URL": canary.url, "Proxy": canary.url}
            fields = dict.fromkeys(LEADING, canary.url)
            wire = await fetch(running.url, hello(headers=headers, **fields, extra_body=fields, metadata=fields))
            assert wire.status == (502 if status else 200)
            if status:
                assert (wire.error["code"], wire.headers["x-should-retry"]) == ("upstream_redirect", "false")
            (sent,) = backend.requests
            assert sent.header("host") == backend.url.removeprefix("http://")
            assert host.encode() not in sent.head + sent.body
        assert canary.connections == []


async def test_no_schema_of_a_client_is_fetched(proxy: Any) -> None:
    """T23: `$ref` leads into the schema itself, or the request is refused."""
    async with Backend([REQUEST, WHOLE]) as canary, Backend([REQUEST, WHOLE]) as backend:
        made = chat(
            request="{path: /g, body: {p: '{{ prompt }}'}}",
            response="{text: text}",
            backend=f"{{url: '{backend.url}'}}",
            more="emulate: [response_format]",
        )
        schema = {"type": "object", "properties": {"a": {"$ref": canary.url + "/s.json"}}}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
        wire = await fetch((await proxy(made)).url, hello(response_format=form))
        assert (wire.status, wire.error["type"]) == (400, "invalid_request_error")
        assert wire.error["param"].startswith("response_format")
        assert canary.connections == backend.connections == []


# T3: what is served

SERVED = {*(door.path for door in DOORS.values()), COUNT}


@pytest.mark.parametrize(
    "path",
    ["/admin", "/config", "/v1/admin", "/reload", "/v1/config", "/template", "/render", "/v1/mappings", "/debug"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_there_is_nothing_to_administer(proxy: Any, path: str, method: str) -> None:
    """The configuration is read from files alone."""
    wire = await fetch((await proxy(ADDRESSED)).url, request({}, path, method=method))
    assert (wire.status, wire.error["type"]) == (404, "invalid_request_error")


async def test_the_table_of_what_is_served(proxy: Any) -> None:
    """Whoever adds a way in adds it here."""
    running = await proxy(ADDRESSED)
    posted = {route.path for route in routes(running.state) if route.method == "POST"}
    responses = {f"/v1/responses{rest}" for rest in ("", "/compact", "/input_tokens", "/{id}/cancel")}
    assert posted == SERVED | responses
