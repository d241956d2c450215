"""Promises of `oaiproxy.startup`: a configuration comes whole or not at all, and every file that it needs is known."""

from __future__ import annotations

from pathlib import Path

from support import ROOT

from oaiproxy.diagnostics import Severity
from oaiproxy.reading import print_of
from oaiproxy.startup import start_up

BASE = """\
oaiproxy: 1
models: [base]
backend: {url: "http://backend.test", auth: {bearer: "${file:key}"}}
chat:
  request: {path: /whole, body: {prompt: "{{ chat_prompt }}"}}
  chat_template: {file: words.jinja}
  response: {text: text}
"""


def write(folder: Path) -> Path:
    """A configuration with a mapping that extends another one, which names two files."""
    (folder / "config.yaml").write_text("mappings: [mine.yaml]\nserver: {port: 1}\n")
    (folder / "mine.yaml").write_text("oaiproxy: 1\nextends: base/base.yaml\nmodels: [m]\n")
    (folder / "base").mkdir()
    (folder / "base/base.yaml").write_text(BASE)
    (folder / "base/key").write_text("the-key-itself\n")
    (folder / "base/words.jinja").write_text("{% for each in messages %}{{ each.content }}{% endfor %}")
    return folder / "config.yaml"


def test_it_is_compiled_and_all_its_files_are_known(tmp_path: Path) -> None:
    """As they were when they were read; the command line goes over the configuration."""
    path = write(tmp_path)
    loaded = start_up(path, {}, port=2)
    assert loaded.config is not None, loaded.findings
    assert loaded.config.server.port == 2
    assert [sorted(mapping.models) for mapping, _ in loaded.mappings] == [["m"]]
    names = {file.resolve().relative_to(tmp_path).as_posix() for file in loaded.files}
    assert names == {"config.yaml", "mine.yaml", "base/base.yaml", "base/key", "base/words.jinja"}
    assert all(print_of(file) == then for file, then in loaded.files.items())
    (tmp_path / "base/key").write_text("another-key\n")
    assert [file.name for file, then in loaded.files.items() if print_of(file) != then] == ["key"]


def test_what_is_not_there_is_known_too(tmp_path: Path) -> None:
    """For it may come: a mapping, a file, the configuration itself."""
    path = write(tmp_path)
    for name in ("base/key", "mine.yaml", "config.yaml"):
        (tmp_path / name).unlink()
        loaded = start_up(path, {})
        assert loaded.config is None
        assert [file.name for file, then in loaded.files.items() if then is None] == [Path(name).name]
    assert loaded.absent == "No such file or directory"


def test_what_is_wrong_is_counted(tmp_path: Path) -> None:
    """One broken mapping makes all of it unusable."""
    (tmp_path / "config.yaml").write_text("mappings: [good.yaml, bad.yaml]\n")
    (tmp_path / "good.yaml").write_text((ROOT / "mappings/example.yaml").read_text())
    (tmp_path / "bad.yaml").write_text("oaiproxy: 1\n")
    loaded = start_up(tmp_path / "config.yaml", {})
    assert (loaded.config, loaded.count(Severity.WARNING)) == (None, 0)
    assert loaded.count(Severity.ERROR) == len(loaded.findings) > 0
    assert {found.span.file for found in loaded.findings if found.span} == {str(tmp_path / "bad.yaml")}
