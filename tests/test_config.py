"""Promises of `oaiproxy.config`: a checked configuration from a file, the environment and the command line."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from oaiproxy.config import Breaker, Config, Key, Limits, Server, Settings, check_config, is_config, read_config
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.errors import MappingError
from oaiproxy.loader import mapping_schema

SCHEMA = json.loads((ROOT / "schemas/config.schema.json").read_text())


def read(
    folder: Path, text: str, environment: dict[str, str] | None = None, host: str | None = None, port: int | None = None
) -> Config:
    """Read a configuration with a mapping file beside it."""
    (folder / "my.yaml").touch()
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, environment or {}, host=host, port=port)


def refused(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[Diagnostic]:
    with pytest.raises(MappingError) as caught:
        read(folder, text, environment)
    assert caught.value.sources.keys() == {str(folder / "config.yaml")}
    return list(caught.value.diagnostics)


def refused_key(folder: Path, line: str) -> Diagnostic:
    """The one finding in a configuration with this line."""
    [found] = refused(folder, f"mappings: [my.yaml]\n{line}\n")
    assert found.span is not None
    assert (found.span.file, found.span.line) == (str(folder / "config.yaml"), 2)
    return found


def test_a_mapping_is_all_that_it_needs(tmp_path: Path) -> None:
    """Everything else has a default."""
    assert read(tmp_path, "mappings: [my.yaml]") == Config(mappings=[("my.yaml", tmp_path / "my.yaml")])


def test_the_defaults_are_those_of_the_schema() -> None:
    """And with it those that editors show."""
    for name, block in (("server", Server()), ("limits", Limits()), ("breaker", Breaker())):
        keys = SCHEMA["properties"][name]["properties"]
        made = dataclasses.asdict(block)
        assert {key: part["default"] for key, part in keys.items() if "default" in part}.items() <= made.items()
        assert not any(made[key] for key, part in keys.items() if "default" not in part)
    assert Config(mappings=[]).log_level == SCHEMA["properties"]["log"]["properties"]["level"]["default"]


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    """Nobody else is let in by accident."""
    assert Server().host == "127.0.0.1"


def test_the_shipped_configuration_is_sound() -> None:
    """It serves the example."""
    config = read_config(ROOT / "config.yaml", {}, host=None, port=None)
    assert config.mappings == [("mappings/example.yaml", ROOT / "mappings/example.yaml")]


@pytest.mark.parametrize(
    ("line", "block", "key", "value"),
    [
        ("server: {host: 0.0.0.0}", "server", "host", "0.0.0.0"),
        ("server: {host: '::1'}", "server", "host", "::1"),
        ("server: {port: 0}", "server", "port", 0),
        ("server: {port: 65535}", "server", "port", 65535),
        ("server: {max_body: 1024}", "server", "max_body", 1024),
        ("server: {max_body: 1e6}", "server", "max_body", 1_000_000),
        ("server: {body_timeout: 0.5}", "server", "body_timeout", 0.5),
        ("server: {keepalive_timeout: 5}", "server", "keepalive_timeout", 5),
        ("server: {write_timeout: 1.5}", "server", "write_timeout", 1.5),
        ("server: {shutdown_timeout: 1}", "server", "shutdown_timeout", 1),
        ("server: {loop: asyncio}", "server", "loop", "asyncio"),
        ("server: {keepalive_comments: 0}", "server", "keepalive_comments", 0),
        ("server: {cors: {origins: ['*']}}", "server", "cors", {"origins": ["*"]}),
        (
            "server: {cors: {origins: ['https://a.example:8443', 'null', 'app://x'], max_age: 5}}",
            "server",
            "cors",
            {"origins": ["https://a.example:8443", "null", "app://x"], "max_age": 5},
        ),
        ("limits: {connections: 1}", "limits", "connections", 1),
    ],
)
def test_a_key_is_read(line: str, block: str, key: str, value: Any, tmp_path: Path) -> None:
    """And changes nothing else."""
    config = read(tmp_path, f"mappings: [my.yaml]\n{line}\n")
    default: Any = {"server": Server(), "limits": Limits()}
    assert getattr(config, block) == dataclasses.replace(default[block], **{key: value})
    assert type(getattr(getattr(config, block), key)) is type(value)


def test_every_key_of_the_schema_is_read() -> None:
    """None is accepted in vain."""
    keys = {name: set(block.get("properties", ())) for name, block in SCHEMA["properties"].items()}
    assert keys == {
        "mappings": set(),
        "server": set(Server.__slots__),
        "keys": set(),
        "limits": set(Limits.__slots__),
        "breaker": set(Breaker.__slots__),
        "log": {"level"},
    }
    assert set(SCHEMA["properties"]["mappings"]["items"]["properties"]) == {"file", *Settings.__slots__}
    assert set(SCHEMA["properties"]["keys"]["items"]["properties"]) == set(Key.__slots__)


def test_a_mapping_may_come_with_settings(tmp_path: Path) -> None:
    """In a block that names the file."""
    found = read(tmp_path, "mappings: [{file: my.yaml, requests: 5, queue: 1e1, fallback: [a, b]}]")
    assert found.mappings == [("my.yaml", tmp_path / "my.yaml")]
    assert found.settings == {tmp_path / "my.yaml": Settings(requests=5, queue=10, fallback=["a", "b"])}


def test_a_block_must_name_its_file(tmp_path: Path) -> None:
    """Which must be there."""
    (missing,) = refused(tmp_path, "mappings: [{requests: 5}]")
    assert missing.code == "E102"
    (absent,) = refused(tmp_path, "mappings:\n  - file: other.yaml\n")
    assert (absent.code, absent.span and absent.span.column) == ("E603", 11)


def test_keys_are_read(tmp_path: Path) -> None:
    """With what they may do."""
    text = f"mappings: [my.yaml]\nkeys: [{{name: app, sha256: {'0a' * 32}, models: [m], requests: 3}}]\n"
    assert read(tmp_path, text).keys == (Key("app", "0a" * 32, ["m"], 3),)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level_of_the_log_is_read(level: str, tmp_path: Path) -> None:
    """All four."""
    assert read(tmp_path, f"mappings: [my.yaml]\nlog: {{level: {level}}}").log_level == level


def test_notes_are_ignored(tmp_path: Path) -> None:
    """Under keys of `x-`."""
    assert read(tmp_path, "mappings: [my.yaml]\nx-note: {of: mine}").server == Server()


@pytest.mark.parametrize(
    ("line", "code", "tells"),
    [
        ("server: {prot: 1}", "E101", "did you mean `port`?"),
        ("sever: {port: 1}", "E101", "did you mean `server`?"),
        ("limits: {conections: 1}", "E101", "did you mean `connections`?"),
        ("log: {levle: info}", "E101", "did you mean `level`?"),
        ("server: {port: '8000'}", "E103", "write it without quotes: `8000`"),
        ("server: {port: 80.5}", "E103", "`server.port` is"),
        ("server: {port: true}", "E103", "`server.port` is"),
        ("server: {port: null}", "E103", "`server.port` is"),
        ("server: {host: 127}", "E103", "`server.host` is"),
        ("server: {body_timeout: 5s}", "E103", "`server.body_timeout` is"),
        ("server: [port]", "E103", "`server` is"),
        ("server:", "E103", "`server` is empty"),
        ("server: {port: 65536}", "E105", "65535"),
        ("server: {port: -1}", "E105", "0"),
        ("server: {max_body: 1023}", "E105", "1024"),
        ("server: {body_timeout: 0}", "E105", "0"),
        ("server: {keepalive_timeout: 0}", "E105", "0"),
        ("server: {write_timeout: -1}", "E105", "0"),
        ("server: {shutdown_timeout: 0}", "E105", "0"),
        ("server: {host: ''}", "E105", "`server.host` is empty"),
        ("server: {keepalive_comments: -1}", "E105", "0"),
        ("server: {cors: {origins: []}}", "E105", "origins"),
        ("server: {cors: {origin: ['*'], origins: ['*']}}", "E101", "did you mean `origins`?"),
        ("server: {cors: {origins: ['https://a.example/']}}", "E105", "origins"),
        ("server: {cors: {origins: [a.example]}}", "E105", "origins"),
        ("server: {cors: {origins: ['*'], max_age: 86401}}", "E105", "86400"),
        ("limits: {connections: 0}", "E105", "1"),
        ("server: {loop: uvlop}", "E104", "did you mean `uvloop`?"),
        ("log: {level: warn}", "E104", "did you mean `warning`?"),
        ("server: {port: 1, port: 2}", "E002", "first defined"),
    ],
)
def test_a_key_that_is_wrong(line: str, code: str, tells: str, tmp_path: Path) -> None:
    """One finding, in its line, that tells what would be right."""
    found = refused_key(tmp_path, line)
    assert found.code == code
    assert tells in f"{found.message} {found.label} {found.help}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "E004"),
        ("# nothing yet\n", "E004"),
        ("- my.yaml\n", "E004"),
        ("server: {}\n", "E102"),
        ("mappings: []\n", "E105"),
        ("mappings: my.yaml\n", "E103"),
        ("mappings: ['']\n", "E105"),
        ("mappings: [1]\n", "E103"),
        ("mappings: [my.yaml\n", "E001"),
        ("mappings: [${MINE}]\n", "E001"),
    ],
)
def test_a_file_that_is_no_configuration(text: str, code: str, tmp_path: Path) -> None:
    """What is missing is told, too."""
    assert [found.code for found in refused(tmp_path, text)] == [code]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """In the order of the file."""
    found = refused(tmp_path, "mappings: [my.yaml]\nserver: {port: x, hots: y}\nlog: {level: loud}\n")
    assert sorted(each.code for each in found) == ["E101", "E103", "E104"]


@pytest.mark.parametrize(
    ("environment", "port"), [({}, 8000), ({"PORT": "9000"}, 9000), ({"PORT": ""}, 8000)], ids=["unset", "set", "empty"]
)
def test_values_come_from_the_environment(environment: dict[str, str], port: int, tmp_path: Path) -> None:
    """With a default, and as numbers where numbers belong."""
    assert read(tmp_path, "mappings: [my.yaml]\nserver:\n  port: ${PORT:-8000}\n", environment).server.port == port


@pytest.mark.parametrize(
    ("environment", "code"), [({}, "E601"), ({"PORT": "eighty"}, "E103"), ({"PORT": "65536"}, "E105")]
)
def test_a_value_of_the_environment_that_is_wrong(environment: dict[str, str], code: str, tmp_path: Path) -> None:
    """It is checked as if it were written there, and not repeated: it may be a secret."""
    [found] = refused(tmp_path, "mappings: [my.yaml]\nserver:\n  port: ${PORT}\n", environment)
    assert found.code == code
    assert found.span is not None
    assert (found.span.line, found.span.column) == (3, 9)
    assert environment.get("PORT", "-none-") not in f"{found.message}{found.label}"


def test_a_value_comes_from_a_file_beside_it(tmp_path: Path) -> None:
    """Relative to the configuration."""
    (tmp_path / "host.txt").write_text("127.0.0.2\n")
    assert read(tmp_path, 'mappings: [my.yaml]\nserver: {host: "${file:host.txt}"}\n').server.host == "127.0.0.2"


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        (None, None, ("10.0.0.1", 1)),
        ("::1", None, ("::1", 1)),
        (None, 0, ("10.0.0.1", 0)),
        ("::1", 2, ("::1", 2)),
    ],
)
def test_the_command_line_goes_over_the_file(
    host: str | None, port: int | None, expected: tuple[str, int], tmp_path: Path
) -> None:
    """What is not given there stays as it is, and port 0 is given."""
    config = read(
        tmp_path, "mappings: [my.yaml]\nserver: {host: 10.0.0.1, port: 1, max_body: 2048}\n", None, host, port
    )
    assert (config.server.host, config.server.port) == expected
    assert config.server.max_body == 2048


def test_mappings_are_found_beside_the_configuration(tmp_path: Path) -> None:
    """Or at their absolute path."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/other.yml").touch()
    absolute = tmp_path / "in/other.yml"
    config = read(tmp_path, f"mappings: [my.yaml, in/other.yml, '{absolute}']")
    assert [path for _, path in config.mappings] == [tmp_path / "my.yaml", absolute, absolute]
    assert [name for name, _ in config.mappings] == ["my.yaml", "in/other.yml", str(absolute)]


def test_a_name_without_an_ending_is_a_shipped_mapping(tmp_path: Path) -> None:
    """Unless there is such a file."""
    text = "mappings: [example]"
    assert read(tmp_path, text).mappings == [("example", ROOT / "mappings/example.yaml")]
    (tmp_path / "example").touch()
    assert read(tmp_path, text).mappings == [("example", tmp_path / "example")]


@pytest.mark.parametrize("name", ["nowhere.yaml", "nowhere", "example.yaml", "in", "'a\\0b'"])
def test_a_mapping_that_is_not_there(name: str, tmp_path: Path) -> None:
    """Its place is told, and what there is."""
    (tmp_path / "in").mkdir()
    [found] = refused(tmp_path, f"mappings: [my.yaml, {name}]")
    assert (found.code, found.span and found.span.column) == ("E603", 21)
    near = "did you mean `example`?" if name == "example.yaml" else ", example, "
    assert near in found.help


def test_all_mappings_that_are_not_there_are_told(tmp_path: Path) -> None:
    """At once."""
    assert [found.code for found in refused(tmp_path, "mappings: [a.yaml, b.yaml]")] == ["E603", "E603"]


def test_bytes_that_are_not_utf_8_are_a_finding(tmp_path: Path) -> None:
    """Not an exception of another kind."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"mappings: [caf\xe9.yaml]\n")
    with pytest.raises(MappingError, match="the byte 0xE9 is not UTF-8"):
        read_config(path, {}, host=None, port=None)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The command says what to do."""
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path / "config.yaml", {}, host=None, port=None)


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("mappings: [a.yaml]\n", "my.yaml", True),
        ("{mappings: [a.yaml]}\n", "my.yaml", True),
        ("mapings: [a.yaml]\n", "my.yaml", True),
        ("sever: {port: 1}\nlog: {level: info}\n", "my.yaml", True),
        ("mappings: [a.yaml\n", "my.yaml", True),
        ("mappings: [a.yaml]\noaiproxy: 1\n", "my.yaml", False),
        ("\ufeffoaiproxy: 1\nmodels: [m]\n", "config.yaml", False),
        ('{"oaiproxy": 1}\n', "config.yaml", False),
        ("models: [m]\nbackend: {}\nchat: {}\n", "my.yaml", False),
        ("models: [m]\nbackend: {}\nchat: {}\n", "config.yaml", False),
        ("oaiprxy: 1\nmodles: [m]\n", "my.yaml", False),
        ("x-note: 1\n", "my.yaml", False),
        ("x-note: 1\n", "config.yml", True),
        ("", "config.yaml", True),
        ("", "my.yaml", False),
        ("- a\n", "my.yaml", False),
        ("\t", "my.yaml", False),
    ],
)
def test_a_configuration_is_told_from_a_mapping(text: str, name: str, wanted: bool) -> None:
    """By its keys, misspelled or not; by its name where these tell nothing."""
    assert is_config(text, name, mapping_schema()) is wanted


def test_the_configuration_on_its_page_is_one() -> None:
    """As the page shows it, in the folder of the project."""
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    blocks = re.findall(r"<!-- yaml: config.yaml -->\n```yaml\n(.*?)```", page, re.DOTALL)
    assert blocks
    for text in blocks:
        checked = check_config(text, ROOT / "config.yaml", {}, asked=False)
        assert {found.code for found in checked.diagnostics} <= {"W105"}
        assert (checked.data is not None, len(checked.entries)) == (True, 1)
        assert checked.data is not None
