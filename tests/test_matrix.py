"""The fault matrix is whole: each of its rows is shown by a test, which names it in `pytest.mark.row`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from support import ROOT

ROWS = range(1, 121)
SUPERVISED = {108, 109, 110}
"""Those of several workers, which there are not."""


def test_every_row_has_a_test() -> None:
    """And no test names a row that there is not."""
    shown = {row for path in (ROOT / "tests").rglob("test_*.py") for row in _rows(ast.parse(path.read_text("utf-8")))}
    assert sorted(set(ROWS) - SUPERVISED - shown) == []
    assert sorted(shown - set(ROWS)) == []


def _rows(tree: ast.AST) -> Iterator[int]:
    """The numbers in each `pytest.mark.row(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
            for argument in node.args:
                assert isinstance(argument, ast.Constant)
                assert isinstance(argument.value, int)
                yield argument.value
