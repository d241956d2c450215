"""An API's document and the name of an operation to a sample of its call: what `init --from-openapi` starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oaiproxy import apicalls, apireplies
from oaiproxy.apioperations import Operation, choose, sibling
from oaiproxy.apispecs import Spec, SpecError, parse_spec
from oaiproxy.jsontext import JsonError
from oaiproxy.samples import Sample


@dataclass(frozen=True, slots=True)
class Described:
    """What a document says of one call. `notes` are for a person to read: what it does not say, and was not read."""

    sample: Sample
    operation: Operation
    name: str
    """What to call the API."""
    notes: Sequence[str]


def sample_of(text: str, operation: str | None = None, server: str | None = None) -> Sample:
    """The sample alone."""
    return described(text, operation, server).sample


def described(text: str, operation: str | None = None, server: str | None = None) -> Described:
    """Read a document, JSON or YAML.

    `operation` is an operation's id, `POST /path` or `/path`; without it, the one that can generate text is taken.
    `server` is the API's address, for documents that do not have the right one. Raises SpecError.
    """
    spec = parse_spec(text)
    chosen = choose(spec, operation)
    try:
        return _described(spec, chosen, server)
    except JsonError as error:
        raise SpecError(f"a value cannot be written as JSON: {error}", chosen.place) from error


def _described(spec: Spec, chosen: Operation, server: str | None) -> Described:
    notes: list[str] = []
    sample = apicalls.call(spec, chosen, server, notes)
    found = apireplies.replies(spec, chosen, notes)
    sample = replace(sample, answer=found.answer, stream=found.stream)
    if found.stream:
        asking = apicalls.streaming(sample.body, spec, chosen)
        if found.answer is None:
            sample = replace(sample, body=asking)
        elif asking != sample.body:
            sample = replace(sample, stream_body=asking)
    elif other := sibling(spec, chosen):
        sample = _beside(sample, spec, other, server, notes)
    if sample.answer is None and sample.stream is None:
        notes.append(f"the document does not say what {chosen.named} answers: give an answer as a sample")
    return Described(sample, chosen, apicalls.api_name(spec, sample.url), tuple(dict.fromkeys(notes)))


def _beside(sample: Sample, spec: Spec, other: Operation, server: str | None, notes: list[str]) -> Sample:
    """The sample with the stream of another operation."""
    found = apireplies.replies(spec, other, notes)
    if found.stream is None:
        return sample
    call = apicalls.call(spec, other, server, notes)
    body = apicalls.streaming(call.body, spec, other)
    return replace(sample, stream=found.stream, stream_url=call.url, stream_body=body if body != sample.body else None)
