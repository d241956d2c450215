"""What the endpoints beyond chat share: reading a request's fields, and an answer that is one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.encoding import JSON, Encoder
from oaiproxy.events import Event, Head, Result, Usage
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.parameters import missing, no_object, read_fields, unknown_fields


def read_call(endpoint: str, body: Json, required: str, default_model: str = "") -> Call:
    """A request as a call, its fields checked. Raises ClientError that names the field at fault."""
    if not isinstance(body, dict):
        raise no_object(body)
    table = INPUTS[endpoint]
    fields = read_fields(body, table)
    model = fields.get("model") or default_model
    if not model:
        raise missing("model")
    if fields.get(required) is None:
        raise missing(required)
    return Call(endpoint, model, False, False, [], fields, unknown_fields(body, table), body)


def kept_here(call: Call, key: str) -> Call:
    """The call without a field in its body that the proxy itself gives effect to: the backend would do it again."""
    return replace(call, request={name: value for name, value in call.request.items() if name != key})


class ObjectEncoder(Encoder):
    """An answer that is one object: subclasses say which, of the result, the head and the usage."""

    content_type = JSON
    streams = False
    wants_usage = False

    def __init__(self, call: Call, identity: Identity) -> None:
        self.call = call
        self.identity = identity
        self.head = Head(None, call.model)
        self.result: Json = None

    def feed(self, event: Event) -> bytes:
        """Nothing yet: the event is kept."""
        match event:
            case Head(id=given, model=model):
                self.head = Head(given, model or self.call.model)
            case Result(value=value):
                self.result = self.written(value)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The whole object."""
        return jsontext.dump(self.object(usage))

    def written(self, result: Json) -> Json:
        """The result as the client asked for it. Raises BackendError when it cannot be written so."""
        return result

    def object(self, usage: Usage | None) -> Mapping[str, Json]:
        """The object."""
        raise NotImplementedError


def input_usage(usage: Usage | None) -> dict[str, int]:
    """The usage of what generates no text."""
    prompt = (usage.prompt or 0) if usage else 0
    return {"prompt_tokens": prompt, "total_tokens": max(prompt, (usage.total or 0) if usage else 0)}
