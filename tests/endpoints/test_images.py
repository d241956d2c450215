"""Promises of `/v1/images/generations`: a prompt in, images out as they are asked for."""

from __future__ import annotations

from typing import Any

import pytest
from support import IDENTITY, assert_strict, needs_strict

from oaiproxy import jsontext
from oaiproxy.endpoints.images import DEFAULT_MODEL, encoder, parse
from oaiproxy.errors import BackendError
from oaiproxy.events import Result, Usage

DATA = {"base64": "AAAA", "media_type": "image/webp", "revised_prompt": "r"}
URL = {"url": "https://h/i"}


def made(*images: Any, usage: Usage | None = None, **fields: Any) -> Any:
    answer = encoder(parse({"prompt": "a", **fields}), IDENTITY)
    answer.feed(Result(list(images)))
    return jsontext.parse(answer.close(usage))


def test_a_request() -> None:
    """OpenAI's model by default; the prompt is what is counted."""
    call = parse({"prompt": "a", "n": 1})
    assert (call.model, call.fields, call.texts) == (DEFAULT_MODEL, {"prompt": "a"}, ("a",))


@pytest.mark.parametrize(
    ("wanted", "image", "got"),
    [
        ({}, DATA, {"revised_prompt": "r", "b64_json": "AAAA"}),
        ({"response_format": "url"}, DATA, {"revised_prompt": "r", "url": "data:image/webp;base64,AAAA"}),
        ({}, URL, URL),
        ({"response_format": "url"}, URL, URL),
    ],
)
def test_an_image(wanted: dict[str, str], image: Any, got: Any) -> None:
    """Base64 becomes an address where one is asked for."""
    assert made(image, **wanted) == {"created": IDENTITY.created, "data": [got]}


def test_an_address_is_no_base64() -> None:
    """And is not fetched."""
    with pytest.raises(BackendError) as caught:
        made(URL, response_format="b64_json")
    assert (caught.value.status, caught.value.param, caught.value.retry) == (400, "response_format", False)


@needs_strict
def test_the_answer_is_openais() -> None:
    """With usage and without."""
    assert_strict("ImagesResponse", [made(DATA, URL), made(URL, usage=Usage(prompt=1, completion=2, total=3))])
    assert "usage" not in made(URL, usage=Usage(prompt=1, total=1))
