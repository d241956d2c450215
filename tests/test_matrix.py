"""The fault matrix is whole: each of its rows is shown by a test, which names it in `pytest.mark.row`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from support import ROOT

ROWS = range(1, 121)
SUPERVISED = {108, 109, 110}
"""Those of several workers, which there are not."""
THOROUGH = "pytest.mark.thorough"
MARKS = "pytestmark"
TESTS = ast.FunctionDef | ast.AsyncFunctionDef


def test_every_row_has_a_test() -> None:
    """One that every run of the tests makes, not the thorough one alone; and none names a row that there is not."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py")]
    shown = {row for tree in trees for row in _shown(tree)}
    assert sorted(set(ROWS) - SUPERVISED - shown) == []
    assert sorted({row for tree in trees for row in _rows(tree)} - set(ROWS)) == []


def test_what_only_the_thorough_run_shows_is_not_shown() -> None:
    """Marked by itself, by its class or by its file; one of several cases that is, leaves the others."""
    marked = "import pytest\n@pytest.mark.row(1, 2)\n{more}\ndef test_it() -> None: ...\n"
    case = "@pytest.mark.parametrize('a', [1, pytest.param(2, marks=pytest.mark.thorough)])"
    assert list(_shown(ast.parse(marked.format(more="")))) == [1, 2]
    assert list(_shown(ast.parse(marked.format(more=case)))) == [1, 2]
    assert list(_shown(ast.parse(marked.format(more=f"@{THOROUGH}")))) == []
    assert list(_shown(ast.parse(marked.format(more="") + f"pytestmark = [{THOROUGH}]\n"))) == []
    assert list(_shown(ast.parse("pytestmark = pytest.mark.row(4)"))) == [4]
    inside = "class TestIt:\n    @pytest.mark.row(3)\n    def test_it(self) -> None: ...\n"
    assert list(_shown(ast.parse(inside))) == [3]
    assert list(_shown(ast.parse(f"@{THOROUGH}\n{inside}"))) == []


def _shown(tree: ast.Module | ast.ClassDef) -> Iterator[int]:
    """The rows that tests show of which at least one case is not thorough."""
    own = [each.value for each in tree.body if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == MARKS]
    if any(THOROUGH in ast.unparse(each) for each in own):
        return
    for mark in own:
        yield from _rows(mark)
    for each in tree.body:
        decorators = each.decorator_list if isinstance(each, ast.ClassDef | TESTS) else []
        if any(ast.unparse(decorator) == THOROUGH for decorator in decorators):
            continue
        for decorator in decorators:
            yield from _rows(decorator)
        if isinstance(each, ast.ClassDef):
            yield from _shown(each)


def _rows(tree: ast.AST) -> Iterator[int]:
    """The numbers in each `pytest.mark.row(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
            for argument in node.args:
                assert isinstance(argument, ast.Constant)
                assert isinstance(argument.value, int)
                yield argument.value
