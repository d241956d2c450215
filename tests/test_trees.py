"""Promises of `oaiproxy.trees`: a YAML tree becomes the same tree as data, by its directives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rendering import ANY, compiled, found, marked, only, render, scope, sourced
from support import ask, chat

from oaiproxy.canonical import SHAPES
from oaiproxy.directives import DIRECTIVES
from oaiproxy.errors import ProxyError
from oaiproxy.scopes import Absent, RenderError
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import compile_tree

XS = [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}]

RENDERED: list[tuple[str, dict[str, Any], Any]] = [
    # absence
    ("{a: '{{ gone }}', b: 1}", {}, {"b": 1}),
    ("['{{ gone }}', 1]", {}, [1]),
    ("{a: {b: ['{{ gone }}']}, c: 1}", {}, {"c": 1}),
    ("{a: {}, b: []}", {}, {"a": {}, "b": []}),
    ("{a: ~, b: '{{ none }}'}", {}, {"a": None, "b": None}),
    ("{a: {$keep_empty: true, b: '{{ gone }}'}}", {}, {"a": {}}),
    ("{a: {$keep_empty: true, $value: ['{{ gone }}']}}", {}, {"a": []}),
    ("{a: {$keep_empty: false, b: '{{ gone }}'}, c: 1}", {}, {"c": 1}),
    ("{a: '', b: false, c: 0}", {}, {"a": "", "b": False, "c": 0}),
    # $for
    ("[{$for: x in xs, k: '{{ x.t }}'}]", {"xs": XS}, [{"k": "a"}, {"k": "b"}]),
    ("[0, {$for: x in xs, $value: '{{ x.n }}'}, 9]", {"xs": XS}, [0, 1, 2, 9]),
    ("[{$for: x in xs if x.n > 1, k: '{{ x.t }}'}]", {"xs": XS}, [{"k": "b"}]),
    ("[{$for: x in xs if y, k: 1}, 0]", {"xs": XS}, [0]),
    ("[0, {$for: x in gone, k: 1}]", {}, [0]),
    ("[0, {$for: x in gone.a.b, k: 1}]", {}, [0]),
    ("[{$for: x in xs, k: '{{ x.gone }}'}, 0]", {"xs": XS}, [0]),
    ("[{$for: x in xs, $value: [{$for: y in xs, $value: '{{ x.n * y.n }}'}]}]", {"xs": XS}, [[1, 2], [2, 4]]),
    ("[{$for: x in xs, $value: '{{ x }}'}, {$for: x in xs, $value: '{{ x }}'}]", {"xs": [1, 2]}, [1, 2, 1, 2]),
    ("[{$for: x in xs, $value: ['{{ x }}', '{{ out }}']}]", {"xs": [1], "out": 5, "x": 7}, [[1, 5]]),
    ("[{$for: 'x in [1, 2]', $value: '{{ x + 1 }}'}]", {}, [2, 3]),
    ("[{$for: 'x in xs | selectattr(\"n\", \"gt\", 1)', $value: '{{ x.n }}'}]", {"xs": XS}, [2]),
    ("[{$for: x in xs, $if: x.n > 1, k: '{{ x.n }}'}]", {"xs": XS}, [{"k": 2}]),
    ("[{$for: x in xs, $let: {y: '{{ x.n }}'}, $if: y == 2, k: '{{ y }}'}]", {"xs": XS}, [{"k": 2}]),
    ("[{$for: x in xs, $match: x.t, $cases: {a: A, $else: other}}]", {"xs": XS}, ["A", "other"]),
    ("[{$for: x in xs, $if: x.n == 1, $then: one, $else: more}]", {"xs": XS}, ["one", "more"]),
    # $if
    ("{a: {$if: y, b: 1}, c: 2}", {"y": True}, {"a": {"b": 1}, "c": 2}),
    ("{a: {$if: y, b: 1}, c: 2}", {"y": ""}, {"c": 2}),
    ("{a: {$if: gone, b: 1}, c: 2}", {}, {"c": 2}),
    ("{a: {$if: true, b: 1}}", {}, {"a": {"b": 1}}),
    ("{a: {$if: y == 'x', $then: 1, $else: [2]}}", {"y": "x"}, {"a": 1}),
    ("{a: {$if: y, $then: 1, $else: [2]}}", {}, {"a": [2]}),
    ("{a: {$if: y, $then: 1}, b: 2}", {}, {"b": 2}),
    ("{a: {$if: y, $value: [1]}}", {"y": 1}, {"a": [1]}),
    # $match
    ("{$match: v, $cases: {a: 1, b: 2}}", {"v": "b"}, 2),
    ("{$match: v, $cases: {true: 1, false: 2}}", {"v": False}, 2),
    ("{$match: v, $cases: {1: one, 2.5: half, $else: no}}", {"v": 1}, "one"),
    ("{$match: v, $cases: {1: one, 2.5: half, $else: no}}", {"v": 1.0}, "one"),
    ("{$match: v, $cases: {1.0: one}}", {"v": 1}, "one"),
    ("{$match: v, $cases: {1.0: one}}", {"v": "1.0"}, "one"),
    ("{$match: v, $cases: {1: one, 2.5: half, $else: no}}", {"v": 2.5}, "half"),
    ("{$match: v, $cases: {null: 'no', $else: yes}}", {"v": None}, "no"),
    ("{$match: v, $cases: {~: 'no', $else: yes}}", {"v": None}, "no"),
    ("{$match: gone, $cases: {null: 'no', $else: rest}}", {}, "rest"),
    ("{$match: v, $cases: {a: 1, $else: rest}}", {"v": ["a"]}, "rest"),
    ("{$match: v, $cases: {$$else: 1, $$else2: 2}}", {"v": "$else"}, 1),
    ("{k: {$match: v, $cases: {a: 1}}, l: 1}", {"v": "z"}, {"l": 1}),
    ("{$match: v | lower, $cases: {a: {x: '{{ v }}'}}}", {"v": "A"}, {"x": "A"}),
    # $merge, $let, $value, $$
    ("{$merge: ['{{ o }}', {b: 3, c: 4}], c: 5}", {"o": {"a": 1, "b": 2}}, {"a": 1, "b": 3, "c": 5}),
    ("{$merge: ['{{ gone }}'], c: 5}", {}, {"c": 5}),
    ("{$merge: ['{{ o }}'], c: '{{ gone }}'}", {"o": {"c": 1}}, {"c": 1}),
    ("{$let: {a: 1, b: '{{ a + 1 }}'}, c: '{{ a + b }}'}", {}, {"c": 3}),
    ("{$let: {a: '{{ gone }}'}, b: '{{ a | default(1) }}'}", {"a": 5}, {"b": 1}),
    ("{$let: {a: {x: [1, 2]}}, b: '{{ a.x | last }}'}", {}, {"b": 2}),
    ("{$let: {y: true}, $if: y, $then: 1}", {}, 1),
    ("{$value: '{{ v }}'}", {"v": [1]}, [1]),
    ("{$value: ~}", {}, None),
    ("{$$if: 1, $$$x: 2}", {}, {"$if": 1, "$$x": 2}),
]


@pytest.mark.parametrize(("text", "values", "expected"), RENDERED, ids=[text for text, _, _ in RENDERED])
def test_rendering(text: str, values: dict[str, Any], expected: Any) -> None:
    """Each directive alone, and with others."""
    assert render(text, **values) == expected


@pytest.mark.parametrize(
    "text",
    ["{a: '{{ gone }}'}", "['{{ gone }}']", "{a: {b: {c: '{{ gone }}'}}}", "[{$for: x in gone, k: 1}]", "{$if: gone}"],
)
def test_what_nothing_is_left_of_is_absent(text: str) -> None:
    """Up to the top."""
    assert isinstance(render(text), Absent)


def test_rendering_gives_new_containers() -> None:
    """A reply must not change the next request."""
    tree = compiled("key: {a: {b: [1]}, c: []}")
    first, second = tree(scope()), tree(scope())
    first["a"]["b"].append(2)
    first["c"].append(2)
    assert second == {"a": {"b": [1]}, "c": []} == tree(scope())


@pytest.mark.parametrize("value", ["text", 5, None, {"a": 1}, True])
def test_for_needs_a_list(value: Any) -> None:
    """The error quotes the directive and names the kind."""
    with pytest.raises(RenderError, match=r"`\$for: x in v` needs a list, not"):
        render("[{$for: x in v, k: 1}]", v=value)


@pytest.mark.parametrize("value", ["text", 5, None, [1]])
def test_merge_needs_objects(value: Any) -> None:
    """Of each of its trees."""
    with pytest.raises(RenderError, match=r"`\$merge` joins objects, not"):
        render("{$merge: ['{{ v }}']}", v=value)


@pytest.mark.parametrize("text", ["[{$for: x in v, k: 1}]", "{$merge: ['{{ v }}']}", "{a: '{{ v | upper | join }}'}"])
def test_a_failure_knows_its_source(text: str) -> None:
    """So that the operator finds the line."""
    with pytest.raises(RenderError) as error:
        render(text, v="x")
    assert error.value.source.span().file == "m.yaml"


@pytest.mark.parametrize(
    ("text", "code", "place", "label"),
    [
        ("{$fro: x in y}", "E208", "$fro", "did you mean `$for`?"),
        ("{$schema: x}", "E208", "$schema", "a literal key is written `$$schema`"),
        ("[{$for: x in messages, $iff: x}]", "E208", "$iff", "did you mean `$if`?"),
        ("{$for: x in messages, a: '{{ x.text }}'}", "E205", "$for", "put it on an item of a list"),
        ("[{$for: messages, a: 1}]", "E205", "messages", "write `x in list` or `x in list if condition`"),
        (
            "[{$for: 'x, y in messages', a: 1}]",
            "E205",
            "x, y in messages",
            "write `x in list` or `x in list if condition`",
        ),
        ("[{$for: 5, a: 1}]", "E205", "5", "write `x in list` or `x in list if condition`"),
        (
            "[{$for: 'x in messages %}a', a: 1}]",
            "E205",
            "x in messages %}a",
            "write `x in list` or `x in list if condition`",
        ),
        (
            "[{$for: 'x in messages recursive', a: 1}]",
            "E205",
            "x in messages recursive",
            "write `x in list` or `x in list if condition`",
        ),
        ("{$then: 1}", "E205", "$then", "add `$if` beside it"),
        ("{$if: user, $else: 1}", "E205", "$else", "add `$then` beside it"),
        ("{$if: user, $then: 1, a: 2}", "E205", "a", "`$then` is the whole node"),
        ("{$if: user, $then: 1, $value: 2}", "E205", "$value", "`$then` is the whole node"),
        ("{$cases: {a: 1}}", "E205", "$cases", "add `$match` beside it"),
        ("{$match: user}", "E205", "$match", "write `$cases: {value: tree}` beside it"),
        ("{$match: user, $cases: [1]}", "E205", "$cases", "write `$cases: {value: tree}` beside it"),
        ("{$match: user, $cases: {a: 1}, b: 2}", "E205", "b", "`$match` is the whole node"),
        ("{$match: user, $cases: {a: 1}, $merge: []}", "E205", "$merge", "`$match` is the whole node"),
        ("{$match: user, $cases: {$els: 1}}", "E208", "$els", "did you mean `$else`?"),
        ("{$value: 1, b: 2}", "E205", "b", "`$value` is the whole node"),
        ("{$merge: {a: 1}}", "E205", "$merge", "write `$merge: [tree, tree]`"),
        ("{$merge: [5]}", "E205", "5", "write a mapping"),
        ("{$let: [1], a: 1}", "E205", "$let", "write `$let: {name: tree}`"),
        ("{$let: {a-b: 1}, a: 1}", "E205", "a-b", "use letters, digits and `_`"),
        ("{$keep_empty: 1}", "E205", "$keep_empty", "write `true`"),
        ("{$keep_empty: true, $if: user, $then: 1}", "E205", "$keep_empty", "put it into the subtrees"),
        ("{$if: '{{ user }}', a: 1}", "E201", "'{{ user }}'", "write it without braces"),
        ("{$if: [1], a: 1}", "E201", "[1]", "write an expression"),
        ("{$if: 'user }}{{ user', a: 1}", "E201", "'user }}{{ user'", "write it without braces"),
        ("{$if: usr, a: 1}", "E203", "usr", "did you mean `user`?"),
        ("{$match: usr, $cases: {a: 1}}", "E203", "usr", "did you mean `user`?"),
        ("[{$for: m in mesages, a: 1}]", "E203", "mesages", "did you mean `messages`?"),
        ("[{$for: m in messages, a: '{{ m.txt }}'}]", "E204", "txt", "did you mean `text`?"),
        ("[{$for: m in messages if m.rle == 1, a: 1}]", "E204", "rle", "did you mean `role`?"),
        (
            "[{$for: t in turns, $value: [{$for: p in t.parts, a: '{{ p.txet }}'}]}]",
            "E204",
            "txet",
            "did you mean `text`?",
        ),
        ("{$let: {abc: 1}, a: '{{ abd }}'}", "E203", "abd", "did you mean `abc`?"),
    ],
)
def test_misuse_is_found(text: str, code: str, place: str, label: str) -> None:
    """Where it stands, with the fix."""
    whole = f"key: {text}"
    finding = only(whole)
    assert (finding.code, marked(whole, finding.span).strip("'"), finding.label) == (code, place.strip("'"), label)


def test_names_of_let_end_with_their_subtree() -> None:
    """They are local."""
    assert only("key: [{$let: {a: 1}, b: '{{ a }}'}, '{{ a }}']").code == "E203"


def test_names_of_for_end_with_their_item() -> None:
    """They are local too."""
    assert only("key: [{$for: x in messages, b: '{{ x.text }}'}, '{{ x }}']").code == "E203"


def test_every_finding_of_a_tree_comes_at_once() -> None:
    """One run, one list."""
    codes = [one.code for one in found("key: {a: '{{ x1 }} {{ user | y1 }}', $b: 1, c: ['{{ user.z }}'], $else: 1}")]
    assert sorted(codes) == ["E202", "E203", "E204", "E205", "E208"]


def test_a_tree_is_not_too_deep() -> None:
    """What would overflow the stack is a finding."""
    value: Any = "x"
    for _ in range(100):
        value = [value]
    compilation = Compilation(SHAPES)
    source = sourced("key: 1")
    compile_tree(Source(source.document, source.path, value), compilation)
    assert [one.code for one in compilation.findings] == ["E205"]


def test_every_directive_is_described() -> None:
    """The reference is made of these."""
    assert all(DIRECTIVES.values())


def test_a_long_text_in_every_item_is_bounded() -> None:
    """A request of a megabyte must not become one of gigabytes."""
    tree = compiled("key: [{$for: m in messages, text: '{{ system }}'}]")
    with pytest.raises(RenderError, match="characters"):
        tree(scope(messages=list(range(2000)), system="x" * 1_000_000))


def test_a_large_value_in_every_item_is_bounded() -> None:
    """Also where it is no text."""
    tree = compiled("key: [{$for: m in messages, tools: '{{ tools }}'}]")
    with pytest.raises(RenderError, match="larger"):
        tree(scope(messages=list(range(2000)), tools=[{"x": 1}] * 1000))


def test_doubling_names_are_bounded() -> None:
    """Forty lines of a mapping could else hold more than the memory does."""
    lets = ", ".join(f"a{n + 1}: ['{{{{ a{n} }}}}', '{{{{ a{n} }}}}']" for n in range(40))
    with pytest.raises(RenderError, match="larger"):
        render(f"{{$let: {{a0: x, {lets}}}, b: '{{{{ a40 }}}}'}}")


def test_loops_over_loops_are_bounded() -> None:
    """Ten thousand messages, three times over."""
    tree = compiled("key: [{$for: a in xs, $value: [{$for: b in xs, $value: [{$for: c in xs, k: 1}]}]}]")
    with pytest.raises(RenderError, match="steps"):
        tree(scope(xs=list(range(10_000))))


def test_a_rich_request() -> None:
    """Turns, parts, tools and choices: the measure of the language's expressiveness."""
    tree = compiled(RICH, SHAPES)
    assert tree(scope(**NAMES)) == {
        "model": "m",
        "max_tokens": 4096,
        "stream": True,
        "temperature": 1,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "look"}, URL_IMAGE, DATA_IMAGE]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object", "items": []}}],
        "tool_choice": {"type": "tool", "name": "f"},
    }


URL_IMAGE = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
DATA_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
NAMES: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "temperature": 2,
    "turns": [
        {
            "role": "user",
            "parts": [
                {"type": "text", "text": "look"},
                {"type": "image", "url": "https://x/y.png"},
                {"type": "image", "url": "data:", "media_type": "image/png", "base64": "AA=="},
            ],
        },
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"x": 1}}]},
        {"role": "user", "parts": [{"type": "tool_result", "id": "c1", "text": "42"}]},
    ],
    "tools": [{"name": "f", "parameters": {"type": "object", "items": []}}],
    "tool_choice": {"mode": "tool", "name": "f"},
}
RICH = """\
body:
  model: "{{ model }}"
  max_tokens: "{{ max_tokens | default(4096) }}"
  stream: "{{ stream }}"
  system: "{{ system }}"
  temperature: "{{ temperature | clamp(0, 1) }}"
  stop_sequences: "{{ stop }}"
  metadata: {user_id: "{{ user }}"}
  messages:
    - $for: turn in turns
      role: "{{ turn.role }}"
      content:
        - $for: p in turn.parts
          $match: p.type
          $cases:
            text: {type: text, text: "{{ p.text }}"}
            image:
              type: image
              source:
                $if: p.base64
                $then: {type: base64, media_type: "{{ p.media_type }}", data: "{{ p.base64 }}"}
                $else: {type: url, url: "{{ p.url }}"}
            tool_call: {type: tool_use, id: "{{ p.id }}", name: "{{ p.name }}", input: "{{ p.arguments }}"}
            tool_result: {type: tool_result, tool_use_id: "{{ p.id }}", content: "{{ p.text }}"}
  tools:
    - $for: t in tools
      name: "{{ t.name }}"
      description: "{{ t.description }}"
      input_schema: "{{ t.parameters }}"
  tool_choice:
    $match: tool_choice.mode
    $cases:
      auto: {type: auto}
      required: {type: any}
      none: {type: none}
      tool: {type: tool, name: "{{ tool_choice.name }}"}
"""


@pytest.mark.parametrize(
    ("tree", "what"),
    [
        ('{"{{ n }}": 1}', "templates stand in values only"),
        ('{"a{% if n %}": 1}', "templates stand in values only"),
        ('{a: [{"${K}": 1}]}', "`${...}` is replaced in values only"),
        ('{"a-${K}": 1}', "`${...}` is replaced in values only"),
        ('{$match: n, $cases: {"{{ n }}": 1}}', "templates stand in values only"),
        ('{$let: {"{{ n }}": 1}, a: 1}', "is not a name"),
    ],
)
def test_a_key_is_no_template(tree: str, what: str) -> None:
    """It would be literal without a word; the fix says how a key is computed."""
    diagnostic = only(f"key: {tree}", ANY)
    assert what in diagnostic.message
    assert diagnostic.label


def test_a_computed_key_is_merged() -> None:
    """As the fix for a template in a key says; `$${` is a literal key."""
    assert render('{$merge: ["{{ {k: n} }}"], a: 1}', k="b", n=2) == {"b": 2, "a": 1}
    assert render('{"$${K}": 1}') == {"${K}": 1}


@pytest.mark.parametrize("number", [".nan", ".inf", "-.Inf"])
def test_a_number_that_json_does_not_have_is_refused(number: str) -> None:
    """It would fail in every request."""
    diagnostic = only(f"a: [{number}]")
    assert diagnostic.code == "E212"
    assert diagnostic.label


@pytest.mark.parametrize(
    ("subject", "case", "label"),
    [
        ("m.role", "asistant", "did you mean `assistant`?"),
        ("m.role", "model", ""),
        ("t.role", "system", ""),
        ("p.type", "image_url", "did you mean `image`?"),
        ("tool_choice.mode", "auto_", "did you mean `auto`?"),
        ("tool_choice.mode | default('unset')", "unsett", "did you mean `unset`?"),
    ],
)
def test_a_case_that_a_value_never_is_is_an_error(subject: str, case: str, label: str) -> None:
    """What it was meant for would be lost without a word."""
    tree = f'{{$match: "{subject}", $cases: {{{case}: 1, $else: 2}}}}'
    loops = (
        f"[{{$for: m in messages, $value: [{{$for: t in turns, $value: [{{$for: p in t.parts, $value: {tree}}}]}}]}}]"
    )
    compilation = Compilation(SHAPES)
    compile_tree(sourced(f"key: {loops}"), compilation)
    assert [(one.code, one.label) for one in compilation.findings] == [("E210", label)]
    assert "it is one of: " in compilation.findings[0].help


@pytest.mark.parametrize(
    "tree",
    [
        "[{$for: m in messages, $match: m.role, $cases: {system: 1, user: 2, assistant: 3, tool: 4}}]",
        "[{$for: t in turns, $match: t.role | upper, $cases: {USER: 1}}]",
        "{$match: tool_choice.mode | default('unset'), $cases: {unset: 1, none: 2}}",
        "{$match: tool_choice.mode | default(user), $cases: {anything: 1}}",
        "{$match: tool_choice.name, $cases: {anything: 1}}",
    ],
)
def test_cases_that_a_value_can_be_are_not(tree: str) -> None:
    """The words of roles, types and modes; and anything where the value is free."""
    compilation = Compilation(SHAPES)
    compile_tree(sourced(f"key: {tree}"), compilation)
    assert compilation.findings == []


ITEMS: dict[str, tuple[str, Any]] = {
    "several of one": ("[0, {$for: m in messages, $items: ['{{ m.role }}', '{{ m.text }}']}]", [0, "user", "hi"]),
    "a loop in them": (
        "[{$for: m in messages, $items: [{$for: p in m.parts, t: '{{ p.text }}'}, 1]}]",
        [{"t": "hi"}, 1],
    ),
    "a list by a template": ("[{$for: m in messages, $items: '{{ [m.role, 1] }}'}]", ["user", 1]),
    "none": ("[1, {$for: m in messages, $items: ['{{ user }}']}]", [1]),
    "none by a condition": ("[1, {$for: m in messages, $if: user, $items: [2]}]", [1]),
    "with names": ("[{$for: m in messages, $let: {r: '{{ m.role }}'}, $items: ['{{ r }}', '{{ r }}']}]", ["user"] * 2),
}


@pytest.mark.parametrize(("written", "wanted"), ITEMS.values(), ids=ITEMS)
def test_a_loop_may_make_several_items_of_one(written: str, wanted: Any) -> None:
    """In the place of one, in order."""
    mapping = chat(request=f"{{path: /g, body: {{m: {written}}}}}", response="{text: t}")
    assert json.loads(ask(mapping).backend_request().body or b"")["m"] == wanted


def test_items_that_are_no_list_are_an_error() -> None:
    """Nothing is sent."""
    mapping = chat(
        request="{path: /g, body: {m: [{$for: m in messages, $items: '{{ m.role }}'}]}}", response="{text: t}"
    )
    with pytest.raises(ProxyError) as caught:
        ask(mapping).backend_request()
    assert "`$items` needs a list, not a string" in str(caught.value.detail)


def test_what_is_read_in_items_is_known() -> None:
    """As it is in a loop without them."""
    tree = "{$for: t in turns, $items: [{$for: p in t.parts, $match: p.type, $cases: {text: '{{ p.text }}'}}]}"
    plain = "{$for: t in turns, $value: [{$for: p in t.parts, $match: p.type, $cases: {text: '{{ p.text }}'}}]}"
    reads = [
        chat(request=f"{{path: /g, body: {{m: [{each}]}}}}", response="{text: t}").endpoints["chat"].reads
        for each in (tree, plain)
    ]
    assert reads[0] == reads[1]
