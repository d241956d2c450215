"""`oaiproxy check --update`: what the examples come to, written into the files."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable
from pathlib import Path

from oaiproxy.cli.output import complain
from oaiproxy.cli.writing import alone, draft, is_installed, is_shipped_name, settle
from oaiproxy.diagnostics import Severity
from oaiproxy.loader import Loader
from oaiproxy.reading import file_reader, read_text
from oaiproxy.updates import Update, update

UPDATED = ("E501", "E502", "W501")
"""The findings that a new text of the examples can mend."""


def misuse(arguments: argparse.Namespace) -> str:
    """Why the option cannot be used so; "" where it can."""
    if arguments.format != "text":
        return "`--update` shows what it changed: it goes with `--format text` only"
    for name in arguments.paths:
        if name == "-":
            return "`--update` writes files, and standard input is none"
        if is_shipped_name(name):
            return f"`{name}` ships with oaiproxy and is not for editing; write a mapping that `extends: {name}`"
    return ""


def run_updates(files: Iterable[Path], loader: Loader, *, environment: bool = True) -> None:
    """Update the examples of these files; a file with other errors is left alone, and that is said."""
    for path in files:
        try:
            with alone(path):
                _update(path, loader, environment)
        except OSError as error:
            complain(f"`{path}` is not updated: {error.strerror}")


def _update(path: Path, loader: Loader, environment: bool) -> None:
    checked = loader.check(path, environment=environment)
    codes = {found.code for found in checked.diagnostics if found.severity is Severity.ERROR or found.code in UPDATED}
    if others := sorted(codes - set(UPDATED)):
        complain(f"`{path}` is not updated: mend what else is wrong first ({', '.join(others)})")
        return
    if not codes:
        return
    if is_installed(path):
        complain(f"`{path}` is not updated: it is a part of the installed package")
        return
    mapping = loader.check(path, environment=environment, examples=False).mapping
    if mapping is None:
        return
    text = read_text(path)
    made: Update = update(mapping, text, file_reader(path.parent))
    for why in made.left:
        complain(f"`{path}`: not updated: {checked.seal.text(why)}")
    if made.text == text:
        return
    with draft(path, made.text) as drafted:
        settle(drafted, path)
    print(checked.seal.text("".join(_diff(str(path), text, made.text))), end="")


def _diff(name: str, before: str, after: str) -> Iterable[str]:
    old, new = (each.replace("\r\n", "\n").splitlines(keepends=True) for each in (before, after))
    for line in difflib.unified_diff(old, new, name, name):
        yield line if line.endswith("\n") else line + "\n"
