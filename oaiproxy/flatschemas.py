"""A schema of an OpenAPI document to one without references, `allOf`, `oneOf` and `anyOf`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from oaiproxy import apiwords
from oaiproxy.apispecs import Spec, SpecError, items, mapping
from oaiproxy.apiwords import plain
from oaiproxy.jsontext import Json
from oaiproxy.nodes import short

MAX_DEPTH = 16
MAX_VISITS = 20_000
"""How many schemas one value may be made of."""
MAX_CHOICES = 100
"""How many members of a `oneOf` are looked at."""
MAX_NOTES = 10


class Purpose(Enum):
    REQUEST = "request"
    ANSWER = "answer"


@dataclass(slots=True)
class Schemas:
    """Flattens schemas. `notes` has what could not be used, for a person to read."""

    spec: Spec
    purpose: Purpose
    notes: list[str] = field(default_factory=list)
    _visits: int = 0

    def alternatives(self, schema: Json, place: str) -> list[Json]:
        """The members of a schema's `oneOf` or `anyOf`; none if it has none."""
        try:
            followed = mapping(self.spec.follow(schema, place)[0])
        except SpecError:
            return []
        return items(followed.get("oneOf")) or items(followed.get("anyOf"))

    def note(self, text: str) -> None:
        """Remember what a person should know."""
        if text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def flat(
        self, schema: Json, place: str, names: tuple[str, ...], seen: frozenset[str], depth: int = 0
    ) -> tuple[dict[str, Json] | None, frozenset[str]]:
        """The schema with its references followed, `allOf` merged in, and one of `oneOf` and `anyOf` chosen.

        None where there is none that can be used: the reference leads out of the document, or is one of `seen`, within
        which this schema stands. With it come the references within which its own parts stand.
        """
        self._visits += 1
        if self._visits > MAX_VISITS or depth > MAX_DEPTH:
            self.note("the schemas are too large or too deep: parts of them are left out")
            return None, seen
        own = mapping(schema)
        if isinstance(own.get("$ref"), str):
            reference = own["$ref"]
            if reference in seen:
                return None, seen
            try:
                followed, place = self.spec.follow(own, place)
            except SpecError as error:
                self.note(f"`{short(names[-1])}` is left out: {error}" if names else str(error))
                return None, seen
            own = mapping(followed)
            seen = seen | {reference, place}
        merged = {key: value for key, value in own.items() if key not in ("allOf", "oneOf", "anyOf")}
        for part in items(own.get("allOf")):
            flat, inside = self.flat(part, place, names, seen, depth + 1)
            seen = seen | inside
            if flat is not None:
                merged = _merge(flat, merged)
        for key in ("oneOf", "anyOf"):
            if choices := items(own.get(key)):
                flat, inside = self._choose(choices, own, place, names, seen, depth)
                seen = seen | inside
                if flat is None and not merged.get("properties"):
                    return flat, seen
                merged = _merge(flat or {}, merged)
        return merged, seen

    def _choose(
        self,
        choices: list[Json],
        own: dict[str, Json],
        place: str,
        names: tuple[str, ...],
        seen: frozenset[str],
        depth: int,
    ) -> tuple[dict[str, Json] | None, frozenset[str]]:
        usable: list[tuple[dict[str, Json], frozenset[str], Json]] = []
        null = False
        for choice in choices[:MAX_CHOICES]:
            flat, inside = self.flat(choice, place, names, seen, depth + 1)
            if flat is not None and kind(flat) == "null":
                null = True
            elif flat is not None:
                usable.append((flat, inside, choice))
        if not usable:
            return {"type": "null"} if null else None, seen
        best, inside, choice = max(usable, key=lambda each: self._worth(each[0], names))
        return {**_discriminated(best, own, choice), **({"nullable": True} if null else {})}, inside

    def _worth(self, flat: dict[str, Json], names: tuple[str, ...]) -> int:
        """How much a schema is to be preferred to its siblings."""
        own = kind(flat)
        if names and apiwords.PARAMETERS.get(plain(names[-1]), (0, None))[1] == ["END"]:
            return 2 if own == "array" else 1
        score = 4 if own == "string" else 1
        for name, schema in mapping(flat.get("properties")).items():
            words = [each.lower() for each in _stated(schema) if isinstance(each, str)]
            if plain(name) in apiwords.ROLES:
                score += 4 * any(each in words for each in self.roles())
            elif name == "type":
                score += 2 * any("text" in each for each in words)
            elif self.purpose is Purpose.ANSWER:
                score += bool(apiwords.text_score((*names, name)))
            else:
                score += plain(name) in apiwords.PROMPTS
        return score - 8 * bool(flat.get("deprecated"))

    def roles(self) -> tuple[str, ...]:
        """What the speaker of such a text is called."""
        return ("user", "human") if self.purpose is Purpose.REQUEST else ("assistant", "model", "ai", "bot")


def _discriminated(flat: dict[str, Json], own: dict[str, Json], choice: Json) -> dict[str, Json]:
    """The chosen schema with the property that tells it from its siblings, where it does not say it itself."""
    discriminator = mapping(own.get("discriminator"))
    name, reference = discriminator.get("propertyName"), mapping(choice).get("$ref")
    properties = mapping(flat.get("properties"))
    if not isinstance(name, str) or not isinstance(reference, str):
        return flat
    if any(key in mapping(properties.get(name)) for key in ("const", "enum", "$ref")):
        return flat
    tail = reference.rpartition("/")[2]
    value = next((key for key, to in mapping(discriminator.get("mapping")).items() if to in (reference, tail)), tail)
    stated = {**properties, name: {"const": value}}
    return {**flat, "properties": stated, "required": [*items(flat.get("required")), name]}


def nullable(flat: dict[str, Json]) -> bool:
    """Whether null is a value of the schema."""
    return flat.get("nullable") is True or "null" in items(flat.get("type")) or None in items(flat.get("enum"))


def kind(flat: dict[str, Json]) -> str:
    """The type that a value of the schema has, as JSON Schema calls it; a string where nothing is said."""
    stated = flat.get("type")
    kinds = [each for each in (stated if isinstance(stated, list) else [stated]) if isinstance(each, str)]
    if found := next((each for each in kinds if each != "null"), None):
        return found
    if kinds:
        return "null"
    if flat.get("properties") or isinstance(flat.get("additionalProperties"), dict):
        return "object"
    return "array" if "items" in flat or "prefixItems" in flat else "string"


def _stated(schema: Json) -> list[Json]:
    """The values that a schema allows, where it lists them."""
    own = mapping(schema)
    return [own["const"]] if "const" in own else items(own.get("enum"))[:50]


def bound(flat: dict[str, Json], key: str, towards: int) -> float | None:
    """The least or largest value; an exclusive one is moved inside."""
    name = "exclusive" + key.capitalize()
    for edge, exclusive in ((flat.get(name), True), (flat.get(key), flat.get(name) is True)):
        if isinstance(edge, int | float) and not isinstance(edge, bool) and abs(edge) < 2**53:
            return (
                edge + (towards * (1 if isinstance(edge, int) and flat.get("type") == "integer" else 0.01)) * exclusive
            )
    return None


def _merge(below: dict[str, Json], above: dict[str, Json]) -> dict[str, Json]:
    """Two schemas as one: properties and required names of both, and of the rest what is above."""
    merged = {**below, **above}
    for key in ("properties",):
        if key in below and key in above:
            merged[key] = {**mapping(below[key]), **mapping(above[key])}
    if "required" in below and "required" in above:
        merged["required"] = [*items(below["required"]), *items(above["required"])]
    return merged
