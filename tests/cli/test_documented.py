"""Promises of `oaiproxy init --from-openapi`: a document to a mapping, and each thing wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run
from documents import DOCUMENTS, FOLDER

from oaiproxy.cli import main

HOME = FOLDER / "home-grown.json"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_document_becomes_a_mapping_that_passes_check(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a user does it: two commands."""
    code = main(["init", "--from-openapi", str(path), "--output", str(tmp_path / "mine.yaml")])
    told = capsys.readouterr().err
    assert code == (1 if "to do:" in told else 0), told
    code = main(["check", "--no-env", str(tmp_path / "mine.yaml")])
    assert (code, capsys.readouterr().out) == (0, "1 file checked: no findings\n")


def test_an_operation_is_chosen() -> None:
    """And the address given; the name is the API's own."""
    made = run("init", "--from-openapi", HOME, "--operation", "/generate", "--server", "https://models.example/a")
    assert made.returncode == 0, made.stderr
    assert "${MODELS_BASE_URL:-https://models.example}" in made.stdout
    assert "path: /a/generate" in made.stdout
    assert made.stderr == "models.yaml: checked with 2 examples: no findings\n"


def test_a_real_answer_stands_over_the_documents(tmp_path: Path) -> None:
    """It shows what the API does."""
    (tmp_path / "answer.json").write_text('{"generated_text": "I am here.", "finish_reason": "stop"}')
    made = run("init", "--from-openapi", HOME, "--response", tmp_path / "answer.json")
    assert "I am here." in made.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--operation", "genrate_generate_post"), "did you mean `generate_generate_post`?"),
        (("--server", "models"), "`--server models` is no address; write `https://host/path`"),
        (("--curl", "call.txt"), "there are two samples: give either `--curl` or `--from-openapi`"),
    ],
)
def test_wrong_use_is_told(arguments: tuple[str, ...], said: str) -> None:
    """With what to do."""
    made = run("init", "--from-openapi", HOME, *arguments)
    assert (made.returncode, made.stdout) == (2, "")
    assert said in made.stderr
    assert made.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff", "is not UTF-8 text: byte 0 is wrong"),
        (b"{}", "the document has neither `openapi` nor `swagger`"),
        (b"openapi: 3.1.0\npaths: {}\n", "has no operations"),
    ],
)
def test_what_is_no_document_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    """The file is named."""
    (tmp_path / "api.yaml").write_bytes(data)
    made = run("init", "--from-openapi", tmp_path / "api.yaml")
    assert made.returncode == 2
    assert made.stderr.startswith(f"oaiproxy: {tmp_path / 'api.yaml'}: ")
    assert said in made.stderr
