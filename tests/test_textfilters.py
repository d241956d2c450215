"""Text is cleaned the same wherever it is cut, and what turned out to be no token is not lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.events import Kind
from oaiproxy.textfilters import NO_TERMS, Finder, Prefix, ReasoningTags, Stop, Suffix, Terms, TextFilters, Tokens

TAGS = ("<t>", "</t>")


def cleaned(
    pieces: list[str], terms: Terms = NO_TERMS, tokens: tuple[str, ...] = (), tags: tuple[str | None, str] | None = None
) -> dict[Kind, str]:
    """What goes out, by kind."""
    filters = TextFilters(terms, tokens, tags)
    told = [each for piece in pieces for each in filters.feed(piece)] + filters.feed("", more=False)
    assert all(text for _, text in told)
    made: dict[Kind, str] = {}
    for kind, text in told:
        made[kind] = made.get(kind, "") + text
    return made


def said(*pieces: str, **options: object) -> str:
    return cleaned(list(pieces), **options).get("content", "")  # type: ignore[arg-type]


TOKENS: dict[str, tuple[tuple[str, ...], list[str], str]] = {
    "in the middle": (("<e>",), ["a<e>b"], "ab"),
    "several": (("<e>", "<s>"), ["<s>a<e><e>b<s>"], "ab"),
    "over a border": (("<e>",), ["a<", "e", ">b"], "ab"),
    "only a beginning": (("<e>",), ["a<", "x"], "a<x"),
    "only a beginning, at the end": (("<e>",), ["a<e"], "a<e"),
    "a beginning within a beginning": (("aab",), ["aa", "ab!"], "a!"),
    "the longest of those that begin at one place": (("ab", "abc"), ["xab", "c"], "x"),
    "the shorter one where the longer does not come": (("ab", "abc"), ["xab", "d"], "xd"),
    "the first, not the shortest": (("abcd", "bc"), ["abc", "d"], ""),
    "the inner one where the outer does not come": (("abcd", "bc"), ["abc", "x"], "ax"),
    "what is left may not join to another": (("<e>",), ["<<e>e>"], "<e>"),
    "signs with a meaning to patterns": ((".*", "[a]"), ["x.*y[a]z."], "xyz."),
}


@pytest.mark.parametrize(("tokens", "pieces", "wanted"), TOKENS.values(), ids=TOKENS)
def test_tokens_are_taken_out(tokens: tuple[str, ...], pieces: list[str], wanted: str) -> None:
    """Leftmost first, the longest of several; the rest is untouched."""
    assert said(*pieces, tokens=tokens) == wanted


ENDS: dict[str, tuple[Terms, list[str], str]] = {
    "an echo": (Terms(prefix="ask:"), ["ask:yes"], "yes"),
    "an echo in pieces": (Terms(prefix="ask:"), ["a", "", "sk", ":y", "es"], "yes"),
    "an echo only once": (Terms(prefix="a"), ["aab"], "ab"),
    "no echo": (Terms(prefix="ask:"), ["as", "h"], "ash"),
    "less than an echo": (Terms(prefix="ask:"), ["as"], "as"),
    "nothing but the echo": (Terms(prefix="ask:"), ["ask:"], ""),
    "an end": (Terms(suffix="\n\n"), ["a\n\n"], "a"),
    "an end in pieces": (Terms(suffix="END"), ["aE", "N", "D"], "a"),
    "an end that goes on": (Terms(suffix="END"), ["aEND", "EN", "Dx"], "aENDENDx"),
    "an end that overlaps itself": (Terms(suffix="aab"), ["aa", "a", "b"], "a"),
    "half an end": (Terms(suffix="END"), ["aEN"], "aEN"),
    "both": (Terms(prefix='"', suffix='"'), ['"a', '"b', '"'], 'a"b'),
    "one text cannot be both": (Terms(prefix='"', suffix='"'), ['"'], ""),
}


@pytest.mark.parametrize(("terms", "pieces", "wanted"), ENDS.values(), ids=ENDS)
def test_prefix_and_suffix_are_taken_out(terms: Terms, pieces: list[str], wanted: str) -> None:
    """Each once, where it stands and nowhere else."""
    assert said(*pieces, terms=terms) == wanted


THOUGHTS: dict[str, tuple[list[str], str, str]] = {
    "first": (["<t>hm</t>yes"], "hm", "yes"),
    "over borders": (["<", "t>h", "m<", "/t", ">yes"], "hm", "yes"),
    "twice": (["a<t>b</t>c<t>d</t>e"], "bd", "ace"),
    "not closed": (["a<t>b"], "b", "a"),
    "closed without being opened": (["a</t>b"], "", "a</t>b"),
    "opened twice": (["<t>a<t>b</t>c"], "a<t>b", "c"),
    "nothing": (["<t></t>a"], "", "a"),
    "half a tag": (["a<", "t"], "", "a<t"),
    "half a closing tag": (["<t>a</"], "a</", ""),
}


@pytest.mark.parametrize(("pieces", "reasoning", "content"), THOUGHTS.values(), ids=THOUGHTS)
def test_reasoning_stands_between_tags(pieces: list[str], reasoning: str, content: str) -> None:
    """Tags out of place are text like any other."""
    made = cleaned(pieces, tags=TAGS)
    assert (made.get("reasoning_content", ""), made.get("content", "")) == (reasoning, content)


def test_the_tags_may_be_the_same() -> None:
    """Each one turns."""
    made = cleaned(["a|b|c"], tags=("|", "|"))
    assert made == {"content": "ac", "reasoning_content": "b"}


OPENED: dict[str, tuple[list[str], dict[Kind, str]]] = {
    "reasoning first": (["hm</t>yes"], {"reasoning_content": "hm", "content": "yes"}),
    "over a border": (["hm</", "t>", "yes"], {"reasoning_content": "hm", "content": "yes"}),
    "none": (["</t>yes"], {"content": "yes"}),
    "no end": (["hm</t"], {"reasoning_content": "hm</t"}),
    "once": (["a</t>b</t>c"], {"reasoning_content": "a", "content": "b</t>c"}),
}


@pytest.mark.parametrize(("pieces", "wanted"), OPENED.values(), ids=OPENED)
def test_without_an_opening_tag_the_text_begins_with_reasoning(pieces: list[str], wanted: dict[Kind, str]) -> None:
    """For models whose prompt opened it."""
    assert cleaned(pieces, tags=(None, "</t>")) == wanted
    assert cleaned(list("".join(pieces)), tags=(None, "</t>")) == wanted


STOPS: dict[str, tuple[tuple[str, ...], list[str], str]] = {
    "at once": (("END",), ["aENDb"], "a"),
    "over a border": (("END",), ["aE", "ND", "b"], "a"),
    "the first of two": (("x", "b"), ["abx"], "a"),
    "never": (("END",), ["aEN"], "aEN"),
    "at the beginning": (("a",), ["ab"], ""),
    "one that begins another": (("ab", "abc"), ["xab"], "x"),
}


@pytest.mark.parametrize(("stop", "pieces", "wanted"), STOPS.values(), ids=STOPS)
def test_text_ends_at_a_stop_string(stop: tuple[str, ...], pieces: list[str], wanted: str) -> None:
    """It and what follows does not go out."""
    assert said(*pieces, terms=Terms(stop=stop)) == wanted


def test_a_stop_is_known_at_once() -> None:
    """It does not wait for a longer one, nor for the end."""
    filters = TextFilters(Terms(stop=("ab", "abc")), (), None)
    assert filters.feed("xab") == [("content", "x")]
    assert filters.stopped
    assert filters.stop == "ab"


def test_a_stop_string_in_reasoning_is_none() -> None:
    """The client's strings are about the answer."""
    made = cleaned(["<t>END</t>aENDb"], Terms(stop=("END",)), tags=TAGS)
    assert made == {"reasoning_content": "END", "content": "a"}


def test_all_of_them_together() -> None:
    """Echo, tokens, end, tags, stop, in that order, in single characters."""
    terms = Terms(prefix="q<e>", suffix="\n", stop=("END",))
    text = "q<e><t>hm<e></t>yes<e>\n"
    assert cleaned(list(text), terms, ("<e>",), TAGS) == {"reasoning_content": "hm", "content": "yes"}


@pytest.mark.parametrize("filter_", [Tokens(["abc"]), Prefix("abc"), Suffix("abc")], ids=["tokens", "prefix", "suffix"])
def test_what_cannot_become_a_token_is_not_held_back(filter_: Tokens | Prefix | Suffix) -> None:
    """The client waits for nothing."""
    assert filter_.feed("xyz", True) == "xyz"


def test_a_finder_says_what_is_clear() -> None:
    """Up to a word, up to what may be one, or to the end."""
    finder = Finder(["ab"])
    assert finder.find("xxaby", 0, True) == (2, 4)
    assert finder.find("xxa", 0, True) == (2, -1)
    assert finder.find("xxa", 0, False) == (3, -1)
    assert finder.find("", 0, True) == (0, -1)


PIECES = st.lists(st.text("ab<t>/", max_size=6), max_size=8)
WORDS = st.lists(st.text("ab<", min_size=1, max_size=4), max_size=3)


@given(PIECES, WORDS, st.text("ab<", max_size=4), st.text("ab>", max_size=4), WORDS, st.booleans())
def test_where_text_is_cut_does_not_matter(
    pieces: list[str], tokens: list[str], prefix: str, suffix: str, stop: list[str], tagged: bool
) -> None:
    """Whole, in pieces, in characters: the same comes out."""
    terms, tags, text = Terms(prefix, suffix, tuple(stop)), TAGS if tagged else None, "".join(pieces)
    wanted = cleaned([text], terms, tuple(tokens), tags)
    assert cleaned(pieces, terms, tuple(tokens), tags) == wanted
    assert cleaned(list(text), terms, tuple(tokens), tags) == wanted


@given(PIECES, st.text("ab<", min_size=1, max_size=4))
def test_a_token_is_taken_out_as_text_methods_would(pieces: list[str], token: str) -> None:
    """One token is what `replace` removes; ends are what `removeprefix` and `removesuffix` do."""
    text = "".join(pieces)
    assert said(*pieces, tokens=(token,)) == text.replace(token, "")
    assert said(*pieces, terms=Terms(prefix=token)) == text.removeprefix(token)
    assert said(*pieces, terms=Terms(suffix=token)) == text.removesuffix(token)
    assert said(*pieces, terms=Terms(stop=(token,))) == text.partition(token)[0]


def test_a_stop_and_tags_alone() -> None:
    """Each can be used by itself."""
    stop, tags = Stop(["b"]), ReasoningTags("<", ">")
    assert (stop.feed("ab", True), stop.feed("c", False)) == ("a", "")
    assert tags.feed("a<b>", False) == [("content", "a"), ("reasoning_content", "b")]
