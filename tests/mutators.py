"""Random single edits of a mapping's text, such as people make by mistake: each is one replacement in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from oaiproxy.composer import compose
from oaiproxy.nodes import ListNode, MappingNode, Node, ScalarNode, SourceText

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Edit:
    """`new` in the place of the text from `start` to `end`; `path` is where that is in the document."""

    kind: str
    path: Path
    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]


@dataclass(frozen=True)
class Place:
    """A value, with its key if it has one, and what holds it."""

    path: Path
    key: ScalarNode | None
    node: Node
    parent: Node | None

    @property
    def start(self) -> int:
        return self.key.start if self.key else self.node.start


class Text:
    """A mapping's text, and all the places in it that can be edited: not comments, nor what is only for readers."""

    def __init__(self, text: str, *, examples: bool = False) -> None:
        self.text = text
        root, found = compose(SourceText("mapping.yaml", text))
        assert isinstance(root, MappingNode), found
        self.places = [
            each
            for each in _places(root)
            if not _for_readers(each.path)
            and not (each.key and each.node.start < each.key.start)  # an alias: its text is elsewhere
            and (each.path[0] == "examples") == examples
            and each.path != ("examples",)
        ]
        self.scalars = [each for each in self.places if isinstance(each.node, ScalarNode)]
        self.entries = [each for each in self.places if each.key is not None]
        self.items = [each for each in self.places if isinstance(each.parent, ListNode)]
        spans = [(each.node.start, each.node.end) for each in self.scalars]
        top = min((len(each.path) for each in self.places), default=0)
        self.spots = sorted(
            {at for each in self.places if len(each.path) == top for at in range(each.start, _end(text, each.node))}
            - {at for start, end in _comments(text, spans) for at in range(start, end)}
        )
        """The offsets of all characters that can be edited."""
        self.inside = {at for start, end in spans for at in range(start, end)}
        """Those of them that are in a scalar value."""


def _places(root: MappingNode) -> Iterator[Place]:
    seen: set[int] = set()
    found: list[Place] = [Place((), None, root, None)]
    while found:
        place = found.pop()
        if place.path:
            yield place
        match place.node:
            case MappingNode(entries=entries):
                inner = [Place((*place.path, name), key, node, place.node) for name, (key, node) in entries.items()]
            case ListNode(items=items):
                inner = [Place((*place.path, index), None, node, place.node) for index, node in enumerate(items)]
            case _:
                continue
        if id(place.node) not in seen:  # an alias is its anchor's node once more
            seen.add(id(place.node))
            found += reversed(inner)


def _for_readers(path: Path) -> bool:
    return any(step == "description" or str(step).startswith("x-") for step in path[:1])


def _end(text: str, node: Node) -> int:
    """Where a value ends, without the blank lines after it."""
    end = node.end
    while end > node.start + 1 and text[end - 1] in " \n":
        end -= 1
    return end


def _comments(text: str, scalars: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    inside = {at for start, end in scalars for at in range(start, end)}
    for found in re.finditer(r"(?:(?<=\s)|^)#[^\n]*", text, re.MULTILINE):
        if found.start() not in inside:
            yield found.span()


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _is_block(text: str, place: Place) -> bool:
    """Whether an entry begins its line."""
    return text[_line_start(text, place.start) : place.start].strip() == ""


def _drop(text: str, place: Place, kind: str) -> Edit:
    start, end = place.start, _end(text, place.node)
    if _is_block(text, place):
        start = _line_start(text, start)
        end = text.find("\n", end) + 1 or len(text)
    elif after := re.match(r"\s*,\s*", text[end:]):
        end += after.end()
    elif before := re.search(r",\s*$", text[:start]):
        start = before.start()
    return Edit(kind, place.path, start, end, "")


def drop_key(text: Text, random: Random) -> Edit:
    return _drop(text.text, random.choice(text.entries), "drop a key")


def drop_item(text: Text, random: Random) -> Edit | None:
    return _without_item(text, random.choice(text.items)) if text.items else None


def _without_item(text: Text, place: Place) -> Edit:
    start = text.text.rfind("-", _line_start(text.text, place.start), place.start)
    if start >= 0 and text.text[start + 1 : place.start].strip() == "" and text.text[start - 1] in " \n":
        begin = _line_start(text.text, start)
        end = text.text.find("\n", _end(text.text, place.node)) + 1
        return Edit("drop an item", place.path, begin, end, "")
    return _drop(text.text, place, "drop an item")


def _misspelled(word: str, random: Random) -> str:
    at = random.randrange(len(word))
    match random.randrange(5):
        case 0 if at + 1 < len(word):
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1 if len(word) > 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[: at + 1] + word[at] + word[at + 1 :]
        case 3:
            return word[:at] + word[at].swapcase() + word[at + 1 :]
    return word[:at] + random.choice("aeiost") + word[at + 1 :]


def misspell_key(text: Text, random: Random) -> Edit | None:
    place = random.choice(text.entries)
    assert place.key is not None
    word = text.text[place.key.start : place.key.end]
    return Edit("misspell a key", place.path, place.key.start, place.key.end, _misspelled(word, random))


_WORD = re.compile(r"[A-Za-z_]\w+")


def misspell_word(text: Text, random: Random) -> Edit | None:
    place = random.choice(text.scalars)
    words = list(_WORD.finditer(text.text, place.node.start, _end(text.text, place.node)))
    if not words:
        return None
    word = random.choice(words)
    return Edit("misspell a name", place.path, word.start(), word.end(), _misspelled(word[0], random))


def _at(text: Text, start: int) -> Path:
    """The innermost value around an offset, or before it."""
    holding = [each for each in text.places if each.start <= start <= each.node.end]
    return max(holding, key=lambda each: (each.start, len(each.path))).path if holding else ()


_SIGNS = "{}[]()\"':,|%"


def bracket(text: Text, random: Random) -> Edit | None:
    signs = [spot for spot in text.spots if text.text[spot] in _SIGNS]
    if not signs:
        return None
    at = random.choice(signs)
    new = random.choice(["", text.text[at] * 2, random.choice("{}[]()\"':,")])
    return Edit("break a sign", _at(text, at), at, at + 1, new)


def indentation(text: Text, random: Random) -> Edit | None:
    lines = sorted({_line_start(text.text, at) for at in text.spots})
    at = random.choice(lines)
    blanks = len(text.text[at:]) - len(text.text[at:].lstrip(" "))
    size = random.choice([-2, -1, 1, 2])
    return Edit("break an indentation", _at(text, at + blanks), at, at + blanks, " " * max(0, blanks + size))


_VALUES = {
    "text": ["other", "'7'", '"{{ other }}"'],
    "number": ["7", "-1", "0.5"],
    "bool": ["true", "false"],
    "null": ["~", "null"],
    "list": ["[]", "[other]", "[1, 2]"],
    "map": ["{}", "{other: 1}"],
}


def _type(node: Node) -> str:
    match node:
        case MappingNode():
            return "map"
        case ListNode():
            return "list"
        case ScalarNode(style="", text=text) if re.fullmatch(r"-?[\d.]+", text):
            return "number"
        case ScalarNode(style="", text="true" | "false"):
            return "bool"
        case ScalarNode(style="", text="~" | "null" | ""):
            return "null"
    return "text"


def change_type(text: Text, random: Random) -> Edit:
    place = random.choice(text.scalars if random.random() < 0.8 else text.places)
    kind = random.choice([kind for kind in _VALUES if kind != _type(place.node)])
    return _retyped(text, place, random.choice(_VALUES[kind]))


def _retyped(text: Text, place: Place, new: str) -> Edit:
    start, end = place.node.start, _end(text.text, place.node)
    if text.text[start - 1] == "\n" or (place.key and "\n" in text.text[place.key.end : start]):
        new = " " * (start - _line_start(text.text, start)) + new if text.text[start - 1] == "\n" else new
    return Edit("change a type", place.path, start, end, new)


def swap(text: Text, random: Random) -> Edit | None:
    place = random.choice(text.places)
    match place.parent:
        case MappingNode(entries=entries):
            nodes = [node for _, node in entries.values()]
        case ListNode(items=items):
            nodes = list(items)
        case _:
            return None
    others = [node for node in nodes if node.start > place.node.end]  # an alias stands elsewhere
    if not others:
        return None
    first, second = place.node, random.choice(others)
    one, two = text.text[first.start : _end(text.text, first)], text.text[second.start : _end(text.text, second)]
    if "\n" in one + two:
        return None
    middle = text.text[_end(text.text, first) : second.start]
    if "\n" in middle.strip("\n") and len(middle) > 2000:
        return None
    return Edit("swap two values", place.path, first.start, _end(text.text, second), two + middle + one)


def number(text: Text, random: Random) -> Edit | None:
    place = random.choice(text.scalars)
    numbers = list(re.finditer(r"(?<!\w)\d+", text.text[: place.node.end][place.node.start :]))
    if not numbers:
        return None
    found = random.choice(numbers)
    start, end = place.node.start + found.start(), place.node.start + found.end()
    new = random.choice([str(int(found[0]) + 1), f"{found[0]}0", f"-{found[0]}", "0"])
    return Edit("change a number", place.path, start, end, new)


def constant(text: Text, random: Random) -> Edit | None:
    place = random.choice(text.scalars)
    start, end = place.node.start, _end(text.text, place.node)
    if _type(place.node) != "text" or "{" in text.text[start:end] or "\n" in text.text[start:end]:
        return None
    new = random.choice(["other", f"{text.text[start:end]}s" if text.text[end - 1].isalnum() else "another"])
    return Edit("change a constant", place.path, start, end, new)


def delete_character(text: Text, random: Random) -> Edit | None:
    spots = [spot for spot in text.spots if text.text[spot] not in " \n"]
    if not spots:
        return None
    at = random.choice(spots)
    return Edit("delete a character", _at(text, at), at, at + 1, "")


def duplicate_key(text: Text, random: Random) -> Edit:
    place = random.choice(text.entries)
    start, end = place.start, _end(text.text, place.node)
    if _is_block(text.text, place):
        begin, end = _line_start(text.text, start), text.text.find("\n", end) + 1
        return Edit("duplicate a key", place.path, end, end, text.text[begin:end])
    return Edit("duplicate a key", place.path, end, end, f", {text.text[start:end]}")


def unknown_key(text: Text, random: Random) -> Edit:
    place = random.choice(text.entries)
    word = random.choice(["unknown", "timeout", "model", "prompt", "stream", "parameters"])
    if _is_block(text.text, place):
        blanks = text.text[_line_start(text.text, place.start) : place.start]
        return Edit("add an unknown key", place.path, place.start, place.start, f"{word}: 1\n{blanks}")
    return Edit("add an unknown key", place.path, place.start, place.start, f"{word}: 1, ")


_FILTER = re.compile(r"\s*\|\s*\w+(?:\((?:[^()]|\([^()]*\))*\))?(?=[\s|})])")


def drop_filter(text: Text, random: Random) -> Edit | None:
    filters = [
        (place, found)
        for place in text.scalars
        if "{{" in text.text[place.node.start : place.node.end]
        for found in _FILTER.finditer(text.text, place.node.start, place.node.end)
    ]
    if not filters:
        return None
    place, found = random.choice(filters)
    return Edit("drop a filter", place.path, found.start(), found.end(), "")


_OPERATORS = {
    "==": "!=",
    "!=": "==",
    " > ": " >= ",
    " < ": " > ",
    " and ": " or ",
    " or ": " and ",
    " not ": " ",
    "||": "&&",
    "&&": "||",
    " + ": " - ",
    "[0]": "[1]",
    "[]": "[0]",
    " in ": " not in ",
    "!": "",
}


def operator(text: Text, random: Random) -> Edit | None:
    place = random.choice(text.scalars)
    found = [
        match
        for sign in _OPERATORS
        for match in re.finditer(re.escape(sign), text.text[: place.node.end][place.node.start :])
    ]
    if not found:
        return None
    match = random.choice(found)
    start = place.node.start + match.start()
    return Edit("change an operator", place.path, start, start + len(match[0]), _OPERATORS[match[0]])


MUTATORS: tuple[Callable[[Text, Random], Edit | None], ...] = (
    *(drop_key, drop_key, drop_item, misspell_key, misspell_key, misspell_word, misspell_word, misspell_word),
    *(bracket, bracket, indentation, change_type, change_type, swap, number, constant),
    *(delete_character, duplicate_key, unknown_key, drop_filter, operator, operator),
)
"""What edits there are; those of which people make more stand there more often."""


def edits(text: Text, count: int, seed: str) -> Iterator[Edit]:
    """So many different edits, the same ones for the same seed."""
    random = Random(seed)
    seen = {text.text}
    for _ in range(count * 50):
        if len(seen) > count:
            return
        edit = random.choice(MUTATORS)(text, random)
        if edit is not None and (made := edit.apply(text.text)) not in seen:
            seen.add(made)
            yield edit


def every(text: Text) -> Iterator[Edit]:
    """Each key and item dropped, each value as one of each other type, each sign left out or twice; all different."""
    seen = {text.text}
    for edit in _every(text):
        if (made := edit.apply(text.text)) not in seen:
            seen.add(made)
            yield edit


def _every(text: Text) -> Iterator[Edit]:
    yield from (_drop(text.text, place, "drop a key") for place in text.entries)
    yield from (_without_item(text, place) for place in text.items)
    for place in text.places:
        yield from (_retyped(text, place, news[0]) for kind, news in _VALUES.items() if kind != _type(place.node))
    for at in text.spots:
        if (sign := text.text[at]) in _SIGNS:
            yield from (Edit("break a sign", _at(text, at), at, at + 1, new) for new in ("", sign * 2))
