"""Promises of `oaiproxy serve`: it says where, refuses what is broken before it listens, and ends when told to."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from commands import OAIPROXY, Service, environment, execute, run
from scripted import PATIENCE, REQUEST, Backend, Client, chunk, event, fetch, hello, request, stream_head
from support import ROOT

from oaiproxy import __version__
from oaiproxy.cli import main

EXAMPLE = (ROOT / "mappings/example.yaml").read_text()
needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
ANSWER = "The capital of France is Paris."
STREAMS = """oaiproxy: 1
models: [m]
backend: {url: "%s"}
chat:
  request: {path: /stream, body: {prompt: "{{ prompt }}"}}
  stream: {format: sse, text: t, done: d}
"""


def files(folder: Path, config: str = "mappings: [my.yaml]\n", **mappings: str) -> Path:
    """Write mappings by name, `my` by default the example, and a configuration, whose path is returned."""
    for name, text in ({"my": EXAMPLE} | mappings).items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "config.yaml").write_text(config)
    return folder / "config.yaml"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Serves what lies in the test's folder; gives what it complains of when it does not start."""
    monkeypatch.chdir(tmp_path)

    def serve(*options: str) -> str:
        assert main(["serve", "--port", "0", *options]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert '"listening"' not in printed.err
        return printed.err

    return serve


async def closed_door(url: str) -> None:
    """Wait until nobody listens there any more."""
    parts = urlsplit(url)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            except ConnectionError:
                return
            writer.close()


@pytest.fixture
def busy() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# ---- the start


async def test_the_greeting_names_version_models_base_url_and_what_is_not_real() -> None:
    """The address is what clients take for their `base_url`; without a backend's, the examples answer."""
    async with Service("serve", "--port", "0") as service:
        assert service.greeting == f"oaiproxy {__version__} serves your-model at {service.url}/v1"
        assert (await service.line()).startswith("the backend of `example` is its own examples")
        wire = await fetch(service.url, request(path="/v1/models", method="GET"))
        assert [model["id"] for model in wire.json["data"]] == ["your-model"]


async def test_the_greeting_says_nothing_of_a_real_backend(tmp_path: Path) -> None:
    """The next line is the one to try."""
    config = files(tmp_path)
    async with Service("serve", "--port", "0", "--config", config, YOUR_API_BASE_URL="http://127.0.0.1:1") as service:
        assert (await service.line()).startswith("try: curl ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
async def test_the_printed_curl_line_works() -> None:
    """As it stands, in a shell."""
    async with Service("serve", "--port", "0") as service:
        await service.line()
        command = (await service.line()).removeprefix("try: ")
        done = execute("sh", "-c", command)
        assert json.loads(done.stdout)["choices"][0]["message"]["content"] == ANSWER, done.stderr


async def test_the_printed_curl_line_has_a_place_for_the_key(tmp_path: Path) -> None:
    """Where clients are asked for one."""
    hashed = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    config = files(tmp_path, f"mappings: [my.yaml]\nkeys: [{{name: app, sha256: {hashed}}}]\n")
    async with Service("serve", "--port", "0", "--config", config) as service:
        await service.line()
        assert " -H 'Authorization: Bearer YOUR_KEY' " in await service.line()


async def test_several_mappings_are_served_together(tmp_path: Path) -> None:
    """Each under its models, in the order of the configuration."""
    second = EXAMPLE.replace("[your-model]", "[second, third]")
    config = files(tmp_path, "mappings: [second.yaml, my.yaml]\n", second=second)
    async with Service("serve", "--port", "0", "--config", config) as service:
        assert "serves second, third, your-model at" in service.greeting
        for model in ("third", "your-model"):
            wire = await fetch(service.url, hello(model=model))
            assert wire.text == ANSWER


async def test_a_shipped_mapping_is_served_by_its_name(tmp_path: Path) -> None:
    """Wherever the configuration lies."""
    config = files(tmp_path, "mappings: [example]\n")
    async with Service("serve", "--port", "0", "--config", config, cwd=tmp_path) as service:
        assert "serves your-model at" in service.greeting


async def test_the_options_go_over_the_configuration(tmp_path: Path, busy: int) -> None:
    """Neither the address nor the port of this configuration can be listened on."""
    config = files(tmp_path, f"mappings: [my.yaml]\nserver: {{host: 203.0.113.1, port: {busy}}}\n")
    async with Service("serve", "--config", config, "--host", "127.0.0.1", "--port", "0") as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert service.url != f"http://127.0.0.1:{busy}"


async def test_without_an_option_config_yaml_of_the_working_directory_is_read(tmp_path: Path) -> None:
    """Its port may come from the environment."""
    files(tmp_path, "mappings: [my.yaml]\nserver:\n  port: ${PORT:-1}\n")
    async with Service("serve", cwd=tmp_path, PORT="0") as service:
        assert (await fetch(service.url, request(path="/readyz", method="GET"))).status == 200


async def test_a_warning_is_printed_with_its_place_and_does_not_keep_from_serving(tmp_path: Path) -> None:
    """It stands on standard error, before the log."""
    text = STREAMS.replace("d}", "d, finish_reason: \"x == true && 'stop'\"}") % "http://127.0.0.1:1"
    config = files(tmp_path, my=text)
    async with Service("serve", "--port", "0", "--config", config) as service:
        service.signal(signal.SIGTERM)
        _, _, err = await service.end()
    assert err.startswith("warning[W301]: ")
    assert f"--> {tmp_path}/my.yaml:6:" in err


@pytest.mark.parametrize("redirect", [">&-", pytest.param(">/dev/full", marks=needs_full_disk)])
async def test_it_serves_also_when_the_greeting_cannot_be_printed(redirect: str) -> None:
    """A full disk or a closed stream is no reason not to."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {redirect}', "sh", *OAIPROXY, "serve", "--port", "0"),
        env=environment(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        port = json.loads(await process.stderr.readline())["port"]
        wire = await fetch(f"http://127.0.0.1:{port}", request(path="/readyz", method="GET"))
        assert wire.status == 200
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_it_serves_also_when_nobody_reads_the_log(tmp_path: Path) -> None:
    """The pipe is full long before the last of these requests."""
    config = files(tmp_path, "mappings: [my.yaml]\nlog: {level: debug}\n")
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(*OAIPROXY, "serve", "--config", config, "--port", "0"), env=environment(), stdout=-1, stderr=writer
    )
    os.close(writer)
    try:
        assert process.stdout is not None
        greeting = (await process.stdout.readline()).decode()
        url = greeting.split(" at ")[1].strip().removesuffix("/v1")
        async with await Client.connect(url) as client:
            for _ in range(700):
                await client.send(request(path=f"/livez?{'x' * 100}", method="GET"))
                assert (await client.answer()).status == 200
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
        assert process.returncode == 0
    finally:
        os.close(reader)
        if process.returncode is None:
            process.kill()
            await process.communicate()


# ---- the end


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_it_well(number: signal.Signals, loop: str, tmp_path: Path) -> None:
    """Exit code 0, nothing printed, and a log of JSON lines alone."""
    config = files(tmp_path, f"mappings: [my.yaml]\nserver: {{loop: {loop}}}\n")
    async with Service("serve", "--port", "0", "--config", config) as service:
        await service.line()
        await service.line()
        service.signal(number)
        code, out, err = await service.end()
    assert (code, out) == (0, "")
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["listening"]


async def test_a_stream_under_way_ends_well_after_the_signal(tmp_path: Path) -> None:
    """Nobody else gets in, and it ends with its last word and the end mark."""
    gate = asyncio.Event()
    script = [
        REQUEST,
        stream_head(),
        chunk(event("The ")),
        gate,
        chunk(event("end")),
        chunk(event(done=True)),
        chunk(b""),
    ]
    async with Backend(script) as backend:
        config = files(tmp_path, my=STREAMS % backend.url)
        async with Service("serve", "--port", "0", "--config", config) as service:
            async with await Client.connect(service.url) as client:
                await client.send(hello(stream=True))
                await client.until(b"The ")
                service.signal(signal.SIGTERM)
                await closed_door(service.url)
                gate.set()
                wire = await client.answer()
            assert wire.text == "The end"
            assert wire.complete
            assert wire.events[-1] == "[DONE]"
            assert (await service.end())[0] == 0


async def test_a_stream_that_outlives_the_patience_is_told_why_it_ends(tmp_path: Path) -> None:
    """An error event, no end mark, and still exit code 0."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), asyncio.Event()]) as backend:
        config = files(tmp_path, "mappings: [my.yaml]\nserver: {shutdown_timeout: 0.1}\n", my=STREAMS % backend.url)
        async with Service("serve", "--port", "0", "--config", config) as service:
            async with await Client.connect(service.url) as client:
                await client.send(hello(stream=True))
                await client.until(b"The ")
                service.signal(signal.SIGTERM)
                wire = await client.answer()
            assert wire.error["code"] == "server_shutdown"
            code, _, err = await service.end()
    assert code == 0
    assert "Traceback" not in err


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_the_second_signal_ends_it_at_once(second: signal.Signals, tmp_path: Path) -> None:
    """The stream would never end; exit code 1 and no traceback."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), asyncio.Event()]) as backend:
        config = files(tmp_path, "mappings: [my.yaml]\nserver: {shutdown_timeout: 3600}\n", my=STREAMS % backend.url)
        async with (
            Service("serve", "--port", "0", "--config", config) as service,
            await Client.connect(service.url) as client,
        ):
            await client.send(hello(stream=True))
            await client.until(b"The ")
            service.signal(signal.SIGTERM)
            await closed_door(service.url)
            service.signal(second)
            code, _, err = await service.end()
    assert code == 1
    assert "Traceback" not in err


# ---- what is refused


def test_a_broken_mapping_is_refused_with_its_place_and_a_frame(tmp_path: Path) -> None:
    """Nothing is printed but that, and nothing listens."""
    config = files(tmp_path, my=EXAMPLE.replace("{{ prompt }}", "{{ promt }}"))
    done = run("serve", "--port", "0", "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error[E203]: unknown name `promt`",
        f"  --> {tmp_path}/my.yaml:14:19",
        "   |",
        '14 |       prompt: "{{ promt }}"                  # the text of the last message',
        "   |                   ^^^^^ did you mean `prompt`?",
        "oaiproxy: not started: 1 error",
    ]


def test_a_broken_configuration_is_refused_with_its_place_and_a_frame(tmp_path: Path) -> None:
    """Nothing is printed but that, and nothing listens."""
    files(tmp_path, "mappings: [my.yaml]\nserver:\n  prot: 8000\n")
    done = run("serve", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error[E101]: unknown key `prot` in `server`",
        " --> config.yaml:3:3",
        "  |",
        "3 |   prot: 8000",
        "  |   ^^^^ did you mean `port`?",
        "oaiproxy: not started: 1 error",
    ]


def test_all_broken_mappings_are_told_in_one_run(tmp_path: Path, refused: Callable[..., str]) -> None:
    """So that nobody starts it once per fault."""
    broken = EXAMPLE.replace("text: chunk", "text: a..b")
    files(tmp_path, "mappings: [my.yaml, two.yaml]\n", my="oaiproxy: 1\n", two=broken)
    err = refused()
    assert "--> my.yaml:" in err
    assert "--> two.yaml:" in err


def test_a_broken_configuration_keeps_no_fault_of_its_mappings_back(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    """Both are told before anybody mends one."""
    files(tmp_path, "mappings: [my.yaml]\nserver: {prot: 1}\n", my="oaiproxy: 1\n")
    err = refused()
    assert "--> config.yaml:2:10" in err
    assert "--> my.yaml:1:1" in err


def test_a_mapping_that_is_not_there_is_refused_at_its_place(tmp_path: Path, refused: Callable[..., str]) -> None:
    """The fault is the configuration's."""
    files(tmp_path, "mappings: [my.yaml, nowhere]\n")
    err = refused()
    assert "error[E603]: there is no mapping file `nowhere`\n --> config.yaml:1:21\n" in err


def test_two_mappings_of_one_model_are_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    """Both are named."""
    files(tmp_path, "mappings: [my.yaml, example]\n")
    assert "error[E604]: the model `your-model` of `example` is also one of `my.yaml`" in refused()


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_configuration_that_cannot_be_read_is_wrong_use(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, which tells how to name another."""
    assert main(["serve", "--config", name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"oaiproxy: `{name}` cannot be read: ")
    assert printed.err.endswith("; name a file with `--config`\n")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this machine has no file that cannot be read")
def test_a_mapping_that_cannot_be_read_is_named(tmp_path: Path, refused: Callable[..., str]) -> None:
    """It is not the configuration's fault."""
    files(tmp_path, "mappings: [/proc/self/mem]\n")
    assert refused() == "oaiproxy: not started: `/proc/self/mem` cannot be read: Input/output error\n"


@pytest.mark.row(117)
@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_a_busy_port_is_one_line(loop: str, busy: int, tmp_path: Path, refused: Callable[..., str]) -> None:
    """It names the address, the reason and the way out."""
    files(tmp_path, f"mappings: [my.yaml]\nserver: {{loop: {loop}}}\n")
    assert refused("--port", str(busy)) == (
        f"oaiproxy: not started: cannot listen on 127.0.0.1:{busy}: Address already in use; "
        "choose with `--host` and `--port`\n"
    )


@pytest.mark.parametrize("host", ["a..b", "203.0.113.1"])
def test_an_address_that_is_none_of_ours_is_one_line(host: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    """Be it another machine's, or none at all."""
    files(tmp_path)
    _, err = refused("--host", host, "--insecure").split("\n", 1)
    assert err.startswith(f"oaiproxy: not started: cannot listen on {host}:0: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        (None, "uvloop is not installed: install it, or set `server.loop: asyncio`"),
        (
            SimpleNamespace(__version__="0.22.1"),
            "uvloop 0.22.1 is not safe: install 0.23.0 or newer, or set `server.loop: asyncio`",
        ),
    ],
    ids=["missing", "too old"],
)
def test_a_loop_that_cannot_be_had_is_one_line(
    module: object, complaint: str, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing was bound."""
    monkeypatch.setitem(sys.modules, "uvloop", module)
    files(tmp_path, "mappings: [my.yaml]\nserver: {loop: uvloop}\n")
    assert refused() == f"oaiproxy: not started: {complaint}\n"


HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("config", "options"),
    [("server: {host: 0.0.0.0}", ()), ("server: {host: '::'}", ()), ("server: {}", ("--host", "0.0.0.0"))],
)
def test_a_door_that_is_open_to_all_is_not_opened(
    config: str, options: tuple[str, ...], tmp_path: Path, refused: Callable[..., str]
) -> None:
    """One line, which says what to do."""
    files(tmp_path, f"mappings: [my.yaml]\n{config}\n")
    err = refused(*options)
    assert err.startswith("oaiproxy: not started: whoever reaches ")
    assert "`oaiproxy key`" in err
    assert "`server.insecure: true`" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "options", "warned"),
    [
        ("server: {host: 0.0.0.0, insecure: true}", (), True),
        ("server: {}", ("--host", "0.0.0.0", "--insecure"), True),
        ("server: {host: 0.0.0.0}", ("--host", "127.0.0.1"), False),
        (f"server: {{host: 0.0.0.0}}\nkeys: [{{name: app, sha256: {HASH}}}]", (), False),
        (f"server: {{host: 0.0.0.0}}\nkeys: [{{name: app, sha256: {HASH}}}]", ("--insecure",), False),
    ],
)
async def test_a_door_that_is_meant_to_be_open_is_warned_of(
    config: str, options: tuple[str, ...], warned: bool, tmp_path: Path
) -> None:
    """At every start, in one line before the log; with keys it is not open."""
    path = files(tmp_path, f"mappings: [my.yaml]\n{config}\n")
    async with Service("serve", "--port", "0", "--config", path, *options) as service:
        service.signal(signal.SIGTERM)
        code, _, err = await service.end()
    assert code == 0
    lines = err.splitlines()
    assert lines[0].startswith("oaiproxy: warning: whoever reaches 0.0.0.0 may use the backends") is warned
    assert json.loads(lines[-1])["event"] == "listening"
    assert len(lines) == 1 + warned


async def test_the_greeting_tells_of_the_socket(tmp_path: Path) -> None:
    """Which lies beside the configuration, and the line to try asks there."""
    config = files(tmp_path, "mappings: [my.yaml]\nserver: {socket: s}\n")
    async with Service("serve", "--config", config) as service:
        assert service.greeting.endswith(f" at http://localhost/v1 on the socket {tmp_path}/s")
        await service.line()
        assert (await service.line()).startswith(f"try: curl --unix-socket {tmp_path}/s http://localhost/v1/")
        service.signal(signal.SIGTERM)
        code, _, err = await service.end()
    assert code == 0
    assert json.loads(err.splitlines()[0])["socket"] == f"{tmp_path}/s"
    assert not (tmp_path / "s").exists()


def test_a_socket_that_cannot_be_had_is_one_line(tmp_path: Path, refused: Callable[..., str]) -> None:
    """It does not fit, or is a file of somebody's."""
    files(tmp_path, "mappings: [my.yaml]\nserver: {socket: my.yaml}\n")
    assert refused() == "oaiproxy: not started: cannot listen on `my.yaml`: there is a file that is no socket\n"
    files(tmp_path, f"mappings: [my.yaml]\nserver: {{socket: {'s' * 200}}}\n")
    assert refused().count("\n") == 1


def test_a_certificate_that_cannot_be_used_is_refused_at_its_place(tmp_path: Path, refused: Callable[..., str]) -> None:
    """Before anything listens."""
    files(tmp_path, "mappings: [my.yaml]\nserver: {tls: {certificate: c.pem, key: k.pem}}\n")
    err = refused()
    assert "error[E602]: the file `c.pem` cannot be read: no such file or directory\n --> config.yaml:2:29" in err
