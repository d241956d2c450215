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
from support import ask as asked

from oaiproxy.loader import Loader
from oaiproxy.mock import answers, mock_app
from oaiproxy.reading import file_reader

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # some of them have no way to be closed
]

Said = tuple[str, list[tuple[str, Any]]]
"""A text, and tool calls: names and arguments."""
GEMMA = "@cf/google/gemma-4-26b-a4b-it"
LLAMA = "meta/meta-llama-3-70b-instruct"
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


def cloudflare(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/cloudflare/"""
    ask: Any = {"messages": [{"role": "user", "content": QUESTION}]}
    with sdk.Cloudflare(base_url=url, api_token="unused", max_retries=0) as client:
        if streams:  # which only its general way of asking can
            kinds: Any = {"cast_to": object, "stream": True, "stream_cls": sdk.Stream[object]}
            made = list(client.post(f"/accounts/account/ai/run/{GEMMA}", body=ask | {"stream": True}, **kinds))
            messages = [chunk["choices"][0]["delta"] for chunk in made if chunk.get("choices")]
        else:
            messages = [client.ai.run(GEMMA, account_id="account", **ask)["choices"][0]["message"]]
    calls: dict[int, list[str]] = {}
    for message in messages:
        for at, call in enumerate(message.get("tool_calls") or ()):
            known = calls.setdefault(call.get("index", at), ["", ""])
            known[0] += call["function"].get("name", "")
            known[1] += call["function"]["arguments"]
    said = "".join(message.get("content") or "" for message in messages)
    return said, [(name, _json(text)) for name, text in calls.values()]


def dify(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/dify-client/"""
    client = sdk.ChatClient("unused")
    client.base_url = url
    reply = client.create_chat_message({}, QUESTION, "someone", "streaming")
    if reply.status_code != 200:
        raise RuntimeError(reply.json()["message"])
    lines = [line.partition("data: ")[2] for line in reply.text.split("\n") if line.startswith("data: ")]
    events = [_json(line) for line in lines]  # it leaves the reading to its user
    for event in events:
        if event["event"] == "error":
            raise RuntimeError(event["message"])
    return "".join(event.get("answer", "") for event in events), []


def replicate(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/replicate/"""
    client = sdk.Client("unused", base_url=url)
    client.poll_interval = 0.01
    if streams:
        return "".join(map(str, client.stream(LLAMA, input={"prompt": QUESTION}))), []
    return "".join(client.run(LLAMA, {"prompt": QUESTION}, wait=False)), []


def text_generation(sdk: Any, url: str, streams: bool) -> Said:
    """https://pypi.org/project/huggingface-hub/"""
    client = sdk.InferenceClient(f"{url}/generate_stream" if streams else f"{url}/generate", token="unused")
    made = client.text_generation(QUESTION, stream=streams, details=True)
    if not streams:
        return made.generated_text, []
    return "".join(output.token.text for output in made if not output.token.special), []


def _function(function: Any) -> tuple[str, Any]:
    return function.name, _json(function.arguments)


def _json(text: str) -> Any:
    return json.loads(text)


CLIENTS: dict[str, tuple[str, Callable[[Any, str, bool], Said]]] = {
    "anthropic": ("anthropic", anthropic),
    "anthropic-2023": ("anthropic", anthropic),
    "bedrock-converse": ("boto3", bedrock),
    "cloudflare-workers-ai": ("cloudflare", cloudflare),
    "cohere": ("cohere", cohere),
    "dashscope": ("dashscope", dashscope),
    "dify": ("dify_client", dify),
    "gemini": ("google.genai", gemini),
    "ollama": ("ollama", ollama),
    "openai-compatible": ("openai", openai),
    "vertex-gemini": ("google.genai", vertex),
    "replicate": ("replicate", replicate),
    "tgi": ("huggingface_hub", text_generation),
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


def _paths(path: str, base: str) -> set[str]:
    """Where an answer is: below the mapping's path, and there too where a client encodes the slashes of a model."""
    here = base + path if path.startswith("/") else path
    return {here, here.replace(GEMMA, GEMMA.replace("/", "%2F"))}


async def used(name: str, example: str) -> Said:
    """What the vendor's client reads of one example, whatever it asks at that address."""
    package, ask = CLIENTS[name]
    streams = "stream" in example
    return await met(name, example, package, lambda sdk, url: ask(sdk, url, streams))


async def met(name: str, example: str, package: str, ask: Callable[[Any, str], Any]) -> Any:
    """What a package's client reads where one example of a mapping is the only answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs are not ours to mend
        sdk = pytest.importorskip(package, reason=f"the extra `clients` is not installed: {package}")
        path = ROOT / f"mappings/{name}.yaml"
        ((mapping, _),) = Loader({}).load([(name, path)])[0]
        wanted = tuple(each for each in mapping.examples if each.name == example)
        if not wanted:
            pytest.skip("the mapping has no such example: the API does not stream, or knows no tools")
        base = urlsplit(mapping.backend.url).path
        made = [
            replace(answer, path=path)
            for answer in answers(replace(mapping, examples=wanted), file_reader(path.parent))
            for path in _paths(answer.path, base)
        ]
        async with TestServer(mock_app(made)) as server:
            return await asyncio.to_thread(ask, sdk, f"http://{server.host}:{server.port}{base}")


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


TEXTS = ["Rome", "Oslo"]
QUERY, DOCUMENTS = "What is the capital of Italy?", ["Oslo is in Norway.", "Rome is the capital of Italy."]


def cohere_vectors(sdk: Any, url: str) -> Any:
    """https://docs.cohere.com/reference/embed"""
    ask: Any = {"model": "embed-v4.0", "texts": TEXTS, "input_type": "search_query", "embedding_types": ["float"]}
    return sdk.ClientV2("unused", base_url=url).embed(**ask, output_dimension=2).embeddings.float_


def dashscope_vectors(sdk: Any, url: str) -> Any:
    """https://pypi.org/project/dashscope/"""
    ask: Any = {"model": "text-embedding-v4", "input": TEXTS, "dimension": 2, "api_key": "unused"}
    found = sdk.TextEmbedding.call(**ask, base_address=url).output["embeddings"]
    return [each["embedding"] for each in sorted(found, key=lambda each: each["text_index"])]


def ollama_vectors(sdk: Any, url: str) -> Any:
    """https://pypi.org/project/ollama/"""
    return sdk.Client(url).embed(model="m", input=TEXTS, dimensions=2).embeddings


def openai_vectors(sdk: Any, url: str) -> Any:
    """https://pypi.org/project/openai/"""
    with sdk.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        made = client.embeddings.create(model="m", input=TEXTS, dimensions=2, encoding_format="float")
    return [each.embedding for each in sorted(made.data, key=lambda each: each.index)]


@pytest.mark.parametrize("ask", [cohere_vectors, dashscope_vectors, ollama_vectors, openai_vectors])
async def test_the_vendors_client_reads_the_vectors(ask: Callable[[Any, str], Any]) -> None:
    """In the order of the texts."""
    name = ask.__name__.removesuffix("_vectors")
    mapping = "openai-compatible" if name == "openai" else name
    assert [list(vector) for vector in await met(mapping, "vectors", name, ask)] == [[0.5, -0.25], [0.125, 1]]


def cohere_ranking(sdk: Any, url: str) -> Any:
    """https://docs.cohere.com/reference/rerank"""
    client = sdk.ClientV2("unused", base_url=url)
    found = client.rerank(model="rerank-v4.0-pro", query=QUERY, documents=DOCUMENTS, top_n=1).results
    return [(each.index, each.relevance_score) for each in found]


def dashscope_ranking(sdk: Any, url: str) -> Any:
    """https://pypi.org/project/dashscope/"""
    ask: Any = {"model": "gte-rerank-v2", "query": QUERY, "documents": DOCUMENTS, "top_n": 1, "api_key": "unused"}
    found = sdk.TextReRank.call(**ask, base_address=url).output["results"]
    return [(each["index"], each["relevance_score"]) for each in found]


@pytest.mark.parametrize("ask", [cohere_ranking, dashscope_ranking])
async def test_the_vendors_client_reads_the_ranking(ask: Callable[[Any, str], Any]) -> None:
    """The best document."""
    name = ask.__name__.removesuffix("_ranking")
    assert await met(name, "a ranking", name, ask) == [(1, 0.875)]


def cohere_logprobs(sdk: Any, url: str) -> Any:
    """https://docs.cohere.com/reference/chat"""
    ask: Any = {"model": "m", "messages": [{"role": "user", "content": QUESTION}], "logprobs": True}
    return [(each.text, sum(each.logprobs)) for each in sdk.ClientV2("unused", base_url=url).chat(**ask).logprobs]


def ollama_logprobs(sdk: Any, url: str) -> Any:
    """https://pypi.org/project/ollama/"""
    messages = [{"role": "user", "content": QUESTION}]
    made = sdk.Client(url).chat(model="m", messages=messages, logprobs=True, top_logprobs=2)
    return [(each.token, each.logprob) for each in made.logprobs]


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [(cohere_logprobs, [("Oslo", -0.75), (".", -0.125)]), (ollama_logprobs, [("Oslo", -0.25)])],
)
async def test_the_vendors_client_reads_the_log_probabilities(
    ask: Callable[[Any, str], Any], wanted: list[tuple[str, float]]
) -> None:
    """As the proxy does."""
    name = ask.__name__.removesuffix("_logprobs")
    assert await met(name, "log probabilities", name, ask) == wanted
    ((mapping, _),) = Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    (example,) = (each for each in mapping.examples if each.name == "log probabilities")
    reply = asked(mapping, example.request).reply(200, {"content-type": "application/json"})
    sent = reply.feed(json.dumps(example.backend["json"]).encode()) + reply.end() + reply.close()
    told = json.loads(sent)["choices"][0]["logprobs"]["content"]
    assert [(each["token"], each["logprob"]) for each in told] == wanted
