"""Promises of `oaiproxy.reading`: every byte of a file comes, and documents have what they extend."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaiproxy.errors import MappingError
from oaiproxy.reading import file_key, file_reader, read_document, read_text


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this machine has no file that cannot be read")
def test_a_failure_while_reading_names_the_file_too() -> None:
    """The system does so only when opening fails."""
    with pytest.raises(OSError) as caught:
        read_text(Path("/proc/self/mem"))
    assert caught.value.filename == "/proc/self/mem"


def test_the_reader_gives_every_byte(tmp_path: Path) -> None:
    """Recorded answers need not be text."""
    (tmp_path / "answer.bin").write_bytes(bytes(range(256)))
    assert file_reader(tmp_path)("answer.bin").encode("utf-8", "surrogateescape") == bytes(range(256))


def test_the_reader_knows_absolute_paths(tmp_path: Path) -> None:
    """As secrets are mounted."""
    (tmp_path / "key").write_text("k")
    assert file_reader(Path("/elsewhere"))(str(tmp_path / "key")) == "k"


def test_a_document_has_what_it_extends(tmp_path: Path) -> None:
    """From a file beside it; the text of that is kept for code frames, under its name as seen from here."""
    (tmp_path / "base.yaml").write_text("models: [small]\nvars: {a: 1}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nvars: {b: '${B:-2}'}\n")
    sources: dict[str, str] = {}
    document = read_document(tmp_path / "mine.yaml", {}, sources)
    assert document.data == {"extends": "base.yaml", "models": ["small"], "vars": {"a": 1, "b": "2"}}
    assert sources == {str(tmp_path / "base.yaml"): "models: [small]\nvars: {a: 1}\n"}


def test_what_is_read_of_files_can_be_less(tmp_path: Path) -> None:
    """Of the file, and of those that it extends."""
    (tmp_path / "base.yaml").write_text("models: [small]\n---\nrest")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\n---\nrest")
    document = read_document(tmp_path / "mine.yaml", {}, {}, lambda path: read_text(path).partition("---")[0])
    assert document.data == {"extends": "base.yaml", "models": ["small"]}


def test_what_is_no_document_is_refused_with_its_text(tmp_path: Path) -> None:
    """So that the place can be shown."""
    path = tmp_path / "mine.yaml"
    path.write_text("[")
    with pytest.raises(MappingError) as caught:
        read_document(path, {}, {})
    assert caught.value.sources == {str(path): "["}


def test_a_file_has_one_key(tmp_path: Path) -> None:
    """However it is named."""
    (tmp_path / "folder").mkdir()
    assert file_key(tmp_path / "folder/../mine.yaml") == file_key(tmp_path / "mine.yaml")
