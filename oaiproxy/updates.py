"""A mapping's examples to what comes out now: the parts that differ, edited in the file's text and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from oaiproxy.differences import difference, place_name
from oaiproxy.errors import ApiError
from oaiproxy.example_answers import answer_of, parse_example, rounds
from oaiproxy.examples import told_request, with_prompt
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Example, Mapping
from oaiproxy.received import RECEIVED, plain
from oaiproxy.recording import rehearsed, told_outcome, told_requests
from oaiproxy.redaction import redacted_json
from oaiproxy.rehearsal import Rehearsal
from oaiproxy.rewriting import RewriteError, put
from oaiproxy.scalars import Path

_NULLABLE = ("text", "reasoning", "refusal", "logprobs", "annotations")


@dataclass(slots=True)
class Update:
    """The new text, and why parts of it were left as they are."""

    text: str = field(repr=False)
    left: list[str] = field(default_factory=list)


def update(mapping: Mapping, text: str, read_file: Callable[[str], str]) -> Update:
    """The text of a mapping's file with what its examples come to. Only what differs is edited."""
    made = Update(text)
    for index, example in enumerate(mapping.examples):
        for path, value in _edits(mapping, example, read_file, made.left):
            shown = place_name(("examples", index, *path))
            if repr(redacted_json(value, mapping.secrets)) != repr(value):
                made.left.append(f"`{shown}` would hold a secret")
                continue
            try:
                made.text = put(made.text, ("examples", index, *path), value)
            except RewriteError as error:
                made.left.append(str(error))
    return made


def _edits(
    mapping: Mapping, example: Example, read_file: Callable[[str], str], left: list[str]
) -> Iterator[tuple[Path, Json]]:
    """What to write into an example, by paths in it."""
    try:
        call = parse_example(mapping, example)
        answers = [answer_of(mapping, each, read_file) for each in rounds(example)]
    except (ApiError, OSError, ValueError):
        return  # what `check` says of them
    played = rehearsed(mapping, example, call, answers)
    outcome = played.outcome
    if len(played.requests) > len(answers):
        return
    if outcome.error is not None and not example.replies.keys() & {"error", "status"}:
        told = str(outcome.error.get("message"))
        left.append(f"the example `{example.name}` fails, which is for you to say: {told}")
        return
    if not (example.sends or example.sends_like or example.replies):
        for key, value in told_requests(mapping, played, mapping.secrets).items():
            yield (key,), value
        if replies := told_outcome(outcome):
            yield ("replies",), replies
        return
    yield from _sends(mapping, example, played)
    yield from _replies(example, asdict(outcome))


def _sends(mapping: Mapping, example: Example, played: Rehearsal) -> Iterator[tuple[Path, Json]]:
    for key, exact in (("sends", True), ("sends_like", False)):
        wanted = getattr(example, key)
        listed = wanted if isinstance(wanted, list) else [wanted]
        if len(listed) > len(played.requests) > 0:
            yield (key,), listed[: len(played.requests)]
        for index, (each, request, prompt) in enumerate(zip(listed, played.requests, played.prompts, strict=False)):
            told, expanded = told_request(mapping, request), with_prompt(each or {}, prompt)
            place: Path = (key, index) if listed is wanted else (key,)
            for path, value in _sent(expanded, told, place, exact=exact):
                yield path, value if expanded == (each or {}) else _without_prompt(value, prompt() or "")


def _sent(wanted: dict[str, Json], made: dict[str, Json], place: Path, *, exact: bool) -> Iterator[tuple[Path, Json]]:
    for part, value in wanted.items():
        if part == "headers":
            told = {name: made[part][name.lower()] for name in value if name.lower() in made[part]}
            yield from _changes(value, told, (*place, part), exact=True)
        else:
            yield from _changes(value, made[part], (*place, part), exact=exact, open_=not exact)


def _without_prompt(made: Json, prompt: str) -> Json:
    """What is sent, with `{{ chat_prompt }}` in the place of the conversation, as the example had it."""
    match made:
        case dict():
            return {key: _without_prompt(value, prompt) for key, value in made.items()}
        case list():
            return [_without_prompt(value, prompt) for value in made]
        case str() if prompt:
            return made.replace(prompt, "{{ chat_prompt }}")
    return made


def _replies(example: Example, made: dict[str, Json]) -> Iterator[tuple[Path, Json]]:
    gone = [key for key in example.replies if made[key] in (None, []) and example.replies[key] not in (None, [], "")]
    gone = [key for key in gone if key not in _NULLABLE]
    if gone:
        yield ("replies",), {key: made[key] for key in example.replies if key not in gone}
        return
    for key, value in example.replies.items():
        now = made[key] or "" if key == "text" else made[key]
        if key == "text" and not value:
            value = ""
        if key in RECEIVED or key == "logprobs":
            if difference(plain(value), plain(now), exact=False):
                yield ("replies", key), now
        else:
            yield from _changes(value, now, ("replies", key), exact=key == "text")


def _changes(wanted: Json, made: Json, path: Path, *, exact: bool, open_: bool = False) -> Iterator[tuple[Path, Json]]:
    """The smallest edits that make one value of the other; without `exact`, only what is named is wanted.

    With `open_`, null wants a value that may be any.
    """
    if not difference(wanted, made, exact=exact, open_=open_):
        return
    if isinstance(wanted, dict) and isinstance(made, dict) and wanted and wanted.keys() <= made.keys():
        for key in made if exact else wanted:
            if key in wanted:
                yield from _changes(wanted[key], made[key], (*path, key), exact=exact, open_=open_)
            else:
                yield (*path, key), made[key]
    elif isinstance(wanted, list) and isinstance(made, list) and len(wanted) == len(made):
        for index, (one, other) in enumerate(zip(wanted, made, strict=True)):
            yield from _changes(one, other, (*path, index), exact=exact, open_=open_)
    else:
        yield path, made if exact else _named(wanted, made, open_)


def _named(wanted: Json, made: Json, open_: bool) -> Json:
    """Of what came, what is named."""
    if isinstance(wanted, dict) and isinstance(made, dict):
        return {key: _named(wanted[key], made[key], open_) for key in wanted if key in made}
    return None if open_ and wanted is None else made
