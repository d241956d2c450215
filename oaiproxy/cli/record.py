"""`oaiproxy record`: a request to the live backend, kept as an example of its mapping."""

from __future__ import annotations

import argparse
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from urllib.parse import urlsplit

from oaiproxy.auth import Passthrough
from oaiproxy.backends import MOCK_URL
from oaiproxy.bundled import mapping_path
from oaiproxy.cli.arguments import credentials
from oaiproxy.cli.files import STANDARD, FileError, take_json
from oaiproxy.cli.interrupts import run_loop
from oaiproxy.cli.output import complain, report, ships
from oaiproxy.cli.progress import Progress
from oaiproxy.cli.writing import alone, draft, is_installed, is_shipped_name, settle
from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.document import Document
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError, MappingError, OaiproxyError
from oaiproxy.jsontext import Json
from oaiproxy.live import Conversation, live
from oaiproxy.liveprobes import kinds, model_of, small_body
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.reading import read_text
from oaiproxy.recording import Recording, is_text, make_example
from oaiproxy.redaction import redacted
from oaiproxy.rewriting import RewriteError, append, escaped, referring
from oaiproxy.steps import Answer
from oaiproxy.yamltext import after_dash

TOOL: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
"""What `--tools` offers."""


class _RefusedError(OaiproxyError):
    """Why nothing was recorded."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to ask: a request, and whether to stream it."""

    name: str
    request: dict[str, Json]


def run(arguments: argparse.Namespace) -> int:
    """Record; 0 when it was written, 1 when there was nothing to write, 2 when the command was used wrongly."""
    path = mapping_path(arguments.mapping, Path())
    try:
        if arguments.mapping == STANDARD:
            raise _RefusedError("examples are added to a file, and standard input is none", 2)
        if not arguments.dry_run and (is_shipped_name(arguments.mapping) or is_installed(path)):
            message = f"`{arguments.mapping}` ships with oaiproxy and is not for editing; copy it, or use `--dry-run`"
            raise _RefusedError(message, 2)
        return _record(arguments, path)
    except _RefusedError as error:
        complain(f"nothing recorded: {error}")
        return error.code
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.exists():
            complain(f"`{arguments.mapping}` cannot be read: {error.strerror}{ships(arguments.mapping)}")
        else:
            complain(f"`{error.filename or arguments.mapping}` cannot be read or written: {error.strerror}")
        return 2


def _record(arguments: argparse.Namespace, path: Path) -> int:
    loader = Loader(os.environ)
    checked = loader.check(path, examples=False)
    if checked.mapping is None:
        report(checked.diagnostics, loader.sources, sys.stderr)
        raise _RefusedError("the mapping is not usable")
    mapping = checked.mapping
    if mapping.backend.url == MOCK_URL:
        raise _RefusedError(f"`backend.url` is `{MOCK_URL}`, which is no backend; set the address of a real one")
    endpoint, plans = _plans(arguments, mapping)
    client = {name.lower(): value for name, value in arguments.client_header}
    auth = mapping.backend.auth
    if isinstance(auth, Passthrough) and auth.name not in client:
        told = f"the mapping sends on the client's key: give it with `--client-header '{auth.name}: ...'`"
        raise _RefusedError(told, 2)
    conversations = run_loop(lambda: _ask(mapping, endpoint, plans, client))
    home = _home(path, mapping, endpoint)
    with alone(path):
        text = read_text(path)
        try:
            plans = _named(plans, loader.document(path))
        except MappingError:
            raise _RefusedError(f"`{path}` was edited at the same time, and is not usable now") from None
        made = [
            _recording(arguments, (mapping, home), endpoint, plan, conversation, path)
            for plan, conversation in zip(plans, conversations, strict=True)
        ]
        if reference := _reference(loader if home is mapping else Loader({}), path, home, endpoint):
            made = [replace(each, example=referring(each.example, home.backend.url, reference)) for each in made]
        new = text
        try:
            for each in made:
                new = append(new, ("examples",), each.example)
        except RewriteError as error:
            raise _RefusedError(f"the file cannot be edited: {error}") from None
        return _keep(arguments, path, (text, new), made, loader, environment=home is mapping)


def _home(path: Path, mapping: Mapping, endpoint: str) -> Mapping:
    """The mapping in no environment, where the answers lead on to its address: they are written as if from there."""
    described = mapping.endpoint(endpoint)
    if described is None or described.flow is None:
        return mapping
    home = Loader({}).check(path, environment=False, examples=False).mapping
    real = home is not None and home.backend.url.startswith("http")
    return home if home is not None and real and home.backend.url != mapping.backend.url else mapping


def _reference(loader: Loader, path: Path, mapping: Mapping, endpoint: str) -> str:
    """How the file writes the mapping's address, where the answers lead on to it and the environment has a say.

    Written so, the examples pass whatever address the environment gives.
    """
    described = mapping.endpoint(endpoint)
    if described is None or described.flow is None:
        return ""
    document = loader.document(path)
    written = document.written(("backend", "url")) or ""
    slash = "/" if written.endswith("/") else ""
    known = document.data["backend"]["url"].removesuffix(slash) == mapping.backend.url
    return written.removesuffix(slash) if known else ""


def _moved(answer: Answer, mapping: Mapping, home: Mapping) -> Answer:
    """The answer as it would have come from there."""
    here, there = mapping.backend.url, home.backend.url
    pairs = [(here, there), (_origin(here), _origin(there))]

    def move(text: bytes) -> bytes:
        for old, new in pairs:
            text = re.sub(re.escape(old.encode()) + rb"(?![\w:-]|\.\w)", lambda _: new.encode(), text)  # noqa: B023
        return text

    headers = {name: move(value.encode()).decode() for name, value in answer.headers.items()}
    return Answer(answer.status, headers, move(answer.body) if is_text(answer.body) else answer.body)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _plans(arguments: argparse.Namespace, mapping: Mapping) -> tuple[str, list[_Plan]]:
    endpoint = arguments.endpoint or next(iter(mapping.endpoints), "chat")
    if mapping.endpoint(endpoint) is None:
        raise _RefusedError(f"the mapping has no `{endpoint}`; it has: {', '.join(mapping.endpoints)}", 2)
    request = _given(arguments.request) if arguments.request else small_body(mapping, endpoint)
    if arguments.message is not None or (arguments.tools and not arguments.request):
        said = arguments.message if arguments.message is not None else "What is the weather in Paris? Use the tool."
        request |= _saying(endpoint, said)
    if arguments.tools:
        request["tools"] = [TOOL]
    if arguments.model:
        request["model"] = arguments.model
    if "model" not in request:
        model = model_of(mapping, endpoint)
        if not model:
            raise _RefusedError("the mapping names no model; give one with `--model`", 2)
        if model != next(iter(mapping.models), ""):
            request = {"model": model, **request}
    ways = kinds(mapping, endpoint)
    if arguments.stream is not None:
        ways = [arguments.stream]
    elif arguments.request and "stream" in request:
        ways = [request["stream"] is True]
    request.pop("stream", None)
    plans = []
    for stream in ways:
        base = arguments.name or f"recorded: {endpoint}"
        name = f"{base}, streamed" if stream and (len(ways) > 1 or not arguments.name) else base
        plans.append(_Plan(name, {**request, "stream": True} if stream else request))
    return endpoint, plans


def _named(plans: list[_Plan], document: Document) -> list[_Plan]:
    """The plans, each called as no example of the file is by now."""
    listed = document.data.get("examples")
    taken = {each.get("name") for each in (listed if isinstance(listed, list) else ()) if isinstance(each, dict)}
    made = []
    for plan in plans:
        numbers = (f"{plan.name} {number}" for number in count(2))
        name = next(name for name in (plan.name, *islice(numbers, len(taken) + 1)) if name not in taken)
        taken.add(name)
        made.append(replace(plan, name=name))
    return made


def _given(name: str) -> dict[str, Json]:
    try:
        request = take_json(name)
    except FileError as error:
        raise _RefusedError(str(error), 2) from error
    if not isinstance(request, dict):
        raise _RefusedError("the request is no JSON object", 2)
    return request


def _saying(endpoint: str, text: str) -> dict[str, Json]:
    match endpoint:
        case "chat":
            return {"messages": [{"role": "user", "content": text}]}
        case "completions" | "images":
            return {"prompt": text}
        case "rerank":
            return {"query": text}
        case "transcriptions":
            raise _RefusedError("`transcriptions` is about a sound: give it with `--request`", 2)
    return {"input": text}


async def _ask(mapping: Mapping, endpoint: str, plans: list[_Plan], client: dict[str, str]) -> list[Conversation]:
    made = []
    with Progress(len(plans), sys.stderr, doing="asking") as progress:
        async with live() as asking:
            for plan in plans:
                progress.step(plan.name)
                body = {"model": model_of(mapping, endpoint), **plan.request}
                try:
                    made.append(await asking.ask(mapping, endpoint, DOORS[endpoint].parse(body), client))
                except ApiError as error:
                    made.append(Conversation([], error))
    return made


def _recording(
    arguments: argparse.Namespace,
    mappings: tuple[Mapping, Mapping],
    endpoint: str,
    plan: _Plan,
    conversation: Conversation,
    path: Path,
) -> Recording:
    mapping, home = mappings
    error, answers = conversation.error, conversation.answers
    secrets = {*mapping.secrets, *credentials(arguments.client_header, mapping.backend.auth)}
    headers = {name.lower(): value for name, value in arguments.client_header}
    if error is not None:
        said = redacted(f"{error.message}: {error.detail}" if error.detail else error.message, secrets)
        said = said[:400] + (_limits(mapping) if error.code == "upstream_timeout" else "")
        if not arguments.expect_error:
            raise _RefusedError(f"`{plan.name}` failed: {said}")
        if not answers or len(answers) < len(conversation.calls):
            raise _RefusedError(f"`{plan.name}` failed without an answer: {said}")
    elif arguments.expect_error:
        raise _RefusedError(f"`{plan.name}` succeeded, and `--expect-error` was given")
    try:
        if home is not mapping:
            answers = [_moved(answer, mapping, home) for answer in answers]
        names = (plan.name, path.stem)
        return make_example(home, endpoint, plan.request, answers, *names, secrets=secrets, headers=headers)
    except (OaiproxyError, OSError) as fault:
        raise _RefusedError(redacted(str(fault), secrets)) from None


def _limits(mapping: Mapping) -> str:
    """How long the mapping waits."""
    timeouts = mapping.backend.timeouts
    first, idle, total = (f"{each:g}s" for each in (timeouts.first_byte, timeouts.idle, timeouts.total))
    return f"; `backend.timeouts` waits {first} for the first of it, {idle} for more, {total} for all"


def _keep(
    arguments: argparse.Namespace,
    path: Path,
    texts: tuple[str, str],
    made: list[Recording],
    loader: Loader,
    *,
    environment: bool,
) -> int:
    """Check the new text, and put it in the old one's place; nothing is left of it where it is not kept."""
    before, text = texts
    if not environment:
        loader = Loader({})
    folder = path.resolve().parent if path.is_symlink() else path.parent
    files = {folder / name: data for each in made for name, data in each.files.items()}
    names = [str(each.example["name"]) for each in made]
    if taken := [file for file in files if file.exists()]:
        raise _RefusedError(f"`{taken[0]}` is there already; take it away, or give another `--name`")
    if arguments.dry_run:
        print("\n".join(f"-{after_dash(escaped(each.example), 2, deep=1)}" for each in made))
    kept = False
    try:
        for file, data in files.items():
            file.write_bytes(data)
        with draft(path, text) as drafted:
            shown = str(path)
            findings = _of(names, loader.check(drafted, name=shown, environment=environment).diagnostics)
            passes = not any(found.severity is Severity.ERROR for found in findings)
            report(findings, loader.sources, sys.stderr)
            if not passes and not (arguments.force or arguments.dry_run):
                raise _RefusedError("the examples do not pass `check`; `--force` writes them all the same")
            if passes and not environment:
                _tell_of_here(names, Loader(os.environ).check(drafted, name=shown).diagnostics)
            if not arguments.dry_run:
                if read_text(path) != before:
                    raise _RefusedError(f"`{path}` was edited at the same time")
                settle(drafted, path)
                kept = True
    finally:
        if not kept:
            for file in files:
                with suppress(FileNotFoundError):
                    file.unlink()
    if not arguments.dry_run:
        told = ", ".join(f"`{name}`" for name in names)
        print(f"{len(made)} example{'' if len(made) == 1 else 's'} added to {path}: {told}")
        for file in files:
            print(f"written: {file}")
        return 0
    return 0 if passes else 1


def _tell_of_here(names: list[str], findings: tuple[Diagnostic, ...]) -> None:
    """Say where examples pass in no environment, and not in this one."""
    if any(found.severity is Severity.ERROR for found in _of(names, findings)):
        complain("the examples pass `check --no-env` alone: answers lead to addresses that are not below `backend.url`")


def _of(names: list[str], findings: tuple[Diagnostic, ...]) -> list[Diagnostic]:
    """The findings that are of these examples, or of no example."""
    ours = tuple(f"the example `{name}`:" for name in names)
    return [
        found
        for found in findings
        if found.message.startswith(ours) or (found.severity is Severity.ERROR and found.code[:2] not in ("E5", "W5"))
    ]
