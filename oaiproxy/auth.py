"""The `backend.auth` block to what proves who sends a request: credentials that stand, are got, or are computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from oaiproxy import jsontext
from oaiproxy.addresses import compile_address, is_safe
from oaiproxy.durations import compile_seconds
from oaiproxy.errors import ClientError, ProxyError
from oaiproxy.grants import Grant, LoginRequest, Minted, client_credentials, minted, service_account
from oaiproxy.jsontext import Json
from oaiproxy.jwt import needs_library, signature
from oaiproxy.picks import Pick, compile_pick
from oaiproxy.requests import check_header, compile_request, with_children
from oaiproxy.sandbox import Absent, RenderError, Scope, as_text
from oaiproxy.shapes import Shape
from oaiproxy.signing import KnownNames, Proof, Sign, sigv4_signer, template_signer
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, compile_leaf, has_template
from oaiproxy.trees import Render, compile_tree

HTTP_SHAPE: Shape = {"method": "text", "path": "text", "query": "text", "host": "text", "body": "text"}


@dataclass(frozen=True, slots=True)
class Passthrough:
    """The client's own header (lower case), sent on under a name, without a prefix."""

    name: str
    to: str
    strip: str = ""

    def proof(self, client_headers: Dict[str, str]) -> Proof:
        """The header to send. Raises ClientError when the client has none."""
        value = client_headers.get(self.name, "").strip()
        if value.lower().startswith(self.strip.lower()):
            value = value[len(self.strip) :].strip()
        elif self.strip:
            value = ""
        if not value.isprintable():  # also bytes that are not UTF-8, which the library would leave out
            raise ClientError(f"The header '{self.name}' holds no API key.", status=401, code="invalid_api_key")
        if not value:
            message = f"You didn't provide an API key: this model takes your own, in the header '{self.name}'."
            raise ClientError(message, status=401, code="missing_api_key")
        return Proof({self.to: value}, {})


@dataclass(frozen=True, slots=True)
class Send:
    """Where a token goes: a header or a parameter, and its value around the token."""

    header: str | None = "Authorization"
    query: str | None = None
    value: Callable[[str], str] = "Bearer {}".format

    def proof(self, token: str) -> Proof:
        """What is added to a request. Raises ProxyError."""
        try:
            value = self.value(token)
            if self.header and holds_control(value):
                raise RenderError("the value around the token holds a control character")
        except RenderError as error:
            raise unprovable(error) from error
        return Proof({self.header: value} if self.header else {}, {self.query: value} if self.query else {})


@dataclass(frozen=True, slots=True)
class Refusal:
    """How the backend says that a token is no good any more: statuses, and what tells it in a body."""

    statuses: frozenset[int] = frozenset((401,))
    body: Pick | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """What a kind of credential needs that does not come with oaiproxy: a module, and the extra that brings it."""

    module: str
    extra: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class TokenAuth:
    """A token that is got, kept, sent, and got anew."""

    source: Grant | Minted
    send: Send = field(default_factory=Send)
    refusal: Refusal = field(default_factory=Refusal)
    library: Library | None = None
    trial: Callable[[], object] | None = None
    """Uses the key once. Raises ValueError, whose message tells nothing of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Signed:
    """A signature over each request."""

    sign: Sign
    library: Library | None = None


Auth: TypeAlias = Passthrough | TokenAuth | Signed


def holds_control(text: str) -> bool:
    """Whether there is a character that no credential holds, such as the line break at the end of a file."""
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


_TEMPLATE = re.compile(r"\{\{\s*(?:(?:env|os|environ|vars)\.)*([A-Za-z_]\w*)?")


def check_credentials(source: Source, keys: Iterable[str], compilation: Compilation) -> None:
    """Report those of the keys whose values hold what no credential does."""
    for key in keys:
        child = source.get(key)
        if child is not None and isinstance(child.value, str) and holds_control(child.value):
            label = "check for a line break at its end"
            compilation.report("E105", f"`{key}` holds a control character", child.span(), label=label)
        if child is None or not isinstance(child.value, str):
            continue
        written = source.document.written(child.path) or child.value
        if found := _TEMPLATE.search(written):
            label = f"write `${{{found[1].upper()}}}`" if found[1] else "write `${NAME}`"
            message = f"`{key}` holds a template, and is sent as it stands"
            compilation.report("E105", message, child.span(), label=label, help="it is taken from the environment")
        elif key == "bearer" and written.lower().startswith("bearer "):
            label = f"leave `{written[:6]}` out"
            compilation.report("E105", "`bearer` begins with the word that is put before it", child.span(), label=label)


def unprovable(error: RenderError) -> ProxyError:
    """A credential that cannot be made of this request."""
    message = "the mapping could not build the backend's credentials"
    return ProxyError(message, code="mapping_error", detail=str(error), retry=False)


def compile_auth(
    source: Source, compilation: Compilation, variables: Json, shape: Shape
) -> tuple[Auth | None, set[str]]:
    """The kinds that are more than a constant, and what of them must not be told; None for the others."""
    compiler = _Compiler(compilation, variables, shape)
    for kind, compile_kind in compiler.kinds.items():
        if (child := source.get(kind)) is not None:
            return compile_kind(child, source)
    return None, set()


class _Compiler:
    def __init__(self, compilation: Compilation, variables: Json, shape: Shape) -> None:
        self._compilation = compilation
        self._variables = variables
        self._shape = shape
        self.kinds: Dict[str, Callable[[Source, Source], tuple[Auth | None, set[str]]]] = {
            "passthrough": self._passthrough,
            "oauth2": self._oauth2,
            "login": self._login,
            "gcp_service_account": self._service_account,
            "sigv4": self._sigv4,
            "jwt": self._jwt,
            "sign": self._sign,
        }

    def _passthrough(self, source: Source, _: Source) -> tuple[Auth, set[str]]:
        given = {"from": source.value} if isinstance(source.value, str) else source.value
        to = given.get("to", given["from"])
        for key in ("from", "to"):
            if isinstance(source.value, str):
                check_header(source, source.value, self._compilation)
                break
            if key in given:
                check_header(source[key], given[key], self._compilation)
        return Passthrough(given["from"].lower(), to, given.get("strip", "")), set()

    def _oauth2(self, source: Source, _: Source) -> tuple[Auth, set[str]]:
        given = source.value
        check_credentials(source, ("client_id", "client_secret", "refresh_token"), self._compilation)
        fields = {key: given[key] for key in ("scope", "audience") if key in given} | given.get("extra", {})
        grant = client_credentials(
            compile_address(source["token_url"], self._compilation),
            (given["client_id"], given["client_secret"]),
            fields,
            basic=given.get("client_auth") == "basic",
            refresh_token=given.get("refresh_token"),
        )
        return self._token(grant, source), {given["client_secret"], given.get("refresh_token", "")}

    def _login(self, source: Source, _: Source) -> tuple[Auth, set[str]]:
        request = source["request"]
        names = self._names(now="number", uuid="text")
        url = request.get("url")
        build = LoginRequest(
            compile_address(url, self._compilation) if url else None,
            compile_request(with_children(request, {k: v for k, v in request.items() if k != "url"}), names),
            self._variables,
        )
        picks: dict[str, Any] = {
            key: compile_pick(child, self._compilation)
            for key in ("token", "expires_in", "expires_at")
            if (child := source.get(key)) is not None
        }
        ttl = source.get("ttl")
        more: dict[str, Any] = {"lifetime": compile_seconds(ttl, self._compilation, 1.0)} if ttl else {}
        return self._token(Grant(build, **picks, **more), source), set()

    def _service_account(self, source: Source, auth: Source) -> tuple[Auth | None, set[str]]:
        try:
            account = jsontext.parse(source.value)
            email, key, url = (account[name] for name in ("client_email", "private_key", "token_uri"))
        except (jsontext.JsonError, TypeError, KeyError):
            label = "it has the keys `client_email`, `private_key` and `token_uri`"
            self._report("`backend.auth.gcp_service_account` is not the JSON of a service account", source, label)
            return None, {source.value}
        override = auth.get("token_url")
        if override:
            url = compile_address(override, self._compilation)
        if not isinstance(url, str) or not is_safe(url):
            place = override or source
            self._report("the token server's address is neither https nor on loopback", place, "write `https://...`")
            url = ""
        if not isinstance(key, str) or not isinstance(email, str):
            self._report("a key of the service account is no text", source, "take the file as it was issued")
            return None, {source.value}
        grant = service_account(url, email, key, account.get("private_key_id"), auth.value["scope"])
        library = Library("cryptography", "gcp")
        trial = _trial("RS256", key)
        return self._token(grant, auth, library, trial), {source.value, key, *_inner(key)}

    def _sigv4(self, source: Source, _: Source) -> tuple[Auth, set[str]]:
        given = source.value
        keys = ("service", "region", "access_key", "secret_key", "session_token")
        check_credentials(source, keys, self._compilation)
        if given["service"] == "s3":
            label = "name the service that runs the models"
            self._report("paths of `s3` are signed in another way, which is not built", source["service"], label)
        words = (given["service"], given["region"], given["access_key"], given["secret_key"])
        signer = sigv4_signer(*words, given.get("session_token") or None)
        secrets = {given["secret_key"], given.get("session_token") or ""}
        return Signed(signer, Library("botocore", "aws")), secrets

    def _jwt(self, source: Source, _: Source) -> tuple[Auth, set[str]]:
        given = source.value
        names = self._names(now="number", uuid="text")
        algorithm, key = given["algorithm"], given["key"]
        claims, headers = (self._tree(source, part, names) for part in ("claims", "headers"))
        ttl = compile_seconds(source.get("ttl"), self._compilation, 3600.0)
        mint = minted(algorithm, key, claims, headers, ttl, self._variables)
        library = Library("cryptography", "gcp") if needs_library(algorithm) else None
        trial = _trial(algorithm, key) if library else None
        return self._token(mint, source, library, trial), {key, *_inner(key)}

    def _sign(self, source: Source, _: Source) -> tuple[Auth, set[str]]:
        names = self._names(http=HTTP_SHAPE, now="number", uuid="text")
        if headers := source.get("headers"):
            for name, child in headers.items():
                check_header(child, name, self._compilation)
        headers_tree, query_tree = (self._tree(source, part, names) for part in ("headers", "query"))
        return Signed(template_signer(headers_tree, query_tree, self._variables)), set()

    def _token(
        self,
        origin: Grant | Minted,
        source: Source,
        library: Library | None = None,
        trial: Callable[[], object] | None = None,
    ) -> TokenAuth:
        send, refusal = source.get("send"), source.get("refresh_on")
        return TokenAuth(
            origin,
            self._send(send) if send else Send(),
            self._refusal(refusal) if refusal else Refusal(),
            library,
            trial,
        )

    def _send(self, source: Source) -> Send:
        given = source.value
        if "header" in given:
            check_header(source["header"], given["header"], self._compilation)
        value = source["value"]
        names = self._names(token="text")
        if not has_template(value.value):
            self._report("`value` does not send the token", value, "write `{{ token }}` in it")
            return Send()
        leaf = compile_leaf(value, names, {}).evaluate
        if "token" not in names.reads and not self._compilation.findings:
            self._report("`value` does not send the token", value, "write `{{ token }}` in it")

        def render(token: str) -> str:
            made = leaf(Scope(KnownNames({"token": token, "vars": self._variables})))
            if isinstance(made, Absent):
                raise RenderError("the value around the token is absent")
            return as_text(made)

        if not self._compilation.findings and "header" in given and self._breaks(render):
            self._report("`value` holds a control character", value, "a header is one line")
        return Send(given.get("header"), given.get("query"), render)

    def _breaks(self, render: Callable[[str], str]) -> bool:
        try:
            return holds_control(render("token"))
        except RenderError:
            return False  # which may be the trial's own fault

    def _refusal(self, source: Source) -> Refusal:
        entries = list(source) if isinstance(source.value, list) else [source]
        statuses = frozenset(entry.value for entry in entries if isinstance(entry.value, int))
        picks = [compile_pick(entry, self._compilation) for entry in entries if isinstance(entry.value, str)]
        if not picks:
            return Refusal(statuses)
        body: Pick = lambda value, envelope: any(pick(value, envelope) for pick in picks)  # noqa: E731
        return Refusal(statuses, body)

    def _tree(self, source: Source, key: str, names: Compilation) -> Render | None:
        child = source.get(key)
        return compile_tree(child, names) if child else None

    def _names(self, **shapes: Shape) -> Compilation:
        """A compilation whose templates see these names, and `vars`."""
        given = self._compilation
        return Compilation({**shapes, "vars": self._shape}, given.sandbox, given.findings)

    def _report(self, message: str, source: Source, label: str) -> None:
        self._compilation.report("E105", message, source.span(), label=label)


def _trial(algorithm: str, key: str) -> Callable[[], object]:
    return lambda: signature(algorithm, key, b"trial")


def _inner(key: str) -> set[str]:
    """The lines of a key: a message may hold one of them."""
    return {line for line in key.splitlines() if len(line) > 40}
