"""Promises of `oaiproxy.loader`: the files of a configuration to mappings, or to all that is wrong in any of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from keys import Authority
from support import ROOT

from oaiproxy.errors import MappingError
from oaiproxy.loader import Loader, mapping_schema

EXAMPLE = (ROOT / "mappings/example.yaml").read_text()
SMALL = """oaiproxy: 1
models: [%s]
backend: {url: "https://backend.test", auth: {bearer: "%s"}}
chat:
  request: {path: /x, body: {q: "{{ prompt }}"}}
  response: {text: out}
"""


def write(folder: Path, **texts: str) -> list[tuple[str, Path]]:
    """Write mappings; their names and paths as a configuration gives them."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [(f"{name}.yaml", folder / f"{name}.yaml") for name in texts]


def refused(loader: Loader, files: list[tuple[str, Path]]) -> MappingError:
    with pytest.raises(MappingError) as caught:
        loader.load(files)
    return caught.value


def test_mappings_are_loaded_in_order_with_their_files(tmp_path: Path) -> None:
    """They are named after these."""
    files = write(tmp_path, one=SMALL % ("a", "k"), two=SMALL % ("b", "k"))
    loaded, findings = Loader({}).load(reversed(files))
    assert [(mapping.name, path) for mapping, path in loaded] == [("two", files[1][1]), ("one", files[0][1])]
    assert findings == []


def test_warnings_do_not_refuse(tmp_path: Path) -> None:
    """They are given beside the mappings."""
    text = SMALL.replace("{text: out}", "{text: out, finish_reason: \"done == true && 'stop'\"}") % ("a", "k")
    loaded, findings = Loader({}).load(write(tmp_path, one=text))
    assert len(loaded) == 1
    assert [found.code for found in findings] == ["W301"]


def test_the_errors_of_all_files_come_together(tmp_path: Path) -> None:
    """With the texts that they are in, under the names that the configuration gives the files."""
    broken = EXAMPLE.replace("{{ prompt }}", "{{ promt }}")
    error = refused(Loader({}), write(tmp_path, one="models: [", two=SMALL % ("a", "k"), three=broken))
    assert [found.span.file for found in error.diagnostics if found.span] == ["one.yaml", "three.yaml"]
    assert error.sources["three.yaml"] == broken


def test_the_environment_is_the_one_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of the process."""
    monkeypatch.setenv("KEY", "of-the-process")
    files = write(tmp_path, one=SMALL % ("a", "${KEY}"))
    [(mapping, _)], _ = Loader({"KEY": "given"}).load(files)
    assert mapping.backend.headers["Authorization"] == "Bearer given"
    assert [found.code for found in refused(Loader({}), files).diagnostics] == ["E601"]


def test_the_environment_need_not_be_there(tmp_path: Path) -> None:
    """For who never calls the backend."""
    text = SMALL.replace("https://backend.test", "${URL}") % ("a", "${KEY}")
    loaded, findings = Loader({}).load(write(tmp_path, one=text), environment=False)
    assert [mapping.name for mapping, _ in loaded] == ["one"]
    assert findings == []


def test_files_are_found_beside_the_mapping(tmp_path: Path) -> None:
    """Wherever the process works."""
    files = write(tmp_path / "in", one=SMALL % ("a", "${file:key.txt}"))
    (tmp_path / "in/key.txt").write_text("from-the-file\n")
    [(mapping, _)], _ = Loader({}).load(files)
    assert mapping.backend.headers["Authorization"] == "Bearer from-the-file"


def test_a_file_that_is_not_text_is_refused_where_text_is_needed(tmp_path: Path) -> None:
    """A key of other bytes could not be sent."""
    files = write(tmp_path, one=SMALL % ("a", "${file:key.bin}"))
    (tmp_path / "key.bin").write_bytes(b"\xff\xfe")
    [found] = refused(Loader({}), files).diagnostics
    assert (found.code, found.message) == ("E602", "the file `key.bin` cannot be read: it is not UTF-8 text")


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        ("# café\n".encode("latin-1"), "E001", 1),
        (b"models: [m]\nx: \xff\n", "E001", 2),
        ("models: [m]\n".encode("utf-16"), "E001", 1),
        (b"\x00", "E001", 1),
        (b"\x1f\x8b\x08\x00gzip", "E001", 1),
        (b"", "E004", 1),
        (b"\xef\xbb\xbf", "E004", 1),
    ],
    ids=["latin-1", "one byte", "utf-16", "null", "gzip", "empty", "mark alone"],
)
def test_a_file_that_is_no_text_is_a_finding(data: bytes, code: str, line: int, tmp_path: Path) -> None:
    """With its place; never an exception, and never replaced in silence."""
    path = tmp_path / "one.yaml"
    path.write_bytes(data)
    checked = Loader({}).check(path)
    assert checked.mapping is None
    assert [(found.code, found.span and found.span.line) for found in checked.diagnostics] == [(code, line)]


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "one.yaml"
    path.write_text(EXAMPLE, encoding="utf-8-sig")
    assert Loader({}).check(path).diagnostics == ()


def test_findings_are_in_the_file_as_it_was_named(tmp_path: Path) -> None:
    """By its path where it has no other name."""
    [(_, path)] = write(tmp_path, one="models: [")
    loader = Loader({})
    for name, shown in ((None, str(path)), ("short", "short")):
        [found] = loader.check(path, name=name).diagnostics
        assert found.span is not None
        assert found.span.file == shown
    assert loader.sources == {str(path): "models: [", "short": "models: ["}


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read_is_an_error_of_the_system(name: str, tmp_path: Path) -> None:
    """It names the file."""
    with pytest.raises(OSError) as caught:
        Loader({}).check(tmp_path / name)
    assert Path(caught.value.filename) == tmp_path / name


EXTENDING = """oaiproxy: 1
extends: %s
models: [m]
chat:
  request: {headers: {x-own: "1"}}
"""


def test_a_mapping_extends_a_file_beside_it(tmp_path: Path) -> None:
    """Wherever the process works; the child's name, models and examples are its own."""
    write(tmp_path / "in", base=SMALL % ("a, b", "${file:key.txt}"))
    (tmp_path / "in/key.txt").write_text("k")
    files = write(tmp_path, own=EXTENDING % "in/base.yaml")
    [(mapping, path)], findings = Loader({}).load(files)
    assert (mapping.name, mapping.file, path) == ("own", "own.yaml", files[0][1])
    assert list(mapping.models) == ["m"]
    assert mapping.backend.headers["Authorization"] == "Bearer k"
    assert mapping.examples == []
    assert findings == []


def test_a_mapping_extends_one_that_ships(tmp_path: Path) -> None:
    """By its name."""
    text = EXTENDING % "example" + 'backend: {url: "https://backend.test"}\n'
    [(mapping, _)], _ = Loader({}).load(write(tmp_path, own=text))
    stream = mapping.endpoints["chat"].stream
    assert stream is not None
    assert stream.framing.name == "json-concat"


def test_a_fault_of_the_base_is_shown_there(tmp_path: Path) -> None:
    """With its text for the code frame, once, and with who extends it."""
    broken = (SMALL % ("a", "k")).replace("{{ prompt }}", "{{ promt }}")
    write(tmp_path / "in", base=broken)
    loader = Loader({})
    checked = loader.check(write(tmp_path, own=EXTENDING % "./in/base.yaml")[0][1], name="own.yaml")
    [found] = checked.diagnostics
    assert found.code == "E203"
    assert found.span is not None
    assert (found.span.file, found.span.line) == ("in/base.yaml", 5)
    assert found.label == "did you mean `prompt`?"
    assert found.help == "`own.yaml` extends this file"
    assert loader.sources["in/base.yaml"] == broken


def test_a_mapping_that_extends_itself_is_refused(tmp_path: Path) -> None:
    """Also by another spelling of its path."""
    files = write(tmp_path / "in", own=EXTENDING % "../in/own.yaml")
    assert [found.code for found in refused(Loader({}), files).diagnostics] == ["E108"]


def test_files_stand_beside_the_mapping_that_names_them(tmp_path: Path) -> None:
    """Also those that a base names: a chat template, certificates."""
    base = """
oaiproxy: 1
models: [m]
backend: {url: "https://backend.test", tls: {ca: ca.pem}}
chat:
  chat_template: {file: t.jinja}
  request: {path: /, body: {p: "{{ chat_prompt }}"}}
  response: {text: t}
"""
    write(tmp_path / "in", base=base)
    (tmp_path / "in/t.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    ca = Authority().cert
    (tmp_path / "in/ca.pem").write_text(ca)
    own = "oaiproxy: 1\nextends: ./in/base.yaml\nchat: {chat_template: {bos_token: b}}\n"
    [(mapping, _)], findings = Loader({}).load(write(tmp_path, own=own))
    assert findings == []
    assert mapping.backend.tls is not None
    assert mapping.backend.tls.ca == ca


def test_the_schema_is_that_of_mappings() -> None:
    """From where it ships."""
    assert "chat" in mapping_schema()["properties"]


def test_a_file_is_also_had_as_data(tmp_path: Path) -> None:
    """With what it extends, and with all that it refers to; what is no YAML is refused."""
    path = tmp_path / "mine.yaml"
    path.write_text("extends: example\nbackend: {url: 'https://${MY_HOST}'}\n")
    document = Loader({}).document(path)
    assert {each.name for each in document.references} == {"MY_HOST", "YOUR_API_KEY"}
    assert document.data["models"] == ["your-model"]
    path.write_text("a: [")
    with pytest.raises(MappingError):
        Loader({}).document(path)
