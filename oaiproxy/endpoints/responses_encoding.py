"""The answers of the Responses API: the response object, whole or at the end of a stream of events.

https://platform.openai.com/docs/api-reference/responses/object and /responses-streaming
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from oaiproxy import jsontext
from oaiproxy.canonical import Identity
from oaiproxy.endpoints.encoding import EVENT_STREAM, JSON, Encoder
from oaiproxy.endpoints.responses import Asked, rename
from oaiproxy.endpoints.responses_items import Item
from oaiproxy.endpoints.responses_output import INCOMPLETE, Output, Told
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.events import Event, Head, Usage
from oaiproxy.jsontext import Json

Keep: TypeAlias = Callable[[Item], None]
"""Takes a response that ended as it should, before its last bytes are written."""


def encoder(
    asked: Asked,
    identity: Identity,
    keep: Keep = lambda response: None,
    clock: Callable[[], float] | None = None,
) -> ResponseEncoder:
    """The encoder of the answer that was asked for; `clock` gives the seconds since 1970 at its end."""
    made = StreamEncoder if asked.call.stream else WholeEncoder
    return made(asked, identity, keep, clock or (lambda: identity.now))


class ResponseEncoder(Encoder):
    """The response object as it grows."""

    wants_usage = True

    def __init__(self, asked: Asked, identity: Identity, keep: Keep, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked = asked
        self.ended: Item | None = None
        """The response, once it has ended in whatever way."""
        self._keep = keep
        self.id = f"resp_{identity.token}"
        self._created = identity.created
        self._model = asked.call.model
        custom = frozenset(tool["name"] for tool in asked.tools if tool["type"] == "custom")
        self.output = Output(identity.token, custom, wants_logprobs=asked.call.fields.get("logprobs") is True)

    def _feed(self, event: Event) -> list[Told]:
        if isinstance(event, Head):
            self._model = event.model or self._model
            return []
        return self.output.feed(event)

    def object(self, status: str, usage: Usage | None = None, error: Json = None) -> Item:
        """The response as it stands."""
        asked = self._asked
        body = asked.call.sent
        reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
        reason = INCOMPLETE.get(self.output.reason) if self.output.reason else None
        ended = status in ("completed", "incomplete")
        made: Item = {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "completed_at": int(self._clock()) if status == "completed" else None,
            "background": asked.background,
            "error": error,
            "incomplete_details": {"reason": reason} if ended and reason else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": body.get("max_tool_calls"),
            "model": self._model,
            "output": self.output.items if status != "in_progress" else [],
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "prompt_cache_key": body.get("prompt_cache_key"),
            "reasoning": {key: _known(key, reasoning.get(key)) for key in ("effort", "summary")},
            "safety_identifier": body.get("safety_identifier"),
            "service_tier": _known("service_tier", body.get("service_tier")) or "default",
            "store": asked.store,
            "temperature": body.get("temperature", 1.0),
            "text": {"format": _told_format(text.get("format"))},
            "tool_choice": asked.tool_choice,
            "tools": asked.tools,
            "top_logprobs": body.get("top_logprobs", 0),
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation", "disabled"),
            "presence_penalty": body.get("presence_penalty", 0),
            "frequency_penalty": body.get("frequency_penalty", 0),
            "metadata": body.get("metadata", {}),
        }
        if verbosity := _known("verbosity", text.get("verbosity")):
            made["text"]["verbosity"] = verbosity
        if "user" in body:
            made["user"] = body["user"]
        if usage is not None:
            made["usage"] = usage_object(usage)
        return made

    def _ended(self, usage: Usage | None) -> Item:
        made = self.object("incomplete" if self.output.reason in INCOMPLETE else "completed", usage)
        self.ended = made
        self._keep(made)
        return made

    def open(self) -> bytes:
        """The bytes that can be written before the backend said anything."""
        return b""

    def fail(self, error: ApiError) -> bytes:
        """The response ends as one that failed; the bytes that tell of it."""
        rename(error, self._asked)
        self.output.abandon()
        self.ended = self.object("failed", error={"code": _code(error), "message": error.message})
        return b""

    def cancel(self) -> bytes:
        """The response ends as one that was cancelled; the bytes that tell of it."""
        self.output.abandon()
        self.ended = self.object("cancelled")
        return b""


class WholeEncoder(ResponseEncoder):
    """One response object."""

    content_type = JSON
    streams = False

    def feed(self, event: Event) -> bytes:
        """Nothing yet: the event is kept."""
        self._feed(event)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The whole object."""
        return jsontext.dump(self._ended(usage))


class StreamEncoder(ResponseEncoder):
    """A stream of events, the last of which holds the whole response."""

    content_type = EVENT_STREAM
    streams = True

    def __init__(self, asked: Asked, identity: Identity, keep: Keep, clock: Callable[[], float]) -> None:
        super().__init__(asked, identity, keep, clock)
        self._number = 0

    def feed(self, event: Event) -> bytes:
        """The events that an event makes; with the first of them the response is there."""
        told = self._feed(event)
        return self.open() + b"".join(map(self._event, told)) if told else b""

    def close(self, usage: Usage | None) -> bytes:
        """The event that ends the stream."""
        made = self._ended(usage)
        return self.open() + self._event({"type": f"response.{made['status']}", "response": made})

    def fail(self, error: ApiError) -> bytes:
        """The response that failed, and the error: some clients know the one, some the other."""
        super().fail(error)
        told: Told = {"type": "error", "code": error.code, "message": error.message, "param": error.param}
        return (
            self.open()
            + self._event({"type": "response.failed", "response": self.ended})
            + self._event(told | error.body())
        )

    def cancel(self) -> bytes:
        """An error, for the API has no event of this: without one, clients would take the stream for complete."""
        super().cancel()
        error = ApiError("The response was cancelled.", code="response_cancelled")
        told: Told = {"type": "error", "code": error.code, "message": error.message, "param": None}
        return self.open() + self._event(told | error.body())

    def open(self) -> bytes:
        """The events that begin the stream, if it has not begun."""
        if self._number:
            return b""
        made = self.object("in_progress")
        return b"".join(
            self._event({"type": kind, "response": made}) for kind in ("response.created", "response.in_progress")
        )

    def _event(self, told: Told) -> bytes:
        data = jsontext.dump({**told, "sequence_number": self._number})
        self._number += 1
        return b"event: " + str(told["type"]).encode() + b"\ndata: " + data + b"\n\n"


_WORDS = {
    "effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "summary": ("auto", "concise", "detailed"),
    "verbosity": ("low", "medium", "high"),
    "service_tier": ("default", "flex", "scale", "priority", "fast", "ultrafast"),
}
"""The words that a response can tell of: backends may take others, and a tier may leave the choice."""


def _known(key: str, value: Json) -> Json:
    return value if value in _WORDS[key] else None


def usage_object(usage: Usage) -> dict[str, Json]:
    """The usage, with all of its details."""
    prompt, completion = usage.prompt or 0, usage.completion or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.total if usage.total is not None else prompt + completion,
    }


def _told_format(format_: Json) -> Json:
    """The format as a response repeats it."""
    if not isinstance(format_, dict):
        return {"type": "text"}
    if format_["type"] != "json_schema":
        return {"type": format_["type"]}
    keys = ("type", "name", "description", "schema", "strict")
    return {"strict": None} | {key: format_[key] for key in keys if format_.get(key) is not None}


def _code(error: ApiError) -> str:
    """The one of the API's own codes that is nearest."""
    if error.status == 429:
        return "rate_limit_exceeded"
    return "invalid_prompt" if isinstance(error, ClientError) or error.status == 400 else "server_error"
