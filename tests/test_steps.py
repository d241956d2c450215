"""Promises of the machine of several calls, driven by hand: what it sends, how long it waits, and when it gives up."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from support import ask, load

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.exchange import BackendRequest
from oaiproxy.reply import Reply
from oaiproxy.steps import Answer, Send, Sleep, Steps

HEAD = """
oaiproxy: 1
models: [m]
backend: {url: "https://b.test"}
chat:
  request: {path: /tasks, body: {p: "{{ prompt }}"}}
  response: {text: text}
"""
POLL = """
  poll: {request: {path: "/tasks/{{ created.id }}"}, timeout: 20s, status: s, done: [ok], failed: [bad]}
  cancel: {request: {path: "/tasks/{{ created.id }}/stop"}}
"""


class Driver:
    """Runs the opening of an exchange with answers by hand, on a clock that only sleeping moves."""

    def __init__(self, blocks: str = POLL, **fields: Any) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.sent: list[str] = []
        self.timeouts: list[float | None] = []
        self.exchange = ask(load(HEAD + blocks), **fields)
        self.steps = Steps(self.exchange, lambda: self.now)

    def open(self, *answers: Any) -> BackendRequest | Answer:
        """The main call, when these were the answers: the last one is given for ever."""
        given = list(answers)
        opening = self.steps.opening()
        try:
            action: Send | Sleep = next(opening)
            while True:
                if isinstance(action, Sleep):
                    self.slept.append(action.seconds)
                    self.now += action.seconds
                    action = opening.send(None)
                    continue
                self.sent.append(f"{action.request.method} {action.request.url.removeprefix('https://b.test')}")
                self.timeouts.append(action.timeout)
                found = given.pop(0) if len(given) > 1 else given[0]
                action = opening.throw(found) if isinstance(found, Exception) else opening.send(replied(found))
        except StopIteration as end:
            result: BackendRequest | Answer = end.value
            return result


def replied(found: Any) -> Answer:
    """An answer of data, or of a status and data."""
    status, body = found if isinstance(found, tuple) else (200, found)
    return Answer(status, {}, body if isinstance(body, bytes) else jsontext.dump(body))


BUSY = {"s": "busy"}
RESET = BackendError("the connection to the backend broke", code="upstream_reset")


def test_waits_grow_up_to_the_longest_one() -> None:
    """By the factor, and never beyond the end of all."""
    driver = Driver()
    with pytest.raises(BackendError) as caught:
        driver.open({"id": 1}, BUSY)
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
    assert driver.slept[:3] == [0.5, 0.75, 1.125]
    assert max(driver.slept) <= 5
    assert sum(driver.slept) == pytest.approx(20)
    assert all(first <= second for first, second in pairwise(driver.slept[:-1]))
    assert all(timeout is not None and timeout <= 20 for timeout in driver.timeouts[1:])


def test_the_reply_that_ends_it_is_the_main_one() -> None:
    """As it came."""
    driver = Driver()
    main = driver.open({"id": 1}, BUSY, {"s": "ok", "text": "a"})
    assert isinstance(main, Answer)
    assert jsontext.parse(main.body)["text"] == "a"
    assert driver.sent == ["POST /tasks", "GET /tasks/1", "GET /tasks/1"]


def test_a_busy_backend_says_how_long_to_wait() -> None:
    """`Retry-After` lengthens the next wait."""
    driver = Driver()
    answer = Answer(429, {"retry-after": "9"}, b"")
    opening = driver.steps.opening()
    next(opening)
    assert opening.send(replied({"id": 1})) == Sleep(0.5)
    assert isinstance(opening.send(None), Send)
    assert opening.send(answer) == Sleep(9.0)


@pytest.mark.parametrize("failure", [RESET, (500, {}), (503, {}), (429, {})])
def test_three_failures_in_a_row_are_tolerated(failure: Any) -> None:
    """And counted anew after each success; the fourth is the answer's."""
    patient = POLL.replace("20s", "200s")
    assert isinstance(Driver(patient).open({"id": 1}, *[failure] * 3, BUSY, *[failure] * 3, {"s": "ok"}), Answer)
    with pytest.raises(BackendError):
        Driver(patient).open({"id": 1}, *[failure] * 4, {"s": "ok"})


@pytest.mark.parametrize("failure", [(404, {}), (200, b"<html>"), (200, b""), (302, {}), (200, {"s": "bad"})])
def test_what_no_poll_can_mend_is_not_tried_again(failure: Any) -> None:
    """It is the answer's failure at once."""
    driver = Driver()
    with pytest.raises(BackendError):
        driver.open({"id": 1}, failure, {"s": "ok"})
    assert len(driver.sent) == 2


def test_the_create_call_is_not_repeated() -> None:
    """It may have begun something."""
    driver = Driver()
    with pytest.raises(BackendError) as caught:
        driver.open(RESET)
    assert caught.value is RESET
    assert driver.sent == ["POST /tasks"]


def test_a_reply_in_gzip_is_read() -> None:
    """As the main reply would be."""
    import gzip

    driver = Driver()
    opening = driver.steps.opening()
    next(opening)
    packed = gzip.compress(b'{"id": 7}')
    assert opening.send(Answer(200, {"content-encoding": "gzip"}, packed)) == Sleep(0.5)
    action = opening.send(None)
    assert isinstance(action, Send)
    assert action.request.url.endswith("/tasks/7")


def test_there_is_nothing_to_call_off_before_anything_began() -> None:
    """What the request is made of must have come."""
    driver = Driver()
    assert driver.steps.cancellation({}) is None
    opening = driver.steps.opening()
    next(opening)
    assert driver.steps.cancellation({}) is None
    opening.send(replied({"id": 1}))
    request = driver.steps.cancellation({})
    assert request is not None
    assert request.url == "https://b.test/tasks/1/stop"


def test_a_cancel_that_needs_no_reply_waits_for_the_main_call() -> None:
    """Until then there is nothing that it could stop."""
    blocks = "  before: [{name: a, request: {path: /a}}]\n  cancel: {request: {path: /abort}}\n"
    driver = Driver(blocks)
    opening = driver.steps.opening()
    next(opening)
    assert driver.steps.cancellation({}) is None
    assert isinstance(driver.open({"id": 1}), BackendRequest)
    assert driver.steps.cancellation({}) is not None


def test_an_endpoint_that_streams_is_not_polled() -> None:
    """Its stream is the answer."""
    stream = "  stream: {request: {path: /live}, format: sse, text: t, done: d}\n"
    main = Driver(POLL + stream, stream=True).open({"id": 1})
    assert isinstance(main, BackendRequest)
    assert main.url == "https://b.test/live"


AFTER = """
oaiproxy: 1
models: [m]
backend: {url: "https://b.test"}
chat:
  request: {path: /g, body: {p: "{{ prompt }}", n: "{{ n }}"}}
  stream: {format: ndjson, %s}
  after:
    - {name: fin, request: {path: /f}, %s}
"""


def completed(stream: str, after: str, main: Any, last: Any) -> dict[str, Any]:
    """The whole answer that a main reply and the one after it make."""
    exchange = ask(load(AFTER % (stream, after)))
    steps = Steps(exchange, lambda: 0.0)
    with pytest.raises(StopIteration):
        next(steps.opening())
    reply = exchange.reply(200, {})
    assert isinstance(reply, Reply)
    reply.feed(jsontext.dump(main))
    reply.complete()
    closing = steps.closing(reply)
    assert isinstance(next(closing), Send)
    with pytest.raises(StopIteration):
        closing.send(replied(last))
    reply.end()
    answer: dict[str, Any] = jsontext.parse(reply.close(1, 1))
    return answer


def test_what_the_answer_told_is_not_told_again() -> None:
    """A call that is made for the counts may repeat the text and another reason: what the answer has stands."""
    last = {"t": "abc", "why": "stop", "uc": 3}
    after = "text: t, finish_reason: why, usage: {completion: uc}"
    answer = completed("text: t, finish_reason: why", after, {"t": "abc", "why": "length"}, last)
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "abc"
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_a_choice_that_is_not_the_first_is_completed() -> None:
    """The backend numbered its only choice 1: there is no choice 0, and none is made."""
    main = {"choices": [{"index": 1, "t": "abc"}]}
    answer = completed("choices: choices, text: t", "finish_reason: why", main, {"why": "length"})
    assert [(choice["index"], choice["finish_reason"]) for choice in answer["choices"]] == [(1, "length")]


def test_a_failure_in_a_step_reads_as_errors_say() -> None:
    """`errors` say how a failure in a 200 reads, in a reply around the main one too."""
    rules = "errors: {rules: [{when: fault == 7, status: 404, code: model_not_found}]}\n"
    blocks = "  before: [{name: one, request: {path: /one}, error: fault}]\n" + rules
    with pytest.raises(BackendError) as raised:
        Driver(blocks).open({"fault": 7})
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")
