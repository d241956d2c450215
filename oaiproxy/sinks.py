"""What a mapping picks from each frame of a reply, and how it reads: the compiled form of `response` and `stream`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from oaiproxy import jsontext
from oaiproxy.events import FinishReason
from oaiproxy.failures import NO_ERRORS, ErrorSelectors
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick
from oaiproxy.scopes import Scope

Render: TypeAlias = Callable[[Scope], Any]
"""A template of the request."""

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_length": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
}
"""What common words for the end of an answer mean, in any case, where a mapping does not say otherwise."""


@dataclass(frozen=True, slots=True)
class FinishReasons:
    """The mapping's `finish_reasons`. A value of None is "not yet"; `*` is the rest."""

    table: Mapping[str, str | None] = field(default_factory=dict)

    def resolve(self, value: Json) -> tuple[str | None, bool]:
        """OpenAI's reason (or `auto`, or None for "not yet") for the backend's, and whether anybody knew it."""
        word = value if isinstance(value, str) else jsontext.dump(value).decode()
        if word in self.table:
            return self.table[word], True
        if "*" in self.table:
            return self.table["*"], True
        known = FINISH_REASONS.get(word.lower())
        return known or "stop", known is not None


@dataclass(frozen=True, slots=True)
class ToolCallPicks:
    """Where a frame holds a piece of a tool call."""

    each: Pick | None = None
    """The pieces that a frame holds, to which the picks below are relative; without it, it holds one."""
    index: Pick | None = None
    id: Pick | None = None
    name: Pick | None = None
    arguments: Pick | None = None
    arguments_at: Pick | None = None
    """Pieces of the arguments, each `{path, value, more}`."""
    state: Pick | None = None


@dataclass(frozen=True, slots=True)
class Sinks:
    """What to pick from a frame, and what each piece is."""

    text: Pick | None = None
    reasoning: Pick | None = None
    refusal: Pick | None = None
    tool_calls: Pick | None = None
    tool_call: ToolCallPicks | None = None
    finish_reason: Pick | None = None
    logprobs: Pick | None = None
    annotations: Pick | None = None
    state: Pick | None = None
    choices: Pick | None = None
    """The items that the sinks above are relative to; without it there is one choice, the frame."""
    choice_index: Pick | None = None
    usage: tuple[tuple[str, Pick], ...] = ()
    id: Pick | None = None
    model: Pick | None = None
    done: Pick | None = None
    error: Pick | ErrorSelectors | None = None
    fallback: bool = False
    """Whether what it says is taken only if nothing was said before."""
    where: str = ""
    """The text selector, for the client."""
    place: str = ""
    """Its file and line in the mapping, for the log."""
    listed: bool = True
    """Whether the mapping names this kind of event; what it does not name is counted."""
    catches: bool = False
    """Whether a frame that calls itself an error is one: the mapping says nothing else about it."""
    plain: bool = False
    """Whether nothing but text is told of a choice."""
    personal: bool = True
    """Whether a choice is told anything here."""

    @property
    def speaks(self) -> bool:
        """Whether an answer can come from here."""
        return any((self.text, self.reasoning, self.refusal, self.tool_calls, self.tool_call))


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read one kind of reply."""

    choose: Callable[[Json, Envelope], Sequence[Sinks]]
    streamed: bool
    name: Callable[[Json, Envelope], Json] | None = None
    """What a frame that no rule lists is called."""
    data: Literal["json", "text"] = "json"
    end: bytes | None = None
    cumulative: bool = False
    continues: bool = False
    """Whether cumulative text that was rewritten goes on; else it is a fault."""
    prefix: Render | None = None
    suffix: Render | None = None
    """Templates of the request for what is taken out at the ends of the text."""
    tokens: tuple[str, ...] = ()
    reasoning_tags: tuple[str | None, str] | None = None
    many: bool = False
    """Whether the mapping tells choices apart."""
    keeps_state: bool = False
    """Whether reasoning is kept beside it, for the state of a message that belongs to it."""
    owner: str = ""
    """The name of the mapping, which state is marked with."""
    must_finish: bool = False
    goes_on: bool = False
    """Whether a last finish reason that means "not yet" tells that more was to come: of streams without an end mark."""
    finish_reasons: FinishReasons = field(default_factory=FinishReasons)
    secrets: Collection[str] = field(default=frozenset(), repr=False)
    errors: ErrorSelectors = NO_ERRORS
    """The mapping's `errors`, which failures in an answer are read with too."""
