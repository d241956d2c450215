"""What of a client's request does not reach the backend, as data: each field with its reason and its line."""

from __future__ import annotations

from collections.abc import Iterator

from oaiproxy.entrances import Entrance
from oaiproxy.exchange import Exchange
from oaiproxy.explained_sends import Subject, place
from oaiproxy.jsontext import Json
from oaiproxy.parameters import Unread
from oaiproxy.policy import fields_of, unread_field
from oaiproxy.source import Source
from oaiproxy.variants import canonical_name

_OF_MESSAGES = {
    "messages": "no template reads some of the messages; the client is told in `x-oaiproxy-dropped`",
    "tool_calls": "no template reads the tool calls of a message; the client is told in `x-oaiproxy-dropped`",
}
_OUTCOMES = {
    Unread.DROP: "dropped",
    Unread.IGNORE: "ignored",
    Unread.REFUSE: "refused",
    Unread.EMULATE: "emulated",
}
_REASONS = {
    "dropped": "no template reads it; the client is told in `x-oaiproxy-dropped`",
    "ignored": "no template reads it, and it does not change the answer",
    "refused": "no template reads it, and it changes what the answer means",
    "emulated": "no template reads it: the proxy itself gives effect to it",
}


def drops(subject: Subject, entrance: Entrance, exchange: Exchange) -> Iterator[dict[str, Json]]:
    """The client's fields that do not reach the backend."""
    mapping, call = subject.mapping, entrance.call
    explained = _Drops(subject, entrance)
    known = fields_of(call.endpoint)
    told = set()
    for name in call.fields:
        if name not in known:
            continue
        unread = unread_field(call.endpoint, name, exchange.reads, mapping.unsupported)
        if unread is not None and name not in exchange.dropped:
            told.add(name)
            yield explained.of(name, _OUTCOMES[unread])
    for name in exchange.dropped:
        if name not in told:
            yield explained.of(name, "dropped")
    raw = any(read.startswith(("request", "extra.*")) for read in exchange.reads)
    for name in call.extra:
        if not raw and f"extra.{name}" not in exchange.reads:
            message = "OpenAI does not define it, and no template reads it"
            yield {"field": name, "outcome": "ignored", "reason": message, "source": None}
    for name in entrance.dropped:
        yield {"field": name, "outcome": "dropped", "reason": "a chat request has nothing of the kind", "source": None}


class _Drops:
    """The reasons, by a mapping."""

    def __init__(self, subject: Subject, entrance: Entrance) -> None:
        self._subject = subject
        self._named = entrance.param
        self._model = entrance.call.model

    def of(self, name: str, outcome: str) -> dict[str, Json]:
        by_model = self._by_model(name)
        if by_model is not None:
            reason = f"`models.{self._model}.drop` names it; the client is told in `x-oaiproxy-dropped`"
            return {"field": self._named(name), "outcome": outcome, "reason": reason, "source": place(by_model.span())}
        overrides = self._subject.root.get("on_unsupported")
        key = next((key for key in (name, "default") if overrides is not None and key in overrides.value), None)
        source = overrides[key].span(key=True) if overrides is not None and key is not None else None
        reason = _OF_MESSAGES.get(name, _REASONS[outcome]) if outcome == "dropped" else _REASONS[outcome]
        if source is not None and outcome in ("dropped", "ignored"):
            reason += f", as `on_unsupported.{key}` says"
        return {"field": self._named(name), "outcome": outcome, "reason": reason, "source": place(source)}

    def _by_model(self, name: str) -> Source | None:
        """Where a model says that a field is left out."""
        models = self._subject.root.get("models")
        described = models.get(self._model) if models is not None and isinstance(models.value, dict) else None
        drop = described.get("drop") if described is not None and isinstance(described.value, dict) else None
        return next((each for each in drop or () if canonical_name(each.value) == canonical_name(name)), None)
