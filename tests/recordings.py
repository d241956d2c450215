"""The recordings beside the checkout, and the shipped mappings that they are for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from support import ROOT

from oaiproxy.formats import make_format
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping

FOLDERS = {"anthropic": "anthropic", "bedrock_converse": "bedrock-converse", "cohere_v2": "cohere"}
FOLDERS |= {"vertex": "vertex-gemini"}
FOLDERS |= {name: name for name in ("dashscope", "gemini", "ollama", "watsonx", "yandexgpt")}
FOLDERS |= {"cloudflare_workers_ai": "cloudflare-workers-ai", "hf_inference": "hf-inference"}
FOLDERS |= {name: name for name in ("dify", "flowise", "koboldcpp", "llamacpp", "replicate", "tgi", "triton")}
"""The recordings' folders, and the mapping that each is for."""

LLAMA_3 = {"TRITON_CHAT_TEMPLATE": "llama-3", "TRITON_STOP": "<|eot_id|>"}
"""What is set where the recordings of a self-hosted server were made."""


@cache
def shipped(name: str, framing: str = "", cumulative: bool = False) -> Mapping:
    """A shipped mapping; with another framing, or cumulative text, in its chat's streams where that is given."""
    ((mapping, _),) = Loader(LLAMA_3).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    stream = mapping.endpoints["chat"].stream
    if (not framing and not cumulative) or stream is None:
        return mapping
    if framing:
        stream = replace(stream, framing=make_format(framing))
    if cumulative:
        stream = replace(stream, plan=replace(stream.plan, cumulative=True))
    return replace(mapping, endpoints={"chat": replace(mapping.endpoints["chat"], stream=stream)})
