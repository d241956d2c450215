"""The schemas in an editor: what the YAML language server completes, shows and reports with them.

`./test.sh --all` runs it; the server is installed once, under `.venv-clients`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from clients.environments import PLACE, node_modules
from editors.server import LanguageServer
from support import ROOT

from oaiproxy.cli import main

pytestmark = pytest.mark.thorough

MODELINE = "# yaml-language-server: $schema=../schemas/mapping.schema.json\n"
SHIPPED = {path: path.read_text("utf-8") for path in [*sorted(ROOT.glob("mappings/*.yaml")), ROOT / "config.yaml"]}
START = MODELINE + "oaiproxy: 1\nmodels: [small]\nbackend: {url: 'https://api.example.com'}\n"
CHAT = START + "chat:\n  request: {path: /p, body: {t: '{{ prompt }}'}}\n"


@pytest.fixture
async def server() -> AsyncIterator[LanguageServer]:
    """A server of its own."""
    missing = await asyncio.to_thread(node_modules, Path(__file__).parent / "node", "node-editors")
    if missing:
        pytest.skip(missing)
    node = shutil.which("node")
    assert node is not None
    script = PLACE / "node-editors/node_modules/yaml-language-server/bin/yaml-language-server"
    async with LanguageServer(node, str(script), "--stdio") as running:
        yield running


async def opened(server: LanguageServer, text: str) -> tuple[Path, int, int, list[Any]]:
    """A mapping beside those that ship, with a cursor where `|` stands; and what is wrong in it."""
    before, _, after = text.partition("|")
    path = ROOT / "mappings" / "no-such-file.yaml"
    found = await server.open(path, before + after)
    return path, before.count("\n"), len(before.rpartition("\n")[2]), found


async def completed(server: LanguageServer, text: str) -> dict[str, Any]:
    path, line, character, _ = await opened(server, text)
    answer = await server.at("completion", path, line, character)
    return {item["label"]: item for item in answer["items"]}


async def hovered(server: LanguageServer, text: str) -> str:
    path, line, character, _ = await opened(server, text)
    answer = await server.at("hover", path, line, character)
    return str(answer["contents"]["value"]).replace("\\`", "`")


async def test_nothing_is_wrong_in_what_ships(server: LanguageServer) -> None:
    """Each finds its schema by its modeline: mappings, those that extend others, and the configuration."""
    found = {path.name: await server.open(path, text) for path, text in SHIPPED.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


async def test_an_unknown_key_is_reported(server: LanguageServer) -> None:
    """At its place, which shows that the modeline is followed."""
    _, line, _, (found,) = await opened(server, START + "chta|: {}\nchat: {request: {path: /p}, response: {text: t}}\n")
    assert found["range"]["start"] == {"line": line, "character": 0}
    assert "chta" in found["message"]


async def test_a_schema_that_was_written_elsewhere_is_found(server: LanguageServer, tmp_path: Path) -> None:
    """By the line that docs/editors.md gives."""
    assert main(["schema", "--output", str(tmp_path / "mapping.schema.json")]) == 0
    text = START.replace("../schemas/", "") + "chta: {}\nchat: {request: {path: /p}, response: {text: t}}\n"
    (found,) = await server.open(tmp_path / "mine.yaml", text)
    assert "chta" in found["message"]


async def test_a_key_is_completed_at_the_top(server: LanguageServer) -> None:
    """With what it is for."""
    found = await completed(server, START + "em|")
    assert found["emulate"]["insertText"].startswith("emulate:")
    assert "gives effect to" in found["emulate"]["documentation"]


async def test_a_key_is_completed_in_a_stream(server: LanguageServer) -> None:
    """Those of the block and no others."""
    found = await completed(server, CHAT + "  stream:\n    format: sse\n    te|\n")
    assert {"text", "text_mode", "events", "done"} <= found.keys()
    assert "backend" not in found


async def test_formats_of_streams_are_completed(server: LanguageServer) -> None:
    """Each with what it is; the one with a setting as a block."""
    found = await completed(server, CHAT + "  stream:\n    format: |\n")
    names = ("sse", "ndjson", "json-array", "json-concat", "text", "aws-eventstream", "messages", "delimited")
    assert found.keys() >= set(names)
    assert all(found[name]["documentation"] for name in names)
    assert found["ndjson"]["insertText"] == "ndjson"
    assert "delimited: " in found["delimited"]["insertText"]


async def test_choices_are_completed_with_what_they_mean(server: LanguageServer) -> None:
    """By `enumDescriptions`."""
    found = await completed(server, CHAT + "  stream:\n    format: sse\n    text_mode: |\n")
    assert {name: item["documentation"] for name, item in found.items()} == {
        "delta": "A frame holds what is new.",
        "cumulative": "A frame holds all so far.",
    }


@pytest.mark.parametrize(
    ("text", "label", "block"),
    [
        (START + "chat:\n  |", "an endpoint that answers whole", 'prompt: "{{ prompt }}"'),
        (CHAT + "  stream:\n    |", "a stream", "format: ${1:sse}"),
        (CHAT + "  response: {text: t}\nexamples:\n  - |", "a recorded round", "sends_like:"),
    ],
    ids=["chat", "stream", "examples"],
)
async def test_blocks_are_completed_whole(server: LanguageServer, text: str, label: str, block: str) -> None:
    """The least that works, to begin with."""
    assert block in (await completed(server, text))[label]["insertText"]


async def test_a_key_is_explained(server: LanguageServer) -> None:
    """When one points at it, with examples."""
    said = await hovered(server, CHAT + "  stream:\n    for|mat: sse\n    text: t\n")
    assert "How the stream is cut into frames: server-sent events; " in said
    assert "- aws-eventstream" in said


async def test_a_block_is_explained(server: LanguageServer) -> None:
    """As the schema describes it."""
    said = await hovered(server, START + "ch|at: {request: {path: /p}, response: {text: t}}\n")
    assert "One of OpenAI's endpoints on this backend." in said
