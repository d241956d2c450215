"""`oaiproxy check`: mapping files to a report of all that is wrong in them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from oaiproxy.bundled import mapping_path
from oaiproxy.cli import livecheck, update
from oaiproxy.cli.output import complain, report, ships
from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.reporters import summary

DEFAULT_FOLDER = "mappings"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    command.add_argument(
        "paths", nargs="*", metavar="PATH", help="files, folders, or names of shipped mappings (default: mappings)"
    )
    command.add_argument("--format", choices=("text", "json"), default="text", help="form of the report")
    command.add_argument("--no-env", action="store_true", help="do not ask for environment variables and files")
    update.add_argument(command)
    livecheck.add_argument(command)


def run(arguments: argparse.Namespace) -> int:
    """Check; 0 when nothing is wrong, 1 when something is, 2 when there is nothing to check or to read."""
    wrong = (update.misuse(arguments) if arguments.update else "") or (
        livecheck.misuse(arguments) if arguments.live else ""
    )
    if wrong:
        complain(wrong)
        return 2
    try:
        files = [file for name in arguments.paths or [DEFAULT_FOLDER] for file in _files(name)]
    except FileNotFoundError as error:
        complain(f"there is no file or folder `{error.filename}`{ships(error.filename) if arguments.paths else ''}")
        return 2
    except OSError as error:
        complain(f"`{error.filename}` cannot be read: {error.strerror}")
        return 2
    if not files:
        complain("there are no mapping files (*.yaml, *.yml) to check")
        return 2
    loader = Loader(os.environ)
    if arguments.update:
        update.run_updates(files, loader, environment=not arguments.no_env)
    findings: list[Diagnostic] = []
    sound: list[tuple[str, str, Mapping]] = []
    untried = unread = 0
    for file in files:
        try:
            checked = loader.check(file, environment=not arguments.no_env)
        except OSError as error:
            complain(f"`{file}` cannot be read: {error.strerror}")
            unread += 1
        else:
            findings.extend(checked.diagnostics)
            if checked.mapping is not None:
                sound.append((str(file), loader.sources[str(file)], checked.mapping))
            untried += checked.mapping is not None and not checked.mapping.examples
    if arguments.live:
        findings.extend(livecheck.live_findings(sound))
    report(findings, loader.sources, sys.stdout, arguments.format)
    if arguments.format == "text":
        count = len(files) - unread
        plural = "" if count == 1 else "s"
        told = f"{count} file{plural} checked: {summary(findings)}"
        if untried:
            which = "it has" if count == 1 else f"{untried} of them {'has' if untried == 1 else 'have'}"
            told += f"; {which} no `examples`, so that no answer was tried"
        print(told, file=sys.stderr if findings else sys.stdout)
    if unread:
        return 2
    return 1 if any(found.severity is Severity.ERROR for found in findings) else 0


def _files(name: str) -> Iterator[Path]:
    """The mapping files at a path, or the shipped mapping of that name. Raises FileNotFoundError."""
    path = Path(name)
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml") and not file.is_dir())
    elif path.exists():
        yield path
    elif (shipped := mapping_path(name, Path())).is_file():
        yield shipped
    else:
        raise FileNotFoundError(2, "no such file", name)
