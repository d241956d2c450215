"""The kind of a file that ships with oaiproxy (`mappings`, `schemas`) to the place where it lies."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def bundled(kind: str) -> Traversable:
    """The folder of one kind: inside the package in a wheel (or a zip), beside it in a checkout or editable install."""
    installed = files("oaiproxy").joinpath(kind)
    return installed if installed.is_dir() else Path(__file__).parents[1] / kind
