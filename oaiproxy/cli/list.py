"""`oaiproxy list`: the mappings that there are, those of the configuration and those that ship."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from oaiproxy.bundled import base_path, shipped_mappings
from oaiproxy.cli.output import complain, report_errors
from oaiproxy.columns import aligned
from oaiproxy.config import Config, read_config
from oaiproxy.errors import MappingError
from oaiproxy.reading import read_document, read_text
from oaiproxy.variables import Variable, variables

DEFAULT = "config.yaml"
EXAMPLES = "\nexamples:"
"""Where the examples of a shipped mapping begin, its last and by far its longest part."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A mapping. `models` is null where it cannot be loaded, whatever is wrong in it."""

    mapping: str
    file: str
    description: str = ""
    models: list[str] | None = None
    lists_models: bool = False
    """Whether its backend is asked for more models."""
    environment: list[Variable] = field(default_factory=list)


def run(arguments: argparse.Namespace) -> int:
    """Print; 0 when all is well, 1 when something configured is not usable, 2 when there is no such configuration."""
    path = Path(arguments.config or DEFAULT)
    config: Config | None = None
    try:
        config = read_config(path, os.environ, host=None, port=None)
    except MappingError as error:
        report_errors(error)
        return 1
    except OSError as error:
        if arguments.config or not isinstance(error, FileNotFoundError):
            complain(f"`{path}` cannot be read: {error.strerror}")
            return 2
    configured = _configured(config) if config else []
    shipped = [_shipped(name) for name in shipped_mappings()]
    broken = [each for each in configured if each.models is None]
    if arguments.format == "json":
        found = {"configuration": str(path) if config else None, "configured": configured, "shipped": shipped}
        print(json.dumps(found, default=asdict, indent=2))
    else:
        if config:
            print(f"In {path}:\n{_indented([_configured_row(each) for each in configured])}\n")
        print(f"Shipped:\n{_indented([_shipped_row(each) for each in shipped])}")
    for each in broken:
        complain(f"`{each.file}` is not usable; `oaiproxy check {each.file}` says why")
    return 1 if broken else 0


def _configured(config: Config) -> list[Listed]:
    from oaiproxy.loader import Loader  # which loads all that compiles mappings

    loader = Loader(os.environ)
    found = []
    for _, path in config.mappings:
        try:
            made = loader.check(path, environment=False, thorough=False).mapping
            environment = variables(loader.document(path))
        except (MappingError, OSError):
            made = None
        if made is None:
            found.append(Listed(path.stem, str(path)))
            continue
        more = made.model_list is not None
        found.append(Listed(made.name, str(path), made.description, list(made.models), more, environment))
    return found


def _shipped(name: str) -> Listed:
    """One that ships: as it is known to be sound, its head is read and not compiled."""
    path = base_path(name, Path())
    document = read_document(path, os.environ, {}, _head)
    data = document.data
    models = list(data.get("models") or ())
    return Listed(name, str(path), data["description"], models, "models_list" in data, variables(document))


def _head(path: Path) -> str:
    """The text of a shipped mapping without its examples."""
    return read_text(path).partition(EXAMPLES)[0] + "\n"


def _configured_row(each: Listed) -> list[str]:
    models = ["and those that the backend lists"] if each.lists_models else []
    return [each.mapping, each.file, "not usable" if each.models is None else ", ".join([*each.models, *models])]


def _shipped_row(each: Listed) -> list[str]:
    return [each.mapping, each.description, ", ".join(one.name for one in each.environment)]


def _indented(rows: list[list[str]]) -> str:
    return "\n".join(f"  {line}" for line in aligned(rows).splitlines())
