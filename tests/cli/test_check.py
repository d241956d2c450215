"""Promises of `oaiproxy check`: every fault with its place and its fix, and an exit code that scripts can rely on."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import run
from support import ROOT

from oaiproxy.catalog import CATALOG
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
    "bad Jinja": ("{{ prompt }", "{{ prompt }}", "14:26", "write `}}`"),
    "bad Jinja expression": ("{{ temperature + }}", "{{ temperature }}", "16:33", "write it before `}}`"),
    "unknown name": ("{{ promt }}", "{{ prompt }}", "14:19", "did you mean `prompt`?"),
    "unknown filter": ("{{ prompt | uper }}", "{{ prompt }}", "14:28", "did you mean `upper`?"),
    "bad JMESPath": ("text: generated_text[", "text: generated_text", "19:26", "something must follow `[`"),
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
    """From any folder; a name that none has tells the one that is near, or those that there are."""
    monkeypatch.chdir(tmp_path)
    assert main(["check", "example"]) == 0
    assert capsys.readouterr() == ("1 file checked: no findings\n", "")
    assert main(["check", "exampel"]) == 2
    complaint = "oaiproxy: there is no file or folder `exampel`; did you mean `example`?"
    assert capsys.readouterr().err.startswith(complaint)
    assert main(["check", "zzz"]) == 2
    assert "; shipped mappings: anthropic, " in capsys.readouterr().err


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


def test_without_a_path_there_must_be_something_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of what is missing is told."""
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert capsys.readouterr().err == "oaiproxy: there is no file or folder `mappings`\n"


def test_without_a_path_the_configuration_and_the_folder_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever there is; what both name is checked once."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("mappings: [mappings/a.yaml, own.yaml]\n")
    Path("own.yaml").write_text(SOUND.replace("your-model", "own"))
    Path("mappings").mkdir()
    for name in ("a", "b"):
        Path(f"mappings/{name}.yaml").write_text(EXAMPLE)
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("4 files checked: no findings; 1 of them has no `examples`")
    for path in Path("mappings").iterdir():
        path.unlink()
    Path("mappings").rmdir()
    Path("config.yaml").write_text("mappings: [own.yaml]\n")
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("2 files checked: no findings; 1 of them has no `examples`")


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


# ---- configurations


def test_a_configuration_is_checked_with_all_that_it_names(tmp_path: Path) -> None:
    """Its findings first; files are named so that they are found from here."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/my.yaml").write_text(broken("unknown name"))
    (tmp_path / "in/config.yaml").write_text("mappings:\n  - my.yaml\n  - example\nserver:\n  prot: 1\n")
    done = run("check", "in/config.yaml", cwd=tmp_path)
    assert done.returncode == 1
    places = [line.partition("--> ")[2] for line in done.stdout.splitlines() if "-->" in line]
    assert places == ["in/config.yaml:3:5", "in/config.yaml:5:3", "in/my.yaml:14:19"]
    assert done.stderr == "3 files checked: 3 errors\n"


def test_a_configuration_beside_its_mappings_tells_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder has both."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("mappings: [my.yaml]\n")
    Path("my.yaml").write_text(broken("unknown name"))
    assert main(["check", ".", "my.yaml", "config.yaml"]) == 1
    out, err = capsys.readouterr()
    assert out.count("error[") == 1
    assert err == "2 files checked: 1 error\n"


# ---- standard input


@pytest.mark.parametrize(("text", "code"), [(EXAMPLE, 0), (broken("unknown name"), 1), ("mappings: [no.yaml]\n", 1)])
def test_a_mapping_is_read_from_standard_input(
    text: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or a configuration; findings call it `<stdin>`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["check", "-", "-"]) == code
    out, err = capsys.readouterr()
    assert ("--> <stdin>:" in out) is bool(code)
    assert (out + err).endswith(f"1 file checked: {'1 error' if code else 'no findings'}\n")


def test_what_standard_input_names_is_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("key.txt").write_text("k")
    text = EXAMPLE.replace("${YOUR_API_KEY:-}", "${file:key.txt}")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["check", "-"]) == 0


# ---- reports for other programs


def test_the_report_for_github(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard output, files by their paths from here however they were named; the summary is beside it."""
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(broken("unknown name"))
    assert main(["check", "--format", "github", str(tmp_path / "my.yaml")]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("::error file=my.yaml,line=14,endLine=14,col=19,endColumn=24,title=E203%3A ")
    assert err == "1 file checked: 1 error\n"


@pytest.mark.parametrize("name", ["wrong key", ""])
def test_the_report_in_sarif(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One document, also of nothing."""
    monkeypatch.chdir(tmp_path)
    Path("my file.yaml").write_text(broken(name) if name else EXAMPLE)
    assert main(["check", "--format", "sarif", str(tmp_path)]) == bool(name)
    out, err = capsys.readouterr()
    results = json.loads(out)["runs"][0]["results"]
    uris = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
    assert uris == (["my%20file.yaml"] if name else [])
    assert err == ""


def test_the_report_for_junit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, or written beside another report; a case fails, and the code is that of any report."""
    (tmp_path / "a.yaml").write_text(EXAMPLE)
    (tmp_path / "b.yaml").write_text(broken("example that fails"))
    assert main(["check", "--format", "junit", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    cases = {case.get("name"): case for case in ElementTree.fromstring(printed)[1]}
    assert [name for name, case in cases.items() if len(case)] == ["example: a whole answer"]
    assert cases.keys() > {"yaml", "schema", "templates", "example: a stream"}
    assert main(["check", "--junit", str(tmp_path / "out.xml"), str(tmp_path)]) == 1
    assert (tmp_path / "out.xml").read_text() == printed
    assert "error[E502]" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found is printed all the same."""
    (tmp_path / "a.yaml").write_text(broken("wrong key"))
    assert main(["check", "--junit", str(tmp_path), str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "error[E101]" in out
    assert f"oaiproxy: `{tmp_path}` cannot be written: Is a directory\n" in err


# ---- other options


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1), (["--strict", "--format", "json"], 1)])
def test_warnings_count_when_told_so(options: list[str], code: int, tmp_path: Path) -> None:
    """For the exit code alone: they stay warnings."""
    path = tmp_path / "my.yaml"
    path.write_text(
        SOUND.replace("    done: finished", "    done: finished\n    finish_reason: \"a == true && 'stop'\"")
    )
    assert main(["check", *options, str(path)]) == code
    path.write_text(SOUND)
    assert main(["check", *options, str(path)]) == 0


@pytest.mark.parametrize("code", ["E203", "e203"])
def test_a_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what the catalog has of it, and where its example is."""
    assert main(["check", "--explain", code]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("error[E203]: An unknown name\n")
    assert CATALOG["E203"].cause in " ".join(out.split())
    assert CATALOG["E203"].fix in " ".join(out.split())
    page, _, part = out.splitlines()[-1].removeprefix("page: ").partition("#")
    assert f"(#{part})" in (ROOT / page).read_text()
    assert err == ""


def test_a_warnings_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """As a warning."""
    assert main(["check", "--explain", "W301"]) == 0
    assert capsys.readouterr().out.startswith("warning[W301]: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["E2O3"], "no finding has the code `E2O3`; did you mean `E2"),
        (["nonsense"], "no finding has the code `nonsense`; codes stand in findings, such as `error[E203]`"),
        (["E203", "my.yaml"], "`--explain` takes a code alone, and no files"),
    ],
)
def test_a_code_that_is_none_is_wrong_use(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one that is near."""
    assert main(["check", "--explain", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"oaiproxy: {complaint}")


def test_files_of_others_are_told_of_and_not_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder; the report and the exit code are those of the mappings."""
    (tmp_path / "my.yaml").write_text(EXAMPLE)
    other = tmp_path / "docker-compose.yaml"
    other.write_text("services: {web: {image: nginx}}\n")
    assert main(["check", str(tmp_path)]) == 0
    told = f"oaiproxy: not checked, as no key of a mapping or configuration is there: `{other}`\n"
    assert capsys.readouterr() == ("1 file checked: no findings\n", told)
    assert main(["check", str(other)]) == 1
