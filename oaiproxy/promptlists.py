"""What `/v1/completions` asks and chat has no word for: several prompts, prompts as token ids, their echo.

`read_prompts` keeps a prompt that is no single text in `Call.fields["prompt"]`, a list of texts and of lists of ids;
`settled` leaves it there only where each text becomes a request of its own.
https://platform.openai.com/docs/api-reference/completions/create
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oaiproxy.canonical import Call, message_text
from oaiproxy.jsontext import Json
from oaiproxy.parameters import CHAT, COMPLETIONS, Unread, invalid_type, invalid_value, missing, unsupported
from oaiproxy.policy import Overrides, is_raw, is_read

MAX_CALLS = 128
"""Requests to the backend that one of a client may become: as many as it may ask for choices."""
_WANTED = "a string, a list of strings, a list of token ids or a list of such lists"
_PROMPT, _INPUT, _TOKENS, _TOP = "prompt", "input", "tokens", "top_logprobs"


def read_prompts(value: Json) -> str | list[Json]:
    """The one prompt that is text, or a list of prompts, each text or a list of token ids. Raises ClientError."""
    if value is None:
        raise missing("prompt")
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise invalid_type("prompt", value, _WANTED)
    if not value:
        raise invalid_value("prompt", "it is an empty list")
    if len(value) == 1 and isinstance(value[0], str):
        return value[0]
    if _is_id(value[0]):
        return [_ids(value, "prompt")]
    first = type(value[0])
    for index, item in enumerate(value):
        place = f"prompt[{index}]"
        if type(item) is not first or first not in (str, list):
            wanted = "a string or a list of token ids" if index == 0 else "of the first one's type"
            raise invalid_type(place, item, wanted)
        if first is list:
            _ids(item, place)
    return value


def token_ids(call: Call, reads: frozenset[str]) -> list[list[int]]:
    """The lists of token ids that no template reads as such, so that they must become text; mostly none."""
    if _PROMPT in call.fields and not is_raw(reads, _PROMPT):
        return [item for item in call.fields[_PROMPT] if isinstance(item, list)]
    if _TOKENS in call.fields and _TOKENS not in reads and not is_raw(reads, _INPUT):
        return list(call.fields[_TOKENS])
    return []


def with_texts(call: Call, texts: Sequence[str]) -> Call:
    """The call with texts in place of what `token_ids` told, in the same order."""
    if _TOKENS in call.fields:
        fields = {name: value for name, value in call.fields.items() if name != _TOKENS}
        return replace(call, fields=fields | {_INPUT: list(texts)}, texts=tuple(texts))
    left = iter(texts)
    prompts = [next(left) if isinstance(item, list) else item for item in call.fields[_PROMPT]]
    return replace(call, fields={**call.fields, _PROMPT: prompts})


def place_of_ids(call: Call, index: int) -> str:
    """The client's path of one of the lists that `token_ids` told."""
    name = _INPUT if _TOKENS in call.fields else _PROMPT
    given = call.request.get(name)
    return f"{name}[{index}]" if isinstance(given, list) and given and isinstance(given[0], list) else name


def settled(call: Call, reads: frozenset[str]) -> Call:
    """The call with `prompt` among its fields only where each is a request of its own.

    Raises ClientError for token ids that nobody made text of.
    """
    prompts = call.fields.get(_PROMPT)
    if not isinstance(prompts, list):  # of images and of transcriptions it is a text, as any other field
        return call
    if not is_raw(reads, _PROMPT):
        if not all(isinstance(item, str) for item in prompts):
            raise unsupported(_PROMPT, call.model, "it takes text, not token ids")
        if len(prompts) > 1:
            return call
        call = of_prompt(call, prompts[0])
    return without_field(call, _PROMPT)


def of_prompt(call: Call, text: str) -> Call:
    """The call as if the client had sent this prompt alone."""
    made = replace(call, messages=[{"role": "user", "content": text}], request={**call.request, _PROMPT: text})
    return without_field(made, _PROMPT)


def without_field(call: Call, name: str) -> Call:
    """The call without a field, its body as it was."""
    return replace(call, fields={key: value for key, value in call.fields.items() if key != name})


def check_count(prompts: int, choices: int) -> None:
    """Raises ClientError for more requests to the backend than one of a client may become."""
    if prompts * choices > MAX_CALLS:
        each = f" with {choices} choices each" if choices > 1 else ""
        raise invalid_value(_PROMPT, f"{prompts} prompts{each} are more than {MAX_CALLS} requests to this model")


def echoed(call: Call, reads: frozenset[str]) -> list[str]:
    """The prompts that the proxy itself puts before their texts; none where the client or no template asks for that.

    Raises ClientError where log probabilities are wanted too: those of a prompt only the backend could tell.
    """
    if call.endpoint != "completions" or "echo" not in call.fields or is_read(reads, "echo", COMPLETIONS["echo"]):
        return []
    if "logprobs" in call.fields:
        raise unsupported("echo", call.model, "it does not tell the log probabilities of prompts")
    if _PROMPT in call.fields:
        return list(call.fields[_PROMPT])
    if not isinstance(read_prompts(call.request.get(_PROMPT)), str):  # the backend alone knows which text is whose
        raise unsupported("echo", call.model)
    return [message_text(call.messages[-1])]


def as_chat_asks(call: Call, reads: frozenset[str], overrides: Overrides) -> tuple[Call, tuple[str, ...]]:
    """The call with `logprobs` as the templates of chat know it, and what of it is left out and to be named.

    There it is a boolean, and the number is `top_logprobs`. Raises ClientError where the likeliest tokens are wanted,
    no template reads that, and the mapping says that it may not be left out.
    """
    wanted = call.fields.get("logprobs")
    if wanted is None:
        return call, ()
    fields = {**call.fields, "logprobs": True}
    left: tuple[str, ...] = ()
    if wanted and is_read(reads, _TOP, CHAT[_TOP]):
        fields[_TOP] = wanted
    elif wanted and not is_raw(reads, "logprobs"):
        unread = overrides.of(_TOP, CHAT[_TOP].unread)
        if unread is Unread.REFUSE:
            raise unsupported("logprobs", call.model, "it tells no likeliest tokens; 0 is what it can")
        left = ("logprobs",) if unread is Unread.DROP else ()
    return replace(call, fields=fields), left


def _ids(value: list[Json], place: str) -> list[Json]:
    if not value:
        raise invalid_value(place, "it is an empty list")
    for index, item in enumerate(value):
        if not _is_id(item):
            raise invalid_type(f"{place}[{index}]", item, "a token id")
    return value


def _is_id(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
