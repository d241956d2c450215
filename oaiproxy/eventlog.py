"""The events of a stream, kept while it is made and after, for those who follow it: at once, later, or once more."""

from __future__ import annotations

import asyncio

from oaiproxy.outlets import Made, Outlet

MAX_BYTES = 4 * 1024 * 1024
"""Of one stream; the first events are forgotten when there are more."""
AT_ONCE = 500
"""Events in one write."""
END = b"\n\n"


class EventLog:
    """Events by their numbers, which count from 0. `ended` says that none follows."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self.ended = False
        self.bytes = 0
        """What is kept of them."""
        self.first = 0
        """The number of the first event that is kept."""
        self.followers = 0
        """How many follow the stream now."""
        self._limit = limit
        self._broken = False
        self._events: list[bytes] = []
        self._news = asyncio.Event()

    @property
    def following(self) -> int:
        """The number of the event that comes next."""
        return self.first + len(self._events)

    def add(self, data: bytes, *, last: bool = False, broken: bool = False) -> None:
        """Keep whole events. A stream that is `broken` ends for its followers without the body's end."""
        events = data.split(END)[:-1]
        self._events += events
        self.bytes += len(data)
        if self.bytes > self._limit:
            self._forget()
        self.ended, self._broken = last, broken
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, number: int, outlet: Outlet[Made]) -> Made:
        """Write the events from one on as they come, to their end. Raises ConnectionResetError for a laggard."""
        self.followers += 1
        try:
            while True:
                if number < self.first:
                    raise ConnectionResetError("the client reads too slowly: events were forgotten before it had them")
                start = number - self.first
                some = self._events[start : start + AT_ONCE]
                number += len(some)
                if some:
                    await outlet.write(b"".join(event + END for event in some))
                elif self.ended:
                    return await (outlet.break_off(b"") if self._broken and outlet.begun else outlet.end(b""))
                else:
                    await self._news.wait()
        finally:
            self.followers -= 1
            outlet.close()

    def _forget(self) -> None:
        """Keep the later half."""
        count = 0
        while self.bytes > self._limit // 2 and count < len(self._events):
            self.bytes -= len(self._events[count]) + len(END)
            count += 1
        del self._events[:count]
        self.first += count
