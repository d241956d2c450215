"""A model made of rules: what it says to a script, with tools, pictures and shapes; no chance, no clock.

It calls a skill where skills are given and a human spoke last, fills arguments and shapes by their schemas with what
the prompt holds (`k=v`, quoted words, numbers), says what it is told to say exactly, and tells the outcome of a skill.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]

EXACTLY = re.compile(r"exactly:? +(.+?)\s*$", re.IGNORECASE | re.DOTALL)
PAIR = re.compile(r"([A-Za-z_]\w*)=(?:'([^']*)'|\"([^\"]*)\"|([^\s,;)]+))")
QUOTED = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"|`([^`\n]+)`")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
TOKEN = re.compile(r"\s*\S+\s*$|\s*\S+")


@dataclass
class Said:
    """What the model says: thoughts, words, uses of skills `(skill, arguments)`, and why it ended."""

    thoughts: str = ""
    words: str = ""
    uses: list[tuple[str, Any]] = field(default_factory=list)
    why: str = "ended"


def speak(asked: dict[str, Any]) -> Said:
    """The answer to a request of `/speak`."""
    script = asked.get("script", [])
    last = script[-1] if script else {"by": "human", "says": []}
    words = prompt(asked)
    outcomes = [part["outcome"] for part in last["says"] if "outcome" in part]
    skills = asked.get("skills", [])
    must = asked.get("must")
    said = Said(thoughts="Let me see." if "think" in words.lower() else "")
    if skills and must != "none" and last["by"] == "human" and not outcomes:
        said.uses = uses(skills, words, must, bool(asked.get("one_at_a_time")))
        said.why = "skill"
        return said
    if asked.get("shape"):
        source = words or " ".join(outcome.get("words", "") for outcome in outcomes)
        said.words = json.dumps(_shape(asked["shape"], source), ensure_ascii=False)
    elif exact := EXACTLY.search(words):
        said.words = unquoted(exact[1])
    elif outcomes:
        said.words = "It came to: " + "; ".join(outcome.get("words", "") for outcome in outcomes)
    else:
        pictures = [part["picture"] for part in last["says"] if "picture" in part]
        seen = "".join(f" I see {picture.get('kind') or picture.get('at')}." for picture in pictures)
        said.words = f"You said: {words}{seen}"
    return limited(said, asked)


def limited(said: Said, asked: dict[str, Any]) -> Said:
    """Cut at a halt word, or where the budget is spent."""
    for halt in asked.get("halt", []):
        said.words = said.words.split(halt)[0]
    budget = asked.get("budget")
    tokens = TOKEN.findall(said.words)
    if budget is not None and len(tokens) > budget:
        said.words, said.why = "".join(tokens[:budget]), "budget"
    return said


def prompt(asked: dict[str, Any]) -> str:
    """The words of what was said last."""
    script = asked.get("script", [])
    return " ".join(part["words"] for part in script[-1]["says"] if "words" in part) if script else ""


def unquoted(text: str) -> str:
    """The text without quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"`" else text


def uses(skills: list[dict[str, Any]], words: str, must: Any, single: bool) -> list[tuple[str, Any]]:
    """The skills that are used, with arguments: the one that must be, else those that are named, else the first."""
    by_title = {skill["title"]: skill for skill in skills}
    if isinstance(must, dict):
        chosen = [by_title[must["skill"]]]
    else:
        named = [(words.find(title), title) for title in by_title if title in words]
        chosen = [by_title[title] for _, title in sorted(named)] or [skills[0]]
    quoted = _quoted(words)
    if len(chosen) == 1 and re.search(r"\b(both|each)\b", words) and quoted:
        texts = [f"'{word}'" for word in quoted]
    else:
        texts = [words] * len(chosen)
        chosen = chosen if len(texts) == len(chosen) else chosen * len(texts)
    if len(chosen) == 1:
        chosen = chosen * len(texts)
    made = [
        (skill["title"], fill(skill.get("accepts") or {}, Reader(text)))
        for skill, text in zip(chosen, texts, strict=True)
    ]
    return made[:1] if single else made


def _quoted(words: str) -> list[str]:
    return [next(group for group in found if group) for found in QUOTED.findall(words)]


class Reader:
    """What a prompt holds for arguments: pairs by name; quoted words and numbers, each used once, the last again."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.pairs = {found[0]: found[1] or found[2] or found[3] for found in PAIR.findall(words)}
        rest = PAIR.sub(" ", words)
        self.quoted = _quoted(rest)
        self.numbers = [float(found) if "." in found else int(found) for found in NUMBER.findall(rest)]
        self.numbers += [
            int(found) for found in re.findall(r"(?<=\()\d+(?=\))", rest) if int(found) not in self.numbers
        ]

    def text(self, name: str) -> str:
        """A text for the property of that name."""
        if name in self.pairs:
            return self.pairs[name]
        if self.quoted:
            return self.quoted.pop(0) if len(self.quoted) > 1 else self.quoted[0]
        return self.words.strip() or name

    def number(self, name: str, whole: bool) -> float | int:
        """A number for the property of that name."""
        if name in self.pairs and NUMBER.fullmatch(self.pairs[name]):
            found = float(self.pairs[name])
        elif self.numbers:
            found = self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0]
        else:
            found = 1
        return int(found) if whole or float(found).is_integer() else found


def fill(schema: Schema, reader: Reader, name: str = "value", root: Schema | None = None) -> Any:
    """A value that the schema allows, of what the reader holds."""
    root = schema if root is None else root
    if "$ref" in schema:
        return fill(_resolved(schema["$ref"], root), reader, name, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        wanted = reader.pairs.get(name, reader.words)
        return next((each for each in schema["enum"] if str(each) in wanted), schema["enum"][0])
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            real = [each for each in schema[key] if each.get("type") != "null"]
            return fill(real[0], reader, name, root) if real else None
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    match kind:
        case "object":
            properties = schema.get("properties", {})
            wanted = schema.get("required") or list(properties)
            return {key: fill(properties.get(key, {}), reader, key, root) for key in properties if key in wanted}
        case "array":
            count = max(schema.get("minItems", 0), 1)
            return [fill(schema.get("items", {}), reader, name, root) for _ in range(count)]
        case "integer" | "number":
            return reader.number(name, kind == "integer")
        case "boolean":
            return reader.pairs.get(name, "true").lower() != "false"
        case "null":
            return None
    return reader.text(name)


def _shape(shape: Any, words: str) -> Any:
    """What fills a shape; one without a schema is an object with the quoted words as its keys."""
    if shape == "any":
        return {key: f"a {key}" for key in _quoted(words)} or {"said": words}
    return fill(shape, Reader(words))


def _resolved(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")] if step else found
    assert isinstance(found, dict)
    return found


def vector(text: str, size: int = 8) -> list[float]:
    """A vector for a text: the same for the same, of length 1, and exact in 32 bits."""
    counts = [1.0] * size
    for at, character in enumerate(text):
        counts[(ord(character) + at) % size] += 1
    return [count / 64 for count in counts]
