"""Promises of the breaker: when it opens, for how long, and that one request at a time finds out how a backend is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oaiproxy.breaker import LONGEST, NO_ANSWER, Circuit, State, tells_of_backend
from oaiproxy.errors import BackendError


def entered(circuit: Circuit, now: float) -> int:
    """A turn, which there must be."""
    turn = circuit.enter(now)
    assert turn is not None
    return turn


def opened(failures: int = 1, pause: float = 2.0, now: float = 0.0) -> Circuit:
    """A circuit that has just opened."""
    circuit = Circuit(failures, pause)
    for _ in range(failures):
        circuit.fail(entered(circuit, now), now)
    assert circuit.state is State.OPEN
    return circuit


def test_so_many_failures_in_a_row_open_it() -> None:
    """One success between them, and the count begins anew."""
    circuit = Circuit(3, 2)
    for outcome in "ffsff":
        turn = entered(circuit, 0)
        circuit.fail(turn, 0) if outcome == "f" else circuit.succeed(turn)
        assert circuit.state is State.CLOSED
    circuit.fail(entered(circuit, 5), 5)
    assert (circuit.state, circuit.enter(5), circuit.wait(5), circuit.wait(6)) == (State.OPEN, None, 2, 1)


def test_none_opens_it_that_is_never_to_open() -> None:
    """`failures: 0`."""
    circuit = Circuit(0, 2)
    for _ in range(1000):
        circuit.fail(entered(circuit, 0), 0)
    assert circuit.state is State.CLOSED


def test_after_the_pause_one_request_tries_it() -> None:
    """And no other until that one has ended."""
    circuit = opened()
    assert circuit.enter(1.99) is None
    turn = entered(circuit, 2)
    assert (circuit.state, circuit.enter(2), circuit.enter(1000)) == (State.HALF_OPEN, None, None)
    circuit.succeed(turn)
    assert circuit.state is State.CLOSED
    assert {circuit.enter(2), circuit.enter(2)} != {None}


def test_each_failed_try_doubles_the_pause_up_to_a_minute() -> None:
    """And a success takes it back to what it was."""
    circuit, now, pauses = opened(pause=10), 0.0, []
    for _ in range(5):
        pauses.append(circuit.wait(now))
        now += circuit.wait(now)
        circuit.fail(entered(circuit, now), now)
    assert pauses == [10, 20, 40, 60, 60]
    now += circuit.wait(now)
    circuit.succeed(entered(circuit, now))
    circuit.fail(entered(circuit, now), now)
    assert circuit.wait(now) == 10


def test_a_try_that_tells_nothing_leaves_its_place_to_the_next() -> None:
    """Its client went away, for one."""
    circuit = opened()
    circuit.leave(entered(circuit, 2))
    assert circuit.state is State.HALF_OPEN
    circuit.succeed(entered(circuit, 2))
    assert circuit.state is State.CLOSED


def test_what_began_before_it_opened_counts_no_more() -> None:
    """Neither as a failure of the one try, nor as its success."""
    circuit = Circuit(1, 2)
    slow, late = entered(circuit, 0), entered(circuit, 0)
    circuit.fail(entered(circuit, 0), 0)
    circuit.succeed(slow)
    assert circuit.state is State.OPEN
    turn = entered(circuit, 2)
    circuit.fail(late, 2)
    circuit.leave(slow)
    assert (circuit.state, circuit.enter(2)) == (State.HALF_OPEN, None)
    circuit.succeed(turn)
    assert circuit.state is State.CLOSED


def test_other_settings_keep_the_state() -> None:
    """But where there is to be none."""
    circuit = opened()
    circuit.configure(5, 7)
    assert (circuit.state, circuit.wait(0)) == (State.OPEN, 2)
    circuit.configure(0, 7)
    assert (circuit.state, circuit.enter(0) is None) == (State.CLOSED, False)


class Life(RuleBasedStateMachine):
    """Requests that come, end, and go in any order, and a clock that only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(3, 2)
        self.now = 0.0
        self.under_way: list[tuple[int, State]] = []

    @rule(seconds=st.floats(0, 100))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def one_comes(self) -> None:
        turn = self.circuit.enter(self.now)
        if turn is not None:
            self.under_way.append((turn, self.circuit.state))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(("succeed", "fail", "leave")))
    def one_ends(self, data: st.DataObject, outcome: str) -> None:
        index = data.draw(st.integers(0, len(self.under_way) - 1))
        turn, _ = self.under_way.pop(index)
        if outcome == "fail":
            self.circuit.fail(turn, self.now)
        else:
            getattr(self.circuit, outcome)(turn)

    @invariant()
    def the_pause_is_bounded(self) -> None:
        assert 0 <= self.circuit.wait(self.now) <= LONGEST

    @invariant()
    def one_at_most_tries_it(self) -> None:
        if self.circuit.state is State.HALF_OPEN:
            current = self.circuit.turn
            assert sum(turn == current for turn, _ in self.under_way) <= 1

    def teardown(self) -> None:
        """However it stands, it can be closed again, once all have ended."""
        for turn, _ in self.under_way:
            self.circuit.leave(turn)
        turn = entered(self.circuit, self.now + LONGEST)
        self.circuit.succeed(turn)
        assert self.circuit.state is State.CLOSED


TestLife = Life.TestCase


@pytest.mark.parametrize(
    ("code", "told", "status", "wanted"),
    [
        ("upstream_connect_error", 502, None, True),
        ("upstream_timeout", 504, None, True),
        ("upstream_timeout", 504, 200, True),
        ("upstream_truncated", 502, 200, True),
        ("upstream_error", 502, 500, True),
        ("theirs", 503, 503, True),
        ("upstream_timeout", 504, 408, False),
        ("rate_limit_exceeded", 429, 429, False),
        ("rate_limit_exceeded", 429, 503, False),
        ("context_length_exceeded", 400, 500, False),
        ("upstream_auth_error", 502, 401, False),
        ("upstream_auth_error", 502, None, False),
        ("upstream_redirect", 502, 307, False),
        ("upstream_error", 502, 200, False),
        ("upstream_mapping_mismatch", 502, 200, False),
        ("server_shutdown", 502, None, False),
    ],
)
def test_which_failures_tell_of_the_backend(code: str, told: int, status: int | None, wanted: bool) -> None:
    """Those that any client's request would meet; `told` is the status for the client."""
    assert tells_of_backend(BackendError("", status=told, code=code), status) == wanted


@given(code=st.sampled_from(sorted(NO_ANSWER)), status=st.integers(400, 499), told=st.integers(400, 599))
def test_a_status_of_4xx_never_does(code: str, status: int, told: int) -> None:
    """Whatever else is said."""
    assert not tells_of_backend(BackendError("", status=told, code=code), status)
