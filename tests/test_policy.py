"""What a mapping never reads is refused where it changes the answer's meaning, else left out and named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import HI, IDENTITY, ask, chat, load

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ClientError
from oaiproxy.exchange import Exchange

PLAIN = chat(response="{text: t}")
TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = {"type": "image_url", "image_url": {"url": "http://x"}}
HISTORY = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
USER = {"role": "user", "content": "a"}
SYSTEM = [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}]


def reading(body: str) -> Any:
    return chat(response="{text: t}", request=f"{{path: /g, body: {{{body}}}}}")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "tools": ({"tools": TOOLS}, "tools"),
    "response_format": ({"response_format": {"type": "json_object"}}, "response_format"),
    "n": ({"n": 2}, "n"),
    "functions": ({"functions": [{"name": "f"}]}, "tools"),
    "audio": ({"audio": {"voice": "alloy", "format": "wav"}, "modalities": ["text", "audio"]}, "modalities"),
    "custom tools": ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools"),
    "search": ({"web_search_options": {}}, "web_search_options"),
    "images": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]},
        "messages[0].content[1].type",
    ),
    "images in earlier messages": (
        {"messages": [{"role": "user", "content": [IMAGE]}, *SYSTEM]},
        "messages[0].content[0].type",
    ),
}


@pytest.mark.parametrize(("fields", "param"), REFUSED.values(), ids=REFUSED)
def test_what_changes_the_meaning_is_refused(fields: dict[str, Any], param: str) -> None:
    """With a 400 that names the parameter."""
    with pytest.raises(ClientError) as caught:
        ask(PLAIN, **fields)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, "unsupported_parameter")


FINE: dict[str, dict[str, Any]] = {
    "one answer": {"n": 1},
    "no tools": {"tools": [], "tool_choice": "auto"},
    "tools that must not be called": {"tools": TOOLS, "tool_choice": "none"},
    "a choice among no tools": {"tool_choice": "required"},
    "hints": {"user": "u", "metadata": {"a": "b"}, "service_tier": "auto", "parallel_tool_calls": False},
    "what is cut here": {"stop": "a"},
    "functions that must not be called": {"functions": [{"name": "f"}], "function_call": "none"},
    "a choice among no functions": {"function_call": {"name": "f"}},
    "a forecast": {"prediction": {"type": "content", "content": "a"}, "verbosity": "low"},
    "no sound": {"modalities": ["text"], "store": False, "metadata": {}},
    "unknown fields": {"x": 1},
    "text parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
}


@pytest.mark.parametrize("fields", FINE.values(), ids=FINE)
def test_what_changes_nothing_is_let_through(fields: dict[str, Any]) -> None:
    """Defaults and hints are neither refused nor named."""
    assert ask(PLAIN, **fields).dropped == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 1),
        ("top_p", 0.5),
        ("seed", 1),
        ("logprobs", True),
        ("store", True),
        ("moderation", {"model": "m"}),
        ("reasoning_effort", "low"),
        ("max_completion_tokens", 5),
        ("logit_bias", {"1": 1}),
    ],
)
def test_sampling_knobs_are_dropped_and_named(key: str, value: Any) -> None:
    """By the name that the client used."""
    assert ask(PLAIN, **{key: value}).dropped == (key,)


READ: dict[str, tuple[str, dict[str, Any]]] = {
    "by name": ("a: '{{ temperature }}'", {"temperature": 1}),
    "under its other name": ("a: '{{ max_tokens }}'", {"max_completion_tokens": 5}),
    "in the raw body": ("a: '{{ request.n }}'", {"n": 2}),
    "the raw body whole": ("a: '{{ request }}'", {"n": 2, "tools": TOOLS, "temperature": 1}),
    "tools": ("a: '{{ tools }}'", {"tools": TOOLS}),
    "images": (
        "a: [{$for: m in messages, b: [{$for: p in m.parts, u: '{{ p.url }}'}]}]",
        {"messages": [{"role": "user", "content": [IMAGE]}]},
    ),
    "all parts": ("a: '{{ messages }}'", {"messages": [{"role": "user", "content": [IMAGE]}]}),
}


@pytest.mark.parametrize(("body", "fields"), READ.values(), ids=READ)
def test_what_is_read_is_neither(body: str, fields: dict[str, Any]) -> None:
    """However the template reads it."""
    assert "temperature" not in ask(reading(body), **fields).dropped


def test_a_choice_of_tool_that_is_not_read_is_refused() -> None:
    """The tools alone would be called as the backend likes."""
    with pytest.raises(ClientError) as caught:
        ask(reading("a: '{{ tools }}'"), tools=TOOLS, tool_choice="required")
    assert caught.value.param == "tool_choice"


LEFT_OUT: dict[str, tuple[str, list[dict[str, Any]], tuple[str, ...]]] = {
    "one message": ("a: '{{ prompt }}'", HI["messages"], ()),
    "earlier messages": ("a: '{{ prompt }}'", HISTORY, ("messages",)),
    "a system message that is not read": ("a: '{{ prompt }}'", SYSTEM, ("messages",)),
    "a system message that is": ("a: '{{ prompt }}', b: '{{ system }}'", SYSTEM, ()),
    "all are read": ("a: [{$for: m in messages, b: '{{ m.text }}'}]", HISTORY, ()),
    "all turns are": ("a: '{{ turns }}'", HISTORY, ()),
    "system text beside turns": ("a: '{{ turns }}'", SYSTEM, ("messages",)),
    "system text beside turns, and read": ("a: '{{ turns }}', b: '{{ system }}'", SYSTEM, ()),
    "developer text beside turns": (
        "a: '{{ turns }}'",
        [{"role": "developer", "content": "s"}, *HISTORY],
        ("messages",),
    ),
    "empty system text": ("a: '{{ turns }}'", [{"role": "system", "content": ""}, *HISTORY], ()),
    "the last message by its index": ("a: '{{ messages[-1].text }}'", HISTORY, ("messages",)),
    "the last message by a filter": ("a: '{{ (messages | last).text }}'", HISTORY, ("messages",)),
    "the first message": ("a: '{{ (messages | first).text }}'", HISTORY, ("messages",)),
    "the last turn": ("a: '{{ turns[-1] }}'", HISTORY, ("messages",)),
    "all but the last, and the prompt": (
        "a: [{$for: 'm in messages[:-1]', b: '{{ m.text }}'}], c: '{{ prompt }}'",
        HISTORY,
        (),
    ),
    "all but the last": ("a: [{$for: 'm in messages[:-1]', b: '{{ m.text }}'}]", HISTORY, ("messages",)),
    "the last two": ("a: '{{ messages[-2:] }}'", HISTORY, ("messages",)),
    "more than there are": ("a: '{{ messages[-20:] }}'", HISTORY, ()),
    "the first two and the last": ("a: '{{ messages[0:2] }}', b: '{{ messages[2:] }}'", HISTORY, ()),
    "a slice of the raw messages": ("a: '{{ request.messages[1:] }}'", HISTORY, ("messages",)),
    "a slice that is computed": ("a: '{{ messages[-max_tokens:] }}'", HISTORY, ("messages",)),
    "every second": ("a: '{{ messages[::2] }}'", HISTORY, ("messages",)),
    "all turns but the last": ("a: '{{ turns[:-1] }}', b: '{{ prompt }}'", HISTORY, ()),
    "turns of several messages": ("a: '{{ turns[:-1] }}', b: '{{ prompt }}'", [*HISTORY, USER], ("messages",)),
    "a name for a slice": (
        "a: {$let: {old: '{{ messages[:-1] }}'}, b: [{$for: m in old, c: '{{ m.text }}'}], d: '{{ prompt }}'}",
        HISTORY,
        (),
    ),
    "what a selector picks": ("a: \"{{ messages | jmes('[].text') }}\"", HISTORY, ()),
    "the last message of the raw body": ("a: '{{ request.messages[-1].content }}'", HISTORY, ("messages",)),
    "a named message": ("a: {$let: {m: '{{ messages | last }}'}, b: '{{ m.text }}'}", HISTORY, ("messages",)),
    "the count": ("a: '{{ prompt }}', b: '{{ messages | length }}'", HISTORY, ("messages",)),
    "the roles": ("a: '{{ prompt }}', b: [{$for: m in messages, $value: '{{ m.role }}'}]", HISTORY, ("messages",)),
    "whether there are any": ("a: {$if: messages, b: '{{ prompt }}'}", HISTORY, ("messages",)),
    "those of one role": (
        "a: \"{{ messages | selectattr('role', 'eq', 'user') | map(attribute='text') }}\"",
        HISTORY,
        (),
    ),
    "a text of all": ("a: '{% for m in messages %}{{ m.text }}{% endfor %}'", HISTORY, ()),
    "the raw messages": ("a: '{{ request.messages }}'", HISTORY, ()),
    "the raw contents": ("a: [{$for: m in request.messages, b: '{{ m.content }}'}]", HISTORY, ()),
}


@pytest.mark.parametrize(("body", "messages", "dropped"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_messages_that_are_left_out_are_named(body: str, messages: list[Any], dropped: tuple[str, ...]) -> None:
    """A mapping of the prompt alone sends the last message."""
    assert ask(reading(body), messages=messages).dropped == dropped


LINK = IMAGE
DATA = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aQ=="}}
SOUND = {"type": "input_audio", "input_audio": {"data": "aQ==", "format": "wav"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aQ=="}}
NAKED = {"type": "file", "file": {"filename": "a.pdf", "file_data": "aQ=="}}
STORED = {"type": "file", "file": {"file_id": "file-1"}}
KINDS = {"link": LINK, "data": DATA, "sound": SOUND, "file": FILE, "naked": NAKED, "stored": STORED}


def parts(inner: str, each: str = "p in m.parts") -> str:
    return f'a: [{{$for: m in messages, b: [{{$for: "{each}", {inner}}}]}}]'


CARRIED: dict[str, tuple[str, str]] = {
    "text alone": (parts("c: '{{ p.text }}'"), ""),
    "an address": (parts("c: '{{ p.text }}', u: '{{ p.url }}'"), "link data"),
    "data": (parts("c: '{{ p.text }}', m: '{{ p.media_type }}', u: '{{ p.base64 }}'"), "data"),
    "data of images": ("a: '{{ prompt }}', i: [{$for: m in messages, $value: '{{ m.images_base64 }}'}]", "data"),
    "their first": ("a: '{{ prompt }}', i: '{{ messages[-1].images_base64 | first }}'", "data"),
    "whether there are any": ("a: {$if: 'messages[-1].images_base64', $value: '{{ prompt }}'}", ""),
    "the type of media alone": (parts("c: '{{ p.media_type }}'"), ""),
    "sound": (parts("c: '{{ p.base64 }}', f: '{{ p.format }}'"), "data sound"),
    "files": (parts("c: '{{ p.base64 }}', f: '{{ p.filename }}'"), "data file naked"),
    "stored files": (parts("c: '{{ p.file_id }}'"), "stored"),
    "whole parts": (parts("c: '{{ p }}'"), "link data sound file naked stored"),
    "all of them": ("a: [{$for: m in messages, b: '{{ m.parts }}'}]", "link data sound file naked stored"),
    "whole turns": ("a: '{{ turns }}'", "link data sound file naked stored"),
    "the raw body": ("a: '{{ request }}'", "link data sound file naked stored"),
    "the raw contents": (
        "a: [{$for: m in request.messages, b: '{{ m.content }}'}]",
        "link data sound file naked stored",
    ),
    "cases": (
        parts("$match: p.type, $cases: {text: '{{ p.text }}', image: '{{ p.base64 or p.url }}'}"),
        "link data",
    ),
    "cases without media": (parts("$match: p.type, $cases: {text: '{{ p.text }}'}"), ""),
    "a case of sound": (
        parts("$match: p.type, $cases: {text: '{{ p.text }}', audio: {f: '{{ p.format }}', d: '{{ p.base64 }}'}}"),
        "sound",
    ),
    "a case for the rest": (
        parts("$match: p.type, $cases: {text: '{{ p.text }}', $else: {f: '{{ p.format }}', d: '{{ p.base64 }}'}}"),
        "data sound",
    ),
    "a condition": (parts("c: '{{ p.base64 }}', f: '{{ p.format }}'", "p in m.parts if p.type == 'image'"), "data"),
    "a filter": (parts("c: '{{ p.url }}'", "p in m.parts | selectattr('type', 'eq', 'image')"), "link data"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("body", "carried"), CARRIED.values(), ids=CARRIED)
def test_media_are_carried_or_refused(body: str, carried: str, kind: str) -> None:
    """Never left out: what no template can have read is a 400 that names the part."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, KINDS[kind]]}]
    if kind in carried.split():
        assert ask(reading(body), messages=messages).dropped == ()
        return
    with pytest.raises(ClientError) as caught:
        ask(reading(body), messages=messages)
    assert (caught.value.param, caught.value.code) == ("messages[0].content[1].type", "unsupported_parameter")
    otherwise = kind == "link" and "data" in carried.split()
    assert caught.value.message.endswith("URLs, not by address." if otherwise else "its mapping does not read it.")


UNREACHED: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "an image before the last message": (
        "a: '{{ messages[-1].parts }}'",
        [{"role": "user", "content": [DATA]}, *HISTORY],
        "messages[0].content[0].type",
    ),
    "a second image": (
        "a: '{{ prompt }}', i: '{{ messages[-1].images_base64 | first }}'",
        [{"role": "user", "content": [DATA, DATA]}],
        "messages[0].content[0].type",
    ),
    "an image beside turns": (
        "a: '{{ turns }}', b: '{{ system }}'",
        [{"role": "system", "content": [DATA]}, *HISTORY],
        "messages[0].content[0].type",
    ),
    "an image before a slice": (
        "a: '{{ messages[-1:] }}'",
        [{"role": "user", "content": [DATA]}, *HISTORY],
        "messages[0].content[0].type",
    ),
    "an image that a selector need not pick": (
        "a: \"{{ messages | jmes('[].text') }}\"",
        [{"role": "user", "content": [DATA]}],
        "messages[0].content[0].type",
    ),
    "an image of a message with a name": (
        "a: [{$for: m in messages, $let: {c: '{{ m }}'}, b: '{{ c.text }}'}]",
        [{"role": "user", "content": [DATA]}],
        "messages[0].content[0].type",
    ),
    "an image in a tool's result": (
        "a: '{{ messages }}'",
        [*HISTORY, {"role": "tool", "tool_call_id": "c", "content": [DATA]}],
        "messages[3].content[0].type",
    ),
}


@pytest.mark.parametrize(("body", "messages", "param"), UNREACHED.values(), ids=UNREACHED)
def test_media_where_no_template_looks_are_refused(body: str, messages: list[Any], param: str) -> None:
    """Although media elsewhere are read."""
    with pytest.raises(ClientError) as caught:
        ask(reading(body), messages=messages)
    assert caught.value.param == param


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "found"}
LEGACY = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}

TOOL_HISTORY: dict[str, tuple[str, list[dict[str, Any]], str | tuple[str, ...]]] = {
    "calls to texts": (parts("c: '{{ p.text }}'"), [USER, CALLS, USER], "messages[1].tool_calls"),
    "results to texts": ("a: [{$for: m in messages, b: '{{ m.text }}'}]", [USER, RESULT], "messages[1].role"),
    "results, but no calls": (
        "a: [{$for: m in messages, b: '{{ m.text }}', c: '{{ m.tool_call_id }}'}]",
        [USER, CALLS, RESULT],
        "messages[1].tool_calls",
    ),
    "calls, but no results": (
        "a: [{$for: m in messages, b: '{{ m.text }}', c: '{{ m.tool_calls }}'}]",
        [USER, CALLS, RESULT],
        "messages[2].role",
    ),
    "a case for calls alone": (
        parts("$match: p.type, $cases: {text: '{{ p.text }}', tool_call: {i: '{{ p.id }}', a: '{{ p.arguments }}'}}"),
        [USER, CALLS, RESULT],
        "messages[2].role",
    ),
    "the old form": ("a: '{{ messages }}'", [USER, LEGACY, USER], ()),
    "the old form to texts": (parts("c: '{{ p.text }}'"), [USER, LEGACY, USER], "messages[1].tool_calls"),
    "the old form, raw": ("a: '{{ request.messages }}'", [USER, LEGACY, USER], ()),
    "both": (
        "a: [{$for: m in messages, b: '{{ m.text }}', c: '{{ m.tool_call_id }}', d: '{{ m.tool_calls }}'}]",
        [USER, CALLS, RESULT],
        (),
    ),
    "whole messages": ("a: '{{ messages }}'", [USER, CALLS, RESULT], ()),
    "cases": (
        parts("$match: p.type, $cases: {text: '{{ p.text }}', tool_call: x, tool_result: y}"),
        [USER, CALLS, RESULT],
        (),
    ),
    "a condition on the role": (
        "a: [{$for: m in messages if m.role == 'tool', b: '{{ m.text }}'}]",
        [USER, RESULT],
        (),
    ),
    "earlier messages of a prompt": ("a: '{{ prompt }}'", [USER, CALLS, RESULT, USER], ("messages",)),
    "a result as the prompt": ("a: '{{ prompt }}'", [RESULT], ()),
    "a result as the last message": ("a: '{{ messages[-1].text }}'", [USER, CALLS, RESULT], ("messages",)),
    "calls as the prompt": ("a: '{{ prompt }}'", [USER, CALLS], "messages[1].tool_calls"),
    "calls of a message with a name": (
        "a: [{$for: m in messages, $let: {c: '{{ m }}'}, b: '{{ c.text }}'}]",
        [USER, CALLS, RESULT],
        "messages[1].tool_calls",
    ),
    "calls in a slice": ("a: '{{ messages[:-1] }}', b: '{{ prompt }}'", [USER, CALLS, RESULT, USER], ()),
    "no calls": ("a: [{$for: m in messages, b: '{{ m.text }}'}]", [{**CALLS, "content": "a", "tool_calls": []}], ()),
}


@pytest.mark.parametrize(("body", "messages", "wanted"), TOOL_HISTORY.values(), ids=TOOL_HISTORY)
def test_a_history_of_tools_is_read_or_refused(body: str, messages: list[Any], wanted: str | tuple[str, ...]) -> None:
    """Half of it would make no sense to a model; earlier messages that are left out are named as ever."""
    if isinstance(wanted, tuple):
        assert ask(reading(body), messages=messages).dropped == wanted
        return
    with pytest.raises(ClientError) as caught:
        ask(reading(body), messages=messages)
    assert (caught.value.param, caught.value.code) == (wanted, "unsupported_parameter")


CUSTOM = {"type": "custom", "custom": {"name": "f"}}
CUSTOM_CALLS = {
    "role": "assistant",
    "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}],
}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": TOOLS}}
RAW: dict[str, tuple[dict[str, Any], str]] = {
    "custom tools": ({"tools": [*TOOLS, CUSTOM]}, "tools[1].type"),
    "a custom choice": (
        {"tools": [CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
        "tools[0].type",
    ),
    "calls of custom tools": ({"messages": [USER, CUSTOM_CALLS, RESULT]}, "messages[1].tool_calls"),
}
EVERY_NAME = "a: '{{ messages }}', b: '{{ tools }}', c: '{{ tool_choice }}'"
WHOLE = {
    "the request": "a: '{{ request }}'",
    "but for keys": "a: \"{{ request | strip_keys('x', 'y') }}\"",
    "with others": "$merge: [\"{{ request | strip_keys(['x']) | merge({'y': 1}) }}\"], z: '{{ messages }}'",
}


@pytest.mark.parametrize(("fields", "param"), RAW.values(), ids=RAW)
def test_what_only_the_raw_body_holds_is_refused_without_it(fields: dict[str, Any], param: str) -> None:
    """Names of templates are for functions."""
    with pytest.raises(ClientError) as caught:
        ask(reading(EVERY_NAME), **fields)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize(("fields", "param"), RAW.values(), ids=RAW)
def test_a_mapping_that_passes_the_request_on_passes_all_of_it(fields: dict[str, Any], param: str, body: str) -> None:
    """Whatever OpenAI's schema allows."""
    exchange = ask(reading(body), **fields)
    assert exchange.dropped == ()
    sent = json.loads(exchange.backend_request().body or b"")
    assert fields.items() <= sent.get("a", sent).items()


MODES: dict[str, tuple[str, str]] = {
    "all cases": ("{none: a, required: b, tool: c}", ""),
    "no case": ("{none: a}", "required tool"),
    "one case": ("{required: b}", "tool"),
    "another case": ("{tool: {n: '{{ tool_choice.name }}'}}", "required"),
    "the rest": ("{none: a, $else: b}", ""),
}


@pytest.mark.parametrize(("cases", "refused"), MODES.values(), ids=MODES)
@pytest.mark.parametrize("mode", ["required", "tool", "auto", "none"])
def test_a_choice_that_has_no_case_is_refused(cases: str, refused: str, mode: str) -> None:
    """The tools alone would be called as the backend likes."""
    mapping = reading(f"a: '{{{{ tools }}}}', b: {{$match: tool_choice.mode, $cases: {cases}}}")
    choice: Any = {"type": "function", "function": {"name": "f"}} if mode == "tool" else mode
    if mode not in refused.split():
        assert ask(mapping, tools=TOOLS, tool_choice=choice).dropped == ()
        return
    with pytest.raises(ClientError) as caught:
        ask(mapping, tools=TOOLS, tool_choice=choice)
    assert (caught.value.param, caught.value.code) == ("tool_choice", "unsupported_parameter")


def test_a_choice_that_only_narrows_needs_no_template() -> None:
    """The tools that are sent say it all; that one of them must be called, they do not say."""
    more = [*TOOLS, {"type": "function", "function": {"name": "g"}}]
    narrow = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": TOOLS}}
    exchange = ask(reading("a: '{{ tools }}'"), tools=more, tool_choice=narrow)
    assert json.loads(exchange.backend_request().body or b"") == {"a": [{"name": "f"}]}
    with pytest.raises(ClientError) as caught:
        ask(reading("a: '{{ tools }}'"), tools=more, tool_choice=ALLOWED)
    assert caught.value.param == "tool_choice"


def test_who_asks_for_choices_is_told_of_the_remedy() -> None:
    """Several choices cost as many calls: they are the operator's to allow."""
    with pytest.raises(ClientError, match="nor is it in `emulate`"):
        ask(PLAIN, n=2)


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1], [2]]])
def test_lists_of_prompts_pass_as_they_came_with_the_request_alone(prompt: Any) -> None:
    """Of texts or of tokens; elsewhere each text is a request of its own."""
    exchange = ask(reading("a: '{{ request }}'"), endpoint="completions", prompt=prompt)
    assert json.loads(exchange.backend_request().body or b"")["a"]["prompt"] == prompt
    assert not exchange.each_prompt
    if isinstance(prompt[0], str):
        assert ask(PLAIN, endpoint="completions", prompt=prompt).each_prompt
        return
    with pytest.raises(ClientError) as caught:
        ask(PLAIN, endpoint="completions", prompt=prompt)
    assert (caught.value.param, caught.value.code) == ("prompt", "unsupported_parameter")


STRIPPED: dict[str, tuple[str, dict[str, Any], str | tuple[str, ...]]] = {
    "a knob": ("a: \"{{ request | strip_keys('seed') }}\"", {"seed": 1, "n": 2}, ("seed",)),
    "what changes the meaning": ("a: \"{{ request | strip_keys(['seed', 'n']) }}\"", {"n": 2}, "n"),
    "what is read beside it": ("a: \"{{ request | strip_keys('n') }}\", b: '{{ n }}'", {"n": 2}, ()),
    "the messages": (
        "a: \"{{ request | strip_keys('messages') }}\", b: '{{ prompt }}'",
        {"messages": HISTORY},
        ("messages",),
    ),
    "media of messages": (
        "a: \"{{ messages | strip_keys('parts', 'images_base64') }}\"",
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        "messages[0].content[0].type",
    ),
    "calls of messages": ("a: \"{{ messages | strip_keys('tool_calls') }}\"", {"messages": [USER, CALLS, RESULT]}, ""),
}


@pytest.mark.parametrize(("body", "fields", "wanted"), STRIPPED.values(), ids=STRIPPED)
def test_what_a_filter_strips_is_not_read(body: str, fields: dict[str, Any], wanted: str | tuple[str, ...]) -> None:
    """Although the rest is."""
    if isinstance(wanted, tuple):
        assert ask(reading(body), **fields).dropped == wanted
        return
    with pytest.raises(ClientError) as caught:
        ask(reading(body), **fields)
    assert caught.value.param == (wanted or "messages[1].tool_calls")


def test_the_tools_to_choose_from_are_the_tools() -> None:
    """A mapping of names sends those that are allowed, and the mode."""
    other = {"type": "function", "function": {"name": "g"}}
    exchange = ask(reading(EVERY_NAME), tools=[other, *TOOLS], tool_choice=ALLOWED)
    sent = json.loads(exchange.backend_request().body or b"")
    assert sent["b"] == [{"name": "f"}]
    assert sent["c"] == {"mode": "required"}


def test_a_name_for_the_messages_is_no_use_of_them() -> None:
    """A template that gives the list another name still carries only the attributes it reads: no image."""
    mapping = reading("i: '{% set c = messages %}{% for m in c %}{{ m.role }}{{ m.text }}{% endfor %}'")
    with pytest.raises(ClientError) as refused:
        ask(mapping, messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, IMAGE]}])
    assert refused.value.param == "messages[0].content[1].type"


def inputs(endpoint: str, request: str, response: str, **fields: Any) -> Exchange:
    """A request to an endpoint beyond chat."""
    head = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b'}\n"
    mapping = load(f"{head}{endpoint}:\n  request: {{body: {{{request}}}}}\n  response: {response}\n")
    call = DOORS[endpoint].parse({"model": "m", **fields})
    return Exchange(mapping, call, DOORS[endpoint].encoder(call, IDENTITY), IDENTITY)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, ()),
        ({"size": "1024x1024", "style": "vivid", "user": "u", "response_format": "url"}, ("size", "style")),
        ({"size": "auto", "n": 1, "background": "auto", "stream": False}, ()),
        ({"n": 2}, "n"),
        ({"background": "transparent"}, "background"),
        ({"output_format": "webp"}, "output_format"),
    ],
)
def test_fields_of_other_endpoints(fields: dict[str, Any], wanted: str | tuple[str, ...]) -> None:
    """Left out and named, or refused, as those of chat."""
    if isinstance(wanted, tuple):
        assert inputs("images", "p: '{{ prompt }}'", "{images: out}", prompt="a", **fields).dropped == wanted
        return
    with pytest.raises(ClientError) as caught:
        inputs("images", "p: '{{ prompt }}'", "{images: out}", prompt="a", **fields)
    assert (caught.value.param, caught.value.code) == (wanted, "unsupported_parameter")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("{default: reject}", "user"),
        ("{default: reject, user: drop}", ("user",)),
        ("{default: drop, encoding_format: reject}", "encoding_format"),
    ],
)
def test_what_is_done_here_has_no_default(said: str, wanted: str | tuple[str, ...]) -> None:
    """Nor has the model: they are refused or dropped only by their own names."""
    head = f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: 'https://b'}}\non_unsupported: {said}\n"
    mapping = load(f"{head}embeddings:\n  request: {{body: {{p: '{{{{ input }}}}'}}}}\n  response: {{vectors: out}}\n")
    door = DOORS["embeddings"]
    call = door.parse({"model": "m", "input": "a", "encoding_format": "base64", "user": "u"})
    if isinstance(wanted, tuple):
        assert Exchange(mapping, call, door.encoder(call, IDENTITY), IDENTITY).dropped == wanted
        return
    with pytest.raises(ClientError) as caught:
        Exchange(mapping, call, door.encoder(call, IDENTITY), IDENTITY)
    assert caught.value.param == wanted


@pytest.mark.parametrize("read", ["tokens", "request.input", "request"])
def test_token_ids_that_are_read(read: str) -> None:
    """By their own name, or in the raw request."""
    assert inputs("embeddings", f"t: '{{{{ {read} }}}}'", "{vectors: out}", input=[1, 2]).dropped == ()


def test_token_ids_that_are_not_read() -> None:
    """Are refused under the name that they have on the wire."""
    with pytest.raises(ClientError) as caught:
        inputs("embeddings", "t: '{{ input }}'", "{vectors: out}", input=[1, 2])
    assert caught.value.param == "input"
