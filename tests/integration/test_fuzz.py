"""Promises to clients that send anything: made up from /openapi.json, fitting it or not, it never ends in a 500.

What is answered is held against OpenAI's contract by the recorder (`contract.py`), errors among it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from pages import places
from schemathesis import GenerationMode
from scripted import PATIENCE
from support import load, serving

from oaiproxy import openapi
from oaiproxy.app import serve
from oaiproxy.config import Config, Limits, Server
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.tokens import Tokenizer

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
"""Requests of each kind to each endpoint; a few, for each run of the suite tries others."""
MODELS = ("words", "raw", "nothing")
"""Of a mapping that reads every name, of one that passes requests on as they are, and of one that reads the prompt."""
PLACES = tuple(sorted(asyncio.run(places())))
KINDS = [(*place, mode) for place in PLACES for mode in GenerationMode if place[0] == "POST" or mode.is_positive]
NAMES = (
    *("prompt", "system", "messages", "turns", "tools", "tool_choice", "temperature", "top_p", "top_k", "max_tokens"),
    *("stop", "seed", "n", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "user"),
    *("reasoning_effort", "response_format", "parallel_tool_calls", "verbosity", "metadata", "service_tier", "extra"),
)
READS = """
  response: {text: text, finish_reason: why, usage: {prompt: used, completion: used}}
  stream: {request: {path: /stream}, format: ndjson, text: text, finish_reason: why, done: over}
"""
MORE = """
embeddings:
  request: {path: /embed, body: {input: "{{ input }}", tokens: "{{ tokens }}", size: "{{ dimensions }}"}}
  response: {vectors: vectors}
rerank:
  request: {path: /rank, body: {query: "{{ query }}", documents: "{{ documents }}", top: "{{ top_n }}"}}
  response: {results: ranks}
moderations:
  request: {path: /judge, body: {input: "{{ input }}"}}
  response: {results: verdicts}
images:
  request: {path: /paint, body: {prompt: "{{ prompt }}", n: "{{ n }}", size: "{{ size }}"}}
  response: {images: images}
speech:
  request: {path: /say, body: {input: "{{ input }}", voice: "{{ voice }}", speed: "{{ speed }}"}}
  response: {}
transcriptions:
  request: {path: /hear, body: {file: "{{ file.base64 }}", prompt: "{{ prompt }}", language: "{{ language }}"}}
  response: {text: text, segments: segments}
"""


def mappings(url: str) -> list[Any]:
    """The mappings of `MODELS`, for one backend."""
    words = ", ".join(f'{name}: "{{{{ {name} }}}}"' for name in NAMES)
    bodies = (f"body: {{{words}}}", 'body: "{{ request }}"', 'body: {p: "{{ prompt }}"}')
    head = f"oaiproxy: 1\nbackend: {{url: '{url}'}}\n"
    return [
        load(f"{head}models: [{model}]\nchat:\n  request: {{path: /whole, {body}}}{READS}{MORE}")
        for model, body in zip(MODELS, bodies, strict=True)
    ]


async def backend(request: web.Request) -> web.StreamResponse:
    """A backend that always answers well."""
    asked = await request.json()
    if request.path == "/stream":
        return web.Response(text='{"text": "hi"}\n{"text": " there", "why": "stop"}\n{"over": true}\n')
    if request.path == "/say":
        return web.Response(body=b"sound", content_type="audio/mpeg")
    inputs = asked.get("input") or asked.get("tokens") or [""]
    count = len(inputs) if isinstance(inputs, list) else 1
    return web.json_response(
        {
            "text": "hi",
            "why": "stop",
            "used": 1,
            "vectors": [[0.5, 0.25]] * count,
            "ranks": [{"index": 0, "score": 0.5}],
            "verdicts": [{"flagged": False}] * count,
            "images": ["AAAA"],
            "segments": [{"start": 0, "end": 1, "text": "hi"}],
        }
    )


@contextmanager
def proxy_of(tokenizer: Tokenizer) -> Iterator[str]:
    """The address of a proxy that runs in a thread of its own, for a client that blocks."""

    async def run(address: Future[str], end: asyncio.Event) -> None:
        async with serving(backend) as url:
            config = Config([], Server(port=0, shutdown_timeout=1), Limits(100), log_level="error")
            found = [(each, Path(each.file)) for each in mappings(url)]
            async with serve(config, found, tokenizer) as running:
                address.set_result(running.url)
                await end.wait()

    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as thread:
        address: Future[str] = Future()
        end = asyncio.Event()
        serving_ = thread.submit(runner.run, run(address, end))
        serving_.add_done_callback(lambda done: done.exception() and address.set_exception(done.exception()))
        try:
            yield address.result(PATIENCE)
        finally:
            runner.get_loop().call_soon_threadsafe(end.set)
            serving_.result(PATIENCE)


@cache
def described() -> Any:
    """What schemathesis makes of the document: models are those that there are, else each request is a 404."""
    document = json.loads(openapi.document(PLACES))
    for place in document["paths"].values():
        for found in place.values():
            for body in found.get("requestBody", {}).get("content", {}).values():
                if "model" in body["schema"].get("properties", {}):
                    body["schema"]["properties"]["model"] = {"enum": list(MODELS)}
    return schemathesis.openapi.from_dict(document)


BODIES = (
    *(b"", b"\0", b"\xff\xfe", b"null", b"0", b"[]", b'""', b"{", b"{}" * 2, b"\xef\xbb\xbf{}", b"[" * 100_000),
    b'{"model": null}',
    b'{"model": "words\\u0000"}',
    b'{"model": "words", "model": 5}',
    b'{"model": "words", "MORE": 1e999}',
    b'{"model": "words", "MORE": -1e400}',
    b'{"model": "words", "MORE": %s}' % (b"9" * 5000),
    b'{"model": "words", "MORE": NaN}',
    b'{"model": "words", "MORE": "\\ud83d"}',
    b'{"model": "words", "MORE": ["\\ud83d"]}',
    b'{"model": "raw", "MORE": "\\ude00\\ud83d"}',
    b'{"model": "words", "MORE": [null]}',
    b'{"model": "words", "MORE": [{"role": "user", "content": [null]}]}',
    b'{"model": "words", "MORE": [{"role": "user", "content": "\\u0000\\ud800"}]}',
    b'{"model": "raw", "MORE": [{"role": "user", "content": "\\u0000\\ud800"}], "stream": true}',
    b'{"model": "words", "MORE": [{"role": "assistant", "content": null}]}',
    b'{"model": "words", "MORE": [{"role": "assistant", "tool_calls": [{}]}]}',
    b'{"model": "words", "\\ud800": 1, "MORE": "hi"}',
    b'{"model": "words", "MORE": ' + b'{"a":' * 60 + b"1" + b"}" * 61,
)
"""What is no request, or a strange one; `MORE` stands for the field that the endpoint asks for."""


@pytest.mark.parametrize("model", MODELS)
def test_what_is_right_is_answered(model: str, tokenizer: Tokenizer) -> None:
    """So that what is made up gets through to the mappings and the backend."""
    with proxy_of(tokenizer) as url:
        for stream in (False, True):
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
            assert requests.post(url + DOORS["chat"].path, json=body, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("name", DOORS)
def test_no_bytes_end_in_a_500(name: str, tokenizer: Tokenizer) -> None:
    """Whatever they say they are."""
    field = next((key for key in openapi.REQUIRED.get(name, ()) if key != "model"), "input").encode()
    with proxy_of(tokenizer) as url, requests.Session() as session:
        for media_type in ("application/json", "multipart/form-data; boundary=x", "text/plain", "a/b; charset=utf-16"):
            for body in BODIES:
                asked = session.post(
                    url + DOORS[name].path,
                    data=body.replace(b"MORE", field),
                    headers={"Content-Type": media_type},
                    timeout=PATIENCE,
                )
                assert asked.status_code < 500, (media_type, body, asked.text)


@pytest.mark.parametrize(("method", "path", "mode"), KINDS, ids=str)
def test_nothing_that_a_client_sends_ends_in_a_500(
    method: str, path: str, mode: GenerationMode, tokenizer: Tokenizer
) -> None:
    """Nor in what is no error of OpenAI's shape."""
    strategy = described()[path][method].as_strategy(generation_mode=mode)

    with proxy_of(tokenizer) as url:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def send(case: Any) -> None:
            answer = case.call(base_url=url, timeout=PATIENCE)
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            if answer.status_code >= 400 and case.method != "HEAD":
                assert answer.json()["error"]["message"]

        send()
