"""What PyYAML's parser says is wrong to a diagnostic that says what to change, and where."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import yaml

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.nodes import SourceText, short

_QUOTED = r""""(?:\\.|[^"\\])*"|'(?:[^']|'')*'"""
_VALUE_STARTS = re.compile(r"(^|[:\[,{-])\s*$")
_BEFORE_TEMPLATE = re.compile(rf"""(?:{_QUOTED}|(?!\s#|\{{[{{%#])[^"'])*(?=\{{[{{%#])""")
_TEMPLATE = re.compile(r"\{\{(?:[^{}]|\{[^{}]*\})*\}\}|\{%.*?%\}|\{#.*?#\}|\{.*")
_QUOTE_HELP = "put the whole value in quotes"


@dataclass(frozen=True, slots=True)
class _Fault:
    """What PyYAML says: `problem` at offset `at`, in a `context` that began at offset `opened`."""

    source: SourceText
    problem: str
    context: str
    at: int
    opened: int
    flow: int | None
    """Where the innermost unclosed `[` or `{` stands."""

    @property
    def before(self) -> str:
        """What stands before the problem on its line."""
        start, line = self.source.line_of(self.at)
        return line[: self.at - start]

    @property
    def word(self) -> str:
        found = re.match(r"[^\s,\]}]+|\S", self.source.text[self.at : self.at + 80])
        return found[0] if found else ""

    def report(self, message: str, start: int, length: int, help_: str = "") -> Diagnostic:
        return Diagnostic("E001", message, self.source.span(start, start + length), help=help_)

    def report_word(self, message: str, help_: str = "") -> Diagnostic:
        return self.report(message, self.at, len(self.word), help_)


def syntax_error(source: SourceText, error: Exception, flow: int | None) -> Diagnostic:
    """The parser's error explained; `flow` is where the innermost unclosed `[` or `{` stands."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Diagnostic("E001", "not valid YAML", source.span(0, 0), help=_QUOTE_HELP)
    at = error.problem_mark.index
    opened = error.context_mark.index if error.context_mark else at
    fault = _Fault(source, error.problem or "", error.context or "", at, opened, flow)
    for recognise in _SYNTAX_ERRORS:
        if found := recognise(fault):
            return found
    problem = re.sub(r"'([^']+)'", r"`\1`", fault.problem).replace(r"`\x00`", "the end of the file")
    return fault.report_word(f"not valid YAML: {problem}", "text with special characters needs quotes")


def runaway_quote(source: SourceText, line: int) -> tuple[int, Diagnostic] | None:
    """The finding for a quote that is closed on another line than it is opened, where `line` tells that this is wrong.

    With the line that closes it: what was found from there on is the rest of this.
    """
    found = None
    try:
        for token in yaml.scan(source.text, Loader=yaml.SafeLoader):
            if token.start_mark.line + 1 >= line:
                break
            quoted = isinstance(token, yaml.ScalarToken) and token.style in ("'", '"')
            if quoted and token.start_mark.line < token.end_mark.line and token.end_mark.line + 1 <= line:
                found = token
    except (yaml.YAMLError, ValueError, OverflowError):  # PyYAML lets those of its chr() and int() through
        pass
    if found is None or found.end_mark.line + 1 != line:
        return None
    at, quote = found.start_mark.index, source.text[found.start_mark.index]
    message = f"the quote `{quote}` is not closed on its line"
    help_ = f"close it with `{quote}`, or take it out: it goes on to line {line}"
    return line, Diagnostic("E001", message, source.span(at, at + 1), help=help_)


def unquoted_template(source: SourceText, start: int) -> Diagnostic:
    """The finding for Jinja that YAML reads as a mapping, because it is not in quotes."""
    line_start, line = source.line_of(start)
    found = _TEMPLATE.match(line, start - line_start)
    template = found[0].rstrip() if found else "{{"
    before, after = line[: start - line_start], line[start - line_start + len(template) :]
    help_ = _QUOTE_HELP
    quoted = f"'{template}'" if '"' in template else f'"{template}"'
    if _VALUE_STARTS.search(before) and re.match(r"\s*([,\]}]|#|$)", after) and template.endswith("}"):
        help_ = f"put it in quotes: {quoted}"
    elif re.search("[\u2018-\u201e]$", before) and re.match("[\u2018-\u201e]", after):
        help_ = f"write straight quotes: {quoted}"
    message = f"`{template[:2]}` outside quotes is read as YAML, not as a template"
    return Diagnostic("E001", message, source.span(start, start + len(template)), help=help_)


def _template_fault(fault: _Fault) -> Diagnostic | None:
    for offset in (fault.at, fault.opened, fault.flow or 0):
        start, line = fault.source.line_of(offset)
        found = _BEFORE_TEMPLATE.match(line)
        # inside plain text a template is text as well: YAML stumbles over it on that very line, or not at all
        if found and (start <= fault.at <= start + len(line) or _VALUE_STARTS.search(found[0])):
            return unquoted_template(fault.source, start + found.end())
    return None


def _interpolation_fault(fault: _Fault) -> Diagnostic | None:
    start = fault.at - 1
    found = re.compile(r"\$\{[^}\r\n]*\}?").match(fault.source.text, max(start, 0))
    if fault.flow is None or not found:
        return None
    message = f"`{found[0]}` must be in quotes inside `[...]` and `{{...}}`"
    return fault.report(message, start, len(found[0]), f'write "{found[0]}"')


def _tab_fault(fault: _Fault) -> Diagnostic | None:
    start, line = fault.source.line_of(fault.at)
    tab = line[: len(line) - len(line.lstrip())].find("\t")
    if tab >= 0:
        return fault.report("a tab stands in the indentation", start + tab, 1, "indent with spaces")
    if fault.source.text[fault.at : fault.at + 1] == "\t":
        return fault.report("a tab stands where YAML wants a space", fault.at, 1, "replace the tab by a space")
    return None


def _blank_fault(fault: _Fault) -> Diagnostic | None:
    """A blank that is none to YAML, on the line or the one above."""
    end = fault.at - len(fault.before)
    for start, line in ((end, fault.source.line_of(fault.at)[1]), fault.source.line_of(max(end - 1, 0))):
        if found := _ODD_BLANK.match(line):
            message = "a blank that YAML does not know, such as a no-break space, stands in the indentation"
            return fault.report(message, start + found.start(1), len(found[1]), "indent with plain spaces")
    return None


_ODD_BLANK = re.compile(r" *([\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufeff]+)")


def _start_fault(fault: _Fault) -> Diagnostic | None:
    if "cannot start any token" in fault.problem:
        at = fault.at
    elif re.search("an? (alias|anchor|tag)$", fault.context):
        at = fault.opened
    else:
        return None
    sign = fault.source.text[at]
    shown = "a backtick" if sign == "`" else f"`{sign}`"
    return fault.report(f"text outside quotes cannot start with {shown}", at, 1, _QUOTE_HELP)


def _quote_fault(fault: _Fault) -> Diagnostic | None:
    if "quoted scalar" not in fault.context:
        return None
    if "escape" in fault.problem:
        at = fault.source.text.rfind("\\", fault.opened, fault.at + 1)
        escape = fault.source.text[at : at + 2]
        help_ = r"write `\\` for a backslash, or use single quotes"
        return fault.report(f"`{escape}` is not an escape of YAML", at, len(escape), help_)
    quote = fault.source.text[fault.opened]
    return fault.report(f"the quote `{quote}` is never closed", fault.opened, 1, f"close it with `{quote}`")


def _flow_fault(fault: _Fault) -> Diagnostic | None:
    if fault.flow is None:
        return None
    opening = fault.source.text[fault.flow]
    closing = {"[": "]", "{": "}"}.get(opening, "")
    if fault.word and fault.source.place(fault.flow)[0] == fault.source.place(fault.at)[0]:
        help_ = "text that holds `,`, `: ` or brackets needs quotes"
        return fault.report_word(f"expected `,` or `{closing}`, found `{fault.word}`", help_)
    return fault.report(f"the `{opening}` is never closed", fault.flow, 1, f"close it with `{closing}`")


def _colon_fault(fault: _Fault) -> Diagnostic | None:
    if "mapping values are not allowed" not in fault.problem:
        return None
    if re.search(r":\s", fault.before):
        return fault.report("a second `: ` stands in text outside quotes", fault.at, 1, _QUOTE_HELP)
    above = fault.source.text[: fault.at - len(fault.before)].rstrip()
    if found := _missing_space(fault, *fault.source.line_of(len(above))):
        return found
    key = fault.before.strip()
    column = len(fault.before) - len(fault.before.lstrip())
    if found := _lost_colon(fault.source, len(above), column):
        return found
    help_ = "keys of one mapping start in the same column"
    return fault.report(f"`{key}` is indented too deep", fault.at - len(fault.before.lstrip()), len(key), help_)


def _lost_colon(source: SourceText, end: int, column: int) -> Diagnostic | None:
    """The finding for the line above that stands where a key would, and holds none: text up to `end` follows it."""
    while end > 0:
        start, line = source.line_of(end - 1)
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= column:
            break
        end = start - 1
    else:
        return None
    word = re.match(r"[^\s:#]+", line.strip())
    if indent < column or word is None or re.search(r":(\s|$)", line):
        return None
    message = f"`{short(word[0])}` stands where a key does, without `: ` behind it"
    span = source.span(start + indent, start + indent + len(word[0]))
    return Diagnostic("E001", message, span, help="write `key: value`, with a blank behind the colon")


def _key_fault(fault: _Fault) -> Diagnostic | None:
    if "could not find expected ':'" not in fault.problem:
        return None
    start, line = fault.source.line_of(fault.opened)
    text = line[fault.opened - start :].rstrip()
    help_ = "write `key: value`, or indent it to continue the value above"
    found = fault.report(f"`{short(text)}` is neither a key nor part of a value", fault.opened, len(text), help_)
    return _missing_space(fault, start, line) or found


def _missing_space(fault: _Fault, start: int, line: str) -> Diagnostic | None:
    found = re.match(r"[\s-]*([\w.$*-]+)(:)(?!//)[^\s:]", line)
    if not found:
        return None
    return fault.report(
        f"a space is missing after `{found[1]}:`", start + found.start(2), 1, f"write `{found[1]}: ...`"
    )


def _block_fault(fault: _Fault) -> Diagnostic | None:
    if "block scalar" not in fault.context:
        return None
    sign = fault.source.text[fault.opened]
    return fault.report_word(f"unexpected `{fault.word}` after `{sign}`", "start the text on the next line, indented")


_STRAY = re.compile(r"([,;\]}]+)\s*(?:\s#.*)?")
"""What JSON or a program ends a value with, at the end of a line."""


def _indentation_fault(fault: _Fault) -> Diagnostic | None:
    if "are not allowed here" in fault.problem:
        return fault.report_word(f"`{fault.word}` cannot start here", "begin on the next line, indented")
    if not re.match("expected (<block end>|'<document start>'|the node content)", fault.problem):
        return None
    start, line = fault.source.line_of(fault.at)
    if stray := _STRAY.fullmatch(line, fault.at - start):
        return fault.report(f"unexpected `{stray[1]}`", fault.at, len(stray[1]), f"leave the `{stray[1]}` out")
    if fault.before.rstrip().endswith(("'", '"')):
        help_ = """inside '...' write '' for a quote, inside "..." write \\\""""
        return fault.report_word(f"unexpected `{fault.word}` after the closing quote", help_)
    if fault.before.strip():
        return fault.report_word(f"unexpected `{fault.word}`", _QUOTE_HELP)
    help_ = "keys of one mapping, and items of one list, start in the same column"
    return fault.report_word(f"the indentation of `{fault.word}` fits nothing above", help_)


_SYNTAX_ERRORS: tuple[Callable[[_Fault], Diagnostic | None], ...] = (
    _template_fault,
    _interpolation_fault,
    _tab_fault,
    _blank_fault,
    _start_fault,
    _quote_fault,
    _flow_fault,
    _colon_fault,
    _key_fault,
    _block_fault,
    _indentation_fault,
)
