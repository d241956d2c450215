"""What one choice of a reply says: its text on the way to events, its tool calls, its state, why it ended."""

from __future__ import annotations

from collections.abc import Callable

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Finish, FinishReason, Kind, Remainder
from oaiproxy.jsontext import Json
from oaiproxy.opaque import MAX_DECODED, MAX_ENCODED, are_items, seal
from oaiproxy.sinks import Plan, Sinks
from oaiproxy.textfilters import Terms, TextFilters
from oaiproxy.toolcalls import ToolCalls


class Choice:
    """One choice, growing."""

    __slots__ = (
        "_continues",
        "_cumulative",
        "_filters",
        "_held",
        "_keeps",
        "_plain",
        "_said",
        "_state",
        "asked",
        "finish",
        "index",
        "left_out",
        "resolved",
        "spoke",
        "stopped",
        "thought",
        "tool_calls",
        "unfinished",
    )

    def __init__(self, index: int, plan: Plan, terms: Terms, new_id: Callable[[], str], left_out: set[str]) -> None:
        self.index = index
        self.resolved = False
        """Whether the mapping found its text, be it empty."""
        self.asked: tuple[Sinks, str] | None = None
        """Where the text was looked for and not found, and the keys that were there."""
        self.spoke = False
        """Whether it said any text, or called a tool, be it not told yet."""
        self.thought = False
        """Whether any reasoning came."""
        self.stopped = False
        """Whether its text was cut at one of the client's stop strings: nothing follows."""
        self.finish: str | None = None
        self.unfinished = False
        """Whether the last reason that came means "not yet"."""
        self.left_out = left_out
        """State too large for a client, by what it is of, for the log."""
        self._state = _State(plan.owner, left_out)
        self.tool_calls = ToolCalls(index, new_id, self._state.seal, self._state.late, terms.custom, terms.single)
        self._cumulative = plan.cumulative
        self._continues = plan.continues
        self._keeps = plan.keeps_state
        filtered = plan.tokens or plan.reasoning_tags or terms.prefix or terms.suffix or terms.stop
        self._filters = TextFilters(terms, plan.tokens, plan.reasoning_tags) if filtered else None
        self._plain = not (plan.cumulative or filtered)
        """Whether text goes out as it comes."""
        self._said = ""
        """Cumulative text so far."""
        self._held: dict[Kind, str] = {}
        """By kind, the half of a character that waits for its other half."""

    def say(self, text: str, kind: Kind, events: list[Event]) -> bool:
        """Take text that came, and tell what of it goes out; whether there was any that is new."""
        if self._plain and kind == "content" and not self._held and not "\ud800" <= text[-1] <= "\udbff":
            self.spoke = True
            events.append(Delta(text, kind, self.index))
            return True
        cumulative = self._cumulative and kind == "content"
        text = self._suffix(text) if cumulative else self._joined(text, kind)
        if not text:
            return False
        if kind == "reasoning_content":
            self.thought = True
            if self._keeps:
                self._state.think(text)
        else:
            self.spoke = True
        if kind != "content":
            self.resolved = True
        if self._filters is None or kind != "content":
            events.append(Delta(text, kind, self.index))
        else:
            self._filter(text, events)
        return True

    def keep(self, found: Json) -> None:
        """Take state that belongs to the message: one item, or a list of them, of which each may have its own text."""
        self._state.keep(found)

    def close(self) -> list[Event]:
        """What is still to say at the end."""
        events: list[Event] = []
        for kind, held in self._held.items():
            rest = "\ufffd" * len(held)
            if kind != "content" or self._filters is None:
                events += [Delta(rest, kind, self.index)] if held else []
        if self._filters is not None:
            self._filter("\ufffd" * len(self._held.get("content", "")), events, more=False)
        events += self.tool_calls.close()
        if self.tool_calls.unwanted:
            self.left_out.add("tool calls after the first")
        if self._state.items and (told := self._state.rest(self.index)) is not None:
            events.append(told)
        reason = self._reason()
        stop = self._filters.stop if self._filters is not None and reason == "stop" else None
        events.append(Finish(reason, self.index, stop))
        return events

    def _reason(self) -> FinishReason:
        if self.stopped or self.finish in (None, "auto", "stop"):
            return "tool_calls" if self.tool_calls else "stop"
        return self.finish  # type: ignore[return-value]

    def _filter(self, text: str, events: list[Event], more: bool = True) -> None:
        assert self._filters is not None
        for kind, piece in self._filters.feed(text, more):
            if kind == "reasoning_content":
                self.thought = True
                if self._keeps:
                    self._state.think(piece)
            events.append(Delta(piece, kind, self.index))
        self.stopped = self._filters.stopped

    def _suffix(self, text: str) -> str:
        """What cumulative text adds. Half a character at its end (U+FFFD or a lone surrogate) is told when whole."""
        said = self._said
        whole = text.rstrip(_HALVES)
        self._held["content"] = text[len(whole) :] if len(whole) >= len(said) else ""
        if said.startswith(whole) and not said[len(whole) :].strip():
            return ""  # nothing new, or white space at the end that the backend trims
        if whole.startswith(said):
            self._said = whole
            return whole[len(said) :]
        if self._continues:
            new = whole[_common(said, whole) :]
            self._said = whole if new else said
            return new
        raise BackendError(
            "the backend changed text that was already passed on",
            code="upstream_mapping_mismatch",
            retry=False,
            detail=f"cumulative text does not begin with the {len(said)} characters that were passed on",
        )

    def _joined(self, text: str, kind: Kind) -> str:
        """The text with a surrogate pair that was cut between two frames made whole again."""
        held = self._held.pop(kind, "") if self._held else ""
        if held:
            text = held + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._held[kind] = text[-1]
            text = text[:-1]
        if held:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return text


class _State:
    """The state of a choice on its way to the client: in the id of a tool call, or in the message.

    It does not know its choice: no circle of references is left for the garbage collector.
    """

    __slots__ = ("_left_out", "_owner", "_size", "_thoughts", "_waiting", "items")

    def __init__(self, owner: str, left_out: set[str]) -> None:
        self.items: list[Json] = []
        """Those that wait for a tool call to take them along."""
        self._owner = owner
        self._left_out = left_out
        self._waiting = 0
        """Bytes of the items."""
        self._thoughts: list[str] = []
        """Reasoning since the last item."""
        self._size = 0

    def keep(self, found: Json) -> None:
        """Take items that belong to the message."""
        for each in found if isinstance(found, list) else [found]:
            if not each:
                continue
            item = each if isinstance(each, dict) and "state" in each and are_items([each]) else {"state": each}
            if "text" not in item and self._thoughts:
                item = {"text": "".join(self._thoughts), **item}
            self._thoughts.clear()
            self._size = 0
            self._wait(item)

    def think(self, text: str) -> None:
        """Take reasoning that its state will need; too much of it is left out."""
        self._size += len(text)
        if self._size <= MAX_DECODED:
            self._thoughts.append(text)
        elif self._thoughts:
            self._thoughts.clear()
            self._left_out.add("the reasoning of a state")

    def seal(self, call_id: str, state: Json) -> str:
        """The id of a call with its state, and with what waits for it."""
        before, self.items, self._waiting = self.items, [], 0
        sealed = seal(call_id, state, before, self._owner)
        if sealed is None and before:
            self._left_out.add("the state of a message")
            sealed = seal(call_id, state, [], self._owner)
        if sealed is None:
            self._left_out.add("the state of a tool call")
        return sealed or call_id

    def late(self, call_id: str, state: Json) -> None:
        """Take the state of a call whose id was told before."""
        self._wait({"id": call_id, "state": state})

    def rest(self, choice: int) -> Event | None:
        """What no tool call took along, unless it is too large."""
        if self._waiting > MAX_ENCODED or not are_items(self.items):
            self._left_out.add("the state of a message")
            return None
        return Remainder(self.items, choice, self._owner)

    def _wait(self, item: Json) -> None:
        """Keep an item for the next call that opens, or for the end."""
        try:
            size = self._waiting + len(jsontext.dump(item))
        except jsontext.JsonError:
            size = MAX_DECODED + 1
        if size > MAX_DECODED:
            self._left_out.add("the state of a message")
            return
        self._waiting = size
        self.items.append(item)


_HALVES = "\ufffd" + "".join(map(chr, range(0xD800, 0xDC00)))


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if other.startswith(one[:middle]):
            low = middle
        else:
            high = middle - 1
    return low
