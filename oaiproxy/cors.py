"""What browsers are told about pages that may call the proxy (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

ANY = "*"
EXPOSED = (
    "x-request-id, request-id, x-oaiproxy-dropped, x-oaiproxy-fallback, openai-processing-ms, retry-after, "
    "retry-after-ms, x-should-retry"
)
"""The headers of an answer that a page may read beside those that it always may."""
MAX_HEADERS = 4096
"""Characters of the names of headers that a page asks for."""
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")


class Cors:
    """The origins whose pages may call; `max_age` is how long a browser may keep that in mind, in seconds."""

    def __init__(self, origins: Sequence[str] = (), max_age: float = 600) -> None:
        self.configure(origins, max_age)

    def configure(self, origins: Sequence[str] = (), max_age: float = 600) -> None:
        """Take other ones."""
        self._any = ANY in origins
        self._origins = frozenset(origin.lower() for origin in origins)
        self._max_age = str(int(max_age))

    def allows(self, origin: str | None) -> bool:
        """Whether pages of an origin may call; None is for clients that are no pages."""
        return origin is None or self._any or origin.lower() in self._origins

    def granted(self, origin: str | None) -> dict[str, str]:
        """The headers of any answer: `origin` is the request's header."""
        if not self._origins:
            return {}
        made = {} if self._any else {"Vary": "Origin"}
        if origin is not None and self.allows(origin):
            made["Access-Control-Allow-Origin"] = ANY if self._any else origin
            made["Access-Control-Expose-Headers"] = EXPOSED
        return made

    def preflight(self, headers: Mapping[str, str], methods: str) -> dict[str, str]:
        """The further headers of the answer to `OPTIONS`: `methods` are those of the path.

        Whatever headers a page asks for are allowed: which pages may call is the question, not with what words, and
        `*` would leave out `Authorization`.
        """
        origin = headers.get("Origin")
        if origin is None or not self.allows(origin) or "Access-Control-Request-Method" not in headers:
            return {}
        made = {"Access-Control-Allow-Methods": methods, "Access-Control-Max-Age": self._max_age}
        names = headers.get("Access-Control-Request-Headers", "").strip()
        if len(names) <= MAX_HEADERS and _NAMES.fullmatch(names):
            made["Access-Control-Allow-Headers"] = names
        return made
