"""Promises of `oaiproxy.tool_prompts`: calls are found however the text is cut, and no text is lost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ask, chat

from oaiproxy.errors import ClientError
from oaiproxy.tool_prompts import CLOSE, MAX_BLOCKS, OPEN, CallReader, Tools, in_text, offered

F = {"name": "f", "description": "does it", "parameters": {"type": "object"}}
G = {"name": "g", "parameters": {"type": "object", "required": ["x"]}, "strict": True}
TOOLS: list[Any] = [{"type": "function", "function": F}, {"type": "function", "function": G}]
MAPPED = chat(response="{text: t}", request="{path: /g, body: {m: '{{ messages }}'}}", more="emulate: [tools]")


def block(name: str = "f", arguments: Any = None) -> str:
    return f"{OPEN}\n{json.dumps({'name': name, 'arguments': arguments or {}})}\n{CLOSE}"


def offer(**fields: Any) -> Tools:
    tools = offered(ask(MAPPED, tools=TOOLS, **fields).call)
    assert tools is not None
    return tools


def read(*pieces: str, tools: Tools | None = None) -> tuple[str, list[tuple[str, Any]]]:
    """The text and the calls."""
    said: list[str] = []
    calls: list[tuple[str, Any]] = []
    reader = CallReader(
        tools or offer(), said.append, lambda name, arguments: calls.append((name, json.loads(arguments)))
    )
    for piece in pieces:
        reader.feed(piece)
    reader.close()
    return "".join(said), calls


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        (block(), "", [("f", {})]),
        (f"  {block('f', {'a': 1})}\n", "", [("f", {"a": 1})]),
        (f"Let me see.\n\n{block()}", "Let me see.", [("f", {})]),
        (f"{block()}\n{block('g', {'x': 2})}", "", [("f", {}), ("g", {"x": 2})]),
        (f"{block()}{block()}", "", [("f", {}), ("f", {})]),
        (f"{block()}\nDone.", "\nDone.", [("f", {})]),
        (f"{OPEN}[{{\"name\": \"f\"}}, {{\"name\": \"g\", \"arguments\": {{\"x\": 1}}}}]{CLOSE}", "",
         [("f", {}), ("g", {"x": 1})]),
        (f'{OPEN}{{"name": "f", "arguments": "{{\\"a\\": 1}}"}}{CLOSE}', "", [("f", {"a": 1})]),
        (f'{OPEN}{{"name": "f", "parameters": {{"a": 1}}}}{CLOSE}', "", [("f", {"a": 1})]),
        (f'{OPEN}\n```json\n{{"name": "f"}}\n```\n{CLOSE}', "", [("f", {})]),
        (f'{OPEN}\n{{"name": "f", "arguments": {{"a": "{CLOSE}"}}}}\n{CLOSE}', "", [("f", {"a": CLOSE})]),
        (f'{OPEN}\n{{"name": "f", "arguments": {{"a": "two\nlines"}}}}\n{CLOSE}', "", [("f", {"a": "two\nlines"})]),
        (f'{OPEN}\n{{"name": "f"}}', "", [("f", {})]),
        (f'{OPEN}\n{{"name": "f"}}\n</tool', "", [("f", {})]),
    ],
)  # fmt: skip
def test_calls_are_found_whole_and_character_by_character(text: str, said: str, calls: list[Any]) -> None:
    assert read(text) == (said, calls)
    assert read(*text) == (said, calls)


@pytest.mark.parametrize(
    "text",
    [
        "plain text, with a < and a <tool",
        f"The mark {OPEN} in a line.",
        f"In words: `{OPEN}`",
        block("unknown"),
        block("g", {"y": 1}),
        f"{OPEN}\nno JSON\n{CLOSE}\nmore",
        f"{OPEN}\n{{broken\n{CLOSE}\nmore",
        f'{OPEN}\n{{"name": "f", "arguments": [1]}}\n{CLOSE}',
        f'{OPEN}\n{{"name": "f", "arguments": {{"a": NaN}}}}\n{CLOSE}',
        f'{OPEN}\n{{"name": "f", "argum',
        f"{OPEN}\n",
        f"\n \n{OPEN[:5]}",
        " \n ",
        "a" + " " * 1000 + "\n" * 1000 + "b",
        f"\n{OPEN}" * (MAX_BLOCKS + 5),
        f"\n{OPEN}{{" * (MAX_BLOCKS + 5),
    ],
)
def test_what_is_no_call_is_text_to_the_last_character(text: str) -> None:
    assert read(text) == (text, [])
    assert read(*text) == (text, [])


def test_a_call_behind_a_broken_one_is_found() -> None:
    text = f"{OPEN}\n{{broken\n{CLOSE}\n{block()}"
    assert read(*text) == read(text) == (f"{OPEN}\n{{broken\n{CLOSE}", [("f", {})])


WORDS = st.sampled_from([OPEN, CLOSE, block(), block("g", {"x": 1}), block("h"), "\n", " ", "a", "<", "{", "```\n"])


@settings(deadline=None)
@given(st.lists(WORDS, max_size=8).map("".join), st.data())
def test_it_is_the_same_wherever_the_text_is_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(*pieces) == read(text)


def test_plain_text_goes_out_as_it_comes() -> None:
    """But for what may be the beginning of a call."""
    said: list[str] = []
    reader = CallReader(offer(), said.append, lambda name, arguments: None)
    for piece, out in (("Hello", "Hello"), (" you\n", " you"), ("<tool", ""), ("box>", "\n<toolbox>"), (" <", " <")):
        reader.feed(piece)
        assert "".join(said) == out
        said.clear()


def test_a_call_goes_out_when_its_block_ends() -> None:
    calls: list[str] = []
    reader = CallReader(offer(), lambda text: None, lambda name, arguments: calls.append(name))
    reader.feed(block())
    assert calls == ["f"]


def test_of_parallel_calls_that_nobody_wants_the_first_is_made() -> None:
    tools = offer(parallel_tool_calls=False)
    assert read(f"{block()}\n{block('g', {'x': 1})}", tools=tools) == ("", [("f", {})])
    assert "no more than one" in tools.instruction


def test_the_instruction_holds_what_may_be_called() -> None:
    told = offer().instruction
    assert '{"name":"f","description":"does it","parameters":{"type":"object"}}' in told
    assert '"strict"' not in told
    assert "If you need no function" in told
    assert "You must call at least one" in offer(tool_choice="required").instruction
    named = offer(tool_choice={"type": "function", "function": {"name": "g"}})
    assert "You must call the function g now" in named.instruction
    assert (named.names, named.forced) == ({"g"}, True)


@pytest.mark.parametrize(("mode", "forced"), [("auto", False), ("required", True)])
def test_of_allowed_tools_those_alone_are_told_of(mode: str, forced: bool) -> None:
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "g"}}]}
    tools = offer(tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert (tools.names, tools.forced) == ({"g"}, forced)


def test_nothing_is_offered_with_the_choice_none() -> None:
    call = ask(MAPPED, tools=TOOLS, tool_choice="none").call
    assert offered(call) is None
    assert "tools" not in call.fields


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "x"}, "strict": True}}]},
            "tools[0].function.parameters",
        ),
    ],
)
def test_tools_that_cannot_be_offered_are_the_clients_mistake(fields: Any, param: str) -> None:
    with pytest.raises(ClientError) as error:
        offered(ask(MAPPED, **{"tools": TOOLS, **fields}).call)
    assert (error.value.status, error.value.param) == (400, param)


def test_the_history_is_told_in_the_same_words() -> None:
    """Results that follow each other are one message; the client's own messages stay as they are."""
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    other = {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "no JSON"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "See:", "tool_calls": [called, other]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "and?"},
    ]
    made = ask(MAPPED, messages=messages).call
    assert made.messages == made.request["messages"]
    assert [message["role"] for message in made.messages] == ["user", "assistant", "user", "user"]
    assert made.messages[1]["content"] == (
        f'See:\n{OPEN}\n{{"name":"f","arguments":{{"a":1}}}}\n{CLOSE}\n'
        f'{OPEN}\n{{"name":"g","arguments":"no JSON"}}\n{CLOSE}'
    )
    assert made.messages[2]["content"] == (
        '<tool_response>\n{"name":"f","content":"one"}\n</tool_response>\n'
        '<tool_response>\n{"name":"g","content":"two"}\n</tool_response>'
    )
    assert messages[2]["role"] == "tool"


def test_a_history_of_functions_is_told_too() -> None:
    messages = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "one"},
    ]
    made = ask(MAPPED, messages=messages).call.messages
    assert made[0] == {
        "role": "assistant",
        "content": block()[: len(OPEN) + 1] + '{"name":"f","arguments":{}}\n' + CLOSE,
    }
    assert '"content":"one"' in made[1]["content"]


def test_a_picture_in_a_result_stays() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "see"}, picture]},
    ]
    made = ask(MAPPED, messages=messages).call.messages
    assert made[1]["content"][1] == picture


def test_a_conversation_without_tools_stays_as_it_is() -> None:
    call = ask(MAPPED).call
    assert in_text(call) is call


@settings(deadline=None)
@given(st.lists(WORDS, max_size=10).map("".join), st.data())
def test_nothing_is_lost_or_said_twice_wherever_the_text_is_cut(text: str, data: st.DataObject) -> None:
    """Text and blocks, in their order and but for white space around blocks, are what the model wrote."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    told: list[str] = []
    reader = CallReader(
        offer(), lambda said: told.append(re.escape("".join(said.split()))), lambda *_: told.append(CALL)
    )
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        reader.feed(text[start:end])
    reader.close()
    assert re.fullmatch("".join(told), "".join(text.split()), re.DOTALL)


CALL = rf"{OPEN}(?:```)?\{{.*?\}}(?:```)?(?:{CLOSE}|<?/?[tol_ca]*$)"
"""A block without its white space; the last one need not be closed."""
