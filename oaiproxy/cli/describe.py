"""`oaiproxy describe`: a mapping to the table of what becomes of OpenAI's fields with it."""

from __future__ import annotations

import argparse
import json
import textwrap

from oaiproxy.cli.arguments import add_mapping
from oaiproxy.cli.loading import load_shown
from oaiproxy.cli.output import complain
from oaiproxy.features import features

WIDTH = 100


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_mapping(command)
    command.add_argument("--model", default="", help="one of its models (default: those without words of their own)")
    command.add_argument("--format", choices=("text", "json"), default="text", help="form of the table")


def run(arguments: argparse.Namespace) -> int:
    """Print; 0 when it is told, 1 when the mapping is not usable, 2 when there is no such mapping or model."""
    loaded = load_shown(arguments.mapping)
    if isinstance(loaded, int):
        return loaded
    mapping, _ = loaded
    if arguments.model and arguments.model not in mapping.models and mapping.model_list is None:
        complain(f"`{arguments.mapping}` has no model `{arguments.model}`; it has: {', '.join(mapping.models)}")
        return 2
    found = features(mapping, arguments.model)
    if arguments.format == "json":
        print(json.dumps(found, indent=2))
        return 0
    for endpoint, table in found.items():
        print(endpoint)
        for word, names in table.items():
            print(textwrap.fill(", ".join(names), WIDTH, initial_indent=f"  {word:<9} ", subsequent_indent=" " * 12))
    return 0
