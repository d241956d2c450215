"""Tools for a model whose API has none: how they are told to it, and how its calls are found in what it says.

A call is a block that begins on a line of its own, as many open models write it without being told:

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Paris"}}
    </tool_call>

Results go back as `<tool_response>` blocks: https://github.com/NousResearch/Hermes-Function-Calling
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Message, message_text, tool_names
from oaiproxy.errors import ClientError
from oaiproxy.jsonschemas import Schema, SchemaError, TooMuchError
from oaiproxy.jsontext import Json
from oaiproxy.opaque import Restorer
from oaiproxy.parameters import unsupported

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MAX_CLOSES = 16
"""Ends of one block at which it is read: an argument may hold the word too."""
MAX_BLOCKS = 64
"""Beginnings of blocks that turn out to be none; what follows them is text."""
MAX_BLANK = 256
"""White space that is held back."""
_START = re.compile(r"(?:\A|\n)[ \t]{0,64}" + OPEN)
_HOW = """You can call functions. Here they are, one JSON object per line, each with the JSON Schema of its arguments:
{functions}

To call a function, write a block like this on lines of its own, with the name of the function and its arguments:
<tool_call>
{{"name": "function_name", "arguments": {{"argument": "value"}}}}
</tool_call>
{several} Write nothing after the last block: the results are sent to you in <tool_response> blocks. {when}"""
_SEVERAL = "To call several functions, write several such blocks, one after another."
_ONE = "Call no more than one function at a time."
_AUTO = "If you need no function, answer in plain text without such a block."
_ANY = "You must call at least one function now."
_NAMED = "You must call the function {name} now, and no other."


@dataclass(frozen=True, slots=True)
class Tools:
    """The functions that may be called; `checks` are the schemas of those whose arguments must fit."""

    functions: list[Json]
    mode: str
    name: str = ""
    parallel: bool = True
    checks: Mapping[str, Schema] = field(default_factory=dict)

    @property
    def forced(self) -> bool:
        """Whether a function must be called."""
        return self.mode != "auto"

    @property
    def names(self) -> frozenset[str]:
        """What may be called."""
        return frozenset(function["name"] for function in self.functions if self.name in ("", function["name"]))

    @property
    def instruction(self) -> str:
        """What the model is told."""
        keys = ("name", "description", "parameters")
        told = [{key: each[key] for key in keys if each.get(key) is not None} for each in self.functions]
        return _HOW.format(
            functions="\n".join(jsontext.dump(each).decode() for each in told),
            several=_SEVERAL if self.parallel else _ONE,
            when=_NAMED.format(name=self.name) if self.name else _ANY if self.forced else _AUTO,
        )

    @property
    def complaint(self) -> str:
        """What is said to a model that was to call a function, and did not."""
        wanted = f"the function {self.name}" if self.name else "one of the functions"
        return (
            f"Your answer does not call {wanted} in the way that was asked for, with arguments that fit. Answer again, "
            f"with nothing but {OPEN} blocks."
        )

    def read(self, text: str) -> list[tuple[str, str]] | None:
        """The calls in a block, `(name, arguments)` each; None when it is none."""
        try:
            value = json.loads(_unfenced(text.strip()), strict=False, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
        calls = [self._call(each) for each in (value if isinstance(value, list) else [value])]
        return [call for call in calls if call is not None] if calls and None not in calls else None

    def _call(self, value: Json) -> tuple[str, str] | None:
        if not isinstance(value, dict) or value.get("name") not in self.names:
            return None
        arguments = value.get("arguments", value.get("parameters", {}))
        try:
            if isinstance(arguments, str):
                arguments = jsontext.parse(arguments)
            if not isinstance(arguments, dict):
                return None
            check = self.checks.get(value["name"])
            if check is not None and check.problem(arguments) is not None:
                return None
            return value["name"], jsontext.dump(arguments).decode()
        except (jsontext.JsonError, TooMuchError):
            return None


def offered(call: Call) -> Tools | None:
    """The tools of a call, None where none may be called. Raises ClientError for those that cannot be offered."""
    choice = call.fields.get("tool_choice") or "auto"
    mode, name, allowed = choice if isinstance(choice, str) else "required", "", None
    if isinstance(choice, dict):
        if choice["type"] == "allowed_tools":
            mode = choice["allowed_tools"]["mode"]
            allowed = [(each.get("function") or each).get("name") for each in choice["allowed_tools"]["tools"]]
        else:
            name = (choice.get(choice["type"]) or choice)["name"]
    functions, checks = [], {}
    for index, tool in enumerate(call.fields.get("tools") or ()):
        if tool["type"] != "function":
            raise unsupported(f"tools[{index}].type", call.model)
        function = tool["function"]
        if allowed is not None and function["name"] not in allowed:
            continue
        functions.append(function)
        if function.get("strict") and function.get("parameters") is not None:
            checks[function["name"]] = _schema(function, f"tools[{index}].function.parameters")
    if name and name not in [function["name"] for function in functions]:
        raise ClientError(
            f"Invalid value for 'tool_choice': no tool is called '{name[:80]}'.",
            param="tool_choice",
            code="invalid_value",
        )
    if mode == "none" or not functions:
        return None
    return Tools(functions, mode, name, call.fields.get("parallel_tool_calls") is not False, checks)


def _schema(function: Json, param: str) -> Schema:
    try:
        return Schema(function["parameters"])
    except SchemaError as error:
        message = f"Invalid schema for function '{function['name'][:80]}': {error}."
        raise ClientError(message, param=param, code="invalid_value") from error


class CallReader:
    """Finds calls in a text that comes in pieces: `say` takes text, `call` a function's name and its arguments.

    Only what may be the beginning of a block is held back; what turns out to be none is text, to the last character
    but for the white space around calls.
    """

    def __init__(self, tools: Tools, say: Callable[[str], None], call: Callable[[str, str], None]) -> None:
        self.called = 0
        """How many calls were found."""
        self._tools = tools
        self._say = say
        self._call = call
        self._held = ""
        self._more: list[str] = []
        """Text of a block behind what is held."""
        self._opened = False
        """Whether a block has begun with a bracket."""
        self._fresh = True
        """Whether a block may begin here: at the start of the text, or behind another block."""
        self._lead: str | None = None
        """The beginning of the block that is being read, as it is written."""
        self._from = 0
        self._closes = 0
        self._failed = 0

    def feed(self, text: str) -> None:
        """Take more of the text."""
        if self._lead is not None and self._opened and ">" not in text:
            self._more.append(text)
            return
        self._held = "".join((self._held, *self._more, text))
        self._more.clear()
        while self._held and (self._block() if self._lead is not None else self._text()):
            pass

    def close(self) -> None:
        """The end of the text: a block need not be closed."""
        self._held = "".join((self._held, *self._more))
        while True:
            while self._held and (self._block() if self._lead is not None else self._text()):
                pass
            if self._lead is None:
                break
            calls = self._tools.read(_unclosed(self._held))
            if calls is None:
                self._give_up()
            else:
                self._tell(calls)
                self._lead, self._held = None, ""
        if self._held.strip() or not self.called:
            self._out(self._held)
        self._held = ""

    def _text(self) -> bool:
        """Read text; whether there may be more to do."""
        if self._failed >= MAX_BLOCKS:
            self._out(self._held)
            self._held = ""
            return False
        start = _START.search(self._held)
        while start is not None and start.start() == 0 and self._held[0] != "\n" and not self._fresh:
            start = _START.search(self._held, start.end())
        if start is not None:
            before = self._held[: start.start()]
            text = before.rstrip()
            self._out(text)
            self._lead = before[len(text) :] + start[0]
            self._held, self._from, self._closes, self._opened = self._held[start.end() :], 0, 0, False
            return bool(self._held)
        keep = self._beginning()
        self._out(self._held[:keep])
        self._held = self._held[keep:]
        return False

    def _beginning(self) -> int:
        """Where what may be the beginning of a block begins: white space at the end, and part of the mark behind it."""
        text = self._held
        end = len(text)
        for size in range(min(len(OPEN) - 1, len(text)), 0, -1):
            if text.endswith(OPEN[:size]):
                line = text[: end - size].rstrip(" \t")
                if line.endswith("\n") or (not line and self._fresh):
                    end -= size
                break
        keep = len(text[:end].rstrip())
        if end - keep > MAX_BLANK:
            keep = max(text.rfind("\n", 0, end), end - MAX_BLANK)
        return keep

    def _block(self) -> bool:
        """Read inside of a block; whether there may be more to do."""
        if not self._opened and (begun := self._held.lstrip()[:1]):
            if begun not in "{[`":
                self._give_up()
                return True
            self._opened = True
        end = self._held.find(CLOSE, self._from)
        if end < 0:
            self._from = max(0, len(self._held) - len(CLOSE) + 1)
            return False
        calls = self._tools.read(self._held[:end])
        self._from = end + len(CLOSE)
        self._closes += 1
        if calls is not None:
            self._tell(calls)
            self._lead, self._fresh, self._held = None, True, self._held[self._from :]
        elif self._closes >= MAX_CLOSES:
            self._give_up()
        return True

    def _give_up(self) -> None:
        """What began as a block is text."""
        assert self._lead is not None
        self._failed += 1
        lead, self._lead = self._lead, None
        self._out(lead)

    def _tell(self, calls: list[tuple[str, str]]) -> None:
        for name, arguments in calls:
            self.called += 1
            if self.called == 1 or self._tools.parallel:
                self._call(name, arguments)

    def _out(self, text: str) -> None:
        if text:
            self._fresh = self._fresh and not text.strip()
            self._say(text)


def _unclosed(text: str) -> str:
    """The text of a block that the end of the answer cut, maybe in its last mark."""
    for size in range(len(CLOSE) - 1, 0, -1):
        if text.endswith(CLOSE[:size]):
            return text[:-size]
    return text


def _unfenced(text: str) -> str:
    """A text without the code fence around it."""
    if len(text) > 6 and text.startswith("```") and text.endswith("```"):
        return text[:-3].partition("\n")[2].strip()
    return text


def _no_constant(name: str) -> Json:
    raise ValueError(name)


def in_text(call: Call) -> Call:
    """The call with its history of tool calls as text, in the form in which the model is told to write it."""
    if not any(_is_history(message) for message in call.messages):
        return call
    names = tool_names(call, ids := Restorer(call.mapping))
    messages: list[Message] = []
    results = False
    for message in call.messages:
        if message["role"] not in ("tool", "function"):
            messages.append(_with_calls(message) if _is_history(message) else message)
            results = False
            continue
        name = message.get("name") if message["role"] == "function" else None
        name = name or names.get(ids.plain(message.get("tool_call_id") or ""))
        made = _result(message, name)
        if results:
            messages[-1] = {
                "role": "user",
                "content": [*messages[-1]["content"], {"type": "text", "text": "\n"}, *made],
            }
        else:
            messages.append({"role": "user", "content": made})
        results = True
    messages = [_joined(message) for message in messages]
    return replace(call, messages=messages, request={**call.request, "messages": messages})


def _is_history(message: Message) -> bool:
    role = message["role"]
    called = role == "assistant" and (message.get("tool_calls") or message.get("function_call"))
    return bool(called) or role in ("tool", "function")


def _with_calls(message: Message) -> Message:
    made = {key: value for key, value in message.items() if key not in ("tool_calls", "function_call")}
    calls = list(message.get("tool_calls") or ())
    if message.get("function_call"):
        calls.append({"type": "function", "function": message["function_call"]})
    blocks = [f"{OPEN}\n{jsontext.dump(_told(call)).decode()}\n{CLOSE}" for call in calls]
    return {**made, "content": "\n".join([text, *blocks] if (text := message_text(message)) else blocks)}


def _told(call: Json) -> Json:
    if call.get("type") == "custom":
        return {"name": call["custom"]["name"], "arguments": {"input": call["custom"].get("input", "")}}
    function = call["function"]
    text = function.get("arguments") or "{}"
    try:
        arguments = jsontext.parse(text)
    except jsontext.JsonError:
        arguments = text
    return {"name": function["name"], "arguments": arguments}


def _result(message: Message, name: Json) -> list[Json]:
    """A result as parts: one of text, and what is no text behind it."""
    told = {**({"name": name} if name else {}), "content": message_text(message)}
    content = message.get("content")
    others = [part for part in content if part["type"] != "text"] if isinstance(content, list) else []
    text = f"<tool_response>\n{jsontext.dump(told).decode()}\n</tool_response>"
    return [{"type": "text", "text": text}, *others]


def _joined(message: Message) -> Message:
    """The message with its content as one string if it is nothing but text that was made here."""
    content = message.get("content")
    if message.keys() == {"role", "content"} and isinstance(content, list) and _is_result(content):
        return {**message, "content": "".join(part["text"] for part in content)}
    return message


def _is_result(content: list[Json]) -> bool:
    texts = all(part["type"] == "text" for part in content)
    return texts and bool(content) and content[0]["text"].startswith("<tool_response>\n")
