"""A backend request as text of HTTP, and as a command line for curl, without secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from oaiproxy import jsontext
from oaiproxy.discretion import Discretion, plain, spliced


@dataclass(frozen=True, slots=True)
class Shown:
    """A request without secrets: what stands for them is between marks. `body` is as it is sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    user: str = ""
    """User and password, where those make the header `Authorization`."""


def as_http(shown: Shown, discretion: Discretion) -> str:
    """The request line, the headers, and the body: JSON laid out, other text as it is, bytes counted."""
    lines = [f"{shown.method} {shown.url} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in shown.headers.items()]
    if shown.body:
        lines += ["", _laid_out(shown.body, discretion)]
    return plain("\n".join(lines))


def as_curl(shown: Shown, discretion: Discretion) -> str:
    """A command line for a POSIX shell. A body that is no text comes from a pipe, in base64."""
    words = ["curl -sS" + (f" -X {shown.method}" if shown.method != "GET" else "") + f" {spliced(shown.url)}"]
    for name, value in shown.headers.items():
        if shown.user and name.lower() == "authorization":
            words.append(f"-u {spliced(shown.user)}")
        else:
            words.append(f"-H {spliced(f'{name}: {value}' if value else f'{name};')}")
    before = ""
    if shown.body is not None:
        text = _text(shown.body)
        if text is None:
            coded = base64.b64encode(discretion.raw(shown.body)).decode()
            before, data = f"printf %s '{coded}' | base64 -d | ", "--data-binary @-"
        else:
            data = f"--data-raw {spliced(discretion.marked(text))}"
        words.append(data)
    return before + " \\\n  ".join(words)


def _text(body: bytes) -> str | None:
    """The body as an argument of a command; None where it cannot be one."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _laid_out(body: bytes, discretion: Discretion) -> str:
    try:
        return json.dumps(discretion.data(jsontext.parse(body)), ensure_ascii=False, indent=2)
    except ValueError:
        pass
    text = _text(body)
    return f"({len(body)} bytes)" if text is None else discretion.text(text)
