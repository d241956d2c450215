"""The vendors' own clients read the examples of the shipped mappings: so the shapes are the vendors'.

The clients are the extra `clients`; each is tried where it is installed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp.test_utils import TestServer
from support import ROOT

from oaiproxy.loader import Loader, file_reader
from oaiproxy.mock import answers, mock_app

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # some of them have no way to be closed

Said = tuple[str, list[tuple[str, Any]]]
"""A text, and tool calls: names and arguments."""
QUESTION = "Is it warmer in Rome or in Oslo?"
CALLS = [("get_weather", {"city": "Rome"}), ("get_weather", {"city": "Oslo"})]


def anthropic(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/anthropic/"""
    ask: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": QUESTION}]}
    with sdk.Anthropic(base_url=url, api_key="unused", max_retries=0) as client:
        if streams:
            with client.messages.stream(**ask) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**ask)
    blocks = message.content
    texts = [block.text for block in blocks if block.type == "text"]
    return "".join(texts), [(block.name, block.input) for block in blocks if block.type == "tool_use"]


def bedrock(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/boto3/"""
    keys = {"aws_access_key_id": "unused", "aws_secret_access_key": "unused"}
    client = sdk.client("bedrock-runtime", endpoint_url=url, region_name="us-east-1", **keys)
    ask: Any = {"modelId": "us.amazon.nova-micro-v1:0", "messages": [{"role": "user", "content": [{"text": QUESTION}]}]}
    try:
        if streams:
            return _bedrock_stream(client.converse_stream(**ask)["stream"])
        blocks = client.converse(**ask)["output"]["message"]["content"]
    finally:
        client.close()
    calls = [block["toolUse"] for block in blocks if "toolUse" in block]
    texts = [block["text"] for block in blocks if "text" in block]
    return "".join(texts), [(call["name"], call["input"]) for call in calls]


def _bedrock_stream(events: Any) -> Said:
    said, names, arguments = "", [], []
    for event in events:
        if use := event.get("contentBlockStart", {}).get("start", {}).get("toolUse"):
            names.append(use["name"])
            arguments.append("")
        delta = event.get("contentBlockDelta", {}).get("delta", {})
        said += delta.get("text", "")
        if "toolUse" in delta:
            arguments[-1] += delta["toolUse"]["input"]
    return said, [(name, _json(text)) for name, text in zip(names, arguments, strict=True)]


def cohere(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/cohere/"""
    client = sdk.ClientV2("unused", base_url=url)
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
    if not streams:
        message = client.chat(**ask).message
        texts = [part.text for part in message.content or ()]
        return "".join(texts), [_function(call.function) for call in message.tool_calls or ()]
    said, names, arguments = "", [], []
    for event in client.chat_stream(**ask):
        if event.type == "content-delta":
            said += event.delta.message.content.text
        elif event.type == "tool-call-start":
            names.append(event.delta.message.tool_calls.function.name)
            arguments.append("")
        elif event.type == "tool-call-delta":
            arguments[-1] += event.delta.message.tool_calls.function.arguments
    return said, [(name, _json(text)) for name, text in zip(names, arguments, strict=True)]


def dashscope(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/dashscope/"""
    ask: Any = {"model": "qwen-plus", "messages": [{"role": "user", "content": QUESTION}], "api_key": "unused"}
    ask |= {"base_address": url, "result_format": "message", "stream": streams, "incremental_output": streams}
    made = sdk.Generation.call(**ask)
    said, calls = "", {}
    for reply in made if streams else [made]:
        if reply.status_code != 200:
            raise RuntimeError(reply.message)
        message = reply.output.choices[0].message
        said += message.content
        for call in message.get("tool_calls") or ():
            known = calls.setdefault(call["index"], {"name": "", "arguments": ""})
            known["name"] += call["function"].get("name") or ""
            known["arguments"] += call["function"]["arguments"]
    return said, [(call["name"], _json(call["arguments"])) for call in calls.values()]


def gemini(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/google-genai/"""
    return _gemini(sdk.Client(api_key="unused", http_options={"base_url": url.removesuffix("/v1")}), streams)


def vertex(sdk: Any, url: str, streams: bool) -> Said:
    """The same client, as of Vertex AI."""
    from google.oauth2.credentials import Credentials  # type: ignore[import-untyped,unused-ignore]

    place = {"project": "your-project", "location": "global", "credentials": Credentials("unused")}
    options = {"base_url": url.partition("/v1")[0], "api_version": "v1"}
    return _gemini(sdk.Client(vertexai=True, **place, http_options=options), streams)


def _gemini(client: Any, streams: bool) -> Said:
    """The client adds the version to the address, and to that the path."""
    ask: Any = {"model": "gemini-3.8-flash", "contents": QUESTION}
    made = client.models.generate_content_stream(**ask) if streams else [client.models.generate_content(**ask)]
    parts = [part for reply in made for part in reply.candidates[0].content.parts]
    calls = [part.function_call for part in parts if part.function_call]
    client.close()
    return "".join(part.text or "" for part in parts), [(call.name, call.args) for call in calls]


def ollama(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/ollama/"""
    made = sdk.Client(url).chat(model="m", messages=[{"role": "user", "content": QUESTION}], stream=streams)
    messages = [reply.message for reply in (made if streams else [made])]
    calls = [call.function for message in messages for call in message.tool_calls or ()]
    return "".join(message.content or "" for message in messages), [(call.name, call.arguments) for call in calls]


def openai(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/openai/"""
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
    with sdk.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        if streams:
            with client.chat.completions.stream(**ask) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(**ask).choices[0].message
    return message.content or "", [_function(call.function) for call in message.tool_calls or ()]


def _function(function: Any) -> tuple[str, Any]:
    return function.name, _json(function.arguments)


def _json(text: str) -> Any:
    return json.loads(text)


CLIENTS: dict[str, tuple[str, Callable[[Any, str, bool], Said]]] = {
    "anthropic": ("anthropic", anthropic),
    "anthropic-2023": ("anthropic", anthropic),
    "bedrock-converse": ("boto3", bedrock),
    "cohere": ("cohere", cohere),
    "dashscope": ("dashscope", dashscope),
    "gemini": ("google.genai", gemini),
    "ollama": ("ollama", ollama),
    "openai-compatible": ("openai", openai),
    "vertex-gemini": ("google.genai", vertex),
}
"""By mapping: the vendor's package, and how it is asked."""
EXAMPLES: dict[str, Said] = {
    "a whole answer": ("Rome.", []),
    "a stream": ("Rome.", []),
    "tool calls": ("", CALLS),
    "tool calls in a stream": ("", CALLS),
}


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """What a client left open is taken away here, where it is known, and not in another test."""
    yield
    gc.collect()


async def used(name: str, example: str) -> Said:
    """What the vendor's client reads of one example, whatever it asks at that address."""
    package, ask = CLIENTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs are not ours to mend
        sdk = pytest.importorskip(package, reason=f"the extra `clients` is not installed: {package}")
        path = ROOT / f"mappings/{name}.yaml"
        ((mapping, _),) = Loader({}).load([(name, path)])[0]
        made = answers(mapping, file_reader(path.parent))
        wanted = dict(zip((each.name for each in mapping.examples), made, strict=True)).get(example)
        if wanted is None:
            pytest.skip("the mapping has no such example: its streams are the vendor's whole answers")
        base = urlsplit(mapping.backend.url).path
        async with TestServer(mock_app([replace(wanted, path=base + wanted.path)])) as server:
            return await asyncio.to_thread(ask, sdk, f"http://{server.host}:{server.port}{base}", "stream" in example)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("name", CLIENTS)
async def test_the_vendors_client_reads_the_example(name: str, example: str) -> None:
    """At the vendor's own path, whole and as a stream."""
    assert await used(name, example) == EXAMPLES[example]


@pytest.mark.parametrize("name", CLIENTS)
async def test_the_vendors_client_knows_the_error(name: str) -> None:
    """It finds the message, and fails with it."""
    path = ROOT / f"mappings/{name}.yaml"
    ((mapping, _),) = Loader({}).load([(name, path)])[0]
    (example,) = (each for each in mapping.examples if each.name == "an error")
    with pytest.raises(Exception, match=example.replies["error"]["message"].partition("(")[0]) as caught:
        await used(name, "an error")
    assert not isinstance(caught.value, AssertionError)
