"""Promises of `oaiproxy.check`: one run finds everything, in the order of the file, and gives a mapping or findings."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support import ask

from oaiproxy.check import Checked, Surroundings, check_mapping
from oaiproxy.outcomes import drive

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "schemas/mapping.schema.json").read_text())
EXAMPLE = (ROOT / "mappings/example.yaml").read_text()
SMALL = """oaiproxy: 1
models: [m]
backend: {url: "${URL}"}
chat:
  request: {path: /x, body: {q: "{{ prompt }}"}}
  response: {text: out}
"""


def checked(text: str, *, environment: bool = True, **variables: str) -> Checked:
    def read_file(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory")

    return check_mapping(text, "a/my.yaml", Surroundings(SCHEMA, variables, read_file), environment=environment)


def codes(text: str, *, environment: bool = True, **variables: str) -> list[str]:
    return [found.code for found in checked(text, environment=environment, **variables).diagnostics]


def test_a_sound_mapping_is_compiled() -> None:
    """No findings, and a mapping named after its file."""
    result = checked(EXAMPLE)
    assert result.diagnostics == ()
    assert result.mapping is not None
    assert result.mapping.name == "my"


def test_findings_of_all_stages_come_in_one_run_in_the_order_of_the_file() -> None:
    """What one stage refuses is taken out for the next."""
    text = EXAMPLE.replace("models: [your-model]", "models: your-model")
    text = text.replace("${YOUR_API_KEY:-}", "${KEY}").replace("{{ temperature }}", "{{ temprature }}")
    text = text.replace("text: generated_text", "text: a..b").replace("json-concat ", "json ")
    result = checked(text)
    assert [found.code for found in result.diagnostics] == ["E103", "E601", "E203", "E301", "E104"]
    assert result.mapping is None


def test_a_warning_leaves_the_mapping_usable() -> None:
    """Only errors refuse it."""
    text = SMALL.replace("{text: out}", "{text: out, finish_reason: \"done == true && 'stop'\"}")
    result = checked(text, URL="https://h")
    assert [found.code for found in result.diagnostics] == ["W301"]
    assert result.mapping is not None


def test_a_missing_variable_of_the_backend_does_not_keep_the_examples_from_running() -> None:
    """One run tells both."""
    text = SMALL + (
        "examples:\n  - request: {messages: [{role: user, content: hi}]}\n"
        "    backend: {json: {out: a}}\n    replies: {text: b}\n"
    )
    assert codes(text) == ["E601", "E502"]


def test_what_depends_on_a_missing_variable_is_not_tried() -> None:
    """An example that cannot be true says nothing."""
    text = SMALL.replace('"{{ prompt }}"', '"${PREFIX}{{ prompt }}"') + (
        "examples:\n  - request: {messages: [{role: user, content: hi}]}\n"
        "    sends: {body: {q: xhi}}\n    backend: {json: {out: a}}\n"
    )
    assert codes(text, URL="https://h") == ["E601"]
    assert codes(text, URL="https://h", PREFIX="x") == []
    assert codes(text, URL="https://h", PREFIX="y") == ["E501"]


def test_the_environment_can_be_left_out() -> None:
    """A mapping is checked where its keys are not; the rest of the checks run."""
    assert codes(SMALL) == ["E601"]
    result = checked(SMALL, environment=False)
    assert result.diagnostics == ()
    assert result.mapping is not None
    assert codes(SMALL.replace("{{ prompt }}", "{{ prmpt }}"), environment=False) == ["E203"]


def test_probes_and_examples_run_only_what_is_whole() -> None:
    """What an unknown key was meant to do is missing: nothing follows from that."""
    assert codes(
        EXAMPLE.replace("max_length:", "max_length: 1\n      parms:").replace("    text: chunk", "    txt: chunk")
    )
    assert codes(EXAMPLE.replace("    text: chunk", "    txt: chunk")) == ["E101"]


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "a: 1", "oaiproxy: 1", "chat: {request: 1}", "examples: [1]", "chat: ~"]
)
def test_no_text_raises(text: str) -> None:
    """Everything wrong is a finding."""
    result = checked(text)
    assert result.mapping is None
    assert result.diagnostics


def test_a_mapping_cut_anywhere_gives_findings_never_an_exception() -> None:
    """As an editor sends it while its author types; every finding has a place and a fix."""
    for at in range(0, len(EXAMPLE), 37):
        for found in checked(EXAMPLE[:at]).diagnostics:
            assert found.span is not None
            assert found.label or found.help, found


def test_any_line_can_be_missing() -> None:
    """The commonest edit."""
    lines = EXAMPLE.split("\n")
    for index in range(len(lines)):
        for found in checked("\n".join(lines[:index] + lines[index + 1 :])).diagnostics:
            assert found.span is not None
            assert found.label or found.help, found


def test_the_example_is_checked_in_an_instant() -> None:
    """In seconds of this process."""
    started = time.process_time()
    checked(EXAMPLE)
    assert time.process_time() - started < 0.3


def test_null_turns_off_what_the_stream_would_inherit() -> None:
    """`~` deletes: a sink of `response` is not read, and the request is the same."""
    whole = SMALL.replace("{text: out}", "{text: out, usage: {prompt: u}}").replace("${URL}", "https://h")
    result = checked(whole + "  stream: {format: sse, request: ~, usage: ~, tool_call: ~}\n")
    assert result.diagnostics == ()
    assert result.mapping is not None
    endpoint = result.mapping.endpoints["chat"]
    assert endpoint.stream is not None
    outcome = drive(ask(result.mapping, stream=True).reply(200, {}), [b'data: {"out": "a", "u": 77}\n\n'])
    assert outcome.text == "a"
    assert outcome.usage is None or outcome.usage["prompt_tokens"] != 77


def test_a_quick_check_runs_each_example_once() -> None:
    """What a start needs: the mapping holds; and what fails in it fails there too."""
    broken = EXAMPLE.replace("finish_reason: stop", "finish_reason: length")
    surroundings = Surroundings(SCHEMA, {}, str)
    assert check_mapping(EXAMPLE, "my.yaml", surroundings, thorough=False).diagnostics == ()
    assert [found.code for found in check_mapping(broken, "my.yaml", surroundings, thorough=False).diagnostics] == [
        "E502",
        "E502",
    ]


@pytest.mark.parametrize(("thorough", "limit"), [(True, 4.0), (False, 2.0)])
def test_a_hundred_mappings_are_checked_in_seconds(thorough: bool, limit: float) -> None:
    """Some 1.5 and 0.5 seconds of this process; twice that is for slower machines."""
    surroundings = Surroundings(SCHEMA, {}, str)
    started = time.process_time()
    for _ in range(100):
        check_mapping(EXAMPLE, "my.yaml", surroundings, thorough=thorough)
    assert time.process_time() - started < limit


@pytest.mark.parametrize("wrong", ["[1]", "1", "text"])
def test_what_is_no_request_is_told_once(wrong: str) -> None:
    """A list is not a mapping, and nothing more needs to be said."""
    assert codes(SMALL.replace("${URL}", "https://h") + f"  stream: {{format: sse, request: {wrong}}}\n") == ["E103"]


def test_what_the_environment_brought_in_is_not_told() -> None:
    """Neither whole nor in part, wherever a template or a selector breaks because of it."""
    for template in ("{{ prompt }}${S}{{ nosuch }}", "${S}", "{{ '${S}' }}", "{{ prompt | ${S} }}"):
        text = SMALL.replace("{{ prompt }}", template).replace("text: out", 'text: "${S}", id: "a.${S}"')
        for secret in ("hunter2..x", "nosuchname(hunter2)", "hunter2", "hun'ter2", "a hunter2 `x`", "[hunter2"):
            told = repr(checked(text, URL="https://h", S=secret).diagnostics)
            assert "hunter2" not in told
            assert "nosuchname" not in told


def test_what_cannot_be_resolved_is_no_unknown_constant() -> None:
    """One mistake is one finding: `vars.folder` is there, its value is not."""
    text = SMALL.replace("{{ prompt }}", "{{ vars.folder }}{{ prompt }}") + 'vars: {folder: "${FOLDER}"}\n'
    assert codes(text, URL="https://h") == ["E601"]
    assert codes(text, URL="https://h", environment=False) == []


def test_of_a_part_that_was_refused_nothing_is_missed() -> None:
    """A constant that it may read or define is no second finding; one that nobody defines is."""
    reads = SMALL.replace("oaiproxy: 1\n", "oaiproxy: 1\nvars: {tone: dry}\n")
    body = 'body: {q: "{{ prompt }}", tone: "{{ vars.tone }}"}'
    sound = reads.replace('body: {q: "{{ prompt }}"}', body)
    assert codes(sound, URL="http://127.0.0.1:1") == []
    assert "W108" not in codes(sound.replace("body:", "boay:"), URL="http://127.0.0.1:1")
    assert codes(sound.replace("vars: {", "vasr: {"), URL="http://127.0.0.1:1") == ["E101"]
    assert "E204" in codes(sound.replace("{tone: dry}", "{tune: dry}"), URL="http://127.0.0.1:1")
