"""String leaves of a mapping to functions of a scope: literals, native values of one expression, and text.

A leaf that is exactly one `{{ expression }}` gives the expression's native value, never parsed again; any other leaf
with Jinja in it gives text. Plain names, attributes, constants and filters on them run as closures; the rest runs as
Jinja's generated code, in which the sandbox's operations stand for Jinja's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from jinja2 import TemplateError, TemplateSyntaxError, nodes

from oaiproxy.analysis import ANYTHING, Analysis, Bound, Finding, TooDeep, Value
from oaiproxy.diagnostics import Diagnostic, Severity, Span
from oaiproxy.lowering import Evaluate, closure_of, evaluation_of, generate, text_in
from oaiproxy.provenance import Trace
from oaiproxy.sandbox import Sandbox
from oaiproxy.scopes import ABSENT, Absent, RenderError, Scope
from oaiproxy.shapes import Shape, Shapes
from oaiproxy.source import Source
from oaiproxy.template_errors import explain

MAX_LENGTH = 100_000
"""Characters of one template."""

_JINJA = re.compile(r"\{[{%#]")
_BRACED = re.compile(r"\s*(\{\s*([A-Za-z_]\w*)((?:\.\w+)*)\s*\}{1,2})\s*")
_FAILURES = (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, TemplateError)
_EXHAUSTED = (RecursionError, MemoryError)
_UNCOMPILABLE = (SyntaxError, TemplateError, ValueError, RecursionError, MemoryError)


@dataclass(slots=True)
class Compilation:
    """What the compilers of one mapping share: the names in scope, what was found wrong, what the templates read."""

    shapes: Shapes
    sandbox: Sandbox = field(default_factory=Sandbox)
    findings: list[Diagnostic] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    trace: Trace | None = None
    """What notes where values come from, when a request is to be explained."""

    def report(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        label: str = "",
        help: str = "",  # noqa: A002 - the diagnostic's word
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add a finding."""
        self.findings.append(Diagnostic(code, message, span, label, help, severity))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A compiled string leaf. `native` tells a value of any type from text."""

    evaluate: Evaluate
    native: bool


def has_template(text: str) -> bool:
    """Whether a string holds Jinja at all."""
    return _JINJA.search(text) is not None


def check_braces(source: Source, compilation: Compilation, bound: Bound) -> None:
    """Warn of a text that is a template but for a brace: one name that templates have, in braces."""
    found = _BRACED.fullmatch(source.value)
    if found is None or not (found[2] in bound or found[2] in compilation.shapes):
        return
    message, label = (
        f"`{found[1]}` is no template, but text",
        f"a template has two braces: `{{{{ {found[2]}{found[3]} }}}}`",
    )
    help_ = f"if the braces are meant: `{{{{ '{found[1]}' }}}}`"
    compilation.report("W006", message, source.span(), label=label, help=help_, severity=Severity.WARNING)


def compile_leaf(source: Source, compilation: Compilation, bound: Bound, sandbox: Sandbox | None = None) -> Leaf:
    """Compile a string that holds Jinja; what is wrong in it goes to the compilation's findings.

    With a `sandbox`, whose `finalize` says what a value becomes, the leaf is text in any case.
    """
    template = _Template(source, source.value, 0, compilation)
    parsed = template.parse()
    if parsed is None:
        return Leaf(_nothing, native=True)
    expression = _one_expression(parsed)
    if expression is not None and sandbox is None:
        return Leaf(template.native(expression, bound, used=True), native=True)
    if not template.analyse(lambda analysis: analysis.template(parsed, bound)):
        return Leaf(_nothing, native=True)
    if sandbox is None and "body" in source.path and (only := _blank_around(parsed)) is not None:
        template.padded(only, bound)
    return Leaf(template.text(parsed, sandbox or compilation.sandbox), native=False)


def compile_named(source: Source, compilation: Compilation, bound: Bound) -> tuple[Evaluate, Value]:
    """Compile a leaf to which a name is given, and say what it is: what of it is used, its users tell."""
    template = _Template(source, source.value, 0, compilation)
    parsed = template.parse()
    expression = _one_expression(parsed) if parsed is not None else None
    if expression is not None:
        return template.valued(expression, bound, used=False)
    return (_nothing if parsed is None else compile_leaf(source, compilation, bound).evaluate), ANYTHING


def compile_expression(source: Source, compilation: Compilation, bound: Bound) -> Evaluate:
    """Compile a bare expression, as `$if` takes."""
    return compile_subject(source, compilation, bound)[0]


def compile_subject(source: Source, compilation: Compilation, bound: Bound) -> tuple[Evaluate, Shape]:
    """Compile a bare expression, as `$match` takes, and say what it can be."""
    value = source.value
    if value is None or isinstance(value, bool | int | float):
        return (lambda scope: value), None
    if not isinstance(value, str) or has_template(value):
        what = f"`{value}`" if isinstance(value, str) else "this"
        label = "write it without braces" if isinstance(value, str) else "write an expression"
        compilation.report("E201", f"{what} is not a bare expression", source.span(), label=label)
        return _nothing, None
    template = _Template(source, "{{ " + value + " }}", -3, compilation)
    parsed = template.parse()
    match parsed and parsed.body:
        case None:
            return _nothing, None
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(expression, nodes.TemplateData):
            return template.shaped(expression, bound, used=False)
    compilation.report("E201", f"`{value}` is not one expression", source.span())
    return _nothing, None


@dataclass(frozen=True, slots=True)
class Loop:
    """A compiled `x in expression [if condition]`."""

    name: str
    items: Evaluate
    condition: Evaluate | None
    bound: Bound
    """The names bound inside the loop."""


def compile_loop(source: Source, compilation: Compilation, bound: Bound) -> Loop | None:
    """Compile the operand of `$for`."""
    text = source.value if isinstance(source.value, str) else ""
    template = _Template(source, "{% for " + text + " %}{% endfor %}", -7, compilation)
    parsed = template.parse() if " in " in f" {text} " and not has_template(text) else nodes.Template([])
    match parsed and parsed.body:
        case None:
            return None
        case [nodes.For(target=nodes.Name(name=name), iter=items, test=test, body=[], else_=[], recursive=False)]:
            inside = dict(bound)

            def walk(analysis: Analysis) -> None:
                inside[name] = analysis.items(items, bound)
                if test is not None:
                    analysis.expression(test, inside)

            if not template.analyse(walk):
                inside.setdefault(name, ANYTHING)
                return Loop(name, _nothing, None, inside)
            condition = None if test is None else template.evaluate(test)
            return Loop(name, template.evaluate(items), condition, inside)
    label = "write `x in list` or `x in list if condition`"
    compilation.report("E205", f"`$for: {source.value}` is not a loop", source.span(), label=label)
    return None


def _one_expression(parsed: nodes.Template) -> nodes.Expr | None:
    """The expression of `{{ expression }}`. A block scalar's last line break does not make text of it."""
    match parsed.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression, *rest])] if not isinstance(
            expression, nodes.TemplateData
        ):
            line_break = all(isinstance(node, nodes.TemplateData) and not node.data.strip("\r\n") for node in rest)
            return expression if line_break else None
    return None


def _blank_around(parsed: nodes.Template) -> nodes.Expr | None:
    """The expression of a text that is made of it and of blanks alone."""
    match parsed.body:
        case [nodes.Output(nodes=parts)]:
            others = [part for part in parts if not isinstance(part, nodes.TemplateData)]
            blank = all(not part.data.strip() for part in parts if isinstance(part, nodes.TemplateData))
            return others[0] if blank and len(others) == 1 else None
    return None


def _nothing(_: Scope) -> Any:
    return ABSENT


class _Template:
    """A template that stands in a source, `shift` characters before or behind the beginning of the source's text."""

    def __init__(self, source: Source, text: str, shift: int, compilation: Compilation) -> None:
        self._source = source
        self._text = text
        self._shift = shift
        self._compilation = compilation

    def parse(self) -> nodes.Template | None:
        if len(self._text) > MAX_LENGTH:
            self._refuse(f"the template is longer than {MAX_LENGTH} characters")
            return None
        try:
            return self._compilation.sandbox.tree(self._text)
        except TemplateSyntaxError as error:
            self._report(explain(self._text, error))
        except _EXHAUSTED:
            self._refuse("the template is nested too deeply")
        except ValueError:
            self._refuse("a number in the template has too many digits")
        return None

    def analyse(self, walk: Callable[[Analysis], None]) -> bool:
        """Whether nothing is wrong."""
        compilation = self._compilation
        before = len(compilation.findings)
        try:
            walk(Analysis(compilation.sandbox, compilation.shapes, self._text, self._report, compilation.reads))
        except (TooDeep, RecursionError):
            self._refuse("the template is nested too deeply")
        return all(found.severity is Severity.WARNING for found in compilation.findings[before:])

    def native(self, expression: nodes.Expr, bound: Bound, *, used: bool) -> Evaluate:
        return self.shaped(expression, bound, used=used)[0]

    def shaped(self, expression: nodes.Expr, bound: Bound, *, used: bool) -> tuple[Evaluate, Shape]:
        """A function for an expression, and the shape of what it gives."""
        evaluate, found = self.valued(expression, bound, used=used)
        return evaluate, found.shape

    def valued(self, expression: nodes.Expr, bound: Bound, *, used: bool) -> tuple[Evaluate, Value]:
        """A function for an expression, and what it gives."""
        found = ANYTHING

        def walk(analysis: Analysis) -> None:
            nonlocal found
            found = analysis.expression(expression, bound, used=used)

        return (self.evaluate(expression), found) if self.analyse(walk) else (_nothing, ANYTHING)

    def padded(self, expression: nodes.Expr, bound: Bound) -> None:
        """Report what blanks make text of, though it is none."""
        shape = self.shaped(expression, bound, used=True)[1]
        kind = shape if isinstance(shape, str) else "list" if isinstance(shape, list) else ""
        if kind in ("number", "boolean", "list"):
            message = f"the blanks around the expression make text of a {kind}"
            label = "leave the blanks out: `{{ ... }}` alone keeps its type"
            span, severity = self._source.span(), Severity.WARNING
            self._compilation.report("W201", message, span, label=label, severity=severity)

    def evaluate(self, expression: nodes.Node) -> Evaluate:
        """A function for an expression: a closure if it is simple enough, else Jinja's generated code."""
        closure = closure_of(expression, self._compilation.sandbox)
        if closure is None:
            return self._generated(expression)
        can_fail = isinstance(expression, nodes.Filter) or expression.find(nodes.Filter) is not None
        return _located(closure, self._source) if can_fail else closure

    def _generated(self, expression: nodes.Node) -> Evaluate:
        root = self._root(
            [nodes.Assign(nodes.Name("result", "store"), cast("nodes.Expr", expression))], self._compilation.sandbox
        )
        return _located(evaluation_of(root, self._compilation.sandbox), self._source)

    def text(self, template: nodes.Template, sandbox: Sandbox) -> Evaluate:
        root = self._root(template.body, sandbox)
        static = text_in(template.body)

        def evaluate(scope: Scope) -> str:
            scope.budget.grow(static)
            return "".join(root(scope.context(sandbox)))

        return _located(evaluate, self._source)

    def _root(self, body: list[nodes.Node], sandbox: Sandbox) -> Callable[[Any], Iterator[str]]:
        try:
            return generate(body, sandbox)
        except _UNCOMPILABLE:
            self._refuse("the template is too complex")
            return lambda context: iter(())

    def _refuse(self, message: str) -> None:
        self._compilation.report("E201", f"template syntax: {message}", self._source.span())

    def _report(self, found: Finding) -> None:
        offset = found.offset + self._shift
        value = self._source.value
        inside = isinstance(value, str) and 0 <= offset < len(value)
        length = min(found.length, len(value) - offset) if inside else 0
        span = self._source.inner(offset, length) if inside else self._source.span()
        severity = Severity.WARNING if found.code.startswith("W") else Severity.ERROR
        self._compilation.report(found.code, found.message, span, label=found.label, help=found.help, severity=severity)


def _located(evaluate: Evaluate, source: Source) -> Evaluate:
    """The function, whose failures are ours and know the template that they came from."""

    def located(scope: Scope) -> Any:
        try:
            return evaluate(scope)
        except RenderError as error:
            error.source = error.source or source
            raise
        except (*_FAILURES, *_EXHAUSTED) as error:
            found = RenderError(_reason(error))
            found.source = source
            raise found from error

    return located


def _reason(error: Exception) -> str:
    """What happened, without the values that it happened to."""
    match error:
        case RecursionError():
            return "the template, or a value in it, is nested too deeply"
        case MemoryError():
            return "the template needs too much memory"
        case ZeroDivisionError():
            return "a division by zero"
        case OverflowError():
            return "a number is too large"
        case TypeError():
            return f"values do not fit: {error}"
    return "a value does not fit"


__all__ = [
    "ABSENT",
    "Absent",
    "Compilation",
    "Evaluate",
    "Leaf",
    "Loop",
    "check_braces",
    "compile_expression",
    "compile_leaf",
    "compile_loop",
    "compile_named",
    "compile_subject",
    "has_template",
]
