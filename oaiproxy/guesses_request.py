"""A sample of what is sent to a tree of templates, and to the client's request that gives the sample again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oaiproxy.guesses_constants import passing
from oaiproxy.guesses_messages import Conversation, conversation
from oaiproxy.guesses_names import CONSTANT, HISTORY, MODEL, PARAMETERS, PROMPT, STREAM, SYSTEM
from oaiproxy.guesses_pairs import pairs
from oaiproxy.jsontext import Json
from oaiproxy.leaves import Path, at, inner, keys, leaves, plain, rebuilt
from oaiproxy.yamlwriter import Note, escaped

LEAST = 4
"""The score below which a text is not taken for the prompt."""
_WRITTEN_OUT = re.compile(
    r"<\|[^|>\n]+\|>|\[/?INST\]|^#{2,} *\w+:?|^(human|user|assistant|system|bot|ai):", re.IGNORECASE | re.MULTILINE
)
"""Marks of a conversation that is written out as one text; one alone may be anybody's."""


@dataclass(slots=True)
class Asked:
    """What was found in a request."""

    tree: Json
    """The request as templates, in the form of what was searched."""
    request: dict[str, Json] = field(default_factory=dict)
    """The client's request that gives the sample, without `model` and `stream`."""
    model: str = ""
    stream: Path | None = None
    """Where a flag asks for the stream."""
    missing: list[str] = field(default_factory=list)
    """What is to be done, and has no comment of its own in the tree."""
    noted: list[str] = field(default_factory=list)
    """What is to be done, and has."""


def asked(
    sample: Json, *, prompt: str = "", others: Sequence[Json] = (), spelled: Mapping[str, str] | None = None
) -> Asked:
    """What a request holds: the keys of `sample` are its parts, such as `query` and `body`.

    `prompt` is the prompt, where it is known. `others` are more requests of the API, that show what roles are called
    and whether system text stands by itself; `spelled` are roles that its answers show, by OpenAI's names.
    """
    edits: dict[Path, Json] = {}
    made = Asked(None)
    messages: list[Json] = []
    found = conversation(sample)
    before = pairs(sample) if found is None else None
    kept = found.path if found is not None else before.path if before is not None else None
    path = None if found is not None and not found.history else _prompt(sample, kept, prompt)
    _parameters(sample, edits, made, [] if path is None else [path])
    if found is not None:
        messages = list(found.messages)
    if before is not None and path is not None:
        messages, edits[before.path] = before.messages, before.tree
    if path is not None:
        text = at(sample, path)
        shown, written = text, "{{ prompt }}"
        if prompt and prompt != text:
            head, _, tail = text.partition(prompt)
            shown, written = prompt, escaped(head) + "{{ prompt }}" + escaped(tail)
        elif len(marks := [each[0] for each in _WRITTEN_OUT.finditer(text)]) > 1:
            told = f"the prompt seems to be a conversation written out (`{marks[0].strip()}`)"
            made.missing.append(f"{told}: name the question in it with `--prompt`")
        edits[path] = written if found is not None else Note(written, "the text of the last message")
        messages.append({"role": "user", "content": shown})
    elif found is None:
        made.missing.append("which text of the request is the prompt: write `{{ prompt }}` in its place")
    system = _system(sample, edits, found.path if found is not None else None)
    if system:
        messages.insert(0, {"role": "system", "content": system})
    if found is not None:
        known = [other.spelled for each in others if (other := conversation(each)) is not None]
        separate = bool(system) or any(_system(each, {}, found.path) for each in others)
        edits[found.path], unknown = found.like([*known, spelled or {}]).tree(separate=separate)
        made.noted += unknown
    made.missing += _kept(sample, edits, found)
    for place, told in list(passing(sample, edits)):
        edits[place] = Note(rebuilt(at(sample, place), {}, constant, name=_key), f"TODO: {told}")
        made.noted.append(told)
    if messages:
        made.request = {"messages": messages, **made.request}
    made.tree = rebuilt(sample, edits, constant, name=_key)
    return made


def constant(value: Json) -> Json:
    """A leaf as it stands in a template."""
    return escaped(value) if isinstance(value, str) else value


def _kept(sample: Json, edits: dict[Path, Json], found: Conversation | None) -> Iterator[str]:
    """What stays as it is in the sample, although it belongs to one request."""
    for path, value in _named(sample):
        name = plain(str(path[-1]))
        if name in ("tools", "functions", "toolconfig") and value and path not in edits:
            yield f"how `{path[-1]}` are made of the client's `tools`: they stand here as in the sample"
        if found is None and name in ("messages", "contents", "conversation") and isinstance(value, list) and value:
            yield f"how `{path[-1]}` are made: the sample's hold more than texts, and stand here as they are"


def _key(name: str) -> str:
    return f"${name}" if name.startswith("$") else name


def _prompt(sample: Json, kept: Path | None, known: str) -> Path | None:
    """Where the prompt is; it is nowhere in what stands at `kept`."""
    texts = [
        (path, value)
        for path, value in leaves(sample)
        if isinstance(value, str) and value and (kept is None or path[: len(kept)] != kept)
    ]
    if known:
        exact = [path for path, value in texts if value == known]
        return next(iter(exact or [path for path, value in texts if known in value]), None)
    scored = [(score, path) for path, value in texts if (score := _likely(path[1:], value)) >= LEAST]
    return max(scored, key=lambda each: each[0])[1] if scored else None


def _likely(path: Path, text: str) -> float:
    """How likely a text is the prompt."""
    names = keys(path)
    last = names[-1] if names else "prompt"
    if last in CONSTANT or SYSTEM.intersection(names) or last in MODEL:
        return 0
    if any(last in known for name, known in PARAMETERS.items() if name != "user" or " " not in text):
        return 0
    named = max((PROMPT.get(name, 0) - (name != last) for name in names), default=0) if names else 10
    return (
        named + (3 if " " in text.strip() else 0) + (2 if text.rstrip().endswith("?") else 0) + min(len(text), 90) / 30
    )


def _parameters(sample: Json, edits: dict[Path, Json], made: Asked, taken: list[Path]) -> None:
    for path, value in _named(sample):
        name = plain(str(path[-1]))
        if path in taken:
            continue
        if name in STREAM and (isinstance(value, bool) or value in ("true", "false")):
            edits[path], made.stream = "{{ stream }}", path
        elif name in MODEL and isinstance(value, str) and value and not made.model:
            edits[path], made.model = "{{ model }}", value
        elif (
            name == "responseformat" and isinstance(value, dict) and value.get("type") in ("json_object", "json_schema")
        ):
            edits[path] = "{{ response_format }}"
            made.request["response_format"] = value
        elif name == "tools" and _are_tools(value):
            edits[path] = "{{ request.tools }}"
            made.request["tools"] = value
        else:
            _parameter(path, name, value, edits, made)


def _parameter(path: Path, name: str, value: Json, edits: dict[Path, Json], made: Asked) -> None:
    for known, names in PARAMETERS.items():
        if name not in names or known in made.request or isinstance(value, bool):
            continue
        match known, _typed(value):
            case "stop", list() as texts if texts and all(isinstance(each, str) for each in texts):
                edits[path], made.request[known] = "{{ stop }}", texts
            case "stop", str() as text if text:
                edits[path] = Note("{{ stop | first }}", "one alone, as in the sample")
                made.request[known] = [text]
            case "user", str() as text if text:
                edits[path] = f"{{{{ user | default({_quoted(text)}) }}}}"
                made.request[known] = text
            case "reasoning_effort", "minimal" | "low" | "medium" | "high" as effort:
                edits[path], made.request[known] = "{{ reasoning_effort }}", effort
            case "logit_bias", dict() as biases if biases:
                edits[path], made.request[known] = "{{ logit_bias }}", biases
            case (("max_tokens" | "top_k" | "seed"), int() as number) if number > 0 or known == "seed":
                edits[path], made.request[known] = _number(known, value), number
            case (("temperature" | "top_p" | "presence_penalty" | "frequency_penalty"), int() | float() as number):
                edits[path], made.request[known] = _number(known, value), number
        return


def _number(known: str, value: Json) -> str:
    """The template of a number, which is text where the sample has text."""
    return f"{{{{ {known} | string }}}}" if isinstance(value, str) else f"{{{{ {known} }}}}"


def _typed(value: Json) -> Json:
    """A number where it is written as text, as in a query."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _named(sample: Json) -> Iterator[tuple[Path, Json]]:
    """Every value that has a name, the outermost first; what is in the lists of conversations and tools is not."""
    for path, holder in inner(sample):
        if any(isinstance(step, int) for step in path) or HISTORY.intersection(keys(path)) or "tools" in keys(path):
            continue
        if isinstance(holder, dict):
            yield from (((*path, key), value) for key, value in holder.items())


def _are_tools(value: Json) -> bool:
    """Whether they are OpenAI's tools."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and each.get("type") == "function" and "function" in each for each in value)
    )


def _system(sample: Json, edits: dict[Path, Json], conversation_path: Path | None) -> str:
    """The text that stands for itself beside the conversation; it is given a template."""
    for path, value in leaves(sample):
        if not isinstance(value, str) or not value or path in edits or path == conversation_path:
            continue
        if conversation_path is not None and path[: len(conversation_path)] == conversation_path:
            continue
        place = next((i for i, step in enumerate(path) if isinstance(step, str) and plain(step) in SYSTEM), None)
        if place is None or (len(path) > place + 1 and plain(str(path[-1])) not in ("text", "content")):
            continue
        top = path[: place + 1]
        edits[top] = _conditional(at(sample, top), path[place + 1 :])
        return value
    return ""


def _conditional(value: Json, path: Path) -> Json:
    """The template of the system text, where what stands around it goes with it."""
    if not path:
        return "{{ system }}"
    step, *rest = path
    if isinstance(value, list):
        return [_conditional(item, tuple(rest)) if index == step else item for index, item in enumerate(value)]
    made = {key: _conditional(item, tuple(rest)) if key == step else item for key, item in value.items()}
    return {"$if": "system", **made} if len(made) > 1 else made
