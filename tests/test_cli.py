"""Promises of `oaiproxy.cli`: its commands, wrong use, and no traceback for whatever its surroundings do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import OAIPROXY, environment, execute, run
from scripted import PATIENCE
from support import ROOT

import oaiproxy
from oaiproxy.cli import COMMANDS, main, parser

full_disk = pytest.param(
    ">/dev/full",
    1,
    "oaiproxy: cannot print: No space left on device\n",
    marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full"),
)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A mapping with a fault, of which `check` has much to print."""
    path = tmp_path / "broken.yaml"
    path.write_text("oaiproxy: 1\nmodles: [m]\n")
    return path


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """That of the package."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"oaiproxy {oaiproxy.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of all commands, and of each."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(arguments)
    assert capsys.readouterr().out.startswith(f"usage: oaiproxy {arguments[0] if arguments[1:] else '[-h]'}")


@pytest.mark.parametrize(("name", "hint"), [("srve", "did you mean `serve`?"), ("x", "commands: serve, check, ")])
def test_a_command_that_there_is_not(name: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The one that was meant is told, or all."""
    assert main([name, "--help"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"oaiproxy: there is no command `{name}`; {hint}")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: COMMAND"),
        (["serve", "--prot", "1"], "unrecognized arguments: --prot 1"),
        (["serve", "more"], "unrecognized arguments: more"),
        (["serve", "--port", "eighty"], "`eighty` is not a port (0 to 65535)"),
        (["serve", "--port", "65536"], "`65536` is not a port (0 to 65535)"),
        (["serve", "--port", "-1"], "--port"),
        (["serve", "--port", "٨٠"], "`٨٠` is not a port (0 to 65535)"),
        (["serve", "--port", "9" * 5000], "invalid port value"),
        (["serve", "--host", ""], "the address is empty (all are 0.0.0.0 or ::)"),
        (["mock"], "required: MAPPING"),
        (["mock", "example", "--port", "x"], "`x` is not a port (0 to 65535)"),
        (["check", "--format", "xml"], "invalid choice: 'xml'"),
        (["healthcheck", "http://h"], "unrecognized arguments: http://h"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_wrong_use(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what is wrong on standard error."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert complaint in printed.err


@pytest.mark.parametrize("port", ["0", "80", "65535"])
def test_ports(port: str) -> None:
    """Any that there is."""
    assert parser().parse_args(["serve", "--port", port]).port == int(port)


def test_the_defaults_of_serve_leave_the_configuration_alone() -> None:
    """What is not given does not go over it."""
    given = parser().parse_args(["serve"])
    assert (given.config, given.host, given.port) == ("config.yaml", None, None)


def test_help_and_version_load_no_libraries() -> None:
    """They come at once."""
    code = "import sys, oaiproxy.cli as cli; cli.parser(); print({'aiohttp', 'jinja2', 'yaml'} & sys.modules.keys())"
    assert execute(sys.executable, "-c", code).stdout == "set()\n"


@pytest.mark.parametrize(
    ("redirect", "code", "err"),
    [
        (">&-", 1, "1 file checked: 3 errors\n"),
        ("2>&-", 1, ""),
        (">&- 2>&-", 1, ""),
        ("<&-", 1, "1 file checked: 3 errors\n"),
        full_disk,
    ],
)
def test_standard_streams_that_are_closed_or_full(redirect: str, code: int, err: str, broken: Path) -> None:
    """The exit code is what it always is, and there is no traceback."""
    done = execute("sh", "-c", f'exec "$@" {redirect}', "sh", *OAIPROXY, "check", broken)
    assert (done.returncode, done.stderr) == (code, err)


@pytest.mark.parametrize("command", [["check"], ["check", "--format", "json"], ["check", "sound"]], ids=" ".join)
def test_nobody_reads_what_is_printed(command: list[str], broken: Path) -> None:
    """As with `| head -1`: exit code 1, not a word."""
    reader, writer = os.pipe()
    os.close(reader)
    path = broken if "sound" not in command else ROOT / "mappings/example.yaml"
    arguments = [each for each in command if each != "sound"]
    try:
        done = subprocess.run(
            [*OAIPROXY, *arguments, path],
            cwd=ROOT,
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=6 * PATIENCE,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


async def test_an_interrupt_ends_it_without_a_traceback(tmp_path: Path) -> None:
    """While it waits for a file: exit code 130, as shells expect."""
    fifo = tmp_path / "slow.yaml"
    os.mkfifo(fifo)
    process = await asyncio.create_subprocess_exec(
        *OAIPROXY, "check", str(fifo), cwd=ROOT, env=environment(), stderr=subprocess.PIPE
    )
    # Opening waits until the command opens it too.
    writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
    try:
        ending = asyncio.create_task(process.communicate())
        async with asyncio.timeout(PATIENCE):
            while not ending.done():  # one that comes just before the process begins to read is not seen
                process.send_signal(signal.SIGINT)
                await asyncio.wait([ending], timeout=5)
        assert (process.returncode, (await ending)[1]) == (130, b"")
    finally:
        os.close(writer)


def test_the_commands_own_errors_reach_the_shell() -> None:
    """The exit code of the process is that of the command."""
    assert run("check", "nowhere").returncode == 2
