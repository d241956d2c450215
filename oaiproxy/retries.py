"""The `backend.retry` block, and a budget, to whether and after how long a request is sent once more."""

from __future__ import annotations

from dataclasses import dataclass

MAX_WAIT = 30.0
"""Seconds: a backend that asks for a longer pause is not waited for, its answer is passed on."""
CONNECT_WAIT = 0.1
"""Seconds before a connection is tried once more where the mapping says nothing."""
MOST = 10.0
"""Retries that a backend's budget holds at most."""
PER_SECOND = 0.1
"""Retries that come to it with time, so that a backend which is seldom asked has some."""
ONE = 1 - 1e-9
"""A whole one, as ten shares of a tenth make it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often at most, after which statuses, and the first pause in seconds, which doubles from try to try."""

    max: int = 1
    on: frozenset[int] = frozenset()
    backoff: float = CONNECT_WAIT
    respect_retry_after: bool = True

    def after_status(self, tries: int, status: int, retry_after: float | None, chance: float) -> float | None:
        """Seconds to wait after an answer; None to pass it on. `chance` is from 0 to 1, `tries` is how many failed."""
        if status not in self.on or tries > self.max:
            return None
        if self.respect_retry_after and retry_after is not None:
            return retry_after + chance * self.backoff if retry_after <= MAX_WAIT else None
        return self.pause(tries, chance)

    def after_no_connection(self, tries: int, chance: float) -> float | None:
        """Seconds to wait when no connection could be made; None to give up."""
        return None if tries > self.max else self.pause(tries, chance)

    def pause(self, tries: int, chance: float) -> float:
        """The wait after so many tries: half of it is left to chance, so that clients do not come back together."""
        return min(self.backoff * 2.0 ** min(tries - 1, 16), MAX_WAIT) * (0.5 + chance / 2)


class Budget:
    """How many requests to a backend may be sent once more: each that is sent brings a `share` of one.

    At most `MOST` are saved up, which are there from the start, and a few come with time; a share of 0 allows none.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._left = MOST
        self._at: float | None = None

    def sent(self) -> None:
        """A request is sent for the first time."""
        if self._left < MOST:
            self._left += self.share

    def take(self, now: float) -> bool:
        """Whether one may be sent again, which it then is. `now` is in seconds of a clock that never goes back."""
        if self._at is not None:
            self._left += (now - self._at) * PER_SECOND
        self._at = now
        self._left = min(self._left, MOST)
        if not self.share or self._left < ONE:
            return False
        self._left -= 1
        return True
