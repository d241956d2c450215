"""What templates see: names, absent values, and the budget that bounds what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from jinja2.runtime import Context, Undefined
from jinja2.utils import missing

from oaiproxy import filters
from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.jsontext import Json

MAX_NODES = 1_000_000
"""Values inside one value that a template makes; one that stands in several places counts in each."""


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


def weigh(value: dict[Any, Any] | list[Any] | tuple[Any, ...], max_size: int = BOUNDS.rendered) -> int:
    """How many values there are in one when it is written out. Raises RenderError for one that is too large then."""
    found, size = 0, 0
    rest = [value]
    while rest:
        items = rest.pop()
        found += len(items)
        for item in items.values() if isinstance(items, dict) else items:
            if isinstance(item, str):
                size += len(item)
            elif isinstance(item, list | dict | tuple):
                rest.append(item)
        if found > MAX_NODES or size > max_size:
            raise RenderError(f"a value is larger than {max_size} characters or {MAX_NODES} items")
    return found


class Budget:
    """What the templates of one request have cost so far. Whoever passes a bound gets a RenderError."""

    __slots__ = ("max_size", "max_steps", "shared", "size", "steps")

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self.max_steps = bounds.steps
        self.max_size = bounds.rendered
        self.steps = 0
        self.size = 0
        self.shared = False
        """Whether a value may stand in several places of another one, which can make it huge at no cost."""

    def step(self, count: int = 1) -> None:
        """Count turns of a loop, calls, items."""
        self.steps += count
        if self.steps > self.max_steps:
            raise RenderError(f"the templates take more than {self.max_steps} steps")

    def grow(self, size: int) -> None:
        """Count characters."""
        self.size += size
        if self.size > self.max_size:
            raise RenderError(f"the templates make more than {self.max_size} characters")

    def charge(self, value: Any) -> None:
        """Count a value that was made: its characters, or its items and theirs."""
        if isinstance(value, str):
            self.grow(len(value))
        elif isinstance(value, list):
            self.step(len(value))
            self.grow(sum([len(item) for item in value if isinstance(item, str)]))

    def weigh(self, value: Any) -> None:
        """Refuse a value that is too large when it is written out, if it can be: by loops, or by sharing."""
        if isinstance(value, dict | list) and (self.shared or self.steps > 1000):
            weigh(value, self.max_size)


class Scope:
    """The names that a template sees: those of the request, and over them the local ones of `$for` and `$let`."""

    __slots__ = ("_context", "_local", "_outer", "budget")

    def __init__(self, names: Names, bounds: Bounds = BOUNDS) -> None:
        self._outer = names.lookup
        self._local: Mapping[str, Json] = {}
        self._context: TemplateContext | None = None
        self.budget = Budget(bounds)

    def lookup(self, name: str) -> Json:
        """The value of a name; `ABSENT` when nobody gave it one."""
        return self._local[name] if name in self._local else self._outer(name)

    def inner(self, local: dict[str, Json]) -> Scope:
        """This scope with more local names over it."""
        made = Scope.__new__(Scope)
        made._outer = self._outer
        made._local = {**self._local, **local} if self._local else local
        made._context = None
        made.budget = self.budget
        return made

    def context(self, environment: Any) -> TemplateContext:
        """The Jinja context of this scope: one for all templates of a request."""
        if self._context is None or self._context.environment is not environment:
            self._context = TemplateContext(environment, self)
        return self._context


class TemplateContext(Context):
    """A Jinja context that asks a scope; without the copies that Jinja's own makes for each render."""

    def __init__(self, environment: Any, scope: Scope) -> None:
        self.scope = scope
        self.budget = scope.budget
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
        if isinstance(key, dict | list | slice):
            return ABSENT
        return value.get(key if isinstance(key, str) else filters.text(key), ABSENT)
    if isinstance(value, list | str) and isinstance(key, int) and not isinstance(key, bool):
        try:
            return value[key]
        except IndexError:
            return ABSENT
    return ABSENT


def data(value: Any) -> Any:
    """The value, if it is JSON data or absent: a template cannot give away what is only Jinja's."""
    if value is None or isinstance(value, str | int | float | list | dict | Absent):
        return value
    raise RenderError("a function or a namespace is no value")


def as_text(value: Any) -> str:
    """What a value becomes inside text: itself if it is text, compact JSON if not; nothing is made of an absent one."""
    if isinstance(value, Absent):
        raise AbsentError(value._undefined_name or "")
    return filters.text(value)
