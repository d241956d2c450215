"""Several prompts and token ids: left to mappings that read them as they came, else texts of requests of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ask, load

from oaiproxy.canonical import Call
from oaiproxy.endpoints import completions, embeddings, images
from oaiproxy.errors import ClientError
from oaiproxy.mapping import Mapping
from oaiproxy.promptlists import MAX_CALLS, check_count, place_of_ids, settled, token_ids, with_texts

NOTHING: frozenset[str] = frozenset()
RAW = frozenset(("request.prompt",))


def completion(prompt: Any) -> Call:
    return completions.parse({"model": "m", "prompt": prompt})


def embedding(given: Any) -> Call:
    return embeddings.parse({"model": "m", "input": given})


def mapped(body: str, more: str = "") -> Mapping:
    text = f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: 'https://b'}}\n{more}\n"
    return load(f"{text}chat:\n  request: {{body: {{{body}}}}}\n  response: {{text: t}}\n")


@pytest.mark.parametrize(
    ("call", "reads", "ids"),
    [
        (completion("a"), NOTHING, []),
        (completion(["a", "b"]), NOTHING, []),
        (completion([1, 2]), NOTHING, [[1, 2]]),
        (completion([[1], [2]]), NOTHING, [[1], [2]]),
        (completion([[1], [2]]), RAW, []),
        (completion([[1], [2]]), frozenset(("request.*",)), []),
        (completion([[1]]), frozenset(("request.*", "request.!prompt")), [[1]]),
        (embedding("a"), NOTHING, []),
        (embedding([1]), NOTHING, [[1]]),
        (embedding([1]), frozenset(("tokens", "input")), []),
        (embedding([[1]]), frozenset(("request.input",)), []),
    ],
)
def test_ids_become_text_where_nobody_reads_them(call: Call, reads: frozenset[str], ids: Any) -> None:
    """Only there."""
    assert token_ids(call, reads) == ids


def test_texts_take_the_places_of_their_ids() -> None:
    """In their order; of embeddings they are counted too."""
    assert with_texts(completion([[1], [2]]), ["a", "b"]).fields["prompt"] == ["a", "b"]
    made = with_texts(embedding([[1], [2]]), ["a", "b"])
    assert (made.fields["input"], made.texts, "tokens" in made.fields) == (["a", "b"], ("a", "b"), False)


@pytest.mark.parametrize("prompt", ["", "a", "a cat"])
@pytest.mark.parametrize("reads", [NOTHING, RAW, frozenset(("request.*",))])
def test_the_prompt_of_another_endpoint_is_a_text(prompt: str, reads: frozenset[str]) -> None:
    """However short, and whoever reads the request as it came."""
    call = images.parse({"model": "m", "prompt": prompt})
    assert settled(call, reads).fields["prompt"] == prompt
    assert token_ids(call, reads) == []


def test_a_mistake_is_told_by_its_place() -> None:
    """A list of ids alone has no number."""
    assert [place_of_ids(completion(each), 0) for each in ([1], [[1]])] == ["prompt", "prompt[0]"]
    assert [place_of_ids(embedding(each), 1) for each in ([1], [[1], [2]])] == ["input", "input[1]"]


def test_the_requests_are_bounded() -> None:
    """Prompts times choices."""
    check_count(MAX_CALLS // 2, 2)
    with pytest.raises(ClientError, match="128 requests") as caught:
        check_count(MAX_CALLS // 2 + 1, 2)
    assert (caught.value.param, caught.value.code) == ("prompt", "invalid_value")


@pytest.mark.parametrize("fields", [{"logprobs": 0}, {"prompt": ["a", "b"], "raw": True}])
def test_an_echo_that_nobody_can_make(fields: dict[str, Any]) -> None:
    """Is refused: nobody knows a prompt's log probabilities, or which text is whose."""
    body = "a: '{{ request.prompt }}'" if fields.pop("raw", False) else "a: '{{ prompt }}', l: '{{ logprobs }}'"
    with pytest.raises(ClientError) as caught:
        ask(mapped(body), endpoint="completions", **{"prompt": "a", "echo": True, **fields})
    assert (caught.value.param, caught.value.code) == ("echo", "unsupported_parameter")


def test_a_mapping_may_say_that_an_echo_is_refused_or_dropped() -> None:
    """As of any field."""
    with pytest.raises(ClientError):
        ask(
            mapped("a: '{{ prompt }}'", "on_unsupported: {echo: reject}"), endpoint="completions", prompt="a", echo=True
        )
    dropped = mapped("a: '{{ prompt }}'", "on_unsupported: {echo: drop}")
    assert ask(dropped, endpoint="completions", prompt="a", echo=True).dropped == ("echo",)


@pytest.mark.parametrize(
    ("body", "wanted", "sent"),
    [
        ("l: '{{ logprobs }}', t: '{{ top_logprobs }}'", 0, {"l": True}),
        ("l: '{{ logprobs }}', t: '{{ top_logprobs }}'", 3, {"l": True, "t": 3}),
        ("l: '{{ logprobs }}'", 0, {"l": True}),
        ("l: '{{ logprobs }}'", 2, {"l": True}),
        ("l: '{{ request.logprobs }}'", 2, {"l": 2}),
    ],
)
def test_log_probabilities_are_asked_for_as_chat_does(body: str, wanted: int, sent: Any) -> None:
    """Where the block of chat serves completions; likeliest tokens that it does not read are left out, and named."""
    mapping = mapped(f"a: '{{{{ prompt }}}}', {body}")

    exchange = ask(mapping, endpoint="completions", prompt="p", logprobs=wanted)
    assert json.loads(exchange.backend_request().body or b"") == {"a": "p"} | sent
    assert exchange.dropped == (("logprobs",) if wanted == 2 and sent["l"] is True else ())


def test_likeliest_tokens_are_refused_where_the_mapping_says_so() -> None:
    """By the name that the endpoint has for them."""
    mapping = mapped("a: '{{ prompt }}', l: '{{ logprobs }}'", "on_unsupported: {top_logprobs: reject}")
    with pytest.raises(ClientError) as caught:
        ask(mapping, endpoint="completions", prompt="p", logprobs=2)
    assert caught.value.param == "logprobs"
