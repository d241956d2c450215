"""Promises of the seal: wherever a mapping or a configuration has a value of the environment, no report has it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run
from support import ROOT

from oaiproxy.checkup import CheckedFile, Checkup
from oaiproxy.composer import compose
from oaiproxy.junit import Suite, junit
from oaiproxy.loader import Loader
from oaiproxy.nodes import ListNode, MappingNode, ScalarNode, SourceText
from oaiproxy.reporters import REPORTERS
from oaiproxy.sealing import Seal

CORE = "c4n4ry"
CANARIES = {
    "plain": "c4n4ry-one/7",
    "break": "c4n4ry-one\nc4n4ry-two",
    "quotes": "c4n4ry'a\"c4n4ry`b",
    "long": "c4n4ry-" * 40 + "c4n4ry",
}
EVERYTHING = re.split(r"^---\n", (ROOT / "tests/everything.yaml").read_text(), flags=re.MULTILINE)
CONFIG = """\
mappings: [nowhere.yaml, "{name}"]
server:
  host: 127.0.0.1
  port: 0
  max_body: 1000
  body_timeout: 30
  loop: asyncio
  cors: {allow_origins: ["https://a.example"], allow_headers: [x-a]}
limits: {connections: 10}
log: {level: info}
"""
SECRET = "c4n4ry-written-out-41"
WRITTEN = f"""\
oaiproxy: 1
models: [m]
backend:
  url: https://api.example.com
  headers: {{Authorization: Bearer {SECRET}}}
chat:
  request: {{path: /a, headers: {{Authorization: Bearer {SECRET}}}, body: {{q: "{{{{ prompt }}}}"}}}}
  response: {{text: out}}
examples:
  - request: {{messages: [{{role: user, content: Hi}}]}}
    sends: {{headers: {{authorization: Bearer other}}, body: {{q: no}}}}
    backend: {{json: {{out: a}}}}
    replies: {{text: b}}
"""


def scalars(node: Any) -> Iterator[ScalarNode]:
    match node:
        case MappingNode():
            for _, value in node.entries.values():
                yield from scalars(value)
        case ListNode():
            for item in node.items:
                yield from scalars(item)
        case _:
            yield node


def planted(text: str, file: str) -> Iterator[str]:
    """The text with the canary in one place after the other, as the whole value or at its end."""
    root, _ = compose(SourceText(file, text))
    assert root is not None
    for number, node in enumerate(scalars(root)):
        block = "\n" if node.style in ("|", ">") else ""
        yield f'{text[: node.start]}"{"x " * (number % 2)}${{CANARY}}"{block}{text[node.end :]}'


def reports(files: list[CheckedFile], sources: dict[str, str]) -> dict[str, str]:
    findings = [found for file in files for found in file.diagnostics]
    made = {form: report(findings, sources, False) for form, report in REPORTERS.items()}
    suites = [Suite(file.file, file.diagnostics, file.examples, file.tried) for file in files]
    return made | {"junit": junit(suites, sources)}


def leaks(text: str, canary: str, *, config: bool = False) -> list[str]:
    checkup = Checkup(Loader({"CANARY": canary}))
    checkup.add(Path("m.yaml"), text=text, config=config)
    files = checkup.run()
    return [form for form, told in reports(files, checkup.loader.sources).items() if CORE in told]


@pytest.mark.parametrize("number", range(len(EVERYTHING)))
def test_no_place_of_a_mapping_tells(number: int) -> None:
    """Those of all keys, in all forms of reports; each place has another kind of value."""
    kinds = list(CANARIES.values())
    for index, text in enumerate(planted(EVERYTHING[number], "m.yaml")):
        assert not leaks(text, kinds[index // 2 % len(kinds)]), text


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(len(EVERYTHING)))
@pytest.mark.parametrize("kind", CANARIES)
def test_no_place_of_a_mapping_tells_any_kind(number: int, kind: str) -> None:
    """Each place has them all."""
    for text in planted(EVERYTHING[number], "m.yaml"):
        assert not leaks(text, CANARIES[kind]), text


@pytest.mark.parametrize("kind", CANARIES)
def test_no_place_of_a_configuration_tells(kind: str) -> None:
    """Files that are not there, values of a wrong type, words that are no choice."""
    for text in planted(CONFIG, "config.yaml"):
        assert not leaks(text, CANARIES[kind], config=True), text


@pytest.mark.parametrize("kind", ["plain", "quotes"])
def test_a_refusal_to_serve_tells_nothing(tmp_path: Path, kind: str) -> None:
    """Neither of an address that is none."""
    text = (ROOT / "mappings/example.yaml").read_text()
    (tmp_path / "m.yaml").write_text(text)
    (tmp_path / "config.yaml").write_text('mappings: [m.yaml]\nserver: {host: "${CANARY}", port: 0}\n')
    done = run("serve", cwd=tmp_path, CANARY=CANARIES[kind])
    assert done.returncode == 1
    assert "${CANARY}" in done.stderr
    assert CORE not in done.stdout + done.stderr


def test_a_secret_that_is_written_out_is_in_no_report(tmp_path: Path) -> None:
    """Neither in the frames of other lines, nor in what an update of the examples shows."""
    path = tmp_path / "m.yaml"
    path.write_text(WRITTEN)
    for form in (*REPORTERS, "junit"):
        done = run("check", path, "--format", form)
        assert "W106" in done.stdout
        assert CORE not in done.stdout + done.stderr, form
    done = run("check", path, "--update")
    assert "+" in done.stdout
    assert CORE not in done.stdout + done.stderr
    assert path.read_text().count(CORE) == WRITTEN.count(CORE)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("a `k3y-of-mine\nand-more`", "a `${KEY}`"),
        (r"a `k3y-of-mine\nand-more`", "a `${KEY}`"),
        ("k3y-of-mine%0Aand-more", "${KEY}"),
        (base64.b64encode(b"k3y-of-mine\nand-more").decode(), "${KEY}"),
        ("`k3y-of-mine and-more`", "`${KEY}`"),
        ("`and-more`", "`${KEY}`"),
        ("of `0123456789abcdef…`", "of `…`"),
        ("8080", "8080"),
        ("a word", "a word"),
    ],
)
def test_a_value_is_told_by_its_reference(told: str, shown: str) -> None:
    """In all spellings, line by line, and where it is cut; what is short or common stays."""
    values = {"k3y-of-mine\nand-more": "${KEY}", "0123456789abcdefghijk": "${LONG}", "80": "${A}", "word": "${B}"}
    assert Seal(values, text="word: 1").text(told) == shown
