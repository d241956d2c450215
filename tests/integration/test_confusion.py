"""Values of every wrong type in every field of a chat: a 400 that names the field, and no backend is asked (T13)."""

from __future__ import annotations

import json
from typing import Any

from scripted import REQUEST, Backend, Client, answer, hello, mapping

from oaiproxy.parameters import CHAT

KINDS: dict[str, Any] = {
    "boolean": True,
    "integer": 7,
    "fraction": 0.5,
    "text": "x",
    "array": [[]],
    "object": {"x": []},
}
NUMBER, WHOLE, FLAG, TEXT, NONE, OBJECT = {"integer", "fraction"}, {"integer"}, {"boolean"}, {"text"}, set(), {"object"}
BY_KIND: list[tuple[set[str], str]] = [
    (NUMBER, "temperature top_p top_k frequency_penalty presence_penalty"),
    (WHOLE, "n max_tokens max_completion_tokens seed top_logprobs"),
    (FLAG, "stream logprobs store parallel_tool_calls"),
    (TEXT, "model user service_tier reasoning_effort verbosity safety_identifier"),
    (TEXT, "prompt_cache_key prompt_cache_retention stop"),
    (NONE, "messages tools functions modalities"),
    (NONE, "logit_bias metadata response_format prediction tool_choice function_call"),
    (OBJECT, "stream_options web_search_options audio moderation prompt_cache_options"),
]
TAKES = {name: kinds for kinds, names in BY_KIND for name in names.split()}
"""The kinds of values that a field takes; of those that take none here, the values above are none of theirs."""
MESSAGES: dict[str, set[str]] = {
    "role": set(),
    "content": {"text"},
    "name": {"text"},
    "tool_calls": set(),
    "function_call": set(),
    "refusal": {"text"},
}


def cases() -> list[tuple[str, dict[str, Any]]]:
    """Where a value is wrong, and the fields of the request that hold it."""
    made = [
        (name, {name: value}) for name, takes in TAKES.items() for kind, value in KINDS.items() if kind not in takes
    ]
    message = {"role": "assistant", "content": "hi"}
    made += [
        (f"messages[0].{name}", {"messages": [message | {name: value}]})
        for name, takes in MESSAGES.items()
        for kind, value in KINDS.items()
        if kind not in takes
    ]
    result = {"role": "tool", "content": "hi"}
    made += [
        ("messages[0].tool_call_id", {"messages": [result | {"tool_call_id": value}]})
        for kind, value in KINDS.items()
        if kind != "text"
    ]
    return made


def test_every_field_is_confused() -> None:
    """But for those of which any JSON is right."""
    assert TAKES.keys() == CHAT.keys()
    assert len(cases()) >= 200


async def test_a_value_of_the_wrong_type_is_named_by_its_place(proxy: Any) -> None:
    """In all requests on one connection, which stays as good as it was."""
    async with Backend([REQUEST, answer({"text": "fine"}, headers={"Connection": "close"})]) as backend:
        running = await proxy(mapping(backend.url))
        told: list[Any] = []
        async with await Client.connect(running.url) as client:
            for where, fields in cases():
                await client.send(hello(**fields))
                wire = await client.answer()
                if wire.status != 400 or not str(wire.error["param"]).startswith(where):
                    told.append((where, json.dumps(fields), wire.status, wire.body))
        assert told == []
        assert backend.connections == []
