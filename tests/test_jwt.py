"""Signed tokens are what other libraries verify, in every algorithm; keys that do not fit are told of, never shown."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from keys import pem, rsa_key

from oaiproxy.jwt import KeyUnfitError, needs_library, sign_jwt
from oaiproxy.loader import mapping_schema

ALGORITHMS = mapping_schema()["$defs"]["auth"]["properties"]["jwt"]["properties"]["algorithm"]["enum"]
CLAIMS = {"iss": "me", "exp": 1}


def parts(token: str) -> tuple[Any, Any, bytes, bytes]:
    """Header, claims, what is signed, and the signature."""
    head, claims, mark = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return json.loads(head), json.loads(claims), token.rpartition(".")[0].encode(), mark


@pytest.mark.parametrize("bits", [256, 384, 512])
def test_hmac(bits: int) -> None:
    """RFC 7518, 3.2; without padding, in the alphabet of addresses."""
    token = sign_jwt(f"HS{bits}", "secret", CLAIMS, {"kid": "k", "typ": "X"})
    head, claims, signed, mark = parts(token)
    assert (head, claims) == ({"alg": f"HS{bits}", "typ": "X", "kid": "k"}, CLAIMS)
    assert mark == hmac.digest(b"secret", signed, f"sha{bits}")
    assert not set(token) & set("=+/")


@pytest.mark.parametrize("algorithm", [each for each in ALGORITHMS if each[:2] in ("RS", "PS")])
def test_rsa(algorithm: str) -> None:
    """RFC 7518, 3.3 and 3.5."""
    _, _, signed, mark = parts(sign_jwt(algorithm, pem(rsa_key()), CLAIMS, {}))
    digest = getattr(hashes, f"SHA{algorithm[2:]}")()
    pad = padding.PKCS1v15() if algorithm[0] == "R" else padding.PSS(padding.MGF1(digest), digest.digest_size)
    rsa_key().public_key().verify(mark, signed, pad, digest)


@pytest.mark.parametrize(("algorithm", "curve"), [("ES256", ec.SECP256R1()), ("ES384", ec.SECP384R1())])
def test_elliptic_curves(algorithm: str, curve: Any) -> None:
    """RFC 7518, 3.4: two numbers of a fixed size."""
    key = ec.generate_private_key(curve)
    _, _, signed, mark = parts(sign_jwt(algorithm, pem(key), CLAIMS, {}))
    half = curve.key_size // 8
    assert len(mark) == 2 * half
    made = encode_dss_signature(int.from_bytes(mark[:half], "big"), int.from_bytes(mark[half:], "big"))
    key.public_key().verify(made, signed, ec.ECDSA(getattr(hashes, f"SHA{algorithm[2:]}")()))


@pytest.mark.parametrize("algorithm", [each for each in ALGORITHMS if needs_library(each)])
@pytest.mark.parametrize("kind", ["text", "locked", "another"])
def test_keys_that_do_not_fit(algorithm: str, kind: str) -> None:
    """The message says why, and nothing of the key."""
    curve = ec.generate_private_key(ec.SECP521R1())
    key = {"text": "hunter2", "locked": pem(rsa_key(), b"secret"), "another": pem(curve)}[kind]
    with pytest.raises(KeyUnfitError) as caught:
        sign_jwt(algorithm, key, CLAIMS, {})
    assert "hunter2" not in str(caught.value)
    assert not any(line in str(caught.value) for line in key.splitlines() if len(line) > 8)
