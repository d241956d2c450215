"""`oaiproxy check --live`: the real backends asked, one small request per endpoint and kind."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from oaiproxy.backends import MOCK_URL
from oaiproxy.cli.interrupts import run_loop
from oaiproxy.cli.output import complain
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.mapping import Mapping


def misuse(arguments: argparse.Namespace) -> str:
    """Why the option cannot be used so; "" where it can."""
    return "`--live` needs what `--no-env` leaves out: give one of the two" if arguments.no_env else ""


def live_findings(mappings: Sequence[tuple[str, str, Mapping]]) -> list[Diagnostic]:
    """What the backends of these say, which are without errors: each the file's name, its text and the mapping."""
    return run_loop(lambda: _ask(mappings))


async def _ask(mappings: Sequence[tuple[str, str, Mapping]]) -> list[Diagnostic]:
    from oaiproxy.live import live  # here, since what opens connections takes long to load
    from oaiproxy.liveprobes import probe_live

    found: list[Diagnostic] = []
    async with live() as asking:
        for file, text, mapping in mappings:
            if mapping.backend.url == MOCK_URL:
                complain(f"`{file}` has no backend to ask: `backend.url` is `{MOCK_URL}`")
            found += await probe_live(asking, mapping, text, file)
    return found
