# ruff: noqa: E501 - a template stands on one line
"""Promises of `oaiproxy.sandbox`: templates reach nothing but data, and cannot cost more than a bound."""

from __future__ import annotations

import time
from typing import Any

import pytest
from rendering import ANY, evaluate, render, scope, sourced

from oaiproxy.sandbox import TESTS
from oaiproxy.scopes import Absent, RenderError
from oaiproxy.templates import Compilation
from oaiproxy.trees import compile_tree

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cl' ~ 'ass__'] }}",
    "{{ ().__class__.__base__ }}",
    "{{ [].__class__.__base__.__subclasses__() }}",
    "{{ {}.__init__.__globals__ }}",
    "{{ (1).__class__ }}",
    "{{ true.__class__ }}",
    "{{ none.__class__ }}",
    "{{ text.__class__ }}",
    "{{ text|attr('__class__') }}",
    "{{ text|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ [text]|map(attribute='__class__')|list }}",
    "{{ [text]|map(attribute='__class__.__mro__')|first }}",
    "{{ [text]|map('attr', '__class__')|first }}",
    "{{ text|map('__class__') }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ self() }}",
    "{{ lipsum }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner() }}",
    "{{ dict(a=1) }}",
    "{{ namespace.__init__ }}",
    "{{ namespace().__class__ }}",
    "{{ namespace(a=1)._Namespace__attrs }}",
    "{{ namespace }}",
    "{{ range.__class__ }}",
    "{{ range }}",
    "{{ range(3).start }}",
    "{{ '%s'|format(text) }}",
    "{{ '{0.__class__}'.format(text) }}",
    "{{ '{0.__class__}'|format(text) }}",
    "{{ text.format }}",
    "{{ text.upper() }}",
    "{{ list.append(5) }}",
    "{{ object.update({'a': 1}) }}",
    "{{ object.items() }}",
    "{{ object.pop('key') }}",
    "{{ text|safe }}",
    "{{ text|pprint }}",
    "{{ text|xmlattr }}",
    "{{ caller() }}",
    "{{ varargs }}",
    "{{ environment }}",
    "{{ context }}",
    "{{ context.budget }}",
    "{{ l_0_text }}",
    "{{ text is callable }}",
    "{{ text is filter }}",
    "{% import 'os' as os %}{{ os }}",
    "{% from 'os' import path %}{{ path }}",
    "{% include '/etc/passwd' %}",
    "{% extends 'x' %}",
    "{% block b %}{{ super() }}{% endblock %}",
    "{% do list.append(1) %}",
    "{% debug %}",
    "{% autoescape true %}{{ text }}{% endautoescape %}",
    "{% for x in list %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in list %}{{ loop._iterator }}{% endfor %}",
    "{% for x in list %}{{ loop }}{% endfor %}",
    "{% for x in list recursive %}{{ loop(list) }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{{ varargs.__class__ }}{% endmacro %}{{ m(1) }}",
    "{% macro m() %}{% endmacro %}{{ m }}",
    "{% set x = namespace %}{{ x(a=1) }}",
]
HARMLESS = {"", "[1,2]", "{}", "[]"}


def outcome(template: str, **values: Any) -> Any:
    """What a template renders to; None where it is refused, before or at the request."""
    compilation = Compilation(ANY)
    quoted = template.replace("'", "''")
    tree = compile_tree(sourced(f"key: '{quoted}'"), compilation)
    if compilation.findings:
        return None

    try:
        return tree(scope(**values))
    except RenderError:
        return None


@pytest.mark.parametrize("escape", ESCAPES)
def test_there_is_no_way_out(escape: str) -> None:
    """Every payload is refused, or evaluates to nothing; data stays as it was."""
    values: dict[str, Any] = {"text": "user", "list": [1, 2], "object": {"key": "v"}}
    result = outcome(escape, **values)
    assert result is None or isinstance(result, Absent) or result in HARMLESS, result
    assert values == {"text": "user", "list": [1, 2], "object": {"key": "v"}}


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_users_text_is_never_a_template(escape: str) -> None:
    """It arrives as it was sent."""
    assert evaluate("prompt", prompt=escape) == escape
    assert render("'a{{ prompt }}b'", prompt=escape) == f"a{escape}b"


@pytest.mark.parametrize("name", ["items", "keys", "values", "get", "pop", "copy", "update", "__class__", "format"])
def test_keys_with_the_names_of_methods_are_keys(name: str) -> None:
    """JSON schemas are full of `items`."""
    assert evaluate(f"x.{name}", x={name: 1}) == 1
    assert isinstance(evaluate(f"x.{name}", x={}), Absent)
    assert render(f"'a{{{{ x.{name} ~ 1 }}}}'", x={name: 1}) == "a11"


BOMBS = {
    "multiplied text": "{{ 'a' * 10**9 }}",
    "multiplied list": "{{ [1] * 10**9 }}",
    "power": "{{ 9 ** 99999 }}",
    "powers of powers": "{{ ((9 ** 64) ** 64) ** 64 }}",
    "formatting": "{{ '%1000000000d' % 1 }}",
    "formatting in a test": "{{ text is even }}",
    "formatting in another test": "{{ text is divisibleby(3) }}",
    "center": "{{ 'a'|center(10**9) }}",
    "wordwrap": "{{ text|wordwrap(1) }}",
    "format": "{{ '%1000000000d'|format(1) }}",
    "indent": "{{ text|indent(10**9) }}",
    "batch": "{{ list|batch(10**9) }}",
    "a range": "{{ range(10**9) }}",
    "nested ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "nested ranges that say something": "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "nested ranges in a filter": "{% for a in range(999) %}{% for b in range(999) if range(999) %}{% endfor %}{% endfor %}",
    "nested ranges in a block": "{% set x %}{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}{% endset %}",
    "doubling with ~": "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "doubling with +": "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
    "doubling lists": "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
    "doubling by replace": "{% set n = namespace(s='aa') %}{% for i in range(99) %}{% set n.s = n.s|replace('a','aa') %}{% endfor %}{{ n.s }}",
    "doubling by join": "{% set n = namespace(s='aa') %}{% for i in range(99) %}{% set n.s = [n.s, n.s]|join %}{% endfor %}{{ n.s }}",
    "doubling by a block": "{% set n = namespace(s='aa') %}{% for i in range(99) %}{% set x %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = x %}{% endfor %}{{ n.s }}",
    "doubling by sharing": "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
    "doubling by sharing, as JSON": "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = {'a': n.s, 'b': n.s} %}{% endfor %}{{ n.s|json }}",
    "doubling by sharing, joined": "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ 'a' ~ n.s }}",
    "doubling numbers": "{% set n = namespace(s=3) %}{% for i in range(99) %}{% set n.s = n.s * n.s %}{% endfor %}{{ n.s }}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "a macro with text": "{% macro m() %}"
    + "x" * 9999
    + "{% endmacro %}{% for i in range(99999) %}{% set x = m() %}{% endfor %}",
    "long text many times": "{% for a in range(99999) %}{{ long }}{% endfor %}",
    "long text many times, unseen": "{% for a in range(99999) %}{% set x = long ~ 'a' %}{% endfor %}",
    "hashing long text many times": "{% for a in range(99999) %}{% set x = long|sha256 %}{% endfor %}",
    "searching long text many times": "{% for a in range(99999) %}{% if 'zz' in long %}{% endif %}{% endfor %}",
    "slicing long text many times": "{% for a in range(99999) %}{% set x = long[1:] %}{% endfor %}",
    "upper case many times": "{% for a in range(99999) %}{% set x = long|upper %}{% endfor %}",
    "rounding": "{{ 5|round(-1000000000) }}",
    "a date": "{{ 0|date('%999999999d') }}",
    "mapping many times": "{% for a in list %}{% for b in list %}{% set x = list|map('upper') %}{% endfor %}{% endfor %}",
    "nothing, very often": "{% for a in list %}{% for b in list %}{% for c in list %}{% endfor %}{% endfor %}{% endfor %}",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_costs_are_bounded(bomb: str) -> None:
    """Each is refused, by the checker or with a RenderError, long before it hurts."""
    started = time.process_time()
    values = {"text": "%1000000000d", "list": ["a"] * 200, "long": "x" * 1_000_000}
    assert outcome(bomb, **values) is None
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 // 2 + 7 % 2", 4),
        ("2 ** 10", 1024),
        ("-n", -3),
        ("'a' + 'b'", "ab"),
        ("[1] + [2]", [1, 2]),
        ("'a' ~ 1 ~ 1.5 ~ true ~ none", "a11.5truenull"),
        ("'a' ~ [1, {'k': 'v'}]", 'a[1,{"k":"v"}]'),
        ("(1, 2)", [1, 2]),
        ("[1, gone, 2]", [1, 2]),
        ("{'a': gone, 'b': 1, 2: true}", {"b": 1, "2": True}),
        ("'abcdef'[1:3]", "bc"),
        ("[1, 2, 3][::-1]", [3, 2, 1]),
        ("[1, 2][-1]", 2),
        ("1 in [1]", True),
        ("'k' in {'k': 1}", True),
        ("'b' in 'abc'", True),
        ("1 not in [1]", False),
        ("1 in [1] in [true]", False),
        ("1 < 2 < 3", True),
        ("range(1, 4)", [1, 2, 3]),
        ("n if n > 2 else 0", 3),
        ("not gone", True),
        ("gone or 'x'", "x"),
        ("gone is defined", False),
        ("gone is undefined", True),
        ("result", "r"),
        ("self", "s"),
    ],
)
def test_expressions(expression: str, value: Any) -> None:
    """As in Jinja, on data."""
    result = evaluate(expression, n=3, result="r", self="s")
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    "expression",
    [
        "gone + 1",
        "1 - gone",
        "gone ~ 'a'",
        "gone.a.b",
        "gone['a'][0]",
        "gone[1:]",
        "'abc'[gone:]",
        "-gone",
        "n if gone",
        "[][0]",
        "'abc'[gone]",
        "gone | upper",
        "range(gone)",
        "x.none",
        "gone and 1",
    ],
)
def test_absence_passes_through_expressions(expression: str) -> None:
    """In generated code as well as in closures."""
    assert isinstance(evaluate(expression, n=3, x={}), Absent)


@pytest.mark.parametrize("operator", ["==", "<", "<=", ">", ">=", "in"])
def test_absence_compares_false(operator: str) -> None:
    """On either side."""
    assert evaluate(f"gone {operator} x", x="abc") is False
    assert evaluate(f"x {operator} gone", x="abc") is False


@pytest.mark.parametrize("name", sorted(set(TESTS) - {"undefined", "ne", "!="}))
def test_tests_are_false_for_absent_values(name: str) -> None:
    """But for `undefined`, and `ne`."""
    arguments = (1,) if name not in ("none",) else ()
    assert TESTS[name](Absent(), *arguments) is False


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 is number", True),
        ("true is number", False),
        ("true is boolean", True),
        ("'' is string", True),
        ("none is none", True),
        ("1.0 is integer", False),
        ("4 is even", True),
        ("4 is odd", False),
        ("9 is divisibleby(3)", True),
        ("[] is sequence", True),
        ("{} is mapping", True),
        ("1 is in([1])", True),
        ("1 is eq(1)", True),
        ("1 is ne(1)", False),
    ],
)
def test_tests(expression: str, expected: bool) -> None:
    """They speak of JSON's kinds."""
    assert evaluate(expression) is expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("'hunter2' * 2", "`*` cannot join a string and a number"),
        ("'hunter2' + 2", "`+` cannot join a string and a number"),
        ("true + 1", "`+` cannot join a boolean and a number"),
        ("none - 1", "`-` cannot join null and a number"),
        ("-'hunter2'", "`-` needs a number, not a string"),
        ("1 // 0", "a division by zero"),
        ("2.0 ** 5000", "a number is too large"),
        ("(0-8) ** 0.5", "`**` has no real result"),
        ("'hunter2' in 5", "`in` cannot look in a number"),
        ("5 in 'hunter2'", "`in` looks for text in a text, not for a number"),
        ("5[1:]", "a number has no slices"),
        ("{[1]: 2}", "a list cannot be a key"),
        ("'hunter2' is even", "`is even` needs an integer, not a string"),
        ("x < 'hunter2'", "values do not fit"),
        ("namespace(a=1)", "a function or a namespace is no value"),
        ("[namespace()]", "a function or a namespace is no value"),
    ],
)
def test_what_does_not_fit_is_named_by_its_kind(expression: str, message: str) -> None:
    """Never by its content."""
    with pytest.raises(RenderError) as error:
        evaluate(expression, x=1)
    assert str(error.value).startswith(message)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{% for x in xs %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}", "1a,2b"),
        ("{% for x in xs %}{{ loop.cycle('-', '+') }}{% endfor %}", "-+"),
        ("{% for k in o %}{{ k }}={{ o[k] }}{% endfor %}", "k=v"),
        ("{% for x in gone %}a{% else %}none{% endfor %}", "none"),
        ("{% for x in xs %}{% if x == 'a' %}{% continue %}{% endif %}{{ x }}{% endfor %}", "b"),
        ("{% for x in xs %}{% break %}{% endfor %}.", "."),
        ("{% for a, b in [[1, 2]] %}{{ a }}{{ b }}{% endfor %}", "12"),
        ("{% set x = 1 %}{% set y %}<{{ x }}>{% endset %}{{ y }}", "<1>"),
        ("{% with z = 2 %}{{ z }}{% endwith %}", "2"),
        ("{% filter upper %}a{{ xs[0] }}{% endfilter %}", "AA"),
        ("{% macro m(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ m(1) }}{{ m(3, y=4) }}", "1234"),
        ("{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{% endcall %}", "[x]"),
        ("{% set n = namespace(c=0) %}{% for x in xs %}{% set n.c = n.c + 1 %}{% endfor %}{{ n.c }}", "2"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("a {%- if true %} b {%- endif -%} c", "a bc"),
        ("{# nothing #}a{{ xs }}{{ o }}", 'a["a","b"]{"k":"v"}'),
    ],
)
def test_statements(template: str, expected: str) -> None:
    """What a chat template needs."""
    quoted = template.replace("'", "''")
    assert render(f"'{quoted}'", xs=["a", "b"], o={"k": "v"}) == expected


@pytest.mark.parametrize("value", [5, "abc", None, True])
def test_a_loop_needs_a_list(value: Any) -> None:
    """Or an object, of which it gives the keys."""
    with pytest.raises(RenderError, match="`for` needs a list, not"):
        render("'{% for x in v %}{% endfor %}'", v=value)


def test_line_breaks_stay_as_written() -> None:
    """Bodies of some formats need CRLF."""
    assert render("\"a\\r\\n{{ x }}\\r\\n{{ 'b\\r' ~ x }}\\n\"", x="\r\n") == "a\r\n\r\n\r\nb\r\r\n\n"
