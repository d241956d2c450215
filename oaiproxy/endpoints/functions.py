"""Functions as they were called before there were tools: put in the words of tools, and answered in their own.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-functions
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from oaiproxy.canonical import Call, Message
from oaiproxy.errors import ClientError
from oaiproxy.events import ToolCallDelta
from oaiproxy.jsontext import Json
from oaiproxy.opaque import MARK

_OLD = ("functions", "function_call")


def with_tools(
    request: dict[str, Json], fields: dict[str, Json], messages: list[Message]
) -> tuple[dict[str, Json], dict[str, Json]]:
    """The body and its fields with functions as tools, one of which is called at a time.

    Raises ClientError when there are tools too.
    """
    functions, choice = fields.get("functions"), fields.get("function_call")
    if messages is not request["messages"]:
        request = {**request, "messages": messages}
    if not any(key in request for key in _OLD):
        return request, fields
    if functions and fields.get("tools"):
        raise ClientError(
            "Invalid value for 'functions': they stand in place of 'tools', and cannot be sent with them.",
            param="functions",
            code="invalid_value",
        )
    made: dict[str, Json] = {}
    if functions:
        made["tools"] = [{"type": "function", "function": each} for each in functions]
        if choice is not None:
            made["tool_choice"] = _tool_choice(choice)
    request, fields = ({key: value for key, value in old.items() if key not in _OLD} for old in (request, fields))
    if made:
        fields["parallel_tool_calls"] = False
    return request | made, fields | made


def _tool_choice(choice: Json) -> Json:
    return choice if isinstance(choice, str) else {"type": "function", "function": {"name": choice["name"]}}


def with_tool_calls(messages: list[Message]) -> list[Message]:
    """The conversation with calls of functions and their results as those of tools, by ids that are made up."""
    if not any(message.get("function_call") or message["role"] == "function" for message in messages):
        return messages
    made: list[Message] = []
    called: dict[str, str] = {}
    last = ""
    for index, message in enumerate(messages):
        if message["role"] == "function":
            call_id = called.pop(message["name"], "") or last
            result = {"role": "tool", "tool_call_id": call_id, "content": message.get("content") or ""}
            made.append(result if call_id else {**result, "tool_call_id": _id(index), "name": message["name"]})
            continue
        call = message.get("function_call") if message["role"] == "assistant" else None
        if call and not message.get("tool_calls"):
            last = call.get("id") or _id(index)
            called[call["name"]] = last
            function = {"name": call["name"], "arguments": call.get("arguments") or "{}"}
            message = {**message, "tool_calls": [{"id": last, "type": "function", "function": function}]}
        if call:
            message = {key: value for key, value in message.items() if key != "function_call"}
        made.append(message)
    return made


def _id(index: int) -> str:
    return f"call_function_{index}"


def wants_functions(call: Call) -> bool:
    """Whether the client sent functions, and is to be answered in their words."""
    return bool(call.sent.get("functions"))


def function_call(event: ToolCallDelta) -> dict[str, Json]:
    """What an event tells of the one call. State that its backend needs again is in an id, which OpenAI's has not."""
    if event.name is None:
        return {"arguments": event.arguments}
    made: dict[str, Json] = {"name": event.name, "arguments": event.arguments}
    return {**made, "id": event.id} if event.id and MARK in event.id else made


def client_param(sent: Mapping[str, Json], param: str) -> str:
    """What the client calls a field that an error names by tools."""
    messages = sent.get("messages")
    if (found := _IN_MESSAGE.match(param)) and isinstance(messages, list):
        old = messages[int(found[1])].get("function_call")
        return f"messages[{found[1]}].function_call" if old else param
    if not sent.get("functions"):
        return param
    param = re.sub(r"^tools(\[\d+\])?(\.type$|\.function)?", r"functions\1", param)
    return re.sub(r"^tool_choice(\.type$|\.function)?", "function_call", param)


_IN_MESSAGE = re.compile(r"messages\[(\d+)\]\.tool_calls\b")
