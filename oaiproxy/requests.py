"""The `request` blocks of a mapping to templates of what is sent to the backend."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from oaiproxy.addresses import allowed, encode_path, parse_address
from oaiproxy.bodies import BODIES, Body, UnfitError, compile_body
from oaiproxy.lookalikes import meant_reference, straight_quotes
from oaiproxy.sandbox import Sandbox, as_text
from oaiproxy.source import Source, merge
from oaiproxy.templates import Compilation, compile_leaf, has_template
from oaiproxy.trees import Render, compile_tree

FORBIDDEN_HEADERS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive")
)
_CREDENTIALS = ("authorization", "cookie")
_BRACES = re.compile(r"(?<![{$])\{\w+\}(?!\})")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_ONE_EXPRESSION = re.compile(r"\s*\{\{(?:(?!\}\}).)*\}\}\s*", re.DOTALL)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What a backend request is made of."""

    method: str
    path: Render
    headers: Render | None
    query: Render | None
    body: Body | None
    url: Render | None = None
    """In place of the path: an address that a reply named."""
    replies: frozenset[str] = frozenset()
    """The names of earlier replies that it may read."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a request can follow: the names of earlier replies, and the hosts it may be led to."""

    names: frozenset[str] = frozenset()
    base: str = ""
    allow_hosts: tuple[str, ...] = ()


NOTHING = Following()


def compile_request(
    source: Source, compilation: Compilation, following: Following = NOTHING, method: str = "POST"
) -> RequestTemplate:
    """Compile a block; what is wrong in it goes to the compilation's findings. `method` is the default."""
    if headers := source.get("headers"):
        _check_headers(headers, compilation)

    if each := source.get("each"):
        label = f"leave it out: it is for the `request` of {' and '.join(map('`{}`'.format, EACH))}"
        compilation.report("E105", "`each` has no effect here", each.span(key=True), label=label)

    def tree(key: str) -> Render | None:
        child = source.get(key)
        return compile_tree(child, compilation) if child else None

    return RequestTemplate(
        method=source.value.get("method", method),
        path=_path(source.get("path"), compilation),
        headers=tree("headers"),
        query=tree("query"),
        body=compile_body(source, compilation),
        url=_url(source["url"], compilation, following) if source.get("url") else None,
        replies=following.names,
    )


def merge_requests(base: Source, over: Source) -> Source:
    """`over` laid on `base`. A header is the same however its name is written (RFC 9110, 5.1); a body of another
    form takes the place of the one below.
    """
    if given := [key for key in BODIES if over.get(key)]:
        base = with_children(base, {key: child for key, child in base.items() if key not in BODIES or key in given})
    below, above = base.get("headers"), over.get("headers")
    if below and above:
        spelling = {name.lower(): name for name in above.value}
        headers = {spelling.get(name.lower(), name): child for name, child in below.items()}
        base = with_children(base, {**dict(base.items()), "headers": with_children(below, headers)})
    for key, other in (("path", "url"), ("url", "path")):
        if over.get(key) and base.get(other):
            base = with_children(base, {name: child for name, child in base.items() if name != other})
    return merge(base, over)


def take_each(source: Source, endpoint: str) -> tuple[Source, bool]:
    """The main request without `each`, where an endpoint knows it, and whether it says so."""
    if endpoint not in EACH or "each" not in source.value:
        return source, False
    rest = with_children(source, {key: child for key, child in source.items() if key != "each"})
    return rest, source.value["each"] is True


EACH = ("embeddings", "moderations")
"""The endpoints that can ask once for each input."""


def shared_request(backend: Source) -> Source:
    """`backend.headers` and `backend.query`, as the part of a request that all share."""
    return with_children(backend, {key: backend[key] for key in ("headers", "query") if backend.get(key)})


def check_header(source: Source, name: str, compilation: Compilation) -> None:
    """Report a name that no header of a request can have."""

    def report(message: str, label: str) -> None:
        compilation.report("E106", message, source.span(key=isinstance(source.path[-1], str)), label=label)

    if not _HEADER_NAME.fullmatch(name):
        report(f"`{name}` is not a header name", "use letters, digits and `-`")
    elif name.lower() in FORBIDDEN_HEADERS or name.lower().startswith("proxy-"):
        report(f"the header `{name}` belongs to the connection", "leave it out")


def client_headers(source: Source, compilation: Compilation) -> frozenset[str]:
    """The client's headers that templates may read, by lower-case names."""
    names: set[str] = set()
    for child in source:
        name = child.value.lower()
        if name in _CREDENTIALS:
            message = f"the client's `{name}` proves who it is, and templates do not see it"
            label = f"to pass it on, write `backend.auth: {{passthrough: {name}}}`"
            compilation.report("E106", message, child.span(), label=label)
        elif name in names:
            compilation.report("E106", f"the header `{name}` is given twice", child.span(), label="keep one of the two")
        else:
            check_header(child, child.value, compilation)
            names.add(name)
    return frozenset(names)


def path_piece(value: Any) -> str:
    """A value inside a path: percent-encoded whole, so that it stays one segment (RFC 3986, 3.3); a list is several.

    `@` stays: it means nothing in a path, and APIs that have it there may compare the path as it was sent.
    """
    if isinstance(value, list | tuple) and value:
        return "/".join(map(path_piece, value))
    text = "" if value == [] else as_text(value)
    if text in ("", ".", ".."):
        raise UnfitError(f"'{text}' cannot be a segment of the backend's path")
    return quote(text, safe="@", errors="replace")


_PATH_SANDBOX = Sandbox(finalize=path_piece)


def with_children(source: Source, children: dict[str, Source]) -> Source:
    """Other children in the place of a mapping."""
    return Source(source.document, source.path, {key: child.value for key, child in children.items()}, children)


def _check_headers(headers: Source, compilation: Compilation) -> None:
    seen: set[str] = set()
    for name, value in headers.items():
        check_header(value, name, compilation)
        if name.lower() in seen:
            compilation.report(
                "E106", f"the header `{name}` is given twice", value.span(key=True), label="keep one of the two"
            )
        seen.add(name.lower())


def _path(source: Source | None, compilation: Compilation) -> Render:
    if source is None:
        return lambda scope: ""
    _check_path(source, compilation)
    if has_template(source.value):
        rendered = _text(source, compilation)
        return lambda scope: encode_path(_inside(rendered(scope)))
    constant = encode_path(source.value)
    if compilation.trace is not None:
        return compilation.trace.text(lambda scope: constant, source, ())
    return lambda scope: constant


def _text(source: Source, compilation: Compilation) -> Render:
    """A template in an address."""
    if compilation.trace is None:
        return compile_leaf(source, compilation, {}, _PATH_SANDBOX).evaluate
    apart = replace(compilation, reads=set())
    rendered = compile_leaf(source, apart, {}, _PATH_SANDBOX).evaluate
    compilation.reads |= apart.reads
    return compilation.trace.text(rendered, source, apart.reads)


def _url(source: Source, compilation: Compilation, following: Following) -> Render:
    """An address: one expression that a reply gives whole, or text whose host is written out."""
    text: str = source.value
    head, braces, _ = text.partition("{{")
    found = replace(compilation, reads=set())
    if whole := bool(_ONE_EXPRESSION.fullmatch(text)):
        rendered = compile_leaf(source, found, {}).evaluate
    elif has_template(text):
        rendered = compile_leaf(source, found, {}, _PATH_SANDBOX).evaluate
    else:
        rendered = lambda scope: text  # noqa: E731 - one of three
    compilation.reads |= found.reads
    if compilation.trace is not None:
        rendered = compilation.trace.text(rendered, source, found.reads)
    known = following.names | {"vars"}
    if foreign := sorted({re.split(r"[.\[=]", path)[0] for path in found.reads} - known):
        names = " and ".join(f"`{name}`" for name in foreign)
        label = "read a reply of an earlier call, or `vars`; what the client sends stands in `path`, `query` or `body`"
        compilation.report("E105", f"where `url` leads depends on {names}", source.span(), label=label)
    elif not whole:
        _check_host(source, head if braces else text, following, compilation)
    return rendered


def _check_host(source: Source, head: str, following: Following, compilation: Compilation) -> None:
    """An address whose beginning is written out must lead to a host that is allowed."""
    address = parse_address(head)
    document = source.document
    if address is None or (head != source.value and head.count("/") < 3):
        label = "write `https://host/path`, one expression that a reply gives whole, or a `path` below `backend.url`"
        label = meant_reference(source.value) or label
        compilation.report("E105", "`url` is not an http address", source.span(), label=label)
    elif not allowed(address, following.base, following.allow_hosts) and ("backend", "url") not in document.unresolved:
        host = "a host" if document.written(source.path) else f"`{address.host}`"
        label = "write it under `backend.allow_hosts`" if host == "a host" else f"add {host} to `backend.allow_hosts`"
        message = f"`url` leads to {host}, which is not allowed"
        compilation.report("E105", message, source.span(), label=label)


def _check_path(source: Source, compilation: Compilation) -> None:
    path = source.value
    shown = source.document.written(source.path) or path
    written = _TEMPLATE.sub("x", path)

    def report(message: str, label: str) -> None:
        compilation.report("E105", f"the path `{shown}` {message}", source.span(), label=label)

    if address := re.match(r"https?://[^/?#]*(/[^?#]*)?([?#])?", shown):
        query = " what follows it under `query`," if address[2] else ""
        report("is a whole address", f"write `{address[1] or '/'}` here,{query} and the rest as `backend.url`")
    elif not path.startswith("/"):
        template = path.startswith("{")
        label = "put the `/` before the template, and none inside it" if template else f"write `/{shown}`"
        report("does not begin with `/`", straight_quotes(shown) or meant_reference(shown) or label)
    elif (braces := _BRACES.search(written)) and shown == path:
        report(f"holds `{braces[0]}` as text", f"a template has two braces: `{{{braces[0]}}}`")
    elif "?" in written or "#" in written:
        report("holds a query or a fragment", "put it under `query`")
    elif {".", ".."} & set(written.split("/")):
        report("has a segment `.` or `..`", "write it out")


def _inside(path: str) -> str:
    if {".", ".."} & set(path.split("/")):
        raise UnfitError("a value of the request would lead out of the backend's path")
    return path
