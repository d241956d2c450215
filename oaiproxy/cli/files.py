"""Files of the command line, of which `-` is standard input, or standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from oaiproxy import jsontext
from oaiproxy.errors import OaiproxyError
from oaiproxy.jsontext import Json

STANDARD = "-"
"""The name of standard input and output."""


class FileError(OaiproxyError):
    """A file that was named cannot be used; the message says why."""


def take(name: str) -> bytes:
    """What is in a file. Raises FileError."""
    try:
        return sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()
    except OSError as error:
        raise FileError(f"`{called(name)}` cannot be read: {error.strerror}") from error


def take_json(name: str) -> Json:
    """The JSON document in a file. Raises FileError."""
    try:
        return jsontext.parse(take(name))
    except jsontext.JsonError as error:
        raise FileError(f"`{called(name)}` is not JSON: {error}") from error


def give(text: str, name: str) -> None:
    """Write a file. Raises FileError."""
    if name == STANDARD:
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"`{name}` cannot be written: {error.strerror}") from error


def called(name: str) -> str:
    """What people call a file."""
    return "standard input" if name == STANDARD else name
