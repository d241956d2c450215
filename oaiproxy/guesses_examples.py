"""A sample, and what was found in it, to the examples of a mapping."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from oaiproxy.guesses_address import Address
from oaiproxy.guesses_answer import Answered
from oaiproxy.guesses_auth import Access
from oaiproxy.guesses_request import Asked
from oaiproxy.guesses_stream import Streamed
from oaiproxy.jsontext import Json, JsonError, parse_lenient
from oaiproxy.leaves import at, rebuilt
from oaiproxy.samples import Received, Sample
from oaiproxy.yamlwriter import Block, Literal, literal


@dataclass(slots=True)
class Call:
    """One of the two calls: its body and its address, as templates and as they are."""

    address: Address
    query: dict[str, Json]
    body: Json
    form: str
    """The key of the body in a request: `body`, `body_form`, `body_multipart` or `body_text`."""
    asked: Asked
    access: Access


def examples(
    sample: Sample, whole: Call, other: Call | None, response: Answered | None, stream: Streamed | None
) -> list[Json]:
    """The rounds that the sample shows, of what was found in it."""
    made: list[Json] = []
    if not whole.asked.request.get("messages"):
        return made
    if response is not None and response.sinks.get("text") and sample.answer is not None:
        made.append(Block(
            name="a whole answer",
            request=literal(whole.asked.request),
            sends=_sends(whole, streams=False if stream is not None else None),
            backend=_whole(sample.answer),
            replies=literal(response.replies),
        ))  # fmt: skip
    if (
        stream is not None
        and not stream.failure
        and (stream.replies.get("text") or stream.replies.get("tool_calls"))
        and sample.stream is not None
    ):
        call = other or whole
        request = {**call.asked.request, "stream": True}
        if "usage" in stream.replies:
            request["stream_options"] = {"include_usage": True}
        made.append(Block(
            name="a stream",
            request=literal(request),
            sends=_sends(call, streams=True),
            backend={"stream": _stream_sample(stream, sample.stream.data)},
            replies=literal(stream.replies),
        ))  # fmt: skip
    return made


def _sends(call: Call, streams: bool | None) -> dict[str, Json]:
    sent = {"query": call.query, "body": call.body}
    if call.asked.stream is not None:
        asks = bool(streams)
        before = at(sent, call.asked.stream)
        sent = rebuilt(
            sent, {call.asked.stream: asks if isinstance(before, bool) else str(asks).lower()}, lambda leaf: leaf
        )
    path = call.address.path
    if sent["query"]:
        path += "?" + urlencode(sent["query"], doseq=True, quote_via=quote, safe="")
    made: dict[str, Json] = {"path": path}
    if sent["body"] is not None:
        made["body"] = literal(sent["body"])
    return made


def _whole(answer: Received) -> dict[str, Json]:
    try:
        return {"json": literal(parse_lenient(answer.data))}
    except JsonError:
        return {"text": _text(answer.data.decode("utf-8", "replace"))}


def _stream_sample(stream: Streamed, data: bytes) -> Json:
    """The stream of an example: its bytes as text, or its frames where they are not text."""
    if stream.keys["format"] != "aws-eventstream":
        try:
            text = data.decode()
        except UnicodeError:
            text = data.decode("utf-8", "replace")
        return _text(text.replace("\r\n", "\n"))
    made: list[Json] = []
    for frame in stream.frames:
        try:
            payload = parse_lenient(frame.data)
        except JsonError:
            payload = frame.data.decode("utf-8", "replace")
        made.append({"event": frame.event, "data": literal(payload)} if frame.event else {"data": literal(payload)})
    return made


def _text(text: str) -> Json:
    """Text as a block where YAML can hold it so, else in quotes."""
    text = text.replace("${", "$${")
    ready = (
        text
        and "\n" in text
        and not text.startswith((" ", "\n", "\t"))
        and all(each.isprintable() or each == "\n" for each in text)
    )
    return Literal(text) if ready else text
