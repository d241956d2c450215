"""A request that is final to the headers and parameters that sign it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from oaiproxy.filters import text as as_text
from oaiproxy.jsontext import Json
from oaiproxy.sandbox import ABSENT, Absent, RenderError, Scope
from oaiproxy.trees import Render


@dataclass(frozen=True, slots=True)
class Moment:
    """Time and chance, given from outside: seconds since 1970, and a UUID that is new each time."""

    now: float
    uuid: str


@dataclass(frozen=True, slots=True)
class Final:
    """A request as it would be sent, but for its signature."""

    method: str
    url: str = field(repr=False)
    headers: Dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What is added to a request, over what has the same name."""

    headers: Dict[str, str] = field(repr=False)
    query: Dict[str, str] = field(repr=False)


Sign: TypeAlias = Callable[[Final, Moment], Proof]
"""Raises RenderError."""


class KnownNames:
    """A few names as the templates of credentials see them."""

    __slots__ = ("_names",)

    def __init__(self, names: Dict[str, Json]) -> None:
        self._names = names

    def lookup(self, name: str) -> Json:
        """The value; absent where nobody gave one."""
        return self._names.get(name, ABSENT)


def template_signer(headers: Render | None, query: Render | None, variables: Json) -> Sign:
    """Signatures that templates compute from `http`, `now`, `uuid` and `vars`."""

    def sign(final: Final, moment: Moment) -> Proof:
        parts = urlsplit(final.url)
        try:
            body = (final.body or b"").decode()
        except UnicodeDecodeError:
            raise RenderError("`sign` signs text only, and this body is binary") from None
        http = {
            "method": final.method,
            "path": parts.path or "/",
            "query": parts.query,
            "host": parts.netloc,
            "body": body,
        }
        names = {"http": http, "now": int(moment.now), "uuid": moment.uuid, "vars": variables}
        scope = Scope(KnownNames(names))
        return Proof(header_texts(headers, scope), texts(query, scope))

    return sign


def sigv4_signer(service: str, region: str, access_key: str, secret_key: str, session_token: str | None) -> Sign:
    """AWS Signature Version 4 by botocore, which is imported when the first request is signed.

    The path is encoded a second time in what is signed, as all services but s3 want it:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """

    def sign(final: Final, moment: Moment) -> Proof:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        signer = SigV4Auth(Credentials(access_key, secret_key, session_token), service, region)
        stamp = datetime.fromtimestamp(moment.now, UTC).strftime("%Y%m%dT%H%M%SZ")
        added = {"X-Amz-Date": stamp} | ({"X-Amz-Security-Token": session_token} if session_token else {})
        mine = {name.lower() for name in added} | {"authorization"}
        headers = {name: value for name, value in final.headers.items() if name.lower() not in mine} | added
        request = AWSRequest(final.method, final.url, headers=headers, data=final.body or b"")
        request.context["timestamp"] = stamp  # else the library asks the clock
        wanted = signer.string_to_sign(request, signer.canonical_request(request))
        signature: str = signer.signature(wanted, request)
        signed = signer.signed_headers(signer.headers_to_sign(request))
        credential = signer.scope(request)
        authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        return Proof({**added, "Authorization": authorization}, {})

    return sign


def texts(template: Render | None, scope: Scope) -> dict[str, str]:
    """A rendered mapping of texts: what is absent or null is left out. Raises RenderError."""
    value = None if template is None else template(scope)
    if value is None or isinstance(value, Absent):
        return {}
    return {name: as_text(item) for name, item in value.items() if item is not None}


def header_texts(template: Render | None, scope: Scope) -> dict[str, str]:
    """Rendered headers. Raises RenderError, also for control characters."""
    made = texts(template, scope)
    for name, item in made.items():
        if any(ord(character) < 32 or ord(character) == 127 for character in item):
            raise RenderError(f"the value of the header `{name}` holds a control character")
    return made


def proven(final: Final, proof: Proof) -> Final:
    """The request with its proof, which replaces headers and parameters of the same name."""
    names = {name.lower() for name in proof.headers}
    headers = {name: value for name, value in final.headers.items() if name.lower() not in names}
    return Final(final.method, with_query(final.url, proof.query), headers | dict(proof.headers), final.body)


def with_query(url: str, query: Dict[str, str]) -> str:
    """The address with these parameters in place of those of the same name."""
    if not query:
        return url
    base, _, old = url.partition("?")
    names = {encoded(name) for name in query}
    kept = [pair for pair in old.split("&") if pair and pair.partition("=")[0] not in names]
    return base + "?" + "&".join([*kept, *(f"{encoded(name)}={encoded(value)}" for name, value in query.items())])


def encoded(text: str) -> str:
    """Percent-encoded, whatever it holds."""
    return quote(text, safe="", errors="replace")
