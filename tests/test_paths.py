"""Promises of paths: every way in which clients write one leads to the path that is meant, and no other does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.paths import Found, Table, spellings

CHAT, MODELS, MODEL, LIVE = "/v1/chat/completions", "/v1/models", "/v1/models/{model:.+}", "/livez"
STORED, HEALTH = "/v1/responses/{id}/input_items", "/v1/health"
TABLE = Table([CHAT, MODELS, MODEL, LIVE, STORED, "/", "/health", HEALTH])

WRITTEN: dict[str, Found] = {
    CHAT: Found(CHAT, {}),
    "/v1/chat/completions/": Found(CHAT, {}),
    "//v1/chat/completions": Found(CHAT, {}),
    "/v1//chat///completions//": Found(CHAT, {}),
    "/v1/v1/chat/completions": Found(CHAT, {}),
    "/v1/v1/v1/chat/completions": Found(CHAT, {}),
    "/chat/completions": Found(CHAT, {}),
    "/openai/v1/chat/completions": Found(CHAT, {}),
    "/v1/openai/chat/completions": Found(CHAT, {}),
    "/openai/chat/completions": Found(CHAT, {}),
    "/openai/deployments/my/chat/completions": Found(CHAT, {}, "my"),
    "/openai/deployments/my/chat/completions/": Found(CHAT, {}, "my"),
    "/openai/deployments/org%2Fname/chat/completions": Found(CHAT, {}, "org/name"),
    "/openai/deployments/org/name/chat/completions": Found(CHAT, {}, "org/name"),
    "/openai/deployments/a%252Fb/chat/completions": Found(CHAT, {}, "a%2Fb"),
    "/deployments/my/chat/completions": Found(CHAT, {}, "my"),
    "/v1/engines/my/chat/completions": Found(CHAT, {}, "my"),
    "/openai/deployments/v1/chat/completions": Found(CHAT, {}, "v1"),
    MODELS: Found(MODELS, {}),
    "/v1/models/": Found(MODELS, {}),
    "/models": Found(MODELS, {}),
    "/openai/models": Found(MODELS, {}),
    "/models/org/name": Found(MODEL, {"model": "org/name"}),
    "/models/org%2fname": Found(MODEL, {"model": "org/name"}),
    "/v1/v1/models/v1": Found(MODEL, {"model": "v1"}),
    "/responses/r_1/input_items": Found(STORED, {"id": "r_1"}),
    "/openai/responses/r_1/input_items/": Found(STORED, {"id": "r_1"}),
    "/": Found("/", {}),
    "//": Found("/", {}),
    "/health/": Found("/health", {}),
    "/v1/health": Found(HEALTH, {}),
    "/livez/": Found(LIVE, {}),
}


@pytest.mark.parametrize("path", WRITTEN)
def test_what_a_path_means(path: str) -> None:
    """Its pattern, its fields, and the deployment it names."""
    assert TABLE.find(path) == WRITTEN[path]


@pytest.mark.parametrize(
    "path",
    [
        "*",
        "/v1",
        "/v2/chat/completions",
        "/api/chat/completions",
        "/v1/chat",
        "/v1/chat/completions/more",
        "/v1/livez",
        "/V1/chat/completions",
        "/openai/deployments/chat/completions",
        "/openai/deployments/",
        "/openai/deployments/a/b/c/d/e/f/g/h/i/chat/completions",
        "/v1/../v1/chat/completions",
        "/v1/responses/a/b/input_items",
        "/v1/chat%2Fcompletions",
    ],
)
def test_what_nobody_serves(path: str) -> None:
    """Is not found, however near it is."""
    assert TABLE.find(path) is None


def test_the_text_around_braces_is_text() -> None:
    """A point is a point."""
    table = Table(["/openapi.json", "/v1/a.b/{id}"])
    assert table.find("/v1/a.b/1") == Found("/v1/a.b/{id}", {"id": "1"})
    assert table.find("/v1/aXb/1") is None


@given(st.lists(st.sampled_from(["", "v1", "openai", "deployments", "a", "%2F", "models"]), max_size=12))
def test_any_path_has_few_spellings(segments: list[str]) -> None:
    """However long; and all of them begin with a slash and end without one."""
    found = list(spellings("/" + "/".join(segments)))
    assert 2 <= len(found) <= 10
    for path, _ in found:
        assert path.startswith("/")
        assert "//" not in path
        assert path == "/" or not path.endswith("/")
