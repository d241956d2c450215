"""Promises of the front doors on top of chat, for any request: a call, or the client's mistake."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support import IDENTITY, ROOT

from oaiproxy.endpoints import messages, responses
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.endpoints.responses_encoding import encoder
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.loader import Loader

WRONG = st.none() | st.booleans() | st.integers(-1, 20) | st.sampled_from(["", "hi", "auto", [], {}, ["a"], [{}]])
TEXT = st.sampled_from(["", "hi", "{}"])
NAME = st.sampled_from(["f", "g"])
DATA_URL = "data:image/png;base64,AAAA"
SCHEMA = st.sampled_from(
    [{"type": "object", "properties": {"a": {"type": "string"}}}, {}, {"type": 3}, {"$ref": "#/x"}]
)


@st.composite
def requests(draw: st.DrawFn, right: Any) -> Any:
    """A request of that kind, of which up to two values are wrong."""
    body = deepcopy(draw(right))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        owner: Any = body
        while True:
            keys = sorted(owner) if isinstance(owner, dict) else range(len(owner))
            key: Any = draw(st.sampled_from(list(keys)))
            if not isinstance(owner[key], dict | list) or not owner[key] or draw(st.integers(0, 3)) == 0:
                owner[key] = draw(WRONG)
                break
            owner = owner[key]
    return body


def made(type_: str, **fields: Any) -> Any:
    """An object of that type."""
    return st.fixed_dictionaries({"type": st.just(type_), **fields})


def go(call: Any, encoder: Encoder) -> None:
    """Make the backend's request of every mapping, where it takes the call."""
    for mapping in SHIPPED:
        try:
            Exchange(mapping, call, encoder, IDENTITY, {}).backend_request()
        except ApiError as error:
            if error.status >= 500:
                raise


NAMES = ("openai-compatible", "anthropic", "gemini", "ollama", "yandexgpt")
SHIPPED = [Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0][0][0] for name in NAMES]

BASE64 = made("base64", media_type=st.sampled_from(["image/png", "application/pdf"]), data=st.just("AAAA"))
SHOWN = st.one_of(
    made("text", text=TEXT),
    made("image", source=BASE64 | made("url", url=st.just("https://a.test/b.png"))),
    made("document", source=BASE64 | made("text", data=TEXT) | made("content", content=TEXT), title=TEXT),
    made("search_result", title=TEXT, source=TEXT, content=st.just([{"type": "text", "text": "a"}])),
)
HIDDEN = ("EuYB", '{"oaiproxy":{"extra_content":1}}', '{"oaiproxy":[]}', '{"oaiproxy":{"reasoning_content":"hm"}}')
SAID = st.one_of(
    made("text", text=TEXT),
    made("thinking", thinking=TEXT, signature=TEXT),
    made("redacted_thinking", data=st.sampled_from(HIDDEN)),
    made("tool_use", id=NAME, name=NAME, input=st.sampled_from([{}, {"a": 1}, {"INVALID_JSON": "{"}])),
)
RESULT = made("tool_result", tool_use_id=NAME, content=st.lists(SHOWN, max_size=2) | TEXT, is_error=st.booleans())
MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": st.just("user"), "content": st.lists(SHOWN | RESULT, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": st.lists(SAID, max_size=3)}),
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXT}),
)
TOOL = st.fixed_dictionaries({"name": NAME, "input_schema": SCHEMA}, optional={"strict": st.booleans()})
THINKING = made("enabled", budget_tokens=st.integers(1024, 30000)) | made("adaptive") | made("disabled")
MESSAGES = st.fixed_dictionaries(
    {"model": st.just("m"), "max_tokens": st.just(9), "messages": st.lists(MESSAGE, min_size=1, max_size=4)},
    optional={
        "system": TEXT | st.lists(made("text", text=TEXT), max_size=2),
        "tools": st.lists(TOOL, max_size=2),
        "tool_choice": made("auto", disable_parallel_tool_use=st.booleans()) | made("any") | made("tool", name=NAME),
        "thinking": THINKING,
        "output_config": st.fixed_dictionaries({"effort": st.just("max")}, optional={"format": made("json_schema")}),
        "output_format": made("json_schema", schema=SCHEMA),
        "metadata": st.just({"user_id": "u"}),
        "stream": st.booleans(),
        "temperature": st.floats(0, 1),
        "stop_sequences": st.lists(TEXT, max_size=2),
        "unknown": WRONG,
    },
)


@settings(deadline=None, max_examples=200)
@given(requests(MESSAGES))
def test_any_message_request(body: Any) -> None:
    """Never a failure of ours."""
    try:
        call = messages.parse(body)
    except ClientError:
        return
    messages.estimated(call)
    go(call, messages.encoder(call, IDENTITY))


PART = st.one_of(
    made("input_text", text=TEXT),
    made("output_text", text=TEXT),
    made("refusal", refusal=TEXT),
    made("input_image", image_url=st.just(DATA_URL), detail=st.just("low")),
    made("input_file", filename=st.just("a.pdf"), file_data=st.just(DATA_URL)),
    made("input_audio", input_audio=st.just({"data": "AA==", "format": "wav"})),
)
CONTENT = st.lists(PART, max_size=3) | TEXT
ITEM = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "developer"]), "content": CONTENT}),
    made("function_call", call_id=NAME, name=NAME, arguments=TEXT),
    made("function_call_output", call_id=NAME, output=CONTENT),
    made("custom_tool_call", call_id=NAME, name=NAME, input=TEXT),
    made("custom_tool_call_output", call_id=NAME, output=CONTENT),
    made("reasoning", encrypted_content=st.sampled_from(["gAAA", "oaiproxy:", "oaiproxy:AAAA"])),
    made("web_search_call", id=TEXT),
)
FORMAT = made("json_object") | made("json_schema", name=NAME, schema=SCHEMA, strict=st.booleans())
GRAMMAR = made("grammar", syntax=st.just("lark"), definition=TEXT)
FUNCTION = st.one_of(
    made("function", name=NAME, parameters=SCHEMA),
    made("custom", name=NAME, format=GRAMMAR | made("text")),
    made("web_search"),
)
ALLOWED = made("allowed_tools", mode=st.sampled_from(["auto", "required"]), tools=st.lists(FUNCTION, max_size=2))
CHOICE = made("function", name=NAME) | made("custom", name=NAME) | made("web_search") | ALLOWED
RESPONSES = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(ITEM, min_size=1, max_size=5) | TEXT},
    optional={
        "tools": st.lists(FUNCTION, max_size=2),
        "tool_choice": CHOICE | st.sampled_from(["auto", "none", "required"]),
        "text": st.fixed_dictionaries({}, optional={"format": FORMAT, "verbosity": st.just("low")}),
        "reasoning": st.just({"effort": "low", "summary": "auto"}),
        "include": st.just(["reasoning.encrypted_content"]),
        **dict.fromkeys(("stream", "store", "parallel_tool_calls"), st.booleans()),
        "top_logprobs": st.integers(0, 20),
        "max_output_tokens": st.integers(1, 99),
        "temperature": st.floats(0, 2),
        **dict.fromkeys(("instructions", "user"), TEXT),
        **dict.fromkeys(("unknown", "n", "messages", "context_management"), WRONG),
    },
)


@settings(deadline=None, max_examples=200)
@given(requests(RESPONSES))
def test_any_request_for_a_response(body: Any) -> None:
    """Never a failure of ours."""
    try:
        asked = responses.parse(body)
    except ClientError:
        return
    go(asked.call, encoder(asked, IDENTITY))
