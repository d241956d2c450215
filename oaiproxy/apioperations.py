"""An API's document to its operations, those first that most likely generate text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oaiproxy import apiwords
from oaiproxy.apispecs import Spec, SpecError, items, mapping, pointer
from oaiproxy.apiwords import plain
from oaiproxy.diagnostics import closest
from oaiproxy.jsontext import Json
from oaiproxy.nodes import short

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
MAX_OPERATIONS = 5000
LISTED = 10
"""How many operations a message names."""
LIKELY = 6
"""The score from which an operation can be a call that generates text."""

_SAYS_TEXT = re.compile(
    r"chat|complet|generat|messag|convers|predict|infer|invoke|prompt|answer|llm|\bask\b|\brun\b|respon[sd]|reply|query"
)
_SAYS_OTHER = re.compile(
    r"embed|image|audio|speech|transcri|translat|moderat|rerank|file|fine.?tun|batch|tokeni|token_count|count.?tokens|"
    r"health|upload|login|feedback|train|classif|vector|assistant|thread|video|delete|list|cancel|status|realtime|session|compact|input_tokens|edit|eval|skill|key"
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `shared` is its path item, whose parameters and servers it has as well."""

    id: str
    method: str
    path: str
    place: str
    node: dict[str, Json]
    shared: dict[str, Json]
    score: int = 0

    @property
    def named(self) -> str:
        """As a person would choose it: `createChat` (POST /chat)."""
        line = f"{self.method} {self.path}"
        return f"`{short(self.id)}` ({short(line)})" if self.id else f"`{short(line)}`"


def operations(spec: Spec) -> list[Operation]:
    """All operations of a document, the likeliest to generate text first."""
    found = sorted(_all(spec), key=lambda each: -each.score)
    if not found:
        raise SpecError("the document has no operations", "#/paths", "give a document with `paths`")
    return found


def choose(spec: Spec, wanted: str | None) -> Operation:
    """The operation of that id, or of `POST /path` or `/path`; without one, the one that generates text.

    Raises SpecError.
    """
    known = operations(spec)
    if wanted is not None:
        return _wanted(known, wanted.strip())
    likely = [each for each in known if each.score >= LIKELY]
    whole = [each for each in likely if not any(streams(each, other) for other in likely)]
    if len(whole) == 1:
        return whole[0]
    if not likely:
        raise SpecError("no operation seems to generate text", "#/paths", _offer(known))
    raise SpecError(f"{len(whole)} operations can generate text", "#/paths", _offer(whole or likely))


def sibling(spec: Spec, chosen: Operation) -> Operation | None:
    """The operation that streams what this one answers whole, by its path: `/generate` and `/generate_stream`."""
    return next((each for each in operations(spec) if streams(each, chosen)), None)


def streams(other: Operation, whole: Operation) -> bool:
    """Whether an operation is another's stream, by their paths."""
    bare = _bare(whole.path)
    alike = _whole(other.path) == _whole(whole.path) == bare != _bare(other.path)
    return alike and other.method == whole.method


def parameters(spec: Spec, operation: Operation) -> Iterator[tuple[dict[str, Json], str]]:
    """The parameters of an operation, its own over those of its path, each with its place. Raises SpecError."""
    found: dict[tuple[str, str], tuple[dict[str, Json], str]] = {}
    above = operation.place.rpartition("/")[0]
    for node, place in ((operation.shared, above), (operation.node, operation.place)):
        for index, each in enumerate(items(node.get("parameters"))[:200]):
            followed, where = spec.follow(each, pointer(place, "parameters", str(index)))
            own = mapping(followed)
            if isinstance(own.get("name"), str) and isinstance(own.get("in"), str):
                found[own["name"], own["in"]] = (own, where)
    yield from found.values()


def _bare(path: str) -> str:
    """The path in small letters, with one sign for all that separates words."""
    return re.sub("[^a-z0-9{}]+", "/", path.lower()).strip("/")


def _whole(path: str) -> str:
    """The path without what says that it streams."""
    return _bare(re.sub(r"(?<![a-z])stream(ing|ed)?(?![a-z])|(?<=[a-z])Stream(?=[A-Z]|$)", " ", path))


def _wanted(known: Sequence[Operation], wanted: str) -> Operation:
    exact = [each for each in known if each.id == wanted]
    method, _, path = wanted.rpartition(" ")
    exact = exact or [
        each
        for each in known
        if each.path.rstrip("/") == path.rstrip("/") and method.strip().upper() in ("", each.method)
    ]
    if len(exact) == 1:
        return exact[0]
    if exact:
        raise SpecError(f"`{short(wanted)}` is {len(exact)} operations", exact[0].place, _offer(exact))
    names = [name for each in known for name in (each.id, f"{each.method} {each.path}", each.path) if name]
    near = closest(wanted, names[:3000])
    hint = f"did you mean `{near}`?" if near else _offer(known)
    raise SpecError(f"there is no operation `{short(wanted)}`", "#/paths", hint)


def _offer(known: Sequence[Operation]) -> str:
    named = ", ".join(each.named for each in known[:LISTED])
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"choose with `--operation`: {named}{more}"


def _all(spec: Spec) -> Iterator[Operation]:
    count = 0
    for path, item in mapping(spec.data.get("paths")).items():
        place = pointer("#/paths", path)
        try:
            shared = mapping(spec.follow(item, place)[0])
        except SpecError:
            continue
        for method in METHODS:
            node = shared.get(method)
            if not isinstance(node, dict) or not path.startswith("/"):
                continue
            count += 1
            if count > MAX_OPERATIONS:
                return
            name = node.get("operationId")
            name = name if isinstance(name, str) else ""
            score = _score(spec, method, path, name, node)
            yield Operation(name, method.upper(), path, pointer(place, method), node, shared, score)


def _score(spec: Spec, method: str, path: str, name: str, node: dict[str, Json]) -> int:
    summary = node.get("summary")
    said = f"{path} {re.sub('(?<=[a-z])(?=[A-Z])', '_', name)} {summary if isinstance(summary, str) else ''}"[
        :500
    ].lower()
    score = {"post": 3, "put": 1, "get": -1}.get(method, -5)
    score += (
        3 * bool(_SAYS_TEXT.search(said)) - 5 * bool(_SAYS_OTHER.search(said)) - 3 * (node.get("deprecated") is True)
    )
    names = {plain(each) for each in _inputs(spec, node)}
    if names & set(apiwords.PROMPTS):
        score += 3
        best = min(apiwords.PROMPTS.index(each) for each in names & set(apiwords.PROMPTS))
        score += best < 2
    score += 2 * bool(names & {*apiwords.PARAMETERS, *apiwords.STREAMS})
    return score


def _inputs(spec: Spec, node: dict[str, Json]) -> set[str]:
    """The names of an operation's inputs, as far as they are easily seen."""
    found: set[str] = set()
    schemas: list[Json] = []
    for each in items(node.get("parameters"))[:100]:
        own = mapping(_followed(spec, each))
        schemas += [own.get("schema")] if own.get("in") == "body" else []
        if own.get("in") in ("query", "formData") and isinstance(own.get("name"), str):
            found.add(own["name"])
    body = mapping(_followed(spec, node.get("requestBody")))
    schemas += [mapping(each).get("schema") for each in [*mapping(body.get("content")).values()][:4]]
    for each in [*mapping(body.get("content")).values()][:4]:
        given = mapping(each).get("example")
        found |= {*mapping(given)}
    for _ in range(4):
        followed = [mapping(_followed(spec, each)) for each in schemas[:40]]
        found |= {name for each in followed for name in [*mapping(each.get("properties"))][:300]}
        schemas = [inner for each in followed for inner in _inner(each)]
    return found


def _inner(schema: dict[str, Json]) -> list[Json]:
    return [
        *(part for key in ("allOf", "oneOf", "anyOf") for part in items(schema.get(key))[:10]),
        *(
            inner
            for name, inner in mapping(schema.get("properties")).items()
            if apiwords.CONTAINERS.search(plain(name))
        ),
    ]


def _followed(spec: Spec, node: Json) -> Json:
    try:
        return spec.follow(node, "")[0]
    except SpecError:
        return None
