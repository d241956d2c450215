"""Files to texts, and to documents laid over those that they extend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os.path import normpath
from pathlib import Path, PurePath

from oaiproxy.bundled import base_path, shipped_mappings
from oaiproxy.document import Document, load_document
from oaiproxy.errors import MappingError
from oaiproxy.layers import Base, Bases


def read_text(path: Path) -> str:
    """The text of a file; bytes that are not UTF-8 come as surrogates. Raises OSError."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        error.filename = error.filename or str(path)  # which only a failure to open names
        raise


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
