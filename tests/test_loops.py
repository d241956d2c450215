"""Promises of `oaiproxy.loops`: the loop that is wished for, and never an unsafe one."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

import pytest
from commands import execute

from oaiproxy.loops import LoopError, loop_factory, unfit


def made_by(wanted: str) -> type:
    """The class of the loop."""
    loop = loop_factory(wanted)()
    loop.close()
    return type(loop)


def test_asyncio_is_asyncios_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed: the way out for who has an unsafe uvloop."""
    monkeypatch.setitem(sys.modules, "uvloop", SimpleNamespace(__version__="0.1"))
    assert issubclass(made_by("asyncio"), asyncio.BaseEventLoop)


@pytest.mark.parametrize("wanted", ["auto", "uvloop"])
def test_uvloop_where_it_is(wanted: str) -> None:
    """It is the faster one."""
    uvloop = pytest.importorskip("uvloop")
    assert made_by(wanted) is uvloop.Loop


def test_without_uvloop_auto_is_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some platforms have none."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert issubclass(made_by("auto"), asyncio.BaseEventLoop)


def test_without_uvloop_there_is_no_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells what to do."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(LoopError, match=r"^uvloop is not installed: install it, or set `server.loop: asyncio`$"):
        loop_factory("uvloop")


@pytest.mark.parametrize("wanted", ["auto", "uvloop"])
@pytest.mark.parametrize("version", ["0.9.1", "0.22.1", "0.22.99"])
def test_an_old_uvloop_is_refused(version: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not silently replaced: who has it must know."""
    monkeypatch.setitem(sys.modules, "uvloop", SimpleNamespace(__version__=version))
    with pytest.raises(LoopError, match=f"^uvloop {version} is not safe: install 0.23.0 or newer, or set "):
        loop_factory(wanted)


@pytest.mark.parametrize("version", ["0.23.0", "0.23.1", "0.100.0", "1.0", "1", "0.24.0rc1", "0.23.0.post1"])
def test_a_newer_uvloop_is_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are compared by their numbers."""
    made = object()
    monkeypatch.setitem(sys.modules, "uvloop", SimpleNamespace(__version__=version, new_event_loop=made))
    assert loop_factory("uvloop") is made


def test_this_interpreter_is_fit() -> None:
    """Else none of these tests would say much."""
    assert unfit() == ""


@pytest.mark.row(117)
@pytest.mark.parametrize(
    ("options", "variables", "told"),
    [
        (["-O"], {}, "without `-O`"),
        ([], {"PYTHONOPTIMIZE": "1"}, "PYTHONOPTIMIZE"),
        ([], {"AIOHTTP_NO_EXTENSIONS": "1"}, "its parser in C"),
    ],
)
def test_an_interpreter_that_is_not_fit_does_not_serve(
    options: list[str], variables: dict[str, str], told: str
) -> None:
    """One line, before anything listens."""
    done = execute(sys.executable, *options, "-m", "oaiproxy", "serve", "--port", "0", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("oaiproxy: not started: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
