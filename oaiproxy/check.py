"""A mapping's text to all that is wrong in it, and to the compiled mapping when nothing is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TypeAlias

from oaiproxy.backends import Backend
from oaiproxy.catalog import CATALOG
from oaiproxy.diagnostics import Diagnostic, Severity, Span, concealed_in, overlap
from oaiproxy.disclosures import disclosures
from oaiproxy.document import Document, Path, load_document, position
from oaiproxy.examples import run_examples
from oaiproxy.jsontext import Json
from oaiproxy.layers import NO_BASES, Bases, attributed
from oaiproxy.leftovers import leftovers
from oaiproxy.lookalikes import lookalikes
from oaiproxy.mapping import Mapping, compile_mapping
from oaiproxy.nodes import short
from oaiproxy.probes import probe
from oaiproxy.provenance import Trace
from oaiproxy.salvage import salvage
from oaiproxy.sealing import NO_SEAL, Seal
from oaiproxy.source import Source
from oaiproxy.validation import Schema, validate


@dataclass(frozen=True, slots=True)
class Fault:
    """What the machine lacks for a backend; `path` is where that is asked for, below `backend`."""

    path: Path
    code: str
    message: str
    label: str
    key: bool = False


Provide: TypeAlias = Callable[[Backend, Callable[[str, Path], str]], tuple[Backend, Iterable[Fault]]]
"""Takes what reads a file, by its name and by the path, below `backend`, at which it is named. That raises OSError."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a mapping may refer to outside its own text, as values: nothing here is looked up by the core itself."""

    schema: Schema
    environment: Dict[str, str]
    read_file: Callable[[str], str]
    """The text of a file that `${file:...}` or an example names. Raises OSError."""
    bases: Bases = NO_BASES
    """What the mapping can extend."""
    key: str = ""
    """What tells it from those."""
    provide: Provide = lambda backend, _: (backend, ())
    """The backend with the contents of the files that it names, and what is missing for it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings, and the mapping if none of them is an error."""

    mapping: Mapping | None
    diagnostics: tuple[Diagnostic, ...]
    models: tuple[str, ...] = ()
    """Those of the mapping, also where something else in it is wrong."""
    examples: tuple[tuple[str, Span], ...] = ()
    """The names and places of its examples."""
    tried: bool = False
    """Whether these were run."""
    seal: Seal = NO_SEAL
    """What else is told of it goes through this."""


def check_mapping(
    text: str,
    file: str,
    surroundings: Surroundings,
    *,
    environment: bool = True,
    thorough: bool = True,
    examples: bool = True,
) -> Checked:
    """Check one mapping through all stages: yaml, schema, templates, selectors, probes, examples, environment.

    What an early stage refuses is taken out, and the later ones look at the rest; probes and examples run only what is
    whole. Without `environment`, variables and files that are not there are not findings. Unless `thorough`, examples
    are run as they stand alone, in none of the other ways in which their answers could come: what a start needs.
    Without `examples` they are not run at all.
    """
    document, findings = load_document(
        text,
        file=file,
        environment=surroundings.environment,
        read_file=surroundings.read_file,
        bases=surroundings.bases,
        key=surroundings.key,
    )
    return check_document(
        document, findings, file, surroundings, environment=environment, thorough=thorough, examples=examples
    )


def check_document(
    document: Document | None,
    findings: list[Diagnostic],
    file: str,
    surroundings: Surroundings,
    *,
    environment: bool = True,
    thorough: bool = True,
    examples: bool = True,
) -> Checked:
    """Check a mapping that was read before, with what was found then: all stages after yaml, as `check_mapping`."""
    if not environment:
        findings = [found for found in findings if not found.code.startswith("E6")]
    if document is None:
        return Checked(None, tuple(findings))
    invalid = validate(document, surroundings.schema)
    findings = [*findings, *invalid]
    data = salvage(document, surroundings.schema) if invalid or document.unresolved else document.data
    mapping, tried = None, False
    unreplaced: list[Diagnostic] = []
    root = None if data is None else Source(document, (), data)
    if root is not None:
        mapping, more = compile_mapping(root, PurePath(file).stem)
        if invalid or any(found.code.startswith("E2") for found in more):
            more = [found for found in more if not _ABSENCE.search(found.message)]
        if any(found.severity is Severity.ERROR for found in invalid):
            more = [found for found in more if not _UNDEFINED.search(found.message)]
        if any(found.code == "E101" and _STEPS in found.label for found in invalid):
            more = [found for found in more if not (found.code == "E203" and "unknown name" in found.message)]
        findings.extend(_helpful(_discreet(found, document)) for found in more)
        if "backend" in root.value:
            unreplaced = list(lookalikes(root))
            findings.extend(unreplaced)
        if mapping is not None:
            findings.extend(
                found for found in leftovers(mapping, root) if not invalid or not _ABSENCE.search(found.message)
            )
            backend, faults = surroundings.provide(
                mapping.backend, lambda name, path: document.reader(("backend", *path))(name)
            )
            mapping = replace(mapping, backend=backend)
            findings.extend(_missing(fault, root["backend"]) for fault in faults if environment)
        tried = mapping is not None and _can_run(findings, document.unresolved)
        if mapping is not None and tried:
            findings.extend(probe(mapping, root, thorough=thorough))
            if examples:
                findings.extend(run_examples(mapping, surroundings.read_file, thorough=thorough))
    told = {found.span for found in unreplaced}
    disclosed = disclosures(Source(document, (), document.data), root, findings)
    secrets = [found for found in disclosed if found.span not in told]
    findings = [*(_without_advice(found, secrets) for found in findings), *secrets]
    broken = data is None or any(found.severity is Severity.ERROR for found in findings)
    findings = [
        attributed(found, document.extended) for found in sorted(findings, key=lambda each: position(each, file))
    ]
    sealed = seal(document, findings)
    return Checked(
        None if broken else mapping,
        tuple(sealed.finding(found) for found in findings),
        _models(document.data.get("models")),
        tuple((sealed.text(name), span) for name, span in _examples(document)),
        tried,
        sealed,
    )


def seal(document: Document, findings: Iterable[Diagnostic]) -> Seal:
    """What must not be told of a document: what came from outside, and what findings conceal in it."""
    sources = document.sources
    return Seal(document.outside, concealed_in(findings, sources), "\n".join(sources.values()))


def _models(given: Json) -> tuple[str, ...]:
    """The names of models, as far as they can be told where something is wrong."""
    return tuple(name for name in given if isinstance(name, str) and name) if isinstance(given, list | dict) else ()


def _examples(document: Document) -> Iterator[tuple[str, Span]]:
    """The names that a report has for examples, be they sound or not, and where they stand."""
    listed = document.data.get("examples")
    for index, example in enumerate(listed if isinstance(listed, list) else ()):
        name = example.get("name") if isinstance(example, dict) else None
        shown = name if isinstance(name, str) and name else f"example {index + 1}"
        yield shown, document.span(("examples", index))


@dataclass(frozen=True, slots=True)
class Traced:
    """A mapping whose templates and selectors tell `trace` where what they make comes from, and its text as data."""

    mapping: Mapping
    root: Source
    trace: Trace


def trace_mapping(text: str, file: str, surroundings: Surroundings) -> Traced | None:
    """Compile a mapping for explanations; None where it cannot be. What its environment lacks is empty in it."""
    document, _ = load_document(
        text,
        file=file,
        environment=surroundings.environment,
        read_file=surroundings.read_file,
        bases=surroundings.bases,
        key=surroundings.key,
    )
    if document is None or validate(document, surroundings.schema):
        return None
    data = salvage(document, surroundings.schema) if document.unresolved else document.data
    if data is None:
        return None
    root, trace = Source(document, (), data), Trace()
    mapping, _ = compile_mapping(root, PurePath(file).stem, trace)
    if mapping is None:
        return None
    backend, _ = surroundings.provide(mapping.backend, lambda name, path: document.reader(("backend", *path))(name))
    return Traced(replace(mapping, backend=backend), root, trace)


def _discreet(found: Diagnostic, document: Document) -> Diagnostic:
    """The finding without what the environment brought into the template or selector: not even a part of it."""
    told = found.span is not None and found.code[1] in "23"
    written = document.written_at(found.span) if told and found.span else None
    if written is None:
        return found
    own = _REFERENCE.split(written)
    message = _QUOTED.sub(lambda at: at[0] if any(at[1] in part for part in own) else "`...`", found.message)
    return replace(found, message=message, label=f"it is made of `{short(written)}`", help="")


def _without_advice(found: Diagnostic, secrets: Iterable[Diagnostic]) -> Diagnostic:
    """The finding, without its label where that could hold parts of a secret, which are not known for such."""
    spans = [each.span for each in secrets if each.conceal and each.span]
    if found.code == "E006" and found.span and any(overlap(found.span, each) for each in spans):
        return replace(found, label="")
    return found


_ABSENCE = re.compile("no template reads|nothing reads|reads no text")
"""What is said of something that is nowhere: where a part could not be understood, it may be in that."""
_UNDEFINED = re.compile("unknown attribute `[^`]*` of `vars`")
"""The same of a constant: what defines it may be in what the schema refused."""
_STEPS = "did you mean `before`?"
"""What is said where the names of steps are lost."""
_REFERENCE = re.compile(r"\$\{[^}]*\}?")
_QUOTED = re.compile(r"`([^`]*)`")


def _missing(fault: Fault, backend: Source) -> Diagnostic:
    for step in fault.path:
        backend = backend[step]
    return Diagnostic(fault.code, fault.message, backend.span(key=fault.key), fault.label)


def _helpful(found: Diagnostic) -> Diagnostic:
    return found if found.label or found.help else replace(found, help=CATALOG[found.code].fix)


def _can_run(findings: Iterable[Diagnostic], unresolved: Iterable[Path]) -> bool:
    """Whether the mapping is whole enough to be run: what fails then is a fault of its own."""
    severe = any(found.severity is Severity.ERROR and not found.code.startswith("E6") for found in findings)
    return not severe and all(path[0] == "backend" for path in unresolved)
