"""What backends sign comes back to them byte for byte, through OpenAI's client, which knows nothing of it.

The backends answer as their documentation says; the shipped mappings and the proxy are in between, on real sockets.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
import pytest
from scripted import FIN, REQUEST, Backend, answer
from support import ROOT, sse

from oaiproxy.frame_writers import write_events
from oaiproxy.framing import Frame
from oaiproxy.loader import Loader

LONG = "Eq0JCqoJARFNMg+W/PqAbyHOY74CxXndQK8mFmjnZMz8VyMQTL+DLgiKb+gi/tjp" * 40 + "X2PLJ0EH6pkb8SCI0aA="
OTHER = "ClgBEU0yD8z3tYzbgjZ1jc6lL1fwUvm9/8OzTwh5uyHd3oc/nSNCBpsRWAFcF+8P"
REDACTED = "EqkECkYIBxgCKkA8AZ4noDfV5VcOJe/p3JTRB6Xz5297mrWhl3MbHSXDKTMfuB=="
THOUGHT = 'The weather ☀️\nis asked: "look" it up.'
HALVES = (THOUGHT[:13], THOUGHT[13:])
QUESTION = {"role": "user", "content": "Is it warm in Rome?"}
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
ROME = {"city": "Rome"}
TEXT = "Let me see."


def anthropic(calls: bool) -> tuple[Any, bytes]:
    """https://platform.claude.com/docs/en/build-with-claude/extended-thinking"""
    blocks: list[Any] = [
        {"type": "thinking", "thinking": THOUGHT, "signature": LONG},
        {"type": "redacted_thinking", "data": REDACTED},
        {"type": "text", "text": TEXT},
    ]
    deltas: list[list[Any]] = [
        [{"type": "thinking_delta", "thinking": half} for half in HALVES]
        + [{"type": "signature_delta", "signature": LONG}],
        [],
        [{"type": "text_delta", "text": TEXT}],
    ]
    begun = [{**blocks[0], "thinking": "", "signature": ""}, blocks[1], {**blocks[2], "text": ""}]
    if calls:
        blocks.append({"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": ROME})
        begun.append({**blocks[3], "input": {}})
        deltas.append([{"type": "input_json_delta", "partial_json": '{"city": "Rome"}'}])
    reason = "tool_use" if calls else "end_turn"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": blocks}
    message |= {"stop_reason": reason, "usage": {"input_tokens": 9, "output_tokens": 9}}
    told: list[Any] = [{"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}]
    for at, (block, pieces) in enumerate(zip(begun, deltas, strict=True)):
        told.append({"type": "content_block_start", "index": at, "content_block": block})
        told += [{"type": "content_block_delta", "index": at, "delta": piece} for piece in pieces]
        told.append({"type": "content_block_stop", "index": at})
    told += [{"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}]
    told += [{"type": "message_stop"}]
    return message, sse(*((each["type"], each) for each in told)).encode()


def gemini(calls: bool) -> tuple[Any, bytes]:
    """https://ai.google.dev/gemini-api/docs/thought-signatures"""
    thoughts = [{"text": THOUGHT, "thought": True}]
    said: list[Any] = [{"text": TEXT, "thoughtSignature": OTHER}]
    call = {"functionCall": {"id": "fc_1", "name": "get_weather", "args": ROME}, "thoughtSignature": LONG}
    said += [call] if calls else []

    def reply(parts: list[Any], **more: Any) -> Any:
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}]}

    pieces = [reply([{"text": half, "thought": True}]) for half in HALVES]
    pieces += [reply([part]) for part in said] + [reply([{"text": ""}], finishReason="STOP")]
    return reply(thoughts + said, finishReason="STOP"), sse(*pieces).encode()


def bedrock(calls: bool) -> tuple[Any, bytes]:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ReasoningContentBlock.html"""
    content: list[Any] = [
        {"reasoningContent": {"reasoningText": {"text": THOUGHT, "signature": LONG}}},
        {"reasoningContent": {"redactedContent": REDACTED}},
        {"text": TEXT},
    ]
    deltas: list[tuple[int, Any]] = [
        *((0, {"reasoningContent": {"text": half}}) for half in HALVES),
        (0, {"reasoningContent": {"signature": LONG}}),
        (1, {"reasoningContent": {"redactedContent": REDACTED}}),
        (2, {"text": TEXT}),
    ]
    told: list[tuple[str, Any]] = [("messageStart", {"role": "assistant"})]
    told += [("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}) for at, delta in deltas]
    if calls:
        use = {"toolUseId": "tooluse_1", "name": "get_weather"}
        content.append({"toolUse": {**use, "input": ROME}})
        told.append(("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": use}}))
        told.append(("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": json.dumps(ROME)}}}))
    reason = "tool_use" if calls else "end_turn"
    told += [("messageStop", {"stopReason": reason}), ("metadata", {"usage": {"inputTokens": 9, "outputTokens": 9}})]
    whole = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason}
    return whole, b"".join(write_events(Frame(json.dumps(data).encode(), name) for name, data in told))


SSE, EVENTS = "text/event-stream", "application/vnd.amazon.eventstream"
BACKENDS: dict[str, tuple[Any, str, str]] = {
    "anthropic": (anthropic, SSE, "messages"),
    "anthropic-2023": (anthropic, SSE, "messages"),
    "bedrock-converse": (bedrock, EVENTS, "messages"),
    "gemini": (gemini, SSE, "contents"),
    "vertex-gemini": (gemini, SSE, "contents"),
}
"""By mapping: what its backend says, the type of its streams, and where its requests hold the conversation."""


def sent_back(name: str, calls: bool) -> list[Any]:
    """The assistant's own turn, as the backend must get it."""
    if name.startswith("anthropic"):
        return list(anthropic(calls)[0]["content"])
    if name == "bedrock-converse":
        return list(bedrock(calls)[0]["output"]["message"]["content"])
    text, *others = gemini(calls)[0]["candidates"][0]["content"]["parts"][1:]
    return [{"text": TEXT}, {"text": "", "thoughtSignature": text["thoughtSignature"]}, *others]


async def said(client: openai.AsyncOpenAI, model: str, messages: list[Any], streams: bool) -> Any:
    """The message that comes, as a client keeps it."""
    ask: Any = {"model": model, "messages": messages, "tools": TOOLS}
    if streams:
        async with client.chat.completions.stream(**ask) as stream:
            message: Any = (await stream.get_final_completion()).choices[0].message
    else:
        message = (await client.chat.completions.create(**ask)).choices[0].message
    return message.model_dump(exclude_none=True, exclude={"parsed"})


@pytest.mark.parametrize("calls", [True, False], ids=["calls", "text"])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", BACKENDS)
async def test_what_was_signed_comes_back(proxy: Any, name: str, streams: bool, calls: bool) -> None:
    """Thoughts, their signatures and what is redacted stand where they stood, before the text and the call."""
    make, kind, conversation = BACKENDS[name]
    whole, stream = make(calls)
    headers = {"Content-Type": kind if streams else "application/json", "Connection": "close"}
    ((mapping, _),) = Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    async with Backend([REQUEST, answer(stream if streams else whole, headers=headers), FIN]) as backend:
        running = await proxy(replace(mapping, backend=replace(mapping.backend, url=backend.url)))
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
            model = next(iter(mapping.models))
            message = await said(client, model, [QUESTION], streams)
            assert message["content"] == TEXT
            assert message["reasoning_content"] == THOUGHT
            said_now = [QUESTION, message]
            if calls:
                (call,) = message["tool_calls"]
                assert json.loads(call["function"]["arguments"]) == ROME
                said_now.append({"role": "tool", "tool_call_id": call["id"], "content": "sunny"})
            else:
                said_now.append({"role": "user", "content": "Sure?"})
            await said(client, model, said_now, streams)
        question, own, _ = backend.requests[1].json[conversation]
    assert question["role"] == "user"
    assert own["content" if conversation == "messages" else "parts"] == sent_back(name, calls)


async def responded(client: openai.AsyncOpenAI, streams: bool, **ask: Any) -> Any:
    """The response that comes."""
    ask["tools"] = [{"type": "function", **TOOLS[0]["function"]}]
    if not streams:
        return await client.responses.create(**ask)
    async with client.responses.stream(**ask) as stream:
        return await stream.get_final_response()


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "sent back"])
@pytest.mark.parametrize("calls", [True, False], ids=["calls", "text"])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", BACKENDS)
async def test_so_it_does_through_responses(proxy: Any, name: str, streams: bool, calls: bool, stored: bool) -> None:
    """Whether the client sends the items back or names the response."""
    make, kind, conversation = BACKENDS[name]
    whole, stream = make(calls)
    headers = {"Content-Type": kind if streams else "application/json", "Connection": "close"}
    ((mapping, _),) = Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    async with Backend([REQUEST, answer(stream if streams else whole, headers=headers), FIN]) as backend:
        running = await proxy(replace(mapping, backend=replace(mapping.backend, url=backend.url)))
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
            ask: Any = {"model": next(iter(mapping.models))}
            first = await responded(client, streams, **ask, input=[QUESTION], store=stored)
            assert first.output_text == TEXT
            assert first.output[0].summary[0].text == THOUGHT
            found = [item.call_id for item in first.output if item.type == "function_call"]
            assert len(found) == calls
            result: Any = {"type": "function_call_output", "call_id": found[0], "output": "sunny"} if calls else None
            more = [result or {"role": "user", "content": "Sure?"}]
            if stored:
                await responded(client, streams, **ask, input=more, previous_response_id=first.id)
            else:
                items = [item.model_dump(exclude_none=True) for item in first.output]
                await responded(client, streams, **ask, input=[QUESTION, *items, *more], store=False)
        question, own, _ = backend.requests[1].json[conversation]
    assert question["role"] == "user"
    assert own["content" if conversation == "messages" else "parts"] == sent_back(name, calls)
