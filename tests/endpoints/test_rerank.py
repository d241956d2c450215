"""Promises of `/v1/rerank`: a query and documents in, a ranking out."""

from __future__ import annotations

from typing import Any

import pytest
from support import IDENTITY

from oaiproxy import jsontext
from oaiproxy.endpoints.rerank import encoder, parse
from oaiproxy.errors import ClientError
from oaiproxy.events import Head, Result, Usage

BODY: dict[str, Any] = {"model": "m", "query": "q", "documents": ["a", {"text": "b"}]}


def made(**fields: Any) -> Any:
    answer = encoder(parse({**BODY, **fields}), IDENTITY)
    answer.feed(Head("r-1", None))
    answer.feed(Result([{"index": 1, "score": 0.5}, {"index": 0, "score": 0.1, "document": "A"}]))
    return jsontext.parse(answer.close(Usage(prompt=2, total=2)))


def test_a_request() -> None:
    """Documents as texts, all of them counted."""
    call = parse(BODY)
    assert (call.fields["documents"], call.texts) == (["a", "b"], ("q", "a", "b"))


@pytest.mark.parametrize("missing", ["model", "query", "documents"])
def test_what_must_be_there(missing: str) -> None:
    """Each is named."""
    with pytest.raises(ClientError) as caught:
        parse({key: value for key, value in BODY.items() if key != missing})
    assert caught.value.param == missing


def test_a_ranking() -> None:
    """The documents come with it when they are asked for: the backend's, or the client's."""
    assert made() == {
        "id": "r-1",
        "model": "m",
        "results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.1}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
    assert [each["document"] for each in made(return_documents=True)["results"]] == [{"text": "b"}, {"text": "A"}]
