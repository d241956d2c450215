"""The `messages` of a chat request, checked: every mistake named by its path, such as `messages[2].content[0].type`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from oaiproxy.canonical import PART_TYPES, Message
from oaiproxy.errors import ClientError
from oaiproxy.jsontext import Json
from oaiproxy.parameters import invalid_type, invalid_value, missing

ROLES = ("developer", "system", "user", "assistant", "tool")


def read_messages(value: Json) -> list[Message]:
    """The messages, if they are messages. Raises ClientError that names what is not."""
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
    return value


def _check_message(message: Json, place: str) -> None:
    if not isinstance(message, dict):
        raise invalid_type(place, message, "an object")
    role = message.get("role")
    if role is None:
        raise missing(f"{place}.role")
    if not isinstance(role, str):
        raise invalid_type(f"{place}.role", role, "a string")
    if role not in ROLES:
        raise invalid_value(f"{place}.role", f"'{role[:40]}'; supported values are: {', '.join(map(repr, ROLES))}")
    content = message.get("content")
    if role == "assistant":
        _check_tool_calls(message.get("tool_calls"), f"{place}.tool_calls")
    if content is None:
        if role != "assistant":
            raise missing(f"{place}.content")
    elif not isinstance(content, str):
        _check_parts(content, f"{place}.content")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise missing(f"{place}.tool_call_id")


def _check_parts(content: Json, place: str) -> None:
    if not isinstance(content, list):
        raise invalid_type(place, content, "a string or an array of content parts")
    for index, part in enumerate(content):
        here = f"{place}[{index}]"
        if not isinstance(part, dict):
            raise invalid_type(here, part, "an object")
        kind = part.get("type")
        if not isinstance(kind, str):
            raise missing(f"{here}.type") if kind is None else invalid_type(f"{here}.type", kind, "a string")
        if kind not in PART_TYPES:
            supported = ", ".join(map(repr, PART_TYPES))
            raise invalid_value(f"{here}.type", f"'{kind[:40]}'; supported values are: {supported}")
        _PART_CHECKS[kind](part, here)


def _check_text(part: Json, place: str) -> None:
    key = part["type"]
    if not isinstance(part.get(key), str):
        raise (
            missing(f"{place}.{key}")
            if part.get(key) is None
            else invalid_type(f"{place}.{key}", part[key], "a string")
        )


def _check_image(part: Json, place: str) -> None:
    image = part.get("image_url")
    if image is None:
        raise missing(f"{place}.image_url")
    if not isinstance(image, dict):
        raise invalid_type(f"{place}.image_url", image, "an object")
    if not isinstance(image.get("url"), str):
        raise missing(f"{place}.image_url.url")


def _check_object(key: str) -> Callable[[Json, str], None]:
    def check(part: Json, place: str) -> None:
        if not isinstance(part.get(key), dict):
            raise (
                missing(f"{place}.{key}")
                if part.get(key) is None
                else invalid_type(f"{place}.{key}", part[key], "an object")
            )

    return check


_PART_CHECKS: Mapping[str, Callable[[Json, str], None]] = {
    "text": _check_text,
    "refusal": _check_text,
    "image_url": _check_image,
    "input_audio": _check_object("input_audio"),
    "file": _check_object("file"),
}


def _check_tool_calls(calls: Json, place: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise invalid_type(place, calls, "an array")
    for index, call in enumerate(calls):
        here = f"{place}[{index}]"
        if not isinstance(call, dict):
            raise invalid_type(here, call, "an object")
        function = call.get("function")
        if not isinstance(function, dict):
            raise missing(f"{here}.function")
        if not isinstance(function.get("name"), str):
            raise missing(f"{here}.function.name")
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            raise invalid_type(f"{here}.function.arguments", arguments, "a string")
