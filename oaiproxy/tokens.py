"""Texts to numbers of tokens: exact by the ranks in `ranks/`, with no network, and estimated where that fails.

Counting is for backends that report no usage. Loading the ranks takes some tenths of a second and a long text takes
long, so both happen in a few threads of our own; tiktoken releases the interpreter's lock while it counts. It does not
while it builds an encoding from its ranks (0.1 to 0.4 s): call `Tokenizer.warm` before the server listens.
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import tiktoken

DEFAULT_ENCODING = "o200k_base"

INLINE_LIMIT = 2048
"""Characters in one call up to which counting (at most 2 ms) is cheaper than the way to a thread and back."""

PIECE_LIMIT = 16384
"""Characters given to tiktoken at once: near a million blanks it panics."""

EXACT_LIMIT = 2 * 1024 * 1024
"""Characters in one call up to which every one is counted; beyond, an even sample is, so that time stays bounded."""

IDS_ENCODING = "cl100k_base"
"""The encoding of the token ids that clients send in place of text: that of OpenAI's embeddings and its completions."""

INLINE_IDS = 4096
"""Token ids in one call up to which decoding is cheaper than the way to a thread and back."""

_Count: TypeAlias = Callable[[str], int]


class UnknownTokenError(ValueError):
    """A list of ids, the one of number `index`, holds one that is no token of the encoding."""

    def __init__(self, index: int) -> None:
        super().__init__("there is no token of that id")
        self.index = index


@dataclass(frozen=True, slots=True)
class _Facts:
    """What defines an encoding beside its ranks; the source is tiktoken's own `openai_public`."""

    sha256: str
    pattern: str
    special_tokens: dict[str, int]


_FACTS = {
    "cl100k_base": _Facts(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pattern="|".join(
            (
                r"'(?i:[sdmt]|ll|ve|re)",
                r"[^\r\n\p{L}\p{N}]?+\p{L}++",
                r"\p{N}{1,3}+",
                r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
                r"\s++$",
                r"\s*[\r\n]",
                r"\s+(?!\S)",
                r"\s",
            )
        ),
        special_tokens={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    "o200k_base": _Facts(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pattern="|".join(
            (
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            )
        ),
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
}

ENCODINGS = frozenset(_FACTS)
"""The names that `Tokenizer.count` takes."""


class Tokenizer:
    """Counts tokens for one process: make one at start-up, close it when no count is under way any more."""

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tokens")
        self._loads: dict[str, Future[_Loaded]] = {}

    def warm(self, encoding: str = DEFAULT_ENCODING) -> None:
        """Begin to load an encoding's ranks; returns at once (`await count([])` waits for them)."""
        self._load_of(encoding)

    async def count(self, texts: Sequence[str], encoding: str = DEFAULT_ENCODING) -> list[int]:
        """The number of tokens in each text; special tokens in them are ordinary text.

        No text makes it raise. ValueError if the encoding is unknown, RuntimeError after `close`.
        """
        load = self._load_of(encoding)
        characters = sum(map(len, texts))
        if load.done() and characters <= INLINE_LIMIT:
            return _count_all(load.result().count, texts, 1)
        # Shielded: a caller that is cancelled would else cancel the load that others wait for.
        counter = (await asyncio.shield(asyncio.wrap_future(load))).count
        stride = max(1, -(-characters // EXACT_LIMIT))
        return await asyncio.get_running_loop().run_in_executor(self._pool, _count_all, counter, texts, stride)

    async def decode(self, ids: Sequence[Sequence[int]], encoding: str = IDS_ENCODING) -> list[str]:
        """The text of each list of token ids; bytes that are no UTF-8, as of a character cut in two, are replaced.

        Raises UnknownTokenError for an id that is none, RuntimeError where the ranks could not be loaded.
        """
        load = self._load_of(encoding)
        loaded = load.result() if load.done() else await asyncio.shield(asyncio.wrap_future(load))
        if loaded.encoding is None:
            raise RuntimeError(f"encoding `{encoding}` is not there")
        if sum(map(len, ids)) <= INLINE_IDS:
            return _decode_all(loaded.encoding, ids)
        return await asyncio.get_running_loop().run_in_executor(self._pool, _decode_all, loaded.encoding, ids)

    def close(self) -> None:
        """Give the threads back; what has not begun is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _load_of(self, encoding: str) -> Future[_Loaded]:
        """The one load that all who need an encoding share."""
        if encoding not in _FACTS:
            names = " or ".join(f"`{name}`" for name in sorted(_FACTS))
            raise ValueError(f"unknown encoding `{encoding}`, use {names}")
        if encoding not in self._loads:
            self._loads[encoding] = self._pool.submit(_load_or_estimate, encoding)
        return self._loads[encoding]


def estimate(text: str) -> int:
    """About the number of tokens in a text, by what it is made of.

    The weights are fitted to o200k_base: within some 10 % for English, code and JSON, 30 % for most other scripts.
    """
    words = _WORD.findall(text)
    tokens = 0.85 * len(words) + 0.33 * sum(len(word) - 6 for word in words if len(word) > 6)
    tokens += sum(weight * len(pattern.findall(text)) for pattern, weight in _WEIGHT_BY_FEATURE)
    if not text.isascii():
        tokens += sum(_weight(character) * times for character, times in Counter(text).items() if character > "\x7f")
    return max(round(tokens), 1 if text else 0)


_WORD = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]+")
_WEIGHT_BY_FEATURE = (
    (re.compile(r"[0-9]{1,3}"), 1.43),
    (re.compile(r"[!-/:-@\[-`{-~]+"), 0.91),
    (re.compile(r"[\r\n]+"), 0.94),
    (re.compile(r"[ \t]{2,128}"), 0.6),
)
_WEIGHT_BY_END = (  # exclusive ends of the ranges of code points, ascending
    (0x0370, 0.35),  # accented Latin, beside its share in a word
    (0x0400, 0.42),  # Greek
    (0x0530, 0.37),  # Cyrillic
    (0x0590, 0.4),  # Armenian
    (0x0780, 0.42),  # Hebrew, Arabic
    (0x1100, 0.5),  # Indic, Thai
    (0x1200, 0.63),  # Hangul's letters
    (0x1E00, 0.75),
    (0x1F00, 0.35),  # accented Latin
    (0x2000, 0.42),  # Greek
    (0x3040, 0.9),  # punctuation and symbols
    (0x3100, 0.63),  # kana
    (0xAC00, 0.8),  # CJK
    (0xD7B0, 0.63),  # Hangul
    (0x10000, 0.9),  # compatibility forms
    (0x110000, 2.0),  # emoji, historic scripts
)


def _weight(character: str) -> float:
    point = ord(character)
    return next(weight for end, weight in _WEIGHT_BY_END if point < end)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An encoding; None where its ranks could not be loaded, and tokens are estimated."""

    count: _Count
    encoding: tiktoken.Encoding | None = None


def _load_or_estimate(name: str) -> _Loaded:
    try:
        encoding = _load(name)
        return _Loaded(_counter(encoding), encoding)
    except (ImportError, OSError, EOFError, ValueError) as error:
        logging.getLogger(__name__).warning("cannot load encoding `%s`, tokens are estimated: %s", name, error)
        return _Loaded(estimate)


def _decode_all(encoding: tiktoken.Encoding, ids: Sequence[Sequence[int]]) -> list[str]:
    texts = []
    for index, each in enumerate(ids):
        try:
            texts.append(encoding.decode(each))
        except (KeyError, OverflowError):
            raise UnknownTokenError(index) from None
    return texts


def _load(name: str) -> tiktoken.Encoding:
    """Build an encoding from the bundled ranks; the imports are late because they are slow and may be missing."""
    import hashlib
    import lzma

    import tiktoken

    facts = _FACTS[name]
    try:
        data = lzma.decompress(files("oaiproxy").joinpath("ranks", f"{name}.tiktoken.xz").read_bytes())
    except lzma.LZMAError as error:
        raise ValueError(f"ranks are damaged: {error}") from error
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        raise ValueError("ranks are damaged: their sha256 differs")
    return tiktoken.Encoding(
        name, pat_str=facts.pattern, mergeable_ranks=_ranks(data), special_tokens=dict(facts.special_tokens)
    )


def _ranks(data: bytes) -> dict[bytes, int]:
    """Read lines of `base64(token) rank`; in slices, since between them other threads get the interpreter's lock."""
    words = data.split()
    ranks: dict[bytes, int] = {}
    for start in range(0, len(words), 4096):
        end = start + 4096
        ranks.update(
            zip(map(binascii.a2b_base64, words[start:end:2]), map(int, words[start + 1 : end : 2]), strict=True)
        )
    return ranks


def _counter(encoding: tiktoken.Encoding) -> _Count:
    encode = encoding.encode_ordinary

    def count(text: str) -> int:
        try:
            return len(encode(text))
        except Exception:
            return estimate(text)
        except BaseException as error:
            # A panic of tiktoken's native half is a BaseException of a class that cannot be imported.
            if type(error).__name__ != "PanicException":
                raise
            return estimate(text)

    return count


def _count_all(count: _Count, texts: Sequence[str], stride: int) -> list[int]:
    return [_count_one(count, text, stride) for text in texts]


def _count_one(count: _Count, text: str, stride: int) -> int:
    """Count a text piece by piece; with a stride of n, the first nth of each piece stands for all of it."""
    if stride == 1 and len(text) <= PIECE_LIMIT:
        return count(text)
    return stride * sum(count(piece[: -(-len(piece) // stride)]) for piece in _pieces(text))


# Both encodings end a token between a letter or digit and one of these characters, whatever surrounds them, so that the
# counts of two pieces cut there add up to the whole's. (Not so the apostrophe, a mark, or a blank before a word.)
_SAFE_CUT = re.compile(
    r"[A-Za-z0-9\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3](?=[\n\r -&(-/:-@\[-`{-~、。，！？：；「」])"
)
_SEARCH_BACK = 2048


def _pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of at most `PIECE_LIMIT` characters, at safe places wherever one is near."""
    start = 0
    while len(text) - start > PIECE_LIMIT:
        end = start + PIECE_LIMIT
        window = text[end - _SEARCH_BACK : end + 1]
        safe = max((found.end() for found in _SAFE_CUT.finditer(window)), default=_SEARCH_BACK)
        end += safe - _SEARCH_BACK
        yield text[start:end]
        start = end
    yield text[start:]
