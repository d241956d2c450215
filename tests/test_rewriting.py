"""Promises of editing in place: the edit and nothing else, in the data and in the bytes."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.composer import compose
from oaiproxy.nodes import SourceText
from oaiproxy.rewriting import RewriteError, append, locate, put, referring
from oaiproxy.scalars import written
from oaiproxy.yamltext import after_key

TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            *(
                "",
                " ",
                "~",
                "yes",
                "null",
                "12",
                "1e3",
                "0x1F",
                "- a",
                "a: b",
                "a #b",
                "#",
                "*a",
                "&a",
                "!a",
                "%a",
                "@",
                "`",
            ),
            *(
                "a\nb",
                "a\n",
                "\na",
                "a\n\n",
                " a\nb\nlonger than most of the lines that are here",
                "x\r\ny",
                "\t",
                "a\tb\n\tc",
            ),
            *(
                "data: {}\n\ndata: [DONE]\n\n" * 3,
                "\x00\x85\u2028\ufeff",
                "${HOME}",
                "{{ x }}",
                "\\",
                '"',
                "'",
                "?",
                "a?",
            ),
            *("a line\n\n  indented\n# no comment\n" * 3, "a line that is followed by\n   \nblanks", "---\n...\n" * 9),
        ]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
KEYS = st.one_of(st.sampled_from(["a", "b", "text", "body", "x-y", "content-type", "1", "true", ""]), TEXTS)
KEYS = KEYS.filter(lambda key: key not in ("=",))
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), DATA, min_size=1, max_size=4)
COMMENTED = """\
# a head
name: mine   # the name
list:
- one        # first
-   two: 2

-   - x
    - y
# between
flow: {a: [1, 2], b: {c: d}}   # behind
empty:
text: |+
  lines

  more

anchored: &anchor {k: v}
alias: *anchor
nested:
    # inside
    deep:
        key: "quoted"
        other: 'single'
"""


def data_of(text: str) -> Any:
    """What a text holds."""
    root, found = compose(SourceText("", text.removeprefix("\ufeff")))
    assert root is not None
    assert not found
    return written(root)


def plain(value: Any) -> Any:
    """What is written for the value: keys are never replaced."""
    match value:
        case str():
            return value.replace("${", "$${")
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
    return value


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all values."""
    found = [path] if path else []
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in entries:
        found += places(value, (*path, step))
    return found


def changed(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """The data with another value there."""
    data = deepcopy(data)
    holder = data
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return data


def document(data: dict[str, Any]) -> str:
    """The data as blocks, with comments between."""
    lines = [f"{key}:" + after_key(value, 2, len(key) + 1, deep=2) + "\n" for key, value in plain(data).items()]
    return "# the head\n" + "".join(lines)


@given(data=MAPPINGS, value=DATA, choice=st.data(), crlf=st.booleans(), cut=st.booleans())
def test_any_value_can_be_replaced(data: Any, value: Any, choice: Any, crlf: bool, cut: bool) -> None:
    """Whatever the document, the place and the value are, as long as UTF-8 can hold them."""
    text = document(data)
    text = text.replace("\n", "\r\n") if crlf else text
    text = text.rstrip("\r\n") if cut and data_of(text.rstrip("\r\n")) == data_of(text) else text
    before = data_of(text)
    path = choice.draw(st.sampled_from(places(before)))
    after = put(text, path, value)
    assert repr(data_of(after)) == repr(changed(before, path, plain(value)))


@given(data=MAPPINGS, item=DATA, more=DATA, crlf=st.booleans())
def test_any_item_can_be_appended(data: Any, item: Any, more: Any, crlf: bool) -> None:
    """Also where there is no list yet; all that was there stays as it was."""
    text = document(data)
    text = text.replace("\n", "\r\n") if crlf else text
    after = append(append(text, ("examples",), item), ("examples",), more)
    assert repr(data_of(after)) == repr(data_of(text) | {"examples": [plain(item), plain(more)]})
    assert after.startswith(text.rstrip("\r\n"))
    if crlf:
        assert after.count("\n") == after.count("\r\n")


@pytest.mark.parametrize("path", [each for each in places(data_of(COMMENTED)) if each[0] not in ("alias", "anchored")])
@pytest.mark.parametrize("value", [7, "a\ntext of some\nlines that is long enough\n", {"a": [1, {"b": "c" * 200}]}])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_comments_stay(path: tuple[str | int, ...], value: Any, end: str) -> None:
    """Those that do not stand inside of what is replaced."""
    text = COMMENTED.replace("\n", end)
    after = put(text, path, value)
    for comment in ("# a head", "# the name", "# between", "# behind"):
        assert comment in after
    assert "# inside" in after
    assert data_of(after) == changed(data_of(text), path, value)
    assert after.replace("\r\n", "").count("\n") == (0 if end == "\r\n" else after.count("\n"))


def test_only_the_stretch_changes() -> None:
    """A number for a number is a change of some characters."""
    assert put("a: 1   # one\nb: [x,  y]\n", ("a",), 25) == "a: 25   # one\nb: [x,  y]\n"
    assert put("a: 1\nb: [x,  y]  # c", ("b", 1), "z") == "a: 1\nb: [x,  z]  # c"
    assert put("a:\n  # why\n  b: 1\n", ("a", "c"), [1]) == "a:\n  # why\n  b: 1\n  c: [1]\n"
    assert put("a: {b: 1}\n", ("a", "c"), 2) == "a: {b: 1, c: 2}\n"


def test_an_alias_gives_way_alone() -> None:
    """What it stood for stays where it is written."""
    assert put("a: &x {k: 1}\nb: *x  # same\n", ("b",), 2) == "a: &x {k: 1}\nb: 2  # same\n"


def test_what_an_anchor_shares_is_refused() -> None:
    """For it would change elsewhere too."""
    with pytest.raises(RewriteError, match="the anchor `&x` of line 1"):
        put("a: &x {k: 1}\nb: *x\n", ("b", "k"), 2)


@pytest.mark.parametrize("path", [("b",), ("a", "c", "d"), ("a", "b", 0)])
def test_what_is_not_there_cannot_hold_anything(path: tuple[str | int, ...]) -> None:
    """But for a new key of a mapping."""
    if path == ("b",):
        assert put("a: {b: 1}\n", path, 2) == "a: {b: 1}\nb: 2\n"
        return
    with pytest.raises(RewriteError, match="there is nothing at"):
        put("a: {b: 1}\n", path, 2)


def test_a_broken_file_is_left_alone() -> None:
    """There is nothing to hold on to."""
    with pytest.raises(RewriteError, match="not valid"):
        put("a: [1\n", ("a",), 2)


def test_json_stays_json() -> None:
    """A file that is JSON is one afterwards."""
    after = append('{"a": 1}\n', ("examples",), {"name": "x", "text": "a\nb"})
    assert json.loads(after) == {"a": 1, "examples": [{"name": "x", "text": "a\nb"}]}


def test_items_are_parted_as_before() -> None:
    """By blank lines, or not; and the mark of the byte order stays."""
    assert append("\ufeffl:\n- a: 1\n\n- a: 2\n", ("l",), {"a": 3}) == "\ufeffl:\n- a: 1\n\n- a: 2\n\n- a: 3\n"
    assert append("l:\n- a: 1\n- a: 2", ("l",), {"a": 3}) == "l:\n- a: 1\n- a: 2\n- a: 3"


def test_places_are_found() -> None:
    """Of a value, or of what would hold it."""
    assert locate("a:\n  b: 1\n", "f", ("a", "b")).line == 2
    assert locate("a:\n  b: 1\n", "f", ("a", "x", "y")).column == 3
    assert locate("a: [1\n", "f", ("a",)).line == 1


def test_a_reference_stands_for_an_address() -> None:
    """And for the beginning of those below it; of no other, and what else looks like a reference is none."""
    told = {
        "at": ["http://h:1", "http://h:1/a/${b}", "see http://h:1.", "from http://h:1?x and http://h:1,"],
        "not": ["http://h:12", "http://h:1.example", "http://h:1-a", "${c}", 1, None],
    }
    made = append("a: 1\n", ("list",), referring(told, "http://h:1", "${URL:-http://g}"))
    root, found = compose(SourceText("", made))
    assert root is not None
    assert not found
    url = "${URL:-http://g}"
    (data,) = written(root)["list"]
    assert data["at"] == [url, f"{url}/a/$${{b}}", f"see {url}.", f"from {url}?x and {url},"]
    assert data["not"] == ["http://h:12", "http://h:1.example", "http://h:1-a", "$${c}", 1, None]
