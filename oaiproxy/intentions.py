"""What an author meant with a key or value that the schema refuses: where the key belongs, and what to write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from oaiproxy.diagnostics import closest, did_you_mean
from oaiproxy.document import Path
from oaiproxy.jsontext import Json

Schema: TypeAlias = Mapping[str, Any]

SURE = 0.85
"""How like a key must be to another one to be that, though it is known elsewhere as it is written."""
_OWN = ("examples", "models", "models_list", "completions", "keys", "auth")
"""Blocks whose keys are of no use elsewhere, nor are those of others there."""
_FIRST = ("request", "response")
"""Blocks in a block in which most keys belong."""
_FIELDS = ("stream", "model", "messages", "prompt", "temperature", "max_tokens", "stop", "top_p", "tools", "input")
"""Fields of the backend's request, in the words of most APIs."""
_BEARER = "it belongs under `backend.auth`: `bearer`, or `header` and `value`"
_MEANT: Mapping[str, Mapping[str, str]] = {
    "auth": {
        **dict.fromkeys(("token", "key", "api_key", "apikey", "secret"), "bearer"),
        **dict.fromkeys(("oauth", "client_credentials"), "oauth2"),
        **dict.fromkeys(("aws", "sigv4a"), "sigv4"),
    },
    "oauth2": {
        **dict.fromkeys(("url", "endpoint", "token_endpoint"), "token_url"),
        **dict.fromkeys(("id", "client", "user"), "client_id"),
        **dict.fromkeys(("secret", "password"), "client_secret"),
    },
    "basic": {**dict.fromkeys(("username", "name", "login"), "user"), **dict.fromkeys(("pass", "secret"), "password")},
    "sigv4": {"secret_access_key": "secret_key", "access_key_id": "access_key", "token": "session_token"},
    "jwt": {"secret": "key", "alg": "algorithm"},
    "models": dict.fromkeys(("name", "model", "id", "to"), "as"),
    "keys": dict.fromkeys(("key", "hash", "secret", "token", "value", "sha-256"), "sha256"),
    "examples": {**dict.fromkeys(("body", "error", "response", "reply"), "json")},
}
"""What keys of such blocks are meant to be."""
_SAID = {
    ("auth", "type"): "leave it out: the key says the kind, such as `bearer: ...`",
    **{("backend", key): _BEARER for key in ("api_key", "apikey", "token", "key", "bearer", "password")},
    **{("", key): _BEARER for key in ("api_key", "apikey")},
    ("request", "timeout"): "it belongs under `backend.timeouts`",
    ("backend", "timeout"): "did you mean `timeouts`?",
}
"""What is to be done about a key, by the name of its block."""


def meant_key(schema: Schema, owner: Schema, path: Path, key: str) -> str:
    """What to do about a key that its owner, at `path`, does not know; "" where that is not clear."""
    known = list(owner.get("properties", ()))
    block = next((step for step in reversed(path) if isinstance(step, str)), "")
    within = next((each for each in _OWN if each in path), "")
    if within in ("", "auth") and (said := _SAID.get((block, key))) and (block or "backend" in known):
        return said
    if meant := _synonym(known, path, key):
        return f"did you mean `{meant}`?"
    if label := did_you_mean(key, known, SURE):
        return label
    if block == "request" and key in _FIELDS and "body" in known:
        return _belongs([(*path, "body")])
    if homes := list(_children(schema, owner, path, key)):
        return _belongs(homes)
    if within:
        return did_you_mean(key, known)
    if path and key in schema.get("properties", ()):
        return "it belongs at the top level"
    homes = sorted(
        (home for name, home in _homes(schema) if name == key),
        key=lambda home: (home[-1:] != path[-1:], home[:1] != path[:1]),
    )
    return _belongs(homes) if homes else did_you_mean(key, known)


def stands_in_for(schema: Schema, owner: Schema, path: Path, key: str) -> set[str]:
    """The keys of its owner that an unknown key is meant to be, or to be in: these are not missing."""
    known = list(owner.get("properties", ()))
    homes = [str(home[-1]) for home in _children(schema, owner, path, key)][:1]
    return {closest(key, known), _synonym(known, path, key), *homes} - {""}


def _synonym(known: Sequence[str], path: Path, key: str) -> str:
    """The key of a block that is another word for this one."""
    blocks = [step for step in reversed(path) if isinstance(step, str)][:1] + [each for each in _OWN if each in path]
    return next((meant for each in blocks if (meant := _MEANT.get(each, {}).get(key, "")) in known), "")


def _belongs(homes: Sequence[Path]) -> str:
    return f"it belongs under {' or '.join(f'`{place(home)}`' for home in homes[:2])}"


def _children(schema: Schema, owner: Schema, path: Path, key: str) -> Iterator[Path]:
    """The blocks in the key's own block that know it."""
    properties = owner.get("properties", {})
    for name in sorted(properties, key=lambda each: each not in _FIRST):
        if key in resolved(schema, properties[name]).get("properties", ()):
            yield (*path, name)


def _homes(schema: Schema) -> Iterator[tuple[str, Path]]:
    """Each key that a mapping knows, with that mapping's path, the outermost first."""
    level: list[tuple[Path, Schema]] = [((), schema)]
    for _ in range(4):
        below: list[tuple[Path, Schema]] = []
        for path, each in level:
            for name, child in each.get("properties", {}).items():
                if path and not any(step in _OWN for step in path):
                    yield name, path
                below.append(((*path, name), resolved(schema, child)))
        level = below


def meant_value(schema: Schema, given: Json, path: Path, types: Sequence[str]) -> str:
    """What to write in place of a value of another type; "" where that is not clear. `schema` is the value's."""
    match given:
        case bool() if "string" in types and (examples := schema.get("examples")):
            return f"name it: for example `{examples[0]}`"
        case "yes" | "no" | "on" | "off" if "boolean" in types:
            return f"write `{'true' if given in ('yes', 'on') else 'false'}`"
        case str() if path[-1:] == ("allow_hosts",) and "://" in given:
            return f'write hosts alone, in a list: `["{re.split("[/?#]", given.partition("://")[2])[0]}"]`'
        case [str() as one] if types == ["string"]:
            return f'put it in quotes: `"[{one}]"`' if one.isupper() else f"write it without the brackets: `{one}`"
        case [*items] if (
            "object" in types and items and all(isinstance(item, dict) and len(item) == 1 for item in items)
        ):
            return "leave out the `- ` of each line: it is a mapping"
        case dict() if _is_pair(given) and path[:1] == ("models",) and path[1:] == path[-1:]:
            return "leave out the `- ` of each line: `models` is a list of names, or a mapping"
    return ""


def _is_pair(value: Json) -> bool:
    return isinstance(value, dict) and len(value) == 1


def resolved(schema: Schema, part: Any) -> Schema:
    """A part of the schema with what it refers to."""
    if not isinstance(part, Mapping):
        return {}
    name = str(part.get("$ref", "")).removeprefix("#/$defs/")
    return {**schema.get("$defs", {}).get(name, {}), **part}


def place(path: Path) -> str:
    """A path for a message."""
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else str(step)
    return name
