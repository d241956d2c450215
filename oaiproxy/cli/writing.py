"""Files written whole or not at all: beside their place first, then moved there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from oaiproxy.bundled import bundled


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other commands from editing files beside `path`, for the time of the block; they wait. Raises OSError."""
    try:
        import fcntl
    except ImportError:  # there is none on Windows
        yield
        return
    number = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


@contextmanager
def draft(path: Path, text: str) -> Iterator[Path]:
    """A file beside `path` with another text, for the time of the block. Raises OSError."""
    place = path.resolve()
    number, name = tempfile.mkstemp(prefix=f".{place.stem}.", suffix=".draft", dir=place.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def settle(drafted: Path, path: Path) -> None:
    """Put a draft in its file's place, with that one's permissions; a link stays one. Raises OSError."""
    place = path.resolve()
    os.chmod(drafted, place.stat().st_mode & 0o7777)
    os.replace(drafted, place)


def is_installed(path: Path) -> bool:
    """Whether a file is a part of the installed package, which is not for editing."""
    package = Path(__file__).parents[1].resolve()
    return path.resolve().is_relative_to(package)


def is_shipped_name(name: str) -> bool:
    """Whether a name on the command line stands for a shipped mapping, and for no file."""
    return not Path(name).exists() and bundled("mappings").joinpath(f"{name}.yaml").is_file()
