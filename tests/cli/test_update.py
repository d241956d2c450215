"""Promises of `oaiproxy check --update`: the examples say what comes out, and nothing else in the file changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import run
from support import ROOT

TEXT = """\
# mine
oaiproxy: 1
models: [small]
backend: {url: "http://127.0.0.1:9", auth: {bearer: "${YOUR_API_KEY:-}"}}
chat:
  request: {path: /talk, body: {q: "{{ prompt }}", more: {t: "{{ temperature }}"}}}
  response: {text: text, usage: {completion: count}}

examples:   # of them
- name: one    # the first
  request: {messages: [{role: user, content: hi}], temperature: 1}
  sends:
    path: /tolk   # wrong
    body:
      # what is asked
      q: 'hi'
  backend: {json: {text: "Hello\\nthere", count: 3}}
  replies: {text: Hallo, finish_reason: stop, usage: {completion_tokens: 2}}   # so far
- name: two
  request: {messages: [{role: user, content: hi}]}
  backend: {json: {text: Hello}}
# the end
"""
AFTER = TEXT.replace("/tolk", "/talk").replace("q: 'hi'\n", "q: 'hi'\n      more: {t: 1}\n")
AFTER = AFTER.replace("{text: Hallo,", '{text: "Hello\\nthere",').replace(
    "completion_tokens: 2", "completion_tokens: 3"
)
AFTER = AFTER.replace(
    "  backend: {json: {text: Hello}}\n",
    "  backend: {json: {text: Hello}}\n  sends: {path: /talk, body: {q: hi}}\n"
    "  replies: {text: Hello, finish_reason: stop}\n",
)


def _with_key(text: str) -> str:
    """The mapping, whose body holds the key too."""
    text = text.replace("\nchat:", '\nvars: {key: "${YOUR_API_KEY:-none}"}\nchat:')
    return text.replace('{t: "{{ temperature }}"}', '{t: "{{ temperature }}", k: "{{ vars.key }}"}')


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_differs_is_written(end: str, tmp_path: Path) -> None:
    """And shown; then nothing is wrong any more, and a second time nothing is to do."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(TEXT.replace("\n", end).encode())
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    done = run("check", "--update", link)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_bytes().decode() == AFTER.replace("\n", end)
    assert "-    path: /tolk   # wrong\n+    path: /talk   # wrong\n" in done.stdout
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.yaml", "mine.yaml"]
    again = run("check", "--update", path)
    assert again.stdout == "1 file checked: no findings\n"


def test_what_has_other_errors_is_left_alone(tmp_path: Path) -> None:
    """And said."""
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("models:", "modles:"))
    done = run("check", "--update", path)
    assert done.returncode == 1
    assert "is not updated: mend what else is wrong first (E101)" in done.stderr
    assert path.read_text() == TEXT.replace("models:", "modles:")


def test_a_failure_is_not_made_right(tmp_path: Path) -> None:
    """Whether an example is meant to fail is for its author to say."""
    path = tmp_path / "mine.yaml"
    text = TEXT.replace("{json: {text: Hello}}", "{status: 500, text: no}\n  replies: {text: Hello}")
    path.write_text(text)
    done = run("check", "--update", path)
    assert done.returncode == 1
    assert "the example `two` fails, which is for you to say" in done.stderr
    assert "{text: Hello}" in path.read_text()
    assert "path: /talk" in path.read_text()


def test_secrets_are_not_written(tmp_path: Path) -> None:
    """A part that would hold one stays as it is."""
    path = tmp_path / "mine.yaml"
    path.write_text(_with_key(AFTER))
    done = run("check", "--update", path, YOUR_API_KEY="k-12345678")
    assert done.returncode == 1
    assert "would hold a secret" in done.stderr
    assert "k-12345678" not in path.read_text() + done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--format", "json", "."], "--format text"), (["example"], "ships with oaiproxy"), (["-"], "standard input")],
)
def test_wrong_use(options: list[str], told: str, tmp_path: Path) -> None:
    """Exits with 2."""
    done = run("check", "--update", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_base_is_not_touched(tmp_path: Path) -> None:
    """Only the file itself is edited."""
    base = tmp_path / "base.yaml"
    base.write_text(TEXT)
    path = tmp_path / "mine.yaml"
    path.write_text("extends: base.yaml\nexamples:\n" + TEXT.partition("# of them\n")[2])
    done = run("check", "--update", path)
    assert done.returncode == 0, done.stdout
    assert base.read_text() == TEXT
    assert path.read_text().endswith(AFTER.partition("# of them\n")[2])


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Is one line; the file stays whole."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    tmp_path.chmod(0o500)
    done = run("check", "--update", path)
    tmp_path.chmod(0o700)
    assert "is not updated: Permission denied" in done.stderr
    assert path.read_text() == TEXT


@pytest.mark.parametrize("name", ["anthropic", "cohere", "replicate"])
def test_what_is_right_stays(name: str, tmp_path: Path) -> None:
    """Shipped mappings are as they are."""
    path = tmp_path / f"{name}.yaml"
    path.write_bytes((ROOT / f"mappings/{name}.yaml").read_bytes())
    done = run("check", "--update", "--no-env", path)
    assert done.returncode == 0, done.stdout
    assert path.read_bytes() == (ROOT / f"mappings/{name}.yaml").read_bytes()
