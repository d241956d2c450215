"""Promises of one coordinate system: a misspelled word is marked, and nothing but it, however its scalar is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.layers import Base, Bases

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
MAPPING = """\
oaiproxy: 1  # \U0001f600 é
models: [m]
backend: {url: "https://api.example.com"}
x-anchored: &word WORD
chat:
  request:
    path: /x
    body:
      first: "\U0001f680 {{ prompt }}"
      list:
        - {k: "é\\t\U0001f600"}
        - nested:
            q: TEMPLATE
  response:
    text: SELECTOR
"""
ENVIRONMENT = {"SHORT": "s", "LONG": "a longer value \U0001f600 than its name"}

# What may stand around a template, by style of scalar, as it is written in the file; `¶` is a new line of the scalar.
WORDS = [
    "",
    "é ",
    "\U0001f600",
    "a b ",
    "\t",
    "x" * 70 + " ",
    "\u0301",
    "${SHORT} ",
    "${LONG}",
    "$${ ",
    "{{ prompt }} ",
]
AROUND = {
    "plain": ["é ", "\U0001f600 ", "a b ", "${LONG} ", "$${ ", "{{ prompt }} "],
    "folded plain": ["é ", "\U0001f600¶", "a¶", "a¶¶b ", "${LONG}¶", "{{ prompt }}¶"],
    "'": [*WORDS, "''", "a¶b ", "¶¶", "\U0001f600 ¶ ", "'' "],
    '"': [
        *WORDS,
        '\\"',
        "\\u00e9",
        "\\U0001F600",
        "\\ud83d\\ude00",
        "\\x41",
        "\\t",
        "\\n",
        "\\\\",
        "a¶b",
        "¶¶",
        "a\\¶ b",
    ],
    "|": [*WORDS, "¶", "¶¶", "a¶  b¶", "\U0001f600¶"],
    ">": [*WORDS, "¶", "¶¶", "a¶  b¶", "a¶b¶", "\U0001f600¶", "a¶¶\tb¶"],
}
BLOCKS = {"|": ["|", "|-", "|+", "|2", "|-2"], ">": [">", ">-", ">+", ">2", ">2-"]}
TEMPLATES = [
    "{{ temprature }}",
    "{{temprature}}",
    "{% if temprature %}1{% endif %}",
    "{{ [prompt, temprature] | length }}",
    "{{ prompt ~ temprature }}",
    "{{ (prompt if temprature else system) | upper }}",
    "{% for m in messages %}{{ m.role ~ temprature }}{% endfor %}",
]
SPREAD = ["{{ prompt¶ ~ temprature }}", "{{¶ temprature }}", "{% if prompt and¶   temprature %}1{% endif %}"]
SELECTORS = ["joine(a, b)", "a.b[0] || joine(a)", "a[?b == `1`].c | joine(@)", "[a, joine(b)]", "!joine(a).b"]
SPREAD_SELECTORS = ["a ||¶ joine(a, b)", "a.b¶| joine(@)", "a ||¶¶joine(b)"]


@st.composite
def written(draw: st.DrawFn, words: list[str], spread: list[str], indent: int, *, around: bool) -> tuple[str, str]:
    """A scalar in some style, as it stands behind its key, and the anchored one that it may be an alias of."""
    style = draw(st.sampled_from(sorted(AROUND)))
    pieces = st.lists(st.sampled_from(AROUND[style]), max_size=4).map("".join)
    before, after = (draw(pieces), draw(pieces)) if around else ("", "")
    word = draw(st.sampled_from([*words, *spread] if style not in ("plain",) else words))
    if "plain" in style and around:
        before = "x " + before
    text = before + word + after
    margin = "\n" + " " * indent
    if style in BLOCKS:
        header = draw(st.sampled_from(BLOCKS[style]))
        text = re.sub(r"^[ \t]+", "", text) if around else text
        lines = text.split("¶")
        lines[0] = "x" + lines[0] if around else lines[0]
        return header + "".join(margin + line if line else "\n" for line in lines), ""
    if style == "plain" or style == "folded plain":
        return re.sub(r"[ \t]*(?:¶)+[ \t]*", lambda at: "\n" * at[0].count("¶") + margin[1:], text).strip(), ""
    quoted = style + re.sub("¶", margin, text) + style
    anchored = draw(st.booleans()) and "\n" not in quoted
    return ("*word", quoted) if anchored else (quoted, "")


def checked(text: str, file: str = "m.yaml", bases: Bases | None = None) -> tuple[Diagnostic, ...]:
    surroundings = Surroundings(SCHEMA, ENVIRONMENT, lambda path: "", **({"bases": bases} if bases else {}))
    return check_mapping(text, file, surroundings).diagnostics


def marked(text: str, found: Diagnostic) -> str:
    """What the finding's span holds in the file."""
    span = found.span
    assert span is not None
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    assert span.line == span.end_line, (span, text)
    return lines[span.line - 1][span.column - 1 : span.end_column - 1]


ENDS = st.sampled_from(["\n", "\r\n", "\r"])
MARKS = st.sampled_from(["", "\ufeff"])


def assembled(anchored: str, ends: str, mark: str, **parts: str) -> str:
    text = MAPPING.replace("WORD", anchored or "none")
    for name, part in parts.items():
        text = text.replace(name, part)
    return mark + text.replace("\n", ends)


@settings(max_examples=300, deadline=None)
@given(scalar=written(TEMPLATES, SPREAD, 14, around=True), ends=ENDS, mark=MARKS, extended=st.booleans())
def test_a_name_in_a_template(scalar: tuple[str, str], ends: str, mark: str, extended: bool) -> None:
    """Also where it came by an alias, or in a file that another one extends."""
    text = assembled(scalar[1], ends, mark, TEMPLATE=scalar[0], SELECTOR="out")
    if extended:
        bases = Bases(lambda name: Base("base.yaml", "base", text, lambda path: "", Bases(lambda name: 1 / 0)))  # type: ignore[arg-type, return-value]
        findings = checked("oaiproxy: 1\nextends: base\n", bases=bases)
    else:
        findings = checked(text)
    (found,) = [found for found in findings if found.code == "E203"] or [None]
    assert found is not None, (findings, text)
    assert found.span is not None
    assert found.span.file == ("base.yaml" if extended else "m.yaml")
    assert marked(text, found) == "temprature", text


@settings(max_examples=200, deadline=None)
@given(scalar=written(SELECTORS, SPREAD_SELECTORS, 6, around=False), ends=ENDS, mark=MARKS)
def test_a_function_in_a_selector(scalar: tuple[str, str], ends: str, mark: str) -> None:
    """JMESPath's places are those of the file too."""
    value = scalar[0] if scalar[0][0] in "'\"|>*" else f"'{scalar[0]}'"
    text = assembled(scalar[1], ends, mark, TEMPLATE='"{{ prompt }}"', SELECTOR=value)
    findings = checked(text)
    (found,) = [found for found in findings if found.code == "E302"] or [None]
    assert found is not None, (findings, text)
    assert marked(text, found) == "joine", text


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_key_behind_rare_characters(ends: str, mark: str) -> None:
    """Those of the schema too; columns count characters, not bytes or UTF-16."""
    text = assembled("'\U0001f600'", ends, mark, TEMPLATE='"{{ prompt }}"', SELECTOR="out")
    text = text.replace("models: [m]", "models: {m: {\"owned_by\": '\U0001f600\u0301', dropp: [n]}}")
    (found,) = [found for found in checked(text) if "dropp" in found.message]
    assert found.code == "E101"
    assert marked(text, found) == "dropp"
