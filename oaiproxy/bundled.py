"""The kind of a file that ships with oaiproxy (`mappings`, `schemas`) to the place where it lies."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from oaiproxy.diagnostics import did_you_mean


def bundled(kind: str) -> Traversable:
    """The folder of one kind: inside the package in a wheel (or a zip), beside it in a checkout or editable install."""
    installed = files("oaiproxy").joinpath(kind)
    return installed if installed.is_dir() else Path(__file__).parents[1] / kind


def shipped_mappings() -> list[str]:
    """The names of the mappings that ship, in order."""
    names = (entry.name for entry in bundled("mappings").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def meant(name: str) -> str:
    """Which shipped mapping a name that is none is near to, or else all of them."""
    shipped = shipped_mappings()
    return did_you_mean(name.removesuffix(".yaml"), shipped, 0.8) or f"shipped mappings: {', '.join(shipped)}"


def base_path(name: str, folder: Path) -> Path:
    """The file that `extends` means: a path from the folder, or, without `/` and an ending, a mapping that ships.

    It need not exist.
    """
    if "/" in name or Path(name).suffix in (".yaml", ".yml"):
        return folder / name
    return Path(str(bundled("mappings").joinpath(f"{name}.yaml")))


def mapping_path(name: str, folder: Path) -> Path:
    """The file that a mapping's name stands for: a path from the folder, else, without an ending, one of those shipped.

    It need not exist.
    """
    path = folder / name
    if Path(name).suffix or is_file(path):
        return path
    return Path(str(bundled("mappings").joinpath(f"{name}.yaml")))


def is_file(path: Path) -> bool:
    """Whether there is such a file; none has a name that no file can have."""
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False
