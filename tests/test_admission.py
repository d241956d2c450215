"""Promises of `oaiproxy.admission`: no place is lost, none is given twice, and who came first goes first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scripted import settled

from oaiproxy.admission import Gate, Lane, Place, Ticket
from oaiproxy.config import Limits, Settings
from oaiproxy.errors import OverloadedError, ProxyError

NAMES = ("a", "b", "c")
BOUNDS = st.builds(
    lambda requests, streams, queue: Limits(requests=requests, streams=streams, queue=queue),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 6),
)
SAID = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(Settings, requests=st.none() | st.integers(1, 3), queue=st.none() | st.integers(0, 3)),
)


def gate(settings: dict[str, Settings] | None = None, **limits: float) -> Gate:
    """A gate with these limits."""
    made = Gate()
    made.configure(Limits(**limits), settings or {})  # type: ignore[arg-type]
    return made


@dataclass(eq=False)
class Asker:
    """A request in the model: what it wants, and what it has."""

    name: str
    streams: bool
    lane: Lane
    place: Place | None = None
    ticket: Ticket | None = None
    called: bool = False
    bounds: list[int] = field(default_factory=list)


class Admission(RuleBasedStateMachine):
    """Requests that come, wait, give up and leave, while the bounds change."""

    @initialize(limits=BOUNDS, said=SAID)
    def begin(self, limits: Limits, said: dict[str, Settings]) -> None:
        """Nobody is there."""
        self.gate = Gate()
        self.inside: list[Asker] = []
        self.waiting: list[Asker] = []
        self.limits, self.said = limits, said
        self.gate.configure(limits, said)
        self.most = [0, 0, *(0 for _ in NAMES)]

    def limit(self, number: int) -> int:
        """The bound of all, of streams, or of a mapping."""
        if number < 2:
            return (self.limits.requests, self.limits.streams)[number]
        said = self.said.get(NAMES[number - 2])
        return self.limits.requests if said is None or said.requests is None else said.requests

    def needs(self, asker: Asker) -> list[int]:
        """The numbers of the bounds of which it needs a place."""
        return [0, *([1] if asker.streams else []), 2 + NAMES.index(asker.name)]

    def taken(self, number: int) -> int:
        """How many places of a bound are taken."""
        return sum(number in self.needs(asker) for asker in self.inside)

    def fits(self, asker: Asker) -> bool:
        """Whether there is a place for it."""
        return all(self.taken(number) < self.limit(number) for number in self.needs(asker))

    def follow(self) -> None:
        """Take from those who wait whoever must be called now, in the order of their coming; nobody else was."""
        while (first := next((asker for asker in self.waiting if self.fits(asker)), None)) is not None:
            self.waiting.remove(first)
            self.inside.append(first)
            assert first.called
        assert not any(asker.called for asker in self.waiting)

    @rule(name=st.sampled_from(NAMES), streams=st.booleans())
    def come(self, name: str, streams: bool) -> None:
        """A request gets a place if there is one; else it waits if it may."""
        asker = Asker(name, streams, self.gate.lane(name, streams))
        asker.place = self.gate.enter(asker.lane)
        assert (asker.place is not None) == self.fits(asker)
        if asker.place is not None:
            self.inside.append(asker)
            return
        said = self.said.get(name)
        own = self.limits.queue if said is None or said.queue is None else said.queue
        room = len(self.waiting) < self.limits.queue and sum(each.name == name for each in self.waiting) < own

        def call() -> None:
            assert not asker.called
            asker.called = True

        if room:
            asker.ticket = self.gate.join(asker.lane, call)
            self.waiting.append(asker)
        else:
            with pytest.raises(OverloadedError):
                self.gate.join(asker.lane, call)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A request ends; one that was called may as well not have noticed yet, and give up."""
        asker = data.draw(st.sampled_from(self.inside))
        self.inside.remove(asker)
        if asker.place is not None:
            asker.place.leave()
        elif data.draw(st.booleans()):
            Place(self.gate, asker.lane).leave()
        else:
            assert asker.ticket is not None
            self.gate.quit(asker.ticket)
        self.follow()

    @precondition(lambda self: any(each.place is not None for each in self.inside))
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def move(self, data: st.DataObject, name: str) -> None:
        """A request goes on with another mapping, if that has a place; nobody waits for it."""
        asker = data.draw(st.sampled_from([each for each in self.inside if each.place is not None]))
        number = 2 + NAMES.index(name)
        free = name == asker.name or self.taken(number) < self.limit(number)
        lane = self.gate.lane(name, asker.streams)
        assert asker.place is not None
        if free:
            asker.name, asker.lane = name, lane
        assert asker.place.move(lane) == free
        self.follow()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A request leaves that waits."""
        asker = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(asker)
        assert asker.ticket is not None
        self.gate.quit(asker.ticket)
        self.follow()

    @rule(limits=BOUNDS, said=SAID)
    def configure(self, limits: Limits, said: dict[str, Settings]) -> None:
        """Other bounds: nobody loses a place, and whoever fits now goes on."""
        self.limits, self.said = limits, said
        self.most = [self.taken(number) for number in range(len(self.most))]
        self.gate.configure(limits, said)
        self.follow()

    @invariant()
    def nothing_is_lost(self) -> None:
        """The counts are those of the model, and within the bounds, but for what was there when these were lowered."""
        if not hasattr(self, "gate"):
            return
        assert (self.gate.taken, self.gate.waiting) == (len(self.inside), len(self.waiting))
        for number, before in enumerate(self.most):
            assert self.taken(number) <= max(self.limit(number), before)


TestAdmission = Admission.TestCase
TestAdmission.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


async def test_who_waits_gets_the_next_place() -> None:
    """In the order of coming."""
    door = gate(requests=1)
    lane = door.lane("m", False)
    place = door.enter(lane)
    assert place is not None
    order: list[int] = []

    async def ask(number: int) -> None:
        got = await door.wait(lane)
        order.append(number)
        got.leave()

    tasks = [asyncio.create_task(ask(number)) for number in range(3)]
    await settled(lambda: door.waiting == 3)
    assert order == []
    place.leave()
    await asyncio.gather(*tasks)
    assert (order, door.taken, door.waiting) == ([0, 1, 2], 0, 0)


async def test_a_place_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    """Also when the one who leaves was called already, but had not noticed."""
    door = gate(requests=1)
    lane = door.lane("m", False)
    place = door.enter(lane)
    assert place is not None
    tasks = [asyncio.create_task(door.wait(lane)) for _ in range(3)]
    await settled(lambda: door.waiting == 3)
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert door.waiting == 2
    place.leave()
    assert (door.taken, door.waiting) == (1, 1)
    tasks[1].cancel()
    (await tasks[2]).leave()
    assert tasks[1].cancelled()
    assert (door.taken, door.waiting) == (0, 0)


async def test_who_waits_too_long_is_told_so() -> None:
    """And is out of the queue."""
    door = gate(requests=1, queue_timeout=0.01)
    lane = door.lane("m", False)
    place = door.enter(lane)
    with pytest.raises(OverloadedError) as caught:
        await door.wait(lane)
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "proxy_overloaded", 1)
    assert (door.taken, door.waiting) == (1, 0)
    assert place is not None
    place.leave()
    assert door.taken == 0


async def test_those_who_wait_are_sent_away_at_the_end() -> None:
    """With the error that says why; who has a place keeps it."""
    door = gate(requests=1)
    lane = door.lane("m", False)
    place = door.enter(lane)
    assert place is not None
    task = asyncio.create_task(door.wait(lane))
    await settled(lambda: door.waiting == 1)
    door.close(ProxyError("over", status=503, code="server_shutdown"))
    for waiting in (task, door.wait(lane)):
        with pytest.raises(ProxyError) as caught:
            await waiting
        assert caught.value.code == "server_shutdown"
    assert (door.taken, door.waiting) == (1, 0)
    place.leave()


def test_a_place_is_free_when_all_have_left_it() -> None:
    """A response that is made in the background holds the place of the request that began it."""
    door = gate(requests=1)
    lane = door.lane("m", False)
    place = door.enter(lane)
    assert place is not None
    place.hold()
    place.leave()
    assert door.enter(lane) is None
    place.leave()
    assert door.enter(lane) is not None


def test_a_mapping_that_is_full_holds_nobody_else_up() -> None:
    """Neither do streams."""
    door = gate({"small": Settings(requests=1)}, requests=3, streams=1)
    small, other, stream = door.lane("small", False), door.lane("other", False), door.lane("other", True)
    assert door.enter(small) is not None
    assert door.enter(small) is None
    called: list[str] = []
    door.join(small, lambda: called.append("small"))
    place = door.enter(stream)
    assert place is not None
    assert door.enter(stream) is None
    assert door.enter(other) is not None
    door.join(stream, lambda: called.append("stream"))
    door.join(other, lambda: called.append("other"))
    place.leave()
    assert called == ["stream"]


def test_the_bounds_of_mappings_that_are_gone_are_forgotten() -> None:
    """With no request of theirs under way, so that reloads do not add up."""
    door = gate({"old": Settings(requests=1)})
    place = door.enter(door.lane("old", False))
    assert place is not None
    door.configure(Limits(), {})
    assert door.lane("old", False).bounds[-1].limit == Limits().requests
    place.leave()
    door.configure(Limits(), {})
    assert not door._mappings
    assert not door._lanes
