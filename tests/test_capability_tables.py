"""Promises of the tables of capabilities: all is in them, they fit, and the page of the docs is the one they make."""

from __future__ import annotations

import pages
import pytest
from markdown_tables import cells
from support import ROOT, shipped

from oaiproxy.capabilities import Capabilities, capabilities
from oaiproxy.capability_tables import COLUMNS, WIDTH, comparison, markdown, markdown_comparison, text, text_comparison

NAMES = sorted(path.stem for path in (ROOT / "mappings").glob("*.yaml"))


def told(name: str) -> Capabilities:
    return capabilities(*shipped(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_text_says_all_and_fits_a_terminal(name: str) -> None:
    """Every endpoint, variable, host and field is named."""
    found = told(name)
    said = text(found)
    words = set(said.replace(",", " ").split())
    fields = {field for table in found.features.values() for names in table.values() for field in names}
    assert fields | {each.name for each in found.environment} | {each.path for each in found.endpoints} <= words
    assert set(found.hosts) <= words
    assert max(map(len, said.splitlines())) <= WIDTH


@pytest.mark.parametrize("name", NAMES)
def test_the_markdown_says_the_same(name: str) -> None:
    """Two tables: of the mapping, and of the fields by what becomes of them."""
    found = told(name)
    about, fields = (cells(table) for table in markdown(found).split("\n\n"))
    assert about[0] == ["", f"`{name}`"]
    assert {row[0] for row in about} >= {"description", "models", "token counts", "auth", "hosts", "examples"}
    for row in fields[1:]:
        for word, cell in zip(fields[0][1:], row[1:], strict=True):
            named = [name.strip("`") for name in cell.split(", ") if name]
            assert named == list(found.features[row[0].strip("`")].get(word.lower(), ()))


def test_a_comparison_has_a_row_for_each() -> None:
    """In the order in which they were asked for, the same in both forms."""
    every = [told(name) for name in ("ollama", "example")]
    rows = comparison(every)
    assert [row[0] for row in rows] == ["ollama", "example"]
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert dict(zip(COLUMNS, rows[0], strict=True))["Images"] == "yes, fetched"
    assert cells(markdown_comparison(every)) == [list(COLUMNS), *([f"`{row[0]}`", *row[1:]] for row in rows)]
    lines = text_comparison(every).splitlines()
    assert [line.split()[0] for line in lines] == ["mapping", "ollama", "example"]
    assert len({line.index(word) for line, word in zip(lines, ("tools", "native", "none"), strict=True)}) == 1


def test_the_page_of_the_docs_is_made_of_the_mappings() -> None:
    """`python tests/pages.py` writes it anew."""
    assert pages.MAPPINGS.read_text("utf-8") == pages.mappings()
