"""Text of a mapping that only looks like a reference or a quoted value: another tool's variable, or curly quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from oaiproxy.bodies import BODIES
from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.source import Source, leaves
from oaiproxy.templates import has_template

_NAME = "[A-Z_][A-Z0-9_]+"
_SHELL = re.compile(rf"\${_NAME}|\$\({_NAME}\)")
_VARIABLE = re.compile(rf"{_SHELL.pattern}|%{_NAME}%|(?<![{{$])\{{{_NAME}\}}(?!\}})")
_VALUE = re.compile(rf"(?:[A-Za-z-]+[ =])?(?:{_VARIABLE.pattern})")
"""A variable alone, or behind a scheme such as `Bearer`."""
_BEHIND_HOST = re.compile(r"(?:(?:https?|wss?)://[^/]*)?(/.*)", re.IGNORECASE)
_CURLY = re.compile("[\u2018\u201a\u201c\u201d\u201e](.*)[\u2018\u2019\u201c\u201d]", re.DOTALL)
_CREDENTIAL = re.compile(r"(?:key|token|secret|password|url)\)?$", re.IGNORECASE)


def meant_reference(text: str) -> str:
    """``did you mean `https://${HOST}/`?`` for text that holds another tool's variable, or ""."""
    meant = _VARIABLE.sub(lambda found: f"${{{found[0].strip('$()%{}')}}}", text)
    return f"did you mean `{meant}`?" if meant != text else ""


def straight_quotes(text: str) -> str:
    """``write straight quotes: `"x"` `` for text in curly ones, which are a part of it, or ""."""
    found = _CURLY.fullmatch(text)
    return f'write straight quotes: `"{found[1]}"`' if found else ""


def lookalikes(root: Source) -> Iterator[Diagnostic]:
    """Where it is near certain that a reference is meant: what a body holds may be for another program."""
    for name, block in root.items():
        if name == "examples" or name.startswith("x-"):
            continue
        for leaf in leaves(block):
            if _is_variable(leaf) and not has_template(leaf.value) and leaf.document.written(leaf.path) is None:
                message = f"`{leaf.value}` is no reference, but text"
                yield Diagnostic("W006", message, leaf.span(), meant_reference(leaf.value), severity=Severity.WARNING)


def _is_variable(leaf: Source) -> bool:
    text, path = leaf.value, leaf.path
    if path[0] == "vars":
        named = any(_CREDENTIAL.search(each) for each in (str(path[-1]), text))
        return named and _SHELL.fullmatch(text) is not None
    if any(step in BODIES for step in path):
        return False
    if "headers" in path:
        return _VALUE.fullmatch(text) is not None
    if path[-1] in ("url", "token_url", "path") and (path[0] == "backend" or "request" in path):
        behind = _BEHIND_HOST.fullmatch(text)  # one in the host is refused already
        return behind is not None and _SHELL.search(behind[1]) is not None
    return path[:2] == ("backend", "auth") and "login" not in path and _VALUE.fullmatch(text) is not None
