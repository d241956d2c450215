"""`POST /v1/completions`: its requests to canonical calls, events to `text_completion` objects.

The prompt is a conversation of one user message, so that any mapping with a `chat` block serves this endpoint too;
several prompts are as many conversations (see `oaiproxy.promptlists`).
https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.encoding import DONE, EVENT_STREAM, JSON, Encoder, sse, usage_object
from oaiproxy.endpoints.reading import read_body
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Finish, Head, Logprobs, ToolCallDelta, Usage
from oaiproxy.jsontext import Json
from oaiproxy.logprobs import legacy_logprobs
from oaiproxy.parameters import COMPLETIONS, invalid_value, unknown_fields
from oaiproxy.promptlists import read_prompts

ENDPOINT = "completions"
_FINISH = {"tool_calls": "stop"}
"""Reasons that this endpoint does not know, as the nearest that it does."""


def parse(body: Json) -> Call:
    """A completion request as a canonical call. Raises ClientError that names the field at fault."""
    request, fields, model, stream, include_usage = read_body(body, COMPLETIONS)
    prompt = read_prompts(request.get("prompt"))
    text = prompt if isinstance(prompt, str) else "".join(each for each in prompt if isinstance(each, str))
    messages: list[dict[str, Json]] = [{"role": "user", "content": text}]
    fields.pop("prompt", None)
    if not isinstance(prompt, str):
        fields["prompt"] = prompt
    choices = fields.get("n", 1)
    if fields.get("best_of", choices) == choices:
        fields.pop("best_of", None)
    elif fields["best_of"] < choices:
        raise invalid_value("best_of", "it is smaller than 'n'")
    return Call(ENDPOINT, model, stream, include_usage, messages, fields, unknown_fields(request, COMPLETIONS), request)


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer that the call asks for."""
    parts = ("cmpl-" + identity.token, identity.created, call.model)
    logprobs = call.fields.get("logprobs") is not None
    if call.stream:
        return ChunkEncoder(*parts, call.include_usage, logprobs)
    return CompletionEncoder(*parts, logprobs)


class _Completion:
    """The keys that whole answers and chunks share."""

    def __init__(self, answer_id: str, created: int, model: str) -> None:
        self._id = answer_id
        self._created = created
        self._model = model

    def _name(self, head: Head) -> None:
        self._id = head.id or self._id
        self._model = head.model or self._model

    def _object(self, choices: list[Json]) -> dict[str, Json]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


class ChunkEncoder(_Completion, Encoder):
    """A stream of `text_completion` events, ended by `[DONE]`."""

    content_type = EVENT_STREAM
    streams = True

    def __init__(
        self, answer_id: str, created: int, model: str, include_usage: bool, wants_logprobs: bool = False
    ) -> None:
        super().__init__(answer_id, created, model)
        self._wants_logprobs = wants_logprobs
        self._offsets: dict[int, int] = {}
        """By choice, the characters of the tokens whose log probabilities were told."""
        self.wants_usage = include_usage
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._lead = b""
        self._spoke: set[int] = set()
        self._refusals: dict[int, list[str]] = {}

    def feed(self, event: Event) -> bytes:
        """The chunks that an event makes. Raises BackendError for a tool call; a refusal waits for the end."""
        match event:
            case Delta(text=text, kind="content", choice=choice):
                self._spoke.add(choice)
                return self._chunk(choice, jsontext.dump(text), b"null")
            case Delta(text=text, kind="refusal", choice=choice):
                self._refusals.setdefault(choice, []).append(text)
            case ToolCallDelta():
                raise _no_tools()
            case Finish(reason=reason, choice=choice):
                last = self._chunk(choice, b'""', jsontext.dump(_FINISH.get(reason, reason)))
                refused = "" if choice in self._spoke else "".join(self._refusals.get(choice, ()))
                return self._chunk(choice, jsontext.dump(refused), b"null") + last if refused else last
            case Head() if not self._lead:
                self._name(event)
            case Logprobs(choice=choice) if self._wants_logprobs:
                told = legacy_logprobs([event], self._offsets.get(choice, 0))
                if told is not None:
                    self._offsets[choice] = told["text_offset"][-1] + len(told["tokens"][-1])
                    return self._chunk(choice, b'""', b"null", jsontext.dump(told))
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The usage chunk, if it was asked for, and `[DONE]`."""
        if usage is None or not self.wants_usage:
            return DONE
        return sse(jsontext.dump(self._object([]) | {"usage": usage_object(usage)})) + DONE

    def _chunk(self, choice: int, text: bytes, reason: bytes, logprobs: bytes = b"null") -> bytes:
        if not self._lead:
            self._lead = b"data: " + jsontext.dump(self._object([]))[: -len("]}")] + b'{"index":'
        index = str(choice).encode()
        end = b',"logprobs":' + logprobs + b',"finish_reason":' + reason + b"}]" + self._tail
        return self._lead + index + b',"text":' + text + end


class CompletionEncoder(_Completion, Encoder):
    """One `text_completion` object."""

    content_type = JSON
    streams = False
    wants_usage = True

    def __init__(self, answer_id: str, created: int, model: str, wants_logprobs: bool = False) -> None:
        super().__init__(answer_id, created, model)
        self._wants_logprobs = wants_logprobs
        self._logprobs: dict[int, list[Logprobs]] = {}
        self._texts: dict[int, list[str]] = {}
        self._refusals: dict[int, list[str]] = {}
        self._reasons: dict[int, str] = {}

    def feed(self, event: Event) -> bytes:
        """Nothing yet: the event is kept. Raises BackendError for a tool call."""
        match event:
            case Delta(text=text, kind="content" | "refusal" as kind, choice=choice):
                kept = self._texts if kind == "content" else self._refusals
                kept.setdefault(choice, []).append(text)
            case ToolCallDelta():
                raise _no_tools()
            case Finish(reason=reason, choice=choice):
                self._reasons[choice] = _FINISH.get(reason, reason)
            case Head():
                self._name(event)
            case Logprobs(choice=choice) if self._wants_logprobs:
                self._logprobs.setdefault(choice, []).append(event)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The whole object."""
        choices: list[Json] = [
            {
                "index": choice,
                "text": self._text(choice),
                "logprobs": legacy_logprobs(self._logprobs.get(choice, ())),
                "finish_reason": reason,
            }
            for choice, reason in sorted(self._reasons.items())
        ]
        made = self._object(choices)
        return jsontext.dump(made | {"usage": usage_object(usage)} if usage is not None else made)

    def _text(self, choice: int) -> str:
        """The text of a choice; a refusal stands for what is not there, as it has no place of its own here."""
        return "".join(self._texts.get(choice) or self._refusals.get(choice, []))


def _no_tools() -> BackendError:
    """The failure for what this endpoint cannot tell: an answer without it would be another one."""
    return BackendError(
        "the backend called a tool, which an answer of /v1/completions cannot tell; use /v1/chat/completions",
        code="upstream_mapping_mismatch",
        retry=False,
    )
