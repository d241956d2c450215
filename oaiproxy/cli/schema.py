"""`oaiproxy schema`: the JSON Schema that editors complete and check files with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from oaiproxy.bundled import bundled
from oaiproxy.cli.output import complain

KINDS = ("mapping", "extension", "config")
"""Of mappings, of those that extend another, of the configuration."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    command.add_argument("kind", nargs="?", choices=KINDS, default="mapping", help="which files (default: %(default)s)")
    command.add_argument("--output", metavar="FILE", help="write it into a file (default: standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Print or write; 0 when that was done, 1 when the file cannot be written."""
    text = bundled("schemas").joinpath(f"{arguments.kind}.schema.json").read_text("utf-8")
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    try:
        Path(arguments.output).write_text(text, encoding="utf-8")
    except OSError as error:
        complain(f"`{arguments.output}` cannot be written: {error.strerror}")
        return 1
    return 0
