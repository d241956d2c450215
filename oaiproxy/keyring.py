"""The keys that let clients in: whose each is, what it opens, and how much it may have under way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

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


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is, and what it opens. As a context, one request of theirs."""

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

    def __enter__(self) -> Self:
        """Begin a request. Raises ClientError (429) when there are as many under way as may be."""
        self.admit(self.usage.requests)
        self.usage.requests += 1
        return self

    def admit(self, under_way: int) -> None:
        """Raises ClientError (429) when that is all that they may have under way."""
        most = self.key.requests
        if most is not None and under_way >= most:
            raise ClientError(
                f"This key has {most} requests under way, which is all that it may have at once.",
                status=429,
                type="rate_limit_error",
                code="rate_limit_exceeded",
                retry_after=RETRY_SECONDS,
                retry=True,
            )

    def __exit__(self, *_: object) -> None:
        self.usage.requests -= 1


class Keyring:
    """All keys, by their hashes; what is under way with those `before` goes on counting, by their names.

    A client's key is hashed once and the hash is looked up: the same work for one key and for a thousand. How long it
    takes could tell of hashes alone, and from a hash nobody gets to a key of 32 random bytes.
    """

    def __init__(self, keys: Iterable[Key], before: Keyring | None = None) -> None:
        usage = {} if before is None else {holder.name: holder.usage for holder in before.holders.values()}
        self.holders: dict[bytes, Holder] = {
            bytes.fromhex(key.sha256): Holder(key, usage.get(key.name) or Usage(), _pattern(key.models)) for key in keys
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
