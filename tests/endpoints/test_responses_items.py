"""Promises of `oaiproxy.endpoints.responses_items`: items as chat's messages, mistakes by place."""

from __future__ import annotations

import zlib
from base64 import b64encode
from typing import Any

import pytest

from oaiproxy.endpoints import responses_items
from oaiproxy.endpoints.responses_items import UNSAID, Conversation, listed, pack, unpack
from oaiproxy.errors import ClientError

STATE = {"oaiproxy": {"of": "m", "state": [{"state": "s"}]}}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
DATA = "data:image/png;base64,AAAA"


def talk(*items: Any, find: Any = lambda item_id: None) -> Conversation:
    """The conversation of these items."""
    made = Conversation(find)
    made.read(list(items))
    made.finished()
    return made


def messages(*items: Any) -> list[Any]:
    return talk(*items).messages


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("hi", "hi"),
        ([], ""),
        ([{"type": "input_text", "text": "hi"}], "hi"),
        ([{"type": "text", "text": "hi"}], "hi"),
        (
            [{"type": "output_text", "text": "a", "annotations": []}, {"type": "refusal", "refusal": "b"}],
            [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
        ),
        (
            [{"type": "input_image", "image_url": DATA, "detail": "low"}],
            [{"type": "image_url", "image_url": {"url": DATA, "detail": "low"}}],
        ),
        (
            [{"type": "input_file", "filename": "a.pdf", "file_data": "AA==", "file_id": None}],
            [{"type": "file", "file": {"filename": "a.pdf", "file_data": "AA=="}}],
        ),
        (
            [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}],
            [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}],
        ),
    ],
)
def test_content(content: Any, read: Any) -> None:
    """Text alone is text, everything else chat's parts."""
    assert messages({"role": "user", "content": content}) == [{"role": "user", "content": read}]
    output = {"type": "function_call_output", "call_id": "c1", "output": content}
    if isinstance(read, str) or all(part["type"] in ("text", "refusal") for part in read):
        assert messages({**CALL}, output)[1]["content"] == read


def test_calls_join_the_message_before_them() -> None:
    """As one answer of the assistant; results and later answers are messages of their own."""
    result = {"type": "function_call_output", "call_id": "c1", "output": "done"}
    said = {"role": "assistant", "content": "Let me look."}
    made = messages(said, CALL, {**CALL, "call_id": "c2"}, result, CALL, {**said, "content": "Done."})
    assert [(each["role"], len(each.get("tool_calls", []))) for each in made] == [
        ("assistant", 2),
        ("tool", 0),
        ("assistant", 1),
        ("assistant", 0),
    ]
    assert (made[0]["content"], made[2]["content"]) == ("Let me look.", None)
    assert made[1] == {"role": "tool", "tool_call_id": "c1", "content": "done"}


def test_custom_tools() -> None:
    """Their calls and results."""
    call = {"type": "custom_tool_call", "call_id": "c1", "name": "sh", "input": "ls"}
    made = messages(call, {"type": "custom_tool_call_output", "call_id": "c1", "output": "a.txt"})
    assert made[0]["tool_calls"] == [{"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]
    assert made[1]["tool_call_id"] == "c1"


def test_state_of_ours_goes_back_to_its_message() -> None:
    """Before its text or behind it; reasoning without it goes nowhere."""
    state = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": pack(STATE)}
    said = {"role": "assistant", "content": "a"}
    for items in ([said, state], [state, said]):
        assert messages(*items) == [{"role": "assistant", "content": "a", "extra_content": STATE}]
    assert messages(state, {"role": "user", "content": "b"})[0] == {
        "role": "assistant",
        "extra_content": STATE,
        "content": "",
    }
    other = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    assert messages(other, {"role": "user", "content": "b"}) == [{"role": "user", "content": "b"}]


def test_what_was_packed_comes_back() -> None:
    """Only if we packed it, whole, and not more than there is room for."""
    assert unpack(pack([1, "a"]))[0] == [1, "a"]
    bomb = b64encode(zlib.compress(b'"' + b"a" * 100 + b'"')).decode()
    assert unpack(f"oaiproxy:{bomb}", 50) == (None, 50)
    for text in ("", "x", "oaiproxy:", "oaiproxy:!", "oaiproxy:AAAA", pack("a")[:-4], f"{pack('a')}AAAA"):
        assert unpack(text)[0] is None
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    for value in (deep, "a" * responses_items.MAX_PACKED):
        with pytest.raises(ClientError):
            pack(value)


def test_what_all_of_a_request_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only each of its items."""
    monkeypatch.setattr(responses_items, "MAX_PACKED", 100)
    item = {"type": "compaction", "encrypted_content": pack([{"role": "user", "content": "a" * 40}])}
    assert len(messages(item)) == 1
    with pytest.raises(ClientError) as caught:
        messages(item, item)
    assert caught.value.param == "input[1].encrypted_content"


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ("hi", "", "invalid_type"),
        ({}, ".type", "missing_required_parameter"),
        ({"type": 1}, ".type", "invalid_type"),
        ({"type": "local_shell_call", "id": "ls_1"}, ".type", "invalid_value"),
        ({"type": "message", "content": "a"}, ".role", "missing_required_parameter"),
        ({"role": "tool", "content": "a"}, ".role", "invalid_value"),
        ({"role": "user"}, ".content", "missing_required_parameter"),
        ({"role": "user", "content": 1}, ".content", "invalid_type"),
        ({"role": "user", "content": ["a"]}, ".content[0]", "invalid_type"),
        ({"role": "user", "content": [{"text": "a"}]}, ".content[0].type", "missing_required_parameter"),
        ({"role": "user", "content": [{"type": "smell"}]}, ".content[0].type", "invalid_value"),
        ({"role": "user", "content": [{"type": "input_text", "text": 1}]}, ".content[0].text", "invalid_type"),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": {}}]},
            ".content[0].image_url",
            "invalid_type",
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            ".content[0].file_id",
            "unsupported_value",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_url": "u"}]},
            ".content[0].file_url",
            "unsupported_value",
        ),
        ({"role": "user", "content": [{"type": "input_file"}]}, ".content[0].file_data", "missing_required_parameter"),
        ({"type": "function_call", "call_id": "c"}, ".name", "missing_required_parameter"),
        ({"type": "function_call", "name": "f"}, ".call_id", "missing_required_parameter"),
        ({**CALL, "arguments": {}}, ".arguments", "invalid_type"),
        ({"type": "function_call_output", "call_id": "c"}, ".output", "missing_required_parameter"),
        ({"type": "function_call_output", "call_id": "c", "output": 1}, ".output", "invalid_type"),
        ({"type": "reasoning", "encrypted_content": 1}, ".encrypted_content", "invalid_type"),
        ({"type": "compaction", "encrypted_content": "x"}, ".encrypted_content", "invalid_value"),
        ({"type": "item_reference", "id": "x"}, ".id", "item_not_found"),
    ],
)
def test_mistakes_are_named_by_their_place(item: Any, param: str, code: str) -> None:
    """By the client's own path."""
    with pytest.raises(ClientError) as caught:
        talk({"role": "user", "content": "a"}, item)
    assert (caught.value.param, caught.value.code) == (f"input[1]{param}", code)


def test_every_message_knows_where_it_came_from() -> None:
    """So that what the mapping refuses can be named."""
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    made = Conversation(lambda item_id: None)
    made.instruct("Be brief.")
    made.remember([{"role": "user", "content": "old"}])
    made.read([{"role": "user", "content": parts}, CALL])
    places = made.places
    assert places["messages[0]"] == "instructions"
    assert places["messages[1].content"] == "previous_response_id"
    assert places["messages[2].content"] == "input[0].content"
    assert places["messages[3].tool_calls[0]"] == "input[1]"


@pytest.mark.parametrize("said", [[{"type": "input_text", "text": "seen"}], []])
def test_images_of_results_are_shown_behind_them(said: Any) -> None:
    """For chat's results are text, and nothing stands between those of one turn; errors name where they came from."""
    other = {**CALL, "call_id": "c2", "name": "g"}
    shown = {
        "type": "function_call_output",
        "call_id": "c1",
        "output": [*said, {"type": "input_image", "image_url": DATA}],
    }
    plain = {"type": "function_call_output", "call_id": "c2", "output": "done"}
    made = talk(CALL, other, shown, plain, {"role": "user", "content": "go on"})
    assert [message["role"] for message in made.messages] == ["assistant", "tool", "tool", "user", "user"]
    assert made.messages[1]["content"] == ("seen" if said else UNSAID)
    assert made.messages[3]["content"] == [
        {"type": "text", "text": "From the result of the tool f:"},
        {"type": "image_url", "image_url": {"url": DATA}},
    ]
    assert made.places["messages[3].content[1]"] == f"input[2].output[{len(said)}]"
    assert [message["role"] for message in messages(CALL, shown)] == ["assistant", "tool", "user"]
    again = Conversation(lambda item_id: None)
    again.remember(made.items)
    assert again.finished() == made.messages
    assert again.places["messages[3].content[1]"] == "previous_response_id"


def test_a_list_of_items_has_ids_and_parts() -> None:
    """Those that the client gave stay."""
    items = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "id": "msg_9"},
        {"type": "function_call", "call_id": "c", "name": "f"},
        {"type": "reasoning"},
    ]
    made = listed(items, "t")
    assert [item["id"] for item in made] == ["msg_t0000", "msg_9", "fc_t0002", "rs_t0003"]
    assert made[0]["content"] == [{"type": "input_text", "text": "a"}]
    assert made[1]["content"] == [{"type": "output_text", "text": "b", "annotations": [], "logprobs": []}]
    assert (made[2]["arguments"], made[2]["status"], made[3]["summary"]) == ("", "completed", [])


def test_parts_in_a_list_of_items_have_what_may_be_left_out() -> None:
    """And no nulls, which are what was not sent."""
    part = {"type": "output_text", "text": "b", "annotations": None, "x": 1}
    image = {"type": "input_image", "image_url": "data:image/png;base64,aQ==", "file_id": None}
    [made] = listed([{"role": "user", "content": [part, image], "phase": None}], "t")
    assert made["content"] == [
        {"type": "output_text", "text": "b", "annotations": [], "logprobs": [], "x": 1},
        {"type": "input_image", "image_url": image["image_url"], "detail": "auto"},
    ]
    assert "phase" not in made
