"""What is secret in recorded traffic, taken out of it: a mapping's secrets in any spelling, and what looks like one."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from collections.abc import Mapping as Dict

from oaiproxy.failures import redact
from oaiproxy.jsontext import Json

HIDDEN = "***"
LEFT_OUT = frozenset(
    {
        *("set-cookie", "set-cookie2", "cookie", "authorization", "proxy-authorization", "www-authenticate"),
        *("date", "connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "server"),
        *("alt-svc", "cf-ray", "strict-transport-security", "report-to", "nel", "via"),
    }
)
"""Headers of answers that say nothing about the answer, or too much."""

_KEYS = frozenset(
    {
        *("apikey", "xapikey", "accesskey", "accesskeyid", "secretkey", "secretaccesskey", "secret", "clientsecret"),
        *("privatekey", "password", "passwd", "authorization", "auth", "bearer", "credential", "credentials"),
        *("accesstoken", "refreshtoken", "idtoken", "authtoken", "sessiontoken", "securitytoken", "apitoken"),
        *("cookie", "setcookie", "organization", "organizationid", "organizationname", "orgid", "orgname"),
        *("account", "accountid", "accountname", "userid", "username", "useremail", "email", "tenantid"),
    }
)
_LOOKS_SECRET = re.compile(
    r"(?<![\w-])(?:"
    r"sk-[A-Za-z0-9_-]{16,}|(?:gh[pousr]|github_pat|gsk|xai|[psr]k)[_-][A-Za-z0-9_]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|[a-z][a-z0-9]_(?=[a-z0-9]*[A-Z])[A-Za-z0-9]{30,}"
    r"|AIza[\w-]{30,}|ya29\.[\w.-]{20,}|xox[a-z]-[\w-]{10,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?:org|acct|proj)-[A-Za-z0-9]{16,}"
    r")"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic|api-key)(\s+)[A-Za-z0-9._~+/=-]{12,}")
_MEMBER = re.compile(r'("(?P<key>[A-Za-z_-]{4,24})"\s*:\s*)"(?:[^"\\]|\\.)*"')


def redacted(text: str, secrets: Collection[str]) -> str:
    """The text without secrets; JSON in it stays JSON."""
    text = without_keys(redact(text, _spelled(secrets)))
    return _MEMBER.sub(lambda at: f'{at[1]}"{HIDDEN}"' if _is_secret(at["key"]) else at[0], text)


def without_keys(text: str) -> str:
    """The text without what looks like a key or a token."""
    return _BEARER.sub(rf"\1\2{HIDDEN}", _LOOKS_SECRET.sub(HIDDEN, text))


def redacted_json(value: Json, secrets: Collection[str]) -> Json:
    """The value without secrets, in its keys too; what a key says to be one is taken out whole where it is text."""
    match value:
        case str():
            return redacted(value, secrets)
        case list():
            return [redacted_json(item, secrets) for item in value]
        case dict():
            return {
                redacted(key, secrets): HIDDEN
                if isinstance(item, str) and item and _is_secret(key)
                else redacted_json(item, secrets)
                for key, item in value.items()
            }
    return value


def redacted_headers(headers: Dict[str, str], secrets: Collection[str]) -> dict[str, str]:
    """The headers that may be kept, by lower-case names."""
    return {
        name.lower(): redacted(value, secrets)
        for name, value in headers.items()
        if name.lower() not in LEFT_OUT and not _is_secret(name.lower().removeprefix("x-"))
    }


def holds_secret(text: str, secrets: Collection[str]) -> bool:
    """Whether any of the mapping's secrets is in a text, however it is spelled."""
    return redact(text, _spelled(secrets)) != text


def _is_secret(key: str) -> bool:
    return re.sub(r"[^a-z]", "", key.lower()) in _KEYS


def _spelled(secrets: Collection[str]) -> Iterator[str]:
    """Secrets as they stand in text and inside of JSON."""
    for secret in secrets:
        yield secret
        yield from {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]} - {secret}
        if "/" in secret:
            yield json.dumps(secret)[1:-1].replace("/", "\\/")
