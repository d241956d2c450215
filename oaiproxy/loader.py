"""Mapping files to checked mappings: what reads the files, the schema and the environment for the pure core."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from pathlib import Path
from types import MappingProxyType

from oaiproxy.bundled import bundled
from oaiproxy.check import Checked, Surroundings, Traced, check_mapping, trace_mapping
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import Document
from oaiproxy.errors import MappingError
from oaiproxy.jsontext import Json, parse
from oaiproxy.mapping import Mapping
from oaiproxy.provisions import provide
from oaiproxy.reading import bases_of, file_key, file_reader, read_document, read_text


def mapping_schema() -> Json:
    """The JSON Schema of mapping files."""
    return parse(bundled("schemas").joinpath("mapping.schema.json").read_bytes())


class Loader:
    """Loads mapping files with one schema and one environment. `sources` holds the texts read, for code frames.

    `given` are the texts of what is no file.
    """

    def __init__(self, environment: Dict[str, str], given: Dict[Path, str] = MappingProxyType({})) -> None:
        self.sources: dict[str, str] = {}
        self._given = given
        self.schema = mapping_schema()
        self.environment = environment

    def check(
        self,
        path: Path,
        *,
        name: str | None = None,
        text: str | None = None,
        environment: bool = True,
        thorough: bool = True,
        examples: bool = True,
    ) -> Checked:
        """Check a file; `name` is what findings call it, `text` what it holds where that is known.

        Raises OSError when it cannot be read.
        """
        shown = name or str(path)
        text, surroundings = self._read(path, shown, text)
        return check_mapping(text, shown, surroundings, environment=environment, thorough=thorough, examples=examples)

    def trace(self, path: Path) -> Traced | None:
        """Compile a file for explanations; None where it cannot be. Raises OSError when it cannot be read."""
        text, surroundings = self._read(path, str(path))
        return trace_mapping(text, str(path), surroundings)

    def _read(self, path: Path, shown: str, text: str | None = None) -> tuple[str, Surroundings]:
        text = self._text(path) if text is None else text
        self.sources[shown] = text
        reader, bases = file_reader(path.parent), bases_of(path.parent, shown, self.sources)
        return text, Surroundings(self.schema, self.environment, reader, bases, file_key(path), provide)

    def document(self, path: Path) -> Document:
        """A file as data. Raises MappingError when it is not even that, OSError when it cannot be read."""
        return read_document(path, self.environment, self.sources, self._text)

    def _text(self, path: Path) -> str:
        return self._given[path] if path in self._given else read_text(path)

    def load(
        self, files: Iterable[tuple[str, Path]], *, environment: bool = True
    ) -> tuple[list[tuple[Mapping, Path]], list[Diagnostic]]:
        """The mappings of these files, and the warnings. Raises MappingError when any of them is broken."""
        findings: list[Diagnostic] = []
        mappings: list[tuple[Mapping, Path]] = []
        for name, path in files:
            checked = self.check(path, name=name, environment=environment, thorough=False)
            findings.extend(checked.diagnostics)
            if checked.mapping is not None:
                mappings.append((checked.mapping, path))
        if any(found.severity == "error" for found in findings):
            raise MappingError(findings, self.sources)
        return mappings, findings
