"""The `chat_template` of a mapping to a function that makes one prompt of a conversation, the name `chat_prompt`.

The template is the text that a model comes with (https://huggingface.co/docs/transformers/chat_templating), and sees
what it expects: `messages`, `tools`, `add_generation_prompt`, the special tokens and the mapping's own variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath
from types import TracebackType
from typing import Any, cast

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes

from oaiproxy import jsontext
from oaiproxy.bodies import UnfitError
from oaiproxy.bundled import bundled
from oaiproxy.canonical import Call, Message, message_text, tool_calls, tool_names
from oaiproxy.chat_environment import ChatContext, ChatEnvironment, ChatLowering, Refusal
from oaiproxy.diagnostics import Span, did_you_mean
from oaiproxy.filters import FilterError, date
from oaiproxy.jsontext import Json
from oaiproxy.opaque import Restorer
from oaiproxy.scopes import Absent, RenderError, Scope
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import Render, compile_tree

NAME = "chat_prompt"
"""What mappings call the rendered text."""
MAX_PROMPT = 8 * 1024 * 1024
"""Characters of a rendered prompt."""
MAX_TEMPLATE = 256 * 1024
"""Characters of a template."""

_KINDS = ("name", "text", "file")
_ALONE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)
_FAILURES = (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError)
_TOO_DEEP = (RecursionError, MemoryError)
_CODE = "<chat template>"


class RefusedError(UnfitError):
    """The template refuses the conversation, in its own words."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A compiled template."""

    template: Template
    reads: frozenset[str]
    parts: bool
    """Whether it wants contents as lists of parts."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A compiled `chat_template` block."""

    plain: _Text
    with_tools: _Text
    tokens: Mapping[str, str]
    """The special tokens, by the name that templates know them by."""
    variables: Render | None
    generation_prompt: bool
    reads: frozenset[str]
    """The paths of names that its use reads, as `Analysis` has them."""
    source: Source

    def render(self, call: Call, now: float, scope: Scope) -> str:
        """The prompt of a conversation. Raises RefusedError, UnfitError and RenderError."""
        chosen = self.with_tools if call.fields.get("tools") else self.plain
        given = None if self.variables is None else self.variables(scope)
        names = {
            **self.tokens,
            **({} if given is None or isinstance(given, Absent) else given),
            "messages": conversation(call, parts=chosen.parts),
            "tools": call.fields.get("tools"),
            "documents": None,
            "add_generation_prompt": self.generation_prompt,
            "strftime_now": _clock(now),
        }
        context = cast("ChatContext", chosen.template.new_context(names))
        context.budget = scope.budget
        try:
            return _collected(chosen.template, context)
        except Refusal as error:
            raise RefusedError(_plain(error.message or "the conversation is refused"), param="messages") from error
        except UnfitError:
            raise
        except (RenderError, *_FAILURES, *_TOO_DEEP) as error:
            found = RenderError(f"chat_template{_line(chosen.template, error.__traceback__)}: {_reason(error)}")
            found.source = self.source
            raise found from error


def conversation(call: Call, *, parts: bool) -> list[Message]:
    """The messages as chat templates know them: `arguments` as data, `developer` renamed, contents text or parts."""
    ids = Restorer(call.mapping)
    names = tool_names(call, ids)
    return [_message(message, names, ids, parts=parts) for message in call.messages]


def compile_chat_template(source: Source, compilation: Compilation, read_file: Callable[[str], str]) -> ChatTemplate:
    """Compile a block; what is wrong in it goes to the compilation's findings. `read_file` raises OSError."""
    compiler = _Compiler(source, compilation, read_file)
    return compiler.block()


@cache
def known_templates() -> Mapping[str, str]:
    """The templates that ship, by name."""
    found = (path for path in bundled("prompts").iterdir() if path.name.endswith(".jinja"))
    return {path.name.removesuffix(".jinja"): path.read_text("utf-8") for path in sorted(found, key=lambda p: p.name)}


class _Compiler:
    def __init__(self, source: Source, compilation: Compilation, read_file: Callable[[str], str]) -> None:
        self._source = source
        self._compilation = compilation
        self._read_file = read_file
        self._place = source
        """The value that names or holds the template."""
        self._called = ""
        """What the template is called in messages, where it does not stand in the mapping."""

    def block(self) -> ChatTemplate:
        given = self._source.value if isinstance(self._source.value, dict) else {"name": self._source.value}
        templates, tokens = self._templates(given)
        tokens |= {key: given[key] for key in ("bos_token", "eos_token") if given.get(key) is not None}
        plain = self._text(templates.get("default") or next(iter(templates.values())))
        tool_use = templates.get("tool_use")
        with_tools = plain if tool_use is None else self._text(tool_use)
        variables, reads = None, plain.reads | with_tools.reads
        if (child := self._source.get("variables")) is not None:
            inner = replace(self._compilation, reads=set(), trace=None)
            variables = compile_tree(child, inner)
            reads |= inner.reads
        prompt = given.get("add_generation_prompt", True)
        return ChatTemplate(plain, with_tools, tokens, variables, prompt, reads, self._source)

    def _templates(self, given: Mapping[str, Json]) -> tuple[dict[str, str], dict[str, str]]:
        """The texts by name, and the special tokens that come with them."""
        kind = next((key for key in _KINDS if key in given), "text")
        if isinstance(self._source.value, dict) and kind in given:
            self._place = self._source[kind]
        written = given.get(kind, "")
        if kind == "text":
            return {"default": written}, {}
        if kind == "name":
            return {"default": self._shipped(written)}, {}
        self._called = f" in `{written}`"
        try:
            content = self._read_file(written)
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "it is not UTF-8 text").lower()
            self._report(
                "E602", f"the file `{written}` cannot be read: {reason}", "the path is relative to the mapping"
            )
            return {"default": ""}, {}
        return self._configured(content) if PurePath(written).suffix == ".json" else ({"default": content}, {})

    def _shipped(self, name: str) -> str:
        known = known_templates()
        if name not in known:
            label = did_you_mean(name, known) or f"there are: {', '.join(known)}"
            self._report("E214", f"no chat template is called `{name}`", label)
        return known.get(name, "")

    def _configured(self, content: str) -> tuple[dict[str, str], dict[str, str]]:
        """What a tokenizer's configuration holds."""
        try:
            found = jsontext.parse(content)
        except jsontext.JsonError as error:
            self._report("E214", f"the JSON{self._called} is broken: {error}", "write the file anew")
            return {"default": ""}, {}
        given = found if isinstance(found, dict) else {}
        tokens = {key: token for key, value in given.items() if key.endswith("_token") and (token := _token(value))}
        match given.get("chat_template"):
            case str() as text:
                return {"default": text}, tokens
            case [{"name": str(), "template": str()}, *_] as listed:
                named = (each for each in listed if isinstance(each, dict))
                return {str(each.get("name")): str(each.get("template")) for each in named}, tokens
        label = "name a file that has one, or the `.jinja` file beside it"
        self._report("E214", f"there is no `chat_template`{self._called}", label)
        return {"default": ""}, tokens

    def _text(self, text: str) -> _Text:
        environment = _environment()
        before = len(self._compilation.findings)
        reads = frozenset(_reads(text))
        try:
            if len(text) > MAX_TEMPLATE:
                raise TemplateSyntaxError(f"it is longer than {MAX_TEMPLATE} characters", 1)
            tree = environment.parse(text)
            self._check(tree, text)
            if len(self._compilation.findings) == before:
                parts = _iterates_contents(tree)
                return _Text(_compiled(environment, tree), reads, parts)
        except TemplateSyntaxError as error:
            offset = environment.position(text) or _start_of(text, error.lineno, error.message or "")
            message = (error.message or "it cannot be read").rstrip(".")
            self._report_in(text, offset, message[0].lower() + message[1:])
        except (*_FAILURES, *_TOO_DEEP, SyntaxError):
            self._report("E201", f"the chat template{self._called} is too complex", "take another")
        return _Text(_compiled(environment, environment.parse("")), reads, False)

    def _check(self, tree: nodes.Template, text: str) -> None:
        """Refuse what a template alone, and a bounded one, cannot have."""
        for node in tree.find_all(_ALONE):
            word = type(node).__name__.lower()
            self._report_in(text, _start_of(text, node.lineno, f"'{word}'"), f"`{word}`: a template stands alone")
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                self._report_in(text, _start_of(text, loop.lineno, "'recursive'"), "a loop cannot be recursive")

    def _report_in(self, text: str, offset: int, message: str) -> None:
        """Report a place in the template: in the mapping where it stands there, else told in the message."""
        line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
        where = f"{self._called}, line {line}, column {column}"
        span = self._place.span() if self._called or self._place.value != text else self._place.inner(offset, 1)
        help_ = "templates come from models' `tokenizer_config.json`, or are of the list in the documentation"
        self._compilation.report("E201", f"template syntax{where}: {message}", span, help=help_)

    def _report(self, code: str, message: str, label: str) -> None:
        span: Span = self._place.span()
        self._compilation.report(code, message, span, label=label)


@cache
def _environment() -> ChatEnvironment:
    return ChatEnvironment()


def _compiled(environment: ChatEnvironment, tree: nodes.Template) -> Template:
    lowered = ChatLowering().visit(tree)
    lowered.set_environment(environment)
    for node in lowered.find_all(nodes.Node):
        node.lineno = node.lineno or 1
    code = environment.compile(lowered, filename=_CODE)
    return Template.from_code(environment, code, environment.make_globals(None))


def _collected(template: Template, context: ChatContext) -> str:
    pieces, size = [], 0
    for piece in template.root_render_func(context):
        size += len(piece)
        if size > MAX_PROMPT:
            raise UnfitError(f"the conversation makes a prompt of more than {MAX_PROMPT} characters", param="messages")
        pieces.append(piece)
    return "".join(pieces)


def _reads(text: str) -> set[str]:
    """What a template reads of a request, told by the words in it."""
    reads = {"messages", "messages.role", "messages.text"}
    if re.search(r"\btools\b", text):
        reads.add("tools")
    if re.search(r"\btool_calls\b", text):
        reads.add("messages.tool_calls")
    if re.search(r"""['"]tool['"]|\btool_call_id\b|\btool_responses?\b""", text):
        reads.add("messages.role=tool")
    return reads


def _iterates_contents(tree: nodes.Template) -> bool:
    """Whether a template loops over contents and never asks whether one is text."""
    named = {
        node.target.name
        for node in tree.find_all(nodes.Assign)
        if isinstance(node.target, nodes.Name) and _content(node.node)
    }
    loops = (loop.iter for loop in tree.find_all(nodes.For))
    iterated = any(_content(each) or (isinstance(each, nodes.Name) and each.name in named) for each in loops)
    return iterated and not any(test.name == "string" for test in tree.find_all(nodes.Test))


def _content(node: nodes.Node) -> bool:
    match node:
        case nodes.Getattr(attr="content") | nodes.Getitem(arg=nodes.Const(value="content")):
            return True
    return False


def _message(message: Message, names: Mapping[str, str], ids: Restorer, *, parts: bool) -> Message:
    role = message["role"]
    text = message_text(message)
    content: Json = None if message.get("content") is None and not text else text
    if parts and content is not None:
        content = [{"type": "text", "text": text}] if text else []
    made: Message = {"role": "system" if role == "developer" else role, "content": content}
    for key in ("name", "reasoning_content"):
        if isinstance(message.get(key), str):
            made[key] = message[key]
    if role == "assistant" and (calls := tool_calls(message)):
        made["tool_calls"] = [_tool_call(call, ids) for call in calls]
    if role == "tool":
        made["tool_call_id"] = ids.plain(message.get("tool_call_id", ""))
        if name := names.get(made["tool_call_id"]):
            made.setdefault("name", name)
    return made


def _tool_call(call: Json, ids: Restorer) -> Json:
    text = call["function"].get("arguments") or "{}"
    try:
        arguments = jsontext.parse(text)
    except jsontext.JsonError:
        arguments = text
    function = {"name": call["function"]["name"], "arguments": arguments}
    return {"id": ids.plain(call.get("id") or ""), "type": "function", "function": function}


def _token(value: Json) -> str:
    """A special token, which stands alone or as the `content` of an object."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _clock(now: float) -> Callable[[Any], str]:
    def strftime_now(form: Any) -> str:
        try:
            return date(now, form)
        except FilterError as error:
            raise RenderError(str(error).replace("`date`", "`strftime_now`")) from None

    return strftime_now


def _plain(message: str) -> str:
    """A template's own message for the client, on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in message).split())[:300]


def _start_of(text: str, line: int, message: str) -> int:
    """The offset of a line, or of the word in it that a message quotes."""
    start = sum(len(each) + 1 for each in text.split("\n")[: line - 1])
    word = re.search(r"'(\w+)'", message)
    found = text.find(word[1], start) if word else -1
    return found if found >= 0 else start


def _line(template: Template, trace: TracebackType | None) -> str:
    """The line of the template in which it failed."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _CODE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {template.get_corresponding_lineno(line)}" if line else ""


def _reason(error: BaseException) -> str:
    """What happened, without the values that it happened to."""
    match error:
        case RenderError():
            return str(error)
        case RecursionError():
            return "the template, or a value in it, is nested too deeply"
        case MemoryError():
            return "the template needs too much memory"
        case TemplateError():
            return re.sub(r"'[^']{60,}'", "a value", (error.message or type(error).__name__))[:200]
        case TypeError():
            return f"values do not fit: {str(error)[:200]}"
    return "a value does not fit"
