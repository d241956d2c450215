"""The request fields of OpenAI's endpoints: their types, their defaults, and what it means when a mapping reads none.

Sources: https://platform.openai.com/docs/api-reference/chat/create and /completions/create.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from oaiproxy.errors import ClientError
from oaiproxy.filters import kind
from oaiproxy.jsontext import Json

Check: TypeAlias = Callable[[Json, str], Json]
"""The value of the field at that path, as templates see it. Raises ClientError when it is not of the field's type."""


class Unread(Enum):
    """What becomes of a field that was sent to a mapping that never reads it."""

    REFUSE = "refuse"
    """It changes what the answer means: a 400 that names it."""
    DROP = "drop"
    """A knob: left out, and named in the header `x-oaiproxy-dropped`."""
    IGNORE = "ignore"
    """A hint with no effect on the answer: left out."""


@dataclass(frozen=True, slots=True)
class Field:
    """One request field. A value equal to one of `defaults` counts as not sent; `name` is what templates call it."""

    check: Check
    unread: Unread
    defaults: tuple[Json, ...] = ()
    name: str = ""


def invalid_type(param: str, value: Json, wanted: str) -> ClientError:
    """OpenAI's error for a value of another type than the field's."""
    return ClientError(
        f"Invalid type for '{param}': expected {wanted}, but got {kind(value)} instead.",
        param=param,
        code="invalid_type",
    )


def invalid_value(param: str, message: str) -> ClientError:
    """OpenAI's error for a value that the field does not take."""
    return ClientError(f"Invalid value for '{param}': {message}.", param=param, code="invalid_value")


def missing(param: str) -> ClientError:
    """OpenAI's error for a field that must be there."""
    return ClientError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def unsupported(param: str, model: str, why: str = "its mapping does not read it") -> ClientError:
    """OpenAI's error for a field that this model, which is to say its mapping, has no use for."""
    return ClientError(
        f"Unsupported parameter: '{param}' is not supported with the model '{model}': {why}.",
        param=param,
        code="unsupported_parameter",
    )


def required(owner: dict[str, Json], key: str, place: str, check: Check) -> Json:
    """The value under a key that must be there and of its type; `place` is the path of its owner."""
    if owner.get(key) is None:
        raise missing(f"{place}.{key}")
    return check(owner[key], f"{place}.{key}")


def optional(owner: dict[str, Json], key: str, place: str, check: Check) -> None:
    """Check the value under a key, if there is one."""
    if owner.get(key) is not None:
        check(owner[key], f"{place}.{key}")


def number(low: float, high: float) -> Check:
    """A number from `low` to `high`."""

    def check(value: Json, param: str) -> Json:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid_type(param, value, "a number")
        return _within(value, param, low, high)

    return check


def integer(low: int, high: int) -> Check:
    """An integer from `low` to `high`, also written as `100.0`."""

    def check(value: Json, param: str) -> Json:
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (isinstance(value, int) or whole):
            raise invalid_type(param, value, "an integer")
        return int(_within(value, param, low, high))

    return check


def _within(value: float, param: str, low: float, high: float) -> float:
    if low <= value <= high:
        return value
    shown = f"{value:g}" if abs(value) < 2**53 else "a number of that size"
    raise invalid_value(param, f"{shown} is not between {low} and {high}")


def string(value: Json, param: str) -> Json:
    """A string."""
    if not isinstance(value, str):
        raise invalid_type(param, value, "a string")
    return value


def boolean(value: Json, param: str) -> Json:
    """A boolean."""
    if not isinstance(value, bool):
        raise invalid_type(param, value, "a boolean")
    return value


def mapping(value: Json, param: str) -> Json:
    """An object."""
    if not isinstance(value, dict):
        raise invalid_type(param, value, "an object")
    return value


def anything(value: Json, _param: str) -> Json:
    """Any JSON: what OpenAI types in ways that no mapping depends on."""
    return value


def strings(value: Json, param: str) -> Json:
    """A string, or a list of strings."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise invalid_type(param, value, "a string or a list of strings")
    for index, item in enumerate(value):
        string(item, f"{param}[{index}]")
    return value


def stream_options(value: Json, param: str) -> Json:
    """What the stream is to hold beside the answer."""
    optional(mapping(value, param), "include_usage", param, boolean)
    return value


def response_format(value: Json, param: str) -> Json:
    """Text, JSON, or JSON of a schema."""
    kind_ = required(mapping(value, param), "type", param, string)
    if kind_ == "json_schema":
        schema = required(value, "json_schema", param, mapping)
        optional(schema, "schema", f"{param}.json_schema", mapping)
    return value


def tools(value: Json, param: str) -> Json:
    """A list of tools: functions, or custom ones that take text."""
    if not isinstance(value, list):
        raise invalid_type(param, value, "a list of tools")
    for index, tool in enumerate(value):
        place = f"{param}[{index}]"
        kind_ = required(mapping(tool, place), "type", place, string)
        if kind_ == "custom":
            required(required(tool, "custom", place, mapping), "name", f"{place}.custom", string)
            continue
        if kind_ != "function":
            raise invalid_value(f"{place}.type", "the types of tools are 'function' and 'custom'")
        function = required(tool, "function", place, mapping)
        required(function, "name", f"{place}.function", string)
        for key, check in (("description", string), ("parameters", mapping), ("strict", boolean)):
            optional(function, key, f"{place}.function", check)
    return value


def tool_choice(value: Json, param: str) -> Json:
    """`none`, `auto`, `required`, the one tool to call, or the tools to choose from."""
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise invalid_value(param, "use 'none', 'auto', 'required' or an object that names a function")
        return value
    if not isinstance(value, dict):
        raise invalid_type(param, value, "a string or an object")
    kind_ = required(value, "type", param, string)
    if kind_ == "allowed_tools":
        _allowed_tools(required(value, kind_, param, mapping), f"{param}.{kind_}")
    elif kind_ == "custom":
        required(required(value, kind_, param, mapping), "name", f"{param}.{kind_}", string)
    elif kind_ != "function":
        raise invalid_value(f"{param}.type", "the types of choices are 'function', 'custom' and 'allowed_tools'")
    elif value.get("function") is None and "name" in value:
        required(value, "name", param, string)
    else:
        required(required(value, "function", param, mapping), "name", f"{param}.function", string)
    return value


def _allowed_tools(value: Json, param: str) -> None:
    if required(value, "mode", param, string) not in ("auto", "required"):
        raise invalid_value(f"{param}.mode", "use 'auto' or 'required'")
    tools(required(value, "tools", param, anything), f"{param}.tools")


_SAMPLING: dict[str, Field] = {
    "temperature": Field(number(0, 2), Unread.DROP),
    "top_p": Field(number(0, 1), Unread.DROP),
    "top_k": Field(number(-1, 1_000_000), Unread.DROP),
    "n": Field(integer(1, 128), Unread.REFUSE, (1,)),
    "max_tokens": Field(integer(0, 100_000_000), Unread.DROP),
    "stop": Field(strings, Unread.DROP, ([],)),
    "presence_penalty": Field(number(-2, 2), Unread.DROP, (0,)),
    "frequency_penalty": Field(number(-2, 2), Unread.DROP, (0,)),
    "logit_bias": Field(mapping, Unread.DROP, ({},)),
    "seed": Field(integer(-(2**63), 2**63), Unread.DROP),
    "user": Field(string, Unread.IGNORE),
    "stream": Field(boolean, Unread.IGNORE),
    "stream_options": Field(stream_options, Unread.IGNORE),
}

CHAT: Mapping[str, Field] = _SAMPLING | {
    "model": Field(string, Unread.IGNORE),
    "messages": Field(anything, Unread.DROP),
    "max_completion_tokens": Field(integer(0, 100_000_000), Unread.DROP, name="max_tokens"),
    "logprobs": Field(boolean, Unread.REFUSE, (False,)),
    "top_logprobs": Field(integer(0, 20), Unread.REFUSE, (0,)),
    "tools": Field(tools, Unread.REFUSE, ([],)),
    "tool_choice": Field(tool_choice, Unread.REFUSE, ("auto",)),
    "parallel_tool_calls": Field(boolean, Unread.IGNORE, (True,)),
    "functions": Field(anything, Unread.REFUSE, ([],)),
    "function_call": Field(anything, Unread.REFUSE, ("auto", "none")),
    "response_format": Field(response_format, Unread.REFUSE, ({"type": "text"},)),
    "reasoning_effort": Field(string, Unread.DROP),
    "verbosity": Field(string, Unread.IGNORE),
    "modalities": Field(anything, Unread.REFUSE, (["text"], [])),
    "audio": Field(anything, Unread.REFUSE),
    "prediction": Field(anything, Unread.IGNORE),
    "web_search_options": Field(anything, Unread.REFUSE),
    "moderation": Field(anything, Unread.DROP),
    "metadata": Field(mapping, Unread.IGNORE),
    "store": Field(boolean, Unread.IGNORE),
    "service_tier": Field(string, Unread.IGNORE),
    "safety_identifier": Field(string, Unread.IGNORE),
    "prompt_cache_key": Field(string, Unread.IGNORE),
    "prompt_cache_retention": Field(anything, Unread.IGNORE),
    "prompt_cache_options": Field(anything, Unread.IGNORE),
}
"""The fields of a chat completion request, by their name on the wire."""

COMPLETIONS: Mapping[str, Field] = _SAMPLING | {
    "model": Field(string, Unread.IGNORE),
    "prompt": Field(anything, Unread.IGNORE),
    "suffix": Field(string, Unread.REFUSE, ("",)),
    "echo": Field(boolean, Unread.REFUSE, (False,)),
    "best_of": Field(integer(0, 20), Unread.REFUSE, (1,)),
    "logprobs": Field(integer(0, 5), Unread.REFUSE),
}
"""The fields of a completion request, by their name on the wire."""


def read_fields(body: Mapping[str, Json], fields: Mapping[str, Field]) -> dict[str, Json]:
    """The fields that were really sent, checked: null and default values count as not sent.

    Raises ClientError for a value of the wrong type, naming the field.
    """
    sent = {}
    for key, value in body.items():
        field = fields.get(key)
        if field is None or value is None:
            continue
        value = field.check(value, key)
        if not any(
            value == default and isinstance(value, bool) == isinstance(default, bool) for default in field.defaults
        ):
            sent[key] = value
    return sent


def unknown_fields(body: Mapping[str, Json], fields: Mapping[str, Field]) -> dict[str, Json]:
    """The fields that the client sent and OpenAI does not define; null counts as not sent."""
    return {key: value for key, value in body.items() if key not in fields and value is not None}
