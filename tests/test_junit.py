"""Promises of `oaiproxy.junit`: XML that any reader takes, a suite for a file, a case for each stage and example."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from oaiproxy.catalog import CATALOG
from oaiproxy.diagnostics import Diagnostic, Severity, Span
from oaiproxy.junit import STAGES, Suite, junit

EXAMPLES = [("one", Span("x.yaml", 10, 5, 20, 1)), ("two", Span("x.yaml", 20, 5, 30, 1))]
ALWAYS = ["yaml", "schema", "templates", "selectors", "probes", "environment"]


def read(*suites: Suite, strict: bool = False) -> ElementTree.Element:
    """The root; the numbers are those of the cases, in each suite and in all."""
    root = ElementTree.fromstring(junit(suites, {}, strict=strict).encode())
    assert root.tag == "testsuites"
    for each in (root, *root):
        cases = each.findall(".//testcase")
        outcomes = {"tests": cases, **{f"{name}s": each.findall(f".//{name}") for name in ("failure", "error")}}
        outcomes["skipped"] = each.findall(".//skipped")
        assert {name: each.get(name) for name in outcomes} == {name: str(len(each)) for name, each in outcomes.items()}
    return root


def outcomes(root: ElementTree.Element) -> dict[str | None, list[str]]:
    return {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}


def finding(code: str, line: int, message: str = "m", severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(code, message, Span("x.yaml", line, 7, line, 9), severity=severity)


def test_a_sound_file_has_passing_cases() -> None:
    """Of each stage that every file has, and of each example."""
    made = outcomes(read(Suite("x.yaml", (), EXAMPLES)))
    assert list(made) == [*ALWAYS, "example: one", "example: two"]
    assert not any(made.values())


def test_a_finding_fails_its_example_or_its_stage() -> None:
    """The example that it stands in; the other passes."""
    findings = [finding("E203", 5, "unknown name"), finding("E501", 12), finding("E502", 13)]
    root = read(Suite("x.yaml", findings, EXAMPLES))
    failed = {name: tags for name, tags in outcomes(root).items() if tags}
    assert failed == {"templates": ["failure"], "example: one": ["failure"]}
    template, example = root.iter("failure")
    assert (template.get("message"), template.get("type")) == ("E203: unknown name", "failure")
    assert example.get("message") == "E501: m (and 1 more)"
    assert "--> x.yaml:12:7" in (example.text or "")


def test_examples_that_were_not_run_are_skipped() -> None:
    """They did not pass."""
    root = read(Suite("x.yaml", [finding("E101", 12)], EXAMPLES, tried=False))
    assert {name for name, tags in outcomes(root).items() if tags == ["skipped"]} == {"example: one", "example: two"}
    assert outcomes(root)["schema"] == ["failure"]


def test_a_finding_about_examples_that_stands_in_none_has_a_case() -> None:
    """As one of a base has, or one of the live backend."""
    away = Diagnostic("E502", "m", Span("base.yaml", 12, 1, 12, 2))
    root = read(Suite("x.yaml", [away, Diagnostic("E701", "m")], EXAMPLES))
    assert {name for name, tags in outcomes(root).items() if tags} == {"examples", "live"}


@pytest.mark.parametrize(("strict", "tag"), [(False, "system-out"), (True, "failure")])
def test_a_warning_fails_only_when_it_shall(strict: bool, tag: str) -> None:
    """Else it is told."""
    root = read(Suite("x.yaml", [finding("W501", 12, severity=Severity.WARNING)], EXAMPLES), strict=strict)
    assert outcomes(root)["example: one"] == [tag]
    assert "warning[W501]: m" in "".join(root.itertext())


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    """Not a failure: nothing was tried."""
    root = read(Suite("x.yaml", unread="Permission denied"), Suite("y.yaml"))
    assert [suite.get("name") for suite in root] == ["x.yaml", "y.yaml"]
    [error] = root.iter("error")
    assert error.get("message") == "Permission denied"


@pytest.mark.parametrize("odd", ["a\x00b", "\x1b[2J", "\udce9", "￾", "￿"])
def test_what_xml_cannot_say_is_replaced(odd: str) -> None:
    """Neither escaped nor left out."""
    root = read(Suite(odd, [Diagnostic("E101", odd)], [(odd, EXAMPLES[0][1])]))
    assert "\ufffd" in str(root[0].get("name"))
    assert [found.get("message") for found in root.iter("failure")] == [f"E101: {root[0].get('name')}"]


@pytest.mark.parametrize("odd", ["<a & b>", "]]>", '"it\'s"', "one\ntwo\tthree\r\n", "日本 \U0001f600"])
def test_all_else_comes_back(odd: str) -> None:
    """In attributes and in text."""
    [case] = [
        case
        for case in read(Suite("x.yaml", [finding("E501", 12, odd)], [(odd, EXAMPLES[0][1])])).iter("testcase")
        if len(case)
    ]
    assert case.get("name") == f"example: {odd}"
    assert case[0].get("message") == f"E501: {odd}"


def test_every_digit_of_the_catalog_is_a_stage() -> None:
    """No finding is lost."""
    assert {code[1] for code in CATALOG} <= STAGES.keys()
