"""Promises of `oaiproxy.sarif`: SARIF 2.1.0 as its readers demand it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from jsonschema import Draft202012Validator

from oaiproxy.catalog import CATALOG
from oaiproxy.diagnostics import Diagnostic, Severity, Span
from oaiproxy.sarif import FINGERPRINT, sarif

POSITIVE = {"type": "integer", "minimum": 1}
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
REGION = {
    "type": "object",
    "required": ["startLine", "startColumn", "endLine", "endColumn"],
    "additionalProperties": False,
    "properties": dict.fromkeys(("startLine", "startColumn", "endLine", "endColumn"), POSITIVE),
}
LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "additionalProperties": False,
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation", "region"],
            "additionalProperties": False,
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["uri"],
                    "properties": {"uri": {"type": "string", "pattern": "^[A-Za-z0-9._~!$&'()*+,;=:@/%-]+$"}},
                },
                "region": REGION,
            },
        }
    },
}
RESULT = {
    "type": "object",
    "required": ["ruleId", "ruleIndex", "level", "message", "partialFingerprints"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": LEVEL,
        "message": TEXT,
        "locations": {"type": "array", "items": LOCATION},
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
RULE = {
    "type": "object",
    "required": ["id", "shortDescription", "help"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "shortDescription": TEXT,
        "help": {**TEXT, "properties": {**TEXT["properties"], "markdown": {"type": "string"}}},  # type: ignore[dict-item]
        "defaultConfiguration": {"type": "object", "properties": {"level": LEVEL}, "additionalProperties": False},
    },
}
DRIVER = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"const": "oaiproxy"},
        "version": {"type": "string"},
        "rules": {"type": "array", "uniqueItems": True, "items": RULE},
    },
}
LOG = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "tool": {"type": "object", "required": ["driver"], "properties": {"driver": DRIVER}},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": RESULT},
                },
            },
        },
    },
}
"""The part of the standard's schema that is used here, with nothing beside it."""


def run(*findings: Diagnostic, **sources: str) -> dict[str, Any]:
    """The one run of a log, which is held against the schema."""
    log = json.loads(sarif(findings, {f"{name}.yaml": text for name, text in sources.items()}, True))
    Draft202012Validator(LOG).validate(log)
    made: dict[str, Any] = log["runs"][0]
    rules = made["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in made["results"])
    return made


def fingerprints(made: dict[str, Any]) -> list[str]:
    return [result["partialFingerprints"][FINGERPRINT] for result in made["results"]]


def test_a_finding_is_a_result_of_its_rule() -> None:
    """Its place in columns from 1 that count characters, whatever their width in UTF-16."""
    [result] = run(
        Diagnostic("E203", "unknown name `promt`", Span("x.yaml", 2, 3, 2, 8), "did you mean?", "fix"),
        x="a\n\U0001f600 promt",
    )["results"]
    assert result["level"] == "error"
    assert result["message"]["text"] == "unknown name `promt`\ndid you mean?\nfix"
    region = {"startLine": 2, "startColumn": 3, "endLine": 2, "endColumn": 8}
    assert result["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "x.yaml"}, "region": region}}]
    assert run()["columnKind"] == "unicodeCodePoints"


def test_all_codes_are_rules_with_their_page() -> None:
    """Also where nothing was found."""
    made = run()
    rules = {rule["id"]: rule for rule in made["tool"]["driver"]["rules"]}
    assert rules.keys() == CATALOG.keys()
    assert rules["E203"]["help"]["text"].endswith("docs/diagnostics.md#e203-an-unknown-name")
    assert rules["E203"]["shortDescription"]["text"] == CATALOG["E203"].title
    assert rules["W301"]["defaultConfiguration"] == {"level": "warning"}
    assert made["results"] == []


def test_a_warning_is_one() -> None:
    """As its level."""
    [result] = run(Diagnostic("W301", "odd", severity=Severity.WARNING))["results"]
    assert result["level"] == "warning"
    assert "locations" not in result


@pytest.mark.parametrize("file", ["a b/ü#1.yaml", "100%.yaml", "a:b?.yaml", "<stdin>", "/x y.yaml", "caf\udce9.yaml"])
def test_a_file_is_a_reference_from_which_its_name_comes_back(file: str) -> None:
    """Relative, or absolute with its scheme; the first step of a relative one is never taken for a scheme."""
    [result] = run(Diagnostic("E101", "m", Span(file, 1, 1, 1, 2)))["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    parts = urlsplit(uri)
    assert parts.scheme == ("file" if file.startswith("/") else "")
    assert parts.query == parts.fragment == ""
    assert unquote(parts.path, errors="surrogateescape") == file


def test_a_fingerprint_stays_when_the_place_changes() -> None:
    """Lines above do not matter, the line's own words do."""
    before = run(Diagnostic("E101", "m", Span("x.yaml", 1, 1, 1, 4)), x="abc")
    moved = run(Diagnostic("E101", "m", Span("x.yaml", 3, 3, 3, 6)), x="\n\n  abc\n")
    other = run(Diagnostic("E101", "m", Span("x.yaml", 1, 1, 1, 4)), x="abd")
    assert fingerprints(before) == fingerprints(moved) != fingerprints(other)


def test_two_findings_of_one_kind_have_two_fingerprints() -> None:
    """In lines that read the same."""
    one, two = (Diagnostic("E101", "m", Span("x.yaml", line, 1, line, 2)) for line in (1, 2))
    assert len(set(fingerprints(run(one, two, x="a\na\n")))) == 2


def test_a_text_that_is_no_utf_8_is_no_obstacle() -> None:
    """Its bytes are surrogates there."""
    run(Diagnostic("E001", "the byte 0xE9 is not UTF-8", Span("x.yaml", 1, 1, 1, 2)), x="\udce9")
