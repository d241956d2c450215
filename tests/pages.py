"""Pages of the documentation that are made from the code: `python tests/pages.py` writes them anew."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from support import ROOT, shipped
from test_golden import FILES, checked, expected

from oaiproxy import capability_tables
from oaiproxy.app import serve
from oaiproxy.capabilities import capabilities
from oaiproxy.catalog import CATALOG, STAGES, Kind, anchor
from oaiproxy.compatibility import page
from oaiproxy.config import Config, Server
from oaiproxy.handlers import routes
from oaiproxy.loader import mapping_schema
from oaiproxy.reporters import REPORTERS

COMPATIBILITY = ROOT / "docs/compatibility.md"
DIAGNOSTICS = ROOT / "docs/diagnostics.md"
EXTENSION = ROOT / "schemas/extension.schema.json"
MAPPINGS = ROOT / "docs/mappings.md"


async def places() -> list[tuple[str, str]]:
    """The methods and paths of the server."""
    async with serve(Config([], Server(port=0), log_level="error"), []) as running:
        return [(route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)) for route in routes(running.state)]


def compatibility() -> str:
    """docs/compatibility.md, as it should be."""
    return page(asyncio.run(places()), mapping_schema()["properties"]["emulate"]["items"]["enum"])


def mappings() -> str:
    """docs/mappings.md, as it should be."""
    names = [path.stem for path in sorted(ROOT.glob("mappings/*.yaml"))]
    return capability_tables.page([capabilities(*shipped(name)) for name in names])


def extension() -> str:
    """schemas/extension.schema.json, as it should be: that of mappings, for a file that is laid over another one.

    What such a file leaves out, the other has, and null takes away.
    """
    schema = mapping_schema()
    whole = {name: schema["$defs"][name] for name in ("example", "answer", "sends", "frame")}
    made = optional(schema)
    made["$defs"] |= whole
    made["properties"]["examples"] = schema["properties"]["examples"]
    made["title"] = f"{schema['title']}, laid over another"
    made["required"] = ["extends"]
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def optional(part: Any) -> Any:
    """A schema without what it asks for."""
    if isinstance(part, list):
        return [optional(each) for each in part]
    if not isinstance(part, dict):
        return part
    made: dict[str, Any] = {}
    for key, value in part.items():
        if key in ("properties", "patternProperties", "$defs", "dependentSchemas"):
            made[key] = {name: optional(each) for name, each in value.items()}
        elif key not in ("required", "dependentRequired"):
            made[key] = value if key in _VALUES else optional(value)
    for key in ("anyOf", "oneOf"):
        if isinstance(part.get(key), list) and all(each.keys() <= {"required", "not"} for each in part[key]):
            del made[key]
    if "allOf" in part and all(each.keys() == {"not"} for each in part["allOf"]):
        made["allOf"] = part["allOf"]
    if isinstance(part.get("not"), dict):
        made["not"] = part["not"]
    kinds = part.get("type")
    if "description" in part and isinstance(kinds, str | list):
        kinds = [kinds] if isinstance(kinds, str) else kinds
        made["type"] = kinds if "null" in kinds else [*kinds, "null"]
    if isinstance(part.get("enum"), list) and "description" in part and None not in part["enum"]:
        made["enum"] = [*part["enum"], None]
        if "enumDescriptions" in part:
            made["enumDescriptions"] = [*part["enumDescriptions"], "What the other file says is taken away."]
    return made


_VALUES = ("examples", "default", "const", "enum", "enumDescriptions", "defaultSnippets", "description")
"""Keywords that hold no schemas."""

_DIAGNOSTICS = """\
# What `check` finds

Every finding of `oaiproxy check` has a code that stays: `E` is an error, `W` a warning about what is legal and most
likely wrong; the first digit is the stage that found it. All stages run, so that one run tells all. For each code, here
are its cause, an example as `check` prints it, and the fix. [The language](mapping.md) says how each part is meant.

This page is made from the code and from the broken mappings of its tests, and a test compares them: after a change, run
`python tests/pages.py`.
"""


def diagnostics() -> str:
    """docs/diagnostics.md, as it should be."""
    shown = examples()
    codes = sorted(CATALOG, key=lambda code: (code[1], code))
    rows = [
        f"| {STAGES[stage]} | {', '.join(f'[{code}](#{anchor(code)})' for code in found)} |"
        for stage, found in groupby(codes, key=lambda code: code[1])
    ]
    table = "\n".join(["| Stage | Codes |", "|---|---|", *rows])
    return (
        "\n".join([_DIAGNOSTICS, table, *(_about(code, CATALOG[code], shown.get(code, "")) for code in codes)]) + "\n"
    )


def _about(code: str, kind: Kind, example: str) -> str:
    fence = f"\n```text\n{example}\n```\n" if example else ""
    fix = kind.fix[0].upper() + kind.fix[1:] if kind.fix[0].isalpha() else kind.fix
    return f"\n## {code}: {kind.title}\n\n{kind.cause}\n{fence}\nFix: {fix}."


def examples() -> dict[str, str]:
    """For each code the report of its shortest broken mapping."""
    best: dict[str, tuple[tuple[bool, int], Path]] = {}
    for path in FILES:
        text = path.read_text("utf-8")
        for code in {each[0].split("[")[1][:-1] for each in expected(text)}:
            rank = (max(map(len, text.splitlines())) > 110, len(text))
            best[code] = min(best.get(code, (rank, path)), (rank, path))
    return {code: _report(path, code) for code, (_, path) in best.items()}


def _report(path: Path, code: str) -> str:
    """The first finding with that code, as `check` prints it in the folder of the file."""
    found = next(each for each in checked(path) if each.code == code)
    if found.span is not None:
        found = replace(found, span=replace(found.span, file=path.name))
    return REPORTERS["text"]([found], {path.name: path.read_text("utf-8")}, False)


if __name__ == "__main__":
    EXTENSION.write_text(extension(), encoding="utf-8")
    MAPPINGS.write_text(mappings(), encoding="utf-8")
    COMPATIBILITY.write_text(compatibility(), encoding="utf-8")
    DIAGNOSTICS.write_text(diagnostics(), encoding="utf-8")
