# ruff: noqa: PT017 - the assertions here are no tests of pytest
"""Throws made-up input at the parts that read what others wrote: `python fuzz/run.py [--seconds N] [TARGET...]`.

Nothing but our own errors may come out, in bounded time and memory. What fails is shrunk by hypothesis and printed.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import json
import resource
import signal
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeAlias

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import FRAME, FRAMINGS, HI, IDENTITY, ask, chat  # noqa: E402

from oaiproxy.bounds import BOUNDS  # noqa: E402
from oaiproxy.check import Surroundings, check_mapping  # noqa: E402
from oaiproxy.config import check_config  # noqa: E402
from oaiproxy.decoding import DECODERS, decoder  # noqa: E402
from oaiproxy.endpoints import responses  # noqa: E402
from oaiproxy.endpoints.doors import DOORS  # noqa: E402
from oaiproxy.errors import ApiError, BackendError, ClientError  # noqa: E402
from oaiproxy.exchange import Exchange  # noqa: E402
from oaiproxy.jsonbodies import parse_body  # noqa: E402
from oaiproxy.mapping import Mapping  # noqa: E402
from oaiproxy.selectors import SelectorError, compile_selector  # noqa: E402

SECONDS_OF_A_CASE = 10
MEMORY = 2 << 30
"""Bytes beyond those at the start."""
BATCH = 200
"""Cases between two looks at the clock."""
Target: TypeAlias = Callable[[Any], object]

texts = st.text(max_size=12) | st.sampled_from(
    ["", "\ud83d", "\u2028", "\x00", "\r\n", "{{ 7*7 }}", "</s>", "../..", "%2e%2e", "@h", "data:image/png;base64,AAAA"]
)
scalars = st.none() | st.booleans() | st.integers(-1, 10**20) | st.integers(-2, 3) | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
binary = st.lists(
    st.binary(max_size=12)
    | st.sampled_from(
        [b"data: ", b"\n", b"\r\n\r\n", b"event: ", b"{", b"}", b"[", b"]", b'"', b",", b"\x1e", b"\\", b"null", b"1e9"]
    )
    | values.map(lambda value: json.dumps(value).encode()),
    max_size=20,
).map(b"".join)


@st.composite
def changed(draw: st.DrawFn, of: st.SearchStrategy[Any]) -> Any:
    """JSON with a few of its values replaced, doubled, renamed or taken away, at any depth."""
    value = json.loads(json.dumps(draw(of)))
    for _ in range(draw(st.integers(0, 4))):
        node = value
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 3)):
                node = node[key]
                continue
            match draw(st.integers(0, 4)):
                case 0:
                    del node[key]
                case 1 if isinstance(node, list):
                    node.append(json.loads(json.dumps(node[key])))
                case 2 if isinstance(node, dict):
                    node[draw(texts | st.sampled_from(["type", "role", "content", "n", "stream"]))] = node.pop(key)
                case _:
                    node[key] = draw(values)
            break
    return value


def shipped(folder: str = "mappings") -> list[str]:
    """The texts of the shipped mappings, and of the one that uses everything."""
    made = [path.read_text() for path in sorted((ROOT / folder).glob("*.yaml"))]
    return [*made, *(ROOT / "tests/everything.yaml").read_text().split("\n---\n")]


TEXTS = shipped()
SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
CONFIGS = [
    (ROOT / "config.yaml").read_text(),
    "mappings: [{file: a.yaml, requests: 5}]\nserver: {port: 1, hosts: [a], cors: {origins: ['*']}}\n"
    "limits: {depth: 10, retries: 0.5}\nkeys: [{name: a, sha256: 00}]\nlog: {level: info}\n",
]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
REQUESTS: dict[str, list[dict[str, Any]]] = {
    "chat": [
        HI,
        {
            **HI,
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "t"}, IMAGE]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "x"},
            ],
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            "stop": ["a"],
            "n": 2,
            "logit_bias": {"1": 2},
            "stream_options": {"include_usage": True},
            "stream": True,
        },
    ],
    "completions": [{"model": "m", "prompt": ["a", "b"], "echo": True, "suffix": "x", "best_of": 1, "logprobs": 2}],
    "embeddings": [{"model": "m", "input": [[1, 2], [3]], "dimensions": 2, "encoding_format": "base64"}],
    "rerank": [{"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1}],
    "moderations": [{"model": "m", "input": [{"type": "text", "text": "t"}, IMAGE]}],
    "images": [{"model": "m", "prompt": "p", "n": 1, "size": "1x1", "response_format": "url"}],
    "speech": [{"model": "m", "input": "i", "voice": "v", "speed": 1.5, "response_format": "mp3"}],
    "messages": [
        {
            "model": "m",
            "max_tokens": 5,
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "t"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x"}]},
            ],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "thinking": {"type": "enabled", "budget_tokens": 2000},
        }
    ],
}
RESPONSES = [
    {
        "model": "m",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "t"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"type": "reasoning", "summary": [], "encrypted_content": "eA"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "g"}],
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}},
    }
]
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "content-encoding", "retry-after", "retry-after-ms", "x-request-id", "date"]),
    st.sampled_from(
        ["application/json", "text/event-stream", "application/x-ndjson", "gzip", "deflate", "5", "-1", "1e999", "nan"]
    )
    | st.text(max_size=12),
    max_size=3,
)
ENVIRONMENT = dict.fromkeys(("BACKEND_API_KEY", "API_KEY", "X"), "x")


def loadable() -> list[Mapping]:
    """The mappings that can be loaded without anything around them."""
    made = []
    for text in TEXTS:
        result = check_mapping(text, "m.yaml", Surroundings(SCHEMA, ENVIRONMENT, lambda path: '{"out": "a"}'))
        if result.mapping is not None:
            made.append(result.mapping)
    return made


MAPPINGS = loadable()


def exchange_of(mapping: Mapping, body: dict[str, Any], endpoint: str = "chat") -> Exchange:
    """What becomes of a request to any of the mapping's models."""
    models = list(mapping.models)
    call = DOORS[endpoint].parse({**body, "model": models[0] if models else "m"})
    return Exchange(mapping, call, DOORS[endpoint].encoder(call, IDENTITY), IDENTITY)


@st.composite
def edited(draw: st.DrawFn, of: list[str]) -> str:
    """A file with a few of its lines gone, doubled, cut, moved or of another value."""
    lines = draw(st.sampled_from(of)).split("\n")
    others = [
        "~",
        "[]",
        "{}",
        "1e999",
        "'{{ prompt }}'",
        "'{{'",
        "{$for: x in messages}",
        "'a[?'",
        "*a",
        "&a b",
        "!x y",
    ]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        middle = draw(st.integers(0, len(line)))
        lines[at : at + 1] = draw(
            st.sampled_from([[], [line, line], [line[:middle]], [line[:middle] + line[middle + 1 :]]])
            | st.integers(0, 8).map(lambda indent, line=line: [" " * indent + line.lstrip()])
            | (st.sampled_from(others) | texts).map(lambda value, line=line: [line.partition(":")[0] + ": " + value])
            | st.sampled_from("{}[]:,'\"|-#&*!%@ \t~\x00\u2028").map(
                lambda sign, line=line, middle=middle: [line[:middle] + sign + line[middle:]]
            )
        )
        lines = lines or [""]
    return "\n".join(lines)


WORDS = [
    "a",
    "b",
    "@",
    "*",
    "[",
    "]",
    "[?",
    "[*]",
    "[0]",
    "[::-1]",
    ".",
    "|",
    "||",
    "&&",
    "!",
    "==",
    "<",
    "(",
    ")",
    ",",
]
WORDS += [
    "&a",
    "`1`",
    "'x'",
    '"y"',
    "`{",
    "sort_by(",
    "map(&a, ",
    "join('', ",
    "contains(",
    "max_by(",
    "$",
    "{",
    "}",
    ":",
]
CODE = ["{{", "}}", "{%", "%}", "{#", "#}", "for x in messages", "endfor", "if prompt", "endif", "set y =", "messages"]
CODE += [
    "prompt",
    "x",
    ".text",
    ".parts",
    "[0]",
    "| upper",
    "| join(',')",
    "| tojson",
    "| length",
    "~",
    "*",
    "**",
    "9999",
]
CODE += [
    "range(",
    ")",
    "'a'",
    "(",
    "+",
    "|",
    "loop.index",
    "request",
    ".__class__",
    "macro f()",
    "endmacro",
    "f()",
    "-",
]
jumble = st.lists(st.sampled_from(CODE) | texts, max_size=14).map(" ".join)


def framings(case: tuple[str, bytes, list[int], str]) -> None:
    """Bytes cut anyhow, packed or not: frames, or an error of the backend."""
    name, body, cuts, encoding = case
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)(body)
    edges = [0, *sorted(cut % (len(packed) + 1) for cut in cuts), len(packed)]
    reader, read = FRAMINGS[name](4096), decoder(encoding, None)
    try:
        for start, end in pairwise(edges):
            list(reader.feed(read.feed(packed[start:end])))
        list(reader.feed(read.close()))
        list(reader.close())
    except BackendError as error:
        assert error.code


def bodies(data: bytes) -> None:
    """Bytes in place of JSON."""
    try:
        parse_body(data, BOUNDS)
    except ClientError as error:
        assert error.status == 400


def requests(case: tuple[str, Any]) -> None:
    """Any request to any endpoint, as every shipped mapping would send it."""
    endpoint, body = case
    try:
        if endpoint == "responses":
            responses.parse(body)
            return
        DOORS[endpoint].parse(body)
        if not isinstance(body, dict):
            return
    except ClientError as error:
        assert 400 <= error.status < 500
        assert error.body()
        return
    for mapping in MAPPINGS:
        if mapping.endpoint("chat" if endpoint == "messages" else endpoint) is None:
            continue
        try:
            exchange = exchange_of(mapping, body, endpoint)
            if exchange.flow is None:
                exchange.backend_request()
        except ApiError as error:
            assert error.code != "internal_error"
            assert error.code != "mapping_error", (mapping.name, error.detail)


def selectors(case: tuple[str, Any]) -> None:
    """Any text as a selector, on any JSON."""
    with suppress(SelectorError):
        compile_selector(case[0])(case[1], FRAME)


def templates(case: tuple[str, Any]) -> None:
    """Any text as a template, of any request."""
    text, body = case
    try:
        made = chat(request=f"{{body: {{p: {json.dumps(text)}}}}}", response="{text: t}")
    except AssertionError:
        return
    try:
        ask(made, body).backend_request()
    except ApiError as error:
        assert error.code != "internal_error"


def files(text: str) -> None:
    """A mapping that somebody edited: findings with a place."""
    result = check_mapping(text, "m.yaml", Surroundings(SCHEMA, ENVIRONMENT, lambda path: '{"out": "a"}'))
    assert (result.mapping is None) == any(found.severity == "error" for found in result.diagnostics)
    assert all(found.span is not None for found in result.diagnostics)


def configs(text: str) -> None:
    """A configuration that somebody edited: findings, or settings."""
    checked = check_config(text, ROOT / "config.yaml", {})
    assert checked.data is not None or checked.diagnostics


def replies(case: tuple[int, int, dict[str, str], bytes, int, bool]) -> None:
    """Whatever a backend answers: bytes for the client, or an error of the backend."""
    number, status, headers, body, cut, stream = case
    mapping = MAPPINGS[number % len(MAPPINGS)]
    if mapping.endpoint("chat") is None:
        return
    try:
        exchange = exchange_of(mapping, {**HI, "stream": stream})
    except ClientError:
        return
    reply = exchange.reply(status, headers, 1.7e9)
    cut %= len(body) + 1
    for piece in (body[:cut], body[cut:]):
        reply.feed(piece)
    reply.end()
    reply.close(1, 1)
    if reply.fault is not None:
        assert reply.fault.code != "internal_error"
        assert reply.fault.body()


TARGETS: dict[str, tuple[Target, st.SearchStrategy[Any]]] = {
    "framings": (
        framings,
        st.tuples(
            st.sampled_from(sorted(FRAMINGS)),
            binary,
            st.lists(st.integers(0, 500), max_size=4),
            st.sampled_from(sorted(DECODERS)),
        ),
    ),
    "bodies": (bodies, binary),
    "requests": (
        requests,
        st.sampled_from(sorted(REQUESTS)).flatmap(
            lambda name: st.tuples(st.just(name), changed(st.sampled_from(REQUESTS[name])) | values)
        )
        | st.tuples(st.just("responses"), changed(st.sampled_from(RESPONSES)) | values),
    ),
    "selectors": (selectors, st.tuples(st.lists(st.sampled_from(WORDS) | texts, max_size=12).map("".join), values)),
    "templates": (templates, st.tuples(jumble, changed(st.sampled_from(REQUESTS["chat"])).filter(bool))),
    "mappings": (files, edited(TEXTS)),
    "configs": (configs, edited(CONFIGS)),
    "replies": (
        replies,
        st.tuples(
            st.integers(0, 100),
            st.sampled_from([200, 200, 200, 204, 299, 302, 400, 401, 404, 413, 429, 500, 503, 999]),
            HEADERS,
            binary,
            st.integers(0, 500),
            st.booleans(),
        ),
    ),
}


class TooLongError(Exception):
    """A case took longer than any may."""


def _too_long(number: int, frame: FrameType | None) -> NoReturn:
    raise TooLongError


def run(name: str, seconds: float, start: int = 0) -> int:
    """Run a target for so long; how many cases it took. Raises what a case raised, shrunk."""
    work, made = TARGETS[name]
    end = time.monotonic() + seconds
    count = 0
    failed: list[Any] = []

    @settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(made)
    def batch(case: Any) -> None:
        nonlocal count
        if time.monotonic() > end and not failed:
            return
        count += 1
        signal.setitimer(signal.ITIMER_REAL, SECONDS_OF_A_CASE)
        try:
            work(case)
        except BaseException:
            failed.append(case)
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, _too_long)
    try:
        while time.monotonic() < end:
            faulthandler.dump_traceback_later(60 * SECONDS_OF_A_CASE, exit=True)  # for what no signal gets through
            seed(start)(batch)()
            start += 1
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    return count


def main() -> int:
    """Run the targets that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000_000, help="to do it again as it was")
    parser.add_argument("target", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.target) - TARGETS.keys():
        parser.error(f"no target `{min(unknown)}`, only {', '.join(TARGETS)}")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    for name in arguments.target or TARGETS:
        print(f"{name}: {run(name, arguments.seconds, arguments.seed)} cases, seed {arguments.seed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
