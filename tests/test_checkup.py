"""Promises of `oaiproxy.checkup`: each file once, in the order of naming, and all findings in one run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import ROOT

from oaiproxy.checkup import CheckedFile, Checkup
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.loader import Loader

SMALL = """oaiproxy: 1
models: [%s]
backend: {url: "https://backend.test"}
chat:
  request: {path: /x, body: {q: "{{ %s }}"}}
  response: {text: out}
"""


def write(folder: Path, config: str, **mappings: str) -> Path:
    """Mappings by name, and a configuration, whose path is returned."""
    for name, text in mappings.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "config.yaml").write_text(config)
    return folder / "config.yaml"


def checked(*paths: Path, environment: bool = True) -> list[CheckedFile]:
    checkup = Checkup(Loader({}), environment=environment)
    for path in paths:
        checkup.add(path)
    return checkup.run()


def told(files: list[CheckedFile]) -> list[tuple[str, str, int, int]]:
    """Code, file, line and column of each finding."""
    found: list[Diagnostic] = [each for file in files for each in file.diagnostics]
    return [(each.code, Path(each.span.file).name, each.span.line, each.span.column) for each in found if each.span]


def test_a_configuration_and_its_mappings_are_told_in_one_run(tmp_path: Path) -> None:
    """Its own fault keeps none of theirs back."""
    config = write(
        tmp_path,
        "mappings:\n  - a.yaml\n  - nowhere.yaml\n  - b.yaml\nserver: {prot: 1}\n",
        a=SMALL % ("a", "promt"),
        b=SMALL % ("b", "prmpt"),
    )
    assert told(checked(config)) == [
        ("E603", "config.yaml", 3, 5),
        ("E101", "config.yaml", 5, 10),
        ("E203", "a.yaml", 5, 37),
        ("E203", "b.yaml", 5, 37),
    ]


def test_a_model_of_two_mappings_has_the_place_of_the_second(tmp_path: Path) -> None:
    """Both are named, also where one is broken in another way."""
    sound, broken = SMALL % ("c, b", "prompt"), SMALL % ("a, b", "promt")
    config = write(tmp_path, "mappings:\n- one.yaml\n- two.yaml\n", one=broken, two=sound)
    files = checked(config)
    assert told(files) == [("E604", "config.yaml", 3, 3), ("E203", "one.yaml", 5, 37)]
    [found] = files[0].diagnostics
    assert found.message == "the model `b` of `two.yaml` is also one of `one.yaml`"
    assert found.help


def test_models_of_mappings_by_themselves_may_be_the_same(tmp_path: Path) -> None:
    """Nobody serves them together; one configuration may have what another has."""
    small = SMALL % ("a", "prompt")
    config = write(tmp_path, "mappings: [one.yaml]\n", one=small, two=small)
    (tmp_path / "other.yaml").write_text("mappings: [two.yaml]\n")
    assert told(checked(config, tmp_path / "other.yaml", tmp_path / "two.yaml")) == []


def test_a_mapping_that_is_listed_twice_is_told_once(tmp_path: Path) -> None:
    """Not once for each of its models, and by whatever name."""
    config = write(tmp_path, "mappings: [a.yaml, a.yaml, ./a.yaml]\n", a=SMALL % ("a, b, c", "prompt"))
    files = checked(config)
    assert [found.message for found in files[0].diagnostics] == [
        "`a.yaml` is here twice",
        "`./a.yaml` is the same as `a.yaml`",
    ]
    assert [Path(file.file).name for file in files] == ["config.yaml", "a.yaml"]


def test_a_file_that_is_named_several_times_is_checked_once(tmp_path: Path) -> None:
    """By itself, by a configuration, by another path: at the place of the first."""
    config = write(tmp_path, "mappings: [b.yaml, a.yaml]\n", a=SMALL % ("a", "promt"), b=SMALL % ("b", "prompt"))
    files = checked(tmp_path / "a.yaml", config, tmp_path / "b.yaml", tmp_path / "." / "a.yaml")
    assert [Path(file.file).name for file in files] == ["a.yaml", "config.yaml", "b.yaml"]
    assert told(files) == [("E203", "a.yaml", 5, 37)]


def test_a_configuration_is_no_mapping(tmp_path: Path) -> None:
    """Not even of itself; what it names is checked all the same."""
    config = write(tmp_path, "mappings: [a.yaml, config.yaml, other.yaml]\n", a=SMALL % ("a", "prompt"))
    (tmp_path / "other.yaml").write_text("mappings: [example]\n")
    files = checked(config)
    assert told(files) == [("E004", "config.yaml", 1, 20), ("E004", "config.yaml", 1, 33)]
    assert [Path(file.file).name for file in files] == ["config.yaml", "a.yaml", "other.yaml", "example.yaml"]


def test_a_file_that_cannot_be_read_keeps_nothing_back(tmp_path: Path) -> None:
    """Its reason is the system's word."""
    first, second = checked(tmp_path, write(tmp_path, "mappings: []\n"))
    assert first.unread == "Is a directory"
    assert [found.code for found in second.diagnostics] == ["E105"]


def test_steps_are_told_of(tmp_path: Path) -> None:
    """As many as there are files."""
    checkup = Checkup(Loader({}))
    checkup.add(write(tmp_path, "mappings: [a.yaml, example]\n", a=SMALL % ("a", "prompt")))
    steps: list[str] = []
    checkup.run(steps.append)
    assert steps == [str(tmp_path / "config.yaml"), str(tmp_path / "a.yaml"), str(ROOT / "mappings/example.yaml")]
    assert len(checkup.files) == 3


def test_the_environment_need_not_be_there(tmp_path: Path) -> None:
    """Of a configuration either, and what it would name is not missing."""
    config = write(tmp_path, "mappings: [a.yaml, '${OTHER}']\nserver: {port: '${PORT}'}\n", a=SMALL % ("a", "prompt"))
    assert [code for code, *_ in told(checked(config))] == ["E601", "E601"]
    assert told(checked(config, environment=False)) == []


def test_a_search_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    """What has no key of ours, what is hidden; a misspelled mapping is ours, and so is what YAML cannot read."""
    (tmp_path / ".github").mkdir()
    foreign = {
        "compose.yaml": "services: {web: {image: x}}\nvolumes: {}\n",
        "play.yml": "- hosts: all\n",
        "openapi.yaml": "openapi: 3.1.0\ninfo: {}\npaths: {}\n",
    }
    ours = {"a.yaml": "oaiprxy: 1\nmodels: [m]\n", "b.yaml": "", "c.yaml": "backend: {{ x\n", "config.yaml": "x: 1\n"}
    for name, text in {**foreign, **ours, ".github/work.yaml": "on: push\n"}.items():
        (tmp_path / name).write_text(text)
    checkup = Checkup(Loader({}))
    checkup.search(tmp_path)
    assert [path.name for path in checkup.foreign] == sorted(foreign)
    assert [file.path.name for file in checkup.files.values()] == sorted(ours)
    checkup.add(tmp_path / "compose.yaml")
    assert any(found.span and found.span.file.endswith("compose.yaml") for found in checkup.run()[-1].diagnostics)


@pytest.mark.parametrize("beside", [False, True], ids=["the base alone is extended", "the base is checked too"])
def test_what_several_extend_is_told_once(beside: bool, tmp_path: Path) -> None:
    """One mistake is one finding, wherever it is met."""
    base = tmp_path / "base.yaml"
    base.write_text(SMALL % ("m", "promt"))
    checkup = Checkup(Loader({}))
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"oaiproxy: 1\nextends: ./base.yaml\nmodels: [{name}]\n")
        checkup.add(path)
    if beside:
        checkup.add(base)
    files = checkup.run()
    assert [place[0] for place in told(files)] == ["E203"]
    assert not any(file.mapping for file in files)
