"""Claims to a signed JSON Web Token (RFC 7519), in the algorithms of RFC 7518.

Keys of the RS, PS and ES algorithms need the library `cryptography`, which is imported when one is used.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

from oaiproxy import jsontext
from oaiproxy.jsontext import Json


class KeyUnfitError(ValueError):
    """A key that the algorithm cannot use; the message never holds it."""


def sign_jwt(algorithm: str, key: str, claims: Mapping[str, Json], headers: Mapping[str, Json]) -> str:
    """The token. `key` is a shared secret for HS, else a private key in PEM. Raises KeyUnfitError or ImportError."""
    head = {"alg": algorithm, "typ": "JWT", **headers}
    signed = f"{_encoded(jsontext.dump(head))}.{_encoded(jsontext.dump(dict(claims)))}"
    return f"{signed}.{_encoded(signature(algorithm, key, signed.encode()))}"


def needs_library(algorithm: str) -> bool:
    """Whether the algorithm's keys need `cryptography`."""
    return not algorithm.startswith("HS")


def signature(algorithm: str, key: str, data: bytes) -> bytes:
    """The raw signature. Raises KeyUnfitError or ImportError."""
    if algorithm.startswith("HS"):
        return hmac.digest(key.encode(), data, f"sha{algorithm[2:]}")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnfitError("it is not a private key in PEM without a password") from None
    return _elliptic(private, algorithm, data) if algorithm.startswith("ES") else _rsa(private, algorithm, data)


def _rsa(private: object, algorithm: str, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    if not isinstance(private, rsa.RSAPrivateKey):
        raise KeyUnfitError(f"it is not an RSA key, which {algorithm} needs")
    digest = getattr(hashes, f"SHA{algorithm[2:]}")()
    pad = padding.PKCS1v15() if algorithm.startswith("RS") else padding.PSS(padding.MGF1(digest), digest.digest_size)
    made: bytes = private.sign(data, pad, digest)
    return made


def _elliptic(private: object, algorithm: str, data: bytes) -> bytes:
    """The two numbers, one after the other (RFC 7518, 3.4)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    bits = int(algorithm[2:])
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.key_size != bits:
        raise KeyUnfitError(f"it is not a P-{bits} key, which {algorithm} needs")
    digest = getattr(hashes, f"SHA{bits}")()
    first, second = decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
    return bytes(first.to_bytes(bits // 8, "big") + second.to_bytes(bits // 8, "big"))


def _encoded(data: bytes) -> str:
    """Base64 for addresses, without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
