"""Times compiled selectors against the jmespath library, side by side: `python benchmarks/selection.py [rounds]`.

Each round times both, one right after the other, so that what disturbs the machine disturbs both; a ratio is that of
one round. The table has the median round and the spread of the ratios, from the smallest to the largest.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns

import jmespath

sys.path.insert(0, str(Path(__file__).parents[1]))

from oaiproxy.selectors import compile_selector


@dataclass(frozen=True)
class Frame:
    event: str = ""
    id: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    raw: bytes = b""


FRAME = Frame()
VALUE = {
    "type": "content_delta",
    "message": {"usage": {"input_tokens": 12}},
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None}],
    "content": [
        {"type": "thinking", "thinking": "so"},
        {"type": "text", "text": "Hello "},
        {"type": "text", "text": "world"},
        {"type": "tool", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
    ],
}
CASES = {
    "plain path": "message.usage.input_tokens",
    "plain path, not there": "usage.completion.tokens",
    "index path": "choices[0].delta.content",
    "filter": "content[?type=='text'].text",
    "join of a projection": "join('', content[?type=='text'].text)",
    "hash for each": "content[?type=='tool'].{id: id, name: name, arguments: to_string(input)}",
    "hash": "{prompt: message.usage.input_tokens, completion: message.usage.output_tokens}",
    "or-chain": "text || delta.text || choices[0].delta.content",
}
CALLS = 5_000


def nanoseconds_library(source: str) -> float:
    search = jmespath.compile(source).search
    start = perf_counter_ns()
    for _ in range(CALLS):
        search(VALUE)
    return (perf_counter_ns() - start) / CALLS


def nanoseconds_ours(source: str) -> float:
    selector = compile_selector(source)
    start = perf_counter_ns()
    for _ in range(CALLS):
        selector(VALUE, FRAME)
    return (perf_counter_ns() - start) / CALLS


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    print(f"{rounds} rounds of {CALLS} calls; a call of the selector itself, its guard against type errors included\n")
    print(f"{'':<24}{'library ns':>12}{'ours ns':>10}{'ratio':>8}   spread")
    for name, source in CASES.items():
        assert compile_selector(source)(VALUE, FRAME) == jmespath.search(source, VALUE)
        pairs = [(nanoseconds_library(source), nanoseconds_ours(source)) for _ in range(rounds)]
        ratios = [library / ours for library, ours in pairs]
        library, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(f"{name:<24}{library:>12.0f}{ours:>10.0f}{statistics.median(ratios):>8.1f}   {spread}")


if __name__ == "__main__":
    main()
