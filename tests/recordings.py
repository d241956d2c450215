"""The recordings beside the checkout, and the shipped mappings that they are for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from support import ROOT

from oaiproxy.formats import FORMATS
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping

WIRE = ROOT.parent / "shared" / "wire"  # on the machines that have them
FOLDERS = {"anthropic": "anthropic", "bedrock_converse": "bedrock-converse", "cohere_v2": "cohere"}
FOLDERS |= {"vertex": "vertex-gemini"}
FOLDERS |= {name: name for name in ("dashscope", "gemini", "ollama", "watsonx", "yandexgpt")}
"""The recordings' folders, and the mapping that each is for."""

needs_wire = pytest.mark.skipif(not WIRE.is_dir(), reason="the recordings are not on this machine")


@cache
def shipped(name: str, framing: str = "") -> Mapping:
    """A shipped mapping; with another framing of its chat's streams where one is given."""
    ((mapping, _),) = Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    chat = mapping.endpoints["chat"]
    if not framing:
        return mapping
    assert chat.stream is not None
    return replace(mapping, endpoints={"chat": replace(chat, stream=replace(chat.stream, framing=FORMATS[framing]))})
