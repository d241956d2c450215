"""LangChain's own standard tests for chat models and embeddings, over its client for OpenAI."""

from __future__ import annotations

import uuid
from typing import Any

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from shared import KEY, MODEL, PIXEL, URL


class TestChat(ChatModelIntegrationTests):
    """Over `/v1/chat/completions`. Pictures are tried below: the standard tests fetch theirs from the internet."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The client."""
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """Its settings."""
        return {"model": MODEL, "base_url": URL, "api_key": KEY, "max_retries": 0, "stream_usage": True}

    @property
    def supports_json_mode(self) -> bool:
        """It has `json_object`."""
        return True

    @property
    def supports_model_override(self) -> bool:
        """There are two models."""
        return True

    @property
    def model_override_value(self) -> str:
        """The other one."""
        return "grey/parrot"

    @property
    def has_tool_choice(self) -> bool:
        """All kinds."""
        return True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        """Schemas natively."""
        return {"method": "json_schema"}


class TestChatByFunctions(TestChat):
    """The same with structured output by tools."""

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        """Schemas as tools."""
        return {"method": "function_calling"}


class TestEmbeddings(EmbeddingsIntegrationTests):
    """Over `/v1/embeddings`; the client would count tokens by a table from the internet."""

    @property
    def embeddings_class(self) -> type[OpenAIEmbeddings]:
        """The client."""
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        """Its settings."""
        return {"model": MODEL, "base_url": URL, "api_key": KEY, "check_embedding_ctx_length": False}


class TestResponses(TestChat):
    """Over `/v1/responses`."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """Its settings."""
        return {**super().chat_model_params, "use_responses_api": True}


def model(**more: Any) -> ChatOpenAI:
    """The client."""
    return ChatOpenAI(model=MODEL, base_url=URL, api_key=KEY, **more)  # type: ignore


def test_completions() -> None:
    """The client of old."""
    assert OpenAI(model=MODEL, base_url=URL, api_key=KEY).invoke("Say exactly: hi you").strip() == "hi you"  # type: ignore


def test_pictures() -> None:
    """In OpenAI's own form and in LangChain's."""
    for picture in (
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image", "base64": PIXEL.split(",")[1], "mime_type": "image/png"},
    ):
        made = model().invoke([HumanMessage([{"type": "text", "text": "What?"}, picture])])
        assert made.content == "You said: What? I see image/png."


def test_errors_and_a_retry() -> None:
    """An exception; and an answer where it came in passing."""
    with pytest.raises(openai.NotFoundError):
        model().invoke("hi", model="nobody")
    with pytest.raises(openai.BadRequestError):
        model().invoke("status=400")
    text = f"status=429 times=1 wait=0.1 key={uuid.uuid4()} say exactly: again"
    assert model(max_retries=1).invoke(text).content == "again"


@pytest.mark.parametrize("order", ["break=3", "trouble=3"])
def test_a_failure_in_a_stream(order: str) -> None:
    """Is raised."""
    texts: list[Any] = []

    def read() -> None:
        for chunk in model().stream(f"{order} say exactly: a b c d"):
            texts.append(chunk.content)

    with pytest.raises(openai.APIError):
        read()
    assert "".join(texts) == "a b"
