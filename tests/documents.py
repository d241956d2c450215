"""OpenAPI documents for tests: those of tests/openapi, and small ones around one operation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oaiproxy import jsontext

FOLDER = Path(__file__).parent / "openapi"
DOCUMENTS = sorted(path for path in FOLDER.iterdir() if path.suffix in (".yaml", ".json"))


def text_of(name: str) -> str:
    """A document of tests/openapi."""
    (path,) = FOLDER.glob(f"{name}.*")
    return path.read_text("utf-8")


def document(request: Any = None, answer: Any = None, **more: Any) -> dict[str, Any]:
    """A document with `POST /generate` alone: the schemas of what it takes and answers, and keys beside `paths`."""
    operation: dict[str, Any] = {"operationId": "generate", "responses": {"200": {"description": "OK"}}}
    if request is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": request}}}
    if answer is not None:
        operation["responses"]["200"]["content"] = {"application/json": {"schema": answer}}
    operation |= more.pop("operation", {})
    made = {
        "openapi": "3.1.0",
        "info": {"title": "Test", "version": "1"},
        "servers": [{"url": "https://api.example.com"}],
    }
    return made | {"paths": {"/generate": {"post": operation}}} | more


def shown(made: Any) -> str:
    """A document as text."""
    return jsontext.dump(made).decode()
