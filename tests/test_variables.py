"""Promises of `oaiproxy.variables`: which variables a document takes, in its order."""

from __future__ import annotations

from pathlib import Path

from oaiproxy.reading import read_document
from oaiproxy.variables import Variable, variables


def test_each_comes_once_and_is_required_where_one_reference_has_no_default(tmp_path: Path) -> None:
    """Files that are taken in are no variables."""
    path = tmp_path / "mine.yaml"
    path.write_text("a: ${B:-1}\nb: ${A}\nc: '${C:-}${B}'\nd: ${file:/nowhere}\n")
    found = variables(read_document(path, {}, {}))
    assert found == [Variable("B", True), Variable("A", True), Variable("C", False)]
