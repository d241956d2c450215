"""Promises of the catalog: it has every code that the checker can report, and no other."""

import re
from pathlib import Path

import pytest
from pages import DIAGNOSTICS, diagnostics

from oaiproxy.catalog import CATALOG, STAGES, anchor

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


@pytest.mark.parametrize("code", sorted(CATALOG))
def test_each_has_a_cause_and_a_fix(code: str) -> None:
    """In sentences, and the fix as reports show it: no capital, no full stop."""
    kind = CATALOG[code]
    assert kind.cause.endswith(".")
    assert 1 <= kind.cause.count(". ") + 1 <= 3
    assert kind.fix
    assert not kind.fix.endswith(".")
    assert code[1] in STAGES


def test_the_page_is_what_the_code_makes() -> None:
    """After a change, `python tests/pages.py` writes it anew."""
    assert DIAGNOSTICS.read_text("utf-8") == diagnostics(), "run: python tests/pages.py"


def test_the_page_has_a_heading_for_each() -> None:
    """With an example, but for codes that need a live backend; the anchor is that heading's."""
    parts = re.split(r"^## ", DIAGNOSTICS.read_text("utf-8"), flags=re.MULTILINE)[1:]
    for part in parts:
        code = part[:4]
        heading = part.splitlines()[0]
        assert anchor(code) == re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        assert code[1] == "7" or f"[{code}]: " in part
    assert sorted(part[:4] for part in parts) == sorted(CATALOG)
