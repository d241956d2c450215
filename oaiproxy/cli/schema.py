"""`oaiproxy schema`: the JSON Schema that editors complete and check files with."""

from __future__ import annotations

import argparse

from oaiproxy.bundled import bundled
from oaiproxy.cli.files import FileError, give
from oaiproxy.cli.output import complain


def run(arguments: argparse.Namespace) -> int:
    """Print or write; 0 when that was done, 1 when the file cannot be written."""
    try:
        give(bundled("schemas").joinpath(f"{arguments.kind}.schema.json").read_text("utf-8"), arguments.output)
    except FileError as error:
        complain(str(error))
        return 1
    return 0
