"""Promises of `oaiproxy.analysis`: what a template reads, and every mistake in it where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from rendering import found, marked, only, sourced

from oaiproxy.canonical import SHAPES
from oaiproxy.templates import Compilation
from oaiproxy.trees import compile_tree

MISTAKES = [
    # names
    ("{{ temprature }}", "E203", "temprature", "did you mean `temperature`?"),
    ("a {{ user }} {{ temprature }}", "E203", "temprature", "did you mean `temperature`?"),
    ("{{ 'usr' ~ usr }}", "E203", "usr", "did you mean `user`?"),
    ("{{ request.usr ~ vars['usr'] ~ usr }}", "E203", "usr", "did you mean `user`?"),
    ("{{ user | default(usr) }}", "E203", "usr", "did you mean `user`?"),
    ("{{ user | map_to({'a': usr}) }}", "E203", "usr", "did you mean `user`?"),
    ("{{ [1, (usr, 2)][0] }}", "E203", "usr", "did you mean `user`?"),
    ("{{ prompt[usr:] }}", "E203", "usr", "did you mean `user`?"),
    ("{{ user if usr else 1 }}", "E203", "usr", "did you mean `user`?"),
    ("{{ not usr }}", "E203", "usr", "did you mean `user`?"),
    ("{{ 1 < usr }}", "E203", "usr", "did you mean `user`?"),
    ("{{ user is eq(usr) }}", "E203", "usr", "did you mean `user`?"),
    ("{% for x in messages %}{% endfor %}{{ x }}", "E203", "x", ""),
    ("{% for user1 in mesages %}{{ user1 }}{% endfor %}", "E203", "mesages", "did you mean `messages`?"),
    ("{% for x in messages if y1 %}{% endfor %}", "E203", "y1", ""),
    ("{% if usr %}{% endif %}", "E203", "usr", "did you mean `user`?"),
    ("{% if user %}{% elif usr %}{% endif %}", "E203", "usr", "did you mean `user`?"),
    ("{% set a1 = usr %}{{ a1 }}", "E203", "usr", "did you mean `user`?"),
    ("{% set a1 %}{{ usr }}{% endset %}", "E203", "usr", "did you mean `user`?"),
    ("{% set ns.a = 1 %}", "E203", "ns", ""),
    ("{% with a1 = 1 %}{% endwith %}{{ a1 }}", "E203", "a1", ""),
    ("{% macro m(a1) %}{{ a1 }}{% endmacro %}{{ a1 }}", "E203", "a1", ""),
    ("{% macro m(a1=usr) %}{% endmacro %}", "E203", "usr", "did you mean `user`?"),
    # filters
    ("{{ prompt | uper }}", "E202", "uper", "did you mean `upper`?"),
    ("{{ 'uper' | uper }}", "E202", "uper", "did you mean `upper`?"),
    ("{% set x %}{% endset %}{% filter uper %}a{% endfilter %}", "E202", "uper", "did you mean `upper`?"),
    ("{% set x | uper %}a{% endset %}", "E202", "uper", "did you mean `upper`?"),
    ("{{ messages | map('uper') }}", "E202", "uper", "did you mean `upper`?"),
    ("{{ prompt | tojson }}", "E202", "tojson", "did you mean `json`?"),
    # attributes
    ("{{ messages[0].txt }}", "E204", "txt", "did you mean `text`?"),
    ("{{ messages[0]['txt'] }}", "E204", "txt", "did you mean `text`?"),
    ("{{ (messages | first).txt }}", "E204", "txt", "did you mean `text`?"),
    ("{{ messages[:2][0].txt }}", "E204", "txt", "did you mean `text`?"),
    ("{{ messages.text }}", "E204", "text", "take an item of it: `[0]`, `first`, or a loop"),
    ("{{ prompt.text }}", "E204", "text", ""),
    ("{{ tool_choice . nam }}", "E204", "nam", "did you mean `name`?"),
    ("{{ messages | map(attribute='txt') }}", "E204", "txt", "did you mean `text`?"),
    ("{{ messages | selectattr('rol', 'eq', 'user') }}", "E204", "rol", "did you mean `role`?"),
    ("{{ (messages | selectattr('role') | last).txt }}", "E204", "txt", "did you mean `text`?"),
    ("{% for m in messages %}{{ m.txt }}{% endfor %}", "E204", "txt", "did you mean `text`?"),
    (
        "{% for m in messages %}{% for p in m.parts %}{{ p.typ }}{% endfor %}{% endfor %}",
        "E204",
        "typ",
        "did you mean `type`?",
    ),
    ("{% for m in messages %}{{ loop.indx }}{% endfor %}", "E204", "indx", "did you mean `index`?"),
    ("{% set m = messages[0] %}{{ m.txt }}", "E204", "txt", "did you mean `text`?"),
    ("{{ (user if n else messages[0]) ~ messages[0].txt }}", "E204", "txt", "did you mean `text`?"),
    # arguments
    ("{{ temperature | clamp(1) }}", "E206", "clamp", "write `clamp(low, high)`"),
    ("{{ prompt | upper(1) }}", "E206", "upper", "it takes no arguments"),
    ("{{ prompt | join(sep=',') }}", "E206", "join", "write `join(separator)`"),
    ("{{ n is divisibleby }}", "E206", "divisibleby", "write `divisibleby(by)`"),
    # tests
    ("{{ user is defned }}", "E209", "defned", "did you mean `defined`?"),
    ("{{ user is not defned }}", "E209", "defned", "did you mean `defined`?"),
    ("{{ messages | select('defned') }}", "E209", "defned", "did you mean `defined`?"),
    ("{{ messages | selectattr('role', 'equalt', 'a') }}", "E209", "equalt", "did you mean `equalto`?"),
    # calls and statements
    ("{{ prompt.upper() }}", "E207", "upper", "write `| upper`"),
    ("{{ prompt.strip() }}", "E207", "strip", "write `| trim`"),
    ("{{ request.items() }}", "E207", "items", "loop over the keys: `{% for key in object %}`"),
    ("{{ uper(prompt) }}", "E207", "uper", "write `prompt | upper`"),
    ("{{ range }}", "E207", "range", "write `range(...)`"),
    ("{{ 'a'() }}", "E207", "(", ""),
    ("{% include 'x' %}", "E207", "include", "leave it out"),
    ("{% import 'x' as y %}", "E207", "import", "leave it out"),
    ("{% from 'x' import y %}", "E207", "from", "leave it out"),
    ("{% extends 'x' %}", "E207", "extends", "leave it out"),
    ("{% block b %}{% endblock %}", "E207", "block", "leave it out"),
    ("{% autoescape true %}{% endautoescape %}", "E207", "autoescape", "leave it out"),
    ("{% for m in messages recursive %}{% endfor %}", "E207", "recursive", ""),
    ("{% break %}", "E201", "break", ""),
    # selectors inside
    ("{{ request | jmes('a[') }}", "E301", "a[", ""),
    # syntax
    ("{{ a b }}", "E201", "b", None),
    ("{{ user + }}", "E201", "}}", None),
    ("{{ user", "E201", "user", None),
    ("{{ user }", "E201", "}", None),
    ("x {{ user ? 1 : 2 }}", "E201", "?", None),
    ("{{ (user }}", "E201", "}}", None),
    ("{{ user) }}", "E201", ")", None),
    ("{% if %}{% endif %}", "E201", "%}", None),
    ("{% fr x in y %}", "E201", "fr", None),
    ("{% endfor %}", "E201", "endfor", None),
    ("{{ 1e999 }}", "E201", "1", None),
    ("{% set 5 = 1 %}", "E201", "5", None),
]

LAYOUTS = {
    "double quoted": lambda text: 'key: "' + text.replace("\\", "\\\\").replace('"', '\\"') + '"\n',
    "single quoted": lambda text: "key: '" + text.replace("'", "''") + "'\n",
    "block": lambda text: f"key: |\n  first\n  second {text}\n",
    "folded": lambda text: f"key: >-\n  first\n  {text}\n\n  last\n",
    "deep": lambda text: f'other: 1\nkey:\n  - a:\n      "b": {{c: "é{{{{ user }}}}{text}"}}\n',
}


@pytest.mark.parametrize(("template", "code", "place", "label"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_found(template: str, code: str, place: str, label: str | None) -> None:
    """With its code, its place and the fix."""
    text = f"key: >-\n  {template}\n"
    finding = only(text)
    assert (finding.code, marked(text, finding.span)) == (code, place)
    assert label is None or finding.label == label


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    "template", ["{{ temprature }}", "{{ 'temprature' ~ temprature }}", "{{ (1 + 2) }}{{ temprature | upper }}"]
)
def test_the_place_is_exact_in_every_layout(layout: Any, template: str) -> None:
    """To the column."""
    text = layout(template)
    key = "key" if not text.startswith("other") else "other"
    source = sourced(text) if key == "key" else sourced(text[text.index("key") :])
    text = source.document.text
    compilation = Compilation(SHAPES)
    compile_tree(source, compilation)
    (finding,) = compilation.findings
    assert (finding.code, marked(text, finding.span)) == ("E203", "temprature")
    assert text.split("\n")[finding.span.line - 1][finding.span.column - 1 :].startswith("temprature")  # type: ignore[union-attr]


def test_all_findings_of_a_template_come_at_once() -> None:
    """In one run."""
    text = 'key: "{{ aaaa }} {{ user | bbbb }} {{ messages[0].cccc }} {{ aaaa }} {{ user is dddd }}"\n'
    findings = found(text)
    assert [marked(text, one.span) for one in findings] == ["aaaa", "bbbb", "cccc", "aaaa", "dddd"]
    assert findings[0].span != findings[3].span


@pytest.mark.parametrize(
    "template",
    [
        "{{ request.anything.goes[0].here }}",
        "{{ vars.x.y }}",
        "{{ messages[0].tool_calls[0].arguments.x.y }}",
        "{% for m in messages %}{{ m.role }}{{ loop.index }}{{ loop.cycle(1, 2) }}{% endfor %}",
        "{% for p in messages[0].parts %}{{ p.text }}{% else %}{{ user }}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}{{ ns.b }}",
        "{% macro m(a, b=1) %}{{ a }}{{ b }}{{ caller() }}{{ varargs }}{% endmacro %}{% call m(1) %}{% endcall %}",
        "{% with a = 1 %}{{ a }}{% endwith %}",
        "{{ (user or messages[0]).x }}",
        "{{ (user if n else tool_choice).name }}",
        "{{ messages[n].text ~ messages[-1]['text'] }}",
        "{{ messages | map(attribute='parts') | map('first') }}",
        "{% for i in range(3) %}{{ messages[i].text }}{% endfor %}",
        "{% for a, b in [[1, 2]] %}{{ a }}{{ b }}{% endfor %}",
        "{% if user %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}",
        "{% for m in messages %}{% if m.text %}{% break %}{% endif %}{% endfor %}",
        "{# {{ nonsense }} #}{% raw %}{{ nonsense }}{% endraw %}",
    ],
)
def test_what_is_right_is_not_found(template: str) -> None:
    """A false alarm costs more than a missed mistake."""
    assert found(f"key: >-\n  {template}\n") == []


@pytest.mark.parametrize("template", ["{{ anything }}", "{{ choices[0].text }}"])
def test_any_name_may_be_there(template: str) -> None:
    """Where the names are a frame's keys."""
    assert found(f"key: '{template}'", {"body": None, "*": None}) == []


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("'{{ prompt }}'", {"prompt"}),
        ("'{{ temperature | clamp(0, 1) | default(1) }}'", {"temperature", "temperature.*"}),
        ("'{{ messages }}'", {"messages", "messages.*"}),
        ("'{{ messages | length }}'", {"messages"}),
        ("'{{ messages[0].text }}'", {"messages", "messages[]", "messages[].text"}),
        ("'{{ messages | map(attribute=\"text\") }}'", {"messages", "messages.text"}),
        ("'{{ request.a.b }}'", {"request", "request.a", "request.a.b", "request.a.b.*"}),
        ("[{$for: m in messages, a: '{{ m.text }}'}]", {"messages", "messages.text"}),
        ("[{$for: m in messages, $value: '{{ m }}'}]", {"messages", "messages.*"}),
        (
            "[{$for: m in messages, $value: [{$for: p in m.parts, a: '{{ p.url }}'}]}]",
            {"messages", "messages.parts", "messages.parts.url"},
        ),
        ("'{{ (messages | last).text }}'", {"messages", "messages[]", "messages[].text"}),
        ("'{{ request.a[-1].b }}'", {"request", "request.a", "request.a[]", "request.a[].b", "request.a[].b.*"}),
        ("[{$for: s in stop, $value: '{{ s }}'}]", {"stop", "stop.*"}),
        ("{$if: user == 'a', b: 1}", {"user", "user=a"}),
        ("{$if: \"user in ['a', 'b']\", b: 1}", {"user", "user=a", "user=b"}),
        ("{$match: user, $cases: {a: 1, $else: 2}}", {"user", "user=a", "user=$else"}),
        (
            '\'{{ messages | selectattr("role", "eq", "user") | length }}\'',
            {"messages", "messages.role", "messages.role=user"},
        ),
        ("'{% for m in messages %}{{ m.text }}{% endfor %}'", {"messages", "messages.text"}),
        ("'{% if stream %}{% endif %}'", {"stream"}),
        ("{$if: messages, a: 1}", {"messages"}),
        (
            "{$match: tool_choice.mode, $cases: {auto: 1}}",
            {"tool_choice", "tool_choice.mode", "tool_choice.mode=auto", "tool_choice.mode=$only"},
        ),
        ("'{{ [messages] }}'", {"messages", "messages.*"}),
        ("'{{ messages ~ 1 }}'", {"messages", "messages.*"}),
        ("'{{ messages if n }}'", {"messages", "messages.*", "n"}),
    ],
)
def test_reads(text: str, reads: set[str]) -> None:
    """What a mapping never reads is refused or named to the client, so this must be complete."""
    compilation = Compilation(SHAPES)
    compile_tree(sourced(f"key: {text}"), compilation)
    assert compilation.findings == []
    assert compilation.reads == reads


def test_deep_templates_are_findings() -> None:
    """Not a crash."""
    deep: Mapping[str, str] = {
        "parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "lists": "{{ " + "[" * 150 + "]" * 150 + " }}",
        "sums": "{{ " + "n + " * 5000 + "n }}",
        "attributes": "{{ request" + ".a" * 5000 + " }}",
        "filters": "{{ prompt" + "|upper" * 5000 + " }}",
        "loops": "{% for x in messages %}" * 150 + "{% endfor %}" * 150,
        "loops that python cannot nest": "{% for x in messages %}" * 50 + "{% endfor %}" * 50,
        "a long number": "{{ " + "9" * 5000 + " }}",
        "a long text": "{{ " + "prompt ~ " * 20_000 + "prompt }}",
    }
    for name, template in deep.items():
        assert [one.code for one in found(f"key: '{template}'")] == ["E201"], name


def test_a_word_has_no_attributes() -> None:
    """A text that can be one of a few words is a text."""
    assert only("key: '{{ tool_choice.mode.x }}'").message == "`tool_choice.mode` is a text and has no attribute `x`"
