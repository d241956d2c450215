"""Promises of the engine of `init`: from one call of an API a mapping that passes `check`, and nothing invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import ClientSession, web
from conftest import Proxy
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT, listening

from oaiproxy.check import Checked, Surroundings, check_mapping
from oaiproxy.curl import parse_curl
from oaiproxy.document import load_document
from oaiproxy.initial import Proposal, name_of, propose
from oaiproxy.leaves import at
from oaiproxy.loader import mapping_schema
from oaiproxy.samples import Received, Sample

CORPUS = ROOT / "tests/init"
APIS = sorted(folder.name for folder in CORPUS.iterdir())
LEFT = {
    "flowise": ("what the API calls the role `system`: the sample does not show it",),
    "replicate": ("the answer seems to come later (`status: starting`): say how to wait for it as `poll`",),
}
"""What is left to do, by the API; for all others nothing is."""
UNSOUND = {"replicate": ["E105"]}
"""The findings of mappings that are not whole."""

FOUND: dict[str, dict[str, Any]] = {
    "anthropic": {
        "backend.auth.header": "x-api-key",
        "chat.request.body.system": "{{ system }}",
        "chat.request.body.stop_sequences": "{{ stop }}",
        "chat.response.text": "join('', content[?type == 'text'].text)",
        "chat.response.reasoning": "join('', content[?type == 'thinking'].thinking)",
        "chat.stream.request.body.stream": True,
        "chat.stream.events.content_block_delta.text": "delta.text",
        "chat.stream.events.message_start.usage.prompt": "message.usage.input_tokens",
        "chat.stream.events.message_stop.done": "`true`",
    },
    "bedrock-converse": {
        "models": ["amazon.nova-lite-v1:0"],
        "chat.request.path": "/model/{{ model }}/converse",
        "chat.request.body.inferenceConfig.maxTokens": "{{ max_tokens }}",
        "chat.stream.format": "aws-eventstream",
        "chat.stream.events.contentBlockDelta.text": "delta.text",
        "chat.stream.events.metadata.done": "`true`",
    },
    "cloudflare-workers-ai": {
        "chat.response.text": "result.response",
        "chat.stream.text": "response",
        "chat.stream.end": "[DONE]",
        "chat.stream.request.body.stream": True,
    },
    "cohere": {
        "chat.request.body.stream": "{{ stream }}",
        "chat.request.body.p": "{{ top_p }}",
        "chat.request.body.k": "{{ top_k }}",
        "chat.response.usage.prompt": "usage.tokens.input_tokens",
        "chat.stream.events.content-delta.text": "delta.message.content.text",
        "chat.stream.end": "[DONE]",
    },
    "dashscope": {
        "chat.request.body.model": "{{ model }}",
        "chat.stream.request.headers": {"x-dashscope-sse": "enable"},
        "chat.stream.text_mode": "cumulative",
        "finish_reasons": {"null": None},
    },
    "dify": {
        "chat.request.body.query": "{{ prompt }}",
        "chat.request.body.user": "{{ user | default('abc-123') }}",
        "chat.stream.request.body.response_mode": "streaming",
        "chat.stream.by": "event",
        "chat.stream.events.message.text": "answer",
        "chat.stream.events.message_end.done": "`true`",
    },
    "example": {
        "chat.request.body.prompt": "{{ prompt }}",
        "chat.request.body.params": {"temp": "{{ temperature }}", "max_length": "{{ max_tokens }}"},
        "chat.response.text": "generated_text",
        "chat.response.usage.completion": "metadata.tokens_generated",
        "chat.stream.request": {"path": "/generate/stream"},
        "chat.stream.format": "json-concat",
        "chat.stream.text": "chunk",
        "chat.stream.done": "finished",
    },
    "flowise": {
        "chat.request.body.question": "{{ prompt }}",
        "chat.request.body.history.0.$for": "m in messages[:-1]",
        "chat.stream.events.token.text": "data",
        "chat.stream.events.end.done": "`true`",
    },
    "gemini": {
        "backend.auth.query": "key",
        "chat.request.path": "/v1beta/models/{{ model }}:generateContent",
        "chat.request.body.systemInstruction.parts.0.text": "{{ system }}",
        "chat.request.body.contents.0.role": "{{ m.role | map_to({'user': 'user', 'assistant': 'model'}) }}",
        "chat.response.text": "join('', candidates[0].content.parts[].text)",
        "chat.stream.request.query.alt": "sse",
    },
    "hf-inference": {"chat.response.text": "[0].generated_text", "models": ["gpt2"]},
    "koboldcpp": {
        "chat.request.body.sampler_seed": "{{ seed }}",
        "chat.request.body.rep_pen": 1.1,
        "chat.stream.text": "token",
        "chat.stream.done": "finish_reason",
    },
    "llamacpp": {"chat.stream.done": "stop", "finish_reasons": {"limit": "length"}},
    "ollama": {
        "chat.request.body.options.num_predict": "{{ max_tokens }}",
        "chat.response.finish_reason": "done_reason",
        "chat.response.usage": {"prompt": "prompt_eval_count", "completion": "eval_count"},
        "chat.stream.format": "ndjson",
        "chat.stream.done": "done",
    },
    "replicate": {"chat.request.path": "/v1/models/{{ model | split('/') }}/predictions"},
    "replicate-wait": {"chat.response.text": "join('', output)", "backend.headers.prefer": "wait"},
    "tgi": {
        "chat.stream.text": "token.text",
        "chat.stream.done": "details.finish_reason",
        "chat.stream.strip": {"tokens": ["</s>"]},
    },
    "triton": {"chat.stream.text_mode": "cumulative", "chat.request.body.parameters.stream": "{{ stream }}"},
    "vllm-legacy": {"chat.stream.text": "join('', text)", "chat.stream.strip": {"prefix": "{{ prompt }}"}},
    "watsonx": {
        "chat.request.query": {"version": "2024-03-14"},
        "chat.stream.request": {"path": "/ml/v1/text/generation_stream", "headers": {"accept": "text/event-stream"}},
        "finish_reasons": {"not_finished": None},
    },
    "yandexgpt": {
        "backend.auth.value": "Api-Key ",
        "chat.request.body.completionOptions.maxTokens": "{{ max_tokens | string }}",
        "chat.stream.done": "result.alternatives[0].status == 'ALTERNATIVE_STATUS_FINAL'",
    },
}
"""What must be found, by the API and the place in its mapping."""


def sample(api: str) -> Sample:
    """The sample of an API, as the command reads it."""
    folder = CORPUS / api

    def bytes_of(*names: str) -> Received | None:
        return next((Received((folder / name).read_bytes()) for name in names if (folder / name).exists()), None)

    made = parse_curl((folder / "curl.txt").read_text(), no_file)
    other = None
    if (folder / "stream-curl.txt").exists():
        other = parse_curl((folder / "stream-curl.txt").read_text(), no_file)
    return Sample(
        made.method,
        made.url,
        made.headers,
        made.body,
        bytes_of("response.json"),
        bytes_of("stream.txt", "stream.bin"),
        other.body if other else None,
        other.url if other and other.url != made.url else "",
        tuple(each for each in other.headers if each not in made.headers) if other else (),
    )


def no_file(name: str) -> str:
    raise FileNotFoundError(2, "no such file", name)


def checked(proposal: Proposal) -> Checked:
    """The proposal through all stages of `check`, with nothing in the environment."""
    return check_mapping(proposal.text, "mine.yaml", Surroundings(mapping_schema(), {}, no_file))


def data(proposal: Proposal) -> Any:
    """The proposal as data."""
    document, _ = load_document(proposal.text, file="mine.yaml", environment={}, read_file=no_file)
    assert document is not None
    return document.data


def whole(body: Any, answer: bytes = b'{"text": "Hello there."}', **more: Any) -> Proposal:
    """What is proposed for one body and a simple answer."""
    return propose(Sample("POST", "https://api.acme.test/say", (), body, Received(answer), **more), "acme")


@pytest.mark.parametrize("api", APIS)
def test_an_api_of_the_corpus(api: str) -> None:
    """The mapping passes `check`, its examples too, untouched; or it says what is left, and nothing else is wrong."""
    proposal = propose(sample(api), api)
    result = checked(proposal)
    assert [found.code for found in result.diagnostics] == UNSOUND.get(api, [])
    assert proposal.missing == LEFT.get(api, ())
    assert proposal.text.count("# TODO") == len(proposal.missing)
    if api not in UNSOUND:
        assert result.mapping is not None
        given = [name for name in ("response.json", "stream.txt", "stream.bin") if (CORPUS / api / name).exists()]
        assert len(result.mapping.examples) == len(given)


@pytest.mark.parametrize("api", APIS)
def test_what_is_found_in_the_corpus(api: str) -> None:
    """The selectors and templates that a person would have written."""
    made = data(propose(sample(api), api))
    for place, expected in FOUND[api].items():
        path = tuple(int(step) if step.isdigit() else step for step in place.split("."))
        assert at(made, path) == expected, place


@pytest.mark.parametrize("api", APIS)
def test_no_credential_of_the_corpus_is_told(api: str) -> None:
    """Made up as they are."""
    text = propose(sample(api), api).text
    assert not [secret for secret in ("sk-made-up", "AIzaMadeUp", "hf_madeUp") if secret in text]


def test_a_secret_is_hidden_wherever_it_comes_again() -> None:
    """In the answer too."""
    headers = (("authorization", "Bearer sk-0123456789"), ("cookie", "session=abcdefgh"))
    answer = Received(b'{"text": "Hello there.", "key": "sk-0123456789"}')
    made = propose(
        Sample("POST", "https://a.test/say", headers, {"prompt": "hi", "api_key": "pw-98765"}, answer), "acme"
    )
    for secret in ("sk-0123456789", "abcdefgh", "pw-98765"):
        assert secret not in made.text
    assert data(made)["backend"]["auth"] == {"bearer": ""}
    assert 'api_key: "${ACME_API_KEY:-}"' in made.text
    assert made.missing == ("the cookie was left out: it is a browser's, and ends; use a key of the API",)
    assert not checked(made).diagnostics


def test_a_prompt_that_is_not_found() -> None:
    """It is a comment at its place, and a thing to do."""
    made = whole({"zz": "abc", "yy": 5})
    assert made.missing == ("which text of the request is the prompt: write `{{ prompt }}` in its place",)
    assert f"    # TODO: {made.missing[0]}\n    body:\n" in made.text


def test_a_prompt_that_is_told() -> None:
    """Whole or within a text; it is found nowhere else."""
    body = {"zz": "Q: why? A:", "text": "a text that looks like a prompt?"}
    made = propose(Sample("POST", "https://a.test/x", (), body, Received(b'{"text": "so"}')), "acme", prompt="why?")
    assert data(made)["chat"]["request"]["body"] == {"zz": "Q: {{ prompt }} A:", "text": body["text"]}
    assert not checked(made).diagnostics


def test_an_answer_without_text() -> None:
    """The place of the selector is told."""
    made = whole({"prompt": "hi there"}, b'{"n": 1}')
    assert made.missing == ("which text of the answer is the generated one: write its selector as `text`",)
    assert f"  response:\n    # TODO: {made.missing[0]}\n" in made.text.replace("response: {}", "response:")


def test_no_answer_at_all() -> None:
    """Said, and written."""
    made = propose(Sample("POST", "https://a.test/x", (), {"prompt": "hi there"}), "acme")
    assert made.missing == ("no sample of an answer was given: give one with `--response`, or say what `text` is",)
    assert "# TODO: no sample of an answer" in made.text


def test_a_stream_that_nothing_asks_for() -> None:
    """Said, for it would never come."""
    stream = Received(b'data: {"t": "Hello"}\n\ndata: {"t": " there."}\n\ndata: [DONE]\n\n')
    made = whole({"prompt": "hi there"}, stream=stream)
    assert made.missing == (
        "nothing in the sample asks for the stream: say what does as `request: {body: {stream: true}}`",
    )
    assert not checked(made).diagnostics


def test_templates_and_references_in_a_sample_stand_as_they_are() -> None:
    """What a sample holds is data, in the request and in the answer."""
    body = {"prompt": "hi there", "note": "{{ x }} ${HOME}", "$if": "a", "n": None, "e": {}, "l": []}
    made = whole(body, b'{"text": "${PATH} {{ y }}"}')
    assert not checked(made).diagnostics
    assert data(made)["examples"][0]["sends"]["body"] == body


def test_a_form_a_query_and_a_text() -> None:
    """Requests whose body is no JSON."""
    answer = Received(b'{"text": "Hello there."}')
    form = (("content-type", "application/x-www-form-urlencoded"),)
    made = {
        "form": Sample("POST", "https://a.test/x", form, "q=hi+there&temperature=0.5", answer),
        "query": Sample("GET", "https://a.test/x?q=hi%20there&max_tokens=5", (), None, answer),
        "text": Sample("POST", "https://a.test/x", (("content-type", "text/plain"),), "hi there", answer),
        "plain": Sample("POST", "https://a.test/x", (), {"prompt": "hi there"}, Received(b"Hello there.")),
    }
    for name, each in made.items():
        proposal = propose(each, name)
        assert not proposal.missing, name
        assert not checked(proposal).diagnostics, name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.acme.com/v1", "acme"),
        ("http://localhost:8000/x", "my-api"),
        ("http://127.0.0.1:1/x", "my-api"),
        ("https://us-south.ml.acme.io", "acme"),
        ("$BASE/x", "my-api"),
    ],
)
def test_an_api_is_called_after_its_host(url: str, name: str) -> None:
    """Where it has one that says something."""
    assert name_of(url) == name


def test_the_corpus_is_whole() -> None:
    """Each API has a command, an answer, and what must be found in it."""
    assert set(APIS) == set(FOUND)
    for api in APIS:
        names = {path.name for path in Path(CORPUS / api).iterdir()}
        assert "curl.txt" in names
        assert names & {"response.json", "stream.txt", "stream.bin"}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["user", "hi there?", "{{ x }}", "${X}", "stop", ""])
    | st.text(),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["prompt", "messages", "role", "content", "text", "system", "tools", "stop", "type", "usage", "done"]
            )
            | st.text(max_size=3),
            inside,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES, st.lists(VALUES, max_size=3))
def test_any_sample_becomes_yaml(body: Any, answer: Any, frames: list[Any]) -> None:
    """Whatever it holds: no sample makes it fail, and what it writes is read."""
    stream = Received("".join(f"data: {json.dumps(frame)}\n\n" for frame in frames).encode())
    made = propose(
        Sample("POST", "https://a.test/x", (), body, Received(json.dumps(answer).encode()), stream, stream_body=answer),
        "acme",
    )
    document, found = load_document(made.text, file="x.yaml", environment={}, read_file=no_file)
    assert document is not None, found
    checked(made)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["", "text/event-stream", "application/vnd.amazon.eventstream"]))
def test_any_bytes_are_looked_at(answer: bytes, media_type: str) -> None:
    """As an answer and as a stream."""
    received = Received(answer, media_type)
    made = propose(Sample("POST", "https://a.test/x", (), {"prompt": "hi there"}, received, received), "acme")
    assert load_document(made.text, file="x.yaml", environment={}, read_file=no_file)[0] is not None


def test_what_is_more_than_text_is_told() -> None:
    """Images and tools of the sample would be in every request."""
    image = {"type": "image", "url": "https://a.test/i.png"}
    body = {"messages": [{"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}]}
    made = whole({**body, "tools": [{"name": "look"}]})
    assert made.missing[-2:] == (
        "how `messages` are made: the sample's hold more than texts, and stand here as they are",
        "how `tools` are made of the client's `tools`: they stand here as in the sample",
    )
    assert made.text.count("# TODO: how `") == 2
    made = whole({"prompt": "hi there"}, b'{"text": "Let me see.", "functionCall": {"name": "look"}}')
    assert made.missing == ("how the answer calls tools: write the selector of the calls as `tool_calls`",)


HOME_GROWN: dict[str, tuple[str, str, Any, bytes, Any, str]] = {
    "pairs": (
        *("POST", "/chat", {"message": "What is it?", "history": [["Hi", "Hello!"]]}, b'{"response": "A cat."}'),
        *({"message": "And why?", "history": [["one", "two"]]}, "/chat"),
    ),
    "positions": (
        *("POST", "/run", {"data": ["What is it?", 0.7], "fn_index": 0}, b'{"data": ["A cat."], "duration": 0.5}'),
        *({"data": ["And why?", 0.7], "fn_index": 0}, "/run"),
    ),
    "text alone": ("POST", "/ask", {"q": "What is it?"}, b"A cat.", {"q": "And why?"}, "/ask"),
    "a JSON string": ("POST", "/ask", "What is it?", b'"A cat."', "And why?", "/ask"),
    "a list": ("POST", "/", {"inputs": "What is it?"}, b'[{"generated_text": "A cat."}]', {"inputs": "And why?"}, "/"),
    "a query": (
        "GET",
        "/ask?q=What%20is%20it%3F",
        None,
        b'{"answer": "A cat."}',
        None,
        "/ask?q=And why?",
    ),
    "a path": ("GET", "/ask/What%20is%20it%3F", None, b'{"answer": "A cat."}', None, "/ask/And why?"),
    "deep": (
        *("POST", "/run", {"input": {"payload": {"text": "What is it?"}}}),
        b'{"status": "ok", "data": {"result": {"prompt": "What is it?", "out": {"text": "A cat."}}}}',
        *({"input": {"payload": {"text": "And why?"}}}, "/run"),
    ),
}
"""APIs of people's own: method, address, body, answer; and what must be sent for another question."""


@pytest.mark.parametrize("api", HOME_GROWN)
async def test_a_home_grown_api_end_to_end(proxy: Proxy, api: str) -> None:
    """What `init` writes, untouched, sends another question in the sample's place, and brings the answer."""
    method, path, body, answer, sent, target = HOME_GROWN[api]
    received: list[tuple[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        data = await request.read()
        received.append((unquote(str(request.rel_url)).replace("+", " "), json.loads(data) if data else None))
        return web.Response(body=answer, content_type="application/json" if answer[:1] in b'{["' else "text/plain")

    server = web.Application()
    server.router.add_route("*", "/{path:.*}", handle)
    async with listening(server) as url:
        kind = (("content-type", "application/json"),)
        proposal = propose(Sample(method, f"{url}{path}", kind, body, Received(answer)), "own")
        assert not proposal.missing
        result = checked(proposal)
        assert not result.diagnostics
        assert result.mapping is not None
        running = await proxy(result.mapping)
        said = [("user", "one"), ("assistant", "two"), ("user", "And why?")]
        question = {"model": "own", "messages": [{"role": role, "content": text} for role, text in said]}
        async with ClientSession() as session, session.post(f"{running.url}/v1/chat/completions", json=question) as got:
            replied = await got.json()
    assert replied["choices"][0]["message"]["content"] == "A cat."
    assert received == [(target, sent)]
