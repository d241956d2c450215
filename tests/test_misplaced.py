"""Promises of secrets in wrong places: no report shows them, and what is none stays readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.config import check_config
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.junit import Suite, junit
from oaiproxy.layers import NO_BASES, Base, Bases
from oaiproxy.loader import mapping_schema
from oaiproxy.misplaced import takes
from oaiproxy.reporters import REPORTERS

SECRET = "geheim-Pass-4711"
CHAT = 'chat:\n  request: {path: /x, body: {q: "{{ prompt }}"}}\n  response: {text: out}\n'

AUTH = """
{basic: "user:%s"}
Bearer %s
"Bearer %s"
bearer:%s
[bearer, %s]
[{bearer: %s}]
{bearer: {token: %s}}
{bearer: [%s]}
{Bearer: %s}
{bearer %s}
{%s}
{bearer: "${KEY:-%s}", valeu: x}
{bearer: "${MY-KEY:-%s}"}
{bearer: "%s{{ x"}
{bearer: "{{ '%s' }}"}
{bearer: "${%s}"}
{bearer: "${KEY:%s}"}
{bearer: "${KEY-%s}"}
{bearer: "${%s"}
{bearer: "${KEY:-%s"}
{bearer: &a %s, x: *a}
{bearer: "a", bearer: %s}
{type: bearer, token: %s}
{api_key: %s}
{header: "x-api-key: %s"}
{header: "Authorization: Bearer %s"}
{header: {x-api-key: %s}}
{header: x-key, valeu: %s}
{query: {key: %s}}
{query: "key=%s"}
{passthrough: "Bearer %s"}
{basic: [me, %s]}
{basic: {username: me, pass: %s}}
{oauth2: {url: "https://t.example.com", id: me, secret: %s}}
{oauth2: {token_url: "https://me:%s@t.example.com/t", client_id: me}}
{jwt: {secret: %s}}
{jwt: {algorithm: HS257, key: %s}}
{sigv4: {service: s, region: r, secret_access_key: %s}}
{login: {url: "https://t.example.com", body: {user: me, pw: %s}}}
{login: {request: {url: "https://t.example.com", body: {user: me, password: %s}}, token: t, tokn: x}}
""".strip().split("\n")

BACKEND = """
api_key: %s
apiKey: {value: %s}
token: %s
headers: "Authorization: Bearer %s"
headers: ["Authorization: Bearer %s"]
headers: [{name: Authorization, value: "Bearer %s"}]
headers: {Authorization: ["Bearer %s"]}
headers: {"Authorization: Bearer %s": x}
headers: {authorization: "{{ 'Bearer %s' | foo }}"}
headers: {authorization: "Bearer %s{{ x | }}"}
header: {x-api-key: "%s"}
query: {key: [%s]}
query: "key=%s"
base_url: "https://me:%s@api.example.com"
base_url: "https://api.example.com/x?api_key=%s&a=b"
tls: {key_password: %s}
""".strip().split("\n")

CHATS = """
headers: {Authorization: "Bearer %s"}
api_key: %s
after: [{name: x, request: {path: "/x?key=%s"}}]
request: {path: "/x?key=%s", body: {q: "{{ prompt }}"}}
request: {path: "https://me:%s@api.example.com", body: {q: "{{ prompt }}"}}
request: {path: /x, body: {api_key: %s, q: "{{ promt }}"}}
""".strip().split("\n")

KEYS = """
keys: {alice: %s}
keys: {%s: alice}
keys: {alice: {key: %s}}
keys: [{name: a, secret: %s}]
keys: [{name: a, secret: [%s]}]
keys: [{%s: a}]
keys: [{%s}]
keys: [{name: "a %s", sha256: x}]
keys: [[%s]]
keys: ["alice: %s"]
key: %s
key: [{name: a, sha256: %s}]
api_keys: [%s]
server: {api_key: %s}
server: {keys: {alice: %s}}
password: %s
keys: [{name: a, sha256: "%s}]
""".strip().split("\n")


def findings_of(text: str) -> tuple[Diagnostic, ...]:
    return check_mapping(text, "test.yaml", Surroundings(mapping_schema(), {}, lambda name: "")).diagnostics


def with_auth(line: str) -> str:
    return f"oaiproxy: 1\nmodels: [m]\nbackend:\n  url: https://api.example.com\n  auth: {line}\n{CHAT}"


def with_backend(line: str) -> str:
    return f"oaiproxy: 1\nmodels: [m]\nbackend:\n  url: https://api.example.com\n  {line}\n{CHAT}"


def with_chat(line: str) -> str:
    rest = CHAT if not line.startswith("request") else CHAT.replace("  request:", "  # request:")
    return f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: https://api.example.com}}\n{rest}  {line}\n"


def told(findings: tuple[Diagnostic, ...], text: str) -> str:
    """All that is told of them, in every form."""
    reports = [report(findings, {"test.yaml": text}, False) for report in REPORTERS.values()]
    return "\n".join([*reports, junit([Suite("test.yaml", findings)], {"test.yaml": text}, strict=True)])


MAPPINGS = [*map(with_auth, AUTH), *map(with_backend, BACKEND), *map(with_chat, CHATS)]


@pytest.mark.parametrize("text", MAPPINGS, ids=[*AUTH, *BACKEND, *CHATS])
def test_no_report_shows_it(text: str) -> None:
    """Neither whole nor a half, and it is told that it stands there."""
    text = text.replace("%s", SECRET)
    findings = findings_of(text)
    report = told(findings, text)
    assert any(found.code == "W106" for found in findings)
    assert SECRET[:8] not in report
    assert SECRET[8:] not in report


@pytest.mark.parametrize("line", KEYS)
def test_no_report_of_a_configuration_shows_it(line: str) -> None:
    """Whatever is written for a key, and under whatever name."""
    text = f"mappings: []\n{line.replace('%s', SECRET)}\n"
    findings = tuple(check_config(text, Path("test.yaml"), {}).diagnostics)
    report = told(findings, text)
    assert findings
    assert SECRET[:8] not in report
    assert SECRET[8:] not in report


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("{type: bearer, token: %s}", "type: bearer"),
        ("{header: x-my-header, valeu: %s}", "x-my-header"),
        ("{oauth2: {url: 'https://t.example.com', id: some-client, secret: %s}}", "https://t.example.com"),
        ("{oauth2: {url: 'https://t.example.com', id: some-client, secret: %s}}", "some-client"),
        ("{basic: {username: somebody, pass: %s}}", "somebody"),
        ("{sigv4: {service: bedrock, region: eu-central-1, secret_access_key: %s}}", "eu-central-1"),
        ("{oauth2: {token_url: 'https://me:%s@t.example.com/t', clientid: me}}", "t.example.com/t"),
        ("[bearer, %s]", "[bearer"),
        ("{passthrough: x-backend-key, bearer: %s, x: y}", "x-backend-key"),
    ],
)
def test_what_stands_beside_it_is_shown(line: str, shown: str) -> None:
    """The names of headers, kinds and users, and addresses."""
    text = with_auth(line.replace("%s", SECRET))
    assert shown in REPORTERS["text"](findings_of(text), {"test.yaml": text}, False)


@pytest.mark.parametrize(
    "text",
    [
        with_auth("{header: x-my-header}"),
        with_auth("{passthrough: [authorization]}"),
        with_auth("{type: api_key, bearer: '${KEY:-none}'}"),
        with_auth("passthrough"),
        with_auth("{oauth2: {scope: 'all of it', tokn_url: 'https://t.example.com/token'}}"),
        with_backend("tls: {key: client.key}"),
        with_backend("headers: {authorization: \"Bearer {{ headers['x-backend-key'] }}\"}"),
        with_backend("auth: {bearer: '${API KEY}', header: '${NAME'}"),
        with_backend("headers: {x-version: [2024-01-01]}"),
        with_chat("response: {logprobs: {token: [choices], key: choices.logprobs.content.token}}"),
        with_chat("usage: {prompt_tokens: meta.usage.input_tokens, tokens: meta.usage.all_of_them}"),
        with_chat("token: '{{ some_template_of_words }}'"),
    ],
)
def test_what_is_no_secret_is_not_hidden(text: str) -> None:
    """Though it is wrong where it stands."""
    assert "W106" not in [found.code for found in findings_of(text)]


def test_a_stage_of_junit_hides_what_another_found() -> None:
    """The secret is told of among what the schema says, and a template in the same line has a case of its own."""
    text = with_backend(f"auth: {{bearer: {SECRET}}}").replace("models", "vars: {a: '{{ x'}\nmodels")
    text = text.replace(
        "backend:\n  url: https://api.example.com\n  auth", "backend: {url: 'https://a.example.com', auth"
    )
    text = text.replace(f"{SECRET}}}", f"{SECRET}}}, query: {{a: '{{{{ x'}}}}")
    findings = findings_of(text)
    assert {found.code for found in findings} >= {"W106", "E201"}
    assert SECRET not in told(findings, text)


def test_a_base_that_cannot_be_read_shows_none() -> None:
    """The finding stands in another file than the one that is checked."""
    base = f"backend:\n  auth: {{bearer: {SECRET}\n"
    bases = Bases(lambda name: Base("base.yaml", name, base, lambda file: "", NO_BASES))
    text = "oaiproxy: 1\nextends: base.yaml\n"
    findings = check_mapping(text, "test.yaml", Surroundings(mapping_schema(), {}, lambda name: "", bases)).diagnostics
    reports = [report(findings, {"test.yaml": text, "base.yaml": base}, False) for report in REPORTERS.values()]
    assert findings[0].span is not None
    assert findings[0].span.file == "base.yaml"
    assert SECRET not in "\n".join(reports)


def test_a_schema_knows_its_paths() -> None:
    """Blocks and lists."""
    schema = {"properties": {"a": {"items": {"properties": {"b": {}}}}}}
    assert takes(schema, ("a", 0, "b"))
    assert not takes(schema, ("a", 0, "c"))
    assert not takes(schema, ("a", "b"))
