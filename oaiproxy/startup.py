"""A configuration file to what is served: it and its mappings checked and compiled, and all that is wrong in them."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oaiproxy.checkup import Checkup
from oaiproxy.config import Config, make_config
from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.reading import Print, noted
from oaiproxy.sealing import Seal


@dataclass(frozen=True, slots=True)
class Startup:
    """What a configuration came to. `config` is None where it, or any mapping, is not usable."""

    config: Config | None
    mappings: Sequence[tuple[Mapping, Path]]
    findings: Sequence[Diagnostic]
    sources: Dict[str, str]
    """The texts that the findings are in, by file."""
    unread: Sequence[tuple[str, str]]
    """The mappings that cannot be read, each with why."""
    absent: str
    """Why the configuration itself cannot be read, if that is so."""
    files: Dict[Path, Print]
    """All files that were asked for, each as it was just before."""
    seal: Seal
    """What else is told goes through this."""

    def count(self, severity: Severity) -> int:
        """How many findings are as severe."""
        return sum(found.severity is severity for found in self.findings)


def start_up(
    path: Path,
    environment: Dict[str, str],
    host: str | None = None,
    port: int | None = None,
    *,
    insecure: bool = False,
) -> Startup:
    """Check and compile a configuration and its mappings; `host`, `port` and `insecure` go over what it says."""
    with noted() as files:
        checkup = Checkup(Loader(environment), thorough=False)
        checkup.add(path, config=True)
        first, *named = checkup.run()
    findings = [found for file in (first, *named) for found in file.diagnostics]
    unread = [(file.file, file.unread) for file in named if file.unread]
    broken = unread or any(found.severity is Severity.ERROR for found in findings)
    checked, config = first.config, None
    if checked is not None and checked.data is not None and not broken:
        config = make_config(checked.data, checked.entries, host=host, port=port)
        if insecure:
            config = replace(config, server=replace(config.server, insecure=True))
    mappings = [(file.mapping, file.path) for file in named if file.mapping is not None]
    return Startup(config, mappings, findings, checkup.loader.sources, unread, first.unread, files, first.seal)
