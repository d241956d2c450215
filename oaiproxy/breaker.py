"""Failures of a backend to whether it is asked at all: after some in a row it is left alone, then tried by one request.

    closed ──failures in a row──> open ──its pause is over──> half-open ──the one try succeeds──> closed
                                   ^                              │
                                   └──it fails: twice the pause───┘

Time is a value, in seconds of a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from oaiproxy.errors import BackendError

LONGEST = 60.0
"""Seconds: no pause is longer."""
NO_ANSWER = frozenset(
    (
        "upstream_connect_error",
        "upstream_dns_error",
        "upstream_connect_timeout",
        "upstream_tls_error",
        "upstream_protocol_error",
        "upstream_closed",
        "upstream_reset",
        "upstream_timeout",
        "upstream_truncated",
        "upstream_incomplete",
        "upstream_empty_response",
        "upstream_invalid_response",
        "upstream_invalid_json",
        "upstream_invalid_utf8",
    )
)
"""The codes of failures that are no client's making: no connection, no answer in time, or one that broke."""


class State(StrEnum):
    """Whether requests are let through: all, one, or none."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass(slots=True)
class Circuit:
    """Whether one backend may be asked. `failures` in a row open it for `pause` seconds at first; 0 never does.

    Who asks has a turn. What became of it counts only while the state is the one in which it began: a slow answer of
    before says nothing about a backend that was left alone meanwhile.
    """

    failures: int
    pause: float
    state: State = State.CLOSED
    _failed: int = 0
    turn: int = 0
    """That of who asks now, while the state is closed."""
    _seconds: float = 0.0
    _until: float = 0.0
    _trying: bool = False

    def configure(self, failures: int, pause: float) -> None:
        """Take other settings; the state stays, unless there is to be none."""
        self.failures, self.pause = failures, pause
        if not failures:
            self._become(State.CLOSED)

    def enter(self, now: float) -> int | None:
        """The turn of a request; None where it must not be sent."""
        if self.state is State.CLOSED:
            return self.turn
        if self.state is State.OPEN:
            if now < self._until:
                return None
            self._become(State.HALF_OPEN)
        if self._trying:
            return None
        self._trying = True
        return self.turn

    def wait(self, now: float) -> float:
        """Seconds until a request may be let through, as far as that is known."""
        return max(0.0, self._until - now) if self.state is State.OPEN else 0.0

    def succeed(self, turn: int) -> None:
        """The backend answered."""
        if turn == self.turn:
            if self.state is State.HALF_OPEN:
                self._become(State.CLOSED)
            self._failed = 0

    def fail(self, turn: int, now: float) -> None:
        """The backend failed."""
        if turn != self.turn:
            return
        self._failed += 1
        if self.state is State.HALF_OPEN:
            self._open(now, min(self._seconds * 2, LONGEST))
        elif self.failures and self._failed >= self.failures:
            self._open(now, min(self.pause, LONGEST))

    def leave(self, turn: int) -> None:
        """The request ended and tells nothing of the backend: where it was the one try, the next one is."""
        if turn == self.turn:
            self._trying = False

    def _open(self, now: float, seconds: float) -> None:
        self._seconds = seconds
        self._until = now + seconds
        self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self.state = state
        self.turn += 1
        self._failed = 0
        self._trying = False


def tells_of_backend(error: BackendError, status: int | None) -> bool:
    """Whether a failure is the backend's own, which any request would meet. `status` is what it answered, if it did.

    A status below 500 never is, nor is an error that the mapping gives to the client.
    """
    if error.status < 500 or (status is not None and 300 <= status < 500):
        return False
    return error.code in NO_ANSWER or (status is not None and status >= 500)
