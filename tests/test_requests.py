"""The `request` block becomes templates of a path, headers and a body, or findings at their places."""

from __future__ import annotations

import pytest
from support import chat, codes

from oaiproxy.requests import UnfitError, path_piece

HEAD = "oaiproxy: 1\nmodels: [m]\n"


PATHS = {
    "relative": "g",
    "with a query": "/g?a=1",
    "with a fragment": "/g#a",
    "with dots": "/a/../g",
    "with dots beside a template": "/{{ user }}/../g",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_mistakes_in_a_path(path: str) -> None:
    """A path that would lead elsewhere is found at load."""
    text = f"{HEAD}backend: {{url: 'http://b'}}\nchat: {{request: {{path: '{path}'}}, response: {{text: t}}}}\n"
    assert codes(text) == [("E105", 4)]


def test_a_question_mark_inside_a_template_is_no_query() -> None:
    """Only the path's own text is looked at."""
    chat(response="{text: t}", request="{path: \"/{{ user | default('?..#') }}/g\", body: {a: 1}}")


def test_a_header_is_given_once() -> None:
    """However its name is written."""
    text = f"{HEAD}backend: {{url: 'http://b'}}\nchat:\n  response: {{text: t}}\n"
    assert codes(text + "  request: {headers: {x-a: 1, X-A: 2}}\n") == [("E106", 6)]


@pytest.mark.parametrize(
    ("value", "piece"),
    [("a/b", "a%2Fb"), (5, "5"), (True, "true"), ("\ud83d", "%3F"), (["@cf", "a/b"], "@cf/a%2Fb")],
)
def test_a_piece_of_a_path(value: object, piece: str) -> None:
    """Any value stays one segment, but for a list, which is several."""
    assert path_piece(value) == piece


@pytest.mark.parametrize("value", ["", ".", "..", [], ["a", ".."]])
def test_what_is_no_piece_of_a_path(value: object) -> None:
    """It would change the path."""
    with pytest.raises(UnfitError):
        path_piece(value)
