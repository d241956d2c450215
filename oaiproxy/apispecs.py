"""The text of an OpenAPI document, JSON or YAML, to its data, in which references can be followed.

OpenAPI 3.0 to 3.2 (https://spec.openapis.org/oas/) and Swagger 2.0 (https://swagger.io/specification/v2/). References
out of the document are never fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import unquote

import yaml

from oaiproxy import jsontext
from oaiproxy.diagnostics import did_you_mean
from oaiproxy.jsontext import Json, JsonError
from oaiproxy.nodes import TAG_PREFIX, short
from oaiproxy.scalars import core_value

MAX_CHARACTERS = 16 << 20
MAX_VALUES = 1_000_000
"""Counted after the expansion of aliases."""
MAX_DEPTH = 200
MAX_REFERENCES = 32
"""How many references may follow each other."""

_TYPED = {TAG_PREFIX + each for each in ("int", "float", "bool", "null")}


class SpecError(ValueError):
    """What is wrong with a document or what was asked of it: the message, its place (a JSON pointer), and the fix."""

    def __init__(self, message: str, place: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.fix = fix

    def __str__(self) -> str:
        where = f" (at `{self.place}`)" if self.place else ""
        return self.message + where + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class Spec:
    """A document. `swagger` is true of version 2.0."""

    data: dict[str, Json]
    swagger: bool

    @property
    def title(self) -> str:
        """What the API calls itself, or ""."""
        found = mapping(self.data.get("info")).get("title")
        return found if isinstance(found, str) else ""

    def follow(self, node: Json, place: str) -> tuple[Json, str]:
        """The node that stands for this one at the end of its `$ref`s, and its place. Raises SpecError.

        What stands beside a `$ref` is laid over what it names.
        """
        beside: dict[str, Json] = {}
        seen: set[str] = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            reference = node["$ref"]
            if reference in seen or len(seen) >= MAX_REFERENCES:
                raise SpecError(f"the reference `{short(reference)}` leads back to itself", place, "mend the document")
            seen.add(reference)
            beside = {**{key: value for key, value in node.items() if key != "$ref"}, **beside}
            node, place = self._named(reference, place), reference
        return ({**node, **beside} if beside and isinstance(node, dict) else node), place

    def _named(self, reference: str, place: str) -> Json:
        if not reference.startswith("#"):
            fix = "references out of the document are not fetched: bundle it into one file first"
            raise SpecError(f"`$ref: {short(reference)}` names another document", place, fix)
        node: Json = self.data
        if reference == "#":
            return node
        if not reference.startswith("#/"):
            raise SpecError(f"`$ref: {short(reference)}` is not a JSON pointer", place, "write `#/components/...`")
        for step in reference[2:].split("/"):
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(node):
                node = node[int(key)]
            else:
                near = did_you_mean(key, [*node][:5000]) if isinstance(node, dict) else ""
                raise SpecError(f"`$ref: {short(reference)}` names nothing in this document", place, near)
        return node


def mapping(node: Json) -> dict[str, Json]:
    """The node if it is a mapping, else an empty one."""
    return node if isinstance(node, dict) else {}


def items(node: Json) -> list[Json]:
    """The node if it is a list, else an empty one."""
    return node if isinstance(node, list) else []


def pointer(place: str, *steps: str) -> str:
    """A place below a place."""
    return "/".join((place, *(step.replace("~", "~0").replace("/", "~1") for step in steps)))


def parse_spec(text: str) -> Spec:
    """Read a document. Raises SpecError for what is none."""
    if len(text) > MAX_CHARACTERS:
        raise SpecError("the document is larger than 16 MiB", fix="cut it down to the operation and its schemas")
    data = _data(text)
    if not isinstance(data, dict):
        raise SpecError("the document is not a mapping", fix="give an OpenAPI document, as JSON or YAML")
    version = data.get("openapi", data.get("swagger"))
    shown = str(version) if isinstance(version, str | int | float) else ""
    if "openapi" in data and shown.startswith("3"):
        return Spec(data, swagger=False)
    if "swagger" in data and shown.startswith("2"):
        return Spec(data, swagger=True)
    if version is None:
        fix = 'give a document that begins with `openapi: 3...` or `swagger: "2.0"`'
        raise SpecError("the document has neither `openapi` nor `swagger`", fix=fix)
    raise SpecError(f"version `{short(shown)}` of OpenAPI is not known", fix="3.0, 3.1, 3.2 and Swagger 2.0 are")


def _data(text: str) -> Json:
    try:
        return jsontext.parse(text)
    except JsonError as error:
        wrong = str(error)
    try:
        return _from_yaml(text.removeprefix("\ufeff"))
    except SpecError as error:
        if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
            raise SpecError(f"the document is not JSON: {wrong}") from error
        raise


def _from_yaml(text: str) -> Json:
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise SpecError(f"the document is neither JSON nor YAML: {error.problem or 'wrong syntax'}{where}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError("the document is neither JSON nor YAML") from error
    return builder.root


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been seen."""

    anchor: str | None
    mapping: bool
    children: list[Json] = field(default_factory=list)
    size: int = 1


class _Builder:
    """YAML events to data: keys as text, scalars as YAML 1.2 reads them, and the merge keys that many documents use."""

    def __init__(self) -> None:
        self.root: Json = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Json, int]] = {}
        self._total = 0

    def feed(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._add(event.anchor, self._scalar(event), 1)
            case yaml.CollectionStartEvent():
                if len(self._open) >= MAX_DEPTH:
                    self._refuse(f"the document is nested deeper than {MAX_DEPTH} levels", event)
                self._open.append(_Open(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            case yaml.CollectionEndEvent():
                done = self._open.pop()
                self._add(done.anchor, _mapping(done.children) if done.mapping else done.children, done.size, new=1)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    self._refuse(f"the alias `*{short(event.anchor or '')}` names no finished value", event)
                value, size = self._anchors[event.anchor]
                self._add(None, value, size)

    def _scalar(self, event: yaml.ScalarEvent) -> Json:
        if self._open and self._open[-1].mapping and len(self._open[-1].children) % 2 == 0:
            return _MERGE if event.value == "<<" and not event.style else event.value
        plain = event.tag is None and not event.style
        return core_value(event.value) if plain or event.tag in _TYPED else event.value

    def _add(self, anchor: str | None, value: Json, size: int, new: int | None = None) -> None:
        self._total += size if new is None else new
        if self._total > MAX_VALUES:
            raise SpecError(f"the document has more than {MAX_VALUES} values, with aliases written out")
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._open:
            self.root = value
            return
        inside = self._open[-1]
        if inside.mapping and len(inside.children) % 2 == 0 and not isinstance(value, str | _Merge):
            raise SpecError("a key in the document is a list or a mapping", fix="keys are text")
        inside.children.append(value)
        inside.size += size

    def _refuse(self, message: str, event: yaml.Event) -> NoReturn:
        raise SpecError(f"{message}, in line {event.start_mark.line + 1}" if event.start_mark else message)


class _Merge:
    """The key `<<`."""


_MERGE = _Merge()


def _mapping(children: list[Json]) -> dict[str, Json]:
    own: dict[str, Json] = {}
    merged: dict[str, Json] = {}
    for key, value in zip(children[::2], children[1::2], strict=True):
        if key is _MERGE:
            for each in reversed(value if isinstance(value, list) else [value]):
                merged |= mapping(each)
        else:
            own[key] = value
    return {**merged, **own} if merged else own
