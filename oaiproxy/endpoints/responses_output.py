"""What a backend says to the output items of a response, and every change of them as the events that tell of it.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from oaiproxy import jsontext
from oaiproxy.endpoints.responses_items import Item, pack
from oaiproxy.errors import BackendError
from oaiproxy.events import (
    Annotations,
    Delta,
    Event,
    Finish,
    FinishReason,
    Logprobs,
    Remainder,
    ToolCallDelta,
)
from oaiproxy.jsontext import Json

Told: TypeAlias = dict[str, Json]
"""An event of a stream, but for its number in it."""

MAX_OUTPUT = 32 * 1024 * 1024
"""Characters of one response: all of it is kept until its end, which repeats it."""
INCOMPLETE: Mapping[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons for which a response is not complete."""


@dataclass(slots=True)
class _Open:
    """An item that still grows. `part` is what its text belongs to."""

    item: Item
    index: int
    kind: str
    part: Item | None = None
    pieces: list[str] = field(default_factory=list)

    def place(self, *, part: str = "") -> Told:
        """Where an event happened."""
        made: Told = {"item_id": self.item["id"], "output_index": self.index}
        if part:
            made[part] = len(self.item["content" if part == "content_index" else "summary"]) - 1
        return made

    def is_whole(self) -> bool:
        """Whether the arguments of a call are a whole object. The text of a custom tool may always grow."""
        if self.kind != "function_call" or not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(jsontext.parse("".join(self.pieces)), dict)
        except jsontext.JsonError:
            return False

    def text(self) -> str:
        """The text that came since the part began."""
        text = "".join(self.pieces)
        self.pieces.clear()
        return text


class Output:
    """The items of one response. `custom` names the tools that take text in place of JSON."""

    def __init__(self, token: str, custom: frozenset[str] = frozenset(), *, wants_logprobs: bool = False) -> None:
        self.items: list[Item] = []
        self.reason: FinishReason | None = None
        """Why the answer ended, once it has."""
        self._token = token
        self._custom = custom
        self._wants_logprobs = wants_logprobs
        self._speech: _Open | None = None
        """The message or the reasoning under way."""
        self._calls: dict[int, _Open] = {}
        self._remainder: Remainder | None = None
        self._early: list[Json] = []
        """Log probabilities that came before their text."""
        self._size = 0

    def feed(self, event: Event) -> list[Told]:
        """What an event makes. Raises BackendError for an answer that there was only one place for, or no end of."""
        if getattr(event, "choice", 0):
            raise _mismatch("the backend told of a second choice where one was asked for")
        match event:
            case Delta(text=text, kind=kind) if text:
                return self._grown(len(text)) + self._said(text, kind)
            case ToolCallDelta():
                return self._grown(len(event.arguments)) + self._called(event)
            case Logprobs(content=content) if self._wants_logprobs and content:
                return self._weighed(content)
            case Annotations(items=items) if items:
                return self._annotated(items)
            case Remainder():
                self._remainder = event
            case Finish(reason=reason):
                return self._finish(reason)
        return []

    def abandon(self) -> None:
        """The answer broke off: what is there of its items stays, as incomplete."""
        self._close_speech("incomplete")
        for call in self._calls.values():
            self._close_call(call, "incomplete")
        self._calls.clear()

    def _grown(self, size: int) -> list[Told]:
        self._size += size
        if self._size > MAX_OUTPUT:
            message = f"the backend's answer is longer than {MAX_OUTPUT} characters"
            raise BackendError(message, code="upstream_response_too_large", retry=False)
        return []

    def _said(self, text: str, kind: str) -> list[Told]:
        if kind == "reasoning_content":
            told = self._thinking()
            assert self._speech is not None
            self._speech.pieces.append(text)
            place = self._speech.place(part="summary_index")
            return [*told, {"type": "response.reasoning_summary_text.delta", **place, "delta": text}]
        told = self._speaking("output_text" if kind == "content" else "refusal")
        assert self._speech is not None
        self._speech.pieces.append(text)
        place = self._speech.place(part="content_index")
        if kind == "content":
            return [*told, {"type": "response.output_text.delta", **place, "delta": text, "logprobs": []}]
        return [*told, {"type": "response.refusal.delta", **place, "delta": text}]

    def _weighed(self, content: list[Json]) -> list[Told]:
        speech = self._speech
        if speech is None or speech.part is None or speech.part["type"] != "output_text":
            self._early += content
            return []
        speech.part["logprobs"] += content
        place = speech.place(part="content_index")
        return [{"type": "response.output_text.delta", **place, "delta": "", "logprobs": content}]

    def _annotated(self, items: list[Json]) -> list[Told]:
        told = self._speaking("output_text")
        assert self._speech is not None
        assert self._speech.part is not None
        place = self._speech.place(part="content_index")
        for item in items:
            # Chat has the fields of some kinds under the kind's own name, the Responses API beside it.
            inner = item.get(item["type"])
            made = {"type": item["type"], **inner} if isinstance(inner, dict) else item
            number = len(self._speech.part["annotations"])
            self._speech.part["annotations"].append(made)
            told.append(
                {
                    "type": "response.output_text.annotation.added",
                    **place,
                    "annotation_index": number,
                    "annotation": made,
                }
            )
        return told

    def _called(self, event: ToolCallDelta) -> list[Told]:
        told: list[Told] = []
        if event.name is not None:
            told += self._close_speech() + self._close_complete()
            custom = event.custom or event.name in self._custom
            kind = "custom_tool_call" if custom else "function_call"
            made: Item = {"type": kind, "call_id": event.id or "", "name": event.name}
            made |= {"input": ""} if custom else {"arguments": ""}
            self._calls[event.index] = self._open("ctc" if custom else "fc", made, told)
        call = self._calls.get(event.index)
        if call is None:
            _refuse_more(event.arguments)
            return told
        if event.arguments:
            call.pieces.append(event.arguments)
            told.append({"type": f"{_GROWTH[call.kind]}.delta", **call.place(), "delta": event.arguments})
        return told

    def _thinking(self) -> list[Told]:
        """Be in the midst of reasoning."""
        if self._speech is not None and self._speech.kind == "reasoning":
            return []
        told = self._close_speech() + self._close_complete()
        speech = self._speech = self._open("rs", {"type": "reasoning", "summary": []}, told)
        speech.part = {"type": "summary_text", "text": ""}
        speech.item["summary"].append(speech.part)
        place = speech.place(part="summary_index")
        return [*told, {"type": "response.reasoning_summary_part.added", **place, "part": dict(speech.part)}]

    def _speaking(self, kind: str) -> list[Told]:
        """Be in the midst of a message's part of that kind."""
        told: list[Told] = []
        if self._speech is None or self._speech.kind != "message":
            told += self._close_speech() + self._close_complete()
            self._speech = self._open("msg", {"type": "message", "role": "assistant", "content": []}, told)
        speech = self._speech
        if speech.part is not None and speech.part["type"] == kind:
            return told
        told += self._close_part(speech)
        part: Item = {"type": kind, "refusal": ""}
        if kind == "output_text":
            part = {"type": kind, "text": "", "annotations": [], "logprobs": []}
        speech.part = part
        speech.item["content"].append(part)
        place = speech.place(part="content_index")
        told.append({"type": "response.content_part.added", **place, "part": _copied(part)})
        if kind == "output_text" and self._early:
            told += self._weighed(self._early)
            self._early = []
        return told

    def _open(self, prefix: str, item: Item, told: list[Told]) -> _Open:
        index = len(self.items)
        made: Item = {"id": f"{prefix}_{self._token}{index:02d}", **item, "status": "in_progress"}
        self.items.append(made)
        told.append({"type": "response.output_item.added", "output_index": index, "item": _copied(made)})
        return _Open(made, index, item["type"])

    def _close_part(self, speech: _Open) -> list[Told]:
        part = speech.part
        if part is None:
            return []
        speech.part = None
        if part["type"] == "summary_text":
            part["text"] = text = speech.text()
            place = speech.place(part="summary_index")
            return [
                {"type": "response.reasoning_summary_text.done", **place, "text": text},
                {"type": "response.reasoning_summary_part.done", **place, "part": dict(part)},
            ]
        place = speech.place(part="content_index")
        if part["type"] == "refusal":
            part["refusal"] = text = speech.text()
            done: Told = {"type": "response.refusal.done", **place, "refusal": text}
        else:
            part["text"] = text = speech.text()
            done = {"type": "response.output_text.done", **place, "text": text, "logprobs": part["logprobs"]}
        return [done, {"type": "response.content_part.done", **place, "part": _copied(part)}]

    def _close_speech(self, status: str = "completed") -> list[Told]:
        speech, self._speech = self._speech, None
        return [] if speech is None else [*self._close_part(speech), self._done(speech, status)]

    def _close_complete(self) -> list[Told]:
        """Close the calls to which nothing can come any more: a client may run their tools while others still grow."""
        whole = [index for index, call in sorted(self._calls.items()) if call.is_whole()]
        return [told for index in whole for told in self._close_call(self._calls.pop(index), "completed")]

    def _close_call(self, call: _Open, status: str) -> list[Told]:
        text = call.text()
        done: Told = {"type": f"{_GROWTH[call.kind]}.done", **call.place()}
        if call.kind == "function_call":
            call.item["arguments"] = text
            done |= {"name": call.item["name"], "arguments": text}
        else:
            call.item["input"] = text
            done["input"] = text
        return [done, self._done(call, status)]

    def _done(self, open_: _Open, status: str) -> Told:
        open_.item["status"] = status
        return {"type": "response.output_item.done", "output_index": open_.index, "item": _copied(open_.item)}

    def _finish(self, reason: FinishReason) -> list[Told]:
        self.reason = reason
        told: list[Told] = []
        if not self.items:
            told += self._speaking("output_text")
        status = "incomplete" if reason in INCOMPLETE else "completed"
        told += self._close_speech(status)
        for _, call in sorted(self._calls.items()):
            told += self._close_call(call, status)
        self._calls.clear()
        if self._remainder is not None:
            owner = {"of": self._remainder.owner} if self._remainder.owner else {}
            state = pack({"oaiproxy": owner | {"state": self._remainder.items}})
            item = self._open("rs", {"type": "reasoning", "summary": [], "encrypted_content": state}, told)
            told.append(self._done(item, "completed"))
        return told


_GROWTH = {"function_call": "response.function_call_arguments", "custom_tool_call": "response.custom_tool_call_input"}
"""What the events of an argument that grows are called."""


def _refuse_more(text: str) -> None:
    if text.strip():
        raise _mismatch("the backend added to the arguments of a tool call that was complete")


def _copied(item: Item) -> Item:
    """The item as it is now, for what is written later."""
    return {
        key: [dict(each) if isinstance(each, dict) else each for each in value] if isinstance(value, list) else value
        for key, value in item.items()
    }


def _mismatch(message: str) -> BackendError:
    return BackendError(message, code="upstream_mapping_mismatch", retry=False)
