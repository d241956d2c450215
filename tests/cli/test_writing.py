"""Promises of writing: a file is the old one or the new one, never a part of it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import oaiproxy
from oaiproxy.cli.writing import alone, draft, is_installed, is_shipped_name, settle


def test_a_draft_that_is_not_settled_leaves_nothing(tmp_path: Path) -> None:
    """Whatever ended its block."""
    path = tmp_path / "a.yaml"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path)
    assert os.listdir(tmp_path) == ["a.yaml"]
    assert path.read_text() == "old"


def _interrupted(path: Path) -> None:
    with draft(path, "new") as drafted:
        assert drafted.read_text() == "new"
        raise KeyboardInterrupt


def test_a_draft_takes_the_place(tmp_path: Path) -> None:
    """With the permissions, behind a link, byte for byte."""
    path = tmp_path / "a.yaml"
    path.write_text("old")
    path.chmod(0o604)
    (tmp_path / "b.yaml").symlink_to(path)
    with draft(tmp_path / "b.yaml", "n\r\n\udcff") as drafted:
        settle(drafted, tmp_path / "b.yaml")
    assert path.read_bytes() == b"n\r\n\xff"
    assert path.stat().st_mode & 0o777 == 0o604
    assert (tmp_path / "b.yaml").is_symlink()


def test_what_is_not_for_editing(tmp_path: Path) -> None:
    """The installed package, and what a name alone stands for."""
    assert is_installed(Path(oaiproxy.__file__).parent / "mappings" / "x.yaml")
    assert not is_installed(tmp_path / "x.yaml")
    assert is_shipped_name("example")
    assert not is_shipped_name("mine.yaml")


def test_one_edits_at_a_time(tmp_path: Path) -> None:
    """Another waits until the first is through."""
    path = tmp_path / "a.yaml"
    path.write_text("0")
    inside: list[int] = []

    def edit() -> None:
        for _ in range(100):
            with alone(path):
                inside.append(1)
                assert len(inside) == 1
                path.write_text(str(int(path.read_text()) + 1))
                inside.pop()

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(edit) for _ in range(4)]:
            each.result()
    assert path.read_text() == "400"
