"""Promises of `chat_template`: a model's own template, as it is, makes the prompt that it makes elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ask, findings_of, load
from test_chat_environment import documented

from oaiproxy import chat_templates
from oaiproxy.canonical import Call
from oaiproxy.chat_templates import conversation, known_templates
from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.loader import mapping_schema
from oaiproxy.mapping import Mapping

TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Me."},
    {"role": "user", "content": [{"type": "text", "text": "Why "}, {"type": "text", "text": "{{ 7*7 }}?<|im_end|>"}]},
]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}


def text(chat_template: str, more: str = "", body: str = "{p: '{{ chat_prompt }}'}") -> str:
    lines = ["oaiproxy: 1", "models: [m]", "backend: {url: 'https://backend.test'}", "chat:"]
    lines += [f"  chat_template: {chat_template}"] if chat_template else []
    lines += [
        f"  request: {{path: /g, body: {body}}}",
        "  response: {text: t}",
        more,
    ]
    return "\n".join(lines) + "\n"


def inline(template: str, **more: Any) -> Mapping:
    return load(text(json.dumps({"text": template, **more})))


def from_files(chat_template: str, **files: str) -> tuple[Mapping | None, list[Diagnostic]]:
    def read(name: str) -> str:
        if name.replace(".", "_") not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[name.replace(".", "_")]

    checked = check_mapping(text(chat_template), "m.yaml", Surroundings(mapping_schema(), {}, read))
    return checked.mapping, list(checked.diagnostics)


def prompt(mapping: Mapping, **fields: Any) -> str:
    data = ask(mapping, **fields).backend_request().body
    assert data is not None
    return str(json.loads(data)["p"])


SHIPPED = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n"
    "<|im_start|>assistant\nMe.<|im_end|>\n<|im_start|>user\nWhy {{ 7*7 }}?<|im_end|><|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama-3": "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nMe.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy {{ 7*7 }}?<|im_end|><|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "[INST] Be brief.\n\nWho? [/INST] Me.</s>[INST] Why {{ 7*7 }}?<|im_end|> [/INST]",
    "alpaca": "Be brief.\n\n### Instruction:\nWho?\n\n### Response:\nMe.\n\n"
    "### Instruction:\nWhy {{ 7*7 }}?<|im_end|>\n\n### Response:\n",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_templates_that_ship_write_the_documented_formats(name: str) -> None:
    """What a client sends is data: it is not a template, and no marks in it are changed."""
    mapping = load(text(name))
    assert prompt(mapping, messages=TURNS) == SHIPPED[name]
    assert prompt(load(text(f"{{name: {name}}}")), messages=TURNS) == SHIPPED[name]


def test_no_other_templates_ship() -> None:
    """All of them are tested here."""
    assert set(known_templates()) == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_mapping_with_a_template_that_ships_passes_check(name: str) -> None:
    """With all its probes."""
    checked = check_mapping(text(name), "m.yaml", Surroundings(mapping_schema(), {}, str))
    assert checked.diagnostics == ()


def test_the_first_token_is_written_only_when_it_is_given() -> None:
    """Most backends add it themselves."""
    assert prompt(load(text("{name: mistral, bos_token: <s>}"))) == "<s>[INST] hi [/INST]"
    assert prompt(load(text("{name: chatml, add_generation_prompt: false}"))) == "<|im_start|>user\nhi<|im_end|>\n"


def test_a_template_sees_what_models_expect() -> None:
    """The conversation in its own shape, calls with arguments as data, names of tools, and no more."""
    template = (
        "{{ messages | tojson }}|{{ tools | tojson }}|{{ documents }}|{{ add_generation_prompt }}|{{ bos_token }}'tool'"
    )
    messages = [
        {"role": "developer", "content": "d"},
        {"role": "user", "content": "u", "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [CALL, {**CALL, "function": {"name": "f", "arguments": "x"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    call = Call("chat", "m", False, False, messages, {"tools": TOOLS})
    made = conversation(call, parts=False)
    assert made == [
        {"role": "system", "content": "d"},
        {"role": "user", "content": "u", "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "look", "arguments": {"at": 1}}},
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "x"}},
            ],
        },
        {"role": "tool", "content": "r", "tool_call_id": "c", "name": "f"},
    ]
    shown = (
        documented()
        .from_string(template.replace("tool_calls", ""))
        .render(messages=made, tools=TOOLS, documents=None, add_generation_prompt=True)
    )
    mapping = inline("{% if 0 %}{{ tool_calls }}{% endif %}" + template)
    assert prompt(mapping, messages=messages, tools=TOOLS) == shown


@pytest.mark.parametrize(
    ("template", "content"),
    [
        ("{% for m in messages %}{% for p in m['content'] %}{{ p.text }}{% endfor %}{% endfor %}", "list"),
        ("{% for m in messages %}{% set c = m.content %}{% for p in c %}{{ p.text }}{% endfor %}{% endfor %}", "list"),
        (
            "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
            "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{% endfor %}",
            "string",
        ),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "string"),
    ],
)
def test_contents_are_text_or_parts_as_the_template_wants(template: str, content: str) -> None:
    """A template that loops over contents, and asks for text nowhere, gets parts."""
    assert prompt(inline(template), messages=TURNS[1:]) == "Who?Me.Why {{ 7*7 }}?<|im_end|>"
    shown = prompt(inline(template + "|{{ messages[0].content | tojson }}")).partition("|")[2]
    assert shown == ('[{"type": "text", "text": "hi"}]' if content == "list" else '"hi"')


def test_variables_are_templates_of_the_mapping() -> None:
    """They see the request, and what is absent is not there."""
    template = "{{ messages[0].content }} {{ enable_thinking }} {{ fixed }} {{ other is defined }}"
    variables = {"enable_thinking": "{{ extra.think }}", "fixed": 3, "other": "{{ seed }}"}
    mapping = inline(template, variables=variables)
    assert prompt(mapping, think=False) == "hi False 3 False"
    assert "extra.think" in mapping.endpoints["chat"].reads


def test_a_variable_cannot_be_made_of_the_prompt() -> None:
    """It is not there yet."""
    _, found = findings_of(text('{name: chatml, variables: {x: "{{ chat_prompt }}"}}'))
    assert [one.code for one in found] == ["E213"]


def test_the_clock_is_the_requests() -> None:
    """In UTC; the same in each retry."""
    assert prompt(inline("{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}")) == "14 Nov 2023hi"


def test_a_refusal_is_the_clients() -> None:
    """400, in the template's words, of one line."""
    mapping = inline("{{ raise_exception('No system,\n please. ' + 'x' * 900) }}{{ messages }}")
    with pytest.raises(ClientError) as caught:
        prompt(mapping)
    error = caught.value
    assert (error.status, error.param, error.code) == (400, "messages", "invalid_value")
    assert error.message == ("No system, please. " + "x" * 900)[:300]


def test_a_fault_is_ours_and_has_its_line() -> None:
    """500; the log knows where."""
    with pytest.raises(ApiError) as caught:
        prompt(inline("a\n{% if true %}\n{{ messages[0].content + 1 }}\n{% endif %}"))
    assert (caught.value.status, caught.value.code) == (500, "mapping_error")
    assert "chat_template, line 3: values do not fit" in caught.value.detail


def test_a_prompt_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation that is too long is the client's mistake."""
    monkeypatch.setattr(chat_templates, "MAX_PROMPT", 100)
    assert len(prompt(inline("{% for m in messages %}{{ m.content }}{% endfor %}"), messages=[user("x" * 100)])) == 100
    with pytest.raises(ClientError) as caught:
        prompt(inline("{% for m in messages %}{{ m.content }}{% endfor %}"), messages=[user("x" * 101)])
    assert caught.value.param == "messages"


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


TOKENIZER = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "unk_token": None, "add_bos_token": True}
PLAIN = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"


def test_a_tokenizers_configuration_is_taken_as_it_is() -> None:
    """With its special tokens, over which the mapping's own count."""
    config = json.dumps(TOKENIZER | {"chat_template": PLAIN})
    mapping, found = from_files("{file: tokenizer_config.json}", tokenizer_config_json=config)
    assert mapping is not None, found
    assert prompt(mapping) == "<s>hi</s>"
    mapping, _ = from_files("{file: tokenizer_config.json, eos_token: <e>}", tokenizer_config_json=config)
    assert mapping is not None
    assert prompt(mapping) == "<s>hi<e>"


def test_a_configuration_may_have_a_template_for_tools() -> None:
    """It is used when the client sends tools."""
    listed = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": "{{ tools | length }}" + PLAIN}]
    config = json.dumps(TOKENIZER | {"chat_template": listed})
    mapping, found = from_files("{file: t.json}", t_json=config)
    assert mapping is not None, found
    assert (prompt(mapping), prompt(mapping, tools=TOOLS)) == ("<s>hi</s>", "1<s>hi</s>")


def test_a_file_may_be_the_template_alone() -> None:
    """Any that is not JSON by its name."""
    mapping, found = from_files("{file: chat.jinja}", chat_jinja=PLAIN)
    assert mapping is not None, found
    assert prompt(mapping) == "hi"


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, "E602", "cannot be read: no such file"),
        ("{", "E214", "is broken"),
        ("[]", "E214", "no `chat_template` in `t.json`"),
        ('{"chat_template": []}', "E214", "no `chat_template` in `t.json`"),
        ('{"chat_template": "a\\n {% if %}"}', "E201", "template syntax in `t.json`, line 2, column 8: expected"),
        ('{"chat_template": "{{ x | urlize }}"}', "E201", "column 8: no filter named 'urlize'"),
        ('{"chat_template": "{% include \'x\' %}"}', "E201", "`include`: a template stands alone"),
        (
            '{"chat_template": "{% for x in y recursive %}{% endfor %}"}',
            "E201",
            "column 15: a loop cannot be recursive",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told(content: str | None, code: str, words: str) -> None:
    """At the mapping's own line, with the place in the file."""
    files = {} if content is None else {"t_json": content}
    mapping, found = from_files("{file: t.json}", **files)
    assert mapping is None
    assert [one.code for one in found] == [code]
    assert words in found[0].message
    assert found[0].span is not None
    assert (found[0].span.line, found[0].span.column) == (5, 25)


def test_what_a_template_cannot_express_is_refused() -> None:
    """Tools, calls, results and images, by what the template mentions."""
    plain, tools = load(text("chatml")), inline("{{ tools }}{% for m in messages %}{{ m.content }}{% endfor %}")
    history = [user("hi"), {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    result = {"role": "tool", "tool_call_id": "c", "content": "r"}
    image = user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}])
    for mapping, fields, param in (
        (plain, {"tools": TOOLS}, "tools"),
        (tools, {"messages": history}, "messages[1].tool_calls"),
        (plain, {"messages": [user("hi"), result, user("x")]}, "messages[1].role"),
        (tools, {"tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
        (plain, {"messages": [image]}, "messages[0].content[0].type"),
        (plain, {"n": 2}, "n"),
    ):
        with pytest.raises(ClientError) as caught:
            ask(mapping, **fields)
        assert caught.value.param == param
    assert ask(tools, tools=TOOLS).dropped == ()
    assert ask(plain, messages=TURNS, temperature=1.5).dropped == ("temperature",)


def test_all_that_is_said_is_counted() -> None:
    """Each message is sent."""
    assert ask(load(text("chatml")), messages=TURNS)._prompt_texts()[:3] == ("Be brief.", "Who?", "Me.")


def test_completions_are_served_as_one_message() -> None:
    """As everywhere."""
    exchange = ask(load(text("chatml")), endpoint="completions")
    assert exchange.backend_request().body == b'{"p":"<|im_start|>user\\nhi<|im_end|>\\n<|im_start|>assistant\\n"}'


def test_a_loop_in_a_leaf_is_the_simple_way() -> None:
    """No chat template is needed for a prompt that the mapping writes itself."""
    leaf = "{% for m in messages %}<{{ m.role }}>{{ m.text }}</{{ m.role }}>{% endfor %}<assistant>"
    mapping = load(text("", body=json.dumps({"p": leaf})))
    shown = "<system>Be brief.</system><user>Who?</user><assistant>Me.</assistant><user>Why {{ 7*7 }}?<|im_end|></user>"
    assert prompt(mapping, messages=TURNS) == shown + "<assistant>"


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        ("m.content | trim", []),
        ("m.content.replace('\\r\\n', '\\n').replace('\\n\\n', '\\n')", []),
        ("m.content.upper()", ["E402"]),
        ("m.content[:9]", ["E402"]),
    ],
)
def test_a_template_may_change_white_space_and_nothing_else(content: str, codes: list[str]) -> None:
    """As models' own do."""
    template = "{% for m in messages %}{{ " + content + " }}{% endfor %}"
    _, found = from_files("{file: t.jinja}", t_jinja=template)
    assert [one.code for one in found] == codes
