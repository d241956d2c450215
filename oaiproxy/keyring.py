"""The keys that let clients in: whose each is, what it opens, and how much it may have under way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from multidict import MultiMapping

from oaiproxy.clientkeys import AUTHORIZATION, HEADERS, client_key
from oaiproxy.config import Key
from oaiproxy.errors import ClientError

RETRY_SECONDS = 1
"""When a client whose key has too much under way is to ask again."""


@dataclass(slots=True)
class Usage:
    """What is under way with a key, through all versions of the configuration."""

    requests: int = 0


class Turn:
    """One request of a key's holder, for as long as anybody holds it."""

    __slots__ = ("_holders", "_usage")

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._holders = 1
        usage.requests += 1

    def hold(self) -> None:
        """Be one more who holds it, and leaves it later."""
        self._holders += 1

    def leave(self) -> None:
        """End it, if nobody else holds it."""
        self._holders -= 1
        self._usage.requests -= not self._holders


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is, and what it opens."""

    key: Key
    usage: Usage = field(default_factory=Usage)
    pattern: re.Pattern[str] | None = None
    """The models that it opens; None is all."""

    @property
    def name(self) -> str:
        """What the configuration calls them."""
        return self.key.name

    def allows(self, model: str) -> bool:
        """Whether they may use a model."""
        return self.pattern is None or self.pattern.fullmatch(model) is not None

    def begin(self) -> Turn:
        """Begin a request. Raises ClientError (429) when there are as many under way as may be."""
        most = self.key.requests
        if most is not None and self.usage.requests >= most:
            raise ClientError(
                f"This key has {most} requests under way, which is all that it may have at once.",
                status=429,
                type="rate_limit_error",
                code="rate_limit_exceeded",
                retry_after=RETRY_SECONDS,
                retry=True,
            )
        return Turn(self.usage)


class Keyring:
    """All keys, by their hashes; what is under way with those `before` goes on counting, by their names.

    A client's key is hashed once and the hash is looked up: the same work for one key and for a thousand. How long it
    takes could tell of hashes alone, and from a hash nobody gets to a key of 32 random bytes.
    """

    def __init__(self, keys: Iterable[Key], before: Keyring | None = None) -> None:
        counted = before.usage.items() if before is not None else ()
        self.usage: dict[str, Usage] = {name: each for name, each in counted if each.requests}
        """What is under way, by names; also of those that are gone, for they may come back before it ends."""
        self.holders: dict[bytes, Holder] = {
            bytes.fromhex(key.sha256): Holder(key, self.usage.setdefault(key.name, Usage()), _pattern(key.models))
            for key in keys
        }
        """By the hashes of their keys."""

    def holder(self, headers: MultiMapping[str]) -> Holder:
        """Who asks. Raises ClientError: 401 without a key that is known, 400 where it is not clear which one is meant.

        `headers` takes names in any case.
        """
        for name in HEADERS:
            if name in headers and len(set(headers.getall(name))) > 1:
                told = "Authorization" if name == AUTHORIZATION else name
                raise ClientError(f"The request has several {told} headers that differ.", code="invalid_request")
        key = client_key(headers)
        if not key:
            message = "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'."
            raise ClientError(message, status=401, code="missing_api_key")
        found = self.holders.get(sha256(key.encode("utf-8", "surrogateescape")).digest())
        if found is None:
            raise ClientError("Incorrect API key provided.", status=401, code="invalid_api_key")
        return found


def _pattern(models: Sequence[str]) -> re.Pattern[str] | None:
    """What fits the models, `*` being any part of a name."""
    if not models:
        return None
    return re.compile("|".join(".*".join(map(re.escape, each.split("*"))) for each in models), re.DOTALL)
