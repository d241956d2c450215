"""Promises of `oaiproxy.salvage`: what is sound in a broken document goes on to the later stages."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from oaiproxy.document import Document, load_document
from oaiproxy.salvage import salvage
from oaiproxy.validation import schema_errors

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas/mapping.schema.json").read_text())
WHOLE: dict[str, Any] = {
    "oaiproxy": 1,
    "models": ["m"],
    "backend": {"url": "https://h", "auth": {"bearer": "k"}},
    "chat": {"request": {"path": "/x", "body": {"q": "{{ prompt }}"}}, "response": {"text": "out"}},
}


def document(data: object) -> Document:
    found, _ = load_document(json.dumps(data), file="m.yaml", environment={}, read_file=str)
    assert found is not None
    return found


def changed(path: str, value: object) -> dict[str, Any]:
    data: Any = deepcopy(WHOLE)
    *owners, last = path.split(".")
    owner = data
    for step in owners:
        owner = owner[step]
    if value is None:
        del owner[last]
    else:
        owner[last] = value
    result: dict[str, Any] = data
    return result


def test_a_valid_document_stays_as_it_is() -> None:
    """Nothing is taken out without cause."""
    assert salvage(document(WHOLE), SCHEMA) == WHOLE


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("modles", ["m"]),
        ("models", None),
        ("models", "m"),
        ("models", ["m", 1]),
        ("backend", None),
        ("backend", [1]),
        ("backend.url", None),
        ("backend.url", 1),
        ("backend.auth", {"header": "x"}),
        ("backend.auth", {"bearer": "a", "query": "b", "value": "c"}),
        ("backend.auth", {}),
        ("backend.auth", 1),
        ("backend.auth", "bearer"),
        ("chat.response", "text"),
        ("chat.response", None),
        ("chat.stream", {"text": "a"}),
        ("chat.request.body_text", "x"),
        ("chat.stream", {"format": "sse", "by": "x", "events": [{"text": "a"}]}),
        ("oaiproxy", 2),
        ("examples", [{"request": 1}]),
    ],
)
def test_what_is_left_is_valid_and_the_templates_are_kept(path: str, value: object) -> None:
    """A fault in one block hides nothing in another."""
    broken = document(changed(path, value))
    before = deepcopy(broken.data)
    data = salvage(broken, SCHEMA)
    assert not list(schema_errors(data, SCHEMA))
    assert path == "chat.request.body_text" or data["chat"]["request"]["body"] == {"q": "{{ prompt }}"}
    assert broken.data == before


def test_an_unresolved_value_is_taken_out() -> None:
    """An empty string in its place would make findings of its own."""
    data = salvage(document(changed("chat.response.text", "${NONE}")), SCHEMA)
    assert data["chat"]["response"] == {}


def test_items_of_lists_keep_their_places() -> None:
    """Paths lead to the same places in the file after an item before them was found wrong."""
    data = salvage(document(changed("chat.request.body", {"l": ["${NONE}", "{{ prompt }}"]})), SCHEMA)
    assert data["chat"]["request"]["body"]["l"][1] == "{{ prompt }}"
