"""A command for a POSIX shell to its words, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass


class ShellError(ValueError):
    """The command has no end, or is written for another shell. `position` is the place in the text."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its quotes. `position` is where it begins, `quoted` whether it begins with a quote."""

    text: str
    position: int
    quoted: bool = False


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b", "E": "\x1b"}
_ANSI = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|(.))", re.DOTALL)
_END = re.compile(r"[|;&<>]")
_GAP = re.compile(r"<[A-Za-z_][A-Za-z0-9_ -]*>")
"""What documentation writes where the reader has something of their own."""


def words(text: str) -> list[Word]:
    """The words of the first command in a text; variables are left as they are written. Raises ShellError.

    Quoting is that of https://www.gnu.org/software/bash/manual/html_node/Quoting.html, with `$'...'`; comments and
    what follows a `|`, `;`, `&` or a redirection are left out. A prompt (`$ curl ...`) is a word of its own.
    """
    if re.search(r"\^\s*\r?\n|\^\"|\^\{", text):
        at = re.search(r"\^", text)
        raise ShellError(
            "this is written for Windows' cmd (`^`): copy the command for bash instead", at.start() if at else 0
        )
    made: list[Word] = []
    index = 0
    while index < len(text):
        char = text[index]
        if char in " \t\r\n":
            index += 1
            if char == "\n" and made and made[-1].text != "$":
                index = _after_break(text, index)
        elif char == "\\" and text[index + 1 : index + 2] in ("\n", "\r"):
            index += 3 if text[index + 1 : index + 3] == "\r\n" else 2
        elif char == "#":
            index = (text.find("\n", index) + 1) or len(text)
        elif _END.match(char) and not _GAP.match(text, index):
            break
        else:
            word, index = _word(text, index)
            made.append(word)
    return made


def _after_break(text: str, index: int) -> int:
    """Where to go on after a line break: at once where an option follows, else the command is at its end."""
    rest = text[index:].lstrip()
    return index if rest.startswith(("-", "'", '"', "http")) else len(text)


def _word(text: str, start: int) -> tuple[Word, int]:
    made, index = "", start
    while index < len(text):
        char = text[index]
        if found := _GAP.match(text, index):
            made, index = made + found[0], found.end()
            continue
        if char in " \t\r\n" or (_END.match(char) and not (char in "&<>" and made.startswith(("http", "$")))):
            break
        if text.startswith("$'", index):
            part, index = _ansi(text, index + 2)
        elif char == "'":
            end = text.find("'", index + 1)
            if end < 0:
                raise ShellError("the quote `'` that opens here is not closed", index)
            part, index = text[index + 1 : end], end + 1
        elif char == '"':
            part, index = _double(text, index + 1)
        elif char == "\\":
            part, index = text[index + 1 : index + 2], index + 2
            if part in ("\n", "\r"):
                index += part == "\r"
                part = ""
        else:
            part, index = char, index + 1
        made += part
    return Word(made, start, text[start] in "'\""), index


def _double(text: str, index: int) -> tuple[str, int]:
    made, start = "", index - 1
    while index < len(text):
        char = text[index]
        if char == '"':
            return made, index + 1
        if char == "\\" and index + 1 < len(text):
            following = text[index + 1]
            made += following if following in '"\\`$' else "" if following == "\n" else char + following
            index += 2
        else:
            made += char
            index += 1
    raise ShellError('the quote `"` that opens here is not closed', start)


def _ansi(text: str, index: int) -> tuple[str, int]:
    found = re.compile(r"((?:[^'\\]|\\.)*)'", re.DOTALL).match(text, index)
    if not found:
        raise ShellError("the quote `$'` that opens here is not closed", index - 2)

    def character(part: re.Match[str]) -> str:
        hexadecimal = part[1] or part[2] or part[3]
        if hexadecimal or part[4]:
            return chr(min(int(hexadecimal, 16) if hexadecimal else int(part[4], 8), 0x10FFFF))
        return _ESCAPES.get(part[5], part[5])

    said = _ANSI.sub(character, found[1])
    return said.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), found.end()  # pairs of surrogates
