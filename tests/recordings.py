"""The recordings beside the checkout, and the shipped mappings that they are for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from support import ROOT

from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping

WIRE = ROOT.parent / "shared" / "wire"  # on the machines that have them
FOLDERS = {"anthropic": "anthropic", "bedrock_converse": "bedrock-converse", "cohere_v2": "cohere"}
FOLDERS |= {name: name for name in ("dashscope", "gemini", "ollama", "watsonx", "yandexgpt")}
FOLDERS |= {"cloudflare_workers_ai": "cloudflare-workers-ai", "hf_inference": "hf-inference"}
FOLDERS |= {name: name for name in ("dify", "flowise", "koboldcpp", "llamacpp", "replicate", "tgi", "triton")}
"""The recordings' folders, and the mapping that each is for."""

LLAMA_3 = {"TRITON_CHAT_TEMPLATE": "llama-3", "TRITON_STOP": "<|eot_id|>"}
"""What is set where the recordings of a self-hosted server were made."""

needs_wire = pytest.mark.skipif(not WIRE.is_dir(), reason="the recordings are not on this machine")


@cache
def shipped(name: str, framing: str = "") -> Mapping:
    """A shipped mapping; with another framing of its chat's streams where one is given."""
    ((mapping, _),) = Loader(LLAMA_3).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    chat = mapping.endpoints["chat"]
    if not framing:
        return mapping
    assert chat.stream is not None
    return replace(mapping, endpoints={"chat": replace(chat, stream=replace(chat.stream, framing=framing))})
