"""Promises of `oaiproxy.logs`: one JSON object a line, no matter who reads it, and no exception's text."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import execute

from oaiproxy import logs
from oaiproxy.logs import LEVELS, LibraryHandler, Log, Throttle


@dataclass
class Pipe:
    """A pipe to log into. `read` gives what came until then, once its writing end is closed."""

    reader: int
    writer: int

    def fill(self) -> int:
        """Fill it up; how many bytes it took."""
        os.set_blocking(self.writer, False)
        count = 0
        try:
            while True:
                count += os.write(self.writer, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)
        return count

    def skip(self, count: int) -> None:
        """Read so many bytes."""
        while count:
            count -= len(os.read(self.reader, count))

    def read(self) -> bytes:
        """All that is left."""
        self.close_writer()
        data = b""
        while more := os.read(self.reader, 65536):
            data += more
        return data

    def lines(self) -> list[dict[str, Any]]:
        """All that is left, line by line."""
        data = self.read()
        assert not data or data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    def close_reader(self) -> None:
        """Nobody reads any more."""
        if self.reader >= 0:
            os.close(self.reader)
        self.reader = -1

    def close_writer(self) -> None:
        """Nobody writes any more."""
        if self.writer >= 0:
            os.close(self.writer)
        self.writer = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe())
    yield pipe
    pipe.close_writer()
    pipe.close_reader()


def test_an_event_is_one_json_object_in_a_line(pipe: Pipe) -> None:
    """With the time in UTC, the level and the fields; close writes what waits."""
    log = Log(fd=pipe.writer)
    log.write("info", "request", status=200, path="/v1/models", models=["a"])
    log.write("error", "bug", ms=1.5, code=None)
    log.close()
    first, second = pipe.lines()
    assert logs.time.strptime(first.pop("time"), "%Y-%m-%dT%H:%M:%SZ")
    assert first == {"level": "info", "event": "request", "status": 200, "path": "/v1/models", "models": ["a"]}
    assert (second["level"], second["event"], second["ms"], second["code"]) == ("error", "bug", 1.5, None)


@pytest.mark.parametrize("least", LEVELS)
def test_only_what_is_as_grave_as_asked_for_is_written(least: str, pipe: Pipe) -> None:
    """From debug to error."""
    log = Log(least, pipe.writer)
    for level in LEVELS:
        log.write(level, "happened")
    log.close()
    assert [line["level"] for line in pipe.lines()] == list(LEVELS)[list(LEVELS).index(least) :]


def test_the_default_is_info(pipe: Pipe) -> None:
    """Which is one line a request."""
    log = Log(fd=pipe.writer)
    log.write("debug", "detail")
    log.write("info", "request")
    log.close()
    assert [line["event"] for line in pipe.lines()] == ["request"]


def test_text_cannot_leave_its_line(pipe: Pipe) -> None:
    """Nor take hold of a terminal, nor break the encoding."""
    log = Log(fd=pipe.writer)
    text = 'a\r\nb\x00\x1b[31m\x7f"\\ \u2028\u2029\x85\x9b2J\u202eé\udce9'
    log.write("info", "request", path=text)
    log.close()
    data = pipe.read()
    assert data.count(b"\n") == 1
    assert data.decode().removesuffix("\n").replace("\ufffd", "").isprintable()
    assert len(data.decode().splitlines()) == 1
    assert json.loads(data)["path"] == text.replace("\udce9", "\ufffd")


def test_lines_come_in_their_order_and_all_of_them(pipe: Pipe) -> None:
    """More than one batch."""
    log = Log(fd=pipe.writer)
    for number in range(450):
        log.write("info", "request", number=number)
    log.close()
    assert [line["number"] for line in pipe.lines()] == list(range(450))
    assert log.dropped == 0


def test_a_line_longer_than_the_pipe_is_written_whole(pipe: Pipe) -> None:
    """However slowly it is read."""
    log = Log(fd=pipe.writer)
    log.write("info", "request", path="x" * 1_000_000)
    data = b""
    while not data.endswith(b"\n"):
        data += os.read(pipe.reader, 4096)
    log.close()
    assert len(json.loads(data)["path"]) == 1_000_000


def test_a_pipe_that_nobody_reads_stops_nobody(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines without room are dropped and counted; who reads again is told how many."""
    monkeypatch.setattr(logs, "MAX_LINES", 10)
    filling = pipe.fill()
    log = Log(fd=pipe.writer)
    for number in range(200):
        log.write("info", "request", number=number)
    assert log.dropped >= 180  # ten wait, and ten may be on their way
    dropped = log.dropped
    pipe.skip(filling)
    log.close()
    lines = pipe.lines()
    requests = [line["number"] for line in lines if line["event"] == "request"]
    assert len(requests) == 200 - dropped
    assert requests == sorted(requests)
    assert [line["lines"] for line in lines if line["event"] == "dropped"] == [dropped]


def test_close_does_not_wait_for_ever(pipe: Pipe) -> None:
    """The process can end though nobody reads its last words."""
    filling = pipe.fill()
    log = Log(fd=pipe.writer)
    log.write("info", "request")
    log.close(timeout=0)
    pipe.skip(filling)
    log.close()
    assert [line["event"] for line in pipe.lines()] == ["request"]


def test_a_closed_pipe_is_harmless(pipe: Pipe) -> None:
    """What is written into it is dropped and counted."""
    log = Log(fd=pipe.writer)
    pipe.close_reader()
    for _ in range(5):
        log.write("info", "request")
    log.close()
    assert log.dropped == 5


def test_a_pipe_that_does_not_block_loses_nothing(pipe: Pipe) -> None:
    """Whoever shares standard error may have made it so; a line is never cut in two."""
    os.set_blocking(pipe.writer, False)
    log = Log(fd=pipe.writer)
    log.write("info", "request", path="x" * 1_000_000)
    log.write("info", "request", path="")
    data = b""
    while data.count(b"\n") < 2:
        data += os.read(pipe.reader, 4096)
    log.close()
    assert [len(json.loads(line)["path"]) for line in data.splitlines()] == [1_000_000, 0]
    assert log.dropped == 0


@pytest.mark.row(112)
def test_what_was_dropped_is_told_when_there_is_room_again(tmp_path: Path) -> None:
    """A disk that was full for a while: the count is told at the end at the latest, and at any level.

    A line that was cut stands alone: the next one begins anew.
    """
    script = """
import os, resource, signal, sys
from oaiproxy.logs import Log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (350, most))
log = Log("error", os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
for number in range(10):
    log.write("error", "request", text="x" * 40)
while not log.dropped:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
for _ in range(int(sys.argv[2])):
    log.write("error", "later")
log.close()
print(log.dropped)
"""
    for later in (0, 1):
        path = tmp_path / f"log{later}"
        done = execute(sys.executable, "-c", script, path, str(later))
        assert done.returncode == 0, done.stderr
        whole, cut = [], []
        for line in path.read_text().splitlines():
            (whole if line.endswith("}") else cut).append(line)
        events = [json.loads(line) for line in whole]
        lost = int(done.stdout)
        kept = [each for each in events if each["event"] == "request"]
        assert (len(kept) + lost, len(cut)) == (10, 1)
        assert [each["lines"] for each in events if each["event"] == "dropped"] == [lost]
        assert len([each for each in events if each["event"] == "later"]) == later


@pytest.mark.row(112)
def test_a_file_that_is_moved_away_loses_nothing(tmp_path: Path) -> None:
    """As those who rotate logs do; one that is removed is harmless."""
    path = tmp_path / "log"
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = Log(fd=number)
    log.write("info", "before")
    path.rename(tmp_path / "old")
    log.write("info", "after")
    log.close()
    assert [json.loads(line)["event"] for line in (tmp_path / "old").read_text().splitlines()] == ["before", "after"]
    os.close(number)
    assert log.dropped == 0


def test_text_for_people_waits_for_nobody_either(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in its turn; its lines are counted where there is no room."""
    monkeypatch.setattr(logs, "MAX_LINES", 1)
    filling = pipe.fill()
    log = Log(fd=pipe.writer)
    while not log.dropped:
        log.text("what is wrong\nis here\n\n")
    pipe.skip(filling)
    log.close()
    lines = pipe.read().decode().splitlines()
    assert lines[:2] == ["what is wrong", "is here"]
    assert json.loads(lines[-1])["lines"] == log.dropped == 2


def test_another_level_counts_at_once(pipe: Pipe) -> None:
    """For the lines that come then."""
    log = Log("error", pipe.writer)
    log.write("info", "one")
    log.configure("debug")
    log.write("debug", "two")
    log.configure("warning")
    log.write("info", "three")
    log.close()
    assert [line["event"] for line in pipe.lines()] == ["two"]


def test_closing_twice_is_harmless(pipe: Pipe) -> None:
    """The second time there is nothing to do."""
    log = Log(fd=pipe.writer)
    log.write("info", "request")
    log.close()
    log.close()
    assert len(pipe.lines()) == 1


@pytest.fixture
def library(pipe: Pipe) -> Iterator[tuple[logging.Logger, Log]]:
    """A library's logger that logs to the pipe alone."""
    log = Log(fd=pipe.writer)
    logger = logging.Logger("aiohttp.server")
    logger.addHandler(LibraryHandler(log))
    yield logger, log
    log.close()


def test_a_librarys_message_is_logged_without_the_exceptions_text(
    library: tuple[logging.Logger, Log], pipe: Pipe
) -> None:
    """An HTTP parser's holds what the client sent, keys among it; its kind is told."""
    logger, log = library
    try:
        raise ValueError("Authorization: Bearer sk-secret")
    except ValueError:
        logger.exception("Error handling request from %s", "127.0.0.1")
    log.close()
    [line] = pipe.lines()
    assert "sk-secret" not in str(line)
    assert line.pop("time")
    assert line == {
        "level": "error",
        "event": "library",
        "logger": "aiohttp.server",
        "message": "Error handling request from 127.0.0.1",
        "exception": "ValueError",
    }


def test_only_the_first_line_of_a_librarys_message_is_logged(library: tuple[logging.Logger, Log], pipe: Pipe) -> None:
    """asyncio shows exceptions in the others; and not more than a line's worth of it."""
    logger, log = library
    logger.error("Task exception was never retrieved\nfuture: <Task exception=ValueError('sk-secret')>")
    logger.error("y" * 10_000)
    log.close()
    first, second = pipe.lines()
    assert first["message"] == "Task exception was never retrieved"
    assert first["exception"] is None
    assert second["message"] == "y" * 500


@pytest.mark.parametrize(
    ("level", "logged"), [("DEBUG", []), ("INFO", []), ("WARNING", ["warning"]), ("CRITICAL", ["error"])]
)
def test_what_libraries_only_mention_is_not_logged(
    level: str, logged: list[str], library: tuple[logging.Logger, Log], pipe: Pipe
) -> None:
    """Their warnings and errors are."""
    logger, log = library
    logger.log(logging.getLevelNamesMapping()[level], "said")
    log.close()
    assert [line["level"] for line in pipe.lines()] == logged


def test_a_library_that_says_the_same_again_and_again_is_cut_short(pipe: Pipe) -> None:
    """So many lines a second; the next one tells how many were left out. Our own lines are not counted."""
    log = Log(fd=pipe.writer)
    handler = LibraryHandler(log)
    throttle = handler._throttle
    record = logging.LogRecord("library", logging.ERROR, "", 1, "no room", None, None)
    for _ in range(50):
        handler.emit(record)
        log.write("info", "request")
    left_out = throttle.left_out
    throttle._since = -1.0
    handler.emit(record)
    log.close()
    lines = pipe.lines()
    told = [line for line in lines if line["event"] == "library"]
    assert len(lines) - len(told) == 50
    assert left_out + len(told) == 51
    assert left_out > 0
    assert [line["left_out"] for line in told if "left_out" in line] == [left_out]


def test_a_throttle_counts_what_it_leaves_out_once() -> None:
    """Nothing left out is nothing to tell."""
    throttle = Throttle(2)
    throttle._since = math.inf  # this second never ends
    assert [throttle.passes() for _ in range(5)] == [True, True, False, False, False]
    assert throttle.noted() == {"left_out": 3}
    assert throttle.noted() == {}
