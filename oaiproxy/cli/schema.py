"""`oaiproxy schema`: the JSON Schema that editors complete and check files with."""

from __future__ import annotations

import argparse

from oaiproxy.bundled import bundled
from oaiproxy.cli.files import STANDARD, FileError, give
from oaiproxy.cli.output import complain

KINDS = ("mapping", "extension", "config", "explain")
"""Of mappings, of those that extend another, of the configuration, of what `explain` prints as JSON."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    command.add_argument("kind", nargs="?", choices=KINDS, default="mapping", help="of what (default: %(default)s)")
    command.add_argument(
        "-o", "--output", metavar="FILE", default=STANDARD, help="where to write it (default: standard output)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print or write; 0 when that was done, 1 when the file cannot be written."""
    try:
        give(bundled("schemas").joinpath(f"{arguments.kind}.schema.json").read_text("utf-8"), arguments.output)
    except FileError as error:
        complain(str(error))
        return 1
    return 0
