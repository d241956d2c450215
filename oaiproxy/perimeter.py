"""What a configuration says of who may come in, and what is wrong or weak in that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from oaiproxy.diagnostics import Diagnostic, Severity, Span
from oaiproxy.disclosures import shaped
from oaiproxy.document import Document
from oaiproxy.jsontext import Json
from oaiproxy.misplaced import Places, takes
from oaiproxy.source import Source

_SHA256 = re.compile(r"[0-9a-f]{64}")
_AS_HASH = "`oaiproxy key --stdin` prints the lines for a key, and `oaiproxy key` makes a new one"
REMEDY = "give clients `keys` (`oaiproxy key` makes one), listen on 127.0.0.1, or say `server.insecure: true`"
"""What to do about a door that is open to all."""


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address: a loopback one, or `localhost`."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def is_open(host: str, socket: object, tls: object, keys: object) -> bool:
    """Whether others than this machine's users reach a server, and nobody is asked who they are; as configured."""
    asked = keys or (isinstance(tls, Mapping) and tls.get("client_ca"))
    return not asked and not socket and not is_local(host)


def key_findings(document: Document, findings: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The findings, those about `keys` in words of their own: what stands for a hash may be a key, and is not told."""
    listed = document.data.get("keys")
    alone = isinstance(listed, str)
    listed = [listed] if alone else listed if isinstance(listed, list) else []
    blocks = [each if isinstance(each, dict) else {} for each in listed]
    own: list[Diagnostic] = []
    hashes: dict[str, str] = {}
    names: set[str] = set()
    places: set[Span] = set()
    for index, given in enumerate(listed):
        whole = ("keys",) if alone else ("keys", index)
        if isinstance(given, str) and given and whole not in document.unresolved:
            span = document.span(whole)
            places.add(span)
            message = "a key is told by its `name` and its `sha256`"
            own.append(Diagnostic("E103", message, span, "give the hash, not the key", _AS_HASH, conceal=True))
    for index, block in enumerate(blocks):
        for key, value in block.items():
            place = ("keys", index, str(key))
            span = document.span(place)
            if key == "sha256" and place not in document.unresolved:
                places.add(span)
                own += _hash(value, span, str(block.get("name")), hashes)
            elif key == "name" and isinstance(value, str):
                if value in names:
                    own.append(Diagnostic("E105", f"two keys have the name `{value}`", span, "give each its own name"))
                names.add(value)
            elif key not in ("models", "requests", "sha256") and isinstance(value, str):
                message = f"`{key}` may hold a key, written out"
                own.append(Diagnostic("W106", message, span, "", _AS_HASH, Severity.WARNING, conceal=True))
    return [found for found in findings if found.span not in places] + own


def slips(document: Document, schema: Mapping[str, Any], findings: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    """What may be a secret elsewhere than as one of `keys`, or in these as they are not written."""
    root = Source(document, (), document.data)
    told = {found.span for found in findings if found.conceal and found.span}
    for name, span in Places(("keys",), partial(takes, schema)).misplaced(root):
        if span not in told:
            told.add(span)
            message = f"`{name}` may hold a key, written out" if name else "this may be a key, written out"
            yield Diagnostic("W106", message, span, "", _AS_HASH, Severity.WARNING, conceal=True)
    yield from shaped(root, {(span.file, span.line, span.end_line) for span in told})


def _hash(value: Json, span: Span, name: str, known: dict[str, str]) -> Iterator[Diagnostic]:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        message = "`sha256` is no SHA-256 of a key: it has 64 hexadecimal digits, `0` to `9` and `a` to `f`"
        yield Diagnostic("E105", message, span, "give the hash, not the key", _AS_HASH, conceal=True)
    elif value in known:
        message = f"this is also the key of `{known[value]}`"
        yield Diagnostic("E105", message, span, "give each a key of its own", _AS_HASH)
    else:
        known[value] = name


def idle_findings(document: Document) -> Iterator[Diagnostic]:
    """The address that nobody listens on, beside a socket."""
    server = document.data.get("server")
    if isinstance(server, dict) and "socket" in server:
        for key in ("host", "port"):
            if key in server:
                message = f"`server.{key}` says nothing beside `server.socket`: that alone is listened on"
                span = document.span(("server", key), key=True)
                yield Diagnostic("E105", message, span, "take one of the two out")


def open_findings(document: Document) -> Iterator[Diagnostic]:
    """That others reach the server, and nobody is asked who they are."""
    server = document.data.get("server")
    if (
        not isinstance(server, dict)
        or not (isinstance(server.get("host"), str) and server["host"])
        or ("server", "host") in document.unresolved
    ):
        return
    if not is_open(server["host"], server.get("socket"), server.get("tls"), document.data.get("keys")):
        return
    place = ("server", "insecure" if server.get("insecure") is True else "host")
    message = "whoever reaches this address may use the backends, and spend their money: there are no `keys`"
    if server.get("insecure") is not True:
        message += ", so that `serve` does not start"
    span = document.span(place)
    yield Diagnostic("W105", message, span, "", "give clients `keys`: `oaiproxy key` makes one", Severity.WARNING)
