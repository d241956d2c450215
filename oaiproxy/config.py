"""`config.yaml` and the command line's overrides to a frozen `Config`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.bundled import bundled, is_file, mapping_path, meant
from oaiproxy.composer import compose
from oaiproxy.diagnostics import Diagnostic, Severity, Span, closest, concealed_in
from oaiproxy.document import Document, load_document, position
from oaiproxy.errors import MappingError
from oaiproxy.jsontext import Json, parse
from oaiproxy.nodes import ListNode, MappingNode, SourceText, short
from oaiproxy.perimeter import idle_findings, key_findings, open_findings, slips
from oaiproxy.reading import file_reader, note, read_text
from oaiproxy.sealing import NO_SEAL, Seal
from oaiproxy.server_tls import located, tls_findings
from oaiproxy.validation import Schema, validate


@dataclass(frozen=True, slots=True)
class Server:
    """How clients are served. Sizes are in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    socket: str | None = None
    """The path of a Unix socket, in place of host and port."""
    tls: Mapping[str, str] = field(default_factory=dict)
    """The files `certificate`, `key` and `client_ca`, found."""
    hosts: Sequence[str] = ()
    insecure: bool = False
    max_body: int = 32 * 1024 * 1024
    header_timeout: float = 10
    body_timeout: float = 30
    keepalive_timeout: float = 75
    write_timeout: float = 60
    shutdown_timeout: float = 25
    lame_duck: float = 0
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
    """How much is taken, done at once, and waited for: bytes, seconds; of `rendered`, characters."""

    connections: int = 2000
    clients: int = 10_000
    requests: int = 2000
    streams: int = 2000
    queue: int = 1000
    queue_timeout: float = 5
    memory: int = 0
    headers: int = BOUNDS.headers
    depth: int = BOUNDS.depth
    values: int = BOUNDS.values
    rendered: int = BOUNDS.rendered
    steps: int = BOUNDS.steps
    event: int = BOUNDS.event
    answer: int = BOUNDS.answer
    inflation: int = BOUNDS.inflation
    retries: float = 0.1

    @property
    def bounds(self) -> Bounds:
        """Those of one request."""
        return Bounds(*(getattr(self, name) for name in Bounds.__slots__))


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a backend that fails is left alone: after so many failures in a row, for so many seconds at first."""

    failures: int = 10
    pause: float = 2


@dataclass(frozen=True, slots=True)
class Key:
    """A client's key, as its SHA-256 in hexadecimal digits; `models` are patterns, none of them allows all."""

    name: str
    sha256: str
    models: Sequence[str] = ()
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says of one mapping; None is what `limits` say."""

    requests: int | None = None
    queue: int | None = None
    fallback: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration. `mappings` are files that exist, under the names that the configuration gives them."""

    mappings: Sequence[tuple[str, Path]]
    server: Server = field(default_factory=Server)
    limits: Limits = field(default_factory=Limits)
    log_level: str = "info"
    keys: Sequence[Key] = ()
    breaker: Breaker = field(default_factory=Breaker)
    settings: Mapping[Path, Settings] = field(default_factory=dict)
    """By the paths of `mappings`, where anything is said."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `mappings`: the name that it gives, the file, which exists, and where it stands."""

    name: str
    path: Path
    span: Span
    settings: Settings = field(default_factory=Settings)
    fallback: Sequence[Span] = ()
    """Where each of the settings' `fallback` stands."""


@dataclass(frozen=True, slots=True)
class CheckedConfig:
    """The findings, the mappings that can be found, and the data if it is sound."""

    data: Mapping[str, Any] | None
    entries: Sequence[Entry]
    diagnostics: Sequence[Diagnostic]
    seal: Seal = NO_SEAL
    allowed: Sequence[tuple[str, Span]] = ()
    """The models that `keys` name, without those that stand for several."""


def read_config(path: Path, environment: Mapping[str, str], *, host: str | None, port: int | None) -> Config:
    """Read a configuration file. Raises MappingError when it is not usable, OSError when it cannot be read."""
    text = read_text(path)
    checked = check_config(text, path, environment)
    if checked.data is None:
        raise MappingError(checked.diagnostics, {str(path): text})
    return make_config(checked.data, checked.entries, host=host, port=port)


def check_config(
    text: str, path: Path, environment: Mapping[str, str], *, name: str | None = None, asked: bool = True
) -> CheckedConfig:
    """Check a configuration, but not the mappings that it names; `name` is what findings call it.

    Unless `asked`, variables and files that are not there are no findings.
    """
    document, findings = load_document(
        text, file=name or str(path), environment=environment, read_file=file_reader(path.parent)
    )
    if not asked:
        findings = [found for found in findings if not found.code.startswith("E6")]
    if document is None:
        return CheckedConfig(None, (), findings)
    findings.extend(key_findings(document, validate(document, config_schema())))
    findings.extend(slips(document, config_schema(), findings))
    findings.extend(idle_findings(document))
    findings.extend(open_findings(document))
    if asked:
        findings.extend(tls_findings(document, path.parent))
    listed = document.data.get("mappings")
    entries = []
    for index, each in enumerate(listed if isinstance(listed, list) else ()):
        place: tuple[str | int, ...] = ("mappings", index)
        block = each if isinstance(each, dict) else {}
        if block:
            each, place = block.get("file"), (*place, "file")
        if isinstance(each, str) and each and place not in document.unresolved:
            settings, named = _settings(block), block.get("fallback")
            count = len(named) if isinstance(named, list) else 0
            spans = [document.span(("mappings", index, "fallback", number)) for number in range(count)]
            entry = Entry(each, mapping_path(each, path.parent), document.span(place), settings, spans)
            if is_file(entry.path):
                entries.append(entry)
            else:
                note(entry.path)
                shown = document.written(place) or each
                findings.append(_not_there(entry, short(shown)))
    findings.sort(key=lambda found: position(found, document.file))
    broken = any(found.severity is Severity.ERROR for found in findings)
    seal = Seal(document.outside, concealed_in(findings, document.sources), document.text)
    return CheckedConfig(
        None if broken else _located(document.data, path.parent),
        entries,
        [seal.finding(found) for found in findings],
        seal,
        [] if broken else list(_allowed(document)),
    )


def _allowed(document: Document) -> Iterator[tuple[str, Span]]:
    for index, key in enumerate(document.data.get("keys") or ()):
        for number, model in enumerate(key.get("models") or ()):
            if "*" not in model:
                yield model, document.span(("keys", index, "models", number))


def _located(data: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The data with the server's files found: their names are relative to the configuration's folder."""
    server = dict(data.get("server") or {})
    if "tls" in server:
        server["tls"] = located(server["tls"], folder)
    if "socket" in server:
        server["socket"] = str(folder / server["socket"])
    return {**data, "server": server}


def make_config(
    data: Mapping[str, Any], entries: Sequence[Entry], *, host: str | None = None, port: int | None = None
) -> Config:
    """The configuration of sound data; the command line's host and port go over it."""
    return Config(
        mappings=[(entry.name, entry.path) for entry in entries],
        server=_override(Server(**_plain(data.get("server"))), host, port),
        limits=Limits(**_plain(data.get("limits"))),
        log_level=(data.get("log") or {}).get("level", "info"),
        keys=tuple(Key(**_plain(each)) for each in data.get("keys") or ()),
        breaker=Breaker(**_plain(data.get("breaker"))),
        settings={entry.path: entry.settings for entry in entries if entry.settings != Settings()},
    )


def config_schema() -> Json:
    """The JSON Schema of configurations."""
    return parse(bundled("schemas").joinpath("config.schema.json").read_bytes())


def is_config(text: str, name: str, schema: Schema) -> bool:
    """Whether a file is meant for a configuration and not for a mapping, whose schema is given.

    It is told by its keys, some of which may be misspelled; where they tell nothing, by the file's name.
    """
    if _VERSION.search(text):
        return False
    root, _ = compose(SourceText(name, text.removeprefix("\ufeff")))
    keys = set(root.entries) if isinstance(root, MappingNode) else {found[1] for found in _KEY.finditer(text)}
    if keys & {"oaiproxy", "mappings"}:
        return "oaiproxy" not in keys
    own, others = config_schema()["properties"], schema["properties"]
    meant = [key if key in others else closest(key, {*own, *others}) for key in keys]
    score = sum(key in own for key in meant) - sum(key in others for key in meant)
    return score > 0 or (score == 0 and Path(name).name in CONFIG_NAMES)


def is_foreign(text: str) -> bool:
    """Whether a file is surely neither a mapping nor a configuration: none of its keys tells, not even misspelled."""
    if _VERSION.search(text):
        return False
    root, _ = compose(SourceText("", text.removeprefix("\ufeff")))
    if isinstance(root, ListNode):
        return True
    keys = root.entries if isinstance(root, MappingNode) else {found[1] for found in _KEY.finditer(text)}
    return bool(keys) and not any(get_close_matches(key, _TELLING, 1, 0.75) for key in keys)


_TELLING = ("oaiproxy", "mappings", "backend", "chat", "completions", "embeddings")
"""Keys of which nearly every mapping or configuration has one."""
CONFIG_NAMES = ("config.yaml", "config.yml")
_VERSION = re.compile(r"^\ufeff?[\"']?oaiproxy[\"']?[ \t]*:", re.MULTILINE)
_KEY = re.compile(r"^\ufeff?[\"']?([A-Za-z_-]+)[\"']?[ \t]*:", re.MULTILINE)


def _plain(block: dict[str, Any] | None) -> dict[str, Any]:
    """A block's values; the schema takes `1e6` for an integer, which then is one."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in (block or {}).items()
    }


def _settings(block: dict[str, Any]) -> Settings:
    """What a block says beside its file; what is no mapping's setting is found by the schema."""
    return Settings(**_plain({name: block[name] for name in Settings.__slots__ if block.get(name) is not None}))


def _override(server: Server, host: str | None, port: int | None) -> Server:
    given: dict[str, Any] = {name: getattr(server, name) for name in Server.__slots__}
    if host is not None:
        given["host"] = host
    if port is not None:
        given["port"] = port
    return Server(**given)


def _not_there(entry: Entry, shown: str) -> Diagnostic:
    known = meant(entry.name if entry.name == shown else "")
    help_ = f"paths are relative to the configuration file; {known}"
    return Diagnostic("E603", f"there is no mapping file `{shown}`", entry.span, help=help_)
