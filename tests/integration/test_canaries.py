"""Secrets planted wherever one may stand, and a fault of every kind: none is told or printed by anybody (T10)."""

from __future__ import annotations

import base64
import json
import re
import signal
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from faults import LENGTH
from logged import Logged
from scripted import FIN, GONE, REQUEST, RST, Backend, Client, answer, chunk, event, fetch, request, stream_head

BEARER = "sk-c4n4ry/of+the==bearer"
PASSWORD = "c4n4ry:pass/wörd"
QUERY = "c4n4ry&of the?query"
HEADER = "c4n4ry-of-a-header"
WRITTEN = "c4n4ry-written-out-0123456789"
CLIENT = "sk-c4n4ry-of-the-client-0001"
PASSED = "c4n4ry/passed+through=="
PROMPT = "c4n4ry-in-the-prompt"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()


def spellings(secret: str) -> set[str]:
    """The forms in which somebody else may tell a secret."""
    data = secret.encode()
    quoted = quote(secret, safe="")
    return {
        *(secret, quoted, re.sub("%..", lambda at: at[0].lower(), quoted), quote_plus(secret)),
        *(json.dumps(secret)[1:-1], json.dumps(secret)[1:-1].replace("/", "\\/")),
        *(base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode().rstrip("=")),
    }


SECRETS = {"bearer": BEARER, "basic": PASSWORD, "query": QUERY, "header": HEADER, "written": WRITTEN, "passed": PASSED}
"""What each backend is sent, by the name of its mapping."""
TOLD = {auth: {*spellings(secret), *([BASIC] if auth == "basic" else [])} for auth, secret in SECRETS.items()}
"""What it says then."""
SEALED = {CLIENT, *(form for forms in TOLD.values() for form in forms)}

AUTHS = {
    "bearer": 'auth: {bearer: "${BEARER}"}',
    "basic": 'auth: {basic: {user: me, password: "${PASSWORD}"}}',
    "query": 'auth: {query: key, value: "${QUERY}"}',
    "header": 'auth: {header: x-token, value: "${HEADER}"}',
    "written": f'auth: {{bearer: "{WRITTEN}"}}',
    "passed": "auth: {passthrough: x-backend-key}",
}
MAPPING = """
oaiproxy: 1
models: [%(model)s]
backend:
  url: "%(url)s"
  %(auth)s
  timeouts: {first_byte: 300ms, idle: 300ms}
  retry: {on: []}
chat:
  request: {path: /g, body: {p: "{{ prompt }}"}}
  response: {text: text, finish_reason: f}
  stream: {request: {path: /s}, format: sse, text: t, finish_reason: f, done: d}
"""

CLOSE = {"Connection": "close"}
HEAD = stream_head().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
BEGUN = [HEAD, chunk(event("The "))]


def said(status: int, body: Any, **headers: str) -> list[Any]:
    return [answer(body, status, {**CLOSE, **headers})]


def sse(data: Any) -> bytes:
    made = data if isinstance(data, bytes) else json.dumps(data).encode()
    return b"data: " + made + b"\n\n"


def faults(echo: str, key: str) -> dict[str, list[Any]]:
    """What a backend does that tells all that it was sent."""
    page = f"<html><title>{quote(echo)}</title>{echo}</html>".encode()
    line = echo.encode("latin-1", "replace")
    return {
        **{
            f"a status {status}": said(status, {"error": {"message": echo}})
            for status in (300, 400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 529)
        },
        "no object": said(500, echo),
        "a list": said(500, [{"message": echo}]),
        "detail": said(422, {"detail": [{"loc": [echo], "msg": echo, "input": {"k": echo}}]}),
        "keys of an object": said(400, {"error": {echo: echo}}),
        "type and code": said(400, {"error": {"message": echo, "type": key, "code": key, "param": key}}),
        "a page of an error": said(500, page, **{"Content-Type": "text/html"}),
        "plain text of an error": said(500, echo.encode(), **{"Content-Type": "text/plain"}),
        "a stack": said(500, {"error": {"message": f'Traceback (most recent call last):\n  File "x"\n{echo}'}}),
        "an unknown finish": said(200, {"text": "fine", "f": key[:40]}),
        "an unknown finish of a stream": [*BEGUN, chunk(sse({"t": "fine", "f": key, "d": 1})), GONE],
        "a redirect": said(302, b"", Location=f"http://127.0.0.1:1/{quote(echo)}"),
        "a page": said(200, page, **{"Content-Type": "text/html"}),
        "no JSON": said(200, b'{"text": "' + echo.encode()),
        "bytes that are no text": said(200, b'{"text": "\xff' + echo.encode() + b'"}'),
        "another object": said(200, {echo: echo, "text": {echo: 1}}),
        "an error within 200": said(200, {"error": {"message": echo}}),
        "an unknown encoding": said(200, b"x", **{"Content-Encoding": key}),
        "no gzip": said(200, echo.encode(), **{"Content-Encoding": "gzip"}),
        "no HTTP": [line + b"\r\n\r\n", FIN],
        "no status line": [b"HTTP/1.1 " + line + b"\r\n\r\n", FIN],
        "no header": [b"HTTP/1.1 200 OK\r\n" + line.replace(b":", b"") + b"\r\n\r\n", FIN],
        "a header too long": [b"HTTP/1.1 200 OK\r\nX: " + line * 40 + b"\r\n\r\n", FIN],
        "a bad length": [b"HTTP/1.1 200 OK\r\nContent-Length: " + key.encode() + b"\r\n\r\n", FIN],
        "a bad chunk": [HEAD, key.encode() + b"\r\n\r\n", FIN],
        "cut": [LENGTH % 100_000 + echo.encode(), FIN],
        "reset": [LENGTH % 100_000 + echo.encode(), RST],
        "silence": [GONE],
        "no answer": [FIN],
        "an error in a stream": [*BEGUN, chunk(sse({"error": {"message": echo, "type": key, "code": key}})), GONE],
        "an error at first": [HEAD, chunk(sse({"error": {"message": echo}})), GONE],
        "no JSON in a stream": [*BEGUN, chunk(sse(echo.encode())), GONE],
        "no text in a stream": [*BEGUN, chunk(sse({"t": {echo: echo}})), GONE],
        "an event cut": [*BEGUN, chunk(b"data: " + echo.encode()), chunk(b"")],
        "a stream cut": [*BEGUN, chunk(b": " + echo.encode() + b"\n\n"), FIN],
        "a stream reset": [*BEGUN, RST],
        "a stream that stalls": [*BEGUN, GONE],
        "a bad chunk in a stream": [*BEGUN, line + b"\r\n", GONE],
        "no text at all in a stream": [*BEGUN, chunk(sse(b'{"t": "\xff' + echo.encode() + b'"}')), GONE],
    }


KEYS = {"Authorization": f"Bearer {CLIENT}", "x-backend-key": PASSED}


def ask(model: str, *, streams: bool = False, headers: dict[str, str] | None = None, **fields: Any) -> bytes:
    messages = [{"role": "user", "content": PROMPT}]
    return request({"model": model, "messages": messages, "stream": streams, **fields}, headers=headers or KEYS)


HOSTILE: dict[str, bytes] = {
    "another key": ask("bearer", headers={"Authorization": f"Bearer {CLIENT}x"}),
    "two keys": ask("bearer", headers={**KEYS, "x-api-key": CLIENT, "api-key": CLIENT + "y"}),
    "a key that is no text": ask("bearer", headers={"Authorization": f"Bearer {CLIENT}\x80"}),
    "another scheme": ask("bearer", headers={"Authorization": f"Basic {BASIC}"}),
    "no scheme": ask("bearer", headers={"Authorization": CLIENT}),
    "a zero in a header": ask("bearer", headers={**KEYS, "X": f"{CLIENT}\x00"}),
    "a header without a colon": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    + CLIENT.encode()
    + b"\r\n\r\n",
    "a header too long": ask("bearer", headers={**KEYS, "X": CLIENT * 1000}),
    "no method": f"{CLIENT} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "no version": f"GET /v1/models HTTP/{CLIENT}\r\n\r\n".encode(),
    "a length that is none": ask("bearer", headers={**KEYS, "Content-Length": CLIENT}),
    "a host that is none": ask("bearer", headers={**KEYS, "Host": f"{CLIENT}@x/?"}),
    "an encoding": ask("bearer", headers={**KEYS, "Content-Encoding": CLIENT}),
    "a charset": ask("bearer", headers={**KEYS, "Content-Type": f"application/json; charset={CLIENT}"}),
    "a key in the query": request(None, f"/v1/models?api_key={quote(CLIENT)}", method="GET", headers=KEYS),
    "a key in a query that is nowhere": request(None, f"/v1/x?key={quote(CLIENT)}", method="GET", headers=KEYS),
    "no JSON": request(f'{{"{PROMPT}"'.encode(), headers=KEYS),
    "no object": request(PROMPT, headers=KEYS),
    "no UTF-8": request(b'{"model": "bearer", "messages": "\xff' + PROMPT.encode() + b'"}', headers=KEYS),
    "a role": ask("bearer", messages=[{"role": PROMPT, "content": PROMPT}]),
    "no message": ask("bearer", messages=[PROMPT]),
    "a part": ask("bearer", messages=[{"role": "user", "content": [{"type": PROMPT, PROMPT: PROMPT}]}]),
    "a number": ask("bearer", temperature=PROMPT),
    "an unknown field": ask("bearer", **{PROMPT: PROMPT}),
    "a tool": ask("bearer", tools=[{"type": "function", "function": {"name": PROMPT + "!", "parameters": PROMPT}}]),
    "a call": ask("bearer", messages=[{"role": "tool", "tool_call_id": PROMPT, "content": PROMPT}]),
    "an image": ask("bearer", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": PROMPT}]}]),
    "a format": ask("bearer", response_format={"type": PROMPT}),
    "metadata": ask("bearer", metadata={PROMPT: 5}),
}


async def test_no_secret_is_told_or_printed_whatever_fails(tmp_path: Path) -> None:
    """Keys in the environment, in files and of clients, and a prompt; a backend that tells all that it was sent."""
    scripts = {
        (fault, auth): [REQUEST, *steps]
        for auth, forms in TOLD.items()
        for fault, steps in faults(" ".join(sorted(forms)), SECRETS[auth]).items()
    }
    variables = {"BEARER": BEARER, "PASSWORD": PASSWORD, "QUERY": QUERY, "HEADER": HEADER}
    told: list[tuple[str, bytes]] = []
    async with Backend(*(script for script in scripts.values() for _ in range(2)), [REQUEST, *BEGUN, GONE]) as backend:
        for auth, text in AUTHS.items():
            described = {"model": auth, "url": backend.url, "auth": text}
            (tmp_path / f"{auth}.yaml").write_text(MAPPING % described)
        key = f"keys: [{{name: app, sha256: {sha256(CLIENT.encode()).hexdigest()}}}]"
        rest = "breaker: {failures: 0}\nlog: {level: debug}\nserver: {shutdown_timeout: 0.5}\n"
        config = f"mappings: [{', '.join(f'{auth}.yaml' for auth in AUTHS)}]\n{key}\n{rest}"
        (tmp_path / "config.yaml").write_text(config)
        service = Logged("serve", "--config", tmp_path / "config.yaml", "--port", "0", **variables)
        async with service:
            for fault, auth in scripts:
                for streams in (False, True):
                    wire = await fetch(service.url, ask(auth, streams=streams))
                    told.append((f"{fault}, {auth}, {streams}", wire.raw))
                    assert len(backend.connections) == len(told)  # each played its own script
            for what, data in HOSTILE.items():
                told.append((what, (await fetch(service.url, data)).raw))
            if hasattr(signal, "SIGHUP"):
                broken = MAPPING % {
                    "model": "m",
                    "url": backend.url,
                    "auth": AUTHS["written"].replace("{", "{heade: x, "),
                }
                (tmp_path / "written.yaml").write_text(broken)
                service.signal(signal.SIGHUP)
                assert WRITTEN not in json.dumps(await service.told("reload"))
            async with await Client.connect(service.url) as client:
                await client.send(ask("bearer", streams=True))
                await client.until(b"The ")
                service.signal(signal.SIGTERM)
                told.append(("the end", await client.rest()))
            assert await service.exit() == 0
    assert {name for request_ in backend.requests for name, value in request_.headers if "c4n4ry" in value} >= {
        "authorization",
        "x-token",
        "x-backend-key",
    }
    leaked = [(what, form) for what, raw in told for form in SEALED if seen(form, raw)]
    leaked += [(json.dumps(each), form) for each in service.events for form in {PROMPT, *SEALED} if seen(form, each)]
    leaked += [
        (line, form) for line in (service.greeting, *service.printed) for form in {PROMPT, *SEALED} if form in line
    ]
    assert leaked == []
    assert sum(each["event"] == "request" for each in service.events) > 2 * len(scripts)


def seen(form: str, told: Any) -> bool:
    """Whether a text is in an answer or in a line of the log, as it is or within JSON."""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else json.dumps(told, ensure_ascii=False)
    return any(each in text for each in (form, json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1]))
