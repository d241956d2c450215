"""Promises of the options: their choices are those of the code, and no command's libraries are loaded for help."""

from __future__ import annotations

import sys

import pytest
from commands import execute

from oaiproxy.cli import COMMANDS, options
from oaiproxy.entrances import OTHERS
from oaiproxy.liveprobes import REQUESTS
from oaiproxy.mapping import ENDPOINTS
from oaiproxy.reporters import REPORTERS

LIGHT = """
import sys
from oaiproxy.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
heavy = {"aiohttp", "asyncio", "jinja2", "jmespath", "jsonschema", "yaml", "oaiproxy.mapping"}
print(sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""


def test_choices_are_those_of_the_code() -> None:
    """They are written out, since what they belong to takes long to load."""
    assert set(options.FORMS) == {*REPORTERS, "junit"}
    assert options.ENDPOINTS == ENDPOINTS
    assert set(REQUESTS) == set(ENDPOINTS)
    assert options.ENTRANCES == OTHERS


@pytest.mark.parametrize(
    "arguments", [["completion", "bash"], ["schema"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_nothing_heavy_is_loaded(arguments: list[str]) -> None:
    """What a shell asks for at a key press, and what is asked most often."""
    done = execute(sys.executable, "-c", LIGHT, *arguments)
    assert done.stdout
    assert done.stderr == "[]\n"
