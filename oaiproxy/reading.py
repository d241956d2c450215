"""Files to texts, and to documents laid over those that they extend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from os.path import normpath
from pathlib import Path, PurePath
from typing import TypeAlias

from oaiproxy.bundled import base_path, shipped_mappings
from oaiproxy.document import Document, load_document
from oaiproxy.errors import MappingError
from oaiproxy.layers import Base, Bases

Print: TypeAlias = tuple[int, int, int] | None
"""What tells that a file is another one now: its time, size and number; None where there is none."""
_noted: ContextVar[dict[Path, Print] | None] = ContextVar("noted", default=None)


def read_text(path: Path) -> str:
    """The text of a file; bytes that are not UTF-8 come as surrogates. Raises OSError."""
    note(path)
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        error.filename = error.filename or str(path)  # which only a failure to open names
        raise


@contextmanager
def noted() -> Iterator[dict[Path, Print]]:
    """The files that are asked for within the block, each as it was just before that."""
    files: dict[Path, Print] = {}
    token = _noted.set(files)
    try:
        yield files
    finally:
        _noted.reset(token)


def note(path: Path) -> None:
    """Keep in mind that a file is asked for, whether it is there or not."""
    files = _noted.get()
    if files is not None and path not in files:
        files[path] = print_of(path)


def print_of(path: Path) -> Print:
    """What a file is now. A link counts as what it leads to."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def file_reader(folder: Path) -> Callable[[str], str]:
    """Reads the files that a mapping names, relative to its folder."""
    return lambda name: read_text(folder / name)


def file_key(path: Path) -> str:
    """What tells a file from others, however it is named."""
    return str(path.resolve())


def bases_of(folder: Path, shown: str, sources: dict[str, str], read: Callable[[Path], str] = read_text) -> Bases:
    """What a file of this folder can extend; the names of those are relative as its own, `shown`, is.

    The texts of those that are opened go into `sources`.
    """

    def open_(name: str) -> Base:
        path = base_path(name, folder)
        text = read(path)
        file = normpath(PurePath(shown).parent / name) if path == folder / name else str(path)
        sources[file] = text
        return Base(file, file_key(path), text, file_reader(path.parent), bases_of(path.parent, file, sources, read))

    return Bases(open_, shipped_mappings())


def read_document(
    path: Path, environment: Mapping[str, str], sources: dict[str, str], read: Callable[[Path], str] = read_text
) -> Document:
    """A mapping file as data; the texts of those that it extends go into `sources`.

    Raises MappingError when it is not even that, OSError when it cannot be read.
    """
    file, text = str(path), read(path)
    document, findings = load_document(
        text,
        file=file,
        environment=environment,
        read_file=file_reader(path.parent),
        bases=bases_of(path.parent, file, sources, read),
        key=file_key(path),
    )
    if document is None:
        raise MappingError(findings, {**sources, file: text})
    return document
