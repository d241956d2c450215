"""A conversation of `POST /v1/messages` is the same one as chat messages."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints.conversation import read_messages
from oaiproxy.endpoints.messages_content import (
    UNSAID,
    open_state,
    read_conversation,
    read_input,
    read_system,
    seal_state,
)
from oaiproxy.errors import ClientError

PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
URL = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
URL_PART = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
CACHED = {"cache_control": {"type": "ephemeral"}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def chat(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """The chat messages of a conversation, which are such that chat takes them."""
    return read_messages([told.message for told in read_conversation(list(messages))])


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def document(source: Any, **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


def test_a_tool_that_was_found_is_named() -> None:
    """In the result of the search for it."""
    found = [{"type": "tool_reference", "tool_name": "Bash"}, {"type": "tool_reference", "tool_name": "Read"}]
    result = {"type": "tool_result", "tool_use_id": "t", "content": found}
    (told,) = read_conversation([{"role": "user", "content": [result]}])
    assert told.message == {"role": "tool", "tool_call_id": "t", "content": "Bash\nRead"}


@pytest.mark.parametrize(
    ("system", "told"),
    [(None, []), ("", []), ([], []), ("Be brief.", ["Be brief."]), ([text("a") | CACHED, text("b")], ["a\n\nb"])],
)
def test_a_system_prompt(system: Any, told: list[str]) -> None:
    """One message, if it says anything."""
    assert [each.message for each in read_system(system)] == [{"role": "system", "content": each} for each in told]


def test_texts_and_images() -> None:
    """One text is plain text; what chat has parts for stays apart; marks for caches are nothing to chat."""
    assert chat(
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}, user(text("a") | CACHED)
    ) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yo"},
        {"role": "user", "content": "a"},
    ]
    (message,) = chat(user(PNG | CACHED, URL, text("a"), text("b")))
    assert message["content"] == [PNG_PART, URL_PART, text("a"), text("b")]
    assert chat({"role": "system", "content": [text("a")]}, user(text("b")))[0] == {"role": "system", "content": "a"}


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (
            document({"type": "base64", "media_type": "application/pdf", "data": "AA=="}, title="a.pdf", context="old"),
            [
                text("old"),
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
            ],
        ),
        (document({"type": "file", "file_id": "f1"}), [{"type": "file", "file": {"file_id": "f1"}}]),
        (document({"type": "text", "media_type": "text/plain", "data": "x"}, title="T"), [text("T\nx")]),
        (document({"type": "content", "content": "x"}), [text("x")]),
        (document({"type": "content", "content": [text("x"), PNG]}, context="c"), [text("c\n"), text("x"), PNG_PART]),
        ({"type": "search_result", "title": "T", "source": "s", "content": [text("x")]}, [text("T\ns\nx")]),
    ],
)
def test_documents(block: Any, parts: list[Any]) -> None:
    """Files are files, texts are text with what is said about them."""
    (message,) = chat(user(block, text("?")))
    assert message["content"] == [*parts, text("?")]


def test_a_turn_with_tools() -> None:
    """Calls are calls, their input is text; results come first, each a message, then what else the user says."""
    said = [
        {"type": "thinking", "thinking": "H", "signature": "x"},
        text("a"),
        {"type": "redacted_thinking", "data": "theirs"},
        {"type": "thinking", "thinking": "m", "signature": "x"},
        text("b"),
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}} | CACHED,
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ]
    results = [
        text("now"),
        {"type": "tool_result", "tool_use_id": "t1", "content": [text("x"), PNG]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": "t3"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [PNG], "is_error": False},
    ]
    function = {"type": "function"}
    assert chat({"role": "assistant", "content": said}, user(*results)) == [
        {
            "role": "assistant",
            "content": "ab",
            "tool_calls": [
                {"id": "t1", **function, "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "t2", **function, "function": {"name": "g", "arguments": "{}"}},
            ],
            "reasoning_content": "Hm",
        },
        {"role": "tool", "tool_call_id": "t1", "content": "x"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no"},
        {"role": "tool", "tool_call_id": "t3", "content": ""},
        {"role": "tool", "tool_call_id": "t2", "content": UNSAID},
        {
            "role": "user",
            "content": [
                text("From the result of the tool f:"),
                PNG_PART,
                text("From the result of the tool g:"),
                PNG_PART,
                text("now"),
            ],
        },
    ]


def test_state_comes_back() -> None:
    """As fields of the message; data of others, and what is not ours in it, is left alone."""
    extra = {"extra_content": {"oaiproxy": {"of": "m", "state": [{"state": "s"}]}}}
    data = seal_state({**extra, "reasoning_content": "Hm."})
    said = [{"type": "redacted_thinking", "data": data}, text("a")]
    (message,) = chat({"role": "assistant", "content": said})
    assert message == {"role": "assistant", "content": "a", "reasoning_content": "Hm.", **extra}
    assert open_state(seal_state({"role": "system", "content": "x", "extra_content": 1, "reasoning_content": 2})) == {}
    for data in ("EqkE", "{}", '{"oaiproxy', '{"oaiproxy":1}', '{"oaiproxy":' + "[" * 9999):
        assert open_state(data) == {}


def test_where_messages_are_from() -> None:
    """Every message and part knows its place."""
    told = read_conversation([{"role": "user", "content": "a"}, user(PNG, text("b"))])
    assert [(each.place, each.parts) for each in told] == [
        ("messages.0", []),
        ("messages.1", ["messages.1.content.0", "messages.1.content.1"]),
    ]


def test_input_is_an_object() -> None:
    """Nothing is an empty one."""
    assert [read_input(each) for each in ("", "null", "{}", '{"a":1}')] == [{}, {}, {}, {"a": 1}]
    assert read_input("[]") == {"INVALID_JSON": "[]"}


MISTAKES: list[tuple[Any, str]] = [
    ([], "messages: at least one"),
    ("x", "messages: Input should be a valid list"),
    (["x"], "messages.0: Input should be an object"),
    ([{"content": "x"}], "messages.0.role: Field required"),
    ([{"role": "tool", "content": "x"}], "messages.0.role: Input should be one of 'user', 'assistant'"),
    ([{"role": "user"}], "messages.0.content: Field required"),
    ([{"role": "user", "content": 5}], "messages.0.content: Input should be a valid list"),
    ([{"role": "user", "content": []}], "messages.0.content: user messages must have non-empty content"),
    ([user({"text": "x"})], "messages.0.content.0.type: Field required"),
    ([user({"type": "text"})], "messages.0.content.0.text: Field required"),
    ([user({"type": "tool_use", "id": "x"})], "messages.0.content.0.type: 'tool_use' blocks are not supported here"),
    ([user(text("a"), {"type": "container_upload"})], "messages.0.content.1.type: 'container_upload' blocks"),
    ([user({"type": "image"})], "messages.0.content.0.source: Field required"),
    ([user({"type": "image", "source": {"type": "file"}})], "messages.0.content.0.source.type: Input should be"),
    ([user({"type": "image", "source": {"type": "base64"}})], "messages.0.content.0.source.media_type: Field required"),
    ([user(document({"type": "url", "url": "x"}))], "messages.0.content.0.source.type: Input should be one of"),
    ([user({"type": "tool_result"})], "messages.0.content.0.tool_use_id: Field required"),
    (
        [user({"type": "tool_result", "tool_use_id": "x", "content": [{"type": "server_tool_use"}]})],
        "messages.0.content.0.content.0.type: 'server_tool_use' blocks",
    ),
    ([{"role": "assistant", "content": [PNG]}], "messages.0.content.0.type: 'image' blocks"),
    (
        [{"role": "assistant", "content": [{"type": "server_tool_use"}]}],
        "messages.0.content.0.type: 'server_tool_use' blocks",
    ),
    (
        [{"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": "{}"}]}],
        "messages.0.content.0.input: Input should be an object",
    ),
    ([{"role": "system", "content": [PNG]}], "messages.0.content.0.type: Input should be one of 'text'"),
]


@pytest.mark.parametrize(("messages", "told"), MISTAKES, ids=[told for _, told in MISTAKES])
def test_mistakes_are_told_by_their_paths(messages: Any, told: str) -> None:
    """And what has no place in a chat is refused, not left out."""
    with pytest.raises(ClientError) as refused:
        read_conversation(messages)
    assert refused.value.message.startswith(told)
    assert refused.value.param == told.partition(":")[0]
