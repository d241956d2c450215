"""A template that Jinja cannot read to what is wrong in it and how it is mended, in the words of mappings."""

from __future__ import annotations

import re
from collections.abc import Callable

from jinja2 import TemplateSyntaxError

from oaiproxy.analysis import Finding

_MARKED = re.compile(r"\w+|-?[%}]\}|\S")
"""What is marked of the text, from where an error is on."""


def explain(text: str, error: TemplateSyntaxError) -> Finding:
    """The finding for an error of `Sandbox.tree`, whose `lineno` is an offset in the text."""
    at = error.lineno
    message = re.sub(r" at \d+$", "", (error.message or "cannot be read").rstrip("."))
    message = message[0].lower() + message[1:]
    plain, label = message, ""
    for look in _LOOKS:
        if seen := look(text, at, message):
            at, plain, label = seen
            break
    else:
        for pattern, words, fix in _SYNTAX:
            if found := re.fullmatch(pattern, message, re.DOTALL):
                plain, label = found.expand(words), found.expand(fix)
                break
    marked = _MARKED.match(text, at)
    return Finding("E201", f"template syntax: {plain}", at, len(marked[0]) if marked else 1, label)


_Seen = tuple[int, str, str] | None
"""Where the mistake is, what it is, and the fix."""


def _lost_opener(text: str, at: int, message: str) -> _Seen:
    """A tag that belongs to no other, because that lost its `{%`: what is said of the later one follows from it."""
    if "unknown tag" not in message:
        return None
    stray = next((found.start() for found in _PARTS.finditer(text, 0, at) if found["stray"]), None)
    return None if stray is None else (stray, "`%}` closes nothing", "open it with `{%`")


_PARTS = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|(?P<stray>-?%\})", re.DOTALL)


def _other_closer(text: str, at: int, message: str) -> _Seen:
    """`{{ %}`, `{% }}`, or one brace where two signs are due."""
    if not re.fullmatch(r"unexpected '\}'", message):
        return None
    opens = "{%" if text.rfind("{%", 0, at) > text.rfind("{{", 0, at) else "{{"
    closes = "%}" if opens == "{%" else "}}"
    if text[at - 1] == "%" and opens == "{{":
        at -= 2 if text[at - 2] == "-" else 1
    return at, f"`{opens}` is not closed by `{closes}`", f"write `{closes}`"


def _three_braces(text: str, at: int, message: str) -> _Seen:
    """`{{{ name }}}`, as other template languages have it."""
    three = text.rfind("{{{", 0, at)
    if three < 0 or not re.fullmatch(r"expected token ':', got '\}'", message):
        return None
    return three, "`{{{` opens an object in an expression", "write two braces: `{{ name }}`"


def _tag(text: str, at: int, message: str) -> _Seen:
    """Tags of other languages, and tags that belong to none before them."""
    found = re.match(r"encountered unknown tag '(\w+)'", message)
    block = re.search(r"block that needs to be closed is '(\w+)'", message)
    if found is None:
        behind_else = message.endswith("got 'if'") and _word_before(text, at) == "else"
        return (text.rfind("else", 0, at), "`else` takes no condition", "write `elif`") if behind_else else None
    tag = found[1]
    if tag.startswith("end") and block:
        return at, f"`{{% {block[1]} %}}` is not closed by `{tag}`", f"write `{{% end{block[1]} %}}`"
    if tag.startswith("els") and block:
        return at, f"unknown tag `{tag}`", "write `elif`"
    if tag.startswith(("end", "else", "elif")):
        return at, f"no tag is open that `{tag}` belongs to", "leave it out, or open its tag before it"
    return None


def _operator(text: str, at: int, message: str) -> _Seen:
    """Operators and constants of other languages."""
    got = re.fullmatch(r"(?:expected token 'end of \w+ (?:statement|block)', got|unexpected) '(\S+)'", message)
    if got and got[1] == "=":
        return at, "`=` compares nothing", "write `==`"
    if got and got[1].lower() in _WORDS and got[1] not in _WORDS:
        return at, f"`{got[1]}` is no operator", f"write `{got[1].lower()}`"
    if got and (word := _word_before(text, at)) != "not" and word.lower() == "not":
        return text.rfind(word, 0, at), f"`{word}` is no operator", "write `not`"
    if message == "unexpected char '`'":
        constant = re.compile("`([^`]+)`").match(text, at)
        label = f"write `{constant[1]}` without back-ticks" if constant else "leave it out"
        return at, "back-ticks are for selectors, not for templates", label
    return None


_WORDS = ("and", "or", "not", "in", "is")


def _word_before(text: str, at: int) -> str:
    found = re.search(r"(\w+)\s*$", text[:at])
    return found[1] if found else ""


_LOOKS: tuple[Callable[[str, int, str], _Seen], ...] = (_lost_opener, _other_closer, _three_braces, _tag, _operator)
"""Mistakes that Jinja's message alone does not tell."""

_SYNTAX = (
    (r"unexpected end of template, expected 'end of print statement'", "`{{` is never closed", "close it with `}}`"),
    (r"unexpected end of template, expected 'end of statement block'", "`{%` is never closed", "close it with `%}`"),
    (r"encountered unknown tag '(.*?)'.*", r"unknown tag `\1`", "the tags are `if`, `for` and `set`"),
    (r".*innermost block that needs to be closed is '(\w+)'", r"`{% \1 %}` is never closed", r"add `{% end\1 %}`"),
    (r"unexpected ('end of template'|end of template, .*)", "the text ends inside of a tag", "close what is open"),
    (
        r"missing end of comment tag",
        "`{#` begins a comment that is never closed",
        "close it with `#}`, or write `{{ '{#' }}`",
    ),
    (r"expected an expression, got 'end of .*'", "a value is missing", "write what the tag is about"),
    (r"unexpected 'end of print statement'", "a value is missing", "write it before `}}`"),
    (r"unexpected 'end of statement block'", "a value is missing", "write it before `%}`"),
    (r"unexpected char '&'", "`&` is no part of an expression", "write `and`; `a ~ b` joins text"),
    (
        r"unexpected char '\?'",
        "`?` is no part of an expression",
        "write `a if condition else b`, or `a | default(b)`",
    ),
    (r"unexpected char '!'", "`!` is no part of an expression", "write `not`"),
    (r"expected token 'name', got '\|'", "`||` is no part of an expression", "write `or`, or `| default(...)`"),
    (r"unexpected char ['\"](['\"])['\"]", "a text is not closed", r"write `\1` behind it"),
    (r"unexpected char '(.*)'", r"`\1` is no part of an expression", "`a if b else c` chooses, `a ~ b` joins text"),
    (r"expected token 'end of print statement', got '(.*)'", r"`\1` stands behind a whole value", "`~` joins text"),
    (
        r"expected token 'end of statement block', got '(.*)'",
        r"`\1` stands behind a whole tag",
        "leave it out; `and`, `or` and `~` join",
    ),
    (r"expected token 'name', got 'end of .*'", "a filter's name is missing", "write it behind `|`, or leave that out"),
    (r"unexpected '.*', expected '(.*)'", r"`\1` is missing", r"write `\1` before it"),
    (r"expected token '(.*)', got 'end of .*'", r"`\1` is missing", r"write `\1` before it"),
    (r"expected token '(.*)', got '(.*)'", r"expected `\1`, found `\2`", r"write `\1` before it"),
)
"""Jinja's messages in the words of mappings, and the fix."""
