"""Promises of finding an operation: by its names, or by itself where only one can generate text."""

from __future__ import annotations

import pytest
from documents import DOCUMENTS, document, shown, text_of

from oaiproxy.apioperations import LIKELY, choose, operations, parameters, sibling
from oaiproxy.apispecs import SpecError, parse_spec

BODY = {"requestBody": {"content": {"application/json": {"schema": {"properties": {"prompt": {"type": "string"}}}}}}}


def spec(**paths: dict[str, object]) -> str:
    """A document with those paths, `_` for a slash."""
    return shown(document() | {"paths": {path.replace("_", "/"): item for path, item in paths.items()}})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_the_call_that_generates_text_is_found(path: object) -> None:
    """It is the likeliest, and taken by itself."""
    read = parse_spec(path.read_text("utf-8"))  # type: ignore[attr-defined]
    assert choose(read, None) == operations(read)[0]
    assert operations(read)[0].score >= LIKELY or len(operations(read)) == 1


@pytest.mark.parametrize("name", ["createChat", "POST /chat", "post /chat", "/chat", " /chat/ "])
def test_an_operation_has_several_names(name: str) -> None:
    """Its id, and its method and path."""
    assert choose(parse_spec(text_of("messages-header-key")), name).id == "createChat"


def test_a_misspelled_operation_is_offered_right() -> None:
    """As everywhere."""
    with pytest.raises(SpecError, match=r"no operation `creatChat`.*did you mean `createChat`\?"):
        choose(parse_spec(text_of("messages-header-key")), "creatChat")


def test_of_several_operations_none_is_guessed() -> None:
    """They are listed, with what to write to choose one."""
    with pytest.raises(SpecError) as caught:
        choose(parse_spec(spec(_ask={"post": BODY}, _answer={"post": BODY}, _list={"get": {}})), None)
    assert str(caught.value) == (
        "2 operations can generate text (at `#/paths`); choose with `--operation`: `POST /ask`, `POST /answer`"
    )


def test_where_nothing_seems_to_generate_text_all_is_listed() -> None:
    """The likeliest first."""
    with pytest.raises(SpecError, match=r"no operation seems to generate text.*`POST /upload`, `GET /health`"):
        choose(parse_spec(spec(_health={"get": {}}, _upload={"post": {}})), None)


def test_one_path_can_be_several_operations() -> None:
    """Then its method is wanted."""
    with pytest.raises(SpecError, match="`/ask` is 2 operations"):
        choose(parse_spec(spec(_ask={"post": BODY, "get": {}})), "/ask")


def test_a_document_without_operations_says_so() -> None:
    """It may be a part of a larger one."""
    with pytest.raises(SpecError, match="has no operations"):
        choose(parse_spec("openapi: 3.1.0\ncomponents: {}\n"), None)


@pytest.mark.parametrize("path", ["/generate_stream", "/generate/stream", "/generateStream", "/stream/generate"])
def test_a_stream_of_its_own_path_belongs_to_the_whole_answer(path: str) -> None:
    """So that one mapping has both."""
    read = parse_spec(shown(document() | {"paths": {path: {"post": BODY}, "/generate": {"post": BODY}}}))
    chosen = choose(read, None)
    other = sibling(read, chosen)
    assert chosen.path == "/generate"
    assert other is not None
    assert other.path == path
    assert sibling(read, other) is None


def test_own_parameters_stand_over_those_of_the_path() -> None:
    """https://spec.openapis.org/oas/v3.1.1.html#operation-object: they override by name and place."""
    shared = [{"name": "v", "in": "query", "example": 1}, {"name": "v", "in": "header", "example": 2}]
    item = {"parameters": shared, "post": {**BODY, "parameters": [{"name": "v", "in": "query", "example": 3}]}}
    read = parse_spec(spec(_ask=item))
    assert [each["example"] for each, _ in parameters(read, choose(read, None))] == [3, 2]
