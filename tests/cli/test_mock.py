"""Promises of `oaiproxy mock`: a mapping's examples in the backend's own format, without any of its secrets."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest
from commands import Service
from scripted import fetch, request
from support import ROOT

from oaiproxy.cli import main

EXAMPLE = (ROOT / "mappings/example.yaml").read_text()
WITHOUT_EXAMPLES = EXAMPLE.partition("examples:")[0].replace("mock:", "http://127.0.0.1:9")
HELLO = request({"prompt": "What is the capital of France?"}, "/generate")


async def test_a_shipped_mapping_is_served_by_its_name(tmp_path: Path) -> None:
    """From any folder; the answer is the backend's, not OpenAI's."""
    async with Service("mock", "example", "--port", "0", cwd=tmp_path) as service:
        assert service.greeting == f"4 examples of `example` are served at {service.url}"
        wire = await fetch(service.url, HELLO)
        assert wire.json["generated_text"] == "The capital of France is Paris."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_it_well(number: signal.Signals, tmp_path: Path) -> None:
    """A mapping of one's own, which needs no address and no key of the real backend."""
    path = tmp_path / "mine.yaml"
    path.write_text(EXAMPLE.replace(":-mock:}", "}").replace(":-}", "}"))
    async with Service("mock", path, "--port", "0") as service:
        assert "examples of `mine`" in service.greeting
        service.signal(number)
        assert await service.end() == (0, "", "")


@pytest.mark.parametrize("name", ["nothing", "nothing.yaml", "."])
def test_an_unknown_mapping_is_wrong_use(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert main(["mock", name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"oaiproxy: `{name}` cannot be read: ")


def test_an_unknown_name_tells_those_that_ship(capsys: pytest.CaptureFixture[str]) -> None:
    """Or the one that it is near to; a path does not."""
    main(["mock", "nothing"])
    assert "No such file or directory; shipped mappings: anthropic, " in capsys.readouterr().err
    main(["mock", "anthropc"])
    assert "No such file or directory; did you mean `anthropic`?\n" in capsys.readouterr().err
    main(["mock", "./anthropc"])
    assert "shipped" not in capsys.readouterr().err


def test_a_mapping_without_examples_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells where they belong."""
    path = tmp_path / "my.yaml"
    path.write_text(WITHOUT_EXAMPLES)
    assert main(["mock", str(path)]) == 1
    assert capsys.readouterr() == ("", f"oaiproxy: `{path}` has no examples to serve; add some under `examples`\n")


def test_a_broken_mapping_is_refused_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `serve` does."""
    path = tmp_path / "my.yaml"
    path.write_text(EXAMPLE.replace("{{ prompt }}", "{{ promt }}"))
    assert main(["mock", str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"--> {path}:14:19\n" in printed.err
    assert printed.err.endswith("oaiproxy: not started: 1 error\n")


def test_a_busy_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As with `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert main(["mock", "example", "--port", str(port)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"oaiproxy: not started: cannot listen on 127.0.0.1:{port}: ")
    assert err.count("\n") == 1


def test_it_needs_no_uvloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It comes as far as to the address that it cannot listen on."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert main(["mock", "example", "--host", "203.0.113.1", "--port", "0"]) == 1
    assert "cannot listen on 203.0.113.1:0" in capsys.readouterr().err
