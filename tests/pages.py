"""Pages of the documentation that are made from the code: `python tests/pages.py` writes them anew."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from oaiproxy import capability_tables
from oaiproxy.app import serve
from oaiproxy.capabilities import capabilities
from oaiproxy.compatibility import page
from oaiproxy.config import Config, Server
from oaiproxy.handlers import routes
from oaiproxy.loader import Loader, mapping_schema

ROOT = Path(__file__).parents[1]
COMPATIBILITY = ROOT / "docs/compatibility.md"
MAPPINGS = ROOT / "docs/mappings.md"


async def places() -> list[tuple[str, str]]:
    """The methods and paths of the server."""
    async with serve(Config([], Server(port=0), log_level="error"), []) as running:
        return [(route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)) for route in routes(running.state)]


def compatibility() -> str:
    """docs/compatibility.md, as it should be."""
    return page(asyncio.run(places()), mapping_schema()["properties"]["emulate"]["items"]["enum"])


def mappings() -> str:
    """docs/mappings.md, as it should be."""
    loader = Loader({})
    every = []
    for path in sorted(ROOT.glob("mappings/*.yaml")):
        ((mapping, _),) = loader.load([(path.stem, path)], environment=False)[0]
        every.append(capabilities(mapping, loader.document(path)))
    return capability_tables.page(every)


if __name__ == "__main__":
    MAPPINGS.write_text(mappings(), encoding="utf-8")
    COMPATIBILITY.write_text(compatibility(), encoding="utf-8")
