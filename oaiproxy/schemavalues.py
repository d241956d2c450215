"""A schema of an OpenAPI document to a value that it describes: what to send, or what comes back.

Schemas are those of OpenAPI 3.0 (https://spec.openapis.org/oas/v3.0.4.html#schema-object), which 3.1 replaced by JSON
Schema 2020-12, and of Swagger 2.0. Nothing is validated: a document that contradicts itself still gives a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from oaiproxy import apiwords, jsontext
from oaiproxy.apispecs import Spec, SpecError, items, mapping
from oaiproxy.apiwords import plain
from oaiproxy.flatschemas import MAX_DEPTH, Purpose, Schemas, bound, kind, nullable
from oaiproxy.generatedtext import Candidate, settled
from oaiproxy.jsontext import Json, JsonError
from oaiproxy.nodes import short

MAX_EXAMPLE = 256 << 10
PROMPT = "Say hello."
SYSTEM = "You are a helpful assistant."


class _Left(Enum):
    OUT = 0


LEFT_OUT = _Left.OUT
"""What stands for a value that is left out."""


@dataclass(slots=True)
class Values:
    """Makes values. `final` is false in a stream's frames before the last."""

    schemas: Schemas
    final: bool = True

    @classmethod
    def of_document(cls, spec: Spec, purpose: Purpose, notes: list[str] | None = None) -> Values:
        """What makes values of a document's schemas. What could not be made is told in `notes`."""
        return cls(Schemas(spec, purpose, [] if notes is None else notes))

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
                entry = mapping(self.schemas.spec.follow(each, place)[0])
            except SpecError as error:
                self.schemas.note(str(error))
                continue
            for key in ("value", "dataValue", "serializedValue"):
                if key in entry:
                    return self._bounded(entry[key], place)
            if isinstance(entry.get("externalValue"), str):
                self.schemas.note(
                    f"the example `{short(entry['externalValue'])}` is not in the document: it is not fetched"
                )
        return LEFT_OUT

    def flat(self, schema: Json, place: str) -> dict[str, Json]:
        """The schema without references and alternatives; an empty one where there is none."""
        return self.schemas.flat(schema, place, (), frozenset())[0] or {}

    def _bounded(self, value: Json, place: str) -> Json:
        if value is LEFT_OUT:
            return value
        try:
            if len(jsontext.dump(value)) <= MAX_EXAMPLE:
                return value
        except JsonError:
            pass
        self.schemas.note(f"the example at `{short(place)}` is too large: it is not used")
        return LEFT_OUT

    def _value(self, schema: Json, place: str, names: tuple[str, ...], seen: frozenset[str], *, known: bool) -> Json:
        if schema is False or len(names) > MAX_DEPTH:
            return LEFT_OUT
        flat, seen = self.schemas.flat(schema, place, names, seen)
        if flat is None:
            return LEFT_OUT
        type_ = kind(flat)
        if not self.final and _finishes(names):
            return None if nullable(flat) else LEFT_OUT
        given = self._given(flat, type_, place, names)
        if given is not LEFT_OUT and not (known and type_ == "object"):
            if self.schemas.purpose is Purpose.ANSWER and isinstance(given, str) and "const" not in flat:
                return Candidate.of(given, _score(names, flat, final=self.final), given=True)
            return given
        match type_:
            case "object":
                return self._object(flat, place, names, seen, known=known)
            case "array":
                return self._array(flat, place, names, seen, known=known)
            case "boolean":
                return self._boolean(names)
            case "integer" | "number":
                return self._number(flat, names, whole=type_ == "integer")
            case "null":
                return None
        return self._string(flat, names)

    def _given(self, flat: dict[str, Json], type_: str, place: str, names: tuple[str, ...]) -> Json:
        """What the document itself says the value is, or LEFT_OUT."""
        if "const" in flat:
            return self._bounded(flat["const"], place)
        name = plain(names[-1]) if names else ""
        role = name in apiwords.ROLES
        answer = self.schemas.purpose is Purpose.ANSWER
        if role or (answer and _finishes(names)):
            words = {str(each).lower(): each for each in items(flat.get("enum"))[:100]}
            if found := next(
                (words[each] for each in (self.schemas.roles() if role else apiwords.FINISHED) if each in words), None
            ):
                return found
        example = _typed(self.example(flat, place), type_)
        if role and answer and "enum" not in flat:
            return self.schemas.roles()[0]
        if example is not LEFT_OUT:
            return example
        if self.schemas.purpose is Purpose.REQUEST and name in apiwords.PARAMETERS:
            return LEFT_OUT
        default = _typed(flat.get("default", LEFT_OUT), type_)
        counted = answer and type_ in ("boolean", "integer", "number")
        if default is not LEFT_OUT and default not in ("", [], {}) and not counted:
            return self._bounded(default, place)
        return self._bounded(next((each for each in items(flat.get("enum")) if each is not None), LEFT_OUT), place)

    def _object(
        self, flat: dict[str, Json], place: str, names: tuple[str, ...], seen: frozenset[str], *, known: bool
    ) -> Json:
        properties = mapping(flat.get("properties"))
        required = {each for each in items(flat.get("required")) if isinstance(each, str)}
        chosen = self._wanted(properties, required, names, known=known)
        made: dict[str, Json] = {}
        for name, only_known in chosen.items():
            if self.schemas.purpose is Purpose.ANSWER and _unsaid(name):
                made[name] = self._nothing(properties[name], place, (*names, name), seen)
                continue
            value = self._value(properties[name], place, (*names, name), seen, known=only_known)
            if value is LEFT_OUT and name in required:
                value = self._needed(name, names)
            if value is not LEFT_OUT and not (only_known and value in ({}, [])):
                made[name] = value
        if not made and not properties and isinstance(flat.get("additionalProperties"), dict):
            value = self._value(flat["additionalProperties"], place, (*names, "key"), seen, known=False)
            return {"key": value} if value is not LEFT_OUT and self.schemas.purpose is Purpose.ANSWER else {}
        return LEFT_OUT if known and not made else made

    def _nothing(self, schema: Json, place: str, names: tuple[str, ...], seen: frozenset[str]) -> Json:
        """What a required property is where there is nothing of what it is for."""
        flat, _ = self.schemas.flat(schema, place, names, seen)
        if flat is None or nullable(flat):
            return None
        return {"array": [], "object": {}, "boolean": False, "integer": 0, "number": 0}.get(kind(flat), "")

    def _needed(self, name: str, names: tuple[str, ...]) -> Json:
        """What a required property is left at, whose value cannot be made."""
        shown = ".".join((*names, name))
        if self.schemas.purpose is Purpose.REQUEST:
            self.schemas.note(f"`{short(shown)}` is required and its value could not be made: the request lacks it")
        return LEFT_OUT

    def _wanted(
        self, properties: dict[str, Json], required: set[str], names: tuple[str, ...], *, known: bool
    ) -> dict[str, bool]:
        """The properties to make values for, and whether only what is known by name is wanted of each."""
        if self.schemas.purpose is Purpose.ANSWER:
            return {
                name: False
                for name, schema in properties.items()
                if not mapping(schema).get("writeOnly") and (name in required or not _unsaid(name))
            }
        chosen: dict[str, bool] = {}
        prompts = [name for name in properties if plain(name) in apiwords.PROMPTS]
        if len(prompts) > 1:
            prompts = [name for name in prompts if name in required or self._speaks(properties[name])] or prompts
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
                own in apiwords.MODELS + apiwords.SYSTEMS + apiwords.ROLES and not known
            ):
                chosen[name] = False
            elif apiwords.CONTAINERS.search(own):
                chosen[name] = True
        return chosen

    def _turns(self, member: Json, last: Json) -> list[Json]:
        """A conversation that shows what the roles are called, where that is not what OpenAI calls them."""
        role = next((name for name in mapping(last) if plain(name) in apiwords.ROLES), None)
        schema = mapping(self.flat(member, "").get("properties")).get(role) if role else None
        words = [each for each in items(self.flat(schema, "").get("enum"))[:20] if isinstance(each, str)]
        if role is None or {"system", "user", "assistant"} <= {*words}:
            return []
        answers = [each for each in words if plain(each) in apiwords.ANSWERING]
        if not answers:
            return []
        systems = [each for each in words if plain(each) in ("system", "developer")]
        before = [(each, SYSTEM) for each in systems[:1]] + [(last[role], "Hi!"), (answers[0], "Hello.")]
        return [*(_said({**last, role: word}, text) for word, text in before), last]

    def _speaks(self, schema: Json) -> bool:
        """Whether a value of the schema can be text, or a list, as a prompt is."""
        return kind(self.flat(schema, "")) in ("string", "array")

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
        if stops and self.schemas.purpose is Purpose.REQUEST and kind(self.flat(member, place)) != "object":
            return ["END"]
        if known and name not in apiwords.PARAMETERS:
            return LEFT_OUT
        value = self._value(member, place, (*names, "0"), seen, known=False)
        if value is LEFT_OUT:
            return []
        if (
            self.schemas.purpose is Purpose.REQUEST
            and isinstance(value, dict)
            and (turns := self._turns(member, value))
        ):
            return turns
        least = flat.get("minItems")
        return [value] * (min(least, 3) if isinstance(least, int) and least > 1 else 1)

    def _boolean(self, names: tuple[str, ...]) -> bool:
        name = plain(names[-1]) if names else ""
        if self.schemas.purpose is Purpose.REQUEST:
            return False
        return (self.final and bool(apiwords.DONE.search(name))) or name in ("success", "ok", "successful")

    def _number(self, flat: dict[str, Json], names: tuple[str, ...], *, whole: bool) -> Json:
        name = plain(names[-1]) if names else ""
        if self.schemas.purpose is Purpose.REQUEST:
            value = apiwords.PARAMETERS.get(name, (0, 1))[1]
            value = value if isinstance(value, int | float) else 1
        else:
            value = apiwords.count_value(names[-1] if names else "")
        least, most = bound(flat, "minimum", 1), bound(flat, "maximum", -1)
        if least is not None and value < least:
            value = least
        if most is not None and value > most:
            value = most
        return int(value) if whole else value

    def _string(self, flat: dict[str, Json], names: tuple[str, ...]) -> Json:
        name = plain(names[-2] if len(names) > 1 and names[-1] == "0" else names[-1]) if names else ""
        if "contentSchema" in flat:  # JSON in a string
            deeper = (*names, names[-1] if names else "")  # such schemas may hold each other
            inner = self.of(flat["contentSchema"], "", deeper)
            return jsontext.dump(settled(inner)).decode() if inner is not LEFT_OUT else LEFT_OUT
        form = flat.get("format")
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        if name in apiwords.ROLES:
            return self.schemas.roles()[0]
        if self.schemas.purpose is Purpose.REQUEST:
            if name in apiwords.PROMPTS:
                return PROMPT
            if name in apiwords.SYSTEMS:
                return SYSTEM
            if name in apiwords.PARAMETERS:
                value = apiwords.PARAMETERS[name][1]
                return value[0] if isinstance(value, list) else str(value)
            return _named(name)
        if _finishes(names):
            return "stop"
        return Candidate.of(_named(name), _score(names, flat, final=self.final), given=False)


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


def _said(turn: Json, text: str) -> Json:
    """A turn with another text for the prompt in it."""
    match turn:
        case dict():
            return {key: _said(each, text) for key, each in turn.items()}
        case list():
            return [_said(each, text) for each in turn]
    return text if turn == PROMPT else turn


def _named(name: str) -> str:
    return "model-1" if name in apiwords.MODELS else f"{name}-1" if name.endswith("id") else name or "text"


def _score(names: tuple[str, ...], flat: dict[str, Json], *, final: bool) -> int:
    """How likely a string is the generated text; what is nearer to the top before what is as likely.

    In a frame before the last one, what may be null is hardly the piece that each frame has.
    """
    description = flat.get("description")
    shown = tuple(each for each in names if each != "0")
    score = apiwords.text_score(shown, description[:500] if isinstance(description, str) else "")
    score -= 5 * (not final and nullable(flat))
    return max(score * 32 - len(names), 1) if score > 0 else 0


def _finishes(names: tuple[str, ...]) -> bool:
    return bool(names) and bool(apiwords.FINISH.search(plain("".join(names[-2:]))))


def _typed(value: Json, type_: str) -> Json:
    """The value if it is of its schema's type, as many documents' examples are only in quotes; else LEFT_OUT."""
    if value is LEFT_OUT or value is None:
        return LEFT_OUT
    if isinstance(value, str) and type_ in _TYPES and type_ != "string":
        try:
            value = jsontext.parse(value)
        except JsonError:
            return LEFT_OUT
    if isinstance(value, bool) and type_ in ("integer", "number"):
        return LEFT_OUT
    return value if isinstance(value, _TYPES.get(type_, object)) else LEFT_OUT


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "boolean": bool,
    "integer": (int, float),
    "number": (int, float),
    "string": (str, int, float),
}


def _unsaid(name: str) -> bool:
    own = plain(name)
    return bool(apiwords.FAILED.search(own) or apiwords.UNSAID.search(own))
