"""Events to the answers of `POST /v1/messages`: one message object, or a stream of blocks that open and close in turn.

A backend may tell of several tool calls at once, this API of one block after another. So what belongs to a block behind
the open one waits until that one is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from oaiproxy import jsontext
from oaiproxy.endpoints.encoding import EVENT_STREAM, JSON, Encoder
from oaiproxy.endpoints.messages_content import read_input, seal_state
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.events import Delta, Event, Finish, Head, Remainder, ToolCallDelta, Usage
from oaiproxy.jsontext import Json

SIGNATURE = "oaiproxy"
"""What stands for the signature of thoughts: clients leave out thoughts without one. State has a block of its own."""
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


@dataclass(slots=True, eq=False)
class Block:
    """One block, growing: text, thoughts or a tool call. `pieces` are those that were not told yet.

    One that clients do not look into has its data for an id, and no pieces.
    """

    kind: str
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """The arguments of a call so far."""
    open: bool = False
    closed: bool = False
    plain: bool | None = True
    """Whether pieces go out as they come: those of a call do if it begins an object; None until that is known."""

    def is_complete(self) -> bool:
        """Whether nothing more can come: of a call, whether its arguments are a whole object."""
        if self.kind != "tool_use":
            return True
        try:
            return isinstance(jsontext.parse("".join(self.said)), dict)
        except jsontext.JsonError:
            return False

    def content(self) -> dict[str, Json]:
        """The whole block."""
        text = "".join(self.pieces)
        if self.kind == "redacted_thinking":
            return {"type": self.kind, "data": self.id}
        if self.kind == "tool_use":
            return {"type": self.kind, "id": self.id, "name": self.name, "input": read_input(text)}
        signature = {"signature": SIGNATURE} if self.kind == "thinking" else {}
        return {"type": self.kind, self.kind: text} | signature


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer is to be: its id and model, until the backend tells its own; whether thoughts were asked for."""

    id: str
    model: str
    thinks: bool
    body: Callable[[ApiError], Json]
    """The body that tells of a failure."""


class _Message(Encoder):
    """The blocks of an answer, in the order in which they began."""

    wants_usage = True

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._id, self._model = asked.id, asked.model
        self._blocks: list[Block] = []
        self._calls: dict[int, Block] = {}
        self._hidden: list[str] = []
        self._extra: dict[str, Json] = {}
        self._reason = "end_turn"
        self._stop_string: str | None = None

    def _take(self, event: Event) -> tuple[Block, str] | None:
        """The block that an event adds to, and what it adds; None for one that adds to none."""
        match event:
            case Delta(text=text, kind=kind, choice=0):
                if not text:
                    return None
                if kind == "reasoning_content" and not self._asked.thinks:
                    self._hidden.append(text)
                    return None
                if kind == "refusal":
                    self._reason = "refusal"
                return self._last("thinking" if kind == "reasoning_content" else "text"), text
            case ToolCallDelta(index=index, choice=0):
                if index not in self._calls:
                    self._keep()  # before the call: some clients take the last block for one
                    self._calls[index] = Block("tool_use", event.id or "", event.name or "", plain=None)
                    self._blocks.append(self._calls[index])
                return self._calls[index], event.arguments
            case Finish(reason=reason, choice=0, stop=stop):
                if self._reason != "refusal" or reason != "stop":
                    self._reason = "stop_sequence" if stop is not None else _REASONS[reason]
                    self._stop_string = stop
            case Head():
                self._id = event.id if event.id and event.id.startswith("msg_") else self._id
                self._model = event.model or self._model
            case Remainder(items=items, owner=owner, choice=0):
                self._extra = {"oaiproxy": ({"of": owner} if owner else {}) | {"state": items}}
        return None

    def _last(self, kind: str) -> Block:
        if not self._blocks or self._blocks[-1].kind != kind:
            self._blocks.append(Block(kind))
        return self._blocks[-1]

    def _keep(self) -> None:
        """Add the block of what the client does not see and brings back: state, and thoughts it did not ask for.

        Those are needed where tools are called, for the model goes on with them.
        """
        fields: dict[str, Json] = {"extra_content": self._extra} if self._extra else {}
        if self._hidden:
            fields["reasoning_content"] = "".join(self._hidden)
        if fields:
            self._blocks.append(Block("redacted_thinking", seal_state(fields)))
        self._extra, self._hidden = {}, []

    def _complete(self) -> None:
        """Add what comes last."""
        if not self._calls:
            self._hidden = []
        self._keep()

    def _object(self, content: list[Json], reason: str | None, usage: Usage | None) -> dict[str, Json]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": self._stop_string,
            "usage": usage_object(usage),
        }


class MessageEncoder(_Message):
    """One `message` object."""

    content_type = JSON
    streams = False

    def feed(self, event: Event) -> bytes:
        """Nothing yet: the event is kept."""
        if (found := self._take(event)) is not None:
            found[0].pieces.append(found[1])
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The whole object."""
        self._complete()
        content = [block.content() for block in self._blocks]
        return jsontext.dump(self._object(content, self._reason, usage))


class EventEncoder(_Message):
    """A stream of events from `message_start` to `message_stop`."""

    content_type = EVENT_STREAM
    streams = True

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._begun = False
        self._at = 0
        """The index of the open block, or of the next one."""
        self._known = 0
        """Blocks for which those before were looked at."""

    def feed(self, event: Event) -> bytes:
        """The events that an event makes. Raises BackendError for more of a call that was complete."""
        if self._begun and isinstance(event, Head):
            return b""
        found = self._take(event)
        if found is None:
            return self._finish() if isinstance(event, Finish) and event.choice == 0 else b""
        block, text = found
        if block.closed:
            _refuse_more(text)
            return b""
        if block.kind == "tool_use":
            block.said.append(text)
        block.pieces.append(text)
        out = self._start()
        if len(self._blocks) > self._known:
            self._known = len(self._blocks)
            out += self._advance(self._known - 1)
        return out + self._told(block) if block.open else out

    def close(self, usage: Usage | None) -> bytes:
        """Why it ended, what it took, and the end."""
        delta = {"stop_reason": self._reason, "stop_sequence": self._stop_string}
        made = {"type": "message_delta", "delta": delta, "usage": usage_object(usage)}
        return self._finish() + _event("message_delta", made) + _event("message_stop", {"type": "message_stop"})

    def fail(self, error: ApiError) -> bytes:
        """The event that tells of a failure."""
        return _event("error", self._asked.body(error))

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return _event("message_start", {"type": "message_start", "message": self._object([], None, None)})

    def _finish(self) -> bytes:
        """All that waits, and the state, once."""
        self._complete()
        return self._start() + self._advance(len(self._blocks))

    def _advance(self, end: int) -> bytes:
        """Close blocks before that end that are complete, and open the one behind them."""
        out = b""
        while self._at < len(self._blocks):
            block = self._blocks[self._at]
            if not block.open:
                block.open = True
                empty = replace(block, pieces=[]).content()
                if "signature" in empty:
                    empty["signature"] = ""
                out += _event("content_block_start", self._of("content_block_start", content_block=empty))
                out += self._told(block)
            if self._at >= end or not (end == len(self._blocks) or block.is_complete()):
                break
            out += self._rest(block) + self._stop()
            block.closed = True
        return out

    def _told(self, block: Block) -> bytes:
        """What waits of the open block, as far as it can go out."""
        if block.plain is False:
            return b""
        text = "".join(block.pieces)
        if block.plain is None and (begun := text.lstrip()):
            block.plain = begun.startswith("{")
        if not block.plain:
            return b""
        block.pieces.clear()
        return self._delta(*_DELTAS[block.kind], text) if text else b""

    def _rest(self, block: Block) -> bytes:
        """What is left to tell of a block that ends: arguments that are no object, the mark of thoughts."""
        if block.kind == "thinking":
            return self._delta("signature_delta", "signature", SIGNATURE)
        if block.plain or not (made := read_input("".join(block.pieces))):
            return b""
        return self._delta(*_DELTAS[block.kind], jsontext.dump(made).decode())

    def _stop(self) -> bytes:
        out = _event("content_block_stop", self._of("content_block_stop"))
        self._at += 1
        return out

    def _delta(self, kind: str, key: str, text: str) -> bytes:
        return _event("content_block_delta", self._of("content_block_delta", delta={"type": kind, key: text}))

    def _of(self, kind: str, **more: Json) -> dict[str, Json]:
        return {"type": kind, "index": self._at, **more}


_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


def usage_object(usage: Usage | None) -> dict[str, Json]:
    """The counts: of the prompt what was not cached. What was written to a cache no backend tells apart."""
    usage = usage or Usage()
    prompt = usage.prompt or 0
    cached = min(usage.cached or 0, prompt)
    made: dict[str, Json] = {
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion or 0,
    }
    if usage.reasoning is not None:
        made["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return made


def _event(name: str, body: Json) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + jsontext.dump(body) + b"\n\n"


def _refuse_more(text: str) -> None:
    if text.strip():
        raise BackendError(
            "the backend added to the arguments of a tool call that was complete",
            code="upstream_mapping_mismatch",
            retry=False,
        )
