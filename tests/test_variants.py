"""Promises of `oaiproxy.variants`: what a mapping says of single models, and of fields that it does not read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ask, chat, findings_of

from oaiproxy.errors import ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.mapping import Mapping
from oaiproxy.variants import overlaid

USER = {"role": "user", "content": "a"}
IMAGE = {"type": "image_url", "image_url": {"url": "http://x"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "aQ==", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "f"}}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "found"}
BODY = "p: '{{ prompt }}', t: '{{ temperature }}', m: '{{ max_tokens }}', o: '{{ tools }}', c: '{{ tool_choice }}'"


def special(said: str, body: str = BODY, more: str = "") -> Mapping:
    return chat(
        response="{text: t}",
        stream="{format: sse, text: t}",
        request=f"{{path: /g, body: {{n: '{{{{ model }}}}', s: '{{{{ stream }}}}', {body}}}}}",
        more=f"vars: {{a: 1, b: {{c: 2}}}}\n{more}",
        models=f"{{m: {said}}}",
    )


def sent(exchange: Exchange) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(exchange.backend_request().body or b"")
    return made


def test_the_backends_name_is_the_same_or_another() -> None:
    """As with the short form."""
    assert sent(ask(special("{as: theirs}")))["n"] == "theirs"
    assert sent(ask(special("{drop: [seed]}")))["n"] == "m"


DROPPED: dict[str, tuple[str, dict[str, Any], tuple[str, ...], dict[str, Any]]] = {
    "a field": ("[temperature]", {"temperature": 1, "max_tokens": 5}, ("temperature",), {"m": 5}),
    "one that is not sent": ("[temperature]", {"max_tokens": 5}, (), {"m": 5}),
    "one that says nothing": ("[temperature]", {"temperature": None}, (), {}),
    "a field of two names": ("[max_tokens]", {"max_completion_tokens": 5}, ("max_completion_tokens",), {}),
    "by its other name": ("[max_completion_tokens]", {"max_tokens": 5}, ("max_tokens",), {}),
    "tools and what is about them": (
        "[tools]",
        {"tool_choice": "required", "tools": TOOLS, "parallel_tool_calls": False},
        ("tools", "tool_choice", "parallel_tool_calls"),
        {},
    ),
    "the choice alone": (
        "[tool_choice]",
        {"tools": TOOLS, "tool_choice": "required"},
        ("tool_choice",),
        {"o": [{"name": "f"}]},
    ),
}


@pytest.mark.parametrize(("drop", "fields", "dropped", "rest"), DROPPED.values(), ids=DROPPED)
def test_fields_are_dropped(drop: str, fields: dict[str, Any], dropped: tuple[str, ...], rest: dict[str, Any]) -> None:
    """For this model, although templates read them; what was sent is named."""
    exchange = ask(special(f"{{drop: {drop}}}"), **fields)
    assert exchange.dropped == dropped
    assert sent(exchange) == {"n": "m", "s": False, "p": "hi"} | rest


def test_the_raw_body_is_without_them() -> None:
    """As it is without what other models are not told."""
    exchange = ask(special("{drop: [seed]}", "r: '{{ request }}'"), seed=1, temperature=1)
    assert sent(exchange)["r"].keys() == {"model", "messages", "temperature"}


def test_things_in_messages_are_dropped() -> None:
    """Parts, and tool calls with their results; what is empty then is no message."""
    mapping = special("{drop: [images, tool_calls]}", "r: '{{ messages }}', q: '{{ request.messages }}'")
    text = {"type": "text", "text": "b"}
    messages = [{"role": "user", "content": [IMAGE, text]}, {"role": "user", "content": [IMAGE]}, CALLS, RESULT, USER]
    exchange = ask(mapping, messages=messages)
    assert exchange.dropped == ("images", "tool_calls")
    made = sent(exchange)
    assert made["q"] == [{"role": "user", "content": [text]}, USER]
    assert [message["text"] for message in made["r"]] == ["b", "a"]
    with pytest.raises(ClientError) as caught:
        ask(mapping, messages=[{"role": "user", "content": [IMAGE]}])
    assert caught.value.param == "messages"


DEFAULTS: dict[str, tuple[dict[str, Any], Any]] = {
    "nothing sent": ({}, 7),
    "null sent": ({"max_tokens": None}, 7),
    "sent": ({"max_tokens": 5}, 5),
    "sent as zero": ({"max_tokens": 0}, 0),
    "sent by the other name": ({"max_completion_tokens": 5}, 5),
}


@pytest.mark.parametrize(("fields", "tokens"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults_stand_for_what_was_not_sent(fields: dict[str, Any], tokens: Any) -> None:
    """Under the name and in the raw body."""
    mapping = special("{defaults: {max_tokens: 7}}", BODY + ", r: '{{ request }}'")
    made = sent(ask(mapping, **fields))
    assert made["m"] == tokens
    assert made["r"].get("max_completion_tokens", made["r"].get("max_tokens")) == tokens


def test_a_default_does_not_undo_what_was_said() -> None:
    """A value that changes nothing was sent all the same."""
    mapping = special("{defaults: {n: 2}}", "k: '{{ n }}'")
    assert sent(ask(mapping))["k"] == 2
    assert "k" not in sent(ask(mapping, n=1))


def test_what_is_dropped_and_has_a_default_always_has_it() -> None:
    """Whatever the client sends."""
    exchange = ask(special("{drop: [temperature], defaults: {temperature: 1}}"), temperature=0.2)
    assert sent(exchange)["t"] == 1
    assert exchange.dropped == ("temperature",)


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize(("mode", "streams"), [("auto", None), ("never", False), ("always", True)])
def test_the_backend_streams_as_the_model_says(mode: str, streams: bool | None, client: bool) -> None:
    """Whatever the client asks for, which gets that all the same."""
    exchange = ask(special(f"{{stream: {mode}}}"), stream=client)
    assert exchange.backend_streams is (client if streams is None else streams)
    assert sent(exchange)["s"] is exchange.backend_streams
    assert exchange.encoder.streams is client


def test_constants_are_laid_over_those_of_the_file() -> None:
    """Mappings merge deep, null deletes, and only some models may have one."""
    mapping = special("{vars: {a: ~, b: {d: 3}, e: 4}}", "p: '{{ prompt }}', v: '{{ vars }}', e: '{{ vars.e }}'")
    assert sent(ask(mapping))["v"] == {"b": {"c": 2, "d": 3}, "e": 4}
    assert overlaid({"a": {"b": 1}}, {"a": {"b": None, "c": {"d": 1}}}) == {"a": {"c": {"d": 1}}}


def overriding(said: str, body: str = "p: '{{ prompt }}'") -> Mapping:
    return special("~", body, f"on_unsupported: {said}")


def refused(mapping: Mapping, **fields: Any) -> str | None:
    with pytest.raises(ClientError) as caught:
        ask(mapping, **fields)
    assert caught.value.code == "unsupported_parameter"
    return caught.value.param


UNSUPPORTED: dict[str, tuple[str, dict[str, Any], str | tuple[str, ...]]] = {
    "reject a knob": ("{temperature: reject}", {"temperature": 1}, "temperature"),
    "reject by the other name": ("{max_tokens: reject}", {"max_completion_tokens": 1}, "max_completion_tokens"),
    "ignore a knob": ("{temperature: ignore}", {"temperature": 1, "seed": 1}, ("seed",)),
    "drop tools": ("{tools: drop}", {"tool_choice": "required", "tools": TOOLS}, ("tools", "tool_choice")),
    "ignore tools": ("{tools: ignore}", {"tools": TOOLS, "tool_choice": "required"}, ()),
    "drop functions": (
        "{functions: drop}",
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        ("tools", "tool_choice", "parallel_tool_calls"),
    ),
    "drop what changes the meaning": ("{n: drop}", {"n": 2}, ("n",)),
    "drop all": ("{default: drop}", {"n": 2, "user": "u", "seed": 1}, ("n", "user", "seed")),
    "reject all": ("{default: reject}", {"user": "u"}, "user"),
    "reject all but one": ("{default: reject, user: drop}", {"user": "u"}, ("user",)),
    "nothing is rejected that was not said": ("{default: reject}", {"n": 1, "user": None, "stream": True, "x": 1}, ()),
    "messages are not meant by the default": ("{default: reject}", {"messages": [USER, USER]}, ("messages",)),
    "images are not meant by the default": (
        "{default: ignore}",
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        "messages[0].content[0].type",
    ),
    "reject earlier messages": ("{messages: reject}", {"messages": [USER, USER]}, "messages"),
    "ignore earlier messages": ("{messages: ignore}", {"messages": [USER, USER]}, ()),
}


@pytest.mark.parametrize(("said", "fields", "wanted"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_becomes_of_unread_fields_can_be_said(
    said: str, fields: dict[str, Any], wanted: str | tuple[str, ...]
) -> None:
    """Refused, dropped and named, or ignored; the rest as ever."""
    if isinstance(wanted, str):
        assert refused(overriding(said), **fields) == wanted
        return
    exchange = ask(overriding(said), **fields)
    assert exchange.dropped == wanted
    assert sent(exchange) == {"n": "m", "s": bool(fields.get("stream")), "p": exchange.call.messages[-1]["content"]}


def test_what_is_read_is_not_unsupported() -> None:
    """Whatever is said of it."""
    exchange = ask(overriding("{default: reject, temperature: reject}", BODY), temperature=1, tools=TOOLS)
    assert exchange.dropped == ()
    assert sent(exchange)["t"] == 1


@pytest.mark.parametrize(("name", "part"), [("images", IMAGE), ("input_audio", SOUND), ("files", FILE)])
def test_media_are_dropped_where_that_is_said(name: str, part: Any) -> None:
    """Each kind by its own name; the text beside them stays."""
    content = [{"type": "text", "text": "a"}, part]
    body = (
        "q: [{$for: m in messages, r: '{{ m.role }}', t: '{{ m.text }}', k: [{$for: p in m.parts, k: '{{ p.type }}'}]}]"
    )
    exchange = ask(overriding(f"{{{name}: drop}}", body), messages=[{"role": "user", "content": content}])
    assert exchange.dropped == (name,)
    assert sent(exchange)["q"] == [{"r": "user", "t": "a", "k": [{"k": "text"}]}]
    others = {"images", "input_audio", "files"} - {name}
    for other in others:
        where = refused(overriding(f"{{{other}: drop}}", body), messages=[{"role": "user", "content": content}])
        assert where == "messages[0].content[1].type"


def test_a_history_of_tools_is_dropped_where_that_is_said() -> None:
    """Calls and results together; a conversation of nothing else is refused."""
    mapping = overriding("{tool_calls: drop}", "q: [{$for: m in messages, t: '{{ m.text }}'}]")
    exchange = ask(
        mapping, messages=[USER, CALLS, RESULT, {"role": "assistant", "content": "b", "tool_calls": [CALL]}, USER]
    )
    assert exchange.dropped == ("tool_calls",)
    assert sent(exchange)["q"] == [{"t": "a"}, {"t": "b"}, {"t": "a"}]
    assert refused(mapping, messages=[CALLS, RESULT]) == "messages"


def test_a_constant_of_some_models_may_be_absent() -> None:
    """Its name is known."""
    text = """oaiproxy: 1
models: {a: {vars: {folder: f}}, b: ~}
backend: {url: "https://backend.test"}
chat:
  request: {path: /x, body: {q: "{{ prompt }}", f: "{{ vars.folder }}", g: "{{ vars.foldr }}"}}
  response: {text: out}
"""
    mapping, [found] = findings_of(text)
    assert mapping is None
    assert (found.code, found.label) == ("E204", "did you mean `folder`?")
