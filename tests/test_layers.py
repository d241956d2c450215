"""Promises of `oaiproxy.layers`: one mapping over another, where only what is left counts, at its own place."""

from __future__ import annotations

from typing import Any

import pytest
from support import marked

from oaiproxy.bodies import BODIES
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import Document, load_document
from oaiproxy.layers import MAX_BASES, Base, Bases


def bases(texts: dict[str, str]) -> Bases:
    def open_(name: str) -> Base:
        if name not in texts:
            raise FileNotFoundError(2, "No such file or directory")
        return Base(name, name, texts[name], lambda file: f"{file} beside {name}", bases(texts))

    return Bases(open_, sorted(texts))


def read(
    text: str, environment: dict[str, str] | None = None, **texts: str
) -> tuple[Document | None, list[Diagnostic]]:
    return load_document(
        text,
        file="own",
        environment=environment or {},
        read_file=lambda file: f"{file} beside own",
        bases=bases(texts),
        key="own",
    )


def laid(text: str, **texts: str) -> Any:
    document, found = read(text, **texts)
    assert document is not None, found
    assert found == []
    return {key: value for key, value in document.data.items() if key != "extends"}


LAID: dict[str, tuple[str, str, Any]] = {
    "mappings merge deep": ("a: {b: {c: 1, d: 2}}", "a: {b: {d: 3, e: 4}}", {"a": {"b": {"c": 1, "d": 3, "e": 4}}}),
    "lists replace": ("a: [1, 2]", "a: [3]", {"a": [3]}),
    "other kinds replace": ("a: {b: 1}", "a: x", {"a": "x"}),
    "null deletes": ("a: {b: 1, c: 2}", "a: {b: ~}", {"a": {"c": 2}}),
    "nothing deletes": ("a: {b: 1, c: 2}", "a:\n  b:\n", {"a": {"c": 2}}),
    "a null where there is nothing stays": ("a: {c: 2}", "a: {b: ~}", {"a": {"c": 2, "b": None}}),
    "a text is no null": ("a: 1", "a: '~'", {"a": "~"}),
    "models replace": ("models: {a: b}", "models: {c: d}", {"models": {"c": "d"}}),
    "a credential replaces": (
        "backend: {url: u, auth: {bearer: k}}",
        "backend: {auth: {query: k}}",
        {"backend": {"url": "u", "auth": {"query": "k"}}},
    ),
    "models of the rest merge": (
        "vars: {models: {a: b}}",
        "vars: {models: {c: d}}",
        {"vars": {"models": {"a": "b", "c": "d"}}},
    ),
    "examples and the name stay behind": (
        "name: n\nexamples: [1]\ndescription: d",
        "a: 1",
        {"description": "d", "a": 1},
    ),
    "another form of the body replaces": (
        "chat: {request: {path: /, body: {a: 1}}}",
        "chat: {request: {url: u, body_form: {b: 2}}}",
        {"chat": {"request": {"url": "u", "body_form": {"b": 2}}}},
    ),
    "what is deleted is no other form": (
        "chat: {request: {path: /, body: {a: 1}}}",
        "chat: {request: {body_form: ~, url: }}",
        {"chat": {"request": {"path": "/", "body": {"a": 1}, "body_form": None, "url": None}}},
    ),
    "another chat template replaces": (
        "chat: {chat_template: {file: a, bos_token: b, variables: {name: a}}}",
        "chat: {chat_template: {name: c, variables: {text: b}}}",
        {"chat": {"chat_template": {"name": "c", "bos_token": "b", "variables": {"name": "a", "text": "b"}}}},
    ),
    "in a body these are names as others are": (
        "chat: {request: {body: {request: {body: 1, path: 2}}}}",
        "chat: {request: {body: {request: {body_text: 1, url: 2}}}}",
        {"chat": {"request": {"body": {"request": {"body": 1, "path": 2, "body_text": 1, "url": 2}}}}},
    ),
    "anchors": ("x: &x {a: 1}\ny: *x", "y: {b: 2}", {"x": {"a": 1}, "y": {"a": 1, "b": 2}}),
}


@pytest.mark.parametrize(("base", "own", "made"), LAID.values(), ids=LAID)
def test_a_mapping_is_laid_over_its_base(base: str, own: str, made: Any) -> None:
    """As the language says."""
    assert laid(f"extends: base\n{own}", base=base) == made


@pytest.mark.parametrize("form", BODIES)
def test_a_request_has_one_body(form: str) -> None:
    """That of the mapping which says it last, whatever its form."""
    base = "chat: {request: {body: 1, body_text: 2, body_form: 3, body_multipart: 4, body_base64: 5}}"
    made = laid(f"extends: base\nchat: {{request: {{{form}: 6}}}}", base=base)
    assert made == {"chat": {"request": {form: 6}}}


def test_bases_have_bases() -> None:
    """Each over the next; what one deletes, a later one can give again."""
    made = laid(
        "extends: b\nx: {own: 1, c: ~}", b="extends: c\nx: {b: 1, d: 2}", c="extends: d\nx: {c: 1, d: ~}", d="x: {d: 1}"
    )
    assert made == {"x": {"own": 1, "b": 1, "d": 2}}


def test_what_is_replaced_is_not_demanded() -> None:
    """Neither from the environment nor from files; what is left is read beside its own file."""
    base = "a: ${GONE}\nb: ${KEPT:-default}\nc: ${file:key}\nd: {e: '${GONE}', f: 1}\ng: ${file:gone}"
    made = laid("extends: base\na: 1\nd: {e: ~}\ng: {h: 2}\nown: ${file:key}", base=base)
    assert made == {
        "a": 1,
        "b": "default",
        "c": "key beside base",
        "d": {"f": 1},
        "g": {"h": 2},
        "own": "key beside own",
    }


def test_every_value_knows_its_own_place() -> None:
    """File, line and column, of keys and of characters, also where the environment stands in it."""
    texts = {
        "own": "extends: base\na: {own: mine}\n",
        "base": "# base\na:\n  below: some ${NAME} text\nlist: [1, two]\n",
    }
    document, found = read(texts["own"], {"NAME": "long-name"}, base=texts["base"])
    assert document is not None
    assert found == []
    wanted: list[tuple[Any, str, str]] = [
        (document.span(("a", "own")), "own", "mine"),
        (document.span(("a",), key=True), "own", "a"),
        (document.span(("a", "below"), key=True), "base", "below"),
        (document.span(("a", "below")), "base", "some ${NAME} text"),
        (document.inner(("a", "below"), len("some long-name "), 4), "base", "text"),
        (document.span(("list", 1)), "base", "two"),
        (document.span(("a",)), "own", "{own: mine}"),
    ]
    assert [(span.file, marked(texts[span.file], span)) for span, _, _ in wanted] == [each[1:] for each in wanted]
    assert document.written(("a", "below")) == "some ${NAME} text"
    assert document.written_at(document.span(("a", "below"))) == "some ${NAME} text"
    assert document.written_at(document.span(("a", "own"))) is None
    assert document.secrets == {"long-name"}
    assert document.extended == {"base": "own"}


def test_what_is_not_set_is_told_where_it_stands() -> None:
    """In the base."""
    document, [found] = read("extends: base", base="\n\na: [x, '${NOPE}']")
    assert document is not None
    assert document.unresolved == {("a", 1)}
    assert found.code == "E601"
    assert found.span is not None
    assert (found.span.file, found.span.line) == ("base", 3)


BROKEN: dict[str, tuple[str, dict[str, str], str, str, str]] = {
    "nobody": ("extends: bsae", {"base": ""}, "E107", "own", "no mapping `bsae` ships"),
    "no file": (
        "extends: ./x.yaml",
        {},
        "E107",
        "own",
        "the mapping `./x.yaml` cannot be read: no such file or directory",
    ),
    "a base of a base": ("extends: a", {"a": "extends: b"}, "E107", "a", "no mapping `b` ships"),
    "itself": ("extends: own", {"own": ""}, "E108", "own", "`own` extends itself"),
    "itself through others": (
        "extends: a",
        {"a": "extends: b", "b": "extends: own", "own": ""},
        "E108",
        "b",
        "`own` extends itself",
    ),
    "a circle below": ("extends: a", {"a": "extends: b", "b": "extends: a"}, "E108", "b", "`a` extends itself"),
    "no mapping": ("extends: a", {"a": "[1]"}, "E107", "own", "`a` is no mapping file"),
    "no YAML": ("extends: a", {"a": "a: ["}, "E001", "a", ""),
    "an empty file": ("extends: a", {"a": ""}, "E107", "own", "`a` is no mapping file"),
}


@pytest.mark.parametrize(("text", "texts", "code", "file", "message"), BROKEN.values(), ids=BROKEN)
def test_a_base_that_is_none_is_the_only_finding(
    text: str, texts: dict[str, str], code: str, file: str, message: str
) -> None:
    """At the `extends` that names it, or in the file where it breaks."""
    document, [found] = read(text, **texts)
    assert document is None
    assert found.code == code
    assert found.span is not None
    assert found.span.file == file
    assert message in found.message
    assert found.label or found.help
    assert ("extends this file" in found.help) is (file != "own")


@pytest.mark.parametrize("count", [MAX_BASES, MAX_BASES + 1])
def test_a_row_of_bases_ends(count: int) -> None:
    """So many, and no more."""
    texts = {f"b{index}": f"extends: b{index + 1}\nx{index}: 1" for index in range(count - 1)} | {
        f"b{count - 1}": "last: 1"
    }
    document, found = read("extends: b0", **texts)
    if count == MAX_BASES:
        assert document is not None
        assert document.data["last"] == 1
    else:
        assert [each.code for each in found] == ["E108"]


@pytest.mark.parametrize("value", ["~", "", "[base]", "{a: 1}"])
def test_what_is_no_name_is_left_to_the_schema(value: str) -> None:
    """Which says what is wrong."""
    document, found = read(f"extends: {value}\na: 1", base="b: 1")
    assert document is not None
    assert found == []
    assert "b" not in document.data
