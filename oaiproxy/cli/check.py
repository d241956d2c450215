"""`oaiproxy check`: mapping files to a report of all that is wrong in them."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from oaiproxy.bundled import mapping_path
from oaiproxy.catalog import CATALOG, PAGE, anchor
from oaiproxy.checkup import CheckedFile, Checkup
from oaiproxy.cli import livecheck, update
from oaiproxy.cli.files import STANDARD, FileError, give
from oaiproxy.cli.output import complain, report, ships
from oaiproxy.cli.progress import Progress
from oaiproxy.config import CONFIG_NAMES
from oaiproxy.diagnostics import Diagnostic, Severity, did_you_mean
from oaiproxy.junit import Suite, junit
from oaiproxy.loader import Loader
from oaiproxy.reporters import summary

DEFAULT_FOLDER = "mappings"
SHOWN = 5
"""Names of files that were found and not checked."""
SUMMED = {"text", "github"}
"""Forms that people read, after which the summary stands."""
RELATIVE = {"github", "sarif"}
"""Forms whose readers know files by their paths in a repository."""


def run(arguments: argparse.Namespace) -> int:
    """Check; 0 when nothing is wrong, 1 when something is, 2 when there is nothing to check or to read."""
    if arguments.explain is not None:
        return _explain(arguments)
    wrong = (update.misuse(arguments) if arguments.update else "") or (
        livecheck.misuse(arguments) if arguments.live else ""
    )
    if wrong:
        complain(wrong)
        return 2
    checkup = Checkup(Loader(os.environ), environment=not arguments.no_env)
    something = _gather(checkup, arguments.paths)
    _tell_foreign(checkup.foreign)
    if not something:
        return 2
    if arguments.update:
        mappings = [file.path for file in checkup.files.values() if file.config is None and not file.unread]
        update.run_updates(mappings, checkup.loader, environment=checkup.environment)
        checkup = Checkup(checkup.loader, environment=checkup.environment)
        _gather(checkup, arguments.paths)
    with Progress(len(checkup.files), sys.stderr) as progress:
        files = checkup.run(progress.step)
    for file in files:
        if file.unread:
            complain(f"`{file.file}` cannot be read: {file.unread}")
    if arguments.live:
        _ask_backends(files)
    findings = [found for file in files for found in file.diagnostics]
    _print(arguments, files, findings, checkup.loader.sources)
    if arguments.junit is not None and not _write(arguments, files, checkup.loader.sources):
        return 2
    if any(file.unread for file in files):
        return 2
    return 1 if any(arguments.strict or found.severity is Severity.ERROR for found in findings) else 0


def _ask_backends(files: Sequence[CheckedFile]) -> None:
    """Add what the backends say of the mappings that are sound."""
    sound = {file.file: file for file in files if file.mapping is not None}
    asked = [(name, file.text, file.mapping) for name, file in sound.items() if file.mapping is not None]
    for found in livecheck.live_findings(asked):
        file = sound[found.span.file if found.span is not None and found.span.file in sound else asked[0][0]]
        file.diagnostics = [*file.diagnostics, file.seal.finding(found)]


def _explain(arguments: argparse.Namespace) -> int:
    """Print what the catalog has of a code; 2 where there is no such code."""
    if arguments.paths:
        complain("`--explain` takes a code alone, and no files")
        return 2
    code = arguments.explain.upper()
    kind = CATALOG.get(code)
    if kind is None:
        hint = did_you_mean(code, CATALOG) or "codes stand in findings, such as `error[E203]`"
        complain(f"no finding has the code `{arguments.explain}`; {hint}")
        return 2
    severity = Severity.WARNING if code.startswith("W") else Severity.ERROR
    print(f"{severity}[{code}]: {kind.title}")
    for line in (kind.cause, kind.fix and f"help: {kind.fix}"):
        if line:
            print(textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False))
    print(f"page: {PAGE}#{anchor(code)}")
    return 0


def _gather(checkup: Checkup, names: Sequence[str]) -> bool:
    """Take what is to be checked; whether there is something, which is complained of otherwise."""
    try:
        for name in names or _defaults():
            if name == STANDARD:
                text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
                checkup.add(Path("<stdin>"), text=text)
            else:
                _take(checkup, name)
    except FileNotFoundError as error:
        complain(f"there is no file or folder `{error.filename}`{ships(error.filename) if names else ''}")
        return False
    except OSError as error:
        complain(f"`{error.filename or 'standard input'}` cannot be read: {error.strerror}")
        return False
    if not checkup.files:
        complain("there are no mapping files (*.yaml, *.yml) to check")
    return bool(checkup.files)


def _defaults() -> list[str]:
    """What is checked where nothing is named: the configuration that is here, and the folder of mappings."""
    configs = [name for name in CONFIG_NAMES if Path(name).is_file()][:1]
    return configs if configs and not Path(DEFAULT_FOLDER).is_dir() else [*configs, DEFAULT_FOLDER]


def _take(checkup: Checkup, name: str) -> None:
    """Take the file or folder of a name, or the shipped mapping. Raises FileNotFoundError."""
    path = Path(name)
    if path.is_dir():
        checkup.search(path)
    elif path.exists():
        checkup.add(path)
    elif (shipped := mapping_path(name, Path())).is_file():
        checkup.add(shipped)
    else:
        raise FileNotFoundError(2, "no such file", name)


def _tell_foreign(paths: Sequence[Path]) -> None:
    """Say what was found and not checked."""
    if paths:
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        shown = ", ".join(f"`{path}`" for path in paths[:SHOWN])
        complain(f"not checked, as no key of a mapping or configuration is there: {shown}{more}")


def _print(
    arguments: argparse.Namespace,
    files: Sequence[CheckedFile],
    findings: Sequence[Diagnostic],
    sources: dict[str, str],
) -> None:
    """Print the report, and behind it the summary."""
    if arguments.format == "junit":
        sys.stdout.write(_junit(arguments, files, sources))
    elif arguments.format in RELATIVE:
        report(
            [_relative(found) for found in findings],
            {_inside(file): text for file, text in sources.items()},
            sys.stdout,
            arguments.format,
        )
    else:
        report(findings, sources, sys.stdout, arguments.format)
    if arguments.format in SUMMED:
        print(_summed(files, findings), file=sys.stderr if findings else sys.stdout)


def _summed(files: Sequence[CheckedFile], findings: Sequence[Diagnostic]) -> str:
    count = sum(not file.unread for file in files)
    untried = sum(file.mapping is not None and not file.mapping.examples for file in files)
    told = f"{count} file{'' if count == 1 else 's'} checked: {summary(findings)}"
    if untried:
        which = "it has" if count == 1 else f"{untried} of them {'has' if untried == 1 else 'have'}"
        told += f"; {which} no `examples`, so that no answer was tried"
    return told


def _relative(found: Diagnostic) -> Diagnostic:
    return replace(found, span=replace(found.span, file=_inside(found.span.file))) if found.span else found


def _inside(file: str) -> str:
    """A file in the current folder by its path from there."""
    path = Path(os.path.normpath(file))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _junit(arguments: argparse.Namespace, files: Sequence[CheckedFile], sources: dict[str, str]) -> str:
    suites = [Suite(file.file, file.diagnostics, file.examples, file.tried, file.unread) for file in files]
    return junit(suites, sources, strict=arguments.strict)


def _write(arguments: argparse.Namespace, files: Sequence[CheckedFile], sources: dict[str, str]) -> bool:
    """Write the JUnit report; whether that could be done, which is complained of otherwise."""
    try:
        give(_junit(arguments, files, sources), arguments.junit)
    except FileError as error:
        complain(str(error))
        return False
    return True
