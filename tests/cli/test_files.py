"""Promises of `oaiproxy.cli.files`: `-` is a standard stream everywhere, and what cannot be used says why."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from oaiproxy.cli.files import FileError, give, take, take_json


def test_a_file_comes_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does standard input."""
    (tmp_path / "a.bin").write_bytes(b"a\r\n\xff")
    assert take(str(tmp_path / "a.bin")) == b"a\r\n\xff"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"b\r\n\xff")))
    assert take("-") == b"b\r\n\xff"


def test_json_that_is_none_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which file, and where in it."""
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert take_json(str(path)) == {"a": 1}
    path.write_text('{"a": 1,}')
    with pytest.raises(FileError, match=r"a\.json` is not JSON: "):
        take_json(str(path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(FileError, match=r"^`standard input` is not JSON: "):
        take_json("-")


def test_what_is_given_goes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in UTF-8, or standard output."""
    give("é\n", str(tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()
    give("é\n", "-")
    assert capsys.readouterr().out == "é\n"


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """For reading, and for writing."""
    path = tmp_path / "nowhere/a"
    with pytest.raises(FileError, match=f"^`{path}` cannot be read: No such file or directory$"):
        take(str(path))
    with pytest.raises(FileError, match=f"^`{path}` cannot be written: No such file or directory$"):
        give("", str(path))
