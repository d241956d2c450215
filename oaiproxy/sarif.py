"""Diagnostics to SARIF 2.1.0, which services that show the findings of many tools read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from urllib.parse import quote

from oaiproxy import __version__, jsontext
from oaiproxy.catalog import CATALOG, PAGE, Kind, anchor
from oaiproxy.diagnostics import Diagnostic, Span
from oaiproxy.jsontext import Json

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "oaiproxyFinding/v1"

_BREAK = re.compile(r"\r\n|\r|\n")


def sarif(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], colour: bool) -> str:
    """One run, with all codes as its rules. Columns are those of the findings: characters, the end exclusive."""
    codes = sorted(CATALOG.keys() | {found.code for found in diagnostics})
    lines = {file: _BREAK.split(text.removeprefix("\ufeff")) for file, text in sources.items()}
    driver = {
        "name": "oaiproxy",
        "version": __version__,
        "rules": [_rule(code, CATALOG.get(code, Kind(code))) for code in codes],
    }
    seen: Counter[str] = Counter()
    results = [_result(found, codes.index(found.code), lines, seen) for found in diagnostics]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return jsontext.dump({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}).decode()


def _rule(code: str, kind: Kind) -> Json:
    # `helpUri` has to be absolute (3.49.12), and the page has no address but its place in the tree.
    page = f"{PAGE}#{anchor(code)}" if code in CATALOG else PAGE
    fix = f"{kind.fix}\n" if kind.fix else ""
    return {
        "id": code,
        "shortDescription": {"text": kind.title},
        "help": {"text": f"{fix}{page}", "markdown": f"{fix}[{code}]({page})"},
        "defaultConfiguration": {"level": "warning" if code.startswith("W") else "error"},
    }


def _result(found: Diagnostic, index: int, lines: Mapping[str, Sequence[str]], seen: Counter[str]) -> Json:
    text = "\n".join(filter(None, (found.message, found.label, found.help)))
    result: dict[str, Json] = {
        "ruleId": found.code,
        "ruleIndex": index,
        "level": str(found.severity),
        "message": {"text": text},
        "partialFingerprints": {FINGERPRINT: _fingerprint(found, lines, seen)},
    }
    if found.span:
        result["locations"] = [{"physicalLocation": _location(found.span)}]
    return result


def _location(span: Span) -> Json:
    region = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
    return {"artifactLocation": {"uri": _uri(span.file)}, "region": region}


def _uri(file: str) -> str:
    """A file's name as a relative reference, an absolute one as a `file` URI; bytes that are not UTF-8 are kept."""
    path = quote(file.encode("utf-8", "surrogateescape"), safe="/-._~")
    return f"file://{path}" if file.startswith("/") else path


def _fingerprint(found: Diagnostic, lines: Mapping[str, Sequence[str]], seen: Counter[str]) -> str:
    """What stays when lines are put in above: the code, the file, the message, and the line's own text."""
    span = found.span
    source = lines.get(span.file, ()) if span else ()
    line = source[span.line - 1].strip() if span and span.line <= len(source) else ""
    parts = "\0".join((found.code, span.file if span else "", found.message, line))
    digest = sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"
