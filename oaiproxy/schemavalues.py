"""A schema of an OpenAPI document to a value that it describes: what to send, or what comes back.

Schemas are those of OpenAPI 3.0 (https://spec.openapis.org/oas/v3.0.4.html#schema-object), which 3.1 replaced by JSON
Schema 2020-12, and of Swagger 2.0. Nothing is validated: a document that contradicts itself still gives a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from oaiproxy import apiwords, jsontext
from oaiproxy.apispecs import Spec, SpecError, items, mapping
from oaiproxy.apiwords import plain
from oaiproxy.jsontext import Json, JsonError
from oaiproxy.nodes import short

MAX_DEPTH = 16
MAX_VISITS = 20_000
"""How many schemas one value may be made of."""
MAX_EXAMPLE = 256 << 10
MAX_NOTES = 10
SENTENCE = "Hello! How can I help you today?"
"""The generated text in an answer that was made from a schema."""
PROMPT = "Say hello."
SYSTEM = "You are a helpful assistant."


class _Left(Enum):
    OUT = 0


LEFT_OUT = _Left.OUT
"""What stands for a value that is left out."""


class Purpose(Enum):
    REQUEST = "request"
    ANSWER = "answer"


class Candidate(str):
    """A string of an answer that may be the generated text; `given` if the document says what it is."""

    score: int
    given: bool

    @classmethod
    def of(cls, text: str, score: int, given: bool) -> Candidate:
        """The string with its score."""
        made = cls(text)
        made.score, made.given = score, given
        return made


@dataclass(slots=True)
class Values:
    """Makes values. `notes` has what could not be made, for a person to read; `final` is false in a stream's frames
    before the last.
    """

    spec: Spec
    purpose: Purpose
    notes: list[str] = field(default_factory=list)
    final: bool = True
    _visits: int = 0

    def of(self, schema: Json, place: str, names: tuple[str, ...] = ()) -> Json:
        """The value, or LEFT_OUT. `names` are the keys that lead to it."""
        return self._value(schema, place, names, frozenset(), known=False)

    def example(self, holder: dict[str, Json], place: str) -> Json:
        """The example that a media type, parameter or schema gives, or LEFT_OUT."""
        if "example" in holder:
            return self._bounded(holder["example"], place)
        found = holder.get("examples")
        if isinstance(found, list):
            return self._bounded(found[0], place) if found else LEFT_OUT
        for each in mapping(found).values():
            try:
                entry = mapping(self.spec.follow(each, place)[0])
            except SpecError as error:
                self.note(str(error))
                continue
            for key in ("value", "dataValue", "serializedValue"):
                if key in entry:
                    return self._bounded(entry[key], place)
            if isinstance(entry.get("externalValue"), str):
                self.note(f"the example `{short(entry['externalValue'])}` is not in the document: it is not fetched")
        return LEFT_OUT

    def flat(self, schema: Json, place: str) -> dict[str, Json]:
        """The schema with its references followed, `allOf` merged in, and one of `oneOf` and `anyOf` chosen."""
        return self._flat(schema, place, (), frozenset())[0]

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

    def _bounded(self, value: Json, place: str) -> Json:
        try:
            if len(jsontext.dump(value)) <= MAX_EXAMPLE:
                return value
        except JsonError:
            pass
        self.note(f"the example at `{short(place)}` is too large: it is not used")
        return LEFT_OUT

    def _value(self, schema: Json, place: str, names: tuple[str, ...], seen: frozenset[str], *, known: bool) -> Json:
        if schema is False or len(names) > MAX_DEPTH:
            return LEFT_OUT
        flat, seen = self._flat(schema, place, names, seen)
        if flat.get("x-left-out") is LEFT_OUT:
            return LEFT_OUT
        kind = _kind(flat)
        given = self._given(flat, place, names)
        if given is not LEFT_OUT and not (known and kind == "object"):
            if self.purpose is Purpose.ANSWER and isinstance(given, str) and "const" not in flat:
                return Candidate.of(given, _score(names, flat), given=True)
            return given
        match kind:
            case "object":
                return self._object(flat, place, names, seen, known=known)
            case "array":
                return self._array(flat, place, names, seen, known=known)
            case "boolean":
                return self._boolean(names)
            case "integer" | "number":
                return self._number(flat, names, whole=kind == "integer")
            case "null":
                return None
        return self._string(flat, names)

    def _flat(
        self, schema: Json, place: str, names: tuple[str, ...], seen: frozenset[str], depth: int = 0
    ) -> tuple[dict[str, Json], frozenset[str]]:
        self._visits += 1
        if self._visits > MAX_VISITS or depth > MAX_DEPTH:
            self.note("the schemas are too large or too deep: parts of them are left out")
            return {"x-left-out": LEFT_OUT}, seen
        own = mapping(schema)
        if isinstance(own.get("$ref"), str):
            reference = own["$ref"]
            if reference in seen:
                return {"x-left-out": LEFT_OUT}, seen
            try:
                followed, place = self.spec.follow(own, place)
            except SpecError as error:
                self.note(f"`{short(names[-1])}` is left out: {error}" if names else str(error))
                return {"x-left-out": LEFT_OUT}, seen
            own = mapping(followed)
            seen = seen | {reference, place}
        merged = {key: value for key, value in own.items() if key not in ("allOf", "oneOf", "anyOf")}
        for part in items(own.get("allOf")):
            flat, inside = self._flat(part, place, names, seen, depth + 1)
            seen = seen | inside
            if flat.get("x-left-out") is not LEFT_OUT:
                merged = _merge(flat, merged)
        for key in ("oneOf", "anyOf"):
            if choices := items(own.get(key)):
                flat, inside = self._choose(choices, own, place, names, seen, depth)
                seen = seen | inside
                if flat.get("x-left-out") is LEFT_OUT and not merged.get("properties"):
                    return flat, seen
                merged = _merge({each: value for each, value in flat.items() if each != "x-left-out"}, merged)
        return merged, seen

    def _choose(
        self,
        choices: list[Json],
        own: dict[str, Json],
        place: str,
        names: tuple[str, ...],
        seen: frozenset[str],
        depth: int,
    ) -> tuple[dict[str, Json], frozenset[str]]:
        found = [self._flat(choice, place, names, seen, depth + 1) for choice in choices[:32]]
        usable = [each for each in found if each[0].get("x-left-out") is not LEFT_OUT and _kind(each[0]) != "null"]
        if not usable:
            return {"x-left-out": LEFT_OUT} if found else {}, seen
        best = max(usable, key=lambda each: self._worth(each[0], names))
        if name := mapping(own.get("discriminator")).get("propertyName"):
            mapped = mapping(mapping(own.get("discriminator")).get("mapping"))
            reference = mapping(choices[next(at for at, each in enumerate(found) if each is best)]).get("$ref", "")
            tail = str(reference).rpartition("/")[2]
            value = next((key for key, to in mapped.items() if to in (reference, tail)), tail)
            stated = mapping(mapping(best[0].get("properties")).get(name))
            if value and isinstance(name, str) and not any(key in stated for key in ("const", "enum", "$ref")):
                properties = {**mapping(best[0].get("properties")), name: {"const": value}}
                return {**best[0], "properties": properties, "required": [*items(best[0].get("required")), name]}, best[
                    1
                ]
        return best

    def _worth(self, flat: dict[str, Json], names: tuple[str, ...]) -> int:
        """How much a schema is to be preferred to its siblings."""
        kind = _kind(flat)
        if names and apiwords.PARAMETERS.get(plain(names[-1]), (0, None))[1] == ["END"]:
            return 2 if kind == "array" else 1
        score = 4 if kind == "string" else 1
        for name, schema in mapping(flat.get("properties")).items():
            words = [each.lower() for each in _stated(schema) if isinstance(each, str)]
            if plain(name) in apiwords.ROLES:
                score += 4 * any(each in words for each in self._roles())
            elif name == "type":
                score += 2 * any("text" in each for each in words)
            elif self.purpose is Purpose.ANSWER:
                score += bool(apiwords.text_score((*names, name)))
            else:
                score += plain(name) in apiwords.PROMPTS
        return score - 8 * bool(flat.get("deprecated"))

    def _roles(self) -> tuple[str, ...]:
        return ("user", "human") if self.purpose is Purpose.REQUEST else ("assistant", "model", "ai", "bot")

    def _given(self, flat: dict[str, Json], place: str, names: tuple[str, ...]) -> Json:
        """What the document itself says the value is."""
        if "const" in flat:
            return flat["const"]
        name = plain(names[-1]) if names else ""
        if name in apiwords.ROLES or (self.purpose is Purpose.ANSWER and apiwords.FINISH.search(name)):
            wanted = self._roles() if name in apiwords.ROLES else apiwords.FINISHED
            words = {str(each).lower(): each for each in items(flat.get("enum"))[:100]}
            if found := next((words[each] for each in wanted if each in words), None):
                return found
        example = self.example(flat, place)
        if example is not LEFT_OUT and example is not None:
            return example
        enum = [each for each in items(flat.get("enum")) if each is not None]
        default = flat.get("default")
        if self.purpose is Purpose.REQUEST and name in apiwords.PARAMETERS:
            return LEFT_OUT
        if (
            default is not None
            and default not in ("", [], {})
            and not (self.purpose is Purpose.ANSWER and _kind(flat) == "boolean")
        ):
            return self._bounded(default, place)
        return self._bounded(enum[0], place) if enum else LEFT_OUT

    def _object(
        self, flat: dict[str, Json], place: str, names: tuple[str, ...], seen: frozenset[str], *, known: bool
    ) -> Json:
        properties = mapping(flat.get("properties"))
        required = {each for each in items(flat.get("required")) if isinstance(each, str)}
        chosen = self._wanted(properties, required, names, known=known)
        made: dict[str, Json] = {}
        for name, only_known in chosen.items():
            value = self._value(properties[name], place, (*names, name), seen, known=only_known)
            if value is LEFT_OUT and name in required:
                value = self._needed(name, names)
            if value is not LEFT_OUT and not (only_known and value in ({}, [])):
                made[name] = value
        if not made and not properties and isinstance(flat.get("additionalProperties"), dict):
            value = self._value(flat["additionalProperties"], place, (*names, "key"), seen, known=False)
            return {"key": value} if value is not LEFT_OUT and self.purpose is Purpose.ANSWER else {}
        return LEFT_OUT if known and not made else made

    def _needed(self, name: str, names: tuple[str, ...]) -> Json:
        """What a required property is left at, whose value cannot be made."""
        shown = ".".join((*names, name))
        if self.purpose is Purpose.REQUEST:
            self.note(f"`{short(shown)}` is required and its value could not be made: the request lacks it")
        return LEFT_OUT

    def _wanted(
        self, properties: dict[str, Json], required: set[str], names: tuple[str, ...], *, known: bool
    ) -> dict[str, bool]:
        """The properties to make values for, and whether only what is known by name is wanted of each."""
        if self.purpose is Purpose.ANSWER:
            return {
                name: False
                for name, schema in properties.items()
                if not mapping(schema).get("writeOnly") and (name in required or not _unsaid(name))
            }
        chosen: dict[str, bool] = {}
        prompts = [name for name in properties if plain(name) in apiwords.PROMPTS]
        prompt = min(prompts, key=lambda name: apiwords.PROMPTS.index(plain(name)), default=None)
        groups = {apiwords.PARAMETERS[plain(name)][0] for name in required if plain(name) in apiwords.PARAMETERS}
        for name, schema in properties.items():
            own, stated = plain(name), mapping(schema)
            if stated.get("readOnly"):
                continue
            if name in required:
                chosen[name] = False
            elif stated.get("deprecated") is True or own in apiwords.STREAMS:
                continue
            elif own in apiwords.PARAMETERS:
                group = apiwords.PARAMETERS[own][0]
                if group not in groups:
                    chosen[name] = False
                    groups.add(group)
            elif (name == prompt and not known and not any(each in required for each in prompts)) or (
                own in apiwords.MODELS + apiwords.SYSTEMS and not known
            ):
                chosen[name] = False
            elif apiwords.CONTAINERS.search(own):
                chosen[name] = True
        return chosen

    def _array(
        self, flat: dict[str, Json], place: str, names: tuple[str, ...], seen: frozenset[str], *, known: bool
    ) -> Json:
        name = plain(names[-1]) if names else ""
        member: Json = flat.get("items", {})
        if items(flat.get("prefixItems")):
            member = flat["prefixItems"][0]
        if isinstance(member, list):  # a tuple, of JSON Schema before 2020-12
            member = member[0] if member else {}
        stops = apiwords.PARAMETERS.get(name, (0, None))[1] == ["END"]
        if stops and self.purpose is Purpose.REQUEST and _kind(self._flat(member, place, names, seen)[0]) != "object":
            return ["END"]
        if known and name not in apiwords.PARAMETERS:
            return LEFT_OUT
        value = self._value(member, place, (*names, "0"), seen, known=False)
        if value is LEFT_OUT:
            return []
        least = flat.get("minItems")
        return [value] * (min(least, 3) if isinstance(least, int) and least > 1 else 1)

    def _boolean(self, names: tuple[str, ...]) -> bool:
        name = plain(names[-1]) if names else ""
        if self.purpose is Purpose.REQUEST:
            return False
        return (self.final and bool(apiwords.DONE.search(name))) or name in ("success", "ok", "successful")

    def _number(self, flat: dict[str, Json], names: tuple[str, ...], *, whole: bool) -> Json:
        name = plain(names[-1]) if names else ""
        if self.purpose is Purpose.REQUEST:
            value = apiwords.PARAMETERS.get(name, (0, 1))[1]
            value = value if isinstance(value, int | float) else 1
        else:
            value = apiwords.count_value(names[-1] if names else "")
        least, most = _bound(flat, "minimum", 1), _bound(flat, "maximum", -1)
        if least is not None and value < least:
            value = least
        if most is not None and value > most:
            value = most
        return int(value) if whole else value

    def _string(self, flat: dict[str, Json], names: tuple[str, ...]) -> Json:
        name = plain(names[-2] if len(names) > 1 and names[-1] == "0" else names[-1]) if names else ""
        if "contentSchema" in flat:  # JSON in a string
            inner = self.of(flat["contentSchema"], "", names)
            return jsontext.dump(settled(inner)).decode() if inner is not LEFT_OUT else LEFT_OUT
        form = flat.get("format")
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        if name in apiwords.ROLES:
            return self._roles()[0]
        if self.purpose is Purpose.REQUEST:
            if name in apiwords.PROMPTS:
                return PROMPT
            if name in apiwords.SYSTEMS:
                return SYSTEM
            if name in apiwords.PARAMETERS:
                value = apiwords.PARAMETERS[name][1]
                return value[0] if isinstance(value, list) else str(value)
            return _named(name)
        if apiwords.FINISH.search(plain("".join(names[-2:]))):
            return "stop" if self.final else LEFT_OUT
        return Candidate.of(_named(name), _score(names, flat), given=False)


_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "byte": "aGVsbG8=",
    "binary": "hello",
}


def settled(value: Json, text: str = SENTENCE) -> Json:
    """The value with the one string that is most likely the generated text as `text`, unless the document says it."""
    found = [each for each in _candidates(value) if each.score > 0]
    best = max(found, key=lambda each: each.score, default=None)
    return _settle(value, best, text)


def best_score(value: Json) -> int:
    """The score of the likeliest generated text in a value; 0 without any."""
    return max((each.score for each in _candidates(value)), default=0)


def _settle(value: Json, best: Candidate | None, text: str) -> Json:
    match value:
        case Candidate():
            return text if value is best and not value.given else str(value)
        case dict():
            return {key: _settle(each, best, text) for key, each in value.items()}
        case list():
            return [_settle(each, best, text) for each in value]
    return value


def _candidates(value: Json) -> Iterator[Candidate]:
    match value:
        case Candidate():
            yield value
        case dict():
            for each in value.values():
                yield from _candidates(each)
        case list():
            for each in value:
                yield from _candidates(each)


def _named(name: str) -> str:
    return "model-1" if name in apiwords.MODELS else f"{name}-1" if name.endswith("id") else name or "text"


def _score(names: tuple[str, ...], flat: dict[str, Json]) -> int:
    description = flat.get("description")
    shown = tuple(each for each in names if each != "0")
    return apiwords.text_score(shown, description[:500] if isinstance(description, str) else "")


def _unsaid(name: str) -> bool:
    own = plain(name)
    return bool(apiwords.FAILED.search(own) or apiwords.UNSAID.search(own))


def _kind(flat: dict[str, Json]) -> str:
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


def _bound(flat: dict[str, Json], key: str, towards: int) -> float | None:
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
