"""The strings of an answer that was made from a schema to the one that is the generated text."""

from __future__ import annotations

from collections.abc import Iterator

from oaiproxy.jsontext import Json

SENTENCE = "Hello! I can help you with that."
"""The generated text in an answer that was made from a schema."""


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


def settled(value: Json, text: str = SENTENCE, *, piece: bool = False) -> Json:
    """The value with the one string that is most likely the generated text as `text`.

    An example of it in the document stays, if it is a text of several words and not to be a `piece` of one.
    """
    found = [each for each in _candidates(value) if each.score > 0]
    best = max(found, key=lambda each: each.score, default=None)
    kept = best is not None and best.given and " " in best and not piece
    return _settle(value, None if kept else best, text)


def best_score(value: Json) -> int:
    """The score of the likeliest generated text in a value; 0 without any."""
    return max((each.score for each in _candidates(value)), default=0)


def _settle(value: Json, best: Candidate | None, text: str) -> Json:
    match value:
        case Candidate():
            return text if value is best else str(value)
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
