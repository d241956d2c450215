"""Promises of the catalog: it has every code that the checker can report, and no other."""

import re
from pathlib import Path

from oaiproxy.catalog import CATALOG

ROOT = Path(__file__).parents[1]


def test_it_has_the_codes_of_the_code() -> None:
    """As they are written there."""
    written = set()
    for path in (ROOT / "oaiproxy").rglob("*.py"):
        if path.name != "catalog.py":
            written |= set(re.findall(r'"([EW][0-9]{3})"', path.read_text("utf-8")))
    assert written == set(CATALOG)


def test_each_has_a_title() -> None:
    """One line, without a full stop."""
    for kind in CATALOG.values():
        assert kind.title
        assert "\n" not in kind.title
        assert not kind.title.endswith(".")
