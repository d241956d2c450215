"""A model whose backend fails to those that answer in its place, as the configuration lists them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from oaiproxy.addresses import origin
from oaiproxy.auth import Passthrough
from oaiproxy.canonical import Call, Identity
from oaiproxy.config import Config
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.exchange import Exchange
from oaiproxy.mapping import Mapping as CompiledMapping
from oaiproxy.routes import Routes

FALLBACK = "x-oaiproxy-fallback"
"""The header that names the model which answered in place of another."""
MOST = 8
"""Models that are asked instead, at most."""
Build: TypeAlias = Callable[[str, int], Awaitable[Exchange]]
"""Makes the exchange of the same request with another model, given which try it is. Raises ApiError."""


class Fallbacks:
    """Who answers a request: `exchange` now, and another one after each that failed."""

    def __init__(self, exchange: Exchange, names: Iterable[str], build: Build) -> None:
        self.exchange = exchange
        self.model: str | None = None
        """The model that answers in place of the one that was asked for."""
        self.failed: dict[str, str | None] = {}
        """The codes of those that did not answer, by model."""
        self.turned: Callable[[Encoder], object] = lambda encoder: None
        """Told of the encoder of every exchange that takes over."""
        self._first = exchange
        self._names = iter(dict.fromkeys(name for name in names if name != exchange.call.model))
        self._build = build
        self._tries = 0

    @property
    def headers(self) -> dict[str, str]:
        """What an answer says of it in its headers."""
        if self.model is None:
            return {}
        plain = self.model.isascii() and self.model.isprintable()
        return {FALLBACK: self.model if plain else quote(self.model)}

    async def next(self, error: ApiError, *, committed: bool) -> Exchange | None:
        """The exchange of the next model that takes the request; None where there is none, and it is the first again.

        Where headers were sent already, a model that leaves out more than they say does not take it.
        """
        self.failed[self.exchange.call.model] = error.code
        for name in self._names:
            if self._tries == MOST:
                break
            self._tries += 1
            try:
                exchange = await self._build(name, self._tries)
            except ApiError as refusal:
                self.failed[name] = refusal.code
                continue
            if committed and not set(exchange.dropped) <= set(self._first.dropped):
                self.failed[name] = "unsupported_parameter"
                continue
            self.model = name
            return self._turn(exchange)
        self.model = None
        self._turn(self._first)
        return None

    def _turn(self, exchange: Exchange) -> Exchange:
        self.exchange = exchange
        self.turned(exchange.encoder)
        return exchange


def may_be_mended(error: ApiError) -> bool:
    """Whether another backend may answer where one failed so: not what the client did, nor what the proxy does."""
    if not isinstance(error, BackendError) or error.code == "server_shutdown":
        return False
    return error.status >= 500 or error.status == 429


def asked_of(call: Call, model: str) -> Call:
    """The call as if the client had named another model."""
    request = {**call.request, "model": model} if "model" in call.request else call.request
    sent = {**call.sent, "model": model} if "model" in call.sent else call.sent
    return replace(call, model=model, request=request, sent=sent)


def identity_of(identity: Identity, tries: int) -> Identity:
    """That of a try: chance of its own, so that no backend takes it for the same request."""
    token, uuid = (_altered(text, tries) for text in (identity.token, identity.uuid))
    return replace(identity, token=token, uuid=uuid)


def is_trusted(mapping: CompiledMapping, first: CompiledMapping) -> bool:
    """Whether a mapping may answer for another: the client's own key goes to no other server than it is for."""
    if not isinstance(mapping.backend.auth, Passthrough):
        return True
    return origin(mapping.backend.url) == origin(first.backend.url)


def fallbacks_of(config: Config, mappings: Iterable[tuple[CompiledMapping, Path]]) -> Mapping[str, Sequence[str]]:
    """The models that answer in place of others, by the files of the mappings of those."""
    found = ((mapping.file, config.settings.get(path)) for mapping, path in mappings)
    return {file: settings.fallback for file, settings in found if settings is not None and settings.fallback}


def unknown(fallbacks: Mapping[str, Sequence[str]], routes: Routes) -> list[str]:
    """The models that nobody serves now."""
    known = {model["id"] for model in routes.models()}
    return sorted({name for names in fallbacks.values() for name in names} - known)


def _altered(text: str, tries: int) -> str:
    """With another hexadecimal digit, which `drafts` and `fan` leave alone."""
    digit = format(int(text[-6], 16) ^ tries, "x")
    return text[:-6] + digit + text[-5:]
