"""Text in pieces to what of it the client gets: echoes and tokens taken out, reasoning told apart, cut at a stop.

Every filter gives the same wherever its text is cut: what may yet become a word that it looks for is held back, and
goes out when it turns out not to be one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from oaiproxy.events import Kind


class _Filter(Protocol):
    """Text in, text out. `more` is false for the last piece, after which nothing is held."""

    def feed(self, text: str, more: bool) -> str: ...


class Finder:
    """Looks for words, which are not empty: the leftmost, and of those that begin there the longest."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._firsts = frozenset(word[0] for word in words)
        self._longest = max(map(len, words))
        self._pattern = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))

    def find(self, text: str, at: int, more: bool) -> tuple[int, int]:
        """Where the text from `at` is clear of words up to, and where the word ends that follows.

        The end is -1 when no word follows: then the rest may be the beginning of one, or is empty.
        """
        open_from = self._opening(text, at) if more else len(text)
        found = self._pattern.search(text, at)
        if found is None or found.start() >= open_from:
            return open_from, -1
        return found.span()

    def _opening(self, text: str, at: int) -> int:
        """Where a word may begin that goes on after the text."""
        for start in range(max(at, len(text) - self._longest + 1), len(text)):
            if text[start] in self._firsts:
                rest = text[start:]
                if any(len(word) > len(rest) and word.startswith(rest) for word in self._words):
                    return start
        return len(text)


class Tokens:
    """Takes literal texts out wherever they stand."""

    def __init__(self, words: Sequence[str]) -> None:
        self._finder = Finder(words)
        self._held = ""

    def feed(self, text: str, more: bool) -> str:
        """The text without them."""
        text, at, kept = self._held + text, 0, []
        while True:
            start, end = self._finder.find(text, at, more)
            kept.append(text[at:start])
            if end < 0:
                self._held = text[start:]
                return "".join(kept)
            at = end


class Prefix:
    """Takes a text out that stands at the very beginning, once."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen = 0
        """How many characters of it came; -1 when it is decided."""

    def feed(self, text: str, more: bool) -> str:
        """The text without it."""
        if self._seen < 0:
            return text
        prefix, seen = self._prefix, self._seen
        rest = len(prefix) - seen
        if len(text) >= rest and text.startswith(prefix[seen:]):
            self._seen = -1
            return text[rest:]
        if more and prefix.startswith(text, seen):
            self._seen += len(text)
            return ""
        self._seen = -1
        return prefix[:seen] + text


class Suffix:
    """Takes a text out that stands at the very end, once."""

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix
        self._held = ""

    def feed(self, text: str, more: bool) -> str:
        """The text without it."""
        text = self._held + text
        if not more:
            self._held = ""
            return text.removesuffix(self._suffix)
        for start in range(max(0, len(text) - len(self._suffix)), len(text)):
            if self._suffix.startswith(text[start:]):
                self._held = text[start:]
                return text[:start]
        self._held = ""
        return text


class ReasoningTags:
    """Tells what stands between two tags from the rest; the tags are taken out, those out of place are text.

    Without an opening one, the text begins between them.
    """

    def __init__(self, opening: str | None, closing: str) -> None:
        self._finder = Finder(tuple(dict.fromkeys(tag for tag in (opening, closing) if tag is not None)))
        self._tags = (opening, closing)
        self._inside = opening is None
        self._held = ""

    def feed(self, text: str, more: bool) -> list[tuple[Kind, str]]:
        """The pieces of the text, each with what it is."""
        text, at, told = self._held + text, 0, []
        while True:
            start, end = self._finder.find(text, at, more)
            kind: Kind = "reasoning_content" if self._inside else "content"
            turns = end >= 0 and text[start:end] == self._tags[self._inside]
            upto = end if end >= 0 and not turns else start
            if upto > at:
                told.append((kind, text[at:upto]))
            if end < 0:
                self._held = text[start:]
                return told
            self._inside ^= turns
            at = end


class Stop:
    """Cuts text at the first of the client's stop strings: neither it nor what follows goes out."""

    def __init__(self, words: Sequence[str]) -> None:
        shortest = [word for word in words if not any(other != word and word.startswith(other) for other in words)]
        self._finder = Finder(shortest)
        self._held = ""
        self.found: str | None = None
        """The one that it was cut at."""

    def feed(self, text: str, more: bool) -> str:
        """The text up to there."""
        if self.found is not None:
            return ""
        text = self._held + text
        start, end = self._finder.find(text, 0, more)
        self.found = text[start:end] if end >= 0 else None
        self._held = text[start:] if self.found is None else ""
        return text[:start]


@dataclass(frozen=True, slots=True)
class Terms:
    """What one request says about how its answer reads: what `strip` rendered to, and where the proxy cuts."""

    prefix: str = ""
    suffix: str = ""
    stop: tuple[str, ...] = ()
    choices: int = 1
    """How many choices the client asked for."""
    custom: frozenset[str] = frozenset()
    """The tools that take text, by name."""
    single: bool = False
    """Whether the client wants one tool call at most."""


NO_TERMS = Terms()


class TextFilters:
    """The way of one choice's text: prefix, tokens, suffix, then reasoning apart, then the stop strings."""

    def __init__(self, terms: Terms, tokens: Sequence[str], tags: tuple[str | None, str] | None) -> None:
        self._ways: list[_Filter] = []
        if terms.prefix:
            self._ways.append(Prefix(terms.prefix))
        if tokens:
            self._ways.append(Tokens(tokens))
        if terms.suffix:
            self._ways.append(Suffix(terms.suffix))
        self._tags = ReasoningTags(*tags) if tags else None
        self._stop = Stop(terms.stop) if terms.stop else None

    @property
    def stopped(self) -> bool:
        """Whether a stop string came."""
        return self.stop is not None

    @property
    def stop(self) -> str | None:
        """The stop string that came."""
        return None if self._stop is None else self._stop.found

    def feed(self, text: str, more: bool = True) -> list[tuple[Kind, str]]:
        """What goes out, piece by piece."""
        for way in self._ways:
            text = way.feed(text, more)
        told: list[tuple[Kind, str]] = [("content", text)]
        if self._tags is not None:
            told = self._tags.feed(text, more)
        if self._stop is None:
            return [piece for piece in told if piece[1]]
        made: list[tuple[Kind, str]] = []
        for kind, piece in told:
            if self._stop.found is None:
                made.append((kind, self._stop.feed(piece, True) if kind == "content" else piece))
        if not more:
            made.append(("content", self._stop.feed("", False)))
        return [piece for piece in made if piece[1]]
