"""Jinja, made safe for data: absent values, scopes, and an environment in which templates reach nothing but JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Protocol

from jinja2 import nodes
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, missing

from oaiproxy import filters
from oaiproxy.filters import ABSENT_ITEM, FILTERS, FilterError
from oaiproxy.jsontext import Json

MAX_OUTPUT = 64 * 1024 * 1024
"""Characters that one text template may yield."""
MAX_STEPS = 1_000_000
"""Pieces that one text template may yield: a bound on loops over loops."""


class RenderError(ValueError):
    """A template cannot be rendered with this request; the message names the operation and the kinds of values.

    `source` is the template, as the compiler knows it.
    """

    source: Any = None


class AbsentError(RenderError):
    """An absent value stands where text is made; `name` is the value's."""

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name}` is absent, and text is made of it" if name else "text is made of an absent value")
        self.name = name


class Absent(Undefined):
    """A value that was not sent. It passes through attributes, arithmetic and filters, is false, and has no items."""

    __slots__ = ()

    def _same(self, *_: Any) -> Absent:
        return self

    def _never(self, _: Any) -> bool:
        return False

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __div__ = __rdiv__ = _same  # type: ignore[assignment]
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _same  # type: ignore[assignment]
    __pow__ = __rpow__ = __pos__ = __neg__ = __getitem__ = __call__ = _same  # type: ignore[assignment]
    __lt__ = __le__ = __gt__ = __ge__ = _never  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Absent)

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, Absent)

    def __hash__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        raise AbsentError(self._undefined_name or "")

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


class Names(Protocol):
    """Where a template's names come from; an unsent one is `ABSENT`."""

    def lookup(self, name: str) -> Json: ...


class Scope:
    """The names that a template sees: those of the request, and over them the local ones of `$for` and `$let`."""

    __slots__ = ("_context", "_local", "_parent")

    def __init__(self, parent: Names, local: Mapping[str, Json] | None = None) -> None:
        self._parent = parent
        self._local = local or {}
        self._context: TemplateContext | None = None

    def lookup(self, name: str) -> Json:
        """The value of a name; `ABSENT` when nobody gave it one."""
        try:
            return self._local[name]
        except KeyError:
            return self._parent.lookup(name)

    def inner(self, local: Mapping[str, Json]) -> Scope:
        """This scope with more local names over it."""
        return Scope(self, local)

    def context(self, environment: Sandbox) -> TemplateContext:
        """The Jinja context of this scope: one for all templates of a request."""
        if self._context is None:
            self._context = TemplateContext(environment, self)
        return self._context


class TemplateContext(Context):
    """A Jinja context that asks a scope; without the copies that Jinja's own makes for each render."""

    def __init__(self, environment: Sandbox, scope: Scope) -> None:
        self.scope = scope
        self.environment = environment
        self.eval_ctx = environment.eval_context
        self.vars = {}
        self.parent = {}
        self.exported_vars = set()
        self.globals_keys = set()
        self.name = None
        self.blocks = {}

    def resolve_or_missing(self, key: str) -> Any:
        """The value of a name, as Jinja's generated code asks for it."""
        value = self.scope.lookup(key)
        if value is ABSENT:
            return self.environment.globals.get(key, missing)
        return value


def member(value: Json, key: Any) -> Json:
    """`value.key` and `value[key]` on data alone: the key of an object, the item of a list, else absent."""
    if isinstance(value, dict):
        return value.get(key, ABSENT)
    if isinstance(value, list | str) and isinstance(key, int | slice) and not isinstance(key, bool):
        try:
            return value[key]
        except IndexError:
            return ABSENT
    return ABSENT


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja over JSON data: no Python attribute or method, no global but `range` and `namespace`, bounded operators."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, finalize: Callable[[Any], Any] | None = None) -> None:
        super().__init__(
            undefined=Absent,
            finalize=finalize or as_text,
            keep_trailing_newline=True,
            autoescape=False,
            cache_size=0,
            extensions=["jinja2.ext.loopcontrols"],
        )
        self.eval_context = nodes.EvalContext(self)
        self.globals = {name: self.globals[name] for name in ("range", "namespace")}
        self.filters = {name: _through(function) for name, function in FILTERS.items()}
        self.filters |= {"default": _default, "map": _through(self._map), "select": _through(self._select)}
        self.filters |= {"reject": _through(self._reject), "selectattr": _through(self._selectattr)}
        self.filters |= {"rejectattr": _through(self._rejectattr), "concat": _concat}
        self.tests = {name: self.tests[name] for name in TESTS}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a key of data, or what Jinja's own loop and namespace objects offer."""
        if isinstance(obj, LoopContext | Namespace):
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`: as `getattr`, and items and slices of lists and text."""
        if isinstance(obj, Absent):
            return obj
        value = member(obj, argument)
        return Absent(name=str(argument)) if value is ABSENT else value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right` on numbers; `+` also joins two texts or two lists; nothing multiplies text."""
        if isinstance(left, Absent) or isinstance(right, Absent):
            return ABSENT
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return left + right
        if operator == "+" and isinstance(left, list) and isinstance(right, list):
            return left + right
        if not (_is_number(left) and _is_number(right)):
            raise RenderError(f"`{operator}` cannot join {filters.kind(left)} and {filters.kind(right)}")
        if operator == "**" and abs(right) > 64:
            raise RenderError("`**` takes an exponent of at most 64")
        return super().call_binop(context, operator, left, right)

    def _map(self, value: Json, name: str | None = None, *arguments: Any, attribute: Any = None) -> list[Any]:
        """Each item's attribute, or what a filter makes of each item."""
        items = _list("map", value)
        if attribute is not None:
            return [self.getitem(item, attribute) for item in items]
        if name not in self.filters:
            raise RenderError(f"`map` names no filter: `{name}`")
        return [self.filters[name](item, *arguments) for item in items]

    def _select(self, value: Json, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items that pass a test; without one, those that are not empty."""
        return [item for item in _list("select", value) if self._passes(item, test, arguments)]

    def _reject(self, value: Json, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items that fail a test; without one, those that are empty."""
        return [item for item in _list("reject", value) if not self._passes(item, test, arguments)]

    def _selectattr(self, value: Json, attribute: str, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items whose attribute passes a test."""
        return [i for i in _list("selectattr", value) if self._passes(self.getitem(i, attribute), test, arguments)]

    def _rejectattr(self, value: Json, attribute: str, test: str = "truthy", *arguments: Any) -> list[Any]:
        """The items whose attribute fails a test."""
        return [i for i in _list("rejectattr", value) if not self._passes(self.getitem(i, attribute), test, arguments)]

    def _passes(self, value: Any, test: str, arguments: tuple[Any, ...]) -> bool:
        if test == "truthy":
            return bool(value)
        function: Any = self.tests.get(test)
        if function is None:
            raise RenderError(f"no test is called `{test}`")
        return bool(function(value, *arguments))


TESTS = (
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "integer",
    "float",
    "boolean",
    "true",
    "false",
    "mapping",
    "sequence",
    "iterable",
    "even",
    "odd",
    "divisibleby",
    "in",
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
)
"""Jinja's tests that speak of data."""


def as_text(value: Any) -> str:
    """What a value becomes inside text: itself if it is text, compact JSON if not; nothing is made of an absent one."""
    if isinstance(value, Absent):
        raise AbsentError(value._undefined_name or "")
    return filters.text(value)


def _default(value: Any, fallback: Any = "") -> Any:
    """The value, or `fallback` where it is absent or null."""
    return fallback if value is None or isinstance(value, Absent) else value


def _concat(values: list[Any]) -> Any:
    """What `a ~ b` means: the values as one text; absent as soon as one of them is."""
    if any(isinstance(value, Absent) for value in values):
        return ABSENT
    return "".join(map(filters.text, values))


def _through(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def passed(value: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(value, Absent):
            return value
        if any(isinstance(argument, Absent) for argument in arguments):
            return ABSENT
        try:
            result = function(value, *arguments, **named)
        except FilterError as error:
            raise RenderError(str(error)) from None
        return ABSENT if result is ABSENT_ITEM else result

    return passed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list(name: str, value: Json) -> list[Json]:
    if isinstance(value, list):
        return value
    raise RenderError(f"`{name}` needs a list, not {filters.kind(value)}")
