"""`oaiproxy init`: a curl command, and samples of what it was answered, to a mapping with examples."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path

from oaiproxy.apispecs import SpecError
from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.cli.documented import documented
from oaiproxy.cli.files import STANDARD, FileError, called, take
from oaiproxy.cli.output import complain, report
from oaiproxy.curl import CurlError, parse_curl
from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.initial import Proposal, name_of, propose
from oaiproxy.loader import mapping_schema
from oaiproxy.provisions import provide
from oaiproxy.reading import file_reader, read_text
from oaiproxy.reporters import summary
from oaiproxy.samples import Received, Sample


class Unusable(Exception):
    """What was given cannot be used; the message says why."""


def run(arguments: argparse.Namespace) -> int:
    """Write a mapping; 0 when it is whole and sound, 1 when something is left to do, 2 when there is no sample."""
    output = None if arguments.output in (None, STANDARD) else Path(arguments.output)
    try:
        if output is not None and output.exists() and not arguments.force:
            raise Unusable(f"`{output}` is there already: choose another `--output`, or write over it with `--force`")
        sample = _sample(arguments)
    except (Unusable, FileError) as error:
        complain(str(error))
        return 2
    name = arguments.name or (output.stem if output is not None else name_of(sample.url))
    given = {"model": arguments.model or "", "prompt": arguments.prompt or ""}
    return deliver(propose(sample, name, schema=_schema(output), **given), name, output)


_SCHEMAS = ("mapping.schema.json", "../schemas/mapping.schema.json")
"""Where the schema of mappings may be, seen from a mapping: beside it, or as in the project's own folders."""


def _schema(output: Path | None) -> str:
    """Where it is; empty where it is not there."""
    folder = output.parent if output is not None else Path()
    return next((name for name in _SCHEMAS if (folder / name).is_file()), "")


def deliver(proposal: Proposal, name: str, output: Path | None) -> int:
    """Write a proposal where it belongs, check it, and say what is left to do; the exit code."""
    try:
        if output is None:
            sys.stdout.write(proposal.text)
        else:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(proposal.text, encoding="utf-8")
    except OSError as error:
        complain(f"`{output}` cannot be written: {error.strerror}")
        return 2
    shown = str(output) if output is not None else f"{name}.yaml"
    findings, examples = _checked(proposal.text, shown, output.parent if output is not None else Path())
    report(findings, {shown: proposal.text}, sys.stderr)
    for told in proposal.missing:
        complain(f"to do: {told}")
    counted = "" if examples is None else f" with {examples} example{'' if examples == 1 else 's'}"
    print(f"{shown}: checked{counted}: {summary(findings)}", file=sys.stderr)
    return 1 if proposal.missing or any(found.severity is Severity.ERROR for found in findings) else 0


def _checked(text: str, shown: str, folder: Path) -> tuple[list[Diagnostic], int | None]:
    """The findings of `check`, and how many examples there are in a mapping that is sound."""
    surroundings = Surroundings(mapping_schema(), {}, file_reader(folder), provide=provide)
    checked = check_mapping(text, shown, surroundings, environment=False)
    return list(checked.diagnostics), len(checked.mapping.examples) if checked.mapping is not None else None


def _sample(arguments: argparse.Namespace) -> Sample:
    sample = _documented(arguments) if arguments.from_openapi else _given(arguments)
    if arguments.stream_curl:
        other = _called(arguments.stream_curl)
        sample = replace(
            sample,
            stream_body=other.body,
            stream_url=other.url if other.url != sample.url else "",
            stream_headers=tuple(each for each in other.headers if each not in sample.headers),
        )
    answer = Received(take(arguments.response)) if arguments.response else sample.answer
    stream = Received(take(arguments.stream)) if arguments.stream else sample.stream
    return replace(sample, answer=_without_head(answer), stream=_without_head(stream))


def _given(arguments: argparse.Namespace) -> Sample:
    name = arguments.curl or STANDARD
    if name == STANDARD and sys.stdin.isatty():
        raise Unusable("there is no sample: give a curl command by `--curl FILE`, or on standard input")
    return _called(name)


def _documented(arguments: argparse.Namespace) -> Sample:
    if arguments.curl:
        raise Unusable("there are two samples: give either `--curl` or `--from-openapi`")
    name = arguments.from_openapi
    try:
        found = documented(take(name), arguments)
    except SpecError as error:
        raise Unusable(f"{called(name)}: {error}") from error
    if not arguments.output:
        arguments.name = arguments.name or found.name
    for note in found.notes:
        complain(note)
    return found.sample


def _called(name: str) -> Sample:
    """The call of a curl command in a file. Files that it sends are relative to that."""
    text = take(name).decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    folder = Path() if name == STANDARD else Path(name).parent
    try:
        return parse_curl(text, lambda file: read_text(folder / file))
    except CurlError as error:
        place = ""
        if error.position is not None:
            before = text[: error.position]
            place = f":{before.count(chr(10)) + 1}:{len(before.rpartition(chr(10))[2]) + 1}"
        raise Unusable(f"{called(name)}{place}: {error}") from error


def _without_head(received: Received | None) -> Received | None:
    """A reply without the status lines and headers that `curl -i` prints before it; they tell its type and status."""
    if received is None or not received.data.startswith(b"HTTP/"):
        return received
    body, head = received.data, b""
    while body.startswith(b"HTTP/"):  # `100 Continue` has a head of its own
        end = min((place for mark in (b"\r\n\r\n", b"\n\n") if (place := body.find(mark)) >= 0), default=len(body))
        head, body = body[:end], body[end:].removeprefix(b"\r\n\r\n" if body[end : end + 1] == b"\r" else b"\n\n")
    kinds = [line.partition(b":")[2] for line in head.splitlines() if line.lower().startswith(b"content-type:")]
    media_type = kinds[0].partition(b";")[0].strip().lower().decode("latin-1") if kinds else ""
    status = re.match(rb"HTTP/\S+ (\d{3})", head)
    return Received(body, media_type, int(status[1]) if status else 200)
