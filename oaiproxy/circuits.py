"""The backends that are asked, each with its breaker and its budget of retries, to whether a request may go now."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from math import ceil

from oaiproxy.addresses import origin
from oaiproxy.breaker import LONGEST, Circuit, State, tells_of_backend
from oaiproxy.config import Breaker, Limits
from oaiproxy.errors import BackendError
from oaiproxy.logs import Log
from oaiproxy.mapping import Mapping
from oaiproxy.pool import was_asked
from oaiproxy.retries import Budget

PROBED = 1.0
"""Seconds after which to ask again while one request tries the backend."""


@dataclass(slots=True)
class Line:
    """What is known of a mapping's backend."""

    name: str
    circuit: Circuit
    budget: Budget
    log: Log

    def enter(self, now: float) -> int | None:
        """As the circuit's, told in the log."""
        before = self.circuit.state
        turn = self.circuit.enter(now)
        self.tell(before)
        return turn

    def tell(self, before: State) -> None:
        """Log the state if it is another one now."""
        state = self.circuit.state
        if state is not before:
            self.log.write("warning", "breaker", mapping=self.name, state=state.value)


class Passage:
    """One request on its way to a backend: what it may do, and what it says about that backend.

    Without a line there is neither a breaker nor a budget: so are token servers asked, and lists of models.
    """

    __slots__ = ("_line", "_turn", "_under_way", "ended", "repeated", "status")

    def __init__(self, line: Line | None = None, turn: int = 0) -> None:
        self.repeated = 0
        """How often it was sent once more."""
        self.status: int | None = None
        """What the backend answered last."""
        self._line = line
        self._turn = turn
        self.ended = line is None
        """Whether all is said."""
        self._under_way = False

    def sending(self, tries: int) -> None:
        """The backend is asked now, for so many times."""
        self._under_way = True
        self.status = None
        if tries == 1 and self._line is not None:
            self._line.budget.sent()

    def pause(self) -> None:
        """Others are asked, whose failures are not the backend's."""
        self._under_way = False

    def replace(self) -> bool:
        """Whether it may be sent again over another connection."""
        return self._take()

    def again(self, *, failed: bool) -> bool:
        """Whether it may be sent once more, after a failure of the backend or a refusal."""
        line = self._line
        if line is None or not failed or self.ended:
            return self._take()
        before = line.circuit.state
        line.circuit.fail(self._turn, _now())
        line.tell(before)
        still_closed = before is State.CLOSED and line.circuit.state is before
        may = still_closed and self._take()
        self.ended = not may  # then what the failure says was told
        return may

    def answered(self) -> None:
        """The backend answers as it should."""
        line = self._line
        if self.ended or line is None:
            return
        self.ended = True
        circuit = line.circuit
        before = circuit.state
        circuit.succeed(self._turn)
        if circuit.state is not before:
            line.tell(before)

    def end(self, error: BackendError | None) -> None:
        """The request came to its end, or to an error."""
        line = self._line
        if self.ended or line is None or not self._under_way:
            return
        if error is not None and tells_of_backend(error, self.status):
            self.ended = True
            before = line.circuit.state
            line.circuit.fail(self._turn, _now())
            line.tell(before)
        elif self.status is not None:
            self.answered()

    def leave(self) -> None:
        """Nobody waits any more; what was not told by now is not known."""
        if not self.ended and self._line is not None:
            self.ended = True
            self._line.circuit.leave(self._turn)

    def _take(self) -> bool:
        may = self._line is None or self._line.budget.take(_now())
        self.repeated += may
        return may


class Circuits:
    """The lines, by mapping and origin of its backend: they outlast a change of the settings or of the mapping."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._breaker = Breaker()
        self._retries = Limits().retries
        self._lines: dict[tuple[object, ...], Line] = {}
        self._by_url: dict[tuple[str, str], Line] = {}

    def configure(self, breaker: Breaker, retries: float, mappings: Collection[Mapping] = ()) -> None:
        """Take other settings; what `mappings` do not have is forgotten, if there are any."""
        self._breaker, self._retries = breaker, retries
        self._by_url.clear()
        if mappings:
            kept = {_key(mapping) for mapping in mappings}
            self._lines = {key: line for key, line in self._lines.items() if key in kept}
        for line in self._lines.values():
            before = line.circuit.state
            line.circuit.configure(breaker.failures, breaker.pause)
            line.tell(before)
            line.budget.share = retries

    def enter(self, mapping: Mapping) -> Passage:
        """The passage of a request. Raises BackendError while the backend is left alone."""
        line = self._by_url.get((mapping.file, mapping.backend.url)) or self._line(mapping)
        circuit = line.circuit
        if circuit.state is State.CLOSED:
            return Passage(line, circuit.turn)
        now = _now()
        turn = line.enter(now)
        if turn is None:
            raise _left_alone(circuit.wait(now))
        return Passage(line, turn)

    def is_closed(self, mapping: Mapping) -> bool:
        """Whether a backend may be asked by several requests at once."""
        return self._line(mapping).circuit.state is State.CLOSED

    def _line(self, mapping: Mapping) -> Line:
        place = (mapping.file, mapping.backend.url)
        line = self._by_url.get(place)
        if line is None:
            key = _key(mapping)
            line = self._lines.get(key)
            if line is None:
                circuit = Circuit(self._breaker.failures, self._breaker.pause)
                line = self._lines[key] = Line(mapping.name, circuit, Budget(self._retries), self._log)
            self._by_url[place] = line
        return line


def _key(mapping: Mapping) -> tuple[object, ...]:
    return (mapping.file, *origin(mapping.backend.url))


def _left_alone(seconds: float) -> BackendError:
    return BackendError(
        "the backend failed several times in a row and is left alone for a moment",
        status=503,
        type="service_unavailable_error",
        code="upstream_unavailable",
        retry_after=min(ceil(seconds or PROBED), LONGEST),
        retry=None if was_asked() else True,  # as of an earlier call of the same request
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
