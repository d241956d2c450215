"""`oaiproxy explain`: a client's request, and the backend's reply, to all that a mapping makes of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from oaiproxy import jsontext
from oaiproxy.catalog import CATALOG
from oaiproxy.check import Traced
from oaiproxy.cli.arguments import credentials
from oaiproxy.cli.files import FileError, take, take_json
from oaiproxy.cli.loading import given_mapping
from oaiproxy.cli.output import complain, report, ships
from oaiproxy.diagnostics import Diagnostic, Severity, concealed_in
from oaiproxy.differences import place_name
from oaiproxy.discretion import Discretion, stand_ins
from oaiproxy.entrances import OTHERS, PATHS, enter, served_as
from oaiproxy.errors import ApiError
from oaiproxy.example_answers import answer_of, rounds
from oaiproxy.explained_sends import Subject
from oaiproxy.explanation import (
    Question,
    UnclearError,
    answer_for,
    endpoint_of,
    explain,
    finding,
    looks_streamed,
    minimal,
    with_stream,
)
from oaiproxy.explanation_text import explained
from oaiproxy.jsontext import Json
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.reading import file_reader
from oaiproxy.reporters import as_data
from oaiproxy.steps import Answer
from oaiproxy.tracing import Record

NOTHING: dict[str, Json] = {"request": None, "sends": [], "frames": [], "events": [], "replies": []}


class _WrongUse(Exception):
    """The command was used wrongly; the message says how."""


def run(arguments: argparse.Namespace) -> int:
    """Explain; 0 when it went well, 1 when the mapping, the request or the reply is refused, 2 for wrong use."""
    try:
        path, given = given_mapping(arguments.mapping)
    except FileError as error:
        complain(str(error))
        return 2
    path, loader = _near(path), Loader(os.environ, given)
    try:
        checked = loader.check(path, environment=False, thorough=False)
        filled = {**os.environ, **stand_ins(loader.sources.values(), os.environ)}
        traced = Loader(filled, given).trace(path) or loader.trace(path)
    except OSError as error:
        hint = ships(arguments.mapping) if isinstance(error, FileNotFoundError) else ""
        complain(f"`{arguments.mapping}` cannot be read: {error.strerror}{hint}")
        return 2
    found = list(checked.diagnostics)
    if traced is None:
        made = {**NOTHING, "diagnostics": [as_data(each) for each in found]}
        return _told(made, found, loader, arguments.format)
    secrets = {
        *traced.mapping.secrets,
        *concealed_in(found, loader.sources),
        *credentials(arguments.client_header, traced.mapping.backend.auth),
    }
    discretion = Discretion(secrets, loader.sources.values(), {**os.environ, **filled})
    subject = Subject(traced.mapping, traced.root, discretion)
    try:
        question, notes = _question(arguments, traced.mapping, path)
    except (_WrongUse, FileError, UnclearError) as error:
        complain(str(error))
        return 2
    made = explain(subject, Record(traced.trace), question)
    made["diagnostics"] = [*(as_data(each) for each in found), *notes, *_unset(traced), *made["diagnostics"]]
    return _told(made, found, loader, arguments.format)


def _unset(traced: Traced) -> Iterator[dict[str, Json]]:
    """What is left out, since nothing stands for its variables or files. Of `backend`, references are shown."""
    document = traced.root.document
    for path in sorted((path for path in document.unresolved if path[0] not in ("backend", "examples")), key=str):
        message = f"`{place_name(path)}` cannot be known here, and is left out: {document.written(path) or ''}"
        yield finding("not_set", "note", message) | asdict(document.span(path))


def _near(path: Path) -> Path:
    """The path as seen from here, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _told(made: dict[str, Json], found: list[Diagnostic], loader: Loader, form: str) -> int:
    if form == "json":
        print(json.dumps(made, ensure_ascii=False, indent=2))
    else:
        if text := explained(made):
            print(text)
        report(found, loader.sources, sys.stderr)
        for each in made["diagnostics"]:
            if each["code"] not in CATALOG:
                at = f" ({each['file']}:{each['line']}:{each['column']})" if each["file"] else ""
                told = f"{each['severity']}[{each['code']}]: {each['message']}{at}"
                complain("; ".join(filter(None, (told, each["help"]))))
    return 1 if any(each["severity"] == str(Severity.ERROR) for each in made["diagnostics"]) else 0


def _question(arguments: argparse.Namespace, mapping: Mapping, path: Path) -> tuple[Question, list[dict[str, Json]]]:
    """What is asked, and what was assumed. Raises _WrongUse and UnclearError."""
    if arguments.example is not None:
        return _of_example(arguments, mapping, path), []
    notes = []
    bodies = [take(name) for name in arguments.reply or ()]
    if arguments.request is None:
        endpoint = arguments.endpoint or endpoint_of(mapping, None)
        body = minimal(endpoint)
        told = f"no request was given: this is the least one for `{endpoint}`, {jsontext.dump(body).decode()}"
        notes.append(finding("least_request", "note", told))
    else:
        body = take_json(arguments.request)
        endpoint = arguments.endpoint or endpoint_of(mapping, body)
        if not arguments.endpoint and endpoint in OTHERS:
            told = f"the request is taken for one to `{PATHS[endpoint]}`, by its fields; `--endpoint chat` if it is not"
            notes.append(finding("taken_for_endpoint", "note", told))
    if mapping.endpoint(served_as(endpoint)) is None:
        raise _WrongUse(f"`{arguments.mapping}` does not serve `{endpoint}`")
    if arguments.stream is not None:
        body = with_stream(body, arguments.stream)
    elif (
        bodies
        and isinstance(body, dict)
        and "stream" not in body
        and looks_streamed(mapping, served_as(endpoint), bodies[-1])
    ):
        body = with_stream(body, True)
        told = "the reply is no JSON document, so the request is taken for one of a stream; `--no-stream` if it is not"
        notes.append(finding("taken_for_stream", "note", told))
    answers: list[Answer] = []
    try:
        call = enter(endpoint, {"model": next(iter(mapping.models), "model"), **body} if bodies else {}).call
    except (ApiError, TypeError):
        call = None  # which the explanation says
    for place, data in enumerate(bodies, 1):
        status = arguments.status if place == len(bodies) else 200
        headers = {name.lower(): value for name, value in arguments.header}
        if call is not None:
            answers.append(answer_for(mapping, call, data, status, headers))
    client = {name.lower(): value for name, value in arguments.client_header}
    return Question(endpoint, body, client, answers, again=len(answers) == 1), notes


def _of_example(arguments: argparse.Namespace, mapping: Mapping, path: Path) -> Question:
    examples = {example.name: example for example in mapping.examples}
    example = examples.get(arguments.example)
    if example is None:
        names = ", ".join(f"`{name}`" for name in examples) or "none"
        raise _WrongUse(f"`{arguments.mapping}` has no example `{arguments.example}`; it has: {names}")
    try:
        answers = [answer_of(mapping, each, file_reader(path.parent)) for each in rounds(example)]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _WrongUse(f"an answer of the example `{arguments.example}` cannot be read: {reason}") from error
    body = dict(example.request)
    if arguments.stream is not None:
        body = with_stream(body, arguments.stream)
    client = dict(example.headers) | {name.lower(): value for name, value in arguments.client_header}
    return Question(example.endpoint, body, client, answers)
