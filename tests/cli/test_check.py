"""Promises of `oaiproxy check`: every fault with its place and its fix, and an exit code that scripts can rely on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import run
from support import ROOT

from oaiproxy.cli import main

EXAMPLE = (ROOT / "mappings/example.yaml").read_text()
SOUND = EXAMPLE.partition("examples:")[0].replace("mock:", "http://127.0.0.1:9")

# What is replaced in the example, by what, where the finding is, and its fix or what tells it.
BROKEN = {
    "wrong key": ("modles: [your-model]", "models: [your-model]", "6:1", "did you mean `models`?"),
    "wrong key inside": ("  response:\n    txt:", "  response:\n    text:", "19:5", "did you mean `text`?"),
    "duplicate key": ("models: [a]\nmodels: [your-model]", "models: [your-model]", "7:1", "remove one of the two"),
    "bad indent": ("   path: /generate\n    body", "    path: /generate\n    body", "13:5", "in the same column"),
    "tab": ("\tpath: /generate\n", "    path: /generate\n", "12:1", "indent with spaces"),
    "unclosed bracket": ("models: [your-model\n", "models: [your-model]\n", "6:9", "close it with `]`"),
    "bad Jinja": ("{{ prompt }", "{{ prompt }}", "14:26", "close what is opened"),
    "bad Jinja expression": ("{{ temperature + }}", "{{ temperature }}", "16:33", "write it before `}}`"),
    "unknown name": ("{{ promt }}", "{{ prompt }}", "14:19", "did you mean `prompt`?"),
    "unknown filter": ("{{ prompt | uper }}", "{{ prompt }}", "14:28", "did you mean `upper`?"),
    "bad JMESPath": ("text: generated_text[", "text: generated_text", "19:11", "something must follow `[`"),
    "bad JMESPath path": ("text: generated..text", "text: generated_text", "19:21", "such as `a.b[0].c`"),
    "unknown function": ("text: joined(generated_text)", "text: generated_text", "19:11", "did you mean `join`?"),
    "missing variable": ("${SOME_KEY}", "${YOUR_API_KEY:-}", "9:19", "export SOME_KEY=..."),
    "wrong type": ("models: your-model", "models: [your-model]", "6:9", "write it as a list"),
    "wrong value": ("format: json-concatt", "format: json-concat ", "23:13", "did you mean `json-concat`?"),
    "wrong version": ("oaiproxy: 2", "oaiproxy: 1", "5:11", "write 1"),
    "path without slash": ("path: generate\n    body", "path: /generate\n    body", "12:11", "write `/generate`"),
    "missing file": ('bearer: "${file:/nowhere/key}"', 'bearer: "${YOUR_API_KEY:-}"', "9:19", "make the file readable"),
    "example that fails": ("      text: The capital is", "      text: The capital of France is", "38:13", "expected"),
}


@pytest.fixture(autouse=True)
def no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the tests is."""
    for name in ("FORCE_COLOR", "NO_COLOR", "YOUR_API_BASE_URL", "YOUR_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def broken(name: str) -> str:
    """The example with one fault."""
    new, old, *_ = BROKEN[name]
    assert old in EXAMPLE
    return EXAMPLE.replace(old, new, 1)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_copy_of_the_example(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File, line, column and the fix are named, and the exit code is 1."""
    _, _, place, fix = BROKEN[name]
    path = tmp_path / "my.yaml"
    path.write_text(broken(name))
    assert main(["check", str(path)]) == 1
    out, err = capsys.readouterr()
    assert f"--> {path}:{place}\n" in out
    assert fix in out
    assert err == "1 file checked: 1 error\n"


def test_all_broken_copies_in_one_run_of_the_command(tmp_path: Path) -> None:
    """Each is told of, and the exit code is 1."""
    for name in BROKEN:
        (tmp_path / f"{name}.yaml").write_text(broken(name))
    done = run("check", tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr == f"{len(BROKEN)} files checked: {len(BROKEN)} errors\n"
    for name, (_, _, place, _) in BROKEN.items():
        assert f"--> {tmp_path}/{name}.yaml:{place}\n" in done.stdout


def test_the_shipped_mappings_are_sound() -> None:
    """As the real command, from a checkout, without any argument."""
    done = run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("checked: no findings\n")


def test_the_report_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and nothing else on standard output."""
    path = tmp_path / "my.yaml"
    path.write_text(broken("unknown name"))
    assert main(["check", "--format", "json", str(path)]) == 1
    out, err = capsys.readouterr()
    [found] = json.loads(out)
    assert found["file"] == str(path)
    assert (found["line"], found["column"], found["end_column"]) == (14, 19, 24)
    assert (found["code"], found["severity"]) == ("E203", "error")
    assert found["label"] == "did you mean `prompt`?"
    assert err == ""


def test_the_report_for_programs_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list."""
    path = tmp_path / "my.yaml"
    path.write_text(EXAMPLE)
    assert main(["check", "--format", "json", str(path)]) == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_a_warning_is_told_but_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0: the mapping is served."""
    path = tmp_path / "my.yaml"
    path.write_text(
        SOUND.replace("    done: finished", "    done: finished\n    finish_reason: \"a == true && 'stop'\"")
    )
    assert main(["check", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("warning[W301]: ")
    assert err == "1 file checked: 1 warning; it has no `examples`, so that no answer was tried\n"


def test_mappings_without_examples_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Selectors that never met an answer are not taken for sound; in JSON there are findings alone."""
    (tmp_path / "a.yaml").write_text(SOUND)
    (tmp_path / "b.yaml").write_text(EXAMPLE)
    assert main(["check", str(tmp_path)]) == 0
    told = "2 files checked: no findings; 1 of them has no `examples`, so that no answer was tried\n"
    assert capsys.readouterr() == (told, "")
    assert main(["check", "--format", "json", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_a_folder_is_searched_for_mappings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At any depth, by their endings, in the order of their names; a folder of such a name is none."""
    (tmp_path / "in/odd.yaml").mkdir(parents=True)
    for name in ("b.yaml", "in/a.yml", "in/odd.yaml/c.yaml"):
        (tmp_path / name).write_text(broken("wrong key"))
    (tmp_path / "notes.txt").write_text("no mapping")
    assert main(["check", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    places = [line.removeprefix(" --> ") for line in out.splitlines() if "-->" in line]
    assert places == [f"{tmp_path}/{name}:6:1" for name in ("b.yaml", "in/a.yml", "in/odd.yaml/c.yaml")]
    assert err == "3 files checked: 3 errors\n"


def test_several_paths_are_checked_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is named is checked whatever its ending."""
    (tmp_path / "b.txt").write_text(broken("wrong key"))
    (tmp_path / "a.yaml").write_text(EXAMPLE)
    assert main(["check", str(tmp_path / "b.txt"), str(tmp_path / "a.yaml")]) == 1
    assert capsys.readouterr().err == "2 files checked: 1 error\n"


def test_a_shipped_mapping_is_checked_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From any folder; a name that none has tells those that there are."""
    monkeypatch.chdir(tmp_path)
    assert main(["check", "example"]) == 0
    assert capsys.readouterr() == ("1 file checked: no findings\n", "")
    assert main(["check", "exampel"]) == 2
    complaint = "oaiproxy: there is no file or folder `exampel`; shipped mappings: anthropic, "
    assert capsys.readouterr().err.startswith(complaint)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere.yaml", "there is no file or folder `nowhere.yaml`"),
        ("nowhere/", "there is no file or folder `nowhere/`"),
        (".", "there are no mapping files (*.yaml, *.yml) to check"),
        ("x" * 300, f"`{'x' * 300}` cannot be read: File name too long"),
    ],
    ids=["no file", "no folder", "an empty folder", "no name"],
)
def test_nothing_to_check_is_wrong_use(
    name: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, so that a wrong path in a script never looks sound."""
    monkeypatch.chdir(tmp_path)
    assert main(["check", name]) == 2
    assert capsys.readouterr() == ("", f"oaiproxy: {complaint}\n")


def test_without_a_path_there_must_be_a_folder_of_mappings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name is told."""
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert capsys.readouterr().err == "oaiproxy: there is no file or folder `mappings`\n"


def test_a_file_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; what was found in the others is told."""
    (tmp_path / "a.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b.yaml").write_text(broken("wrong key"))
    assert main(["check", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "error[E101]" in out
    assert err.splitlines() == [
        f"oaiproxy: `{tmp_path}/a.yaml` cannot be read: No such file or directory",
        "1 file checked: 1 error",
    ]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_file_that_is_not_ours_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, not a traceback."""
    path = tmp_path / "my.yaml"
    path.write_text(EXAMPLE)
    path.chmod(0)
    assert main(["check", str(path)]) == 2
    assert f"`{path}` cannot be read: Permission denied" in capsys.readouterr().err


def test_bytes_that_are_not_utf_8_are_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback, and not a silent replacement in what is sent."""
    path = tmp_path / "my.yaml"
    path.write_bytes(SOUND.replace('"{{ prompt }}"', '"café {{ prompt }}"').encode("latin-1"))
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"error[E001]: the byte 0xE9 is not UTF-8\n  --> {path}:14:19\n")
    assert "save the file as UTF-8" in out


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--no-env"], 0)])
def test_the_environment_is_not_asked_when_told_so(
    options: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where mappings are checked the secrets often are not."""
    path = tmp_path / "my.yaml"
    path.write_text(EXAMPLE.replace(":-mock:}", "}").replace("${YOUR_API_KEY:-}", "${file:/nowhere/key}"))
    assert main(["check", *options, str(path)]) == code
    assert ("E601" in capsys.readouterr().out) is bool(code)


def test_the_environments_values_are_used_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A secret in the wrong place stays one."""
    monkeypatch.setenv("YOUR_API_BASE_URL", "sk-secret-in-the-wrong-place")
    path = tmp_path / "my.yaml"
    path.write_text(EXAMPLE)
    assert main(["check", str(path)]) == 1
    out, err = capsys.readouterr()
    assert f"--> {path}:8:8\n" in out
    assert "sk-secret" not in out + err


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour_follows_the_environment(
    variables: dict[str, str],
    coloured: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A pipe gets none by itself."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "my.yaml"
    path.write_text(broken("wrong key"))
    assert main(["check", str(path)]) == 1
    assert ("\x1b[" in capsys.readouterr().out) is coloured


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_report_is_printed_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    """What the terminal cannot show is escaped."""
    path = tmp_path / "my.yaml"
    path.write_text(SOUND.replace("{{ prompt }}", "日本 {{ promt }}"), encoding="utf-8")
    done = run("check", path, PYTHONIOENCODING=encoding)
    assert done.returncode == 1
    assert '"\\u65e5\\u672c {{ promt }}"' in done.stdout
    assert "Traceback" not in done.stderr
