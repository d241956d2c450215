"""The `request` blocks of a mapping to templates of what is sent to the backend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from oaiproxy.sandbox import RenderError, Sandbox, as_text
from oaiproxy.source import Source, merge
from oaiproxy.templates import Compilation, compile_leaf, has_template
from oaiproxy.trees import Render, compile_tree

FORBIDDEN_HEADERS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive")
)
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What a backend request is made of. `body` renders JSON, `body_text` text of another kind."""

    method: str
    path: Render
    headers: Render | None
    query: Render | None
    body: Render | None
    body_text: Render | None


class UnfitError(RenderError):
    """A value of this request cannot stand where the mapping puts it; the message is for the client."""


def compile_request(source: Source, compilation: Compilation) -> RequestTemplate:
    """Compile a block; what is wrong in it goes to the compilation's findings."""
    if headers := source.get("headers"):
        _check_headers(headers, compilation)

    def tree(key: str) -> Render | None:
        child = source.get(key)
        return compile_tree(child, compilation) if child else None

    return RequestTemplate(
        method=source.value.get("method", "POST"),
        path=_path(source.get("path"), compilation),
        headers=tree("headers"),
        query=tree("query"),
        body=tree("body"),
        body_text=tree("body_text"),
    )


def merge_requests(base: Source, over: Source) -> Source:
    """`over` laid on `base`. A header is the same however its name is written (RFC 9110, 5.1)."""
    below, above = base.get("headers"), over.get("headers")
    if below and above:
        spelling = {name.lower(): name for name in above.value}
        headers = {spelling.get(name.lower(), name): child for name, child in below.items()}
        base = _of(base, {**dict(base.items()), "headers": _of(below, headers)})
    return merge(base, over)


def shared_request(backend: Source) -> Source:
    """`backend.headers` and `backend.query`, as the part of a request that all share."""
    return _of(backend, {key: backend[key] for key in ("headers", "query") if backend.get(key)})


def check_header(source: Source, name: str, compilation: Compilation) -> None:
    """Report a name that no header of a request can have."""

    def report(message: str, label: str) -> None:
        compilation.report("E106", message, source.span(key=True), label=label)

    if not _HEADER_NAME.fullmatch(name):
        report(f"`{name}` is not a header name", "use letters, digits and `-`")
    elif name.lower() in FORBIDDEN_HEADERS or name.lower().startswith("proxy-"):
        report(f"the header `{name}` belongs to the connection", "leave it out")


def address(path: str) -> str:
    """A path as it stands in an address: what is not allowed there is percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~", errors="replace")


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


def _of(source: Source, children: dict[str, Source]) -> Source:
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
        rendered = compile_leaf(source, compilation, {}, _PATH_SANDBOX).evaluate
        return lambda scope: address(_inside(rendered(scope)))
    constant = address(source.value)
    return lambda scope: constant


def _check_path(source: Source, compilation: Compilation) -> None:
    path = source.value
    shown = source.document.written(source.path) or path
    written = _TEMPLATE.sub("x", path)

    def report(message: str, label: str) -> None:
        compilation.report("E105", f"the path `{shown}` {message}", source.span(), label=label)

    if not path.startswith("/"):
        template = path.startswith("{")
        label = "put the `/` before the template, and none inside it" if template else f"write `/{shown}`"
        report("does not begin with `/`", label)
    elif "?" in written or "#" in written:
        report("holds a query or a fragment", "put it under `query`")
    elif {".", ".."} & set(written.split("/")):
        report("has a segment `.` or `..`", "write it out")


def _inside(path: str) -> str:
    if {".", ".."} & set(path.split("/")):
        raise UnfitError("a value of the request would lead out of the backend's path")
    return path
