"""Places for requests, and who waits for them: first come, first served, and never more than the bounds.

Who needs the same places waits in one lane. Of the lanes whose places are free, the one goes on whose first request has
waited longest; so a mapping that is full holds nobody up but those who ask for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType

from oaiproxy.config import Limits, Settings
from oaiproxy.errors import ApiError, OverloadedError

NOTHING_SAID: Mapping[str, Settings] = MappingProxyType({})


class Bound:
    """So many places, how many of them are taken, and how many requests may wait and do wait for one."""

    __slots__ = ("limit", "queue", "taken", "waiting")

    def __init__(self, limit: int, queue: int) -> None:
        self.limit = limit
        self.queue = queue
        self.taken = 0
        self.waiting = 0

    @property
    def free(self) -> bool:
        """Whether there is a place."""
        return self.taken < self.limit


class Ticket:
    """A request that waits. `call` is called once, when it has its place or is sent away."""

    __slots__ = ("call", "lane", "number", "refusal", "served")

    def __init__(self, lane: Lane, number: int, call: Callable[[], None]) -> None:
        self.lane = lane
        self.number = number
        self.call = call
        self.served = False
        self.refusal: ApiError | None = None


class Lane:
    """The requests that need a place of each of these bounds; the last of them is the mapping's."""

    __slots__ = ("bounds", "tickets")

    def __init__(self, *bounds: Bound) -> None:
        self.bounds = bounds
        self.tickets: dict[Ticket, None] = {}

    @property
    def free(self) -> bool:
        """Whether there is a place for one more."""
        return all(bound.free for bound in self.bounds)

    @property
    def first(self) -> Ticket:
        """Who has waited longest."""
        return next(iter(self.tickets))


class Place:
    """A place that is taken, for as long as anybody holds it."""

    __slots__ = ("_gate", "_holders", "_lane")

    def __init__(self, gate: Gate, lane: Lane) -> None:
        self._gate = gate
        self._lane = lane
        self._holders = 1

    def hold(self) -> None:
        """Be one more who holds it, and leaves it later."""
        self._holders += 1

    def move(self, lane: Lane) -> bool:
        """Take the place of another mapping for that of this one, if there is one now. Nobody waits with a place."""
        if lane is not self._lane:
            before, now = self._lane.bounds[-1], lane.bounds[-1]
            if now is not before and not now.free:
                return False
            now.taken += 1
            self._lane = lane
            self._gate.give_back(before)
        return True

    def leave(self) -> None:
        """Give it back, if nobody else holds it."""
        self._holders -= 1
        if not self._holders:
            self._gate.leave(self._lane)


class Gate:
    """Where requests take their places. Nobody waits for whom there is a place, at any time."""

    def __init__(self) -> None:
        limits = Limits()
        self._requests = Bound(limits.requests, limits.queue)
        self._streams = Bound(limits.streams, limits.queue)
        self._patience = limits.queue_timeout
        self._settings = NOTHING_SAID
        self._mappings: dict[str, Bound] = {}
        self._lanes: dict[tuple[str, bool], Lane] = {}
        self._queued: dict[Lane, None] = {}
        self._numbers = 0
        self._closed: ApiError | None = None

    @property
    def taken(self) -> int:
        """Requests that have a place."""
        return self._requests.taken

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return self._requests.waiting

    def configure(self, limits: Limits, settings: Mapping[str, Settings] = NOTHING_SAID) -> None:
        """Set the bounds, also anew: who has a place keeps it, who waits goes on waiting. `settings` are by mapping."""
        self._patience = limits.queue_timeout
        self._settings = settings
        self._requests.limit, self._requests.queue = limits.requests, limits.queue
        self._streams.limit, self._streams.queue = limits.streams, limits.queue
        for mapping, bound in list(self._mappings.items()):
            bound.limit, bound.queue = self._said_of(mapping)
            if not bound.taken and not bound.waiting:  # it may be gone; else its bound is made again
                del self._mappings[mapping]
                for streams in (False, True):
                    self._lanes.pop((mapping, streams), None)
        self._serve()

    def lane(self, mapping: str, streams: bool) -> Lane:
        """Where requests go that want this mapping, as a stream or not."""
        lane = self._lanes.get((mapping, streams))
        if lane is None:
            bound = self._mappings.get(mapping)
            if bound is None:
                bound = self._mappings[mapping] = Bound(*self._said_of(mapping))
            bounds = (self._requests, self._streams, bound) if streams else (self._requests, bound)
            lane = self._lanes[mapping, streams] = Lane(*bounds)
        return lane

    def enter(self, lane: Lane) -> Place | None:
        """A place, if there is one now."""
        for bound in lane.bounds:
            if bound.taken >= bound.limit:
                return None
        for bound in lane.bounds:
            bound.taken += 1
        return Place(self, lane)

    def join(self, lane: Lane, call: Callable[[], None]) -> Ticket:
        """Wait, after `enter` found no place. Raises OverloadedError when too many wait already."""
        if self._closed is not None:
            raise self._closed
        if any(bound.waiting >= bound.queue for bound in (self._requests, lane.bounds[-1])):
            raise OverloadedError(detail="too many requests wait for a place")
        self._numbers += 1
        ticket = Ticket(lane, self._numbers, call)
        lane.tickets[ticket] = None
        self._queued[lane] = None
        for bound in lane.bounds:
            bound.waiting += 1
        return ticket

    def quit(self, ticket: Ticket) -> None:
        """Wait no longer: a place that was given meanwhile is given back."""
        if ticket.served:
            self.leave(ticket.lane)
        elif ticket in ticket.lane.tickets:
            self._take_out(ticket)

    def leave(self, lane: Lane) -> None:
        """Give a place back; who waited longest of those it is good for gets it."""
        self.give_back(*lane.bounds)

    def give_back(self, *bounds: Bound) -> None:
        """Leave some bounds alone."""
        for bound in bounds:
            bound.taken -= 1
        if self._queued:
            self._serve()

    async def wait(self, lane: Lane) -> Place:
        """A place, once there is one. Raises OverloadedError when that takes too long, or too many wait already."""
        called = asyncio.get_running_loop().create_future()
        ticket = self.join(lane, lambda: None if called.done() else called.set_result(None))
        try:
            async with asyncio.timeout(self._patience):
                await called
        except TimeoutError:
            if not ticket.served:
                self.quit(ticket)
                raise OverloadedError(detail="no place became free in time") from None
        except BaseException:
            self.quit(ticket)
            raise
        if ticket.refusal is not None:
            raise ticket.refusal
        return Place(self, lane)

    def close(self, error: ApiError) -> None:
        """Send away who waits, and who would have to."""
        self._closed = error
        for lane in list(self._queued):
            for ticket in list(lane.tickets):
                self._take_out(ticket)
                ticket.refusal = error
                ticket.call()

    def _serve(self) -> None:
        """Give out what places there are."""
        while open_ := [lane for lane in self._queued if lane.free]:
            lane = min(open_, key=lambda each: each.first.number)
            ticket = lane.first
            self._take_out(ticket)
            for bound in lane.bounds:
                bound.taken += 1
            ticket.served = True
            ticket.call()

    def _take_out(self, ticket: Ticket) -> None:
        lane = ticket.lane
        del lane.tickets[ticket]
        if not lane.tickets:
            del self._queued[lane]
        for bound in lane.bounds:
            bound.waiting -= 1

    def _said_of(self, mapping: str) -> tuple[int, int]:
        """The places and the queue of a mapping."""
        said = self._settings.get(mapping)
        requests = said.requests if said is not None else None
        queue = said.queue if said is not None else None
        return (
            self._requests.limit if requests is None else requests,
            self._requests.queue if queue is None else queue,
        )
