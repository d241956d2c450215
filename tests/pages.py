"""Pages of the documentation that are made from the code: `python tests/pages.py` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from oaiproxy.compatibility import page
from oaiproxy.handlers import routes
from oaiproxy.loader import mapping_schema

COMPATIBILITY = Path(__file__).parents[1] / "docs/compatibility.md"


def compatibility() -> str:
    """docs/compatibility.md, as it should be."""
    places = [(route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)) for route in routes(cast("Any", None))]
    return page(places, mapping_schema()["properties"]["emulate"]["items"]["enum"])


if __name__ == "__main__":
    COMPATIBILITY.write_text(compatibility(), encoding="utf-8")
