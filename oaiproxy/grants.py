"""Token requests and what comes of them: OAuth 2.0's grants, any other login, and tokens that are signed here."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote_plus, urlencode

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.failures import find_message
from oaiproxy.filters import text as as_text
from oaiproxy.jsontext import Json
from oaiproxy.jwt import sign_jwt
from oaiproxy.picks import Envelope, Pick
from oaiproxy.requests import RequestTemplate
from oaiproxy.sandbox import Absent, RenderError, Scope
from oaiproxy.signing import Final, KnownNames, Moment, encoded, header_texts, texts
from oaiproxy.trees import Render

DEFAULT_LIFETIME = 300.0
"""Seconds for which a token is used whose end nobody told."""
MAX_LIFETIME = 30 * 86400.0
"""Seconds after which any token is got anew."""
MAX_TOKEN = 16 * 1024
"""Characters of a token: more than any server takes in a header."""
ASSERTION_SECONDS = 3600
"""How long a signed assertion may be exchanged for a token."""
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MILLISECONDS = 1e11
"""A time since 1970 beyond this is in milliseconds: as seconds it would be the year 5138."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, for how many seconds from now it is good, and what the next one can be had for."""

    value: str = field(repr=False)
    lifetime: float
    refresh: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to send for a token. `secrets` came up while it was made."""

    final: Final = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """How a token is asked for at a server, and found in what it answers."""

    build: Callable[[str, Moment, str | None], TokenRequest]
    """From the backend's address, the moment, and the refresh token that the last reply gave, if any."""
    token: Pick
    expires_in: Pick | None = None
    expires_at: Pick | None = None
    lifetime: float = DEFAULT_LIFETIME
    refreshes: bool = False

    def read(self, status: int, headers: Dict[str, str], data: bytes, now: float) -> Token:
        """The token of a reply. Raises BackendError, whose detail may hold what the server said."""
        envelope = Envelope(status, headers)
        try:
            body: Json = jsontext.parse_lenient(data)
        except jsontext.JsonError:
            body = data.decode("utf-8", "replace")
        if not 200 <= status < 300:
            said = find_message(body)
            word = body.get("error") if isinstance(body, dict) else None
            code = f"{word}: " if isinstance(word, str) and word != said else ""
            retry = None if status in (408, 429) or status >= 500 else False
            raise refused(f"the token server answered {status}: {code}{said or '(no message)'}", retry)
        value = self.token(body, envelope)
        value = as_text(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not value:
            raise refused("the token server's answer holds no token")
        if len(value) > MAX_TOKEN or not value.isprintable() or not value.isascii():
            raise refused("the token server's answer holds something else than a token")
        renewal = body.get("refresh_token") if self.refreshes and isinstance(body, dict) else None
        return Token(value, self._lifetime(body, envelope, now), renewal if isinstance(renewal, str) else None)

    def _lifetime(self, body: Json, envelope: Envelope, now: float) -> float:
        seconds = None
        if self.expires_in is not None:
            seconds = _number(self.expires_in(body, envelope))
        if seconds is None and self.expires_at is not None:
            end = point_in_time(self.expires_at(body, envelope))
            seconds = None if end is None else end - now
        return self.lifetime if seconds is None else min(max(seconds, 0.0), MAX_LIFETIME)


@dataclass(frozen=True, slots=True)
class Minted:
    """A token that is signed here."""

    mint: Callable[[Moment], Token]


def refused(detail: str, retry: bool | None = None) -> BackendError:
    """No token could be had."""
    message = "the proxy could not get a token for the backend"
    return BackendError(message, code="upstream_auth_error", detail=detail, retry=retry)


def client_credentials(
    url: str, client: tuple[str, str], fields: Dict[str, str], *, basic: bool, refresh_token: str | None
) -> Grant:
    """The client credentials grant (RFC 6749, 4.4), or with a refresh token the refresh grant (RFC 6749, 6)."""
    name, secret = client
    # RFC 6749, 2.3.1: both parts are form-encoded before they are joined
    pair = base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()

    def build(_base: str, _moment: Moment, newer: str | None) -> TokenRequest:
        form = {"grant_type": "client_credentials"}
        if refresh_token:
            form = {"grant_type": "refresh_token", "refresh_token": newer or refresh_token}
        if not basic:
            form |= {"client_id": name, "client_secret": secret}
        headers = {"Authorization": f"Basic {pair}"} if basic else {}
        return TokenRequest(form_request("POST", url, headers, form | dict(fields)), (pair,))

    return Grant(build, _key("access_token"), _key("expires_in"), refreshes=bool(refresh_token))


def service_account(url: str, email: str, key: str, key_id: str | None, scope: str) -> Grant:
    """The grant for a signed assertion (RFC 7523, 2.1)."""

    def build(_base: str, moment: Moment, _newer: str | None) -> TokenRequest:
        now = int(moment.now)
        claims: dict[str, Json] = {"iss": email, "scope": scope, "aud": url, "iat": now, "exp": now + ASSERTION_SECONDS}
        assertion = sign_jwt("RS256", key, claims, {"kid": key_id} if key_id else {})
        form = {"grant_type": JWT_BEARER, "assertion": assertion}
        return TokenRequest(form_request("POST", url, {}, form), (assertion,))

    return Grant(build, _key("access_token"), _key("expires_in"))


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """The request of a login. Without `url` its path is below the backend's address."""

    url: str | None
    template: RequestTemplate
    variables: Json = field(repr=False)

    def __call__(self, base: str, moment: Moment, _newer: str | None) -> TokenRequest:
        """Render it. Raises RenderError."""
        names = {"now": int(moment.now), "uuid": moment.uuid, "vars": self.variables}
        scope = Scope(KnownNames(names))
        url = (base if self.url is None else self.url) + self.template.path(scope)
        query = [f"{encoded(name)}={encoded(value)}" for name, value in texts(self.template.query, scope).items()]
        url += "?" + "&".join(query) if query else ""
        headers = header_texts(self.template.headers, scope)
        if self.template.body is None:
            return TokenRequest(Final(self.template.method, url, _accepting(headers), None))
        body, content_type = self.template.body.encode(scope, moment.uuid)
        return TokenRequest(Final(self.template.method, url, _accepting(headers, content_type), body))


def minted(
    algorithm: str, key: str, claims: Render | None, headers: Render | None, ttl: float, variables: Json
) -> Minted:
    """Tokens of these claims, to which `iat` and `exp` are added where they are not given."""

    def mint(moment: Moment) -> Token:
        now = int(moment.now)
        scope = Scope(KnownNames({"now": now, "uuid": moment.uuid, "vars": variables}))
        said = {"iat": now, "exp": now + math.ceil(ttl), **_object(claims, scope)}
        given = {name: value for name, value in said.items() if value is not None}
        return Token(sign_jwt(algorithm, key, given, _object(headers, scope)), ttl)

    return Minted(mint)


def form_request(method: str, url: str, headers: Dict[str, str], form: Dict[str, str]) -> Final:
    """A request with a form as its body."""
    return Final(method, url, _accepting(headers, "application/x-www-form-urlencoded"), urlencode(form).encode())


def point_in_time(value: Json) -> float | None:
    """Seconds since 1970: from seconds, milliseconds, or a date (RFC 3339); None for what is none."""
    number = _number(value)
    if number is not None:
        return number / 1000 if number > _MILLISECONDS else number
    if not isinstance(value, str):
        return None
    try:
        date = datetime.fromisoformat(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _accepting(headers: Dict[str, str], content_type: str | None = None) -> dict[str, str]:
    added = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
    given = set(map(str.lower, headers))
    return {name: value for name, value in added.items() if name.lower() not in given} | dict(headers)


def _object(template: Render | None, scope: Scope) -> dict[str, Json]:
    value = None if template is None else template(scope)
    if value is None or isinstance(value, Absent):
        return {}
    if not isinstance(value, dict):
        raise RenderError("the claims are no object")
    return value


def _number(value: Json) -> float | None:
    """A number, also as text; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        made = float(value)
    except (ValueError, OverflowError):
        return None
    return made if math.isfinite(made) else None


def _key(name: str) -> Pick:
    def pick(body: Json, _envelope: Envelope) -> Json:
        return body.get(name) if isinstance(body, dict) else None

    return pick
