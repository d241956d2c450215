"""`POST /v1/audio/transcriptions`: a recording to calls, a transcript to JSON, text or subtitles.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.answering import ObjectEncoder, kept_here, read_call
from oaiproxy.endpoints.encoding import DONE, EVENT_STREAM, JSON, Encoder, sse
from oaiproxy.events import Usage
from oaiproxy.jsontext import Json
from oaiproxy.parameters import invalid_value

ENDPOINT = "transcriptions"
PLAIN = "text/plain; charset=utf-8"
_STREAMED = ("json", "text")
_GRANULARITIES = ("word", "segment")
_SEGMENT = {"seek": 0, "tokens": [], "temperature": 0.0} | dict.fromkeys(
    ("avg_logprob", "compression_ratio", "no_speech_prob"), 0.0
)
"""What OpenAI's segments hold beside times and text, where the backend does not tell it."""
_TYPES: Mapping[str, Callable[[str], Json]] = {
    "temperature": float,
    "stream": {"true": True, "false": False}.__getitem__,
}
"""How the text of a form's field becomes a value of the field's type."""


def parse(body: Json) -> Call:
    """A request as a call: the fields of a form, texts but for `file`, each of its type."""
    if isinstance(body, dict):
        body = {key.removesuffix("[]"): _typed(key, value) for key, value in body.items()}
    call = read_call(ENDPOINT, body, "file")
    for index, wanted in enumerate(call.fields.get("timestamp_granularities", ())):
        if wanted not in _GRANULARITIES:
            raise invalid_value(f"timestamp_granularities[{index}]", "use 'word' or 'segment'")
    if call.fields.get("stream") and call.fields.get("response_format", "json") not in _STREAMED:
        raise invalid_value("stream", "'json' and 'text' alone can be streamed")
    return kept_here(call, "stream")


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer."""
    return TranscriptEventEncoder(call, identity) if call.fields.get("stream") else TranscriptEncoder(call, identity)


class TranscriptEncoder(ObjectEncoder):
    """A transcript in the format that the client asked for."""

    def __init__(self, call: Call, identity: Identity) -> None:
        super().__init__(call, identity)
        self._format = call.fields.get("response_format", "json")
        self.content_type = JSON if "json" in self._format else PLAIN

    def close(self, usage: Usage | None) -> bytes:
        """The transcript."""
        match self._format:
            case "text":
                return _plain(self.result["text"])
            case "srt":
                return _plain(srt(self.result["segments"]))
            case "vtt":
                return _plain(vtt(self.result["segments"]))
        return jsontext.dump(self.object(usage))

    def written(self, result: Json) -> Json:
        """The transcript; one without a segment has no subtitles."""
        return {**result, "segments": result.get("segments", [])} if self._format in ("srt", "vtt") else result

    def object(self, usage: Usage | None) -> Mapping[str, Json]:
        """The JSON object."""
        found = self.result
        if self._format == "json":
            return {"text": found["text"]}
        segments = found.get("segments", [])
        made: dict[str, Json] = {
            "task": "transcribe",
            "language": found.get("language", self.call.fields.get("language", "")),
            "duration": found.get("duration", segments[-1]["end"] if segments else 0.0),
            "text": found["text"],
        }
        wanted = self.call.fields.get("timestamp_granularities", ["segment"])
        if "words" in found and "word" in wanted:
            made["words"] = [{key: each[key] for key in ("word", "start", "end")} for each in found["words"]]
        if "segments" in found and "segment" in wanted:
            made["segments"] = [{"id": index, **_SEGMENT, **each} for index, each in enumerate(segments)]
        return made


class TranscriptEventEncoder(ObjectEncoder):
    """A transcript as server-sent events: the text, all of it at once, and its end.

    https://platform.openai.com/docs/api-reference/audio/transcript-text-delta-event
    """

    content_type = EVENT_STREAM
    streams = True

    def close(self, usage: Usage | None) -> bytes:
        """All events."""
        text = self.result["text"]
        told = ({"type": "transcript.text.delta", "delta": text}, {"type": "transcript.text.done", "text": text})
        return b"".join(sse(jsontext.dump(each)) for each in told) + DONE


def srt(segments: list[Json]) -> str:
    """Segments as SubRip subtitles: https://www.matroska.org/technical/subtitles.html."""
    cues = (
        f"{number}\n{_time(each['start'], ',')} --> {_time(each['end'], ',')}\n{_cue(each['text'])}\n\n"
        for number, each in enumerate(segments, 1)
    )
    return "".join(cues)


def vtt(segments: list[Json]) -> str:
    """Segments as WebVTT: https://www.w3.org/TR/webvtt1/."""
    cues = (f"{_time(each['start'], '.')} --> {_time(each['end'], '.')}\n{_cue(each['text'])}\n\n" for each in segments)
    return "WEBVTT\n\n" + "".join(cues)


def _plain(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _cue(text: str) -> str:
    """A text that does not end its cue: no empty line, and no arrow."""
    lines = (line.strip() for line in text.replace("-->", "->").splitlines())
    return "\n".join(line for line in lines if line)


def _time(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _typed(key: str, value: Json) -> Json:
    """A field of a form by its type; what does not fit stays text, and is refused as such."""
    key = key.removesuffix("[]")
    if key == "chunking_strategy" and isinstance(value, str) and value.startswith("{"):
        try:
            return jsontext.parse(value)
        except jsontext.JsonError:
            return value
    if key not in _TYPES or not isinstance(value, str):
        return value
    try:
        return _TYPES[key](value.strip())
    except (ValueError, KeyError):
        return value
