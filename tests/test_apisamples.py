"""Promises of documents as samples: of every style a mapping comes that passes `check`, its examples too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from documents import DOCUMENTS, document, shown, text_of
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from support import bases_in

from oaiproxy import openapi
from oaiproxy.apisamples import described, sample_of
from oaiproxy.apispecs import SpecError
from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.initial import Proposal, propose
from oaiproxy.loader import mapping_schema

ROOT = Path(__file__).parents[1]
WHOLE = {"kinds-of-events", "multipart", "circular", "form", "query-prompt", "swagger-query-key"}
"""Of these documents one example can be made; of the rest, an answer and a stream."""


def mapped(text: str, operation: str | None = None) -> Proposal:
    """The mapping that `init` makes of a document; it passes `check`."""
    found = described(text, operation)
    proposal = propose(found.sample, found.name)
    surroundings = Surroundings(mapping_schema(), {}, lambda name: "", bases_in(ROOT / "mappings"))
    checked = check_mapping(proposal.text, "made.yaml", surroundings, environment=False)
    assert checked.diagnostics == (), proposal.text
    assert checked.mapping is not None
    assert checked.mapping.examples, proposal.text
    return proposal


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_document_becomes_a_mapping_that_is_right(path: Path) -> None:
    """Untouched: no finding, and its examples pass; nothing is left to do but what no document says."""
    made = mapped(path.read_text("utf-8"))
    assert made.missing == (
        ("what the API calls the role `system`: the sample does not show it",) if path.stem == "kinds-of-events" else ()
    )


class Options(BaseModel):
    temperature: float = 1.0
    max_new_tokens: int = Field(256, ge=1, le=4096)
    stop: list[str] | None = None


class Request(BaseModel):
    prompt: str
    options: Options = Options()


class Answer(BaseModel):
    generated_text: str
    tokens: int


def test_a_home_grown_api_becomes_a_mapping() -> None:
    """What FastAPI says of itself at /openapi.json is enough."""
    app = FastAPI(title="Cellar Model API")

    @app.post("/generate", dependencies=[Depends(HTTPBearer())])
    def generate(request: Request) -> Answer:
        raise NotImplementedError

    @app.get("/health")
    def health() -> dict[str, str]:
        raise NotImplementedError

    made = mapped(shown(app.openapi()))
    assert made.missing == ()
    data = yaml.safe_load(made.text)
    assert data["backend"]["auth"] == {"bearer": "${CELLAR_MODEL_API_KEY:-}"}
    assert data["chat"]["request"]["body"] == {
        "prompt": "{{ prompt }}",
        "options": {"temperature": "{{ temperature }}", "max_new_tokens": "{{ max_tokens }}", "stop": "{{ stop }}"},
    }
    assert data["chat"]["response"]["text"] == "generated_text"


def test_the_proxys_own_document_becomes_a_mapping() -> None:
    """A proxy before a proxy."""
    made = mapped(openapi.document((("POST", "/v1/chat/completions"),)).decode(), "/v1/chat/completions")
    assert yaml.safe_load(made.text)["chat"]["request"]["path"] == "/v1/chat/completions"


def test_an_api_that_does_not_say_what_it_answers_is_told_of() -> None:
    """As many home-grown ones: the request is known, the answer is to be given as a sample."""
    app = FastAPI()

    @app.post("/generate")
    def generate(request: Request):  # type: ignore[no-untyped-def]  # it is what people write
        raise NotImplementedError

    found = described(shown(app.openapi()))
    assert found.sample.answer is None
    assert "answers: give an answer as a sample" in found.notes[-1]


def test_a_stream_beside_the_answer_comes_with_it() -> None:
    """By its own path, or by a flag."""
    beside = sample_of(text_of("home-grown"))
    assert beside.answer is not None
    assert beside.stream is not None
    assert (beside.stream_url, beside.stream_body) == ("http://localhost:8000/generate/stream", None)
    flagged = sample_of(text_of("messages-header-key"))
    assert flagged.stream_url == ""
    assert flagged.stream_body == {**flagged.body, "stream": True}


def test_a_stream_alone_is_asked_for_always() -> None:
    """There is no other answer."""
    assert sample_of(text_of("kinds-of-events")).body["stream"] is True


def test_no_key_of_a_document_is_in_a_sample() -> None:
    """A document can have one as an example: a variable stands for it."""
    parameter = {"name": "X-Api-Key", "in": "header", "required": True, "example": "sk-real", "schema": {}}
    text = shown(document({"properties": {"prompt": {"type": "string"}}}, operation={"parameters": [parameter]}))
    assert "sk-real" not in str(sample_of(text))


def test_a_document_that_is_none_is_refused() -> None:
    """Each with its reason, by the modules that read it."""
    with pytest.raises(SpecError, match="neither `openapi` nor `swagger`"):
        sample_of("{}")


@pytest.mark.parametrize("address", ["http://[", "//[a", "http://[::1/x"])
def test_an_address_that_is_none_is_no_address(address: str) -> None:
    """It is as if the document said none."""
    operation = {"post": {"responses": {"200": {"content": {"text/plain": {}}}}}}
    document = {"openapi": "3.1.0", "servers": [{"url": address}], "paths": {"/generate": operation}}
    found = described(json.dumps(document))
    assert found.sample.url == "http://localhost:8000/generate"
    assert any("does not say where the API is" in note for note in found.notes)


def test_media_types_that_are_no_text_are_taken_for_some() -> None:
    """A list in their place has no example."""
    operation = {"post": {"produces": [["a"], None], "responses": {"200": {"examples": {"a": 1}}}}}
    document = {"swagger": "2.0", "host": "api.example.com", "paths": {"/generate": operation}}
    assert described(json.dumps(document)).sample.answer is None
