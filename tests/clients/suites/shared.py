"""What the suites share: where the proxy and the backend are, and what is said."""

from __future__ import annotations

import os
import urllib.request
from typing import Any

URL = os.environ["PROXY_URL"] + "/v1"
BACKEND = os.environ["BACKEND_URL"]
MODEL = "parrot"
KEY = "key-of-the-client"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather in a city", "parameters": CITY},
}


def user(content: Any) -> dict[str, Any]:
    """A message."""
    return {"role": "user", "content": content}


def wait_until(what: str, key: str) -> None:
    """Wait until the backend has `begun` the endless answer of that key, or sees that it was `left`."""
    with urllib.request.urlopen(f"{BACKEND}/{what}/{key}", timeout=60) as response:
        assert response.status == 200
