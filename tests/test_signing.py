"""Signatures over final requests: AWS's own test vector, any scheme by templates, and what replaces what."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from support import chat

from oaiproxy.auth import Signed
from oaiproxy.sandbox import RenderError
from oaiproxy.signing import Final, Moment, Proof, proven, sigv4_signer, with_query

MOMENT = Moment(1440938160.0, "6f1c1c1e-0000-4000-8000-000000000000")  # 2015-08-30T12:36:00Z
ACCESS, KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # of AWS's published test suite
GET = Final("GET", "https://example.amazonaws.com/", {}, None)


def signer(sign: str) -> Signed:
    """The signer of a mapping."""
    backend = f"{{url: 'https://b.test:8443/v1', auth: {{sign: {sign}}}}}"
    auth = chat(response="{text: t}", backend=backend, more="vars: {key: secret}").backend.auth
    assert isinstance(auth, Signed)
    return auth


def test_the_published_vector() -> None:
    """`get-vanilla` of the Signature Version 4 test suite."""
    proof = sigv4_signer("service", "us-east-1", ACCESS, KEY, None)(GET, MOMENT)
    assert proof.headers == {
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    }


def by_hand(final: Final, canonical_path: str, canonical_query: str, headers: dict[str, str]) -> str:
    """The signature as AWS's documentation describes it, from a path that is encoded by hand."""
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    digest = hashlib.sha256(final.body or b"").hexdigest()
    canonical = f"{final.method}\n{canonical_path}\n{canonical_query}\n{lines}\n{names}\n{digest}"
    scope = "20150830/eu-west-1/bedrock/aws4_request"
    told = f"AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, told.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={names}, Signature={signature}"


@pytest.mark.parametrize("token", [None, "a-session"])
def test_the_path_is_encoded_twice_and_the_body_signed(token: str | None) -> None:
    """What is sent has `%3A`, what is signed `%253A`; parameters are sorted; a session's token is signed too."""
    final = Final(
        "POST",
        "https://models.test/model/a.b-v2%3A0/converse?z=1&a=%C3%A4",
        {"Content-Type": "application/json", "authorization": "Bearer older"},
        b'{"q":"gr\xc3\xb6\xc3\x9fe"}',
    )
    proof = sigv4_signer("bedrock", "eu-west-1", ACCESS, KEY, token)(final, MOMENT)
    headers = {"content-type": "application/json", "host": "models.test", "x-amz-date": "20150830T123600Z"}
    headers |= {"x-amz-security-token": token} if token else {}
    assert proof.headers["Authorization"] == by_hand(final, "/model/a.b-v2%253A0/converse", "a=%C3%A4&z=1", headers)
    assert proof.headers.get("X-Amz-Security-Token") == token
    assert proven(final, proof).url == final.url


def test_what_templates_see() -> None:
    """The parts of the request as they go out, the time, and constants."""
    parts = ("method", "path", "query", "host", "body")
    wanted = " ".join(f"{{{{ http.{part} }}}}" for part in parts) + " {{ now }} {{ uuid }} {{ vars.key }}"
    final = Final("POST", "https://b.test:8443/v1/%C3%A4?a=%20", {}, "ä".encode())
    proof = signer(
        f"{{headers: {{x-all: '{wanted}'}}, query: {{left-out: '{{{{ none }}}}', now: '{{{{ now }}}}'}}}}"
    ).sign(final, MOMENT)
    told = f"POST /v1/%C3%A4 a=%20 b.test:8443 ä 1440938160 {MOMENT.uuid} secret"
    assert proof == Proof({"x-all": told}, {"now": "1440938160"})


def test_keys_that_are_made_of_keys() -> None:
    """Digests are bytes for the next step, and hexadecimal as text."""
    chain = "{{ http.body | hmac_sha256(http.host | hmac_sha256('TC' ~ vars.key)) }}"
    texts = f'{{headers: {{hex: "{chain}", b64: "{chain[:-3]} | b64 }}}}", same: "{chain[:-3]} | hex }}}}"}}}}'
    proof = signer(texts).sign(Final("POST", "https://b.test/", {}, b"body"), MOMENT)
    import base64

    made = hmac.digest(hmac.digest(b"TCsecret", b"b.test", "sha256"), b"body", "sha256")
    assert proof.headers == {"hex": made.hex(), "same": made.hex(), "b64": base64.b64encode(made).decode()}


@pytest.mark.parametrize(
    ("sign", "body"),
    [
        ("{headers: {x: '{{ http.body }}'}}", b"\xff"),
        ("{headers: {x: '{{ http.body }}'}}", b"a\nb"),
        ("{headers: {x: '{{ http.body | int }}'}}", b"a"),
    ],
)
def test_what_cannot_be_signed(sign: str, body: bytes) -> None:
    """Bytes that are no text, a header of two lines, a filter that fails."""
    with pytest.raises(RenderError):
        signer(sign).sign(Final("POST", "https://b.test/", {}, body), MOMENT)


def test_a_proof_wins() -> None:
    """Over headers and parameters of the same name."""
    final = Final("POST", "https://b.test/x?key=1&keys=2&key=3", {"AUTHORIZATION": "old", "X-Other": "1"}, b"")
    made = proven(final, Proof({"Authorization": "new"}, {"key": "a b"}))
    assert made == Final("POST", "https://b.test/x?keys=2&key=a%20b", {"X-Other": "1", "Authorization": "new"}, b"")
    assert with_query("https://b.test/", {"a": "b"}) == "https://b.test/?a=b"
    assert with_query("https://b.test/?c", {}) == "https://b.test/?c"
