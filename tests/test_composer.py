"""Promises of `oaiproxy.composer`: what YAML text means, and what of it is refused."""

from __future__ import annotations

import pytest
import yaml
from support import marked, only_finding, read_yaml, sound_yaml


@pytest.mark.parametrize("key", ["1", "true", "on", "~", "1.0", "2023-06-01", "'1'"])
def test_keys_are_their_source_text(key: str) -> None:
    """A mapping's keys are strings, also when they look like something else."""
    assert sound_yaml(f"{key}: x\n").data == {key.strip("'"): "x"}


def test_json_is_read_as_it_is() -> None:
    """A file of JSON is a file of YAML, surrogate pairs and escaped slashes included."""
    assert sound_yaml('{"a":{"b":[1,null,"\\ud83d\\ude00\\/"]}}').data == {"a": {"b": [1, None, "😀/"]}}


def test_a_question_mark_is_text_in_text() -> None:
    """Also in a file that only Python's parser can read, for its surrogate pair; elsewhere it still is a sign."""
    text = '{a: b?, "c": x?y, d: why ? no, ? e : 1, f: "?", g: "\\ud83d\\ude00?"}'
    wanted = {"a": "b?", "c": "x?y", "d": "why ? no", "e": 1, "f": "?"}
    assert sound_yaml(text).data == {**wanted, "g": "😀?"}


def test_aliases_stand_for_their_anchors() -> None:
    """An alias is a copy: changing one place of the data does not change another."""
    data = sound_yaml("x-a: &a {n: [1]}\nb: *a\n").data
    data["b"]["n"].append(2)
    assert data["x-a"] == {"n": [1]}


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_unicode_separators_do_not_end_lines(separator: str) -> None:
    """YAML 1.2 ends lines at CR and LF alone."""
    text = f"a: 'x{separator}y'\nb: x{separator}y # {separator} c\nc: 1\n"
    document = sound_yaml(text)
    assert document.data == {"a": f"x{separator}y", "b": f"x{separator}y", "c": 1}
    assert document.span(("c",)).line == 3


def test_a_duplicate_key_keeps_the_first_value() -> None:
    """E002 points at the second and names the line of the first."""
    text = "a: 1\nb:\n  c: 1\n  'c': 2\n"
    document, (found,) = read_yaml(text)
    assert document is not None
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert (found.code, found.message, found.label) == ("E002", "duplicate key `c`", "first defined on line 3")
    assert found.span is not None
    assert marked(text, found.span) == "'c'"


@pytest.mark.parametrize(
    ("text", "message", "stretch"),
    [
        ("a: !env X\n", "the tag `!env` is not supported", "!env"),
        ("a: &n !!binary X\n", "the tag `!!binary` is not supported", "!!binary"),
        (
            "a: !!python/object:os.system [x]\n",
            "the tag `!!python/object:os.system` is not supported",
            "!!python/object:os.system",
        ),
        ("a: !!set {x}\n", "the tag `!!set` is not supported", "!!set"),
        ("a: !!int abc\n", "`abc` is not what the tag `!!int` says", "abc"),
        ("a: &n [*n]\n", "`*n` stands inside its own anchor", "*n"),
        ("a: *n\n", "there is no anchor `n`", "*n"),
        ("a: &n {x: 1}\nb:\n  <<: *n\n", "YAML 1.2 has no merge key `<<`", "<<"),
        ("a: 1\n---\nb: 1\n", "a second document starts here", "---"),
        ("[a]: 1\n", "a key must be text, not a list or mapping", "[a]"),
    ],
)
def test_what_the_subset_leaves_out_is_refused(text: str, message: str, stretch: str) -> None:
    """E003 names it, and there is no document."""
    document, (found,) = read_yaml(text)
    assert document is None
    assert (found.code, found.message) == ("E003", message)
    assert found.span is not None
    assert marked(text, found.span) == stretch


def test_a_quoted_merge_key_is_a_key() -> None:
    """Only the plain `<<` means merging elsewhere."""
    assert sound_yaml("'<<': 1\n").data == {"<<": 1}


def test_an_unknown_anchor_is_compared_with_the_known() -> None:
    """A typo is named."""
    assert only_finding("x-a: &common 1\nb: *comon\n").label == "did you mean `common`?"


def _bomb(levels: int, width: int) -> str:
    lines = ["x-0: &x0 [lol]"]
    lines += [f"x-{level}: &x{level} [{', '.join([f'*x{level - 1}'] * width)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 60 + "]" * 60,
        "a: " + "[" * 100_000,
        "a: " + '{"a":' * 100_000,
        "- " * 100_000,
        "? " * 10_000,
        "\n".join(" " * depth + "a:" for depth in range(60)),
        "\n".join(["a0: &a0 x"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]),
        _bomb(10, 10),
        _bomb(3, 1000),
        "a: " + "x" * (1 << 20),
        "a: [" + "x," * 100_001 + "]",
    ],
)
def test_what_is_too_large_is_refused(text: str) -> None:
    """E005, without doing the work that the file asks for."""
    document, (found,) = read_yaml(text)
    assert document is None
    assert found.code == "E005"


@pytest.mark.parametrize("text", ["a: " + "[" * 49 + "]" * 49, _bomb(4, 10), "a: " + "x" * (1 << 19)])
def test_what_is_large_but_not_too_large_is_read(text: str) -> None:
    """The limits are no tighter than they say."""
    sound_yaml(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + '"' * ((1 << 20) - 3), 'unexpected `"'),
        ("\n".join(f'"{number}": ""' for number in range(30_000)) + "\nx: [", "the `[` is never closed"),
    ],
    ids=["one line", "many lines"],
)
def test_an_error_in_much_text_is_not_looked_for_slowly(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python's parser takes many seconds for."""
    calls = 0
    fetch = yaml.SafeLoader.fetch_more_tokens

    def counted(loader: yaml.SafeLoader) -> None:
        nonlocal calls
        calls += 1
        fetch(loader)

    monkeypatch.setattr(yaml.SafeLoader, "fetch_more_tokens", counted)
    document, (found,) = read_yaml(text)
    assert document is None
    assert (found.code, found.message.startswith(message)) == ("E001", True)
    assert calls < 10_000


def test_a_surrogate_pair_is_read_in_a_large_file() -> None:
    """Which Python's parser alone can."""
    text = '{"a":[' + "1," * 20_001 + '"\\ud83d\\ude00"]}'
    assert sound_yaml(text).data["a"][-1] == "😀"
