"""Promises of the whole checker: what comes out for each broken mapping of tests/golden, told in its first lines.

`# expect: error[E203] 17:20 words of the message; fix: words of the label or the help`, one line for each finding;
`# env: NAME=value` sets a variable, `# without: name` takes a library away, and `-` stands for no place. There are no
other findings than those expected. Those of tests/golden/config are configurations; those of tests/golden/live are
checked with a backend at `LIVE_URL` that answers `# live: status type body`, or with `# live: nobody`.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support import bases_in

from oaiproxy.catalog import CATALOG
from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.checkup import Checkup
from oaiproxy.cli import livecheck
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.loader import Loader
from oaiproxy.provisions import provide
from oaiproxy.reporters import REPORTERS

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
BASES = bases_in(ROOT / "tests/golden/bases")
CONFIGS, LIVE = ROOT / "tests/golden/config", ROOT / "tests/golden/live"
FILES = sorted([*(ROOT / "tests/golden").glob("*.yaml"), *CONFIGS.glob("*.yaml"), *LIVE.glob("*.yaml")])
EXPECTED = re.compile(r"# expect: (\w+\[\w+\]) (\d+:\d+|-) (.+?); fix: (.+)")
WITHOUT = re.compile(r"^# without: (\w+)$", re.MULTILINE)
ANSWER = re.compile(r"^# live: (?:nobody|(\d+) (\S+) (.+))$", re.MULTILINE)
ENVIRONMENT = re.compile(r"# env: (\w+)=(.*)")


def read_file(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory")


def environment(text: str) -> dict[str, str]:
    return dict(found.groups() for line in text.split("\n") if (found := ENVIRONMENT.fullmatch(line)))


def expected(text: str) -> list[tuple[Any, ...]]:
    found = []
    for line in text.split("\n"):
        if line.startswith("# expect"):
            each = EXPECTED.fullmatch(line)
            assert each, f"an expectation demands a code, a place, a message and a fix: {line}"
            found.append(each.groups())
    return found


@contextmanager
def without(libraries: list[str]) -> Iterator[None]:
    """As if these were not installed."""
    taken = {name: sys.modules.get(name) for name in libraries}
    sys.modules.update(dict.fromkeys(libraries))  # type: ignore[arg-type]  # None: such a module is not found
    try:
        yield
    finally:
        for name, module in taken.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def checked(path: Path) -> tuple[Diagnostic, ...]:
    text = path.read_text()
    if path.parent == CONFIGS:
        return configured(path, environment(text))
    if path.parent == LIVE:
        return asked(path, text)
    surroundings = Surroundings(SCHEMA, environment(text), read_file, BASES, path.name, provide)
    with without(WITHOUT.findall(text)):
        return check_mapping(text, path.name, surroundings).diagnostics


def asked(path: Path, text: str) -> tuple[Diagnostic, ...]:
    found = ANSWER.search(text)
    assert found
    with listening(*found.groups()) as url:
        variables = {"LIVE_URL": url, "LIVE_KEY": "key-of-nobody"}
        surroundings = Surroundings(SCHEMA, variables, read_file, BASES, path.name, provide)
        checked = check_mapping(text, path.name, surroundings)
        assert checked.mapping is not None, checked.diagnostics
        return (*checked.diagnostics, *livecheck.live_findings([(path.name, text, checked.mapping)]))


@contextmanager
def listening(status: str | None, media_type: str, body: str) -> Iterator[str]:
    """A backend that answers each connection once; without a status nobody is there."""
    if status is None:
        yield "http://127.0.0.1:9"  # where none of us listens; which port it is stands in the report
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        worker = threading.Thread(target=_answer_all, args=(server, status, media_type, f"{body}\n\n".encode()))
        worker.start()
        try:
            yield url
        finally:
            server.shutdown(socket.SHUT_RDWR)
            worker.join()


def _answer_all(server: socket.socket, status: str, media_type: str, body: bytes) -> None:
    head = (
        f"HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    with suppress(OSError):  # the socket is shut down at the end
        while True:
            connection, _ = server.accept()
            with connection:
                received = b""
                while b"\r\n\r\n" not in received or not received.endswith(b"}"):
                    received += connection.recv(65536)
                connection.sendall(head.encode() + body)


def configured(path: Path, variables: dict[str, str]) -> tuple[Diagnostic, ...]:
    checkup = Checkup(Loader(variables))
    checkup.add(path, config=True)
    return tuple(found for file in checkup.run() for found in file.diagnostics)


def place(found: Diagnostic) -> tuple[str, str]:
    span = found.span
    return f"{found.severity}[{found.code}]", f"{span.line}:{span.column}" if span else "-"


def shown(path: Path) -> str:
    """The report, as `check` prints it."""
    return REPORTERS["text"](checked(path), {path.name: path.read_text(), str(path): path.read_text()}, False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_expected_comes_out_and_nothing_else(path: Path) -> None:
    """Code, place, message and fix of every finding, in the order of the file."""
    text = path.read_text()
    diagnostics, wanted = checked(path), expected(text)
    assert wanted
    report = shown(path)
    assert [place(found) for found in diagnostics] == [each[:2] for each in wanted], report
    for found, (_, _, message, fix) in zip(diagnostics, wanted, strict=True):
        assert message in found.message, report
        assert fix in f"{found.label}\n{found.help}", report


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_finding_has_a_place_and_a_fix(path: Path) -> None:
    """A finding without them leaves its reader to guess."""
    lines = path.read_text().split("\n")
    for found in checked(path):
        assert found.label or found.help, found
        assert found.span is not None
        assert Path(found.span.file).name == path.name
        assert 1 <= found.span.line <= len(lines)
        assert 1 <= found.span.column <= len(lines[found.span.line - 1]) + 1
        assert not found.message.endswith(".") or found.code == "E503", found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_value_of_the_environment_is_told(path: Path) -> None:
    """It may be a secret: the findings name `${...}`."""
    for value in environment(path.read_text()).values():
        assert value not in repr(checked(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_told_twice(path: Path) -> None:
    """One mistake is one finding."""
    places = [(found.code, found.span, found.message) for found in checked(path)]
    assert len(places) == len(set(places))


def test_every_code_has_a_golden() -> None:
    """There are many, and none of the codes goes without."""
    codes = {each[0].partition("[")[2].rstrip("]") for path in FILES for each in expected(path.read_text())}
    assert len(FILES) >= 120
    assert codes == set(CATALOG)
