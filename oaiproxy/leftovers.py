"""A mapping to what in it has no effect: names that nothing reads, parameters of clients that never arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator

from oaiproxy.canonical import SHAPES
from oaiproxy.diagnostics import Diagnostic, Severity, did_you_mean
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Mapping
from oaiproxy.policy import is_raw
from oaiproxy.source import Source
from oaiproxy.templates import has_template

_KNOBS = {
    "temperature": "temperature",
    "topp": "top_p",
    "maxtokens": "max_tokens",
    "maxnewtokens": "max_tokens",
    "maxoutputtokens": "max_tokens",
    "maxcompletiontokens": "max_tokens",
    "seed": "seed",
    "presencepenalty": "presence_penalty",
    "frequencypenalty": "frequency_penalty",
}
"""Parameters of backends, in lower case and without signs, and what templates call the client's."""
_CONSTANT = re.compile(r"\s*(`[^`]*`|'[^']*')\s*")
_SELECT = "name the field that holds it, or leave the key out"


def leftovers(mapping: Mapping, root: Source) -> Iterator[Diagnostic]:
    """All that has no effect; where that is not certain, nothing."""
    if root.get("vars") or mapping.read_headers:
        texts = list(_texts(root.value))
        yield from _variables(root, texts)
        yield from _headers(root, texts)
    for name in ("chat", "completions"):
        endpoint, described = mapping.endpoints.get(name), root.get(name)
        if endpoint is None or described is None:
            continue
        for block in ("response", "stream"):
            if (part := described.get(block)) and isinstance(part.value, dict):
                yield from _fixed(part, block)
        if name == "chat":
            yield from _knobs(mapping, described, endpoint.reads)


def _texts(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for child in value.values():
                yield from _texts(child)
        case list():
            for child in value:
                yield from _texts(child)


def _read(texts: list[str], owner: str) -> set[str] | None:
    """The names that are read of `vars` or `headers`; None where something may read all of them."""
    found: set[str] = set()
    for text in texts:
        for at in re.finditer(rf"\b{owner}\b(?:\s*\.\s*(\w+)|\s*\[\s*(['\"])([^'\"]+)\2\s*\])?", text):
            name = at[1] or at[3]
            if name is None:
                return None
            found.add(name)
            if owner == "headers":
                found.add(name.lower())
    return found


def _variables(root: Source, texts: list[str]) -> Iterator[Diagnostic]:
    variables = root.get("vars")
    read = _read(texts, "vars") if variables else None
    if variables is None or read is None:
        return
    unknown = read - variables.value.keys()
    for name, child in variables.items():
        if name not in read and not _anchored(child):
            label = did_you_mean(name, unknown) or f"read it: `{{{{ vars.{name} }}}}`, or leave it out"
            yield _idle(f"nothing reads `vars.{name}`", child, label)


def _anchored(source: Source) -> bool:
    """Whether an anchor may give the value to other places."""
    span = source.span(key=True)
    lines = source.document.text.split("\n")
    line = lines[span.line - 1] if span.file == source.document.file and span.line <= len(lines) else "&"
    return "&" in line


def _headers(root: Source, texts: list[str]) -> Iterator[Diagnostic]:
    listed = root["backend"].get("client_headers")
    read = _read(texts, "headers") if listed else None
    if listed is None or read is None:
        return
    for child in listed:
        name = str(child.value).lower()
        if name not in read:
            label = f"read it: `{{{{ headers['{name}'] }}}}`, or leave it out"
            yield _idle(f"nothing reads the client's header `{name}`", child, label, key=False)


def _idle(message: str, source: Source, label: str, *, key: bool = True) -> Diagnostic:
    return Diagnostic("W108", message, source.span(key=key), label, severity=Severity.WARNING)


def _fixed(block: Source, name: str) -> Iterator[Diagnostic]:
    """What only the answer can tell, and is the same in every one."""
    if text := block.get("text"):
        yield from _constant(text, f"{name}.text")
    if (usage := block.get("usage")) and isinstance(usage.value, dict):
        for key, child in usage.items():
            yield from _constant(child, f"{name}.usage.{key}")


def _constant(source: Source, name: str) -> Iterator[Diagnostic]:
    """A selector that is a constant; one of several alternatives may be."""
    text = source.value
    if isinstance(text, str) and not has_template(text) and (found := _CONSTANT.fullmatch(text)):
        inner = found[1].strip("`'\"")
        label = f"write `{inner}` without the quotes for the field" if inner.isidentifier() else _SELECT
        message = f"`{name}` is {found[1]} in every answer, not a field of it"
        yield Diagnostic("W302", message, source.span(), label, severity=Severity.WARNING)


def _knobs(mapping: Mapping, chat: Source, reads: frozenset[str]) -> Iterator[Diagnostic]:
    """Parameters that are the same in every request, whatever the client wants."""
    body = (chat.get("request") or chat).get("body")
    for key, child in _constants(body) if body else ():
        knob = _KNOBS.get(re.sub(r"[_-]", "", key).lower())
        if knob is None or knob in reads or is_raw(reads, knob) or knob in mapping.unsupported.named:
            continue
        assert knob in SHAPES
        message = f"`{key}` is the same in every request: the client's `{knob}` is never read"
        label = f"`{{{{ {knob} | default({child.value}) }}}}` takes the client's"
        help_ = f"if that is meant, say so: `on_unsupported: {{{knob}: drop}}`"
        yield Diagnostic("W403", message, child.span(), label, help_, Severity.WARNING)


def _constants(source: Source) -> Iterator[tuple[str, Source]]:
    """Numbers under keys, at any depth."""
    if isinstance(source.value, dict):
        for key, child in source.items():
            if isinstance(child.value, int | float) and not isinstance(child.value, bool):
                yield key, child
            else:
                yield from _constants(child)
