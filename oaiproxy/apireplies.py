"""An operation of an API's document to the answers that it describes: whole, and as a stream.

What the document gives as an example is taken as it is. Of the rest of an answer, the string that most likely is the
generated text reads `schemavalues.SENTENCE`, so that it can be found again; in a stream it comes in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

from oaiproxy import apiwords, jsontext
from oaiproxy.apioperations import Operation
from oaiproxy.apispecs import Spec, items, mapping, pointer
from oaiproxy.flatschemas import Purpose
from oaiproxy.generatedtext import SENTENCE, best_score, settled
from oaiproxy.jsontext import Json
from oaiproxy.samples import Received
from oaiproxy.schemavalues import LEFT_OUT, Values

PIECES = ("Hello! ", "I can help", " you with that.")
MAX_KINDS = 64
"""Of a stream's frames."""
SSE = "text/event-stream"
LINES = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
)
STREAMS = (SSE, *LINES, "application/json-seq", "application/stream+json", "application/x-json-stream")
END = "[DONE]"


@dataclass(frozen=True, slots=True)
class Replies:
    """The answers of an operation, as far as the document has them."""

    answer: Received | None = None
    stream: Received | None = None


def replies(spec: Spec, operation: Operation, notes: list[str]) -> Replies:
    """The successful answers. What a person should know is added to `notes`. Raises SpecError."""
    values = Values.of_document(spec, Purpose.ANSWER, notes)
    found = mapping(operation.node.get("responses"))
    status = _success(found)
    if not status:
        return Replies()
    node, place = spec.follow(found[status], pointer(operation.place, "responses", status))
    number = int(status) if status.isdigit() else 200
    if status == "202":
        notes.append("the answer is a 202: if it is to be asked for later, write a `poll` (docs/mapping.md)")
    described = mapping(node)
    answer: Received | None = None
    stream: Received | None = None
    for media, content, where in _contents(spec, operation, described, place):
        if media in STREAMS:
            stream = stream or _stream(values, media, content, where, str(described.get("description", "")))
        else:
            answer = answer or _answer(values, media, content, where, number)
    return Replies(answer, stream)


def _success(found: dict[str, Json]) -> str:
    """The status that a good answer has."""
    known = [each for each in found if each[:1] == "2" and len(each) == 3 and each not in ("204", "205")]
    ranked = sorted(known, key=lambda each: (each != "200", each.upper() == "2XX", each))
    return next(iter(ranked), "default" if "default" in found else "")


def _contents(
    spec: Spec, operation: Operation, response: dict[str, Json], place: str
) -> list[tuple[str, dict[str, Json], str]]:
    """The media types of a response, JSON first, each with what the document says of it."""
    if spec.swagger:
        produces = items(operation.node.get("produces")) or items(spec.data.get("produces")) or ["application/json"]
        given = mapping(response.get("examples"))
        schema = {"schema": response["schema"]} if "schema" in response else {}
        found = [
            (media, {**schema, **({"example": given[media]} if media in given else {})}, place)
            for media in map(str, produces[:20])
            if schema or media in given
        ]
    else:
        found = [
            (media, mapping(content), pointer(place, "content", media))
            for media, content in [*mapping(response.get("content")).items()][:20]
        ]
    plain = [(media.partition(";")[0].strip().lower(), content, where) for media, content, where in found]
    return sorted(plain, key=lambda each: (each[0] != "application/json", not each[0].endswith("json")))


def _answer(values: Values, media: str, content: dict[str, Json], place: str, status: int) -> Received | None:
    textual = media.startswith("text/")
    if not (textual or media.endswith("json") or media in ("*/*", "application/*", "")):
        return None
    if "*" in media or not media:
        media = "application/json"
    given = values.example(content, place)
    if given is LEFT_OUT and not mapping(content.get("schema")):
        if not textual:
            return None
        given = SENTENCE
    if given is not LEFT_OUT:
        as_text = isinstance(given, str) and (textual or _is_json(given))
        return Received(given.encode("utf-8", "replace") if as_text else jsontext.dump(given), media, status)
    made = values.of(content["schema"], pointer(place, "schema"))
    if made is LEFT_OUT or made in ({}, []):
        return None
    if not best_score(made) and not textual and b" " not in jsontext.dump(made):
        values.schemas.note(
            "no text of the answer's schema looks like the generated one: say which with `response.text`"
        )
    value = settled(made)
    return Received(value.encode() if textual and isinstance(value, str) else jsontext.dump(value), media, status)


def _is_json(text: str) -> bool:
    try:
        jsontext.parse(text)
    except jsontext.JsonError:
        return False
    return True


def _stream(values: Values, media: str, content: dict[str, Json], place: str, description: str) -> Received | None:
    given = values.example(content, place)
    if isinstance(given, str) and given.strip():
        return Received(given.replace("\r\n", "\n").encode("utf-8", "replace"), media)
    if isinstance(given, list) and given:
        return Received(b"".join(_frame(media, "", each) for each in given), media)
    if isinstance(given, dict) and given:
        return Received(_frame(media, "", given), media)
    schema = content.get("itemSchema", content.get("schema"))
    where = pointer(place, "itemSchema" if "itemSchema" in content else "schema")
    flat = values.flat(schema, where)
    if flat.get("type") == "array" and "items" in flat:
        schema = flat["items"]
    if not mapping(schema):
        values.schemas.note(
            f"the document does not say what the frames of the {media} stream are: give one with `--stream`"
        )
        return None
    data = b"".join(_frame(media, event, value) for event, value in _frames(values, schema, where))
    if not data:
        return None
    if media == SSE and END in description + str(flat.get("description", "")):
        data += _frame(media, "", END)
    return Received(data, media)


def _frames(values: Values, schema: Json, place: str) -> list[tuple[str, Json]]:
    """The frames of a stream, each with its event's name: of kinds of events one each, the text's in pieces."""
    inside, event = _payload(values, schema, place)
    kinds = [_payload(values, each, place) for each in values.schemas.alternatives(inside, place)[:MAX_KINDS]]
    kinds = [(each, name or event) for each, name in kinds] or [(inside, event)]
    drafts = [
        (name, _draft(values, each, place, final=number == len(kinds) - 1 > 0))
        for number, (each, name) in enumerate(kinds)
    ]
    usable = [
        (number, name, made)
        for number, (name, made) in enumerate(drafts)
        if made is not LEFT_OUT and not _failure(name, made)
    ]
    if not usable:
        return []
    best = max(usable, key=lambda each: _likely(each[1], each[2]))
    frames: list[tuple[str, Json]] = []
    for number, name, made in usable:
        if number != best[0]:
            frames.append((name, settled(made, "text")))
            continue
        for count, piece in enumerate(PIECES, 1):
            final = count == len(PIECES) and number == usable[-1][0]
            again = _draft(values, kinds[number][0], place, final=final)
            frames.append((name, settled(again, piece, piece=True)))
    return frames


def _kind(name: str, value: Json) -> str:
    """What a frame calls its kind."""
    return " ".join(
        [name, *(str(mapping(value).get(key, "")) for key in ("type", "event", "event_type", "kind", "object"))]
    )


def _likely(name: str, value: Json) -> int:
    """How likely a kind of frames is the one with the text."""
    score = best_score(value)
    return score + 32 * apiwords.kind_score(_kind(name, value)) if score else -1000


def _failure(name: str, value: Json) -> bool:
    return "error" in _kind(name, value).lower()


def _draft(values: Values, schema: Json, place: str, *, final: bool) -> Json:
    values.final = final
    made = values.of(schema, place)
    values.final = True
    return made


def _payload(values: Values, schema: Json, place: str) -> tuple[Json, str]:
    """What a frame holds, and its event's name: OpenAPI 3.2 describes an event of a stream by its fields."""
    flat = values.flat(schema, place)
    properties = mapping(flat.get("properties"))
    if "data" not in properties or not set(properties) <= {"data", "event", "id", "retry", "comment"}:
        return schema, ""
    if "id" not in properties and "event" not in properties and "contentSchema" not in mapping(properties["data"]):
        return schema, ""
    data = mapping(values.flat(properties["data"], place))
    event = mapping(properties.get("event"))
    name = event.get("const", next(iter(items(event.get("enum"))), ""))
    inner = data.get("contentSchema", {key: value for key, value in data.items() if key != "contentMediaType"})
    return inner, name if isinstance(name, str) and name.isprintable() else ""


def _frame(media: str, event: str, value: Json) -> bytes:
    data = value.encode("utf-8", "replace") if isinstance(value, str) and media == SSE else jsontext.dump(value)
    if media == SSE:
        lines = b"".join(b"data: " + line + b"\n" for line in data.split(b"\n"))
        return (f"event: {event}\n".encode("utf-8", "replace") if event else b"") + lines + b"\n"
    return (b"\x1e" if media == "application/json-seq" else b"") + data + b"\n"
