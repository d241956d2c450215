"""Promises of what a mapping discloses: secrets are found and never shown, and what is none is left alone."""

from __future__ import annotations

import pytest

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.loader import mapping_schema
from oaiproxy.reporters import REPORTERS

SECRET = "open-sesame-4711"


def findings_of(text: str, environment: dict[str, str] | None = None) -> tuple[Diagnostic, ...]:
    surroundings = Surroundings(mapping_schema(), environment or {}, lambda name: "")
    return check_mapping(text, "test.yaml", surroundings).diagnostics


def mapping(backend: str = "", *, url: str = "https://api.example.com", request: str = "", more: str = "") -> str:
    return (
        f'oaiproxy: 1\nmodels: [m]\nbackend:\n  url: "{url}"\n{backend}{more}'
        f'chat:\n  request: {{path: /x, body: {{q: "{{{{ prompt }}}}"}}{request}}}\n  response: {{text: out}}\n'
    )


def codes(text: str, environment: dict[str, str] | None = None) -> list[str]:
    return [found.code for found in findings_of(text, environment)]


@pytest.mark.parametrize(
    "backend",
    [
        f"  auth: {{bearer: {SECRET}}}\n",
        f"  auth: {{header: x-key, value: {SECRET}}}\n",
        f"  auth: {{basic: {{user: me, password: {SECRET}}}}}\n",
        f"  auth: {{oauth2: {{token_url: 'https://t.example.com', client_id: me, client_secret: {SECRET}}}}}\n",
        f"  auth: {{sigv4: {{service: s, region: r, access_key: a, secret_key: {SECRET}}}}}\n",
        f"  auth: {{jwt: {{algorithm: HS256, key: {SECRET}}}}}\n",
        f"  headers: {{Authorization: Bearer {SECRET}}}\n",
        f"  headers: {{api-key: {SECRET}}}\n",
        f"  headers: {{x-access-token: {SECRET}-and-more}}\n",
        f"  query: {{api_key: {SECRET}-and-more}}\n",
    ],
)
def test_a_secret_that_is_written_out(backend: str) -> None:
    """One finding at its value, and neither the finding nor any report has the secret."""
    text = mapping(backend)
    findings = findings_of(text)
    assert [found.code for found in findings] == ["W106"]
    assert SECRET not in repr(findings)
    file = findings[0].span.file if findings[0].span else ""
    for report in REPORTERS.values():
        assert SECRET not in report(findings, {file: text}, False)


def test_another_finding_in_its_line_does_not_show_it() -> None:
    """A code frame shows the whole line."""
    text = mapping(f"  auth: {{bearer: {SECRET}, valeu: x}}\n")
    findings = findings_of(text)
    assert {found.code for found in findings} == {"E101", "W106"}
    assert SECRET not in REPORTERS["text"](findings, {findings[0].span.file: text}, False)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-a1B2c3D4e5F6g7H8i9J0",
        "AKIA" + "ABCDEFGH12345678",
        "gh" + "p_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
        "h" + "f_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
@pytest.mark.parametrize("line", ["x-note: {}\n", "# {}\n", "vars: {{v: 'Bearer {}'}}\n"])
def test_what_looks_like_a_key(key: str, line: str) -> None:
    """Wherever it stands, a comment too."""
    text = mapping().replace("chat:", line.format(key) + "chat:", 1)
    found = [found for found in findings_of(text) if found.code == "W106"]
    assert len(found) == 1
    assert key not in REPORTERS["text"](found, {found[0].span.file: text}, False)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "backend",
    [
        '  auth: {bearer: "${KEY:-}"}\n',
        '  auth: {bearer: "${KEY}"}\n',
        "  auth: {bearer: none}\n",
        "  auth: {bearer: <your key>}\n",
        "  auth: {bearer: your-key}\n",
        "  auth: {bearer: sk-xxxxxxxxxxxxxxxxxxxxxxxx}\n",
        "  auth: {passthrough: authorization}\n",
        '  headers: {x-request-token: "{{ uuid }}"}\n',
        "  headers: {x-monkey: abcdefghijklmnopqrstuvwxyz, x-max-tokens: 100}\n",
        "  query: {api-version: 2024-01-01-preview, keyword: abcdefghijklmnopqrstuvwxyz}\n",
        "  query: {key: short, token: 'some words that are none'}\n",
    ],
)
def test_what_is_no_secret(backend: str) -> None:
    """References, templates, and words that stand for none."""
    assert codes(mapping(backend), {"KEY": "hunter2hunter2"}) == []


@pytest.mark.parametrize(
    "word", ["task-force-of-the-eastern-districts", "risk-assessment-of-models-2024", "AKIAIOSFODNN7EXAMPLE", "a_b"]
)
def test_words_that_only_resemble_keys(word: str) -> None:
    """They begin in the middle of a word, or say that they are examples."""
    assert codes(mapping().replace("chat:", f"x-note: {word}\nchat:", 1)) == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://api.example.com", ["W107"]),
        ("http://10.0.0.1:8000", ["W107"]),
        ("HTTP://api.example.com", ["W107"]),
        ("http://localhost:8000", []),
        ("http://127.0.0.1:8000", []),
        ("http://[::1]:8000", []),
        ("https://api.example.com", []),
    ],
)
def test_an_address_without_tls(url: str, expected: list[str]) -> None:
    """Only where it leaves the machine."""
    assert codes(mapping(url=url)) == expected


def test_an_address_of_the_environment_is_not_told() -> None:
    """The finding stands at the reference."""
    (found,) = findings_of(mapping(url="${URL}"), {"URL": "http://hidden.example.com"})
    assert found.code == "W107"
    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("signing_secret", SECRET, ["W106"]),
        ("api_key", "hunter2", ["W106"]),
        ("end_token", "<|end_of_a_turn|>", []),
        ("key", "a-short-one", []),
        ("folder", "b1g0000000000000000", []),
    ],
)
def test_a_constant_that_is_a_secret(name: str, value: str, expected: list[str]) -> None:
    """By its name, and by its length where the name may mean something else."""
    text = (
        mapping()
        .replace("chat:", f'vars: {{{name}: "{value}"}}\nchat:', 1)
        .replace("prompt", f"prompt }}}}{{{{ vars.{name}")
    )
    assert codes(text) == expected


def test_the_body_of_a_login() -> None:
    """Its password, and not who it is of."""
    body = f"body: {{user: somebody-else, password: {SECRET}}}"
    text = mapping(
        f"  auth: {{login: {{request: {{url: 'https://l.example.com', {body}}}, token: access_token_of_it}}}}\n"
    )
    (found,) = findings_of(text)
    assert found.message == "`password` holds a secret, written out"
