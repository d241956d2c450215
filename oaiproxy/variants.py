"""What a mapping says of single models, and of fields that it does not read: compiled, and what it makes of a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from oaiproxy.canonical import Call
from oaiproxy.diagnostics import did_you_mean
from oaiproxy.errors import ClientError
from oaiproxy.inputs import CARRIES
from oaiproxy.jsontext import Json
from oaiproxy.lookalikes import straight_quotes
from oaiproxy.parameters import Unread, read_fields
from oaiproxy.policy import IN_MESSAGES, NEVER_UNREAD, Overrides, fields_of, is_read, known_fields, leave_out_named
from oaiproxy.shapes import Shape, shape_of
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, has_template
from oaiproxy.trees import check_constants

WORDS = {"drop": Unread.DROP, "reject": Unread.REFUSE, "ignore": Unread.IGNORE}
"""What `on_unsupported` can say."""
_CARRIED = frozenset(name for names in CARRIES.values() for name in names) - {"prompt"}
_FIXED = (*NEVER_UNREAD, "messages", *_CARRIED)
"""Fields that no model can be without, or has a value of its own for."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What is special about one model.

    `drop` are the fields that are left out, by what templates call them; `defaults` the values of those not sent, by
    endpoint and field; `stream` is `auto`, `never` or `always`; `variables` stand in place of the mapping's.
    """

    drop: frozenset[str] = frozenset()
    defaults: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    stream: str = "auto"
    variables: Mapping[str, Json] | None = field(default=None, repr=False)

    def without_dropped(self, call: Call) -> tuple[Call, tuple[str, ...]]:
        """The call without what is dropped, and what of that was sent. Raises ClientError when nothing is left."""
        return leave_out_named(call, self.drop) if self.drop else (call, ())

    def completed(self, call: Call) -> Call:
        """The call with the defaults of what was not sent."""
        defaults = self.defaults.get(call.endpoint)
        if not defaults:
            return call
        known = fields_of(call.endpoint)
        sent = {known[key].name or key for key, value in call.request.items() if key in known and value is not None}
        given = {key: value for key, value in defaults.items() if (known[key].name or key) not in sent}
        if not given:
            return call
        return replace(call, fields={**call.fields, **read_fields(given, known)}, request={**call.request, **given})


PLAIN = Variant()
"""A model with nothing special about it."""


def model_names(source: Source | None) -> dict[str, str]:
    """The backend's name of each model."""
    given = source.value if source else {}
    if isinstance(given, list):
        return {name: name for name in given}
    return {name: (said.get("as") if isinstance(said, dict) else said) or name for name, said in given.items()}


def variables_shape(data: Mapping[str, Json]) -> Shape:
    """The shape of `vars`, with those that only some models have: of data in which not all needs to be right."""
    models = data.get("models")
    said = list(models.values()) if isinstance(models, dict) else []
    found: Shape = {}
    for given in (data.get("vars"), *(each.get("vars") for each in said if isinstance(each, dict))):
        if isinstance(given, dict):
            found = _joined(found, shape_of(given))
        elif given is not None:
            return None
    return found


def _joined(one: Shape, other: Shape) -> Shape:
    if isinstance(one, dict) and isinstance(other, dict):
        shared = {key: _joined(one[key], other[key]) for key in one.keys() & other.keys()}
        return {**one, **other, **shared}
    return one if one == other else None


def compile_overrides(source: Source | None, compilation: Compilation) -> Overrides:
    """The block `on_unsupported`; what is wrong goes to the compilation's findings."""
    named: dict[str, Unread] = {}
    rest = None
    for name, child in source.items() if source else ():
        if name == "default":
            rest = WORDS[child.value]
        elif _is_field(name, child, compilation, (*IN_MESSAGES, "default"), NEVER_UNREAD, key=True):
            named[canonical_name(name)] = WORDS[child.value]
    return Overrides(named, rest)


def canonical_name(name: str) -> str:
    """What templates call a field."""
    found = known_fields().get(name)
    return (found.name if found else "") or name


class Variants:
    """The compiler of one mapping's rich models. What is wrong goes to the compilation's findings.

    `endpoints` has what the templates of each read, and whether it answers whole and in streams.
    """

    def __init__(
        self,
        compilation: Compilation,
        endpoints: Mapping[str, tuple[frozenset[str], bool, bool]],
        variables: Mapping[str, Json],
    ) -> None:
        self._compilation = compilation
        self._endpoints = endpoints
        self._variables = variables
        self._reads = [reads for reads, _, _ in endpoints.values()]

    def variants(self, models: Source | None) -> dict[str, Variant]:
        """Those of the models about which something is said."""
        if models is None:
            return {}
        if isinstance(models.value, list):
            for child in models:
                self._check_name(child.value, child, key=False)
            return {}
        for name, child in models.items():
            self._check_name(name, child, key=True)
        return {name: self._variant(child) for name, child in models.items() if isinstance(child.value, dict)}

    def _check_name(self, name: str, source: Source, *, key: bool) -> None:
        if label := straight_quotes(name):
            message = f"the quotes of `{name}` are a part of the model's name"
            self._compilation.report("E105", message, source.span(key=key), label=label)

    def _variant(self, source: Source) -> Variant:
        drop = source.get("drop")
        names = [child.value for child in drop or () if self._droppable(child)]
        stream = source.get("stream")
        if stream:
            self._check_stream(stream)
        defaults, variables = source.get("defaults"), source.get("vars")
        return Variant(
            drop=frozenset(map(canonical_name, names)),
            defaults=self._defaults(defaults) if defaults else {},
            stream=stream.value if stream else "auto",
            variables=self._overlaid(variables) if variables else None,
        )

    def _droppable(self, source: Source) -> bool:
        return _is_field(source.value, source, self._compilation, IN_MESSAGES[1:], _FIXED)

    def _check_stream(self, source: Source) -> None:
        if source.value == "never":
            for name, (_, whole, stream) in self._endpoints.items():
                if stream and not whole:
                    message = f"`{name}` has no `response`, and this model is never asked to stream"
                    self._report(message, source, label=f"add `{name}.response`, or leave `stream` out")
        elif source.value == "always" and not any(stream for _, _, stream in self._endpoints.values()):
            message = "nothing here says how the backend streams, and this model always is asked to"
            self._report(message, source, label="add `stream` to the endpoint, or leave it out here")

    def _defaults(self, source: Source) -> dict[str, dict[str, Json]]:
        made: dict[str, dict[str, Json]] = {name: {} for name in self._endpoints}
        for key, child in source.items():
            check_constants(child, self._compilation)
            if not _is_field(key, child, self._compilation, (), _FIXED, key=True):
                continue
            if isinstance(child.value, str) and has_template(child.value):
                self._report(f"the default of `{key}` is a constant, no template", child, label="write the value")
                continue
            if child.value is None:
                self._report(f"the default of `{key}` is empty", child, label="write a value, or leave the key out")
                continue
            error = None
            fitting = []
            for name in self._endpoints:
                if key in fields_of(name):
                    try:
                        fields_of(name)[key].check(child.value, key)
                        fitting.append(name)
                    except ClientError as refused:
                        error = refused
            if error is not None and not fitting:
                self._report(f"the default of `{key}` cannot be sent: {error.message.rstrip('.')}", child, "correct it")
            elif not any(is_read(self._endpoints[name][0], key, fields_of(name)[key]) for name in fitting):
                message = f"no template reads `{canonical_name(key)}`: its default has no effect"
                self._report(message, child, label="read it in a request, or leave it out", key=True)
            for name in fitting:
                made[name][key] = child.value
        return made

    def _overlaid(self, source: Source) -> dict[str, Json]:
        check_constants(source, self._compilation)
        for name, child in source.items():
            read = any({f"vars.{name}", "vars.*"} & reads for reads in self._reads)
            if not read and name not in self._variables:
                words = {path.split(".")[1] for reads in self._reads for path in reads if path.startswith("vars.")}
                label = did_you_mean(name, {*self._variables, *words}) or "leave it out"
                self._report(f"no template reads `vars.{name}`", child, label=label, key=True)
        return overlaid(self._variables, source.value)

    def _report(self, message: str, source: Source, label: str, *, key: bool = False) -> None:
        self._compilation.report("E109", message, source.span(key=key), label=label)


def overlaid(base: Mapping[str, Json], over: Mapping[str, Json]) -> dict[str, Json]:
    """`over` laid on `base`: mappings merge deep, all else replaces, null deletes."""
    made = dict(base)
    for key, value in over.items():
        below = made.pop(key, None)
        if isinstance(value, dict) and isinstance(below, dict):
            made[key] = overlaid(below, value)
        elif value is not None:
            made[key] = value
    return made


def _is_field(
    name: str,
    source: Source,
    compilation: Compilation,
    more: Iterable[str],
    fixed: Iterable[str],
    *,
    key: bool = False,
) -> bool:
    """Whether it is the name of a field that may stand here; if not, that is reported."""
    known = {*known_fields(), *more}
    if name in known and name not in fixed:
        return True
    if name in _CARRIED:
        message, label, help_ = f"no request is without `{name}`", "leave it out", ""
    elif name in known:
        message, label, help_ = f"`{name}` is read by the proxy itself", "leave it out", ""
    else:
        message, label = f"`{name}` is no field of OpenAI's requests", did_you_mean(name, known - set(fixed))
        help_ = "other fields reach the backend only where a template reads `extra` or `request`"
    compilation.report("E109", message, source.span(key=key), label=label, help=help_)
    return False
