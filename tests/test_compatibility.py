"""Promises of docs/compatibility.md: it is what the code makes, and leaves out nothing that OpenAI has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from pages import COMPATIBILITY, compatibility
from scripted import fetch, mapping, request
from strict import STRICT
from support import ROOT, findings_of, needs_strict

from oaiproxy.compatibility import ELSEWHERE, page
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.features import features
from oaiproxy.frontshapes import RESPONSES
from oaiproxy.policy import fields_of

REQUESTS = {
    "CreateChatCompletionRequest": "chat",
    "CreateCompletionRequest": "completions",
    "CreateEmbeddingRequest": "embeddings",
    "CreateModerationRequest": "moderations",
    "CreateImageRequest": "images",
    "CreateSpeechRequest": "speech",
    "CreateTranscriptionRequest": "transcriptions",
}


def test_the_page_is_what_the_code_makes() -> None:
    """After a change, `python tests/pages.py` writes it anew."""
    assert COMPATIBILITY.read_text("utf-8") == compatibility(), "run: python tests/pages.py"


def test_the_command_that_the_page_names_writes_it() -> None:
    """And changes nothing in a tree that is as it should be."""
    before = COMPATIBILITY.read_text("utf-8")
    [command] = re.findall(r"`python (tests/\S+)`", before)
    subprocess.run([sys.executable, command], cwd=ROOT, check=True)
    assert COMPATIBILITY.read_text("utf-8") == before


def properties(name: str) -> set[str]:
    """The properties of one of OpenAI's requests, wherever its schema has them."""
    whole = json.loads((STRICT / f"{name}.json").read_text())
    found: set[str] = set()

    def walk(schema: Any) -> None:
        if "$ref" in schema:
            walk(whole["$defs"][schema["$ref"].rpartition("/")[2]])
        for key in ("allOf", "anyOf", "oneOf"):
            for each in schema.get(key, ()):
                walk(each)
        found.update(schema.get("properties", ()))

    walk(whole)
    return found


@needs_strict
@pytest.mark.parametrize("name", REQUESTS)
def test_every_parameter_of_openais_is_in_it(name: str) -> None:
    """By OpenAI's own schemas."""
    assert properties(name) <= fields_of(REQUESTS[name]).keys()


@needs_strict
def test_every_parameter_of_a_response_is_in_it() -> None:
    """Where responses are served."""
    assert properties("CreateResponse") == RESPONSES.keys()
    assert "`previous_response_id` | string | given effect to" in page([("POST", "/v1/responses")], [])
    assert "`previous_response_id`" not in page([], [])


def test_what_is_served_is_not_said_to_be_a_404() -> None:
    """An endpoint that comes to be served leaves that list by itself, whatever its parameter is called."""
    made = page([("POST", "/v1/files"), ("DELETE", "/v1/models/{name}")], [])
    assert "| `POST /v1/files` | served |" in made
    assert "| `DELETE /v1/models/{name}` | served |" in made
    assert ": files" not in made
    assert ": models, deleted" not in made
    assert len(re.findall(r"\| 40[45]: ", made)) == len(ELSEWHERE) - 2
    assert all(f"`POST {door.path}`" in made or f"POST {door.path}\n" in made for door in DOORS.values())


async def test_what_is_not_served_is_an_error_of_that_status(proxy: Any) -> None:
    """Asked of the server itself."""
    running = await proxy(mapping("http://backend.test"))
    rows = re.findall(r"^\| `(\w+) (\S+)` \| (40[45]): ", COMPATIBILITY.read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 20
    for method, path, status in rows:
        wire = await fetch(running.url, request({}, path.replace("{", "").replace("}", ""), method=method))
        assert (wire.status, wire.error["type"]) == (int(status), "invalid_request_error"), path


LEAST = """
oaiproxy: 1
models: [m]
backend: {url: "https://backend.test"}
chat:
  request: {path: /a, body: {said: [{$for: m in messages, role: "{{ m.role }}", text: "{{ m.text }}"}]}}
  response: {text: text}
completions: {request: &plain {path: /a, body: {}}, response: {text: text}}
embeddings: {request: *plain, response: {vectors: vectors}}
rerank: {request: *plain, response: {results: results}}
moderations: {request: *plain, response: {results: results}}
images: {request: *plain, response: {images: images}}
speech: {request: *plain, response: {}}
transcriptions: {request: *plain, response: {text: text}}
"""
"""A mapping whose templates read nothing but who said what in chat."""
FATES = [
    ("refused: a 400 that names it", "refused"),
    ("left out, and named in the header `x-oaiproxy-dropped`", "dropped"),
    ("left out", "ignored"),
]


def rows(title: str) -> dict[str, str]:
    """By parameter: what the last column of an endpoint's tables says."""
    _, _, rest = COMPATIBILITY.read_text("utf-8").partition(f"\n## POST {title}\n")
    found = re.findall(r"^\| `(\w+)` \|(?:.*\|)? (.*) \|$", rest.partition("\n## ")[0], re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("name", [name for name in DOORS if fields_of(name)])
def test_fates_are_those_that_the_code_tells_of_a_mapping_that_reads_little(name: str) -> None:
    """`describe` and `GET /v1/models` say the same; what is emulated changes sides when the mapping says so."""
    told = rows(DOORS[name].path)
    plain, helped = (
        features(findings_of(LEAST + more)[0], "m")[name]  # type: ignore[arg-type]
        for more in ("", "emulate: [stop, n, dimensions, response_format, tools]\n")
    )
    for words, fate in FATES:
        keys = {key for key, said in told.items() if said.partition("; ")[0] == words} - {"messages"}
        assert keys <= set(plain.get(fate, ())), (fate, keys - set(plain.get(fate, ())))
        assert keys or fate != "refused"
    gained = {key for key, said in told.items() if "; given effect to with `emulate" in said}
    wrong_alone = {"parallel_tool_calls"}  # no parameter without `tools`: refused with them
    assert gained == (told.keys() & set(plain["refused"])) - set(helped.get("refused", ())) - wrong_alone


def test_doors_on_top_of_chat_need_its_block() -> None:
    """As chat itself does."""
    made = COMPATIBILITY.read_text("utf-8")
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        assert f"| `POST {path}` | served, by mappings with the block `chat` |" in made


def test_what_can_be_emulated_is_told() -> None:
    """As the mapping would name it."""
    assert "given effect to with `emulate: [n]`" in page([], ["n"])
    assert "given effect to with" not in page([], [])
