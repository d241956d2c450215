"""Promises of `oaiproxy.reload`: what changed is served if it works, and the event loop has its turns meanwhile."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Proxy
from scripted import REQUEST, Backend, Client, chunk, event, fetch, hello, request, settled, stream_head

from oaiproxy.app import Running
from oaiproxy.reload import Reloader, apart
from oaiproxy.startup import Startup, start_up

MAPPING = """\
oaiproxy: 1
models: [%s]
backend: {url: "%s", timeouts: {idle: 1h, first_byte: 1h}}
chat:
  request: {path: /whole, body: {prompt: "{{ prompt }}"}}
  response: {text: text}
  stream: {request: {path: /stream}, format: sse, text: t, done: d}
"""


class Folder:
    """A configuration of one mapping, the proxy that serves it, and what reloads it."""

    def __init__(self, path: Path, running: Running) -> None:
        self.running = running
        self.mapping = path / "my.yaml"
        self.config = path / "config.yaml"
        self.loads = 0
        self.config.write_text("mappings: [my.yaml]\nserver: {shutdown_timeout: 1}\n")
        self.write("m")
        self.reloader = Reloader(self.load, running.reload, self.told, running.state.log, self.load().files)

    def load(self) -> Startup:
        """Read it."""
        try:
            return start_up(self.config, {}, port=0)
        finally:
            self.loads += 1

    def told(self, loaded: Startup) -> str:
        """What is printed."""
        return "".join(f"{found.message}\n" for found in loaded.findings)

    def write(self, models: str, url: str = "http://backend.test") -> None:
        """Replace the mapping, as editors do."""
        new = self.mapping.with_suffix(".new")
        new.write_text(MAPPING % (models, url))
        new.replace(self.mapping)

    @property
    def models(self) -> list[str]:
        """Those that are served."""
        return sorted(self.running.state.routes.names())

    def logged(self, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
        """The log lines of reloads."""
        self.running.state.log.close()
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] in ("reload", "bug")]


@pytest.fixture
async def folder(tmp_path: Path, proxy: Proxy) -> AsyncIterator[Folder]:
    """It, with nothing served yet; what it runs is ended."""
    before = asyncio.all_tasks()
    yield Folder(tmp_path, await proxy())
    late = [task for task in asyncio.all_tasks() - before if task.get_name() == "reloading"]
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def start(work: Any) -> None:
    """Run it until the test ends."""
    asyncio.get_running_loop().create_task(work, name="reloading")


async def test_it_is_read_in_a_thread_of_its_own(folder: Folder) -> None:
    """And what is told of it is made there; the event loop goes on meanwhile."""
    threads: list[threading.Thread] = []
    inside, go = asyncio.Event(), threading.Event()
    loop, load = asyncio.get_running_loop(), folder.load

    def slow() -> Startup:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(inside.set)
        go.wait()
        return load()

    def told(loaded: Startup) -> str:
        threads.append(threading.current_thread())
        return folder.told(loaded)

    folder.reloader._load, folder.reloader._told = slow, told
    reloading = asyncio.create_task(folder.reloader.reload())
    await inside.wait()
    assert (await fetch(folder.running.url, request(method="GET", path="/readyz"))).status == 200
    go.set()
    assert await reloading
    assert folder.models == ["m"]
    assert threads[0] is threads[1] is not threading.current_thread()
    assert threads[0].daemon


async def test_who_asks_meanwhile_gets_one_more(folder: Folder) -> None:
    """However many ask."""
    start(folder.reloader.run())
    for _ in range(5):
        folder.reloader.ask()
    await settled(lambda: folder.models == ["m"])
    folder.write("n")
    before = folder.loads
    for _ in range(100):
        folder.reloader.ask()
    await settled(lambda: folder.models == ["n"])
    assert folder.loads - before <= 2


async def test_a_broken_file_changes_nothing(folder: Folder, capfd: pytest.CaptureFixture[str]) -> None:
    """What is wrong is printed, and counted in the log."""
    await folder.reloader.reload()
    folder.mapping.write_text("oaiproxy: 1\nmodel: []\n")
    assert not await folder.reloader.reload()
    assert folder.models == ["m"]
    folder.config.unlink()
    assert not await folder.reloader.reload()
    assert folder.models == ["m"]
    lines = folder.logged(capfd)
    assert [(line["ok"], line["errors"] > 0, line.get("unread")) for line in lines] == [
        (True, False, None),
        (False, True, 0),
        (False, False, 1),
    ]


@pytest.mark.parametrize("error", [ValueError("canary"), OSError(24, "Too many open files"), OSError("canary")])
async def test_a_failure_of_ours_changes_nothing(
    folder: Folder, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    """It is logged without what it says, and the next reload works."""

    def buggy() -> Startup:
        raise error

    folder.reloader._load, load = buggy, folder.reloader._load
    assert not await folder.reloader.reload()
    folder.reloader._load = load
    assert await folder.reloader.reload()
    lines = [line for line in folder.logged(capfd) if line["event"] == "reload"]
    assert [line["ok"] for line in lines] == [False, True]
    assert "canary" not in json.dumps(lines)


async def test_a_thread_tells_what_went_wrong_in_it() -> None:
    """To who waits for it; nobody else need."""
    assert await apart(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        await apart(lambda: 1 // 0)
    go = threading.Event()
    waiting = asyncio.create_task(apart(go.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()


async def test_files_are_watched(folder: Folder) -> None:
    """Those that editors replace, that are written in place, that are broken for a while, and that come late."""
    start(folder.reloader.watch(0.01))
    folder.write("a")
    await settled(lambda: folder.models == ["a"])
    folder.mapping.write_text(MAPPING % ("b, b2", "http://backend.test"))
    await settled(lambda: folder.models == ["b", "b2"])
    loads = folder.loads
    folder.mapping.write_text("oaiproxy: [1\n")
    await settled(lambda: folder.loads > loads)
    assert folder.models == ["b", "b2"]
    folder.write("c")
    await settled(lambda: folder.models == ["c"])
    loads = folder.loads
    folder.config.write_text("mappings: [my.yaml, late.yaml]\n")
    await settled(lambda: folder.loads > loads)
    assert folder.models == ["c"]
    (folder.mapping.parent / "late.yaml").write_text(MAPPING % ("late", "http://backend.test"))
    await settled(lambda: folder.models == ["c", "late"])
    folder.mapping.unlink()
    folder.write("d")
    await settled(lambda: folder.models == ["d", "late"])


async def test_what_does_not_change_is_not_read_again(folder: Folder) -> None:
    """Also when it is broken."""
    await folder.reloader.reload()
    folder.mapping.write_text("oaiproxy: [1\n")
    await folder.reloader.reload()
    loads = folder.loads
    start(folder.reloader.watch(0))
    for _ in range(100):
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)
    assert folder.loads == loads


async def test_what_nobody_expected_is_tried_again_with_the_next_change(folder: Folder) -> None:
    """Not again and again; and no failure ends the watching."""
    await folder.reloader.reload()
    load, loads = folder.reloader._load, 0

    def buggy() -> Startup:
        nonlocal loads
        loads += 1
        raise MemoryError

    folder.reloader._load = buggy
    start(folder.reloader.watch(0))
    folder.write("n")
    await settled(lambda: loads == 1)
    for _ in range(100):
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)
    assert (loads, folder.models) == (1, ["m"])
    folder.reloader._load = load
    folder.write("o")
    await settled(lambda: folder.models == ["o"])


async def test_a_look_without_a_thread_comes_later(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be one again soon."""
    await folder.reloader.reload()
    tried = 0

    def none_left(_: threading.Thread) -> None:
        nonlocal tried
        tried += 1
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        start(folder.reloader.watch(0))
        await settled(lambda: tried > 1)
    folder.write("n")
    await settled(lambda: folder.models == ["n"])


async def test_a_config_map_is_watched(tmp_path: Path, folder: Folder) -> None:
    """Its files are links through a link to a folder, which alone is turned, and the folder before is taken away."""
    mount, number = tmp_path / "mount", 0
    mount.mkdir()

    def turn(models: str, config: str = "mappings: [my.yaml]\n") -> None:
        nonlocal number
        number += 1
        new, link = mount / f"..{number}", mount / "..data"
        new.mkdir()
        (new / "my.yaml").write_text(MAPPING % (models, "http://backend.test"))
        (new / "config.yaml").write_text(config)
        (mount / "..new").symlink_to(new.name)
        before = link.resolve()
        (mount / "..new").rename(link)
        if number > 1:
            shutil.rmtree(before)

    turn("a")
    for name in ("my.yaml", "config.yaml"):
        (mount / name).symlink_to(f"..data/{name}")
    folder.config = mount / "config.yaml"
    await folder.reloader.reload()
    assert folder.models == ["a"]
    start(folder.reloader.watch(0.01))
    turn("b")
    await settled(lambda: folder.models == ["b"])
    loads = folder.loads
    turn("c", "mappings: [none.yaml]\n")
    await settled(lambda: folder.loads > loads)
    assert folder.models == ["b"]
    turn("d")
    await settled(lambda: folder.models == ["d"])


@pytest.mark.parametrize("which", ["config", "mapping"])
async def test_what_cannot_be_read_for_a_while_is_read_then(folder: Folder, which: str) -> None:
    """It is taken away, is a folder, is a link to itself; and it comes back."""
    await folder.reloader.reload()
    start(folder.reloader.watch(0.01))
    path: Path = getattr(folder, which)
    away = path.with_suffix(".away")

    async def seen(change: Callable[[], object]) -> None:
        loads = folder.loads
        change()
        await settled(lambda: folder.loads > loads)
        assert folder.models == ["m"]

    def turn_round() -> None:
        path.rmdir()
        path.symlink_to(path.name)

    def come_back() -> None:
        path.unlink()
        away.rename(path)
        folder.write("n")

    await seen(lambda: path.rename(away))
    await seen(path.mkdir)
    await seen(turn_round)
    come_back()
    await settled(lambda: folder.models == ["n"])


async def test_watched_changes_under_load_lose_nothing(folder: Folder) -> None:
    """A stream of which each event comes after another change, and requests between: all are answered whole."""
    beats = [asyncio.Event() for _ in range(20)]
    steps = [step for number, beat in enumerate(beats) for step in (chunk(event(f"{number} ")), beat)]
    async with Backend([REQUEST, stream_head(), *steps, chunk(event(done=True)), chunk(b"")]) as backend:
        folder.write("m, x", backend.url)
        await folder.reloader.reload()
        start(folder.reloader.watch(0.005))
        async with await Client.connect(folder.running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"0 "')
            for number, beat in enumerate(beats):
                broken = number % 5 == 4
                loads = folder.loads
                folder.write("[" if broken else f"m, x{number}", backend.url)
                if broken:
                    await settled(lambda loads=loads: folder.loads > loads)
                else:
                    await settled(lambda number=number: folder.models == ["m", f"x{number}"])
                beat.set()
            wire = await client.answer()
        assert (wire.text, wire.events[-1]) == ("".join(f"{number} " for number in range(20)), "[DONE]")
        assert wire.complete


async def test_what_was_replaced_is_freed(folder: Folder) -> None:
    """As many objects after 50 reloads as after 10."""
    counts = []
    for number in range(50):
        folder.write(f"m, x{number}")
        assert await folder.reloader.reload()
        if number in (9, 49):
            await asyncio.sleep(0)
            gc.collect()
            counts.append(len(gc.get_objects()))
    assert counts[1] - counts[0] < 500
