"""Promises of `oaiproxy.probes`: what a mapping cannot build is found before any client asks for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from oaiproxy.canonical import SHAPES
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import load_document
from oaiproxy.mapping import compile_mapping
from oaiproxy.parameters import CHAT, COMPLETIONS
from oaiproxy.probes import _COMPLETION_FIELDS, _FIELDS, _NAMES, HOSTILE, probe
from oaiproxy.source import Source

HEAD = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://h'}\n"


def probed(text: str) -> list[Diagnostic]:
    document, found = load_document(text, file="m.yaml", environment={}, read_file=str)
    assert document is not None
    root = Source(document, (), document.data)
    mapping, more = compile_mapping(root, "m")
    assert mapping is not None, [*found, *more]
    return probe(mapping, root)


def request(body: str, rest: str = "  response: {text: out}\n") -> str:
    return f"{HEAD}chat:\n  request:\n    path: /x\n    {body}\n{rest}"


def only(text: str) -> Diagnostic:
    (found,) = probed(text)
    return found


@pytest.mark.parametrize(
    "body",
    [
        'body: {q: "{{ prompt }}"}',
        'body: {q: "{{ messages }}"}',
        "body: {q: \"a {{ prompt }} T={{ temperature | default('none') }}\"}",
        'body: {q: "{{ messages | json }}"}',
        'body: {q: "{{ prompt | b64 }}"}',
        'body: [{$for: t in turns, parts: [{$for: p in t.parts, text: "{{ p.text }}"}]}, "{{ system }}"]',
        'body_text: "q={{ prompt | urlencode }}"',
        'body_text: "<q>{{ prompt }}</q>"',
        "query: {q: '{{ prompt }}'}",
        'body: {q: "{{ prompt }}", tools: [{$for: t in tools, name: "{{ t.name }}", strict: "{{ t.strict }}"}]}',
        'body: {q: "{{ prompt }}", choice: "{{ tool_choice.name }}", format: "{{ response_format.type }}"}',
        'body: {q: "{{ request.messages }}", all: "{{ request }}"}',
    ],
)
def test_what_renders_has_no_findings(body: str) -> None:
    """Text may arrive as it is, or in a form that can be undone."""
    assert probed(request(body)) == []


def test_an_absent_value_in_text_is_found_where_it_stands() -> None:
    """E403, once, however many probes leave it out."""
    found = only(request("body: {q: 'T={{ temperature }} {{ prompt }}'}"))
    assert found.code == "E403"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (7, 21)
    assert found.label == "give it a default: `{{ temperature | default('') }}`"


def test_a_fault_that_request_and_stream_share_is_told_once() -> None:
    """The stream's request is laid over the same lines."""
    rest = "  response: {text: out}\n  stream: {format: sse, text: out}\n"
    assert len(probed(request("body: {q: '{{ prompt }} {{ seed }}'}", rest))) == 1


def test_two_faults_are_two_findings() -> None:
    """Each at its own leaf."""
    found = probed(request("body: {q: '{{ prompt }} {{ seed }}', r: '{{ prompt }} {{ user }}'}"))
    assert [each.code for each in found] == ["E403", "E403"]


def test_a_filter_that_does_not_fit_names_what_it_was_tried_with() -> None:
    """E401, at the template."""
    found = only(request("body: {q: '{{ prompt }}', s: '{{ stop | upper | first | join }}'}"))
    assert (found.code, found.help) == ("E401", "tried with `stop`")
    assert found.span is not None
    assert found.span.line == 7


@pytest.mark.parametrize("name", ["upper", "trim | replace('\"', '')", "lower"])
def test_a_filter_that_alters_text_is_found(name: str) -> None:
    """E402, at the leaf that does it."""
    found = only(request(f"body: {{m: '{{{{ model }}}}', q: \"{{{{ prompt | {name} }}}}\"}}".replace("'\"'", "'\\\"'")))
    assert found.code == "E402"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (7, 33)


def test_a_mapping_that_sends_no_text_is_found() -> None:
    """E402, at the body, or at the endpoint where there is none."""
    assert only(request("body: {m: '{{ model }}'}")).span is not None
    assert only(request("method: GET")).message == "the client's text is never sent"


def test_text_in_a_header_is_found() -> None:
    """Headers hold no line breaks: E401, at the request."""
    found = only(request("headers: {x-q: '{{ prompt }}'}"))
    assert found.code == "E401"
    assert "x-q" in found.message
    assert found.span is not None


def test_completions_are_probed_through_their_own_door() -> None:
    """Their fields are others than those of chat."""
    text = HEAD + "completions:\n  request: {path: /x, body: {q: 'N={{ max_tokens }} {{ prompt }}'}}\n"
    assert only(text + "  response: {text: out}\n").code == "E403"


def test_the_probes_fields_are_those_of_the_endpoints() -> None:
    """A field that is no more is no probe."""
    assert _FIELDS.keys() <= CHAT.keys()
    assert set(_COMPLETION_FIELDS) <= COMPLETIONS.keys()
    assert {_NAMES.get(key, key) for key in _FIELDS} <= SHAPES.keys()


def test_the_hostile_texts_hold_what_breaks_others() -> None:
    """Quotes, control characters, template marks, separators, other planes, and a megabyte."""
    text = "".join(HOSTILE)
    for sign in ('"', "'", "\\", "\x00", "{{", "{%", "\r\n", "\u2028", "\u2029", "\x85", "\U0001f600", "</s>"):
        assert sign in text
    assert max(map(len, HOSTILE)) > 1_000_000


def test_the_probes_of_the_example_take_little_time() -> None:
    """A checker that is slow is not run; in seconds of this process."""
    text = (Path(__file__).parents[1] / "mappings/example.yaml").read_text()
    document, _ = load_document(text, file="m.yaml", environment={}, read_file=str)
    assert document is not None
    root = Source(document, (), document.data)
    mapping, _ = compile_mapping(root, "m")
    assert mapping is not None
    started = time.process_time()
    assert probe(mapping, root) == []
    assert time.process_time() - started < 0.3


LOST = {
    '[{$for: t in turns, text: "{{ t.parts[0].text }}"}]': "`system`",
    '[{$for: m in messages, $match: m.role, $cases: {system: "{{ m.text }}", user: "{{ m.text }}"}}]': "`assistant`",
    '{s: "{{ system }}", q: "{{ (messages | last).text }}"}': "`user` and `assistant`",
}


@pytest.mark.parametrize("body", LOST)
def test_the_text_of_a_role_that_is_never_sent_is_told(body: str) -> None:
    """A `$match` without a case, an `$if` or a filter loses messages, and nothing else would say so."""
    found = only(request(f"body: {body}"))
    assert (found.code, found.severity) == ("W402", "warning")
    assert found.message == f"the text of {LOST[body]} messages is never sent"
    assert found.label


def test_what_reads_the_last_message_alone_may_leave_out_the_others() -> None:
    """As the simple case intends; the header `x-oaiproxy-dropped` says so for each request."""
    assert probed(request('body: {q: "{{ prompt }}"}')) == []
    of_images = 'body: {q: "{{ prompt }}", images: "{{ messages[-1].images_base64 }}", n: "{{ messages | length }}"}'
    assert probed(request(of_images)) == []
    assert probed(request('body: {q: "{{ prompt }}", old: "{{ messages[:-1] }}"}')) == []


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{{ prompt }} {{ extra.mood }}", "extra.mood"),
        ("{{ prompt }} {{ extra['mood'] }}", "extra['mood']"),
        ("{{ prompt }} {{ extra.mood.deep | upper }}", "extra.mood.deep"),
        ("{{ prompt }} {{ messages[0].name }}", "messages[0].name"),
        ("{{ prompt }} {{ request.extra_body.name }}", "request.extra_body.name"),
    ],
)
def test_an_absent_value_is_named_by_its_whole_path(template: str, path: str) -> None:
    """The fix can be pasted: with it the mapping is sound."""
    found = [one for one in probed(request(f'body_text: "{template}"')) if one.code == "E403"]
    assert [one.message for one in found] == [f"`{path}` may be absent, and text is made of it"]
    fixed = template.replace(f"{path} ", f"{path} | default('') ")
    assert found[0].label == f"give it a default: `{{{{ {path} | default('') }}}}`"
    assert "E403" not in [one.code for one in probed(request(f'body_text: "{fixed}"'))]


def test_the_default_of_a_path_is_not_empty() -> None:
    """An empty segment would be refused with 400 at run time."""
    rest = "  response: {text: out}\n"
    found = only(
        f"{HEAD}chat:\n  request:\n    path: '/x/{{{{ extra.region }}}}'\n    body: '{{{{ prompt }}}}'\n{rest}"
    )
    assert found.code == "E403"
    assert "extra.region | default('default')" in found.label


def test_every_kind_of_model_is_tried() -> None:
    """What is absent for one of them alone is found."""
    text = request('body: {q: "{{ prompt }}", r: "in {{ vars.region }}"}')
    models = "models: {a: {vars: {region: x}}, b: {vars: {region: y}}, c: {drop: [seed]}}"
    found = only(text.replace("models: [m]", models))
    assert found.code == "E403"
    assert probed(text.replace("models: [m]", models + "\nvars: {region: z}")) == []


def test_headers_of_the_client_are_tried() -> None:
    """Sent and not sent."""
    listed = request("body: {q: '{{ prompt }}', r: \"%s\"}").replace(
        "'https://h'", "'https://h', client_headers: [x-n]"
    )
    assert only(listed % "{{ headers['x-n'] | string | upper }}!").code == "E403"
    assert only(listed % "{{ headers['x-n'] * 2 }}").code == "E401"
    assert probed(listed % "{{ headers['x-n'] | upper }}") == []
