"""String leaves of a mapping to functions of a scope: literals, native values of one expression, and text.

A leaf that is exactly one `{{ expression }}` gives the expression's native value, never parsed again; any other leaf
with Jinja in it gives text. Plain names, attributes, constants and filters on them run as closures; the rest runs as
Jinja's generated code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from oaiproxy.analysis import Analysis, Bound, Finding, Shapes
from oaiproxy.diagnostics import Diagnostic, Severity, Span
from oaiproxy.sandbox import ABSENT, MAX_OUTPUT, MAX_STEPS, Absent, RenderError, Sandbox, Scope, member
from oaiproxy.source import Source

Evaluate: TypeAlias = Callable[[Scope], Any]
"""A scope to a value, or to an absent one."""

_JINJA = re.compile(r"\{[{%#]")
_FAILURES = (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, TemplateError, RecursionError)


@dataclass(slots=True)
class Compilation:
    """What the compilers of one mapping share: the names in scope, what was found wrong, what the templates read."""

    shapes: Shapes
    sandbox: Sandbox = field(default_factory=Sandbox)
    findings: list[Diagnostic] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)

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


def compile_leaf(source: Source, compilation: Compilation, bound: Bound, sandbox: Sandbox | None = None) -> Leaf:
    """Compile a string that holds Jinja; what is wrong in it goes to the compilation's findings."""
    text = source.value.rstrip("\n") if _is_one_expression(source.value) else source.value
    parsed = _parse(text, source, 0, compilation, sandbox)
    if parsed is None:
        return Leaf(_nothing, native=True)
    match parsed.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(expression, nodes.TemplateData):
            _analyse(compilation, source, text, 0).expression(expression, bound, used=True)
            if sandbox is None:
                return Leaf(_native(expression, compilation.sandbox, source), native=True)
        case _:
            _analyse(compilation, source, text, 0).template(parsed, bound)
    return Leaf(_text(parsed, sandbox or compilation.sandbox, source), native=False)


def compile_expression(source: Source, compilation: Compilation, bound: Bound) -> Evaluate:
    """Compile a bare expression, as `$if` and `$match` take."""
    wrapped = "{{ " + str(source.value) + " }}"
    parsed = _parse(wrapped, source, -3, compilation)
    match parsed and parsed.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(expression, nodes.TemplateData):
            _analyse(compilation, source, wrapped, -3).expression(expression, bound)
            return _native(expression, compilation.sandbox, source)
        case None:
            return _nothing
    compilation.report(
        "E201", f"`{source.value}` is not one expression", source.span(), label="write it without braces"
    )
    return _nothing


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
    wrapped = "{% for " + str(source.value) + " %}{% endfor %}"
    parsed = _parse(wrapped, source, -7, compilation)
    match parsed and parsed.body:
        case [nodes.For(target=nodes.Name(name=name), iter=items, test=test, recursive=False)]:
            analysis = _analyse(compilation, source, wrapped, -7)
            inside = bound | {name: analysis.items(items, bound)}
            if test is not None:
                analysis.expression(test, inside)
            condition = None if test is None else _native(test, compilation.sandbox, source)
            return Loop(name, _native(items, compilation.sandbox, source), condition, inside)
        case None:
            return None
    compilation.report(
        "E205",
        f"`$for: {source.value}` is not a loop",
        source.span(),
        label="write `x in list` or `x in list if condition`",
    )
    return None


def _is_one_expression(text: str) -> bool:
    return text.startswith("{{") and text.rstrip("\n").endswith("}}")


def _nothing(_: Scope) -> Any:
    return ABSENT


def _analyse(compilation: Compilation, source: Source, text: str, shift: int) -> Analysis:
    def report(found: Finding) -> None:
        offset = found.offset + shift
        span = source.inner(offset, found.length) if 0 <= offset < len(str(source.value)) else source.span()
        compilation.report(found.code, found.message, span, label=found.label, help=found.help)

    return Analysis(
        compilation.sandbox, compilation.shapes, _tokens(compilation.sandbox, text), report, compilation.reads
    )


def _tokens(sandbox: Sandbox, text: str) -> list[tuple[int, str, str]]:
    """Offset, kind and text of each token."""
    found, position = [], 0
    for _, kind, value in sandbox.lex(text):
        position = text.find(value, position) if value else position
        found.append((position, kind, value))
        position += len(value)
    return found


def _parse(
    text: str, source: Source, shift: int, compilation: Compilation, sandbox: Sandbox | None = None
) -> nodes.Template | None:
    try:
        parsed = (sandbox or compilation.sandbox).parse(text)
    except TemplateSyntaxError as error:
        offset, length = _error_place(compilation.sandbox, text, error)
        offset += shift
        span = source.inner(offset, length) if 0 <= offset < len(str(source.value)) else source.span()
        compilation.report("E201", f"template syntax: {_plain(error)}", span)
        return None
    return _Rewrite().visit(parsed)  # type: ignore[no-any-return]


def _plain(error: TemplateSyntaxError) -> str:
    message = (error.message or "cannot be read").rstrip(".")
    message = re.sub(r" at \d+$", "", message)
    return message[0].lower() + message[1:]


def _error_place(sandbox: Sandbox, text: str, error: TemplateSyntaxError) -> tuple[int, int]:
    """Jinja tells the line alone; the token that its message quotes tells the rest."""
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: error.lineno - 1])
    message = error.message or ""
    if at := re.search(r"unexpected char .* at (\d+)$", message):
        return int(at[1]), 1
    quoted = re.search(r"(?:got|unexpected) '([^']+)'", message)
    if quoted:
        try:
            tokens = _tokens(sandbox, text)
        except TemplateSyntaxError:
            tokens = []
        for offset, _, value in reversed(tokens):
            if value == quoted[1] and offset >= start:
                return offset, len(value)
        found = text.rfind(quoted[1], start)
        if found >= 0:
            return found, len(quoted[1])
    line = lines[min(error.lineno, len(lines)) - 1]
    return start, max(1, len(line))


class _Rewrite(NodeTransformer):
    """`a ~ b` by our own rules: numbers as JSON, absent if one of them is."""

    def visit_Concat(self, node: nodes.Concat, *_: Any) -> nodes.Node:
        self.generic_visit(node)
        pieces = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(pieces, "concat", [], [], None, None, lineno=node.lineno)


def _located(error: Exception, source: Source) -> RenderError:
    """The failure as one of ours that knows the template it came from."""
    found = error if isinstance(error, RenderError) else RenderError(str(error))
    found.source = found.source or source
    return found


def _native(expression: nodes.Node, sandbox: Sandbox, source: Source) -> Evaluate:
    closure = _closure(expression, sandbox, source)
    if closure is not None:
        return closure
    body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), cast("nodes.Expr", expression), lineno=1)]
    root = _root(nodes.Template(body, lineno=1), sandbox)

    def evaluate(scope: Scope) -> Any:
        context = scope.context(sandbox)
        try:
            for _ in root(context):
                pass
        except _FAILURES as error:
            raise _located(error, source) from error
        return context.vars["result"]

    return evaluate


def _text(template: nodes.Template, sandbox: Sandbox, source: Source) -> Evaluate:
    root = _root(template, sandbox)

    def evaluate(scope: Scope) -> str:
        pieces: list[str] = []
        size = 0
        try:
            for piece in root(scope.context(sandbox)):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_OUTPUT or len(pieces) > MAX_STEPS:
                    raise RenderError(f"the text would pass {MAX_OUTPUT} characters or {MAX_STEPS} pieces")
        except _FAILURES as error:
            raise _located(error, source) from error
        return "".join(pieces)

    return evaluate


def _root(template: nodes.Template, sandbox: Sandbox) -> Callable[[Any], Iterator[str]]:
    template.set_environment(sandbox)
    return sandbox.from_string(template).root_render_func


def _closure(node: nodes.Node, sandbox: Sandbox, source: Source) -> Evaluate | None:
    """The fast lane: a closure for a name, an attribute, a constant, or a filter on those; None for anything else."""
    match node:
        case nodes.Const(value=value):
            return lambda scope: value
        case nodes.Name(name=name) if name not in sandbox.globals:
            return lambda scope: scope.lookup(name)
        case nodes.Getattr(node=owner, attr=key) | nodes.Getitem(node=owner, arg=nodes.Const(value=key)):
            inner = _closure(owner, sandbox, source)
            return None if inner is None else _member(inner, key)
        case nodes.Filter(node=nodes.Expr() as subject, args=args, kwargs=[], dyn_args=None, dyn_kwargs=None):
            function = sandbox.filters.get(node.name)
            inner = _closure(subject, sandbox, source)
            arguments = [closure for one in args if (closure := _closure(one, sandbox, source)) is not None]
            if inner is None or function is None or len(arguments) < len(args):
                return None
            return _filtered(inner, function, arguments, source)
    return None


def _member(inner: Evaluate, key: Any) -> Evaluate:
    return lambda scope: member(inner(scope), key)


def _filtered(inner: Evaluate, function: Callable[..., Any], arguments: list[Evaluate], source: Source) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        try:
            return function(inner(scope), *[argument(scope) for argument in arguments])
        except _FAILURES as error:
            raise _located(error, source) from error

    return evaluate


__all__ = [
    "ABSENT",
    "Absent",
    "Compilation",
    "Evaluate",
    "Leaf",
    "Loop",
    "compile_expression",
    "compile_leaf",
    "compile_loop",
    "has_template",
]
