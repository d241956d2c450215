"""The documentation is true: its commands run, its examples pass, its tables name what the code has and nothing else.

What a table or an example is for stands in an HTML comment above it, which readers do not see:
`<!-- table: filters -->` names a table that is compared with the code, `<!-- at: chat.stream -->` the place of a YAML
fragment in a mapping, and `<!-- renders -->` a body that becomes the JSON below it.
"""

import argparse
import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from base64 import b64decode
from configparser import ConfigParser
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession, FormData
from commands import free_ports
from pages import places
from scripted import PATIENCE
from support import bases_in

from oaiproxy import jsontext
from oaiproxy.app import serve
from oaiproxy.canonical import SHAPES, Identity, Names
from oaiproxy.capabilities import Calls, Capabilities, Conversation, Replies, Served
from oaiproxy.chat_templates import known_templates
from oaiproxy.check import Surroundings, check_mapping
from oaiproxy.checkup import Checkup
from oaiproxy.cli import COMMANDS, main, parser
from oaiproxy.config import Config, Server
from oaiproxy.directives import DIRECTIVES
from oaiproxy.document import load_document
from oaiproxy.endpoints import chat, messages
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ClientError
from oaiproxy.formats import FORMATS
from oaiproxy.framing import Frame
from oaiproxy.images import Images
from oaiproxy.inputs import INPUTS, NAMES
from oaiproxy.loader import Loader, mapping_schema
from oaiproxy.parameters import CHAT, COMPLETIONS, Unread
from oaiproxy.picks import FRAME_SHAPES, Envelope
from oaiproxy.sandbox import ABSENT, TESTS, Absent, Sandbox, Scope
from oaiproxy.selector_functions import FUNCTIONS
from oaiproxy.selectors import compile_selector
from oaiproxy.sinks import FINISH_REASONS, Sinks
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import compile_tree
from oaiproxy.variables import Variable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
LANGUAGE = (ROOT / "docs/mapping.md").read_text("utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
}
MAPPINGS = mapping_schema()
CONFIGURATION = jsontext.parse((ROOT / "schemas/config.schema.json").read_bytes())
ENVIRONMENT = {"YOUR_API_BASE_URL": "https://api.example.com", "YOUR_API_KEY": "key"}


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, the comment above it, its text."""

    language: str
    note: str
    text: str


def fences(page, language):
    found = re.finditer(r"^(?:<!-- ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Fence(each[2], each[1] or "", each[3]) for each in found if each[2] == language]


def noted(page, language, note):
    (found,) = (fence for fence in fences(page, language) if fence.note == note)
    return found.text


def table(page, name):
    """The rows of a table, each a list of cells."""
    _, _, rest = page.partition(f"<!-- table: {name} -->\n")
    rows = re.match(r"(?:\|.*\n)+", rest)[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def spans(cell):
    return re.findall(r"`([^`]+)`", cell)


def first_column(page, name):
    return [span for row in table(page, name) for span in spans(row[0])]


def exactly(documented, existing):
    """The same names, each documented once."""
    assert sorted(documented) == sorted(existing)


def properties(name):
    return MAPPINGS["$defs"][name]["properties"]


# Mappings and fragments

FRAME = """
oaiproxy: 1
models: [small]
backend: {url: "https://api.example.com"}
chat:
  request:
    path: /generate
    body: {prompt: "{{ prompt }}", temp: "{{ temperature }}"}
  response: {text: text}
"""


FILES = {
    fence.note.removeprefix("file: "): fence.text
    for page in PAGES.values()
    for fence in fences(page, "json")
    if fence.note.startswith("file: ")
}
"""Files that stand beside a mapping, by the note above them."""


def findings(text):
    surroundings = Surroundings(MAPPINGS, ENVIRONMENT, FILES.__getitem__, bases_in(ROOT / "mappings"))
    return check_mapping(text, "docs.yaml", surroundings).diagnostics


WHOLE = [
    (name, fence.text) for name, page in PAGES.items() for fence in fences(page, "yaml") if "oaiproxy: 1" in fence.text
]
RECIPES = fences(PAGES["docs/cookbook.md"], "yaml")
FRAGMENTS = [fence for fence in fences(LANGUAGE, "yaml") if fence.note.startswith("at: ")]


@pytest.mark.parametrize(("page", "text"), WHOLE, ids=[name for name, _ in WHOLE])
def test_a_mapping_in_the_docs_is_right(page, text):
    """It passes `check`, its examples included, without a warning."""
    assert findings(text) == ()


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=[fragment.note for fragment in FRAGMENTS])
def test_a_fragment_in_the_docs_is_right(fragment):
    """At its place in a mapping it passes `check` without a warning."""
    *parents, key = fragment.note.removeprefix("at: ").split(".")
    document = place = yaml.safe_load(FRAME)
    for parent in parents:
        place = place[parent]
    place[key] = "HERE"
    margin = "  " * (len(parents) + 1)
    text = "".join(f"{margin}{line}\n" for line in fragment.text.splitlines())
    assert findings(yaml.safe_dump(document, sort_keys=False).replace(" HERE\n", f"\n{text}")) == ()


@pytest.mark.parametrize("fence", RECIPES, ids=range(len(RECIPES)))
async def test_a_recipe_is_served_by_its_own_examples(fence, tmp_path):
    """With `url: mock:`, over sockets; each example gives what it says."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    path = tmp_path / "mine.yaml"
    path.write_text(re.sub(r"(url: )\"?\w+://[\w./]+\"?", r'\1"mock:"', fence.text, count=1))
    mappings, _ = Loader(ENVIRONMENT).load([("mine.yaml", path)])
    (model, *_), examples = mappings[0][0].models, mappings[0][0].examples
    assert examples
    async with serve(Config([], Server(port=0)), mappings) as running, ClientSession() as session:
        for example in examples:
            body = {"model": model, **example.request}
            sent = {"data": form(body)} if "file" in body else {"data": jsontext.dump(body)}
            headers = {"authorization": "Bearer key", **example.headers}
            async with session.post(running.url + DOORS[example.endpoint].path, headers=headers, **sent) as answer:
                assert answer.status == example.replies.get("status", 200), await answer.text()


def form(body):
    """A request whose `file` is uploaded."""
    made = FormData()
    for name, value in body.items():
        if name == "file":
            made.add_field(name, b64decode(value["base64"]), filename=value["filename"])
        else:
            made.add_field(name, str(value))
    return made


def test_every_yaml_block_is_tested():
    """It is a whole mapping, or its place is given, or what it renders; tests/test_editor_files.py has other files."""
    for name, page in PAGES.items():
        for fence in fences(page, "yaml"):
            assert "oaiproxy: 1" in fence.text or fence.note.startswith(("at: ", "config", "renders", "yaml: ")), (
                name,
                fence.text,
            )


# What templates see and give

REQUEST = jsontext.parse(noted(LANGUAGE, "json", "request"))


def example_scope():
    identity = Identity(request_id="req_1", token="0" * 24, uuid="0", now=0.0)
    return Scope(Names(chat.parse(REQUEST), identity, model="their-model", stream=False, variables={"tone": "dry"}))


def rendered(text):
    """What a tree becomes for the example's request."""
    document, found = load_document(f"tree:\n{indented(text)}", file="docs", environment={}, read_file=str)
    assert not found
    compilation = Compilation(SHAPES)
    render = compile_tree(Source(document, ("tree",), document.data["tree"]), compilation)
    assert not compilation.findings
    return render(example_scope())


def indented(text):
    return "".join("  " + line for line in text.splitlines(keepends=True))


def test_bodies_become_what_the_docs_say():
    """Each body for the example's request, exactly, types included."""
    pairs = re.findall(r"<!-- renders -->\n```yaml\n(.*?)```\n\n```json\n(.*?)```", LANGUAGE, re.DOTALL)
    assert len(pairs) == LANGUAGE.count("<!-- renders -->")
    for body, result in pairs:
        made = rendered(body)
        assert made == jsontext.parse(result)
        assert jsontext.dump(made) == jsontext.dump(jsontext.parse(result))


def test_every_name_is_documented():
    """The names that templates see, and no others."""
    exactly(first_column(LANGUAGE, "names"), SHAPES)


@pytest.mark.parametrize("row", table(LANGUAGE, "names"), ids=lambda row: row[0])
def test_names_are_what_the_docs_say(row):
    """Each in the example's request."""
    for name in spans(row[0]):
        value = example_scope().lookup(name)
        if row[2] == "absent":
            assert value is ABSENT
        elif row[2]:
            assert value == jsontext.parse(spans(row[2])[0])


def test_turns_are_what_the_docs_say():
    """The whole conversation of the example."""
    assert example_scope().lookup("turns") == jsontext.parse(noted(LANGUAGE, "json", "value: turns"))


def test_every_key_of_messages_and_parts_is_documented():
    """As templates may ask for them, and as the example has them."""
    (message,), (part,) = SHAPES["messages"], SHAPES["turns"][0]["parts"]
    exactly(first_column(LANGUAGE, "message"), message)
    exactly(first_column(LANGUAGE, "part"), part)
    assert {key for made in example_scope().lookup("messages") for key in made} <= message.keys()


def test_every_filter_is_documented():
    """With those that only the sandbox knows."""
    exactly({name.partition("(")[0] for name in first_column(LANGUAGE, "filters")}, Sandbox().filters)


@pytest.mark.parametrize("row", table(LANGUAGE, "filters"), ids=lambda row: row[0])
def test_filters_give_what_the_docs_say(row):
    """The example's result, exactly."""
    (template,), (result,) = re.findall("`(.+)`", row[2]), re.findall("`(.+)`", row[3])
    made = rendered(f"value: {jsontext.dump(template).decode()}")["value"]
    assert not isinstance(made, Absent)
    assert jsontext.dump(made).decode() == jsontext.dump(jsontext.parse(result)).decode()


def test_every_test_and_directive_is_documented():
    """What may stand after `is`, and the keys that begin with `$`."""
    listed = re.search(r"<!-- list: tests -->\n(.*?)\n\n", LANGUAGE, re.DOTALL)[1]
    exactly(spans(listed), TESTS)
    exactly(first_column(LANGUAGE, "directives"), DIRECTIVES)


@pytest.mark.parametrize("row", table(LANGUAGE, "references"), ids=lambda row: row[0])
def test_references_become_what_the_docs_say(row):
    """From the environment and from files."""
    document, found = load_document(
        f'value: "{spans(row[2])[0]}"', file="docs", environment={"HOST": "h"}, read_file={"key": "k\n"}.__getitem__
    )
    assert not found
    assert document.data["value"] == spans(row[3])[0]


# What selectors give

PAYLOAD = noted(LANGUAGE, "json", "payload")


def test_every_function_is_documented():
    """The library's, those on text, those of the envelope."""
    exactly(first_column(LANGUAGE, "functions"), FUNCTIONS)


@pytest.mark.parametrize("row", table(LANGUAGE, "functions"), ids=lambda row: row[0])
def test_functions_give_what_the_docs_say(row):
    """The example's result, exactly."""
    (source,), (result,) = re.findall("`(.+)`", row[2]), re.findall("`(.+)`", row[3])
    envelope = Envelope(200, {"x-kind": "busy"})
    envelope.frame = Frame(PAYLOAD.encode(), "delta", "7", {"meta": "m"})
    selector = compile_selector(source)
    assert not selector.warnings
    assert jsontext.dump(selector(jsontext.parse(PAYLOAD), envelope)) == jsontext.dump(jsontext.parse(result))


def test_every_framing_is_documented():
    """All but the one for whole bodies, which has no name in mappings; and the schema knows the same."""
    names = first_column(LANGUAGE, "framings")
    exactly(names, [*FORMATS, "delimited", "base64"])
    for name, more in (("format", set()), ("stage", {"base64"})):
        schema = MAPPINGS["$defs"][name]
        exactly(schema["then"]["enum"], FORMATS)
        assert schema["properties"].keys() == {"sse", "delimited"} | more


@pytest.mark.parametrize("row", table(LANGUAGE, "framings"), ids=lambda row: row[0])
def test_framings_cut_what_the_docs_say(row):
    """The two frames of each example."""
    if not row[2]:
        return
    name = spans(row[0])[0]
    if name not in FORMATS or not spans(row[2]):
        return
    framing = FORMATS[name].open(1000)
    wire = spans(row[2])[0].replace("\\n", "\n").encode()
    frames = [*framing.feed(wire), *framing.close()]
    if spans(row[0]) != ["text"]:
        assert [frame.data for frame in frames] == [b'{"t":"a"}', b'{"t":"b"}']


def test_finish_reasons_are_documented():
    """Each word under OpenAI's."""
    documented = {word: spans(row[0])[0] for row in table(LANGUAGE, "finish reasons") for word in spans(row[1])}
    assert documented == dict(FINISH_REASONS)


def test_names_of_frames_are_documented():
    """What a Jinja selector sees beside the payload's keys."""
    exactly(first_column(LANGUAGE, "frame names"), FRAME_SHAPES.keys() - {"*"})


# The keys


@pytest.mark.parametrize("page", [README, LANGUAGE], ids=["README", "language"])
def test_every_top_level_key_is_documented(page):
    """And that others may begin with `x-`."""
    exactly(first_column(page, "top"), [*MAPPINGS["properties"], "x-*"])


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("backend", properties("backend")),
        ("timeouts", properties("backend")["timeouts"]["properties"]),
        ("retry", properties("backend")["retry"]["properties"]),
        ("tls", properties("backend")["tls"]["properties"]),
        ("oauth2", properties("auth")["oauth2"]["properties"]),
        ("login", properties("auth")["login"]["properties"]),
        ("request", properties("request")),
        ("model", properties("model")),
        ("models_list", MAPPINGS["properties"]["models_list"]["properties"]),
        ("errors", properties("errors")),
        ("strip", properties("strip")),
        ("error rules", properties("errors")["rules"]["items"]["properties"]),
        ("frame", properties("frame")),
        ("chat template", properties("chat_template")),
        ("images", properties("inline_images")),
        ("prompts", known_templates()),
        ("example", properties("example")),
        ("endpoint", properties("endpoint")),
        ("around", properties("before") | properties("after")),
        ("poll", properties("poll")),
        ("example backend", properties("answer")),
        ("replies", properties("example")["replies"]["properties"]),
    ],
)
def test_every_key_is_documented(name, keys):
    """Those of the schema, and no others."""
    exactly(first_column(LANGUAGE, name), keys)


def test_every_key_of_a_credential_is_documented():
    """`value` stands with two of them."""
    exactly(set(first_column(LANGUAGE, "auth")), properties("auth"))


def test_images_have_the_defaults_of_the_docs():
    """As the schema has them, and the code."""
    keys = properties("inline_images")
    for name, default, _ in table(LANGUAGE, "images"):
        assert [
            jsontext.dump(keys[spans(name)[0]][word]).decode().strip('"') for word in ("default",) if default
        ] == spans(default)
    made = Images(())
    assert (made.private, made.max_bytes, made.timeout, made.most) == (False, 5 << 20, 10, 8)


def test_chat_templates_stop_where_the_docs_say():
    """Each writes that mark."""
    for name, _, stop in table(LANGUAGE, "prompts"):
        assert spans(stop)[0] in known_templates()[spans(name)[0]]


def test_timeouts_have_the_defaults_of_the_docs():
    """As the schema has them."""
    keys = properties("backend")["timeouts"]["properties"]
    for name, default, _ in table(LANGUAGE, "timeouts"):
        assert keys[spans(name)[0]]["default"] == spans(default)[0]


def test_retries_have_the_defaults_of_the_docs():
    """As the schema has them."""
    keys = properties("backend")["retry"]["properties"]
    for name, default, _ in table(LANGUAGE, "retry"):
        assert jsontext.dump(keys[spans(name)[0]]["default"]).decode().strip('"') == spans(default)[0]


def test_every_sink_is_documented():
    """The code's; and what `response`, `stream` and events take is sinks and the keys documented for each."""
    sinks = {sink.name for sink in fields(Sinks)} - {"where", "place", "listed", "catches", "plain", "personal"}
    exactly(first_column(LANGUAGE, "sinks"), sinks)
    exactly(first_column(LANGUAGE, "stream"), properties("stream").keys() - sinks)
    assert properties("response").keys() - sinks == {"data", *first_column(LANGUAGE, "cleaning")}
    assert properties("stream").keys() >= set(first_column(LANGUAGE, "cleaning"))
    assert properties("rule").keys() == sinks
    assert properties("stream")["events"]["items"]["properties"].keys() == sinks | {"when"}
    everywhere = {spans(name)[0] for name, _, where in table(LANGUAGE, "sinks") if where == "all"}
    assert properties("response").keys() & sinks == everywhere


def test_parts_of_sinks_are_documented():
    """The counts, the pieces of a tool call, the parts of an error."""
    rows = {spans(name)[0]: spans(takes) for name, takes, _ in table(LANGUAGE, "sinks")}
    exactly(rows["usage"], properties("usage"))
    exactly(rows["tool_call"], properties("tool_call"))
    exactly(rows["error"], properties("error"))


def test_what_becomes_of_unread_fields_is_documented():
    """Each field of both endpoints."""
    fates = (Unread.REFUSE, Unread.EMULATE, Unread.DROP, Unread.IGNORE)
    rows = dict(zip(fates, table(LANGUAGE, "unread"), strict=True))
    for unread, row in rows.items():
        known = {key for fields_ in (CHAT, COMPLETIONS) for key, field in fields_.items() if field.unread is unread}
        exactly(spans(row[1]), known - {"echo"})  # which is made here


def of_blocks(name):
    """The pairs of block and name in a table."""
    rows = table(LANGUAGE, name)
    return [(block, each) for row in rows for block in spans(row[0]) for each in spans(row[1])]


def test_the_names_of_other_endpoints_are_documented():
    """Each under its block."""
    exactly(of_blocks("inputs"), [(block, name) for block, names in NAMES.items() for name in names])


def test_the_keys_of_other_endpoints_are_documented():
    """Those that `response` takes, each under its block."""
    known = [(block, key) for block in INPUTS for key in properties(block)["response"]["properties"]]
    exactly(of_blocks("results"), known)
    for block in INPUTS:
        exactly([key for row in table(LANGUAGE, "other endpoint") for key in spans(row[0])], properties(block))


def test_what_becomes_of_unread_inputs_is_documented():
    """Each field of the other endpoints; one whose fate differs says of which endpoint."""
    rows = dict(zip((Unread.REFUSE, Unread.DROP, Unread.IGNORE), table(LANGUAGE, "unread inputs"), strict=True))
    fates = {}
    for block, known in INPUTS.items():
        for key, field in known.items():
            fates.setdefault(key, {})[block] = field.unread
    for unread, row in rows.items():
        wanted = set()
        for key, by_block in fates.items():
            differs = len(set(by_block.values())) > 1
            wanted |= {
                f"`{key}` of `{block}`" if differs else f"`{key}`" for block in by_block if by_block[block] is unread
            }
        exactly(row[1].split(", "), wanted)


def test_the_configuration_is_documented():
    """Every key, with its default."""
    keys = {}
    for name, part in CONFIGURATION["properties"].items():
        inner = part.get("properties")
        keys |= {f"{name}.{key}": value for key, value in inner.items()} if inner else {name: part}
    known = {name: jsontext.dump(part.get("default", "")).decode().strip('"') for name, part in keys.items()}
    everything, most = (
        {spans(row[0])[0]: row[1].strip("`") for row in table(page, "config")}
        for page in (PAGES["docs/configuration.md"], README)
    )
    assert everything == known
    assert most.items() <= known.items()


CONFIGURATIONS = [fence.text for page in PAGES.values() for fence in fences(page, "yaml") if fence.note == "config"]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_configuration_in_the_docs_is_right(text, tmp_path):
    """It passes `check`, with the mappings that it names."""
    (tmp_path / "config.yaml").write_text(text)
    checkup = Checkup(Loader({}), environment=False, thorough=False)
    checkup.add(tmp_path / "config.yaml")
    assert [found for file in checkup.run() for found in file.diagnostics] == []


# Commands, codes, links


def test_every_command_and_option_is_documented():
    """As the command line itself knows them."""
    page = PAGES["docs/commands.md"]
    exactly(first_column(README, "commands"), COMMANDS)
    exactly(first_column(page, "exits"), COMMANDS)
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        options = {option for action in command._actions for option in action.option_strings if len(option) > 2}
        exactly(first_column(page, f"options {name}"), options - {"--help"})


def test_every_key_of_capabilities_is_documented():
    """Of what `describe` prints as JSON, and of what is in it."""
    page = PAGES["docs/commands.md"]
    exactly(first_column(page, "capabilities"), [each.name for each in fields(Capabilities)])
    for kind in (Served, Replies, Calls, Conversation, Variable):
        for each in fields(kind):
            assert re.search(rf"[`{{ ]{each.name}[`}},]", page), each.name


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("check good.yaml", 0),
        ("check .", 1),
        ("check nothing", 2),
        ("check empty", 2),
        ("serve --config broken.config", 1),
        ("serve --config nothing", 2),
        ("mock broken.yaml", 1),
        ("mock nothing", 2),
        ("healthcheck --url http://127.0.0.1:9", 1),
        ("healthcheck --url nothing", 2),
        ("check warned.yaml", 0),
        ("check --strict warned.yaml", 1),
        ("check good.yaml --junit nowhere/report.xml", 2),
        ("init --curl call.sh --response answer.json", 0),
        ("init --curl call.sh", 1),
        ("init --curl nothing", 2),
        ("init --curl broken.yaml", 2),
        ("init --curl call.sh --response answer.json --output good.yaml", 2),
        ("explain example --example 'a stream'", 0),
        ("explain broken.yaml", 1),
        ("explain example --request tools.json", 1),
        ("explain example --reply call.sh --no-stream", 1),
        ("explain nothing", 2),
        ("explain example --example nothing", 2),
        ("explain example --request nothing", 2),
        ("describe example gemini", 0),
        ("describe broken.yaml", 1),
        ("describe nothing", 2),
        ("describe example --model nothing", 2),
        ("list", 0),
        ("list --config broken.config", 1),
        ("list --config wrong.config", 1),
        ("list --config nothing", 2),
        ("schema config", 0),
        ("schema --output nowhere/schema.json", 1),
        ("completion zsh", 0),
        ("record broken.yaml", 1),
        ("record unreached.yaml", 1),
        ("record nothing", 2),
        ("record example", 2),
    ],
)
def test_commands_exit_as_documented(arguments, code, tmp_path, monkeypatch, capfd):
    """Each code that can be had without a running server; one that is not 0 is explained on standard error."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("call.sh").write_text('curl http://127.0.0.1:9/ask -d \'{"prompt": "Who are you?"}\'')
    Path("answer.json").write_text('{"text": "I am nobody."}')
    tool = {"type": "function", "function": {"name": "f"}}
    Path("tools.json").write_text(json.dumps({"messages": [{"role": "user", "content": "hi"}], "tools": [tool]}))
    Path("warned.yaml").write_text(FRAME.replace("https://", "http://"))
    Path("unreached.yaml").write_text(FRAME.replace("https://api.example.com", "http://127.0.0.1:9"))
    Path("wrong.config").write_text("mapings: [good.yaml]\n")
    Path("good.yaml").write_text(FRAME)
    Path("broken.yaml").write_text(FRAME.replace("prompt }}", "promt }}"))
    Path("broken.config").write_text("mappings: [broken.yaml]\n")
    assert main(shlex.split(arguments)) == code
    out, err = capfd.readouterr()
    assert bool(out + err if code == 0 or arguments.startswith("check") else err)


def test_error_codes_are_documented():
    """All that the code can answer with, and no others."""
    source = "\n".join(path.read_text("utf-8") for path in ROOT.glob("oaiproxy/**/*.py"))
    known = set(re.findall(r"\bcode(?:: str \| None)?=(?:code or )?\"([a-z_]+)\"", source))
    known |= set(re.findall(r"^    code = \"([a-z_]+)\"", source, re.MULTILINE))
    known |= set(re.findall(r"\"(upstream_[a-z0-9_]+|rate_limit_exceeded|insufficient_quota)\"", source))
    exactly({code for row in table(README, "codes") for code in spans(row[2])} - {"Retry-After"}, known)


def test_every_endpoint_is_documented():
    """As the server routes them."""
    known = [f"{method} {path}" for method, path in asyncio.run(places())]
    documented = [span for row in table(README, "endpoints") for cell in row for span in spans(cell)]
    exactly([span for span in documented if re.match("[A-Z]+ /", span)], known)


def test_every_field_of_messages_is_documented():
    """Those that become chat's, those that are left out, those that are refused; the last ones are."""
    page = PAGES["docs/messages.md"]
    rows = [re.split("[.:]", span)[0] for row in table(page, "messages") for span in spans(row[0])]
    refused = spans(page.partition("Refused with")[2].partition("\n\n")[0])
    assert {*rows, *refused} >= messages._KNOWN | messages._ALSO
    assert messages._REFUSED.keys() <= set(refused)
    assert not messages._REFUSED.keys() & set(rows)
    hints = next(spans(row[0]) for row in table(page, "messages") if row[1].startswith("nothing"))
    least = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    assert messages.parse(least | dict.fromkeys(hints, "x")).request == messages.parse(least).request
    for key in messages._REFUSED:
        with pytest.raises(ClientError, match=f"^{key}: "):
            messages.parse({**least, key: "x"})


def test_every_shipped_mapping_is_documented():
    """With what it serves, and with variables that it, or what it extends, asks for."""
    exactly(first_column(README, "shipped"), [path.stem for path in ROOT.glob("mappings/*.yaml")])
    for names, _, serves, variables in table(README, "shipped"):
        for name in spans(names):
            path = ROOT / "mappings" / f"{name}.yaml"
            loader = Loader({})
            mapping = loader.check(path, environment=False, thorough=False).mapping
            assert mapping.endpoints.keys() == {"chat", *spans(serves)}, name
            for variable in spans(variables):
                assert any(f"${{{variable}" in text for text in loader.sources.values()), (name, variable)


def test_every_extra_is_documented():
    """Those of setup.cfg."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    exactly(first_column(README, "extras"), setup["options.extras_require"])


def test_diagnostics_are_documented():
    """Each family of codes, and each family has codes."""
    source = "\n".join(path.read_text("utf-8") for path in ROOT.glob("oaiproxy/**/*.py"))
    families = {f"{code[:2]}xx" for code in re.findall(r'"([EW]\d{3})"', source)}
    exactly(first_column(LANGUAGE, "diagnostics"), families)


def anchors(page):
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    """To a file of the tree, and to a title in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), target


def test_the_readme_is_short():
    """Nobody reads more."""
    assert len(README.splitlines()) <= 400


def test_the_tree_in_the_readme_is_the_tree():
    """Every folder that is named is there."""
    listing = next(fence.text for fence in fences(README, "text") if fence.text.startswith("oaiproxy/"))
    for line in listing.splitlines():
        assert (ROOT / line.split()[0]).is_dir(), line


def test_modules_of_the_design_exist():
    """Those on its floors, and in its groups."""
    design = PAGES["docs/design.md"]
    for row in [*table(design, "floors"), *table(design, "groups")]:
        for name in spans(row[1]):
            assert (ROOT / "oaiproxy" / f"{name}.py").is_file() or (ROOT / "oaiproxy" / name).is_dir(), name


# The commands of the docs, run

SERVERS = ("./run.sh", "oaiproxy serve", "oaiproxy mock")
STAND_INS = {
    "./run.sh": "oaiproxy serve",  # what it comes down to once there is an environment, which is made from the network
    "./test.sh": "sh -n test.sh",  # it would run this test
}


@pytest.fixture
def workplace(tmp_path):
    """A copy of what a reader has, with `oaiproxy` on the path; leaves no process behind."""
    for name in ("mappings", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("config.yaml", "run.sh", "test.sh"):
        shutil.copy(ROOT / name, tmp_path)
    command = tmp_path / "bin" / "oaiproxy"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m oaiproxy "$@"\n')
    command.chmod(0o755)
    place = Workplace(tmp_path)
    yield place
    place.stop()


class Workplace:
    """Runs the lines of a block, servers in the background, all on one free port in place of the documented ones."""

    def __init__(self, folder):
        self._folder = folder
        self._servers = []
        self._environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
        self._environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        (port,) = free_ports(1)
        self.port = str(port)

    def run(self, block):
        """The output of the lines that end."""
        output = ""
        for line in block.splitlines():
            if assignment := re.fullmatch(r"export (\w+)=(\S+)", line):
                self._environment[assignment[1]] = assignment[2]
            elif line.startswith(SERVERS):
                self.serve(STAND_INS.get(line, line))
            else:
                output += self._run(STAND_INS.get(line, line))
        return output

    def serve(self, command):
        """Start a server and wait until it listens."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command} --port {self.port}"],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._servers.append(process)
        assert self.port in process.stdout.readline()

    def stop(self):
        """End the servers; each says that all was well."""
        for process in self._servers:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
        assert [process.returncode for process in self._servers] == [0] * len(self._servers)
        self._servers.clear()

    def _run(self, line):
        line = line.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        run = subprocess.run(
            ["sh", "-c", line], cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
        return run.stdout


TUTORIAL = "docs/tutorial.md"
"""What is run as a whole, by its own test."""
BLOCKS = [(name, fence.text) for name, page in PAGES.items() if name != TUTORIAL for fence in fences(page, "sh")]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{name}: {text.splitlines()[0]}" for name, text in BLOCKS])
def test_commands_of_the_docs_run(page, block, workplace):
    """Each block in a fresh copy of the tree; what asks a proxy finds one there."""
    if "curl" in block and shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    if "127.0.0.1:8000" in block:
        workplace.serve("oaiproxy serve")
    output = workplace.run(block)
    if "curl" in block:
        assert "The capital of France is Paris." in output


def test_the_client_of_the_readme_works(workplace):
    """OpenAI's own package, whole and streaming."""
    workplace.serve("oaiproxy serve")
    (snippet,) = fences(README, "python")
    code = snippet.text.replace("127.0.0.1:8000", f"127.0.0.1:{workplace.port}")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["The capital of France is Paris."] * 2


def test_the_client_of_the_messages_page_works(workplace):
    """The vendor's own package, whole and streaming."""
    pytest.importorskip("anthropic")
    workplace.serve("oaiproxy serve")
    (snippet,) = fences(PAGES["docs/messages.md"], "python")
    code = snippet.text.replace("127.0.0.1:8000", f"127.0.0.1:{workplace.port}")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["The capital of France is Paris."] * 2


def test_the_line_that_serve_prints_is_the_one_in_the_readme(workplace):
    """Word for word, but for the port."""
    workplace.serve("oaiproxy serve")
    printed = "".join(workplace._servers[0].stdout.readline() for _ in range(2))
    (documented,) = (fence.text for fence in fences(README, "sh") if fence.text.startswith("curl"))
    assert documented.strip().replace(":8000", f":{workplace.port}") in printed
