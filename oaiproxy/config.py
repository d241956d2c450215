"""`config.yaml` and the command line's overrides to a frozen `Config`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oaiproxy.bundled import bundled, mapping_path, shipped_mappings
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import load_document
from oaiproxy.errors import MappingError
from oaiproxy.jsontext import parse
from oaiproxy.loader import file_reader, read_text
from oaiproxy.source import Source
from oaiproxy.validation import validate


@dataclass(frozen=True, slots=True)
class Server:
    """How clients are served. Sizes are in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    max_body: int = 32 * 1024 * 1024
    body_timeout: float = 30
    keepalive_timeout: float = 75
    write_timeout: float = 60
    shutdown_timeout: float = 25
    keepalive_comments: float = 15
    cors: Mapping[str, Any] = field(default_factory=dict)
    """The arguments of `oaiproxy.cors.Cors`."""
    stored_responses: int = 1000
    stored_bytes: int = 64 * 1024 * 1024
    stored_seconds: float = 3600
    background_responses: int = 100
    loop: str = "auto"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is done at once."""

    connections: int = 2000


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration. `mappings` are files that exist, under the names that the configuration gives them."""

    mappings: Sequence[tuple[str, Path]]
    server: Server = field(default_factory=Server)
    limits: Limits = field(default_factory=Limits)
    log_level: str = "info"


def read_config(path: Path, environment: Mapping[str, str], *, host: str | None, port: int | None) -> Config:
    """Read a configuration file. Raises MappingError when it is not usable, OSError when it cannot be read."""
    text = read_text(path)
    document, findings = load_document(
        text, file=str(path), environment=environment, read_file=file_reader(path.parent)
    )
    if document is not None:
        schema = parse(bundled("schemas").joinpath("config.schema.json").read_bytes())
        findings.extend(validate(document, schema))
    if document is None or findings:
        raise MappingError(findings, {str(path): text})
    root = Source(document, (), document.data)
    mappings = [_mapping_file(child, path.parent, findings) for child in root["mappings"]]
    if findings:
        raise MappingError(findings, {str(path): text})
    return Config(
        mappings=mappings,
        server=_override(Server(**_plain(document.data.get("server"))), host, port),
        limits=Limits(**_plain(document.data.get("limits"))),
        log_level=(document.data.get("log") or {}).get("level", "info"),
    )


def _plain(block: dict[str, Any] | None) -> dict[str, Any]:
    """A block's values; the schema takes `1e6` for an integer, which then is one."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in (block or {}).items()
    }


def _override(server: Server, host: str | None, port: int | None) -> Server:
    given: dict[str, Any] = {name: getattr(server, name) for name in Server.__slots__}
    if host is not None:
        given["host"] = host
    if port is not None:
        given["port"] = port
    return Server(**given)


def _mapping_file(source: Source, folder: Path, findings: list[Diagnostic]) -> tuple[str, Path]:
    """The file that an entry of `mappings` names: beside the configuration, or one of those shipped."""
    name = source.value
    path = mapping_path(name, folder)
    if not path.is_file():
        known = ", ".join(shipped_mappings())
        help_ = f"paths are relative to the configuration file; shipped mappings: {known}"
        findings.append(Diagnostic("E603", f"there is no mapping file `{name}`", source.span(), help=help_))
    return name, path
