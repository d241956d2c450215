"""What commands about one mapping have in common: its name on the command line to the mapping."""

from __future__ import annotations

import os
from pathlib import Path

from oaiproxy.bundled import mapping_path
from oaiproxy.cli.output import complain, refuse, ships
from oaiproxy.errors import MappingError
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping


def load_shown(name: str) -> tuple[Mapping, Path] | int:
    """The mapping and its file, by a path or a shipped name; an exit code, the reason told, where there is none."""
    path = mapping_path(name, Path())
    try:
        return Loader(os.environ).load([(str(path), path)], environment=False)[0][0]
    except MappingError as error:
        refuse(error)
        return 1
    except OSError as error:
        hint = ships(name) if isinstance(error, FileNotFoundError) else ""
        complain(f"`{name}` cannot be read: {error.strerror}{hint}")
        return 2
