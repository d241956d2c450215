"""What commands about one mapping have in common: its name on the command line to the mapping."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from oaiproxy.bundled import mapping_path
from oaiproxy.cli.files import STANDARD, FileError, take
from oaiproxy.cli.output import complain, report_errors, ships
from oaiproxy.document import Document
from oaiproxy.errors import MappingError
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.reporters import summary

T = TypeVar("T")


def load_shown(name: str) -> tuple[Mapping, Path] | int:
    """The mapping and its file, by a path or a shipped name; an exit code, the reason told, where there is none."""
    return _load(name, lambda loader, path: loader.load([(str(path), path)], environment=False)[0][0], "not started: ")


def load_documented(name: str) -> tuple[Mapping, Document] | int:
    """The mapping and the document that it was made of; else as `load_shown`."""

    def load(loader: Loader, path: Path) -> tuple[Mapping, Document]:
        ((mapping, _),) = loader.load([(str(path), path)], environment=False)[0]
        return mapping, loader.document(path)

    return _load(name, load, f"`{name}` is not usable: ")


def given_mapping(name: str) -> tuple[Path, dict[Path, str]]:
    """The file that a MAPPING of the command line stands for; the text of standard input. Raises FileError."""
    if name != STANDARD:
        return mapping_path(name, Path()), {}
    path = Path("<stdin>")
    return path, {path: take(name).decode("utf-8", "surrogateescape")}


def _load(name: str, load: Callable[[Loader, Path], T], said: str) -> T | int:
    try:
        path, given = given_mapping(name)
        return load(Loader(os.environ, given), path)
    except FileError as error:
        complain(str(error))
        return 2
    except MappingError as error:
        report_errors(error)
        complain(f"{said}{summary(error.diagnostics)}")
        return 1
    except OSError as error:
        hint = ships(name) if isinstance(error, FileNotFoundError) else ""
        complain(f"`{name}` cannot be read: {error.strerror}{hint}")
        return 2
