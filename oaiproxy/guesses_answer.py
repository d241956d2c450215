"""A sample of an answer to the selectors that read it, and to what a client gets of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import jmespath
from jmespath.exceptions import JMESPathError

from oaiproxy.guesses_names import (
    ANSWERED,
    ASIDE,
    CONSTANT,
    COUNTS,
    FINISH,
    ID,
    LISTS,
    REASONING,
    ROLES,
    TEXT,
    WEAK_FINISH,
)
from oaiproxy.guesses_pairs import pairs
from oaiproxy.guesses_tools import whole_calls
from oaiproxy.jsontext import Json
from oaiproxy.leaves import Path, at, inner, keys, leaves, plain, selector
from oaiproxy.sinks import FINISH_REASONS

LEAST = 4
"""The score below which a text is not taken for the answer."""
_BARE_COUNTS = {
    **dict.fromkeys(("prompt", "input", "in"), "prompt"),
    **dict.fromkeys(("completion", "output", "generated", "out"), "completion"),
    "total": "total",
}
"""Names of counts that only say so inside of something that is called after tokens or usage."""
_USAGES = frozenset({"usage", "tokens", "tokenusage", "tokencounts", "billedunits", "tokenscount"})
_CODED = re.compile(r"https?://\S+|[0-9a-fA-F-]{16,}|\d{4}-\d\d-\d\d[T ].*|[\w-]{24,}|[\d.:]+")
"""Addresses, ids and dates."""
_WORD = re.compile(r"[A-Za-z]+([_-][A-Za-z]+)*")


@dataclass(slots=True)
class Answered:
    """What was found in an answer."""

    sinks: dict[str, Json] = field(default_factory=dict)
    replies: dict[str, Json] = field(default_factory=dict)
    finish_reasons: dict[str, str | None] = field(default_factory=dict)
    """Words of which nobody knows what they mean, with a guess."""
    missing: list[str] = field(default_factory=list)


def answered(body: Json, *, prompt: str = "") -> Answered:
    """What a whole answer holds; `text` is absent where it was not found. `prompt` is what was asked."""
    made = Answered()
    text = _best(body, prompt)
    if text is None and isinstance(body, dict):
        state = next((f"{key}: {body[key]}" for key in ("status", "state") if isinstance(body.get(key), str)), "")
        made.replies |= {"state": state} if state else {}
    if text is not None:
        made.sinks["text"], made.replies["text"] = text, search(text, body)
        if echoes(made.replies["text"], prompt):
            made.sinks["strip"] = {"prefix": "{{ prompt }}"}
            made.replies["text"] = made.replies["text"].removeprefix(prompt)
    thought = next((general(path, body) for path, value in leaves(body) if value and _is_reasoning(path, body)), None)
    if thought is not None and thought != text:
        made.sinks["reasoning"], made.replies["reasoning"] = thought, search(thought, body)
    calls = whole_calls(body)
    if calls is not None:
        path, listed = calls
        made.sinks["tool_calls"], made.replies["tool_calls"] = selector(path), listed
        if text is None:
            message = at(body, path[:-1])
            key = next((key for key in ("content", "text") if isinstance(message.get(key, 0), str | None)), "text")
            made.sinks["text"] = selector((*path[:-1], key))
    elif calls_tools(body):
        made.missing.append("how the answer calls tools: write the selector of the calls as `tool_calls`")
    reason = finish_of(body)
    if reason is not None:
        path, word = reason
        made.sinks["finish_reason"] = selector(path)
        made.replies["finish_reason"] = means(word, made.finish_reasons)
    if calls is not None and made.replies.get("finish_reason", "stop") == "stop":
        made.replies["finish_reason"] = "tool_calls"
    usage = counts_of(body)
    if usage:
        made.sinks["usage"] = {part: selector(path) for part, path in usage.items()}
        made.replies["usage"] = {f"{part}_tokens": int(at(body, path)) for part, path in usage.items() if part in PARTS}
    if isinstance(body, dict):
        _named(body, "id", ID, made)
        _named(body, "model", ANSWERED, made)
    return made


PARTS = ("prompt", "completion", "total")
"""The parts of `usage` that are counts of their own."""


def _named(body: dict[str, Json], sink: str, names: Sequence[str] | frozenset[str], made: Answered) -> None:
    found = {plain(key): key for key, value in reversed(body.items()) if isinstance(value, str) and value}
    name = next((name for name in names if name in found), None)
    if name is not None:
        made.sinks[sink], made.replies[sink] = selector((found[name],)), body[found[name]]


def echoes(text: Json, prompt: str) -> bool:
    """Whether an answer begins with what was asked."""
    return isinstance(text, str) and len(prompt) > 3 and text.startswith(prompt) and text != prompt


def search(expression: str, body: Json) -> Json:
    """What an expression finds; None where it does not fit."""
    try:
        return jmespath.search(expression, body)
    except JMESPathError:
        return None


def means(word: str, unknown: dict[str, str | None]) -> str:
    """OpenAI's word for a finish reason; one that is not known is noted, as `stop`."""
    known = FINISH_REASONS.get(word.lower())
    if known is None:
        lower = word.lower()
        unknown.setdefault(word, next((ours for part, ours in _HINTS.items() if part in lower), "stop"))
    return known or unknown[word] or "stop"


_HINTS = {
    **dict.fromkeys(("length", "limit", "max", "truncat"), "length"),
    **dict.fromkeys(("filter", "safety", "block", "policy", "moderat"), "content_filter"),
    **dict.fromkeys(("tool", "function"), "tool_calls"),
}
"""What a part of a finish reason makes one think of."""


def general(path: Path, body: Json) -> str:
    """The selector of a leaf, and of its like in other answers: of a list of pieces all are taken."""
    holder = body
    for place, step in enumerate(path):
        if isinstance(step, int) and place and plain(str(path[place - 1])) not in LISTS | {"0"}:
            rest = path[place + 1 :]
            if any(isinstance(each, int) for each in rest):
                found = pairs(holder)
                if found is not None and not found.path and step == len(holder) - 1:
                    return selector((*path[:place], -1, *rest))
                break
            listed = selector(path[:place])
            if not rest:
                return f"join('', {listed})"
            kind = holder[step].get("type") if isinstance(holder[step], dict) else None
            picked = f"[?type == '{kind}']" if isinstance(kind, str) and kind.isidentifier() else "[]"
            return f"join('', {listed}{picked}.{selector(rest)})"
        holder = holder[step]
    return selector(path)


def assistant_of(*answers: bytes) -> dict[str, str]:
    """What answers, whole ones or streams, call the role that they speak in, by OpenAI's name."""
    words = [each.decode("utf-8", "replace") for answer in answers for each in _SPEAKER.findall(answer)]
    word = next((word for word in words if ROLES.get(plain(word)) == "assistant"), None)
    return {"assistant": word} if word is not None else {}


_SPEAKER = re.compile(rb'"(?:role|author|sender|speaker)"\s*:\s*"([^"\\]{1,40})"')


def _best(body: Json, prompt: str) -> str | None:
    scored = [
        (likely(path, value, body, prompt), path) for path, value in leaves(body) if isinstance(value, str) and value
    ]
    score, path = max(scored, key=lambda each: each[0], default=(0.0, ()))
    return general(path, body) if score >= LEAST else None


def likely(path: Path, text: str, body: Json, prompt: str = "") -> float:
    """How likely a text is the generated one."""
    names = keys(path)
    last = names[-1] if names else "text"
    if last in CONSTANT or last in FINISH or text == prompt or _is_reasoning(path, body) or _is_call(names):
        return 0
    if ASIDE.intersection(names[:-1]):
        return 0
    if any(isinstance(step, int) and step and plain(str(path[place - 1])) in LISTS for place, step in enumerate(path)):
        return 0
    if _CODED.fullmatch(text) and last not in TEXT:
        return 0
    named = max((TEXT.get(name, 0) - 2 * (name != last) for name in names[-2:]), default=9)
    return named + 2 * math.sqrt(min(text.strip().count(" "), 4)) + min(len(text), 300) / 60


def calls_tools(body: Json) -> bool:
    """Whether something in an answer looks like a call of a tool."""
    if any(_is_call([plain(str(path[-1]))]) for path, value in inner(body) if path and value and path[-1] != "error"):
        return True
    kinds = ("tool_use", "tool_call", "function_call")
    return any(value in kinds and path and plain(str(path[-1])) == "type" for path, value in leaves(body))


def _is_call(names: list[str]) -> bool:
    return any(name in ("toolcalls", "toolcall", "functioncall", "arguments", "error", "tooluse") for name in names)


def _is_reasoning(path: Path, body: Json) -> bool:
    """Whether a leaf is a text of the model's thoughts."""
    value, holder = at(body, path), at(body, path[:-1])
    if not isinstance(value, str) or not path or not isinstance(path[-1], str):
        return False
    name = plain(path[-1])
    if name in REASONING:
        return True
    return isinstance(holder, dict) and holder.get("type") in ("thinking", "reasoning") and name in ("text", "content")


def finish_of(body: Json) -> tuple[Path, str] | None:
    """Where an answer says why it ended, and what."""
    told = [(path, value) for path, value in leaves(body) if isinstance(value, str) and value and path]
    for path, value in told:
        if plain(str(path[-1])) in FINISH:
            return path, value
    for path, value in told:
        if plain(str(path[-1])) in WEAK_FINISH and _WORD.fullmatch(value):
            return path, value
    return None


def counts_of(body: Json) -> dict[str, Path]:
    """Where the counts of tokens are, by the part of `usage`; the total only where a part is missing."""
    found: dict[str, Path] = {}
    for path, part in _counts(body):
        found.setdefault(part, path)
    if "prompt" in found and "completion" in found:
        found.pop("total", None)
    if "prompt" not in found:
        found.pop("cached", None)
    if found.keys() == {"total"}:  # of which nobody can tell what is what
        return {}
    order = ("prompt", "completion", "total", "cached", "reasoning")
    return {part: found[part] for part in order if part in found}


def _counts(body: Json) -> Iterator[tuple[Path, str]]:
    for path, value in sorted(leaves(body), key=lambda each: "billed" in str(each[0])):
        if not path or isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdecimal():
            continue
        names = keys(path)
        last = plain(str(path[-1]))
        part = next((part for part, known in COUNTS.items() if last in known), "")
        if not part and _USAGES.intersection(names[:-1]):
            part = _BARE_COUNTS.get(last, "")
        if part:
            yield path, part
