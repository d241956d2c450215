"""Files to all that is wrong in them: configurations, the mappings that these name, and mappings by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path

from oaiproxy.clientkeys import HEADERS
from oaiproxy.config import CONFIG_NAMES, CheckedConfig, Entry, check_config, is_config, is_foreign
from oaiproxy.diagnostics import Diagnostic, Severity, Span, did_you_mean
from oaiproxy.document import position
from oaiproxy.fallbacks import is_trusted
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.reading import file_key, read_text
from oaiproxy.sealing import NO_SEAL, Seal

SHOWN = 10
"""Models that are named where one is unknown."""


@dataclass(slots=True)
class CheckedFile:
    """A file, as far as it has been checked."""

    file: str
    """What findings call it."""
    path: Path
    text: str = ""
    unread: str = ""
    """Why it could not be read, if that is so."""
    config: CheckedConfig | None = None
    mapping: Mapping | None = None
    diagnostics: Sequence[Diagnostic] = ()
    models: Sequence[str] = ()
    examples: Sequence[tuple[str, Span]] = ()
    tried: bool = False
    seal: Seal = NO_SEAL
    """What else is told of it goes through this."""


@dataclass(slots=True)
class Checkup:
    """Files by what tells them from others, in the order in which they were named: each is there once."""

    loader: Loader
    environment: bool = True
    """Whether variables and files that are not there are findings."""
    thorough: bool = True
    """Whether examples are run in all ways in which their answers could come."""
    files: dict[str, CheckedFile] = field(default_factory=dict)
    foreign: list[Path] = field(default_factory=list)
    """Files that a search found, and that are for something else."""

    def search(self, folder: Path) -> None:
        """Take the mappings and configurations in a folder, at any depth; what is hidden is not looked at."""
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.suffix not in (".yaml", ".yml") or hidden or path.is_dir():
                continue
            try:
                text = read_text(path)
            except OSError:
                text = None
            if text is not None and is_foreign(text) and path.name not in CONFIG_NAMES:
                self.foreign.append(path)
            else:
                self.add(path, text=text)

    def add(self, path: Path, *, shown: str = "", text: str | None = None, config: bool | None = None) -> None:
        """Take a file, and what it names where it is a configuration; by default its text tells whether it is one."""
        key = file_key(path)
        if key in self.files:
            return
        file = self.files[key] = CheckedFile(shown or str(path), path)
        try:
            file.text = read_text(path) if text is None else text
        except OSError as error:
            file.unread = error.strerror or str(error)
            return
        if not (is_config(file.text, path.name, self.loader.schema) if config is None else config):
            return
        self.loader.sources[file.file] = file.text
        file.config = check_config(file.text, path, self.loader.environment, name=file.file, asked=self.environment)
        file.seal = file.config.seal
        for entry in file.config.entries:
            self.add(entry.path, shown=str(entry.path) if Path(entry.name).is_absolute() else normpath(entry.path))

    def run(self, step: Callable[[str], None] = lambda _: None) -> list[CheckedFile]:
        """Check all; `step` is told of each file before that."""
        for file in self.files.values():
            if file.unread:
                continue
            step(file.file)
            if file.config is None:
                self._check(file)
        for file in self.files.values():
            if file.config is not None:
                keys = bool(file.config.data and file.config.data.get("keys"))
                conflicts = map(file.seal.finding, self._conflicts(file.config.entries, keys))
                findings = [*file.config.diagnostics, *conflicts, *map(file.seal.finding, self._idle(file.config))]
                file.diagnostics = sorted(findings, key=lambda found: position(found, file.file))
        self._tell_once()
        return list(self.files.values())

    def _tell_once(self) -> None:
        """Leave out what is found again in a file that several extend, or that is checked itself."""
        told = {_place(found) for file in self.files.values() for found in file.diagnostics if _is_own(found, file)}
        for file in self.files.values():
            kept = []
            for found in file.diagnostics:
                if _is_own(found, file) or _place(found) not in told:
                    told.add(_place(found))
                    kept.append(found)
            file.diagnostics = kept

    def _check(self, file: CheckedFile) -> None:
        checked = self.loader.check(
            file.path, name=file.file, text=file.text, environment=self.environment, thorough=self.thorough
        )
        file.mapping, file.diagnostics = checked.mapping, checked.diagnostics
        file.models, file.examples, file.tried = checked.models, checked.examples, checked.tried
        file.seal = checked.seal

    def _conflicts(self, entries: Sequence[Entry], keys: bool) -> list[Diagnostic]:
        """What is wrong with the mappings of one configuration together; `keys` says whether it has some."""
        findings: list[Diagnostic] = []
        names: dict[str, str] = {}
        owners: dict[str, str] = {}
        for entry in entries:
            key, name = file_key(entry.path), entry.name
            file = self.files[key]
            if file.config is not None:
                message = f"`{name}` is a configuration, not a mapping"
                findings.append(Diagnostic("E004", message, entry.span, "name the mappings that it names"))
            elif key in names:
                message = f"`{name}` is here twice" if names[key] == name else f"`{name}` is the same as `{names[key]}`"
                findings.append(Diagnostic("E604", message, entry.span, "take it out: its models are known"))
                continue
            names[key] = name
            passed = set(file.mapping.client_headers) & set(HEADERS) if keys and file.mapping is not None else set()
            if passed:
                message = f"`{name}` passes the client's `{min(passed)}` on, which here holds a key of `keys`"
                help_ = (
                    "let clients send the backend's key in a header of its own: `auth: {passthrough: x-backend-key}`"
                )
                findings.append(Diagnostic("E105", message, entry.span, "the backend would get that key", help_))
            for model in file.models:
                if model in owners:
                    message = f"the model `{model}` of `{name}` is also one of `{owners[model]}`"
                    found = Diagnostic("E604", message, entry.span, help="give it another name in one of them")
                    findings.append(file.seal.finding(found))
                owners.setdefault(model, name)
        for entry in entries:
            findings += map(self.files[file_key(entry.path)].seal.finding, self._fallbacks(entry, entries))
        return findings

    def _idle(self, config: CheckedConfig) -> Iterator[Diagnostic]:
        """The models that keys may use, and that nobody has. Lists of backends may have any."""
        files = [self.files[file_key(entry.path)] for entry in config.entries]
        known = {model for each in files for model in each.models}
        if any(not each.models or (each.mapping and each.mapping.model_list) for each in files):
            return
        for model, span in config.allowed:
            if model not in known:
                help_ = did_you_mean(model, known) or f"known models: {', '.join(sorted(known)[:SHOWN])}"
                message = f"no mapping here has the model `{model}`"
                yield Diagnostic("W108", message, span, "", help_, Severity.WARNING)

    def _fallbacks(self, entry: Entry, entries: Sequence[Entry]) -> Iterator[Diagnostic]:
        """What is wrong with the models that answer in place of one mapping's. Lists of backends may have any."""
        file, files = self.files[file_key(entry.path)], [self.files[file_key(each.path)] for each in entries]
        known = {model: each for each in reversed(files) for model in each.models}
        any_model = any(not each.models or (each.mapping and each.mapping.model_list) for each in files)
        names = entry.settings.fallback if entry.fallback else ()
        for number, (name, span) in enumerate(zip(names, entry.fallback, strict=True)):
            if not isinstance(name, str):
                continue
            other = known.get(name)
            if name in names[:number]:
                yield Diagnostic("E607", f"`{name}` is here twice", span, "each is asked once: take it out")
            elif other is None and not any_model:
                help_ = did_you_mean(name, known) or f"known models: {', '.join(sorted(known)[:SHOWN])}"
                yield Diagnostic("E607", f"no mapping here has the model `{name}`", span, help=help_)
            elif other is file and len(file.models) == 1:
                message = f"`{name}` is the only model of `{entry.name}`: it cannot answer in its own place"
                yield Diagnostic("E607", message, span, "name a model of another mapping")
            elif other and other.mapping and file.mapping and not is_trusted(other.mapping, file.mapping):
                message = f"`{name}` is sent the client's own key, which is for the server of `{entry.name}`"
                help_ = "name a model of the same server, or of a mapping with a key of its own"
                yield Diagnostic("E607", message, span, help=help_)


def _is_own(found: Diagnostic, file: CheckedFile) -> bool:
    return found.span is None or found.span.file == file.file


def _place(found: Diagnostic) -> tuple[str, ...]:
    """What tells a finding from others, however its file is named."""
    span = found.span
    where = (file_key(Path(span.file)), str(span.line), str(span.column)) if span else ()
    return (found.code, found.message, *where)
