"""The Jinja that chat templates of models are written for, with methods, at a bounded cost.

It is what `apply_chat_template` sets up (https://huggingface.co/docs/transformers/chat_templating): trimmed blocks,
loop controls, `raise_exception`, `strftime_now`, a `tojson` that escapes nothing. Python's methods on text, lists and
objects are there, those alone that change nothing; mappings themselves are written in the stricter `sandbox`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from types import MethodType
from typing import Any, cast

from jinja2 import Environment, TemplateError, TemplateSyntaxError, nodes, pass_context, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.filters import make_attrgetter
from jinja2.lexer import TokenStream
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace
from markupsafe import escape

from oaiproxy.lowering import Lowering
from oaiproxy.sandbox import LOOP, MAX_BITS, finalizer, offsets
from oaiproxy.scopes import Budget, RenderError, weigh

MAX_TEXT = 8 * 1024 * 1024
"""Characters that one operation may make."""
MAX_WIDTH = 1000
"""The largest number that a filter takes which makes text or lists of that size."""

METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        (
            *("strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "partition", "rpartition", "join"),
            *("startswith", "endswith", "find", "rfind", "index", "rindex", "count", "removeprefix", "removesuffix"),
            *("upper", "lower", "title", "capitalize", "casefold", "swapcase", "format", "replace"),
            *("isalnum", "isalpha", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "isupper"),
        )
    ),
    dict: frozenset(("items", "keys", "values", "get", "copy")),
    list: frozenset(("index", "count", "copy")),
    tuple: frozenset(("index", "count")),
}
"""Python's methods that templates can call, by the type of their owner."""
_OBJECTS: Mapping[type, frozenset[str]] = {
    LoopContext: LOOP,
    Macro: frozenset(("name",)),
    Cycler: frozenset(("next", "reset", "current")),
}
_FILTERS = (
    *("abs", "batch", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "indent", "int"),
    *("items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace"),
    *("reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum", "title", "trim", "truncate"),
    *("unique", "upper", "wordcount"),
)
"""Jinja's filters that are here; the others are for HTML, or cost without bound."""
_WIDE = frozenset(("batch", "indent", "slice", "truncate", "round"))
_WRITING = frozenset(
    (
        *("capitalize", "e", "escape", "indent", "lower", "replace", "safe", "string", "title", "tojson", "trim"),
        *("truncate", "upper", "wordcount"),
    )
)
"""Filters that write out what they are given."""
_WIDE_FORM = re.compile(r"\d{4}|\*|\{[^{}]*\{")
"""A form in which a width is large, or given from outside."""


class Refusal(TemplateError):
    """What a template says with `raise_exception`."""


class ChatContext(Context):
    """A context that carries the request's budget."""

    budget: Budget


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and runs chat templates: see the module."""

    context_class = ChatContext
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            cache_size=0,
            finalize=finalizer(_written),
            extensions=["jinja2.ext.loopcontrols", Generation],
        )
        self.globals = {name: self.globals[name] for name in ("cycler", "dict", "joiner", "namespace", "range")}
        self.globals["raise_exception"] = _raise
        own: dict[str, Callable[..., Any]] = {"tojson": to_json, "safe": _text, "escape": _escaped, "e": _escaped}
        own["join"] = _join
        self.filters = {name: self._charged(name, self.filters[name]) for name in _FILTERS}
        self.filters |= {name: self._charged(name, function) for name, function in own.items()}

    def position(self, source: str) -> int:
        """The offset of a syntax error."""
        tokens = TokenStream(self.lexer.wrap(offsets(self.lexer, source)), None, None)
        parser = Parser(self, "")
        parser.stream = tokens
        try:
            parser.parse()
        except TemplateSyntaxError as error:
            return error.lineno
        return 0

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether templates reach an attribute: those listed above, and what a namespace holds."""
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        known = METHODS.get(type(obj)) or _OBJECTS.get(type(obj), frozenset())
        return attr in known or attr in getattr(type(obj), "_fields", ())  # as the groups of `groupby`

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Jinja's safe `format`, for forms without large widths."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None and _WIDE_FORM.search(value.__self__):
            raise SecurityError("the form has a width that is too large, or given from outside")
        return wrapped

    def call(self, context: Any, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Call a function, a macro or a method."""
        budget: Budget = context.budget
        budget.step(10 if isinstance(function, Macro) else 1)
        owner = getattr(function, "__self__", None)
        if isinstance(function, MethodType) and owner is self:
            return function(context, *arguments)
        if isinstance(owner, str):
            _check_method(budget, owner, function.__name__, arguments)
        result = super().call(context, function, *arguments, **named)
        if not isinstance(function, Macro):
            _charge(budget, result)
        return result

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`, where it can make much of little."""
        budget: Budget = context.budget
        if operator == "%" and isinstance(left, str) and _WIDE_FORM.search(left):
            raise SecurityError("the form has a width that is too large, or given from outside")
        if operator == "*":
            times, many = (left, right) if isinstance(left, int) else (right, left)
            if isinstance(many, str | list | tuple) and isinstance(times, int):
                _check_size(len(many) * times)
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > MAX_BITS:
                raise SecurityError(f"a number of more than {MAX_BITS} bits")
        if operator == "+" and isinstance(left, str | list):
            budget.grow(len(left))
        result = super().call_binop(context, operator, left, right)
        _charge(budget, result)
        return result

    # What stands for Jinja's own operations in lowered templates: see `Lowering`.

    def joined(self, context: Any, *values: Any) -> str:
        """`a ~ b`."""
        made = "".join(_written(value) for value in values)
        _charge(context.budget, made)
        return made

    def listed(self, context: Any, *items: Any) -> list[Any]:
        """`[a, b]`."""
        made = list(items)
        _charge(context.budget, made)
        return made

    def tupled(self, context: Any, *items: Any) -> tuple[Any, ...]:
        """`(a, b)`."""
        _charge(context.budget, items)
        return items

    def keyed(self, context: Any, *pairs: Any) -> dict[Any, Any]:
        """`{a: b}`."""
        made = dict(zip(pairs[::2], pairs[1::2], strict=True))
        _charge(context.budget, made)
        return made

    def cut(self, context: Any, value: Any, start: Any, stop: Any, step: Any) -> Any:
        """`value[start:stop:step]`."""
        made = value[start:stop:step]
        context.budget.step(len(made) // 64)
        return made

    def items(self, context: Any, value: Any, text: int = 0) -> Any:
        """What `{% for %}` runs over; `text` is what each turn writes at least."""
        made = value if isinstance(value, list | tuple | str | dict) else list(value)
        context.budget.step(len(made))
        context.budget.grow(len(made) * text)
        return made

    def spend(self, context: Any, text: int) -> str:
        """What a macro costs each time: the characters that stand in it."""
        context.budget.grow(text)
        return ""

    def _charged(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter, paid for by what it takes and makes."""
        kind = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

        @pass_context
        @wraps(function)
        def charged(context: Any, value: Any, *arguments: Any, **named: Any) -> Any:
            budget: Budget = context.budget
            if isinstance(value, str | list | dict):
                budget.step(1 + len(value) // 256)
            if name in _WRITING and isinstance(value, list | dict | tuple):
                weigh(value)
            if name in _WIDE:
                for argument in (*arguments, *named.values()):
                    if isinstance(argument, int) and abs(argument) > MAX_WIDTH:
                        raise SecurityError(f"`{name}` takes numbers up to {MAX_WIDTH}")
            if name == "replace" and isinstance(value, str):
                _check_method(budget, value, name, arguments)
            lead = {"context": (context,), "eval_context": (context.eval_ctx,), "environment": (self,)}.get(kind, ())
            result = function(*lead, value, *arguments, **named)
            _charge(budget, result)
            return result

        return charged


class ChatLowering(Lowering):
    """As for mappings, but for what chat templates do as plain Jinja does."""

    visit_CondExpr = visit_Compare = visit_Name = Lowering.generic_visit

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        if node.ctx != "load":
            return node
        items = [self.visit(item) for item in node.items]
        return nodes.Call(nodes.EnvironmentAttribute("tupled"), items, [], None, None, lineno=node.lineno)


class Generation(Extension):
    """`{% generation %}` marks what the model said, for training; here it says nothing."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own way to say it

    def parse(self, parser: Parser) -> nodes.Node:
        """The statements up to `{% endgeneration %}`, in a scope of their own."""
        lineno = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=lineno)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: Sequence[str] | None = None,
    sort_keys: bool = False,
) -> str:
    """`tojson` as the models' templates expect it: Python's own, without HTML escapes."""
    width = indent if isinstance(indent, int) else len(indent or "")
    if width > 32:
        raise SecurityError("`tojson` indents by 32 at most")
    pair = cast("tuple[str, str] | None", tuple(separators) if separators else None)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=pair, sort_keys=sort_keys)


def _raise(message: Any) -> Any:
    raise Refusal(str(message))


@pass_environment
def _join(environment: Environment, value: Iterable[Any], d: Any = "", attribute: int | str | None = None) -> str:
    """Jinja's `join`, which stops where the text becomes too long."""
    get = make_attrgetter(environment, attribute) if attribute is not None else lambda item: item
    between = _written(d)
    pieces, size = [], 0
    for item in value:
        pieces.append(_written(get(item)))
        size += len(pieces[-1]) + len(between)
        _check_size(size)
    return between.join(pieces)


def _text(value: Any) -> str:
    return str(value)


def _escaped(value: Any) -> str:
    return str(escape(value))


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Namespace | Macro) or (callable(value) and not isinstance(value, Undefined)):
        raise RenderError("a function or a namespace is no text")
    if isinstance(value, list | dict | tuple):
        weigh(value)
    return str(value)


def _charge(budget: Budget, value: Any) -> None:
    """Count a value that was made."""
    if isinstance(value, str):
        _check_size(len(value))
        budget.grow(len(value))
    elif isinstance(value, list | dict | tuple):
        budget.step(1 + weigh(value) // 16)


def _check_size(size: int) -> None:
    if size > MAX_TEXT:
        raise RenderError(f"an operation would make more than {MAX_TEXT} characters")


def _check_method(budget: Budget, owner: str, name: str, arguments: tuple[Any, ...]) -> None:
    """What a method on text costs, and whether that is too much."""
    budget.grow(len(owner) // 8)
    match name, arguments:
        case "replace", (str() as old, str() as new, *_) if len(new) > len(old):
            times = owner.count(old) if old else len(owner) + 1
            _check_size(len(owner) + times * (len(new) - len(old)))
        case "join", (list() | tuple() as pieces, *_):
            _check_size(len(owner) * len(pieces) + sum(len(piece) for piece in pieces if isinstance(piece, str)))
