"""Promises of `oaiproxy.descriptors`: as many files as are needed, if they can be had; without any, it sheds."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest
from scripted import settled
from support import ROOT

from oaiproxy import descriptors
from oaiproxy.config import Limits
from oaiproxy.descriptors import OWN, Reserve, clients_for, needed

resource = pytest.importorskip("resource")


def limited(soft: int, hard: int, wanted: int) -> str:
    """What `provide` says in a process with these limits, and its soft limit then."""
    code = (
        "import resource\n"
        "from oaiproxy.descriptors import DescriptorsError, provide\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        f"try: print(provide({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
        "except DescriptorsError as error: print(error)\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "got"),
    [(256, 512, 100, 256), (256, 512, 300, 300), (256, 512, 9000, 512), (32, 512, 9000, 512)],
)
def test_the_limit_is_raised_as_far_as_needed(soft: int, hard: int, wanted: int, got: int) -> None:
    """No further than it can be."""
    assert limited(soft, hard, wanted) == f"{got} {got}\n"


@pytest.mark.row(117)
def test_far_too_few_are_refused() -> None:
    """With what there should be."""
    assert limited(32, 32, 100) == ("the process may have only 32 files open (RLIMIT_NOFILE): it needs at least 64\n")


def test_clients_leave_room_for_their_requests() -> None:
    """Each may have one under way."""
    limits = Limits(clients=100, requests=50)
    assert clients_for(limits, None) == clients_for(limits, needed(limits)) == 100
    assert clients_for(limits, OWN + 140) == 90
    assert clients_for(limits, OWN + 60) == 30
    assert clients_for(limits, 10) == 1


async def test_who_cannot_be_accepted_is_closed() -> None:
    """By asyncio's own loop, where each failure would be told over and over again."""
    loop = asyncio.get_running_loop()
    told: list[int] = []
    before = loop.get_exception_handler()
    reserve = Reserve(loop, told.append)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        loop.call_exception_handler({"message": "no files", "exception": OSError(24, "none"), "socket": listener})
        assert told == [3]
        for client in clients:
            with client:
                assert client.recv(1) == b""
    reserve.close()
    loop.set_exception_handler(before)


async def test_the_loop_is_left_as_it_was() -> None:
    """At once, where nobody was shed."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    reserve = Reserve(loop, lambda _: None)
    assert loop.get_exception_handler() is not before
    reserve.close()
    assert loop.get_exception_handler() is before


async def test_a_listener_closed_after_shedding_is_not_complained_of() -> None:
    """asyncio comes back to it after a second, also when whoever shed has gone."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = loop.get_exception_handler()
    told: list[int] = []
    reserve = Reserve(loop, told.append)
    try:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as client:
            highest = max(int(name) for name in os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
            held = [os.dup(0) for _ in range(highest - len(os.listdir("/proc/self/fd")) + 2)]
            try:
                client.connect(address)
                await settled(lambda: bool(told))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for number in held:
                    os.close(number)
        server.close()
        await server.wait_closed()
        reserve.close()
        assert loop.get_exception_handler() is not before
        await settled(lambda: loop.get_exception_handler() is before)
        assert not complaints
    finally:
        loop.set_exception_handler(None)


async def test_who_comes_next_keeps_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though whoever shed before it has still to leave it; and leaves it as it was before them both."""
    monkeypatch.setattr(descriptors, "RETRY_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    told: list[int] = []
    first = Reserve(loop, told.append)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        context = {"message": "no files", "exception": OSError(24, "none"), "socket": listener}
        loop.call_exception_handler(context)
        first.close()
        second = Reserve(loop, told.append)
        await asyncio.sleep(0.1)
        assert loop.get_exception_handler() == second._handle
        loop.call_exception_handler(context)
        assert told == [0, 0]
    second.close()
    await settled(lambda: loop.get_exception_handler() is before)
