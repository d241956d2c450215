"""A mapping's text to all that is wrong in it, and to the compiled mapping when nothing is."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from pathlib import PurePath

from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.document import load_document
from oaiproxy.examples import run_examples
from oaiproxy.mapping import Mapping, compile_mapping
from oaiproxy.probes import probe
from oaiproxy.source import Source
from oaiproxy.validation import Schema, validate


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a mapping may refer to outside its own text, as values: nothing here is looked up by the core itself."""

    schema: Schema
    environment: Dict[str, str]
    read_file: Callable[[str], str]
    """The text of a file that `${file:...}` or an example names. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings, and the mapping if none of them is an error."""

    mapping: Mapping | None
    diagnostics: tuple[Diagnostic, ...]


def check_mapping(text: str, file: str, surroundings: Surroundings, *, environment: bool = True) -> Checked:
    """Check one mapping through all stages: yaml, schema, templates, selectors, probes, examples, environment.

    A stage that needs what an earlier one refused is left out. Without `environment`, variables and files that are not
    there are not findings.
    """
    document, findings = load_document(
        text, file=file, environment=surroundings.environment, read_file=surroundings.read_file
    )
    if not environment:
        findings = [found for found in findings if not found.code.startswith("E6")]
    if document is None:
        return Checked(None, tuple(findings))
    invalid = validate(document, surroundings.schema)
    findings.extend(invalid)
    if any(found.code != "E101" for found in invalid):
        return Checked(None, tuple(findings))
    mapping, more = compile_mapping(Source(document, (), document.data), PurePath(file).stem)
    findings.extend(more)
    if mapping is not None:
        findings.extend(probe(mapping))
        findings.extend(run_examples(mapping, surroundings.read_file))
    broken = any(found.severity is Severity.ERROR for found in findings)
    return Checked(None if broken else mapping, tuple(sorted(findings, key=_place)))


def _place(found: Diagnostic) -> tuple[int, int]:
    return (found.span.line, found.span.column) if found.span else (0, 0)
