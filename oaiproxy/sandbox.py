"""Jinja, made safe for data: an environment in which templates reach nothing but JSON, at a bounded cost."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from types import CodeType, MethodType
from typing import Any

from jinja2 import TemplateSyntaxError, nodes, pass_context
from jinja2.lexer import Lexer, Token, TokenStream
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import MAX_RANGE, ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from oaiproxy import filters
from oaiproxy.filters import ABSENT_ITEM, FILTERS, FilterError
from oaiproxy.jsontext import Json
from oaiproxy.scopes import ABSENT, Absent, AbsentError, Budget, RenderError, Scope, as_text, data, member

__all__ = [
    "ABSENT",
    "LOOP",
    "TESTS",
    "Absent",
    "AbsentError",
    "RenderError",
    "Sandbox",
    "Scope",
    "as_text",
    "finalizer",
    "offsets",
]

MAX_BITS = 4096
"""Size of an integer that arithmetic may make."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja over JSON data: no Python attribute or method, no global but `range` and `namespace`, bounded costs.

    What `templates` puts in the place of Jinja's own operations are the methods below that take a context first.
    """

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))
    intercepted_unops = frozenset(("+", "-"))
    absent = ABSENT

    def __init__(self, finalize: Callable[[Any], str] | None = None) -> None:
        super().__init__(
            undefined=Absent,
            finalize=finalizer(finalize or as_text),
            keep_trailing_newline=True,
            autoescape=False,
            cache_size=0,
            extensions=["jinja2.ext.loopcontrols"],
        )
        self.eval_context = nodes.EvalContext(self)
        self.globals = {"range": self.numbers, "namespace": Namespace}
        own = (self._map, self._select, self._reject, self._selectattr, self._rejectattr)
        functions: dict[str, Any] = FILTERS | {function.__name__[1:]: function for function in own}
        self._guarded = {name: _guarded(function) for name, function in functions.items()} | {"default": _default}
        self.filters = {name: _charged(function) for name, function in sorted(self._guarded.items())}
        self.filters["default"] = _uncharged(_default)
        self.tests = dict(TESTS)

    def tree(self, source: str) -> nodes.Template:
        """Parse a template. The `lineno` of each node, and of a TemplateSyntaxError, is an offset in `source`."""
        return Parser(self, source).parse()

    def _compile(self, source: str, filename: str) -> CodeType:
        return _code(source, filename)

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        if "\r" not in source:
            return TokenStream(iter(_tokens(self.lexer, source)), name, filename)
        # Jinja makes one kind of line break of all kinds, but text is to stay as its author wrote it.
        hidden = next((space for space in "\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2000\u2001" if space not in source), " ")
        tokens = self.lexer.wrap(offsets(self.lexer, source.replace("\r", hidden)))
        shown = (
            token._replace(value=token.value.replace(hidden, "\r")) if token.type in ("data", "string") else token
            for token in tokens
        )
        return TokenStream(shown, name, filename)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a key of data, or what Jinja's own loop and namespace objects offer."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`: as `getattr`, and items of lists and text."""
        if isinstance(obj, Absent):
            return obj
        if isinstance(argument, Absent):
            return argument
        if isinstance(obj, LoopContext):
            return getattr(obj, argument) if argument in LOOP else Absent(name=str(argument))
        if isinstance(obj, Namespace) and isinstance(argument, str) and not argument.startswith("_"):
            return getattr(obj, argument, Absent(name=argument))
        value = member(obj, argument)
        return Absent(name=str(argument)) if value is ABSENT else value

    def call(self, context: Any, function: Any, *arguments: Any, **named: Any) -> Any:
        """Call one of the functions that templates can reach: nothing that stands in data."""
        budget: Budget = context.budget
        budget.step()
        named.pop("_loop_vars", None)
        named.pop("_block_vars", None)
        if isinstance(function, MethodType) and function.__self__ is self:
            return function(context, *arguments, **named)
        if isinstance(function, Absent):
            return function
        of_loop = isinstance(function, MethodType) and isinstance(function.__self__, LoopContext)
        if function is Namespace or isinstance(function, Macro) or of_loop:
            budget.step(9)  # a macro is some ten times slower than a turn of a loop
            return super().call(context, function, *arguments, **named)
        raise RenderError(f"{filters.kind(function)} cannot be called")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """`left operator right` on numbers; `+` also joins two texts or two lists; nothing multiplies text."""
        if isinstance(left, Absent):
            return left
        if isinstance(right, Absent):
            return right
        if operator == "+" and (_are(str, left, right) or _are(list, left, right)):
            budget: Budget = context.budget
            budget.step(0 if isinstance(left, str) else len(left) + len(right))
            budget.grow(len(left) + len(right))
            return left + right
        if not (_is_number(left) and _is_number(right)):
            raise RenderError(f"`{operator}` cannot join {filters.kind(left)} and {filters.kind(right)}")
        if isinstance(left, int) and isinstance(right, int):
            bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * abs(right)}
            if bits.get(operator, 0) > MAX_BITS:
                raise RenderError(f"`{operator}` would make a number of more than {MAX_BITS} bits")
        result = self.binop_table[operator](left, right)
        if isinstance(result, complex):
            raise RenderError(f"`{operator}` has no real result")
        return result

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        """`+arg` and `-arg` on numbers."""
        if isinstance(arg, Absent) or _is_number(arg):
            return self.unop_table[operator](arg)
        raise RenderError(f"`{operator}` needs a number, not {filters.kind(arg)}")

    def joined(self, context: Any, *values: Any) -> Any:
        """`a ~ b`: the values as one text; absent as soon as one of them is."""
        for value in values:
            if isinstance(value, Absent):
                return value
            context.budget.weigh(value)
        pieces = [filters.text(value) for value in values]
        context.budget.grow(sum(map(len, pieces)))
        return "".join(pieces)

    def listed(self, context: Any, *items: Any) -> list[Json]:
        """`[a, b]`, without what is absent."""
        return [_part(context.budget, item) for item in items if not isinstance(item, Absent)]

    def keyed(self, context: Any, *pairs: Any) -> dict[str, Json]:
        """`{a: b}`, without what is absent. Keys become text, as in JSON."""
        made: dict[str, Json] = {}
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if isinstance(key, list | dict):
                raise RenderError(f"{filters.kind(key)} cannot be a key")
            if not isinstance(key, Absent) and not isinstance(value, Absent):
                made[filters.text(key)] = _part(context.budget, value)
        return made

    def contains(self, context: Any, item: Any, container: Any) -> bool:
        """`item in container`: an item of a list, a key of an object, a piece of a text."""
        if isinstance(item, Absent) or isinstance(container, Absent):
            return False
        if isinstance(container, list):
            context.budget.step(len(container) // 64)
        elif isinstance(container, str):
            context.budget.grow(len(container) // 4)
        return _contained(item, container)

    def cut(self, context: Any, value: Any, start: Any, stop: Any, step: Any) -> Any:
        """`value[start:stop:step]` of a list or a text."""
        for part in (value, start, stop, step):
            if isinstance(part, Absent):
                return part
        if not isinstance(value, list | str):
            raise RenderError(f"{filters.kind(value)} has no slices")
        result = value[start:stop:step]
        context.budget.charge(result)
        return result

    def items(self, context: Any, value: Any, text: int = 0) -> list[Json]:
        """What `{% for %}` runs over: a list's items, an object's keys. `text` is what each turn writes at least."""
        if isinstance(value, Absent):
            return []
        if not isinstance(value, list | dict):
            raise RenderError(f"`for` needs a list, not {filters.kind(value)}")
        context.budget.step(len(value))
        context.budget.grow(len(value) * text)
        return list(value)

    def spend(self, context: Any, text: int) -> str:
        """What a macro costs each time: the characters that stand in it."""
        context.budget.grow(text)
        return ""

    def request_name(self, context: Any, name: str) -> Any:
        """A name that Jinja would take for its own."""
        return context.scope.lookup(name)

    def numbers(self, context: Any, *bounds: Any) -> Any:
        """`range(stop)`, `range(start, stop)`, `range(start, stop, step)` as a list."""
        for bound in bounds:
            if isinstance(bound, Absent):
                return bound
        found = range(*bounds)
        if len(found) > MAX_RANGE:
            raise RenderError(f"`range` gives at most {MAX_RANGE} numbers")
        context.budget.step(len(found))
        return list(found)

    def _map(self, value: Json, name: str | None = None, *arguments: Any, attribute: Any = None) -> list[Any]:
        """Each item's `attribute`, or what the filter called `name` makes of each item; without what is absent."""
        items = _list("map", value)
        if attribute is not None:
            found = [self._attribute(item, attribute) for item in items]
        elif name in self._guarded:
            found = [self._guarded[name](item, *arguments) for item in items]
        else:
            raise RenderError("`map` names no filter")
        return [item for item in found if not isinstance(item, Absent)]

    def _select(self, value: Json, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items that pass a test; without one, those that are not empty."""
        return [item for item in _list("select", value) if self._passes(item, test, arguments)]

    def _reject(self, value: Json, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items that fail a test; without one, those that are empty."""
        return [item for item in _list("reject", value) if not self._passes(item, test, arguments)]

    def _selectattr(self, value: Json, attribute: str, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items whose attribute passes a test; without one, those where it is not empty."""
        return [i for i in _list("selectattr", value) if self._passes(self._attribute(i, attribute), test, arguments)]

    def _rejectattr(self, value: Json, attribute: str, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items whose attribute fails a test; without one, those where it is empty."""
        items = _list("rejectattr", value)
        return [i for i in items if not self._passes(self._attribute(i, attribute), test, arguments)]

    def _attribute(self, value: Any, path: Any) -> Any:
        for key in path.split(".") if isinstance(path, str) else [path]:
            value = self.getitem(value, key)
        return value

    def _passes(self, value: Any, test: str, arguments: tuple[Any, ...]) -> bool:
        if test == "truthy":
            return bool(value)
        function: Any = self.tests.get(test)
        if function is None:
            raise RenderError("no test has this name")
        return bool(function(value, *arguments))


LOOP = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length"}
    | {"depth", "depth0", "previtem", "nextitem", "cycle", "changed"}
)
"""What `loop` offers inside `{% for %}`."""


@lru_cache(maxsize=2048)
def _tokens(lexer: Lexer, text: str) -> tuple[Token, ...]:
    """The lexer's tokens; mappings that are read again, or that extend another, have most of their templates alike."""
    return tuple(lexer.wrap(offsets(lexer, text)))


@lru_cache(maxsize=2048)
def _code(source: str, filename: str) -> CodeType:
    return compile(source, filename, "exec")


def offsets(lexer: Lexer, text: str) -> Iterator[tuple[int, str, str]]:
    """The lexer's tokens, with their offsets for their lines."""
    position = 0
    tokens = lexer.tokeniter(text, None)
    while True:
        try:
            _, kind, value = next(tokens)
        except StopIteration:
            return
        except TemplateSyntaxError as error:
            error.lineno = position
            raise
        start = text.find(value, position)
        position = start + len(value)
        yield start, kind, value


def finalizer(finalize: Callable[[Any], str]) -> Callable[[Any, Any], str]:
    """What Jinja calls for each value that it writes: `finalize`, paid for from the budget."""

    @pass_context
    def finalized(context: Any, value: Any) -> str:
        context.budget.weigh(value)
        made = finalize(value)
        context.budget.grow(len(made))
        return made

    return finalized


def _default(value: Any, fallback: Any = "") -> Any:
    """The value, or `fallback` where it is absent or null."""
    return fallback if value is None or isinstance(value, Absent) else value


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, with absent values passed through and failures told as ours."""

    @wraps(function)
    def guarded(value: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(value, Absent):
            return value
        if arguments or named:
            for argument in (*arguments, *named.values()):
                if isinstance(argument, Absent):
                    return argument
        try:
            result = function(value, *arguments, **named)
        except FilterError as error:
            raise RenderError(str(error)) from None
        return ABSENT if result is ABSENT_ITEM else result

    return guarded


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter as templates call it: with whatever holds the budget, a scope or a context, before the value."""

    @pass_context
    @wraps(function)
    def charged(holder: Any, value: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(value, str):
            holder.budget.grow(len(value) // 8)
        elif isinstance(value, list | dict):
            holder.budget.step(len(value) // 8)
            holder.budget.weigh(value)
        result = function(value, *arguments, **named)
        if isinstance(result, str | list):
            holder.budget.charge(result)
        return result

    return charged


def _uncharged(function: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    @wraps(function)
    def called(_holder: Any, *arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return called


def _are(wanted: type, left: Any, right: Any) -> bool:
    return isinstance(left, wanted) and isinstance(right, wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise RenderError(f"`is {name}` needs an integer, not {filters.kind(value)}")


def _contained(item: Any, container: Any) -> bool:
    if isinstance(container, str) and not isinstance(item, str):
        raise RenderError(f"`in` looks for text in a text, not for {filters.kind(item)}")
    if not isinstance(container, str | list | dict):
        raise RenderError(f"`in` cannot look in {filters.kind(container)}")
    return False if isinstance(container, dict) and not isinstance(item, str) else item in container


def _part(budget: Budget, value: Any) -> Json:
    """A value that becomes part of another one."""
    if isinstance(value, list | dict):
        budget.shared = True
    elif isinstance(value, str):
        budget.grow(len(value))
    return data(value)


def _list(name: str, value: Json) -> list[Json]:
    if isinstance(value, list):
        return value
    raise RenderError(f"`{name}` needs a list, not {filters.kind(value)}")


def _tested(function: Callable[..., Any], absent: bool = False) -> Callable[..., bool]:
    """The test, which gives `absent` for an absent value or argument."""

    @wraps(function)
    def tested(value: Any, *arguments: Any) -> bool:
        if isinstance(value, Absent) or any(isinstance(argument, Absent) for argument in arguments):
            return absent
        return bool(function(value, *arguments))

    return tested


_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("eq", "equalto", "=="), operator.eq),
    **dict.fromkeys(("lt", "lessthan", "<"), operator.lt),
    **dict.fromkeys(("le", "<="), operator.le),
    **dict.fromkeys(("gt", "greaterthan", ">"), operator.gt),
    **dict.fromkeys(("ge", ">="), operator.ge),
}
TESTS: dict[str, Any] = {
    "defined": _tested(lambda value: True),
    "undefined": _tested(lambda value: False, absent=True),
    "none": _tested(lambda value: value is None),
    "string": _tested(lambda value: isinstance(value, str)),
    "number": _tested(_is_number),
    "integer": _tested(lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": _tested(lambda value: isinstance(value, float)),
    "boolean": _tested(lambda value: isinstance(value, bool)),
    "true": _tested(lambda value: value is True),
    "false": _tested(lambda value: value is False),
    "mapping": _tested(lambda value: isinstance(value, dict)),
    "sequence": _tested(lambda value: isinstance(value, list | str)),
    "iterable": _tested(lambda value: isinstance(value, list | str | dict)),
    "even": _tested(lambda value: _integer("even", value) % 2 == 0),
    "odd": _tested(lambda value: _integer("odd", value) % 2 == 1),
    "divisibleby": _tested(lambda value, by: _integer("divisibleby", value) % _integer("divisibleby", by) == 0),
    "in": _tested(_contained),
    **{name: _tested(compare) for name, compare in _COMPARED.items()},
    **dict.fromkeys(("ne", "!="), _tested(operator.ne, absent=True)),
}
"""Tests that speak of data, Jinja's by name."""
