"""The block `models_list`: how a backend is asked for the models that it has, and how its answer reads."""

from __future__ import annotations

from dataclasses import dataclass

from oaiproxy import jsontext
from oaiproxy.durations import compile_seconds
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick, compile_pick
from oaiproxy.requests import RequestTemplate, compile_request, merge_requests, shared_request
from oaiproxy.source import Source
from oaiproxy.templates import Compilation

MAX_MODELS = 10_000
MAX_NAME = 256
"""Characters of a model's name; longer ones are no names."""
EVERY_SECONDS = 600.0
_REQUEST = ("path", "query", "headers")


@dataclass(frozen=True, slots=True)
class ModelList:
    """A compiled block; `every` is in seconds."""

    request: RequestTemplate
    models: Pick
    every: float

    def names(self, data: bytes, envelope: Envelope) -> list[str]:
        """The models in an answer, each once. Raises ValueError when there is no list of names in it."""
        try:
            body: Json = jsontext.parse(data)
        except jsontext.JsonError as error:
            raise ValueError("the answer is not JSON") from error
        found = self.models(body, envelope)
        if not isinstance(found, list):
            raise ValueError("`models_list.models` finds no list in the answer")
        names = [name for name in found if isinstance(name, str) and 0 < len(name) <= MAX_NAME]
        if found and not names:
            raise ValueError("`models_list.models` finds a list without names")
        return list(dict.fromkeys(names))[:MAX_MODELS]


def compile_model_list(source: Source | None, backend: Source, compilation: Compilation) -> ModelList | None:
    """Compile the block; what is wrong in it goes to the compilation's findings."""
    if source is None:
        return None
    children = {"method": _constant(source, "GET")} | {key: source[key] for key in _REQUEST if source.get(key)}
    own = Source(source.document, source.path, {key: child.value for key, child in children.items()}, children)
    auth = backend.get("auth")
    if auth and "passthrough" in auth.value:
        label = "write the names under `models`, or give the proxy a key of its own"
        message = "`models_list` cannot be asked for: the proxy has no key but the clients'"
        compilation.report("E105", message, source.span(key=True), label=label)
    every = compile_seconds(source.get("every"), compilation, EVERY_SECONDS)
    request = compile_request(merge_requests(shared_request(backend), own), compilation)
    return ModelList(request, compile_pick(source["models"], compilation), every)


def _constant(place: Source, value: Json) -> Source:
    return Source(place.document, place.path, value)
