"""The headers and parameters of a sample to its credentials, and to what goes with every request."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from oaiproxy.guesses_names import SECRETS
from oaiproxy.jsontext import Json
from oaiproxy.leaves import Path, leaves, plain

LEFT_OUT = frozenset(
    {
        *(
            "host",
            "connection",
            "content-length",
            "accept-encoding",
            "accept-language",
            "user-agent",
            "origin",
            "referer",
        ),
        *(
            "priority",
            "dnt",
            "pragma",
            "cache-control",
            "te",
            "upgrade-insecure-requests",
            "transfer-encoding",
            "expect",
        ),
        *("keep-alive", "if-none-match", "sec-gpc", "accept-charset"),
    }
)
"""Headers that belong to the client that sent the sample; those of `sec-` too."""
_VARIABLE = re.compile(
    r"\$\{?([A-Za-z_]\w*)(?::-[^}]*)?\}?|<([A-Za-z][\w -]*)>|\{\{?\s*([A-Za-z_]\w*)\s*\}?\}|([A-Z]+(?:_[A-Z]+)+)"
)
"""What stands for a secret: `$NAME`, `<your key>`, `{{NAME}}`, `YOUR_KEY`."""
_ALONE = re.compile(r"\$\{?[A-Za-z_]\w*\}?")
"""A variable as the whole value, which is what a secret is in the sample of a person who takes care."""
_SCHEME = re.compile(r"(bearer|basic)\s+(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class Access:
    """What was found in headers and query."""

    auth: dict[str, Json] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, Json] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    """Values that must not be told."""
    missing: list[str] = field(default_factory=list)


def access(headers: tuple[tuple[str, str], ...], query: str, prefix: str) -> Access:
    """How a sample shows who sends it. `prefix` begins the names of variables, such as `MY_API`."""
    made = Access()
    for name, value in headers:
        if name == "authorization":
            made.auth = _authorization(value, prefix, made.secrets)
        elif name == "cookie":
            made.secrets.append(value)
            made.missing.append("the cookie was left out: it is a browser's, and ends; use a key of the API")
        elif (is_secret(name) or _ALONE.fullmatch(value)) and made.auth is None:
            made.auth = {"header": name, "value": reference(value, prefix, made.secrets)}
        elif is_secret(name) or _ALONE.fullmatch(value):
            made.headers[name] = reference(value, _variable(prefix, name), made.secrets, suffix="")
        elif name not in LEFT_OUT and not name.startswith(("sec-", ":")):
            made.headers[name] = value
    for name, value in parse_qsl(query, keep_blank_values=True):
        if (is_secret(name) or _ALONE.fullmatch(value)) and made.auth is None:
            made.auth = {"query": name, "value": reference(value, prefix, made.secrets)}
        elif name in made.query:
            before = made.query[name]
            made.query[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            made.query[name] = value
    return made


def secret_leaves(body: Json) -> list[tuple[Path, str]]:
    """Where a body holds credentials."""
    return [
        (path, value)
        for path, value in leaves(body)
        if isinstance(value, str) and value and path and plain(str(path[-1])) in SECRETS - {"key", "token"}
    ]


def variables(text: str) -> str:
    """Text with references in place of what are variables of the shell in it, such as `$NAME`."""
    return re.sub(r"\$(?:\{([A-Z_][A-Z0-9_]*)\}|([A-Z_][A-Z0-9_]*))", _referred, text)


def _referred(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    return f"${{{name}:-{name.lower().replace('_', '-')}}}"


def is_secret(name: str) -> bool:
    """Whether what has this name is a credential."""
    known = plain(name)
    return known in SECRETS or known.endswith(
        ("apikey", "authorization", "accesstoken", "authtoken", "secret", "token")
    )


def reference(value: str, prefix: str, secrets: list[str], suffix: str = "_API_KEY") -> str:
    """The variable that a credential comes from: the one that the sample names, else one after the API."""
    found = _VARIABLE.fullmatch(value.strip())
    if found:
        told = next(part for part in found.groups() if part)
        name = re.sub(r"\W+", "_", told).upper().strip("_")
        if not found[1] and plain(told).removeprefix("your").removeprefix("my") in SECRETS:
            name = prefix + suffix
    else:
        name = prefix + suffix
        secrets.append(value)
    return f"${{{name}:-}}"


def _variable(prefix: str, name: str) -> str:
    return f"{prefix}_{re.sub(r'[^A-Z0-9]+', '_', name.upper()).strip('_')}".replace("_X_", "_", 1)


def _authorization(value: str, prefix: str, secrets: list[str]) -> dict[str, Json]:
    found = _SCHEME.fullmatch(value)
    if found is None:
        scheme, blank, rest = value.rpartition(" ")
        return {"header": "authorization", "value": scheme + blank + reference(rest, prefix, secrets)}
    scheme, told = found[1].lower(), found[2].strip()
    if scheme == "bearer":
        return {"bearer": reference(told, prefix, secrets)}
    secrets.append(told)
    try:
        pair = told if "$" in told else b64decode(told, validate=True).decode()
    except ValueError:
        pair = ""
    user, _, password = pair.partition(":")
    shown = [reference(part, prefix, secrets, suffix) for part, suffix in ((user, "_USER"), (password, "_PASSWORD"))]
    return {"basic": {"user": shown[0], "password": shown[1]}}
