"""Promises of `oaiproxy.tokens`."""

from __future__ import annotations

import asyncio
import hashlib
import lzma
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import tiktoken
import tiktoken_ext.openai_public
from hypothesis import given, settings
from hypothesis import strategies as st

from oaiproxy import tokens
from oaiproxy.tokens import ENCODINGS, EXACT_LIMIT, INLINE_LIMIT, PIECE_LIMIT, Tokenizer, estimate

URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
PROSE = (
    "The quick brown fox doesn't jump over 13 lazy dogs; it's 3.14 o'clock.\n\n"
    "\tWHY NOT? – naïve café, 東京は日本の首都です。\n"
)
SAMPLES = (
    "",
    "hello world",
    PROSE,
    "<|endoftext|> <|fim_prefix|><|endofprompt|>",
    "I'll WE'VE don'T 1234567 ...!!!\r\n\r\n///  \n   trailing   ",
    "Привет, мир! שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก 안녕하세요 👩‍👩‍👧‍👦🏳️‍🌈 e\u0301",
    'def f(x):\n    return {"a": [1, 2.5e-3, None]}  # comment\n',
)
TEXTS = st.text() | st.text(alphabet="aA1 '\n\r.é漢\u0301\u200d🙂\ud800") | st.sampled_from(SAMPLES)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tiktoken.Encoding]]:
    """tiktoken's own encodings, built by tiktoken's own code from our ranks in its cache."""
    cache = tmp_path_factory.mktemp("tiktoken")
    for name in ENCODINGS:
        packed = files("oaiproxy").joinpath("ranks", f"{name}.tiktoken.xz").read_bytes()
        address = URL.format(name).encode()
        (cache / hashlib.sha1(address).hexdigest()).write_bytes(lzma.decompress(packed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        yield {
            name: tiktoken.Encoding(**tiktoken_ext.openai_public.ENCODING_CONSTRUCTORS[name]())
            for name in sorted(ENCODINGS)
        }


@pytest.fixture(scope="module")
def ours() -> dict[str, tiktoken.Encoding]:
    return {name: tokens._load(name) for name in sorted(ENCODINGS)}


@pytest.fixture
def tokenizer() -> Iterator[Tokenizer]:
    made = Tokenizer()
    yield made
    made.close()


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_encoding_is_the_published_one(
    name: str, ours: dict[str, tiktoken.Encoding], reference: dict[str, tiktoken.Encoding]
) -> None:
    """An encoding built here has the same tokens and the same special tokens as tiktoken's own."""
    assert ours[name].token_byte_values() == reference[name].token_byte_values()
    assert ours[name].special_tokens_set == reference[name].special_tokens_set
    assert ours[name].n_vocab == reference[name].n_vocab
    for special in reference[name].special_tokens_set:
        assert ours[name].encode_single_token(special) == reference[name].encode_single_token(special)


@pytest.mark.parametrize("name", sorted(ENCODINGS))
@given(text=TEXTS)
def test_counts_are_exact(
    name: str, ours: dict[str, tiktoken.Encoding], reference: dict[str, tiktoken.Encoding], text: str
) -> None:
    """Any text has as many tokens here as in tiktoken; special tokens in it are ordinary text."""
    assert tokens._counter(ours[name])(text) == len(reference[name].encode(text, disallowed_special=()))


@pytest.mark.parametrize("name", sorted(ENCODINGS))
@settings(deadline=None, max_examples=30)
@given(seeds=st.lists(TEXTS.filter(bool), min_size=1, max_size=8))
def test_counts_of_long_texts_are_exact(name: str, ours: dict[str, tiktoken.Encoding], seeds: list[str]) -> None:
    """Cutting a long text in pieces changes no count, when it has words."""
    count = tokens._counter(ours[name])
    once = " and so on: ".join(seeds)
    text = (once + " word, ") * (3 * PIECE_LIMIT // len(once))
    assert tokens._count_one(count, text, 1) == count(text)


@pytest.mark.parametrize("text", ["a", "A", " ", "\n", "^", "漢", "x1", "\ud83d\ude42", "7"])
def test_texts_with_no_place_to_cut_are_counted_closely(text: str, ours: dict[str, tiktoken.Encoding]) -> None:
    """A long run of one character is cut anywhere, at a cost of a few tokens per piece at most."""
    count = tokens._counter(ours["o200k_base"])
    long = text * (4 * PIECE_LIMIT)
    pieces = list(tokens._pieces(long))
    assert "".join(pieces) == long
    assert max(map(len, pieces)) <= PIECE_LIMIT
    assert abs(tokens._count_one(count, long, 1) - count(long)) <= 3 * len(pieces)


async def test_count_is_per_text_and_per_encoding(tokenizer: Tokenizer) -> None:
    """Each text gets its own count, in the encoding that was asked for, o200k_base by default."""
    text = "東京は日本の首都です"
    assert await tokenizer.count(["hello world", "", text]) == [2, 0, 7]
    assert await tokenizer.count(["hello world", "", text], "cl100k_base") == [2, 0, 10]
    assert await tokenizer.count([]) == []


async def test_short_and_long_texts_are_counted_alike(tokenizer: Tokenizer) -> None:
    """The way to a thread changes nothing but the way."""
    times = 2 * INLINE_LIMIT // len(PROSE)
    (once,) = await tokenizer.count([PROSE])
    (many,) = await tokenizer.count([PROSE * times])
    assert many == once * times


async def test_unknown_encoding_is_refused(tokenizer: Tokenizer) -> None:
    """A name that is no encoding is refused with the names that are."""
    with pytest.raises(ValueError, match="unknown encoding `latin`, use `cl100k_base` or `o200k_base`"):
        await tokenizer.count(["x"], "latin")


async def test_first_callers_share_one_load(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at first, the ranks are loaded once."""
    loads = []
    load = tokens._load
    monkeypatch.setattr(tokens, "_load", lambda name: loads.append(name) or load(name))
    tokenizer.warm("cl100k_base")
    counts = await asyncio.gather(*(tokenizer.count(["hello world"], "cl100k_base") for _ in range(20)))
    assert counts == [[2]] * 20
    assert loads == ["cl100k_base"]


async def test_a_cancelled_caller_does_not_cancel_the_load_of_others(tokenizer: Tokenizer) -> None:
    """A client that leaves during the first load takes nothing from the next one."""
    leaving = asyncio.ensure_future(tokenizer.count(["hello world"], "cl100k_base"))
    staying = asyncio.ensure_future(tokenizer.count(["hello world"], "cl100k_base"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == [2]
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_text_beyond_the_exact_limit_is_sampled(tokenizer: Tokenizer) -> None:
    """A text of any length is counted in bounded time, closely if it is even."""
    sentence = "All work and no play makes a dull text, number 42. "
    (part,) = await tokenizer.count([sentence * 1000])
    (whole,) = await tokenizer.count([sentence * 1000 * 120])
    assert 1000 * 120 * len(sentence) > 2 * EXACT_LIMIT
    assert whole == pytest.approx(part * 120, rel=0.02)


async def test_hostile_text_gets_a_number(tokenizer: Tokenizer) -> None:
    """Text at which tiktoken as a whole panics is counted (fault 102)."""
    (count,) = await tokenizer.count([" " * 1_100_000 + "x"])
    assert 5_000 < count < 20_000


class PanicException(BaseException):
    """As a panic of tiktoken's native half looks from here."""


class Raising:
    """An encoding that never gives tokens."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def encode_ordinary(self, text: str) -> list[int]:
        raise self.error


@pytest.mark.parametrize("error", [PanicException, ValueError, MemoryError])
def test_failure_falls_back_to_the_estimate(error: type[BaseException]) -> None:
    """When the native half fails or panics (with a BaseException), the text is estimated."""
    assert tokens._counter(Raising(error))(PROSE) == estimate(PROSE)  # type: ignore[arg-type]


def test_real_panic_falls_back_to_the_estimate(ours: dict[str, tiktoken.Encoding]) -> None:
    """Text that makes tiktoken panic when it gets it whole still gets a number."""
    assert tokens._counter(ours["o200k_base"])(" " * 1_100_000 + "x") > 5_000


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_only_a_panic_is_swallowed(stop: type[BaseException]) -> None:
    """The exceptions that end a process still do."""
    with pytest.raises(stop):
        tokens._counter(Raising(stop))("x")  # type: ignore[arg-type]


@given(text=TEXTS)
def test_estimate_takes_any_text(text: str) -> None:
    """The estimate of any text is a number, zero for the empty text alone."""
    assert (estimate(text) > 0) == bool(text)


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [
        (str(Path(__file__).read_text(encoding="utf-8")), 0.15),
        (files("oaiproxy").joinpath("ranks", "README.md").read_text(encoding="utf-8")[:400], 0.15),
        ('{"role": "user", "content": "What is the capital of France?", "temperature": 0.7}' * 20, 0.15),
        ("Сегодня хорошая погода, пойдём гулять в парк. " * 20, 0.3),
        ("今天天气很好，我们去公园散步吧。" * 20, 0.3),
        (" " * 4096, 0.5),
    ],
    ids=["code", "prose", "json", "cyrillic", "cjk", "blanks"],
)
def test_estimate_is_near(text: str, tolerance: float, ours: dict[str, tiktoken.Encoding]) -> None:
    """The estimate is of use: some 10 % off for English, code and JSON, more for other scripts."""
    assert estimate(text) == pytest.approx(len(ours["o200k_base"].encode_ordinary(text)), rel=tolerance)


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:-100], lambda packed: b"no archive", lambda packed: lzma.compress(b"YQ== 0\n")]
)
async def test_damaged_ranks_are_noticed(
    damage: Callable[[bytes], bytes],
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ranks that are not what they were give estimates and one warning, never a wrong count or an exception."""
    packed = files("oaiproxy").joinpath("ranks", "cl100k_base.tiktoken.xz").read_bytes()
    (tmp_path / "ranks").mkdir()
    (tmp_path / "ranks" / "cl100k_base.tiktoken.xz").write_bytes(damage(packed))
    monkeypatch.setattr(tokens, "files", lambda package: tmp_path)
    for _ in range(2):
        assert await tokenizer.count([PROSE], "cl100k_base") == [estimate(PROSE)]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("cannot load encoding `cl100k_base`, tokens are estimated: ranks are damaged")


async def test_missing_tiktoken_gives_estimates(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tiktoken cannot be imported, tokens are estimated."""
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert await tokenizer.count([PROSE]) == [estimate(PROSE)]


def test_import_is_light() -> None:
    """Importing the module imports neither tiktoken nor what it drags along."""
    code = "import sys, oaiproxy.tokens; print(*({'tiktoken', 'regex', 'requests'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


async def test_ids_become_the_text_that_they_stand_for() -> None:
    """In cl100k_base, few or many; half a character is replaced, and an id that is none is told by its list."""
    tokenizer = Tokenizer()
    try:
        ids = tokens._load(tokens.IDS_ENCODING).encode_ordinary(PROSE)
        assert await tokenizer.decode([ids, []]) == [PROSE, ""]
        assert await tokenizer.decode([ids] * (tokens.INLINE_IDS // len(ids) + 1)) == [PROSE] * (
            tokens.INLINE_IDS // len(ids) + 1
        )
        assert await tokenizer.decode([tokens._load(tokens.IDS_ENCODING).encode_ordinary("👩‍👩")[:1]]) == ["\ufffd"]
        for wrong in (-1, 100_256, 10**30):
            with pytest.raises(tokens.UnknownTokenError) as caught:
                await tokenizer.decode([ids, [wrong]])
            assert caught.value.index == 1
    finally:
        tokenizer.close()


async def test_ids_without_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cannot be guessed."""

    def missing(name: str) -> tiktoken.Encoding:
        raise OSError("no ranks")

    monkeypatch.setattr(tokens, "_load", missing)
    tokenizer = Tokenizer()
    try:
        with pytest.raises(RuntimeError, match="cl100k_base"):
            await tokenizer.decode([[1]])
    finally:
        tokenizer.close()
