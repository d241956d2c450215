"""Tables of Markdown to their cells."""

from __future__ import annotations

import re


def cells(table: str) -> list[list[str]]:
    """The rows of a table without the line below its head; every row is as long as the head."""
    head, _, *rows = (
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()
    )
    assert all(len(row) == len(head) for row in rows)
    return [head, *rows]
