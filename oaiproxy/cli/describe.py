"""`oaiproxy describe`: mappings to tables of what clients can expect of them."""

from __future__ import annotations

import argparse
import json

from oaiproxy.capabilities import Capabilities, capabilities
from oaiproxy.capability_tables import markdown, markdown_comparison, text, text_comparison
from oaiproxy.cli.loading import load_documented
from oaiproxy.cli.output import complain

FORMATS = {"text": (text, text_comparison), "markdown": (markdown, markdown_comparison)}


def run(arguments: argparse.Namespace) -> int:
    """Print; 0 when it is told, 1 when a mapping is not usable, 2 when there is no such mapping or model."""
    every: list[Capabilities] = []
    for name in arguments.mappings:
        loaded = load_documented(name)
        if isinstance(loaded, int):
            return loaded
        mapping, document = loaded
        if arguments.model and arguments.model not in mapping.models and mapping.model_list is None:
            complain(f"`{name}` has no model `{arguments.model}`; it has: {', '.join(mapping.models)}")
            return 2
        every.append(capabilities(mapping, document, arguments.model))
    if arguments.format == "json":
        print(json.dumps({"mappings": [each.data() for each in every]}, indent=2))
        return 0
    one, several = FORMATS[arguments.format]
    print(one(every[0]) if len(every) == 1 else several(every))
    return 0
