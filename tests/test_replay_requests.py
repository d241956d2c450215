"""Recorded requests of the shipped backends: what a mapping makes of the same request of OpenAI's has their shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from recordings import FOLDERS, shipped
from support import WIRE, ask, needs_wire

from oaiproxy.opaque import seal


def user(*parts: Any) -> dict[str, Any]:
    """A user's message: a text, or texts and images."""
    made = [
        {"type": "image_url", "image_url": {"url": part[4:]}} if part[:4] == "img:" else text(part) for part in parts
    ]
    return {"role": "user", "content": made if len(parts) > 1 else parts[0]}


def text(said: str) -> dict[str, Any]:
    """A part of a message that is text."""
    return {"type": "text", "text": said}


def called(said: str | None, *calls: tuple[str, str, Any]) -> dict[str, Any]:
    """An assistant's message with calls: `(id, name, arguments)`."""
    made = [
        {"id": key, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for key, name, given in calls
    ]
    return {"role": "assistant", "content": said, "tool_calls": made}


def result(key: str, said: str) -> dict[str, Any]:
    """A tool's message."""
    return {"role": "tool", "tool_call_id": key, "content": said}


def system(said: str) -> dict[str, Any]:
    """A system message."""
    return {"role": "system", "content": said}


def tools(listed: list[Any], schema: str = "parameters") -> list[Any]:
    """Tools as OpenAI has them, from a list of `{name, description}` and their schemas under that key."""
    return [
        {"type": "function", "function": {"name": each["name"], "parameters": each[schema]} | _description(each)}
        for each in listed
    ]


def _description(tool: dict[str, Any]) -> dict[str, Any]:
    return {"description": tool["description"]} if "description" in tool else {}


def _anthropic_family(r: Any) -> dict[str, Any]:
    question, (said, *calls), results = (turn["content"] for turn in r["messages"])
    return {
        "messages": [
            system(r["system"]),
            user(question[0]["text"]),
            called(said["text"], *((call["id"], call["name"], call["input"]) for call in calls)),
            *(result(each["tool_use_id"], each["content"]) for each in results),
        ],
        "tools": tools(r["tools"], "input_schema"),
        "max_tokens": 4096,
    }


def _bedrock_capital(r: Any) -> dict[str, Any]:
    question, (said, call), (answer,) = (turn["content"] for turn in r["messages"])
    use, told = call["toolUse"], answer["toolResult"]
    (spec,) = (each["toolSpec"] for each in r["toolConfig"]["tools"])
    return {
        "messages": [
            system(r["system"][0]["text"]),
            user(question[0]["text"]),
            called(said["text"], (use["toolUseId"], use["name"], use["input"])),
            result(told["toolUseId"], told["content"][0]["text"]),
        ],
        "tools": tools([spec | spec["inputSchema"]], "json"),
        "temperature": 0.0,
    }


def _gemini_capital(r: Any) -> dict[str, Any]:
    question, (call,), (answer,) = (turn["parts"] for turn in r["contents"])
    made, told = call["functionCall"], answer["functionResponse"]
    sealed = seal(made["id"], call["thoughtSignature"], [], "gemini")
    assert sealed is not None
    return {
        "messages": [
            system(r["systemInstruction"]["parts"][0]["text"]),
            user(question[0]["text"]),
            called(None, (sealed, made["name"], made["args"])),
            result(sealed, json.dumps(told["response"])),
        ],
        "tools": tools(r["tools"][0]["functionDeclarations"], "parameters_json_schema"),
        "temperature": 0.0,
    }


def _generated(r: Any) -> dict[str, Any]:
    return {"messages": [user(r["contents"][0]["parts"][0]["text"])]}


def _yandex_numbers(r: Any) -> dict[str, Any]:
    question, call, answer = r["messages"]
    made = call["toolCallList"]["toolCalls"][0]["functionCall"]
    told = answer["toolResultList"]["toolResults"][0]["functionResult"]
    return {
        "messages": [
            user(question["text"]),
            called(None, ("call_1", made["name"], made["arguments"])),
            result("call_1", told["content"]),
        ],
        "tools": tools([each["function"] for each in r["tools"]]),
    }


def _schema_of(r: Any) -> dict[str, Any]:
    schema = r["generationConfig"]["responseJsonSchema"]
    return {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}


TGI = ["parameters.stop", "parameters.details", "parameters.decoder_input_details", "parameters.do_sample"]
"""What TGI's mapping says beside what it was asked."""

ASKED: dict[str, tuple[Any, list[str]]] = {
    "dify/request_streaming_example.json": (
        lambda r: {
            "messages": [user(r["query"], "img:" + r["files"][0]["url"])],
            "inputs": r["inputs"],
            "user": r["user"],
        },
        [],
    ),
    "dify/request_blocking_example.json": (
        lambda r: {
            "messages": [user("What is the iPhone?"), user(r["query"])],
            "conversation_id": r["conversation_id"],
            "user": r["user"],
        },
        ["response_mode"],
    ),
    "flowise/request_prediction.json": (
        lambda r: {
            "messages": [
                user(r["history"][0]["content"]),
                {"role": "assistant", "content": r["history"][1]["content"]},
                user(r["question"]),
            ],
            "session_id": r["overrideConfig"]["sessionId"],
            "temperature": r["overrideConfig"]["temperature"],
            "max_tokens": r["overrideConfig"]["maxTokens"],
            "stream": True,
        },
        [],
    ),
    "hf_inference/request_text_generation.json": (
        lambda r: {"prompt": r["inputs"], "max_tokens": 50, "temperature": r["parameters"]["temperature"]},
        ["options", "stream", *TGI],
    ),
    "koboldcpp/request_generate.json": (
        lambda r: {
            "prompt": r["prompt"],
            "max_tokens": r["max_length"],
            "temperature": r["temperature"],
            "top_p": r["top_p"],
            "top_k": r["top_k"],
            "seed": r["sampler_seed"],
        },
        ["stop_sequence", "max_context_length", "rep_pen", "genkey"],
    ),
    "llamacpp/request_completion.json": (
        lambda r: {
            "prompt": r["prompt"],
            "max_tokens": r["n_predict"],
            "temperature": r["temperature"],
            "stop": r["stop"],
            "stream": True,
        },
        ["cache_prompt"],
    ),
    "tgi/request_generate_stream.json": (
        lambda r: {"prompt": r["inputs"], "max_tokens": r["parameters"]["max_new_tokens"]},
        [*TGI, "parameters.return_full_text"],
    ),
    "tgi/request_compat_root_details.json": (
        lambda r: {"prompt": r["inputs"], "max_tokens": 512, "temperature": 0.8, "top_p": 0.95},
        ["stream", "parameters.repetition_penalty", "parameters.typical_p", "parameters.watermark", *TGI],
    ),
    "triton/request_generate_stream.json": (
        lambda r: {"prompt": r["text_input"], "max_tokens": r["parameters"]["max_tokens"], "stream": True},
        [],
    ),
    "anthropic/request_parallel_tools_turn2.json": (
        _anthropic_family,
        ["model", "tool_choice", "messages.content.is_error"],
    ),
    "anthropic/request_image_b64_stream.json": (
        lambda r: {
            "messages": [
                user(
                    "img:data:image/png;base64," + r["messages"][0]["content"][0]["source"]["data"],
                    "Describe image in three words",
                )
            ],
            "stream": True,
        },
        ["model", "temperature"],
    ),
    "anthropic/request_image_url.json": (
        lambda r: {
            "messages": [user("What is this vegetable?", "img:" + r["messages"][0]["content"][1]["source"]["url"])],
            "max_tokens": 4096,
        },
        ["model"],
    ),
    "bedrock_converse/request_tools_turn2.json": (
        _bedrock_capital,
        ["toolConfig.toolChoice", "messages.content.toolResult.status"],
    ),
    "bedrock_converse/request_image_bytes.json": (
        lambda r: {
            "messages": [
                system("You are a helpful chatbot."),
                user(
                    "What fruit is in the image?",
                    "img:data:image/png;base64," + r["messages"][0]["content"][1]["image"]["source"]["bytes"],
                ),
            ]
        },
        [],
    ),
    "bedrock_converse/request_params.json": (
        lambda r: {
            "messages": [system("You are a helpful chatbot."), user("What is the capital of France?")],
            "top_p": 0.5,
        },
        [],
    ),
    "cohere_v2/request_tools_turn2.json": (lambda r: {"messages": r["messages"], "tools": r["tools"]}, ["model"]),
    "cohere_v2/request_vision_url.json": (lambda r: {"messages": r["messages"]}, ["model"]),
    "cohere_v2/request_embed.json": (lambda r: {"input": r["texts"]}, ["model", "embedding_types"]),
    "cohere_v2/request_error_404_embed.json": (
        lambda r: {"input": r["texts"], "input_type": "search_query", "truncate": "NONE"},
        ["model"],
    ),
    "cohere_v2/request_rerank.json": (
        lambda r: {"query": r["query"], "documents": r["documents"], "top_n": 3},
        ["model"],
    ),
    "dashscope/request_stream.json": (
        lambda r: {"messages": [user("明天杭州天气如何？")], "stream": True},
        ["parameters.enable_search", "parameters.search_options"],
    ),
    "gemini/request_tools_unary_turn2.json": (
        _gemini_capital,
        ["systemInstruction.role", "generationConfig.responseModalities"],
    ),
    "gemini/request_embed_batch.json": (
        lambda r: {
            "input": [each["content"]["parts"][0]["text"] for each in r["requests"]],
            "task_type": "RETRIEVAL_DOCUMENT",
        },
        ["requests.model"],
    ),
    "gemini/request_structured_output.json": (
        lambda r: {"messages": [user("What is the largest city in Mexico?")], "response_format": _schema_of(r)},
        ["generationConfig.responseModalities"],
    ),
    "ollama/request_chat_tool_result.json": (
        lambda r: {
            "messages": [
                user("what is the weather in Toronto?"),
                called(None, ("call_1", "get_weather", {"city": "Toronto"})),
                result("call_1", "11 degrees celsius"),
            ]
        },
        ["model"],
    ),
    "ollama/request_chat_tools.json": (
        lambda r: {"messages": [user("what is the weather in tokyo?")], "tools": r["tools"], "stream": True},
        ["model"],
    ),
    "ollama/request_chat_stream.json": (
        lambda r: {"messages": r["messages"], "stream": True},
        ["model"],
    ),
    "ollama/request_generate_stream.json": (lambda r: {"prompt": r["prompt"], "stream": True}, ["model", "raw"]),
    "watsonx/request_generation_stream.json": (
        lambda r: {"prompt": "Write an epigram about the sun", "stream": True},
        ["model_id", "project_id", "parameters"],
    ),
    "yandexgpt/request_stream.json": (
        lambda r: {"messages": [user("hello! could you please tell me about platypuses?")], "stream": True},
        ["modelUri"],
    ),
    "vertex/request_embed_predict.json": (
        lambda r: {"input": r["instances"][0]["content"], "task_type": "RETRIEVAL_QUERY"},
        [],
    ),
    "vertex/request_sse_stream.json": (lambda r: _generated(r) | {"stream": True}, []),
    "vertex/request_text_unary.json": (
        lambda r: (
            _generated(r)
            | {"temperature": 0.2, "top_p": 0.95, "top_k": 2.0, "max_tokens": 5, "stop": "\n\n\n", "seed": 12345}
            | {"presence_penalty": -1.5, "frequency_penalty": 1.0}
        ),
        [],
    ),
    "watsonx/request_generation.json": (
        lambda r: {"prompt": "What is 1 + 1?"},
        ["model_id", "project_id", "parameters"],
    ),
    "yandexgpt/request_tools_turn2.json": (_yandex_numbers, ["modelUri", "completionOptions.stream"]),
}
"""By recorded request: what a client of OpenAI's sends for it, and the paths of what such a client does not say."""
ENDPOINTS = {"messages": "chat", "prompt": "completions", "input": "embeddings", "documents": "rerank"}
"""The endpoint of a request that has this field."""
SPELLINGS = {"parameters_json_schema": "parametersJsonSchema"}
"""Keys that an API takes in two spellings."""


def _without(value: Any, dropped: list[str], path: str = "") -> Any:
    """A body without the values at these paths, without what is empty, and with one spelling of each key."""
    if isinstance(value, list):
        return [_without(item, dropped, path) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        place = f"{path}.{key}".lstrip(".")
        made = None if place in dropped else _without(item, dropped, place)
        if (made is not None and made not in ({}, [], "")) or key in ("args", "input", "properties", "description"):
            kept[SPELLINGS.get(key, key)] = made
    if kept.get("role") == "user" and isinstance(kept.get("content"), list):
        texts = [part.get("text") for part in kept["content"]]  # an only text stands for the list of it
        kept["content"] = texts[0] if kept["content"] == [{"type": "text", "text": texts[0]}] else kept["content"]
    return kept


@needs_wire
@pytest.mark.parametrize("name", ASKED)
def test_what_is_sent_is_what_others_sent(name: str) -> None:
    """The same request of OpenAI's becomes what another client was recorded to send."""
    make, dropped = ASKED[name]
    wanted = json.loads((WIRE / name).read_text())
    body = make(wanted)
    endpoint = next(name for field, name in ENDPOINTS.items() if field in body)
    sent = ask(shipped(FOLDERS[name.partition("/")[0]]), body, endpoint=endpoint).backend_request().body
    assert sent is not None
    assert _without(json.loads(sent), dropped) == _without(wanted, dropped)
