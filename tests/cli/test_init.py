"""Promises of `oaiproxy init`: from files to a mapping that `check` passes; the exit code tells what is left."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from commands import OAIPROXY, environment
from support import ROOT

from oaiproxy.cli import main

CORPUS = ROOT / "tests/init"
CURL = "curl https://api.acme.test/say -H 'x-api-key: k-0123456789' -d '{\"prompt\": \"hi there\"}'"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with a sample."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curl.txt").write_text(CURL)
    (tmp_path / "answer.json").write_text('{"text": "Hello."}')
    return tmp_path


def options(api: str) -> list[str]:
    """What is given for an API of the corpus."""
    folder = CORPUS / api
    files = {"curl": "curl.txt", "response": "response.json", "stream": "stream.txt", "stream-curl": "stream-curl.txt"}
    return [
        word for key, name in files.items() if (folder / name).exists() for word in (f"--{key}", str(folder / name))
    ]


@pytest.mark.parametrize("api", ["anthropic", "dashscope", "example", "gemini", "ollama", "tgi"])
def test_what_it_writes_passes_check_untouched(api: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One command after the other."""
    assert main(["init", *options(api), "-o", f"mappings/{api}.yaml"]) == 0
    assert capsys.readouterr() == ("", f"mappings/{api}.yaml: checked with 2 examples: no findings\n")
    assert main(["check", "mappings"]) == 0
    assert capsys.readouterr().out == "1 file checked: no findings\n"


def test_from_standard_input_to_standard_output() -> None:
    """The mapping there, all else on standard error."""
    done = subprocess.run(
        [*OAIPROXY, "init"], input=CURL, env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout.startswith(
        "# acme: POST /say of api.acme.test, as one call of it showed.\n# Editors complete it "
    )
    assert "\n  # TODO: no sample of an answer was given" in done.stdout
    assert "oaiproxy: to do: no sample of an answer was given" in done.stderr
    assert "k-0123456789" not in done.stdout + done.stderr


def test_what_is_left_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The mapping is written all the same."""
    assert main(["init", *options("flowise"), "--output", "mine.yaml"]) == 1
    told = "what the API calls the role `system`: the sample does not show it"
    assert capsys.readouterr().err.splitlines() == [
        f"oaiproxy: to do: {told}",
        "mine.yaml: checked with 2 examples: no findings",
    ]
    assert f"# TODO: {told}" in Path("mine.yaml").read_text()


def test_a_file_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless that is asked for."""
    Path("mine.yaml").write_text("mine")
    arguments = ["init", "--curl", "curl.txt", "--response", "answer.json", "-o", "mine.yaml"]
    assert main(arguments) == 2
    told = "oaiproxy: `mine.yaml` is there already: choose another `--output`, or write over it with `--force`\n"
    assert capsys.readouterr().err == told
    assert Path("mine.yaml").read_text() == "mine"
    assert main([*arguments, "--force"]) == 0
    assert Path("mine.yaml").read_text() != "mine"


def test_names_that_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the API and the model; by default they are after the file."""
    assert main(["init", "--curl", "curl.txt", "--response", "answer.json", "-o", "their.yaml"]) == 0
    assert "value: ${THEIR_API_KEY:-}" in Path("their.yaml").read_text().replace('"', "")
    assert main(["init", "--curl", "curl.txt", "--response", "answer.json", "--name", "x", "--model", "y"]) == 0
    out = capsys.readouterr().out
    assert "models: [y]\n" in out
    assert "X_API_KEY" in out


def test_an_answer_with_its_headers() -> None:
    """As `curl -i` prints it; its type tells how it streams."""
    Path("answer.json").write_bytes(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"text": "Hello."}')
    Path("stream").write_bytes(b"HTTP/2 200\r\ncontent-type: text/event-stream; x=y\r\n\r\nid: 1\n\ndata: [DONE]\n\n")
    assert main(["init", "--curl", "curl.txt", "--response", "answer.json", "-o", "a.yaml"]) == 0
    assert "text: Hello.\n" in Path("a.yaml").read_text().replace("{", "").replace("}", "")
    assert main(["init", "--curl", "curl.txt", "--stream", "stream", "-o", "b.yaml"]) == 1
    assert "format: sse" in Path("b.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--curl nothing", "`nothing` cannot be read: No such file or directory"),
        ("--curl curl.txt --response nothing", "`nothing` cannot be read: No such file or directory"),
        ("--curl open.txt", "open.txt:2:4: the quote `'` that opens here is not closed"),
        ("--curl cmd.txt", "cmd.txt:1:10: this is written for Windows' cmd (`^`): copy the command for bash instead"),
        ("--curl file.txt", "file.txt:1:17: the file `no.json` that the command sends cannot be read: no such file or"),
    ],
)
def test_a_sample_that_cannot_be_read(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the place."""
    Path("open.txt").write_text("curl \\\n -H'x")
    Path("cmd.txt").write_text('curl u -H^"x^"')
    Path("file.txt").write_text("curl http://a.b -d @no.json")
    assert main(["init", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"oaiproxy: {told}")


def test_nothing_is_waited_for_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user who gave no sample is told what to give."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    assert main(["init"]) == 2
    assert capsys.readouterr().err.startswith("oaiproxy: there is no sample: give a curl command by `--curl FILE`")


@pytest.mark.parametrize("schema", ["mapping.schema.json", "../schemas/mapping.schema.json"])
def test_the_schema_is_named_where_it_is(schema: str) -> None:
    """By a path that is there; without it the file says how to have it."""
    place = Path("mappings") / schema
    arguments = ["init", "--curl", "curl.txt", "--response", "answer.json", "--output", "mappings/x.yaml"]
    assert main(arguments) == 0
    assert "yaml-language-server" not in Path("mappings/x.yaml").read_text()
    place.parent.mkdir(exist_ok=True)
    place.write_text("{}")
    assert main([*arguments, "--force"]) == 0
    assert Path("mappings/x.yaml").read_text().startswith(f"# yaml-language-server: $schema={schema}\n#\n# x: ")


def test_the_status_of_an_answer_tells_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Also behind the head of `100 Continue`."""
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\n\r\n"
    Path("answer.json").write_bytes(head + b'{"message": "No such\\nmodel."}')
    assert main(["init", "--curl", "curl.txt", "--response", "answer.json"]) == 1
    out, err = capsys.readouterr()
    told = "the sample of an answer is an error (`No such model.`): give one that went well with `--response`"
    assert f"  # TODO: {told}\nerrors: {{message: message}}\n" in out
    assert f"oaiproxy: to do: {told}\n" in err
