"""The `messages` of a chat request, checked: every mistake named by its path, such as `messages[2].content[0].type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from oaiproxy.canonical import PART_TYPES, Message
from oaiproxy.endpoints.functions import with_tool_calls
from oaiproxy.errors import ClientError
from oaiproxy.jsontext import Json
from oaiproxy.parameters import invalid_type, invalid_value, mapping, missing, optional, required, string

ROLES = ("developer", "system", "user", "assistant", "tool", "function")


def read_messages(value: Json) -> list[Message]:
    """The messages, if they are messages, with functions as tools. Raises ClientError that names what is not."""
    if value is None:
        raise missing("messages")
    if not isinstance(value, list):
        raise invalid_type("messages", value, "an array of objects")
    if not value:
        raise ClientError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    for index, message in enumerate(value):
        _check_message(message, f"messages[{index}]")
    return with_tool_calls(value)


def _check_message(message: Json, place: str) -> None:
    if not isinstance(message, dict):
        raise invalid_type(place, message, "an object")
    role = required(message, "role", place, string)
    if role not in ROLES:
        raise invalid_value(f"{place}.role", f"'{role[:40]}'; supported values are: {', '.join(map(repr, ROLES))}")
    content = message.get("content")
    if role == "assistant":
        _check_tool_calls(message.get("tool_calls"), f"{place}.tool_calls")
        if message.get("function_call") is not None:
            _check_call(message["function_call"], f"{place}.function_call")
    if content is None:
        if role not in ("assistant", "function"):
            raise missing(f"{place}.content")
    elif not isinstance(content, str):
        _check_parts(content, f"{place}.content")
    if role == "tool":
        required(message, "tool_call_id", place, string)
    elif role == "function":
        required(message, "name", place, string)
    for key in ("name", "refusal"):
        optional(message, key, place, string)


def _check_parts(content: Json, place: str) -> None:
    if not isinstance(content, list):
        raise invalid_type(place, content, "a string or an array of content parts")
    for index, part in enumerate(content):
        here = f"{place}[{index}]"
        mapping(part, here)
        kind = required(part, "type", here, string)
        if kind not in PART_TYPES:
            supported = ", ".join(map(repr, PART_TYPES))
            raise invalid_value(f"{here}.type", f"'{kind[:40]}'; supported values are: {supported}")
        _PART_CHECKS[kind](part, here)


def _check_text(part: Json, place: str) -> None:
    required(part, part["type"], place, string)


def _check_image(part: Json, place: str) -> None:
    image = required(part, "image_url", place, mapping)
    required(image, "url", f"{place}.image_url", string)
    optional(image, "detail", f"{place}.image_url", string)


def _check_audio(part: Json, place: str) -> None:
    audio = required(part, "input_audio", place, mapping)
    required(audio, "data", f"{place}.input_audio", string)
    required(audio, "format", f"{place}.input_audio", string)


def _check_file(part: Json, place: str) -> None:
    file = required(part, "file", place, mapping)
    for key in ("filename", "file_id", "file_data"):
        optional(file, key, f"{place}.file", string)


_PART_CHECKS: Mapping[str, Callable[[Json, str], None]] = {
    "text": _check_text,
    "refusal": _check_text,
    "image_url": _check_image,
    "input_audio": _check_audio,
    "file": _check_file,
}


def _check_tool_calls(calls: Json, place: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise invalid_type(place, calls, "an array")
    for index, call in enumerate(calls):
        here = f"{place}[{index}]"
        mapping(call, here)
        optional(call, "id", here, string)
        if call.get("type") == "custom":
            custom = required(call, "custom", here, mapping)
            required(custom, "name", f"{here}.custom", string)
            optional(custom, "input", f"{here}.custom", string)
            continue
        _check_call(required(call, "function", here, mapping), f"{here}.function")


def _check_call(function: Json, place: str) -> None:
    required(mapping(function, place), "name", place, string)
    for key in ("arguments", "id"):
        optional(function, key, place, string)
