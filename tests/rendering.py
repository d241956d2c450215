"""What the tests of templates share: a piece of a mapping to findings, or to what it renders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oaiproxy.canonical import SHAPES
from oaiproxy.diagnostics import Diagnostic, Span
from oaiproxy.document import load_document
from oaiproxy.scopes import ABSENT, Scope
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import Render, compile_tree

ANY: Mapping[str, Any] = {"*": None}


class Values:
    """Names given by hand; all others are absent."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def lookup(self, name: str) -> Any:
        return self.values.get(name, ABSENT)


def scope(**values: Any) -> Scope:
    return Scope(Values(values))


def sourced(text: str) -> Source:
    """The value of the first key of a YAML text."""
    document, findings = load_document(text, file="m.yaml", environment={}, read_file=lambda path: "")
    assert document is not None, findings
    assert findings == []
    key = next(iter(document.data))
    return Source(document, (key,), document.data[key])


def found(text: str, shapes: Mapping[str, Any] = SHAPES) -> list[Diagnostic]:
    """The findings for the value of the first key."""
    compilation = Compilation(shapes)
    compile_tree(sourced(text), compilation)
    return compilation.findings


def only(text: str, shapes: Mapping[str, Any] = SHAPES) -> Diagnostic:
    findings = found(text, shapes)
    assert len(findings) == 1, findings
    return findings[0]


def compiled(text: str, shapes: Mapping[str, Any] = ANY) -> Render:
    compilation = Compilation(shapes)
    tree = compile_tree(sourced(text), compilation)
    assert compilation.findings == []
    return tree


def render(text: str, **values: Any) -> Any:
    """What a YAML value renders to with the names given."""
    block = text.startswith(("\n", "|", ">"))
    return compiled(f"key: {text}" if not text.startswith("\n") else f"key:{text}" if block else text)(scope(**values))


def evaluate(expression: str, **values: Any) -> Any:
    """What `{{ expression }}` gives."""
    quoted = expression.replace("'", "''")
    return render(f"'{{{{ {quoted} }}}}'", **values)


def marked(text: str, span: Span | None) -> str:
    """The text that a span covers, found by counting lines and columns."""
    assert span is not None
    lines = text.split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return "\n".join(lines)
