"""Recorded exchanges of the shipped backends through their mappings: what comes out is what the recordings say.

The expectations are written by hand from the recordings, and how the bytes are cut must not change them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from recordings import FOLDERS, shipped
from support import HI, ROOT, WIRE, ask, bytewise, needs_wire

from oaiproxy.auth import TokenAuth
from oaiproxy.grants import Grant
from oaiproxy.loader import Loader
from oaiproxy.outcomes import Outcome, drive
from oaiproxy.rehearsal import rehearse, requests_of, sample_replies
from oaiproxy.signing import Moment
from oaiproxy.steps import Answer

TYPES = {".sse": "text/event-stream", ".ndjson": "application/x-ndjson", ".json": "application/json"}
TYPES |= {".bin": "application/vnd.amazon.eventstream"}
EVERY_CUT = 4096
"""Streams up to so many bytes are cut in two at every position, longer ones at so many."""
SOME_CUTS = 12
"""The same where not all is tried."""
WHOLE_CUTS = 40
"""The same for whole answers, of which nothing is read before their end."""


@dataclass(frozen=True)
class Long:
    """A text that is told by its beginning, its end and its length."""

    start: str
    end: str
    length: int

    def __eq__(self, other: object) -> bool:
        text = str(other)
        return text.startswith(self.start) and text.endswith(self.end) and len(text) == self.length


def said(
    text: str | Long = "",
    finish: str = "stop",
    usage: tuple[int | None, ...] | None = None,
    reasoning: str | Long | None = None,
    calls: list[tuple[str, Any]] | None = None,
) -> dict[str, Any]:
    """An answer. `usage` is of the prompt, the completion, and of these the cached and the reasoning tokens."""
    return {"text": text, "finish": finish, "usage": usage, "reasoning": reasoning, "calls": calls or []}


def embedded(count: int, first: float, tokens: int | None = None) -> dict[str, Any]:
    """Vectors: how many, the first number of the first, and the tokens of the texts."""
    return {"vectors": (count, first), "usage": tokens}


def ranked(*results: tuple[int, float]) -> dict[str, Any]:
    """Documents and their scores, the best first."""
    return {"ranking": list(results)}


def failed(status: int, code: str, message: str, kind: str = "server_error") -> dict[str, Any]:
    """A failure; the message is part of the one that comes."""
    return {"status": status, "code": code, "type": kind, "message": message}


BAD = "invalid_request_error"
PELICAN = ("pelican_name_generator", {})
TAXES = (
    '{"filename": "taxes.txt", "lines_of_text": [\n"# COMPREHENSIVE TAX GUIDE FOR INDIVIDUALS WITH MULTIPLE W-2s",\n'
    '"",\n"## INTRODUCTION",\n"",\n"Filing taxes'
)
FAMILY = [("retrieve_entity_info", {"name": name}) for name in ("Alice", "Bob", "Charlie", "Daisy")]
TOKYO = [("get_time", {"location": "Tokyo"}), ("get_weather", {"location": "Tokyo"})]
PLAN = "I will search for the current time and weather in Tokyo."

WANTED: dict[str, dict[str, Any]] = {
    "anthropic/error_400.json": failed(400, "invalid_value", "does not support effort level 'xhigh'", BAD),
    "anthropic/error_404_model.json": failed(502, "upstream_not_found", "model: claude-does-not-exist"),
    "anthropic/error_529_overloaded.json": failed(503, "server_is_overloaded", "Overloaded", "overloaded_error"),
    "anthropic/response_image_url.json": said(
        Long("This is a potato. It's a", "ing, frying, or mashing.", 366), usage=(296, 91, 0)
    ),
    "anthropic/response_parallel_tools_turn1.json": said(
        Long("I'll help you find out w", "n to compare their ages.", 156), "tool_calls", (423, 202, 0), calls=FAMILY
    ),
    "anthropic/response_parallel_tools_turn2.json": said(
        Long("Based on the retrieved i", "the four family members.", 340), usage=(771, 77, 0)
    ),
    "anthropic/response_system_text.json": said("The capital of France is Paris.", usage=(20, 10, 0)),
    "anthropic/stream_error_overloaded.sse": failed(503, "server_is_overloaded", "Overloaded", "overloaded_error"),
    "anthropic/stream_image_b64_stream.sse": said("Red square, green square.", usage=(83, 9, 0)),
    "anthropic/stream_prefill_stop.sse": said(
        '\ndef pelican():\n    return "A large waterbird with a long bill and a throat pouch for catching fish."\n',
        usage=(16, 28, 0),
    ),
    "anthropic/stream_redacted_thinking_stream.sse": said(
        Long("I notice that you've sen", "timate task or question?", 359), usage=(92, 189, 0)
    ),
    "anthropic/stream_refusal.sse": said("", "content_filter", (20, 1)),  # 0 in the end, which tells nothing new
    "anthropic/stream_text_stream.sse": said("- Captain\n- Scoop", usage=(17, 10, 0)),
    "anthropic/stream_thinking_stream.sse": said(
        Long("Here are the basic steps", "d when crossing streets.", 1021),
        usage=(43, 282, 0),
        reasoning=Long("This is a straightforwar", " help prevent accidents.", 202),
    ),
    "anthropic/stream_tool_args.sse": said(
        "I'll check the current weather in Paris for you.",
        "tool_calls",
        (377, 65, 0),
        calls=[("get_weather", {"location": "Paris"})],
    ),
    "anthropic/stream_tool_args_truncated_max_tokens.sse": said(
        Long("I'll create a comprehens", " me do that for you now.", 135),
        "length",
        (450, 124, 0),
        calls=[("make_file", TAXES)],
    ),
    "anthropic/stream_tool_noargs_stream.sse": said("", "tool_calls", (543, 40, 0), calls=[PELICAN]),
    "anthropic/stream_tools_turn1.sse": said("", "tool_calls", (542, 62, 0), calls=[PELICAN, PELICAN]),
    "anthropic/stream_tools_turn2.sse": said(
        Long("Here are two great names", "your feathered friend! 🦅", 299), usage=(678, 82, 0)
    ),
    "bedrock_converse/error_400_model.json": failed(400, "invalid_value", "model identifier is invalid", BAD),
    "bedrock_converse/error_400_model_stream.json": failed(400, "invalid_value", "model identifier is invalid", BAD),
    "bedrock_converse/response_image_bytes.json": said(
        Long("The image features a fru", " in the image is a kiwi.", 228), usage=(1839, 49)
    ),
    "bedrock_converse/response_params.json": said(
        Long("The capital of France is", "international diplomacy.", 197), usage=(13, 41)
    ),
    "bedrock_converse/response_thinking_adaptive.json": said(
        Long("Here are the basic steps", " a particular situation?", 1145),
        usage=(14, 322, 0),
        reasoning="The user is asking a simple, practical question about how to cross the street safely.",
    ),
    "bedrock_converse/response_tools_turn1.json": said(
        Long("<thinking> To determine ", 'o "France". </thinking>\n', 237),
        "tool_calls",
        (426, 66),
        calls=[("get_capital", {"country": "France"})],
    ),
    "bedrock_converse/response_tools_turn2.json": said(
        Long("<thinking> It appears th", "ation, feel free to ask!", 370), usage=(531, 76)
    ),
    "bedrock_converse/stream_empty_text_delta_stream.bin": said(
        "Hello! How can I help you today?",
        usage=(70, 43),
        reasoning=Long('The user just says "Hi".', "ctions. Should be short.", 119),
    ),
    "bedrock_converse/stream_error_midstream_exception.bin": failed(
        429, "rate_limit_exceeded", "Too many tokens, please wait", "rate_limit_error"
    ),
    "bedrock_converse/stream_error_modelstream.bin": failed(
        502, "upstream_error", "an unexpected error during processing", "modelStreamErrorException"
    ),
    "bedrock_converse/stream_error_unmodelled.bin": failed(
        502, "InternalFailure", "Something went wrong", "InternalFailure"
    ),
    "bedrock_converse/stream_guardrail_stream.bin": said(
        "\nThe capital of {ADDRESS} is {ADDRESS}. The capital of {ADDRESS} is {ADDRESS}.", "content_filter", (17, 16)
    ),
    "bedrock_converse/stream_redacted_thinking_stream.bin": said(
        Long("I notice you've sent wha", "ike to talk about today?", 359), usage=(92, 253)
    ),
    "bedrock_converse/stream_text_stream.bin": said(
        Long("The capital of France is", '" or "The City of Love."', 375), usage=(13, 82)
    ),
    "bedrock_converse/stream_tool_stream.bin": said(
        Long("Okay, let me check the w", "sing the available tool:", 70),
        "tool_calls",
        (236, 58),
        calls=[("get_weather", {"location": "Barcelona"})],
    ),
    "cohere_v2/error_404_embed.json": failed(502, "upstream_not_found", "model 'nonexistent' not found"),
    "cohere_v2/response_chat.json": said(
        Long("Arrrr, matey! Shiver me ", "I couldn’t help but cry.", 289), usage=(69, 89)
    ),
    "cohere_v2/response_embed.json": embedded(6, 0.032318115, 208),
    "cohere_v2/response_reasoning_tools.json": said(
        "",
        "tool_calls",
        (1494, 330, 1008),
        reasoning=Long("Okay, the user is asking", "h location set to Osaka.", 1305),
        calls=[("get_the_weather", {"location": "Osaka"})],
    ),
    "cohere_v2/response_rerank.json": ranked((3, 0.999071), (4, 0.7779754), (1, 0.08882029)),
    "cohere_v2/response_thinking.json": said(
        Long("Crossing a river safely ", "safety is paramount. 🌊⚠️", 2930),
        usage=(2190, 1257),
        reasoning=Long("Okay, the user is asking", "vice for river crossing.", 2945),
    ),
    "cohere_v2/response_tools_turn1.json": said("", "tool_calls", (968, 83), reasoning=PLAN, calls=TOKYO),
    "cohere_v2/response_tools_turn2.json": said(
        "The current time in Tokyo is 4:20 PM and the weather is sunny with a temperature of 20°C.", usage=(1094, 102)
    ),
    "cohere_v2/response_vision_url.json": said(
        Long("The image you've provide", " open to interpretation.", 558), usage=(502, 113, 480)
    ),
    "cohere_v2/stream_chat_stream.sse": said(
        Long("Arrrr, matey! Shiver me ", "ore pirate-themed humor!", 383), usage=(69, 110)
    ),
    "cohere_v2/stream_tools_stream.sse": said("", "tool_calls", (968, 83), reasoning=PLAN, calls=TOKYO),
    "dashscope/error_400.json": failed(400, "InvalidParameter", "Required parameter(s) missing or invalid", BAD),
    "dashscope/response_text_format.json": said("return a text", usage=(2, 17)),
    "dashscope/stream_cumulative_default.sse": said("我是通义千问。", usage=(22, 5)),
    "dashscope/stream_error.sse": failed(400, "DataInspectionFailed", "may contain inappropriate content.", BAD),
    "dashscope/stream_incremental.sse": said("根据现有建议根据天气变化调整出行安排。", usage=(2940, 284, 0)),
    "gemini/error_404_embed.json": failed(502, "upstream_not_found", "models/nonexistent-model is not found"),
    "gemini/error_404_model.json": failed(502, "upstream_not_found", "models/gemini-3.6-flahs is not found"),
    "gemini/error_429_retryinfo.json": failed(
        429, "rate_limit_exceeded", "exceeded your current quota", "rate_limit_error"
    ),
    "gemini/response_embed_batch.json": embedded(2, -0.006419318, 0),
    "gemini/response_js_unary_failure_empty_content.json": failed(
        502, "upstream_mapping_mismatch", "no text was found"
    ),
    "gemini/response_js_unary_failure_finish_reason_safety.json": said("No", "content_filter"),
    "gemini/response_js_unary_failure_image_rejected.json": failed(400, "INVALID_ARGUMENT", "invalid argument.", BAD),
    "gemini/response_js_unary_failure_prompt_blocked_safety.json": said("", "content_filter"),
    "gemini/response_max_tokens_empty_content.json": said("", "length", (15, 2, None, 2)),
    "gemini/response_params_safety.json": said("", "content_filter", (14, 0)),
    "gemini/response_structured_output.json": said(
        '{\n  "city": "Mexico City",\n  "country": "Mexico"\n}', usage=(8, 20)
    ),
    "gemini/response_text_unary.json": said("Hello! How can I help you today?", usage=(9, 43, None, 34)),
    "gemini/response_tools_unary_turn1.json": said(
        "", "tool_calls", (57, 139, None, 124), calls=[("get_capital", {"country": "France"})]
    ),
    "gemini/response_tools_unary_turn2.json": said(
        "", "tool_calls", (109, 215, None, 199), calls=[("get_capital", {"country": "La France"})]
    ),
    "gemini/stream_js_streaming_failure_empty_content.sse": failed(
        502, "upstream_mapping_mismatch", "no text was found"
    ),
    "gemini/stream_js_streaming_failure_finish_reason_safety.sse": said("No", "content_filter"),
    "gemini/stream_js_streaming_failure_prompt_blocked_safety.sse": said("", "content_filter"),
    "gemini/stream_js_streaming_failure_recitation_no_content.sse": said(
        "Copyrighted text goes hereMore copyrighted text", "content_filter"
    ),
    "gemini/stream_js_streaming_success_function_call_short.sse": said(
        "", "tool_calls", calls=[("getTemperature", {"city": "San Jose"})]
    ),
    "gemini/stream_js_streaming_success_utf8.sse": said(
        Long("秋风瑟瑟，叶落纷纷，", "感受秋天的气息，领悟秋天的哲理。", 225)
    ),
    "gemini/stream_js_streaming_unknown_enum.sse": said(
        Long("**Cats:**\n\n- **Physical ", " health issues early on.", 3285)
    ),
    "gemini/stream_partial_function_args.sse": said(
        "",
        "tool_calls",
        (26, 155, None, 132),
        calls=[("getWeather", {"location": "Boston"}), ("getWeather", {"location": "San Francisco"})],
    ),
    "gemini/stream_text_jsonarray_stream.json": said(
        "Scoop",
        usage=(11, 293, None, 291),
        reasoning=Long("**Considering the Constr", "straint is paramount.\n\n\n", 275),
    ),
    "gemini/stream_text_sse_stream.sse": said("The capital of France is Paris.\n", usage=(13, 8)),
    "gemini/stream_tool_sse_stream.sse": said("", "tool_calls", (29, 212, None, 202), calls=[("get_country", {})]),
    "gemini/stream_tools_jsonarray_turn1.json": said(
        "",
        "tool_calls",
        (32, 54, None, 42),
        reasoning=Long("**Generating Pelican Nam", "n. It's a quick plan.\n\n\n", 236),
        calls=[PELICAN],
    ),
    "gemini/stream_tools_jsonarray_turn2.json": said("", "tool_calls", (105, 13), calls=[PELICAN]),
    "ollama/error_500.json": failed(502, "upstream_error", "the model failed to generate a response"),
    "ollama/response_chat.json": said(
        Long("A joke about OpenTelemet", "s a smile to your face!)", 256), usage=(17, 66)
    ),
    "ollama/response_chat_tool_result.json": said(
        Long("This is a simple example", "t units (e.g., Celsius).", 535), usage=(44, 113)
    ),
    "ollama/response_embed.json": embedded(1, 0.010071029, 8),
    "ollama/response_generate.json": said(
        Long("A niche topic!\n\nHere's o", "t a smile to your face!)", 261), usage=(17, 63)
    ),
    "ollama/stream_chat_stream.ndjson": said(
        Long("Why did the OpenTelemetr", "t a smile to your face!)", 212), usage=(17, 50)
    ),
    "ollama/stream_chat_tools.ndjson": said("", "tool_calls", (169, 15), calls=[("get_weather", {"city": "Tokyo"})]),
    "ollama/stream_error_midstream.ndjson": failed(502, "upstream_error", "an error was encountered while running"),
    "ollama/stream_generate_stream.ndjson": said(
        Long("A joke about OpenTelemet", " stages of development!)", 291), usage=(17, 71)
    ),
    "vertex/error_400_temperature.json": failed(400, "INVALID_ARGUMENT", "a temperature value of 1000", BAD),
    "vertex/error_404_model.json": failed(502, "upstream_not_found", "gemini-does-not-exist` not found"),
    "vertex/response_embed_predict.json": embedded(1, -0.020920176059007645, 4),
    "vertex/response_embed_predict_batch.json": embedded(2, -0.017999587580561638, 11),
    "vertex/response_prompt_blocked_200.json": said("", "content_filter"),
    "vertex/response_text_unary.json": said("", "length", (5, 4, None, 4)),
    "vertex/response_tools_unary.json": said(
        "",
        "tool_calls",
        (74, 216, None, 200),
        calls=[("get_current_weather", {"location": place}) for place in ("New Delhi", "San Francisco")],
    ),
    "vertex/stream_sse_stream.sse": said(
        Long("When systems hum, a sile", "omplex software shine so bright.", 1564), usage=(8, 2581, None, 2193)
    ),
    "watsonx/error_401.json": failed(502, "upstream_auth_error", "refused the credentials"),
    "watsonx/response_embed.json": embedded(1, -0.006929283, 10),
    "watsonx/response_generation.json": said("2", usage=(7, 2)),
    "watsonx/response_rerank.json": ranked(
        (5, 9.720501899719238),
        (1, 8.770895957946777),
        (0, -2.5847978591918945),
        (3, -3.349348306655884),
        (4, -3.920926570892334),
        (2, -4.939967155456543),
    ),
    "watsonx/stream_chat.sse": said("Hello", usage=(38, 3)),
    "watsonx/stream_chat_tools.sse": said("", "tool_calls", (84, 25), calls=[("sum", {"first": 1, "second": 1})]),
    "watsonx/stream_generation_stream.sse": said("the sun is the most important star in the sky", usage=(8, 11)),
    "yandexgpt/error_400.json": failed(400, "context_length_exceeded", "no more than 8192, got 9000", BAD),
    "yandexgpt/response_tools_turn1.json": said(
        "", "tool_calls", (100, 14), calls=[("something", {"numbers": [5.0, 4.0, 1.0]})]
    ),
    "yandexgpt/response_tools_turn2.json": said(
        "The result of doing SOMETHING with the numbers 5, 4, and 1 is +20.0.", usage=(130, 26)
    ),
    "yandexgpt/stream_cumulative.ndjson": said(
        Long("Platypuses, also known a", "eir natural environment.", 1359), usage=(26, 317)
    ),
}

BUSY = "service_unavailable"
JOKE = (
    "Sure, here's a joke about OpenTelemetry:\n\nWhy did the OpenTelemetry agent go to therapy?\n\nBecause it was "
    'feeling a little "disconnected" from its trace!\n\nI hope that brought a smile to your face! Is there anything'
    " else I can assist you with?"
)
WANTED |= {
    "cloudflare_workers_ai/error_400.json": failed(
        404, "model_not_found", "No such model @cf/meta/does-not-exist", BAD
    ),
    "cloudflare_workers_ai/response_native.json": said("Hello! How can I assist you today?", usage=(169, 48)),
    "cloudflare_workers_ai/stream_native.sse": said("You're looking at a webpage, but.", usage=(169, 48)),
    "cloudflare_workers_ai/stream_openai_shaped_with_trailing_native_usage.sse": said("أ", usage=(147, 16, 0)),
    "dify/error_400_app_unavailable.json": failed(502, "app_unavailable", "please check your app configurations"),
    "dify/error_400_not_chat_app.json": failed(502, "not_chat_app", "your app mode matches the right API route"),
    "dify/error_403_workflow_version_execution_not_allowed.json": failed(
        502, "workflow_version_execution_not_allowed", "not available on your current plan"
    ),
    "dify/error_404_conversation_not_exists.json": failed(
        404, "conversation_not_found", "Conversation Not Exists", BAD
    ),
    "dify/error_404_workflow_not_found.json": failed(502, "upstream_not_found", "Workflow not found with id"),
    "dify/error_429_rate_limit_error.json": failed(429, "rate_limit_exceeded", "Rate Limit Error", "rate_limit_error"),
    "dify/error_429_too_many_requests.json": failed(
        429, "rate_limit_exceeded", "Too many requests", "rate_limit_error"
    ),
    "dify/error_500_internal_server_error.json": failed(502, "internal_server_error", "encountered an internal error"),
    "dify/response_blockingResponse.json": said("iPhone 13 Pro Max specs are listed here:..."),
    "dify/stream_humanInputPause.sse": failed(502, "upstream_error", "the application waits for a form"),
    "dify/stream_streamingResponseAgent.sse": said("Here is the image: "),
    "dify/stream_streamingResponseBasic.sse": said(" I"),
    "dify/stream_streamingResponseWorkflow.sse": said(" I", reasoning="The user greeted me, so"),
    "dify/stream_with_ping_and_error.sse": failed(
        400, "context_length_exceeded", "Query or prefix prompt is too long", BAD
    ),
    "flowise/response_prediction.json": said("Hi there"),
    "flowise/stream_error.sse": failed(502, "upstream_error", "Request too large"),
    "flowise/stream_prediction.sse": said("Hi there"),
    "hf_inference/error_503_loading.json": failed(
        503, "model_loading", "is currently loading", "service_unavailable_error"
    ),
    "hf_inference/response_text_generation.json": said(" 42."),
    "koboldcpp/error_503_busy.json": failed(
        503, "server_is_overloaded", "Server is busy; please try again later.", BUSY
    ),
    "koboldcpp/response_generate.json": said(" his small scaly figure obscured by a dusky cloak."),
    "koboldcpp/stream_generate.sse": said(" his small"),
    "llamacpp/error_503_loading.json": failed(503, "model_loading", "Loading model", "unavailable_error"),
    "llamacpp/stream_completion_2024.sse": said("This", usage=(4, 160)),
    "llamacpp/stream_completion_2025.sse": said("\n\n are", "length", (19, 4, 0)),
    "replicate/error_401.json": failed(502, "upstream_auth_error", "refused the credentials"),
    "replicate/response_poll_get.json": said(Long("https://replicate.delive", "fGySnU5tUai3BOrWE/out-0.png", 91)),
    "replicate/stream_sse.sse": said(JOKE),
    "tgi/error_422.json": failed(400, "invalid_value", "Input validation error", BAD),
    "tgi/error_424.json": failed(502, "upstream_error", "Request failed during generation"),
    "tgi/error_429.json": failed(429, "rate_limit_exceeded", "Model is overloaded", "rate_limit_error"),
    "tgi/error_500.json": failed(502, "upstream_error", "Incomplete generation"),
    "tgi/response_compat_root_details.json": said(
        Long("\nAssistant: Of course! H", "riddle or a funny story?", 263), usage=(0, 75)
    ),  # how long the prompt was is not told, and not counted in tests
    "tgi/stream_error_midstream.sse": failed(502, "upstream_error", "Server error: CANCELLED"),
    "tgi/stream_generate_stream.sse": said(" Deep Learning is a."),
    "tgi/stream_generate_stream_with_details_tail.sse": said(" a", usage=(5, 20)),
    "triton/error_400.json": failed(400, "invalid_value", "error message", BAD),
    "triton/response_generate.json": said(Long("Why did the dog and cat ", "t had a doggone cold!", 101)),
    "triton/stream_error_http200.sse": failed(502, "upstream_error", "Failed to process the request"),
    "triton/stream_trtllm_incremental.sse": said("Counting to nine in French is easy!"),
}

UNDRIVEN = {
    "koboldcpp/response_generate_check_poll.json": "the mapping streams, and polls for no part of a text",
    "ollama/response_embeddings_legacy.json": "of the endpoint before /api/embed, which takes one text in a call",
    "replicate/response_create_*": "tells where the answer is: see below",
    "triton/stream_cumulative.sse": "of a model with another configuration: see below",
    "vertex/response_oauth_refresh.json": "an answer of the identity service, for no client",
    "watsonx/response_iam_token.json": "no answer for clients: see test_a_recorded_token_is_read",
}
"""Recordings, or patterns of them, that no mapping is for, and why."""


def recorded(*kinds: str) -> list[str]:
    """The recordings of the shipped backends, as `folder/file`."""
    found = (path for folder in FOLDERS for path in sorted((WIRE / folder).glob("*")))
    return [
        f"{path.parent.name}/{path.name}"
        for path in found
        if path.name.startswith(kinds) and not path.name.endswith(".decoded.txt")  # what is beside them in binary
    ]


ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "_embed": ("embeddings", {"input": "text"}),
    "_rerank": ("rerank", {"query": "which?", "documents": ["document"] * 6}),
    "_generat": ("completions", {"prompt": "hi"}),
}
"""By a part of a recording's name: the endpoint, and what is asked there."""


class Recording:
    """A recorded answer, and its way through the mapping."""

    def __init__(self, name: str) -> None:
        path = WIRE / name
        self.data = path.read_bytes()
        self.streams = path.name.startswith("stream_")
        number = path.name.removeprefix("error_")[:3]
        self._status = int(number) if number.isdigit() else 400 if "image_rejected" in name else 200
        self._type = {"content-type": TYPES[path.suffix]}
        array = self.streams and path.suffix == ".json"
        cumulative = path.name == "stream_cumulative_default.sse"
        self._mapping = shipped(FOLDERS[path.parent.name], "json-array" if array else "", cumulative)
        served = (asked for part, asked in ASKED.items() if part in name and asked[0] in self._mapping.endpoints)
        self._endpoint, self._body = next(served, ("chat", HI))
        if (vectors := WANTED[name].get("vectors")) is not None:
            self._body = {"input": ["text"] * vectors[0]}

    def outcome(self, pieces: list[bytes]) -> Outcome:
        """What a client gets when the answer comes in these pieces."""
        more = {"stream_options": {"include_usage": True}} if self.streams else {}
        more |= {"stream": True} if self.streams else {}
        exchange = ask(self._mapping, self._body, endpoint=self._endpoint, **more)
        requests_of(exchange, sample_replies(self._mapping, self._endpoint, self.streams))  # as if they were all made
        return drive(exchange.reply(self._status, self._type), pieces)

    def cuts(self, most: int) -> Iterator[list[bytes]]:
        """The answer in single bytes, with CRLF line ends, and in two pieces at so many places at most."""
        data = self.data
        yield bytewise(data)
        if self.streams and b"\r" not in data and self._type["content-type"] != TYPES[".bin"]:
            yield [data.replace(b"\n", b"\r\n")]
        for at in range(1, len(data), -(-len(data) // most)):
            yield [data[:at], data[at:]]


@needs_wire
@pytest.mark.parametrize("name", WANTED)
def test_what_comes_out_is_what_was_recorded(name: str) -> None:
    """Text, reasoning, tool calls, finish reason and usage; or the error."""
    outcome, wanted = Recording(name).outcome([(WIRE / name).read_bytes()]), WANTED[name]
    if "status" in wanted:
        assert outcome.error is not None
        assert wanted["message"] in outcome.error["message"]
        made = (outcome.status, outcome.error["code"], outcome.error["type"])
        assert made == (wanted["status"], wanted["code"], wanted["type"])
        return
    assert outcome.error is None
    if "vectors" in wanted:
        assert outcome.vectors is not None
        assert (len(outcome.vectors), outcome.vectors[0][0]) == wanted["vectors"]
        assert (outcome.usage or {}).get("prompt_tokens") == wanted["usage"]
        return
    if "ranking" in wanted:
        assert [(each["index"], each["relevance_score"]) for each in outcome.results or ()] == wanted["ranking"]
        return
    assert wanted["text"] == (outcome.text or "")
    assert (wanted["reasoning"], wanted["finish"]) == (outcome.reasoning, outcome.finish_reason)
    assert [(call["name"], call["arguments"]) for call in outcome.tool_calls] == wanted["calls"]
    if wanted["usage"] is not None:
        assert _counts(outcome) == (*wanted["usage"], None, None)[:4]


def _counts(outcome: Outcome) -> tuple[int | None, ...]:
    assert outcome.usage is not None
    prompt, completion = outcome.usage["prompt_tokens"], outcome.usage["completion_tokens"]
    cached = outcome.usage.get("prompt_tokens_details", {}).get("cached_tokens")
    return prompt, completion, cached, outcome.usage.get("completion_tokens_details", {}).get("reasoning_tokens")


@needs_wire
@pytest.mark.parametrize("name", WANTED)
def test_where_the_bytes_are_cut_does_not_matter(name: str) -> None:
    """In single bytes, with CRLF, and in two at some positions: the outcome is the same."""
    recording = Recording(name)
    wanted = recording.outcome([recording.data])
    assert all(recording.outcome(pieces) == wanted for pieces in recording.cuts(SOME_CUTS))


@needs_wire
@pytest.mark.thorough
@pytest.mark.parametrize("name", WANTED)
def test_no_cut_matters(name: str) -> None:
    """In two at every position."""
    recording = Recording(name)
    wanted = recording.outcome([recording.data])
    cuts = recording.cuts(EVERY_CUT if recording.streams else WHOLE_CUTS)
    assert all(recording.outcome(pieces) == wanted for pieces in cuts)


@needs_wire
def test_no_recording_is_without_an_expectation() -> None:
    """Each is expected to be something, or named with the reason why it cannot be driven."""
    names = set(recorded("response_", "stream_", "error_"))
    undriven = {name for name in names for pattern in UNDRIVEN if Path(name).match(pattern)}
    assert names - undriven == WANTED.keys()
    assert all(any(Path(name).match(pattern) for name in names) for pattern in UNDRIVEN)


@needs_wire
def test_a_recorded_token_is_read() -> None:
    """For the key that others were recorded to send, and for as long as it is good."""
    ((mapping, _),) = Loader({"WATSONX_APIKEY": "test_api_key"}).load([("watsonx", ROOT / "mappings/watsonx.yaml")])[0]
    auth = mapping.backend.auth
    assert isinstance(auth, TokenAuth)
    grant = auth.source
    assert isinstance(grant, Grant)
    final = grant.build(mapping.backend.url, Moment(0.0, "uuid"), None).final
    assert final.url == "https://iam.cloud.ibm.com/identity/token"
    recorded = (WIRE / "watsonx/request_iam_token.txt").read_text()
    assert sorted(parse_qsl((final.body or b"").decode())) == sorted(parse_qsl(recorded.strip()))
    answer = (WIRE / "watsonx/response_iam_token.json").read_bytes()
    token = grant.read(200, {"content-type": "application/json"}, answer, 0.0)
    assert (token.value, token.lifetime) == (json.loads(answer)["access_token"], 3600)


VARIANTS = {
    "triton/stream_cumulative.sse": ("extends: triton\nchat: {stream: {text_mode: cumulative}}", " 1, 2"),
    "vllm_legacy/stream_generate.ndjson": ("extends: {base}", " a city in California."),
    "vllm_legacy/stream_generate_old_nul.bin": (
        'extends: {base}\nchat: {stream: {format: {delimited: "\\0"}}}',
        " a city in California.",
    ),
    "vllm_legacy/response_generate.json": ("extends: {base}", " a city in California."),
}
"""Recordings of what the head of a mapping, or a few lines, make of a backend that is configured otherwise."""
VLLM_LEGACY = """
oaiproxy: 1
models: [m]
backend: {url: "http://127.0.0.1:8000"}
chat:
  request:
    path: /generate
    body:
      prompt: "{{ prompt }}"
      stream: "{{ stream }}"
      n: "{{ n }}"
      max_tokens: "{{ max_tokens | default(512) }}"
      temperature: "{{ temperature }}"
      top_p: "{{ top_p }}"
      top_k: "{{ top_k }}"
      stop: "{{ stop }}"
      presence_penalty: "{{ presence_penalty }}"
      frequency_penalty: "{{ frequency_penalty }}"
  response: {text: "text[0]", strip: {prefix: "{{ prompt }}"}}
  stream: {format: ndjson, text_mode: cumulative}
"""
"""vLLM's server of old, that of its demonstrations: it begins with the prompt, and repeats all in every line."""


@needs_wire
@pytest.mark.parametrize("name", VARIANTS)
def test_backends_that_are_configured_otherwise(name: str, tmp_path: Path) -> None:
    """A few lines over another mapping are enough, wherever the bytes are cut."""
    base = tmp_path / "base.yaml"
    base.write_text(VLLM_LEGACY)
    over, wanted = VARIANTS[name]
    path = tmp_path / "over.yaml"
    path.write_text("oaiproxy: 1\nmodels: [m]\n" + over.replace("{base}", "./base.yaml"))
    ((mapping, _),) = Loader({}).load([("over", path)])[0]
    data = (WIRE / name).read_bytes()
    kind = {"content-type": TYPES.get(Path(name).suffix, "application/octet-stream")}
    cuts = [[data], [data[at : at + 1] for at in range(len(data))]]
    for pieces in cuts + [[data[:at], data[at:]] for at in range(1, len(data))]:
        streams = "stream" in name
        exchange = ask(mapping, {"messages": [{"role": "user", "content": "San Francisco is"}]}, stream=streams)
        exchange.backend_request()
        outcome = drive(exchange.reply(200, kind), pieces)
        assert (outcome.error, outcome.text, outcome.finish_reason) == (None, wanted, "stop")


@needs_wire
@pytest.mark.parametrize("name", ["response_create_stream.json", "response_create_by_model.json"])
def test_a_recorded_prediction_leads_to_its_answer(name: str) -> None:
    """The stream is at the address that came, on another host; the whole answer where it is asked for."""
    streams = "stream" in name
    answer = "stream_sse.sse" if streams else "response_poll_get.json"
    kind = {"content-type": TYPES[Path(answer).suffix]}
    folder = WIRE / "replicate"
    answers = [Answer(201, {"content-type": "application/json"}, (folder / name).read_bytes())]
    answers += [Answer(200, kind, (folder / answer).read_bytes())]
    made = rehearse(ask(shipped("replicate"), stream=streams), answers)
    addresses = json.loads(answers[0].body)["urls"]
    assert [request.url for request in made.requests][1:2] == [addresses["stream" if streams else "get"]]
    assert (made.outcome.text or "")[:11] == ("Sure, here'" if streams else "https://rep")


def test_a_closing_event_that_repeats_the_answer(tmp_path: Path) -> None:
    """What the head of Dify's mapping says of the applications that are called New Agent."""
    path = tmp_path / "agent.yaml"
    path.write_text("oaiproxy: 1\nextends: dify\nmodels: [m]\nchat: {stream: {events: {message: {fallback: true}}}}")
    ((mapping, _),) = Loader({}).load([("agent", path)])[0]
    told: list[dict[str, Any]] = [
        {"event": "agent_message", "answer": "Ro"},
        {"event": "agent_message", "answer": "me."},
    ]
    told += [{"event": "message", "answer": "Rome."}, {"event": "message_end", "metadata": {}}]
    exchange = ask(mapping, stream=True)
    exchange.backend_request()
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in told).encode()
    assert drive(exchange.reply(200, {"content-type": TYPES[".sse"]}), [data]).text == "Rome."
