"""Promises of the Jinja of chat templates: what plain Jinja makes of them, but nothing unsafe or without bound."""

from __future__ import annotations

import contextlib
import json
from typing import Any, cast

import pytest
from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from oaiproxy.chat_environment import METHODS, ChatContext, ChatEnvironment, ChatLowering, Refusal
from oaiproxy.scopes import Budget, RenderError

ENVIRONMENT = ChatEnvironment()
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": {"at": 1, "why": "é <b>"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": " Be brief.\n"},
    {"role": "user", "content": "What's <this>?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "a cat", "tool_call_id": "c1", "name": "look"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA cat."},
    {"role": "user", "content": "Asleep? {{ 7*7 }}"},
]
NAMES: dict[str, Any] = {
    "messages": MESSAGES,
    "tools": [TOOL],
    "documents": None,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "enable_thinking": False,
    "strftime_now": lambda form: "2026",
}
TEMPLATES = {
    "namespace and reversed loop": """
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string
        and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{{- ns.last }}""",
    "tools and calls": """
{%- if tools %}
# Tools
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
{%- endif %}
{% for message in messages %}
    {% if message.tool_calls %}
        {% for call in message.tool_calls %}
            {% if call.function is defined %}
                {% set call = call.function %}
            {% endif %}
{{ '{"name": "' + call.name + '", "arguments": ' }}{{ call.arguments | tojson(indent=2) }}}
        {% endfor %}
    {% elif message['role'] == 'tool' %}
        {% if loop.previtem.role != "tool" %}<results>{% endif %}
{{ message.content }}{{ message.name }}
    {% endif %}
{% endfor %}""",
    "thinking cut out": """
{%- for message in messages if message.role == 'assistant' and message.content %}
    {%- set content = message.content %}
    {%- if '</think>' in content %}
        {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- thought + '|' + content }}
{%- endfor %}""",
    "macros": """
{%- macro header(role, end='\\n') -%}
<|{{ role }}|>{{ end }}
{%- endmacro %}
{%- macro properties(given) %}
    {%- for key, value in given.items() | sort %}
        {{- key ~ '=' ~ value ~ (',' if not loop.last) }}
    {%- endfor %}
{%- endmacro %}
{%- for message in messages %}{{ header(message.role) }}
    {{- properties(message.tool_calls[0].function.arguments) if message.tool_calls }}
{%- endfor %}""",
    "break and continue": """
{% for message in messages %}
    {% if loop.first %}{% continue %}{% endif %}
    {% if message.role == 'tool' %}{% break %}{% endif %}
{{ loop.index }} {{ message.role }} {{ loop.length }}
{% endfor %}""",
    "generation": """
{%- for m in messages %}{% generation %}{{ m.role }}{% set x = 1 %}{% endgeneration %}{{ x }}{% endfor %}""",
    "python in text": "{{ none }} {{ true }} {{ ['a', 1] }} {{ {'a': none} }} {{ missing }} {{ messages[0].missing }}",
    "methods": """{{ messages[1].get('x', 'd') }}{{ messages[0]['content'].strip().upper() }}
{{- 'a,b'.split(',') | join('-') }}{{ ' '.join(['a', 'b']) }}{{ 'a'.replace('a', 'bb') }}{{ 'x: {}'.format(3) }}
{{- '%s-%d' % ('a', 3) }}{{ '=' * 20 }}{{ messages[1].keys() | list }}
{{- messages | map(attribute='role') | unique | list }}""",
    "tests": """{{ messages is iterable }}{{ messages[0] is mapping }}{{ messages[0].content is string }}
{{- tools is not none }}
{{- 'user' in ['user', 'x'] }}{{ x is defined }}{{ 3 is number }}
{{- messages | selectattr('role', 'equalto', 'user') | list | length }}""",
    "filters": """{{ messages[0].content | trim | capitalize }}
{{- tools | tojson(separators=(',', ':'), sort_keys=true) }}
{{- '<b>' | e }}{{ tools | tojson | safe }}{{ 'a b' | title | indent(2, true) }}{{ [3, 1] | sort | first }}
{{- x | default('d') }}{{ {'b': 1, 'a': 2} | dictsort }}
{{- messages | groupby('role') | map(attribute='grouper') | list }}""",
    "a call block": "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{% endcall %}",
    "set blocks": "{% set x %}a{{ 1 }}{% endset %}{{ x }}{% filter upper %}b{% endfilter %}",
    "with": "{% with y = 1 %}{{ y }}{% endwith %}",
    "newlines": "a\n  {% if true %}\n  b\n  {% endif %}\nc\n\n",
    "the clock": "{{ strftime_now('%Y') }}",
}


class _Generation(Extension):
    """As transformers has it, without its bookkeeping."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller: Any) -> str:
        return str(caller())


def documented() -> ImmutableSandboxedEnvironment:
    """The environment that the documentation of chat templates describes."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )

    def tojson(
        x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: Any = False
    ) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made.filters["tojson"] = tojson
    return made


def render(text: str, **names: Any) -> str:
    """What our environment makes of a template."""
    tree = ChatLowering().visit(ENVIRONMENT.parse(text))
    tree.set_environment(ENVIRONMENT)
    for node in tree.find_all(nodes.Node):
        node.lineno = node.lineno or 1
    template = Template.from_code(ENVIRONMENT, ENVIRONMENT.compile(tree), ENVIRONMENT.make_globals(None))
    context = cast("ChatContext", template.new_context(names))
    context.budget = Budget()
    return "".join(template.root_render_func(context))


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_gives_what_plain_jinja_gives(text: str) -> None:
    """Byte for byte."""
    expected = documented().from_string(text).render(**NAMES)
    assert expected
    assert render(text, **NAMES) == expected


def test_a_template_can_refuse() -> None:
    """In its own words."""
    with pytest.raises(Refusal, match="no system"):
        render("{{ raise_exception('no system') }}")


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ [].__init__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({}) }}",
        "{{ messages[0].pop('role') }}",
        "{{ messages[0].clear() }}",
        "{{ ''.encode() }}",
        "{{ '{0.__class__}'.format('') }}",
        "{{ '%s'.__mod__(1) }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__.x }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ cycler.__init__ }}",
        "{{ joiner.__init__.__globals__.x }}",
        "{{ dict.fromkeys([1]) }}",
        "{% set n = namespace() %}{{ n.__class__.x }}",
        "{% for x in [1] %}{{ loop.__class__.x }}{{ loop._iterable.x }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m._func.x }}",
        "{{ ''.center(9) }}",
        "{{ lipsum() }}",
    ],
)
def test_nothing_but_data_is_reached(text: str) -> None:
    """No attribute of Python's, no method that changes anything: an error, or an undefined value, which is empty."""
    with contextlib.suppress(TemplateError):
        assert render(text, **NAMES) == ""


def test_what_is_reached_by_name_is_nothing() -> None:
    """`attr` and the globals of plain Jinja are not there."""
    assert {"attr", "format", "urlize", "wordwrap", "center", "pprint", "xmlattr"}.isdisjoint(ENVIRONMENT.filters)
    assert set(ENVIRONMENT.globals) == {"cycler", "dict", "joiner", "namespace", "raise_exception", "range"}
    assert not {name for names in METHODS.values() for name in names if name.startswith("_")}


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * 'a' }}",
        "{{ [1] * 1000000000 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{% set n = namespace(a='aaaaaaaa') %}{% for x in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
        "{% set n = namespace(a='aaaaaaaa') %}{% for x in range(60) %}{% set n.a = n.a + n.a %}{% endfor %}",
        "{% set n = namespace(a=[1]) %}{% for x in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}",
        "{% set n = namespace(a=[1]) %}{% for x in range(60) %}{% set n.a = (n.a, n.a) %}{% endfor %}",
        "{% set n = namespace(a=[1]) %}{% for x in range(60) %}{% set n.a = {'a': n.a, 'b': n.a} %}{% endfor %}",
        "{% set n = namespace(a=[1]) %}{% for x in range(60) %}{% set n.a = dict(a=n.a, b=n.a) %}{% endfor %}",
        "{% set n = namespace(a=[1]) %}{% for x in range(60) %}{% set n.a = n.a + n.a %}{% endfor %}",
        "{{ 'a' | indent(1000000000, true) }}",
        "{{ [1] | batch(1000000000, 0) | list }}",
        "{% for x in range(60) %}{% set a = 'aaaa' | replace('a', 'a' * 1000000) %}{{ a.replace('a', a) }}{% endfor %}",
        "{{ ('a' * 100000).replace('', 'b' * 100000) }}",
        "{{ ('a' * 100000).join(('b,' * 100000).split(',')) }}",
        "{{ (range(99999) | list) | join('a' * 100000) }}",
        "{{ range(99999) | join('a' * 100000) }}",
        "{{ ([{'a': 'a' * 1000000}] * 9999) | join(attribute='a') }}",
        "{{ (['a' * 1000000] * 9999) | string }}",
        "{{ (['a' * 1000000] * 9999) | tojson }}",
        "{{ (['a' * 1000000] * 9999) | upper }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set n = namespace() %}{% set n.a = n %}{{ n }}",
        "{% for a in range(9999) %}{% set x %}" + "a" * 90000 + "{% endset %}{% endfor %}",
        "{{ [1] | tojson(indent=1000000000) }}",
    ],
    ids=lambda text: text[:60],
)
def test_what_it_costs_is_bounded(text: str) -> None:
    """In time, and in memory."""
    with pytest.raises((RenderError, TemplateError, RecursionError)):
        render(text)


@pytest.mark.parametrize(("text", "at"), [("a {% if %}", 8), ("{{ 1 }}\n{% endfor %}", 11), ("x", 0)])
def test_the_place_of_a_mistake_is_known(text: str, at: int) -> None:
    """As an offset; 0 where there is none."""
    assert ENVIRONMENT.position(text) == at
    if at:
        with pytest.raises(TemplateSyntaxError):
            ENVIRONMENT.parse(text)
