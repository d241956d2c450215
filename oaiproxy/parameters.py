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


MAX_STOPS = 64
MAX_STOP = 1024
MAX_METADATA = 16
MAX_METADATUM = 512
MAX_KEY = 64
MAX_WORD = 64
"""How many stop strings a request may have, and of how many characters each; how many metadata, of how many characters
and with names of how many; and the characters of a word that backends have various ones for."""


class Unread(Enum):
    """What becomes of a field that was sent to a mapping that never reads it."""

    REFUSE = "refuse"
    """It changes what the answer means: a 400 that names it."""
    DROP = "drop"
    """A knob: left out, and named in the header `x-oaiproxy-dropped`."""
    IGNORE = "ignore"
    """A hint with no effect on the answer: left out."""
    EMULATE = "emulate"
    """The proxy itself gives effect to it."""


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


def no_object(body: Json) -> ClientError:
    """OpenAI's error for a body that is no object, which has no name of its own."""
    message = f"Invalid type for the request body: expected an object, but got {kind(body)} instead."
    return ClientError(message, code="invalid_type")


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


def too_many(param: str, what: str, most: int, count: int) -> ClientError:
    """OpenAI's error for a list or an object that holds too much."""
    if what == "array":
        message = f"array too long. Expected an array with maximum length {most}, but got an array with length {count}"
        return ClientError(f"Invalid '{param}': {message} instead.", param=param, code="array_above_max_length")
    message = f"too many properties. Expected an object with at most {most} properties, but got an object with {count}"
    return ClientError(
        f"Invalid '{param}': {message} properties instead.", param=param, code="object_above_max_properties"
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
        if not value >= low:  # as NaN is not, which forms can hold
            raise _out_of_range(
                param, value, f"decimal below minimum value. Expected a value >= {low}", code="decimal_below_min_value"
            )
        if value > high:
            raise _out_of_range(
                param, value, f"decimal above maximum value. Expected a value <= {high}", code="decimal_above_max_value"
            )
        return value

    return check


def integer(low: int, high: int) -> Check:
    """An integer from `low` to `high`, also written as `100.0`."""

    def check(value: Json, param: str) -> Json:
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not (isinstance(value, int) or whole):
            raise invalid_type(param, value, "an integer")
        if value < low:
            why = f"integer below minimum value. Expected a value >= {low}"
            raise _out_of_range(param, value, why, code="integer_below_min_value")
        if value > high:
            why = f"integer above maximum value. Expected a value <= {high}"
            raise _out_of_range(param, value, why, code="integer_above_max_value")
        return int(value)

    return check


def _out_of_range(param: str, value: float, why: str, *, code: str) -> ClientError:
    shown = f"{value:g}" if abs(value) < 2**53 else "a number of that size"
    return ClientError(f"Invalid '{param}': {why}, but got {shown} instead.", param=param, code=code)


def string(value: Json, param: str) -> Json:
    """A string."""
    if not isinstance(value, str):
        raise invalid_type(param, value, "a string")
    return value


def text(most: int) -> Check:
    """A string of at most so many characters."""

    def check(value: Json, param: str) -> Json:
        if len(string(value, param)) > most:
            message = f"string too long. Expected a string with maximum length {most}, but got {len(value)} characters."
            raise ClientError(f"Invalid '{param}': {message}", param=param, code="string_above_max_length")
        return value

    return check


def name(value: Json, param: str) -> Json:
    """The name of a tool: any but the empty one, for what else a name may be is for its backend to say."""
    if not string(value, param):
        message = "empty string. Expected a string with minimum length 1, but got an empty string instead."
        raise ClientError(f"Invalid '{param}': {message}", param=param, code="empty_string")
    return value


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(value: Json, param: str) -> Json:
        if string(value, param) not in words:
            raise invalid_value(param, f"'{value[:40]}'; supported values are: {', '.join(map(repr, words))}")
        return value

    return check


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


def stops(value: Json, param: str) -> Json:
    """A string, or a list of strings: more than OpenAI's four, for many backends take more."""
    check = text(MAX_STOP)
    if isinstance(value, str):
        return check(value, param)
    if not isinstance(value, list):
        raise invalid_type(param, value, "a string or a list of strings")
    if len(value) > MAX_STOPS:
        raise too_many(param, "array", MAX_STOPS, len(value))
    for index, item in enumerate(value):
        check(item, f"{param}[{index}]")
    return value


def logit_bias(value: Json, param: str) -> Json:
    """A number for each token, by its id."""
    for key, bias in mapping(value, param).items():
        number(-100, 100)(bias, f"{param}.{key[:40]}")
    return value


def metadata(value: Json, param: str) -> Json:
    """At most 16 texts, by name."""
    if len(mapping(value, param)) > MAX_METADATA:
        raise too_many(param, "object", MAX_METADATA, len(value))
    for key, item in value.items():
        if len(key) > MAX_KEY:
            text(MAX_KEY)(key, param)
        text(MAX_METADATUM)(item, f"{param}.{key}")
    return value


def modalities(value: Json, param: str) -> Json:
    """What the answer is to be: text, sound."""
    if not isinstance(value, list):
        raise invalid_type(param, value, "an array of strings")
    for index, item in enumerate(value):
        one_of("text", "audio")(item, f"{param}[{index}]")
    return value


def prediction(value: Json, param: str) -> Json:
    """Text that the answer will be much like."""
    required(mapping(value, param), "type", param, string)
    return value


def stream_options(value: Json, param: str) -> Json:
    """What the stream is to hold beside the answer."""
    for key in ("include_usage", "include_obfuscation"):
        optional(mapping(value, param), key, param, boolean)
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
            custom = required(tool, "custom", place, mapping)
            required(custom, "name", f"{place}.custom", name)
            optional(custom, "description", f"{place}.custom", string)
            optional(custom, "format", f"{place}.custom", custom_format)
            continue
        if kind_ != "function":
            raise invalid_value(f"{place}.type", "the types of tools are 'function' and 'custom'")
        function(required(tool, "function", place, mapping), f"{place}.function")
    return value


def function(value: Json, param: str) -> Json:
    """What a function is called, and what it takes."""
    required(mapping(value, param), "name", param, name)
    for key, check in (("description", string), ("parameters", mapping), ("strict", boolean)):
        optional(value, key, param, check)
    return value


def custom_format(value: Json, param: str) -> Json:
    """The format of a custom tool's input: any text, or text of a grammar."""
    if required(mapping(value, param), "type", param, one_of("text", "grammar")) == "grammar":
        grammar = required(value, "grammar", param, mapping)
        required(grammar, "definition", f"{param}.grammar", string)
        required(grammar, "syntax", f"{param}.grammar", one_of("lark", "regex"))
    return value


def functions(value: Json, param: str) -> Json:
    """A list of functions, as they were before there were tools."""
    if not isinstance(value, list):
        raise invalid_type(param, value, "an array of objects")
    for index, item in enumerate(value):
        function(item, f"{param}[{index}]")
    return value


def function_call(value: Json, param: str) -> Json:
    """`none`, `auto`, or the one function to call."""
    if isinstance(value, str):
        if value not in ("none", "auto"):
            raise invalid_value(param, "use 'none', 'auto' or an object that names a function")
        return value
    if not isinstance(value, dict):
        raise invalid_type(param, value, "a string or an object")
    required(value, "name", param, name)
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
    "stop": Field(stops, Unread.EMULATE, ([],)),
    "presence_penalty": Field(number(-2, 2), Unread.DROP, (0,)),
    "frequency_penalty": Field(number(-2, 2), Unread.DROP, (0,)),
    "logit_bias": Field(logit_bias, Unread.DROP, ({},)),
    "seed": Field(integer(-(2**63), 2**63), Unread.DROP),
    "user": Field(string, Unread.IGNORE),
    "stream": Field(boolean, Unread.IGNORE),
    "stream_options": Field(stream_options, Unread.IGNORE),
}

CHAT: Mapping[str, Field] = _SAMPLING | {
    "model": Field(string, Unread.IGNORE),
    "messages": Field(anything, Unread.DROP),
    "max_completion_tokens": Field(integer(0, 100_000_000), Unread.DROP, name="max_tokens"),
    "logprobs": Field(boolean, Unread.DROP, (False,)),
    "top_logprobs": Field(integer(0, 20), Unread.DROP, (0,)),
    "tools": Field(tools, Unread.REFUSE, ([],)),
    "tool_choice": Field(tool_choice, Unread.REFUSE, ("auto",)),
    "parallel_tool_calls": Field(boolean, Unread.EMULATE, (True,)),
    "functions": Field(functions, Unread.REFUSE, ([],), name="tools"),
    "function_call": Field(function_call, Unread.REFUSE, ("auto",), name="tool_choice"),
    "response_format": Field(response_format, Unread.REFUSE, ({"type": "text"},)),
    "reasoning_effort": Field(text(MAX_WORD), Unread.DROP),
    "verbosity": Field(text(MAX_WORD), Unread.IGNORE),
    "modalities": Field(modalities, Unread.REFUSE, (["text"], [])),
    "audio": Field(mapping, Unread.REFUSE),
    "prediction": Field(prediction, Unread.IGNORE),
    "web_search_options": Field(mapping, Unread.REFUSE),
    "moderation": Field(mapping, Unread.DROP),
    "metadata": Field(metadata, Unread.IGNORE, ({},)),
    "store": Field(boolean, Unread.DROP, (False,)),
    "service_tier": Field(string, Unread.IGNORE),
    "safety_identifier": Field(string, Unread.IGNORE),
    "prompt_cache_key": Field(string, Unread.IGNORE),
    "prompt_cache_retention": Field(string, Unread.IGNORE),
    "prompt_cache_options": Field(mapping, Unread.IGNORE),
}
"""The fields of a chat completion request, by their name on the wire."""

COMPLETIONS: Mapping[str, Field] = _SAMPLING | {
    "model": Field(string, Unread.IGNORE),
    "prompt": Field(anything, Unread.IGNORE),
    "suffix": Field(string, Unread.REFUSE, ("",)),
    "echo": Field(boolean, Unread.EMULATE, (False,)),
    "best_of": Field(integer(0, 20), Unread.REFUSE, (1,)),
    "logprobs": Field(integer(0, 5), Unread.DROP),
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
