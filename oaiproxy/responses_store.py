"""The responses that are kept after their end: in memory, a bounded number of them, for a bounded time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from oaiproxy import jsontext
from oaiproxy.eventlog import EventLog
from oaiproxy.jsontext import Json


@dataclass(frozen=True, slots=True)
class Kept:
    """One response as JSON: itself, and what it answered with all that came before, its own items last."""

    response: bytes = field(repr=False)
    input: bytes = field(repr=False)
    output: bytes = field(repr=False)
    expires: float
    ids: tuple[str, ...]
    """Those of its own items: the ids of others are the client's, and anybody can guess them."""
    status: str = "completed"
    background: bool = False
    events: EventLog | None = field(default=None, repr=False)
    """What was streamed of it, if it is to be streamed again."""
    owner: str = ""
    """For whose key it was made."""

    @property
    def size(self) -> int:
        """Bytes."""
        events = 0 if self.events is None else self.events.bytes
        return len(self.response) + len(self.input) + len(self.output) + events

    def input_items(self) -> list[Json]:
        """The items that it answered."""
        items: list[Json] = jsontext.parse(self.input)
        return items

    def conversation(self) -> list[Json]:
        """All items up to and with its own."""
        return self.input_items() + list(jsontext.parse(self.output))


class ResponseStore:
    """Responses by their ids; the oldest leave when there are too many, or they are too large together.

    `count` and `size` (in bytes) of 0 keep nothing; `seconds` is how long each is kept.
    """

    def __init__(self, count: int, size: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.configure(count, size, seconds)
        self._clock = clock
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._owners: dict[str, str] = {}
        self._lock = threading.RLock()  # large requests are read, and large answers made, in other threads
        self.bytes = 0
        """What all of them take."""

    def configure(self, count: int, size: int, seconds: float) -> None:
        """Bound it anew: what is too much leaves with the next that comes."""
        self._count, self._size, self._seconds = count, size, seconds

    def __len__(self) -> int:
        return len(self._kept)

    def put(
        self,
        response: dict[str, Json],
        before: Sequence[Json],
        own: Sequence[Json],
        events: EventLog | None = None,
        owner: str = "",
    ) -> None:
        """Keep a response that answered items of its `own` after those that were there `before`, for its `owner`."""
        output = response["output"]
        ids = tuple(item["id"] for item in output)
        kept = Kept(
            jsontext.dump(response),
            jsontext.dump([*before, *own]),
            jsontext.dump(output),
            self._clock() + self._seconds,
            ids,
            response.get("status", "completed"),
            response.get("background", False),
            events,
            owner,
        )
        if kept.size > self._size:
            kept = replace(kept, events=None)
        if kept.size > self._size or not self._count:
            return
        name = response["id"]
        with self._lock:
            self.delete(name)
            self._kept[name] = kept
            self._owners.update(dict.fromkeys(ids, name))
            self.bytes += kept.size
            while len(self._kept) > self._count or self.bytes > self._size:
                self.delete(next(iter(self._kept)))

    def get(self, name: str, owner: str = "") -> Kept | None:
        """The response of that id; None when it is not kept, or no longer, or for somebody else."""
        with self._lock:
            now = self._clock()
            while self._kept and next(iter(self._kept.values())).expires <= now:
                self.delete(next(iter(self._kept)))
            kept = self._kept.get(name)
        return kept if kept is not None and kept.owner == owner else None

    def delete(self, name: str) -> bool:
        """Forget a response. Says whether it was there."""
        with self._lock:
            kept = self._kept.pop(name, None)
            if kept is None:
                return False
            self.bytes -= kept.size
            for each in kept.ids:
                if self._owners.get(each) == name:
                    del self._owners[each]
            return True

    def item(self, name: str, owner: str = "") -> dict[str, Json] | None:
        """An item that a response made, by the item's id."""
        kept = self.get(self._owners.get(name, ""), owner)
        if kept is None:
            return None
        return next((item for item in jsontext.parse(kept.output) if item["id"] == name), None)
