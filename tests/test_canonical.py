"""What templates see of a request: one shape of messages, parts, turns and tools, whatever the client wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support import HI, IDENTITY

from oaiproxy.canonical import SHAPES, Identity, Names, canonical_messages, turns
from oaiproxy.endpoints import chat, completions
from oaiproxy.opaque import seal
from oaiproxy.sandbox import ABSENT

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}}
PNG = "data:image/png;base64,iVBO"


def names(*messages: dict[str, Any], **fields: Any) -> Names:
    body = {"model": "m", "messages": list(messages) or HI["messages"], **fields}
    return Names(chat.parse(body), IDENTITY, model="theirs", stream=True, variables={"v": 1})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_what_was_not_sent_is_absent() -> None:
    """Null and defaults count as not sent; every name of the language has a value or is absent."""
    seen = names(temperature=None, n=1, tools=[], tool_choice="auto", response_format={"type": "text"}, stop=[])
    for name in ("temperature", "n", "tools", "tool_choice", "response_format", "stop", "system", "seed", "nowhere"):
        assert seen.lookup(name) is ABSENT, name
    assert {name for name in SHAPES if seen.lookup(name) is not ABSENT} == {
        *("prompt", "messages", "turns", "stream", "model", "extra", "request", "headers", "vars"),
        *("request_id", "uuid", "now"),
    }


def test_names_of_the_call_itself() -> None:
    """Given from outside, the same in every retry."""
    seen = names(top_p=1, **{"x-y": 5})
    assert [seen.lookup(name) for name in ("request_id", "uuid", "now")] == ["req_1", IDENTITY.uuid, IDENTITY.now]
    assert [seen.lookup(name) for name in ("model", "stream", "vars", "extra")] == [
        "theirs",
        True,
        {"v": 1},
        {"x-y": 5},
    ]
    assert seen.lookup("request")["top_p"] == 1


def test_created_is_in_whole_seconds() -> None:
    """As OpenAI's objects have it."""
    assert Identity("r", "t", "u", 17.9).created == 17


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": 100.0}, 100),
    ],
)
def test_max_tokens_has_one_name(fields: dict[str, Any], wanted: int) -> None:
    """The newer field wins, and integers are integers."""
    found = names(**fields).lookup("max_tokens")
    assert found == wanted
    assert isinstance(found, int)


@pytest.mark.parametrize(("stop", "wanted"), [("END", ["END"]), (["a", "b"], ["a", "b"])])
def test_stop_is_always_a_list(stop: Any, wanted: list[str]) -> None:
    """However it was sent."""
    assert names(stop=stop).lookup("stop") == wanted


def test_the_prompt_is_the_last_messages_text() -> None:
    """Text parts are joined; refusals are text; other parts have none, whatever stray keys they hold."""
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "http://x"}, "text": "stray"},
        {"type": "text", "text": "b"},
    ]
    assert names(user("first"), user(parts)).lookup("prompt") == "ab"
    assert names(user([])).lookup("prompt") == ""
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    assert names(refusal).lookup("prompt") == "no"


def test_system_is_all_system_and_developer_text() -> None:
    """Joined by an empty line, wherever it stands."""
    seen = names(
        {"role": "system", "content": "a"}, user("x"), {"role": "developer", "content": [{"type": "text", "text": "b"}]}
    )
    assert seen.lookup("system") == "a\n\nb"
    assert [message["role"] for message in seen.lookup("messages")] == ["system", "user", "system"]


PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"type": "text", "text": "a"}, {"type": "text", "text": "a"}),
    "refusal": ({"type": "refusal", "refusal": "a"}, {"type": "text", "text": "a"}),
    "image": (
        {"type": "image_url", "image_url": {"url": "http://x", "detail": "low"}},
        {"type": "image", "url": "http://x", "detail": "low"},
    ),
    "inline image": (
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image", "url": PNG, "media_type": "image/png", "base64": "iVBO"},
    ),
    "audio": (
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        {"type": "audio", "base64": "AA", "format": "wav"},
    ),
    "file": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:;base64,AA"}},
        {"type": "file", "filename": "a.pdf", "media_type": "application/octet-stream", "base64": "AA"},
    ),
    "file without a media type": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "AA"}},
        {"type": "file", "filename": "a.pdf", "base64": "AA"},
    ),
    "file by id": ({"type": "file", "file": {"file_id": "f1", "filename": None}}, {"type": "file", "file_id": "f1"}),
    "data that is not base64": (
        {"type": "image_url", "image_url": {"url": "data:text/plain,a"}},
        {"type": "image", "url": "data:text/plain,a"},
    ),
}


@pytest.mark.parametrize(("sent", "part"), PARTS.values(), ids=PARTS)
def test_parts(sent: dict[str, Any], part: dict[str, Any]) -> None:
    """Each kind of content part in the shape that templates know."""
    [message] = names(user([sent])).lookup("messages")
    assert message["parts"] == [part]
    assert message.get("images_base64", []) == (
        [part["base64"]] if part["type"] == "image" and "base64" in part else []
    )


def test_tool_calls_and_their_results() -> None:
    """Arguments parsed and as text; a result knows the name of its call, and its JSON."""
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "c1", "content": '{"n": 2}'}
    first, second = names(asked, result).lookup("messages")
    call = {"id": "c1", "name": "look", "arguments": {"q": 1}, "arguments_json": '{"q": 1}'}
    assert first == {"role": "assistant", "text": "", "tool_calls": [call], "parts": [{"type": "tool_call", **call}]}
    made = {"type": "tool_result", "id": "c1", "name": "look", "text": '{"n": 2}', "json": {"n": 2}}
    assert second["parts"] == [made]
    assert (second["tool_call_id"], second["tool_name"]) == ("c1", "look")


@pytest.mark.parametrize(("arguments", "parsed"), [(None, {}), ("", {}), ("not json", "not json"), ("[1]", [1])])
def test_odd_arguments(arguments: Any, parsed: Any) -> None:
    """None are the empty object; what is not JSON stays text."""
    call = {"id": None, "type": "function", "function": {"name": "f", "arguments": arguments}}
    [message] = names({"role": "assistant", "tool_calls": [call]}).lookup("messages")
    assert message["tool_calls"][0]["arguments"] == parsed
    assert message["tool_calls"][0]["id"] == ""


def test_tool_calls_of_others_are_an_unknown_field() -> None:
    """Only assistants call tools."""
    [message] = names(user("a") | {"tool_calls": [5]}).lookup("messages")
    assert "tool_calls" not in message


def test_a_message_keeps_its_name() -> None:
    """If it is one."""
    assert names(user("a") | {"name": "Ann"}).lookup("messages")[0]["name"] == "Ann"
    assert "name" not in names(user("a") | {"name": None}).lookup("messages")[0]


def test_turns_alternate() -> None:
    """System removed, tool results in user turns, neighbours of one side merged, the empty left out."""
    turns = names(
        {"role": "system", "content": "s"},
        user("a"),
        user([{"type": "text", "text": "b"}]),
        {"role": "assistant", "content": "c", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "d"},
        user("e"),
        {"role": "assistant", "content": ""},
        user("f"),
    ).lookup("turns")
    assert [(turn["role"], [part.get("text", part["type"]) for part in turn["parts"]]) for turn in turns] == [
        ("user", ["a", "b"]),
        ("assistant", ["c", "tool_call"]),
        ("user", ["d", "e", "f"]),
    ]


def test_a_conversation_of_nothing_is_one_empty_turn() -> None:
    """So that no backend gets a request without messages."""
    empty = [{"role": "user", "parts": [{"type": "text", "text": ""}]}]
    assert names(user("")).lookup("turns") == empty
    assert names({"role": "system", "content": "s"}).lookup("turns") == empty


def test_a_refusal_of_before_is_the_messages_text() -> None:
    """As clients send back a message that was one: `content` null and `refusal` beside it."""
    seen = names(user("a"), {"role": "assistant", "content": None, "refusal": "no"}, user("b"))
    assert seen.lookup("messages")[1]["text"] == "no"
    assert seen.lookup("turns")[1] == {"role": "assistant", "parts": [{"type": "text", "text": "no"}]}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": None}}
CHOICES: list[tuple[Any, dict[str, str]]] = [
    ("required", {"mode": "required"}),
    ("none", {"mode": "none"}),
    ({"type": "function", "function": {"name": "f"}}, {"mode": "tool", "name": "f"}),
    ({"type": "function", "name": "f"}, {"mode": "tool", "name": "f"}),
    ({"type": "function", "name": "f", "function": None}, {"mode": "tool", "name": "f"}),
]


@pytest.mark.parametrize(("choice", "wanted"), CHOICES)
def test_tools_and_their_choice(choice: Any, wanted: dict[str, str]) -> None:
    """Functions alone, without nulls; the choice as a mode, and none where there are no tools."""
    seen = names(tools=[TOOL], tool_choice=choice)
    assert seen.lookup("tools") == [{"name": "f", "parameters": {"type": "object"}}]
    assert seen.lookup("tool_choice") == wanted
    assert names(tool_choice=choice).lookup("tool_choice") is ABSENT


def test_a_completion_is_a_conversation_of_one_message() -> None:
    """So that a chat mapping serves it."""
    call = completions.parse({"model": "m", "prompt": "p", "suffix": "s"})
    seen = Names(call, IDENTITY, model="m", stream=False)
    assert (seen.lookup("prompt"), seen.lookup("suffix")) == ("p", "s")
    assert seen.lookup("turns") == [{"role": "user", "parts": [{"type": "text", "text": "p"}]}]


def test_state_and_reasoning_come_back() -> None:
    """Plain ids everywhere; reasoning parts first, for templates that ask for them."""
    sealed = seal("c1", "mine", [{"text": "hm", "state": "s"}])
    assert sealed is not None
    messages = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "a",
            "reasoning_content": "hm",
            "tool_calls": [{"id": sealed, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": sealed, "content": "ok"},
    ]
    call = chat.parse(HI | {"messages": messages})
    tool = {"id": "c1", "name": "f", "arguments": {}, "arguments_json": "{}", "state": "mine"}
    text = {"type": "text", "text": "a"}
    result = {"type": "tool_result", "id": "c1", "text": "ok", "name": "f"}
    _, said, told = canonical_messages(call)
    assert (said["parts"], said["tool_calls"]) == ([text, {"type": "tool_call", **tool}], [tool])
    assert (told["parts"], told["tool_call_id"], told["tool_name"]) == ([result], "c1", "f")
    asked = replace(call, reasoning=True)
    _, said, _ = canonical_messages(asked)
    assert said["parts"][:2] == [{"type": "reasoning", "text": "hm", "state": "s"}, text]
    assert turns(asked)[1]["parts"] == said["parts"]


def test_reasoning_of_others_than_the_assistant_is_none() -> None:
    """And an assistant's alone makes a turn."""
    call = replace(
        chat.parse(
            HI
            | {
                "messages": [
                    {"role": "user", "content": "hi", "reasoning_content": "x"},
                    {"role": "assistant", "content": None, "reasoning_content": "y"},
                ]
            }
        ),
        reasoning=True,
    )
    assert turns(call) == [
        {"role": "user", "parts": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "parts": [{"type": "reasoning", "text": "y"}]},
    ]
