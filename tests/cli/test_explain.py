"""Promises of `oaiproxy explain`: from files to the whole way of a request and its reply."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support import ROOT

from oaiproxy.cli import main

SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas/explain.schema.json").read_text()))
EXAMPLE = (ROOT / "mappings/example.yaml").read_text()
HI = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a mapping and a request, and no variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("YOUR_API_KEY", "YOUR_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    Path("my.yaml").write_text(EXAMPLE)
    Path("hi.json").write_text(json.dumps(HI))


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The explanation as data."""
    assert main(["explain", *arguments, "--format", "json"]) == code
    found = json.loads(capsys.readouterr().out)
    SCHEMA.validate(found)
    return found


def test_each_value_has_its_line_and_the_clients_field(capsys: pytest.CaptureFixture[str]) -> None:
    """And what was left out has its reason."""
    assert main(["explain", "my.yaml", "--request", "hi.json"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r'^body\.prompt +"hi" +<- my\.yaml:14:15 <- `messages\[-1\]\.content`$', out, re.MULTILINE)
    assert re.search(r"^body\.params\.temp +0\.5 +<- my\.yaml:16:15 <- `temperature`$", out, re.MULTILINE)
    assert "`body.params.max_length`: left out, because the client sent no `max_tokens` (my.yaml:17:21)" in out
    assert "POST $YOUR_API_BASE_URL/generate HTTP/1.1\n" in out
    assert err == ""


def test_the_command_line_sends_the_same_request(capsys: pytest.CaptureFixture[str]) -> None:
    """Run by a shell, with the variables set, whatever the text holds."""
    text = 'it\'s `$(echo x)` "$HOME" \\ \n é'
    Path("hi.json").write_text(json.dumps({"messages": [{"role": "user", "content": text}]}))
    (send,) = told(capsys, "my.yaml", "--request", "hi.json")["sends"]
    script = (
        f"curl() {{ {sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"; }}\n{send['curl']}"
    )
    variables = {"YOUR_API_BASE_URL": "https://api.example.com", "YOUR_API_KEY": "it's secret"}
    run = subprocess.run(["sh", "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [
        *("-sS", "-X", "POST", "https://api.example.com/generate"),
        *("-H", "Content-Type: application/json", "-H", "Authorization: Bearer it's secret"),
        *("--data-raw", json.dumps({"prompt": text}, ensure_ascii=False, separators=(",", ":"))),
    ]


def test_a_reply_is_read_frame_by_frame(capsys: pytest.CaptureFixture[str]) -> None:
    """That it is a stream is seen; the end is found in its last frame."""
    Path("reply").write_text('{"chunk": "a", "finished": false}{"chunk": "b", "finished": true}')
    found = told(capsys, "my.yaml", "--request", "hi.json", "--reply", "reply")
    assert [frame["done"] for frame in found["frames"]] == [False, True]
    (selector,) = (each for each in found["frames"][0]["selectors"] if each["sink"] == "text")
    assert (selector["selector"], selector["type"], selector["value"]) == ("chunk", "string", "a")
    assert selector["source"]["line"] == 24
    assert [event["type"] for event in found["events"]] == ["delta", "delta", "finish"]
    assert found["replies"][0]["outcome"]["text"] == "ab"
    assert found["replies"][0]["chunks"][-1] == "[DONE]"
    assert [each["code"] for each in found["diagnostics"]] == ["taken_for_stream"]


def test_streaming_can_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Over what the request says."""
    for option, path in (("--stream", "/generate/stream"), ("--no-stream", "/generate")):
        (send,) = told(capsys, "my.yaml", "--request", "hi.json", option)["sends"]
        assert send["url"].endswith(path)


def test_a_failure_is_told_with_its_frame(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1."""
    Path("reply").write_text('{"chunk": "a", "finished": false}{"error": "out of tokens"}')
    found = told(capsys, "my.yaml", "--request", "hi.json", "--reply", "reply", "--stream", code=1)
    (fault,) = (event for event in found["events"] if event["type"] == "fault")
    assert fault["frame"] == 1
    assert "at frame 2 of call 1: 502" in found["diagnostics"][0]["message"]


def test_a_status_and_a_header_count(capsys: pytest.CaptureFixture[str]) -> None:
    """As those of the reply."""
    Path("reply").write_text('{"error": "too many"}')
    arguments = ("--reply", "reply", "--status", "429", "--header", "Retry-After: 7")
    found = told(capsys, "my.yaml", "--request", "hi.json", *arguments, code=1)
    assert found["replies"][0]["status"] == 429


def test_what_is_refused_is_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent, and the field is named."""
    tool = {"type": "function", "function": {"name": "f"}}
    Path("hi.json").write_text(json.dumps({**HI, "tools": [tool]}))
    found = told(capsys, "my.yaml", "--request", "hi.json", code=1)
    assert found["sends"] == []
    assert found["diagnostics"][0]["label"] == "tools"
    assert found["replies"][0]["status"] == 400


def test_what_is_not_sent_on_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With the policy that says so."""
    Path("my.yaml").write_text(EXAMPLE + "on_unsupported: {seed: ignore}\n")
    Path("hi.json").write_text(json.dumps({**HI, "seed": 1, "top_p": 0.5, "user": "me", "mine": 1}))
    (send,) = told(capsys, "my.yaml", "--request", "hi.json")["sends"]
    dropped = {each["field"]: each for each in send["dropped"]}
    assert {name: each["outcome"] for name, each in dropped.items()} == {
        "seed": "ignored",
        "top_p": "dropped",
        "user": "ignored",
        "mine": "ignored",
    }
    assert "on_unsupported.seed" in dropped["seed"]["reason"]
    assert "x-oaiproxy-dropped" in dropped["top_p"]["reason"]


def test_the_base_that_a_line_is_from_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """In a mapping that extends another one."""
    Path("mine.yaml").write_text(
        'oaiproxy: 1\nextends: ./my.yaml\nbackend: {url: "https://api.example.com"}\n'
        'chat: {request: {body: {who: "{{ user }}"}}}\n'
    )
    Path("hi.json").write_text(json.dumps({**HI, "user": "me"}))
    (send,) = told(capsys, "mine.yaml", "--request", "hi.json")["sends"]
    files = {field["path"]: field["source"]["file"] for field in send["fields"] if field["part"] == "body"}
    assert files == {"prompt": "my.yaml", "params.temp": "my.yaml", "who": "mine.yaml"}


def test_without_a_request_the_least_one_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """And said."""
    found = told(capsys, "my.yaml")
    assert found["sends"][0]["body"] == {"prompt": "Hello"}
    assert [(each["severity"], each["code"]) for each in found["diagnostics"]] == [("note", "least_request")]


def test_a_request_can_come_from_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As `-`."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(HI).encode())))
    assert told(capsys, "my.yaml", "--request", "-")["sends"][0]["body"]["prompt"] == "hi"


def test_a_broken_mapping_is_told_as_check_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else can be said then."""
    Path("my.yaml").write_text(EXAMPLE.replace("{{ prompt }}", "{{ promt }}"))
    found = told(capsys, "my.yaml", "--request", "hi.json", code=1)
    assert found["sends"] == []
    assert (found["diagnostics"][0]["code"], found["diagnostics"][0]["line"]) == ("E203", 14)


def test_variables_that_are_not_set_go_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Where they stand; the command line takes them from the shell."""
    text = EXAMPLE.replace("path: /generate\n", 'path: "/${PLACE}/a"\n').replace(
        "${YOUR_API_BASE_URL:-mock:}", "${HOST_URL}"
    )
    Path("my.yaml").write_text(text.replace("max_length: ", 'kind: "${KIND_OF_IT}"\n        max_length: ', 1))
    (send,) = told(capsys, "my.yaml", "--request", "hi.json")["sends"]
    assert send["url"] == "$HOST_URL/$PLACE/a"
    assert send["body"]["params"]["kind"] == "$KIND_OF_IT"
    assert "'\"$KIND_OF_IT\"'" in send["curl"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "`nothing` cannot be read: "),
        (["my.yaml", "--example", "x"], "`my.yaml` has no example `x`; it has: `a whole answer`, "),
        (["my.yaml", "--request", "nothing"], "`nothing` cannot be read: "),
        (["my.yaml", "--request", "my.yaml"], "`my.yaml` is not JSON: "),
        (["my.yaml", "--endpoint", "rerank"], "`my.yaml` does not serve `rerank`"),
    ],
    ids=["mapping", "example", "request", "json", "endpoint"],
)
def test_wrong_use_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["explain", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"oaiproxy: {words}")


def test_the_example_of_the_docs_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of it."""
    page = (ROOT / "docs/commands.md").read_text()
    section = page[page.index("## explain") :]
    shown = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]
    Path("mappings").mkdir()
    shutil.copy(ROOT / "mappings/example.yaml", "mappings/example.yaml")
    assert main(["explain", "mappings/example.yaml", "--example", "a stream"]) == 0
    out = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line != "..." and line not in out.splitlines()] == []


@pytest.mark.parametrize(
    ("body", "endpoint", "field"),
    [
        ({"input": "Hello you", "instructions": "be brief", "temperature": 0.5}, "responses", "input"),
        (
            {"messages": [{"role": "user", "content": "Hello you"}], "system": "be brief", "max_tokens": 9},
            "messages",
            "messages.0.content",
        ),
    ],
)
def test_requests_of_other_apis_are_told_from_chats(
    body: dict[str, Any], endpoint: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fields have the client's names, and the answer, or the failure, is one of that API, streamed and whole."""
    Path("hi.json").write_text(json.dumps(body))
    Path("whole.json").write_text('{"generated_text": "Hi"}')
    Path("cut").write_text('{"chunk": "Hi", "finished": false}{"chu')
    made = told(capsys, "my.yaml", "--request", "hi.json", "--reply", "whole.json")
    (send,) = made["sends"]
    assert made["request"]["endpoint"] == endpoint
    assert [each["code"] for each in made["diagnostics"]] == ["taken_for_endpoint", "uncounted"]
    assert [each["from"][0]["field"] for each in send["fields"] if each["path"] == "prompt"] == [field]
    assert made["replies"][0]["body"]["type" if endpoint == "messages" else "object"] in ("message", "response")
    assert made["replies"][0]["outcome"]["text"] == "Hi"
    made = told(capsys, "my.yaml", "--request", "hi.json", "--stream", "--reply", "cut", code=1)
    assert made["replies"][0]["chunks"][-1]["type"] == "error"
    made = told(capsys, "my.yaml", "--request", "hi.json", "--status", "500", "--reply", "cut", code=1)
    assert ("type" in made["replies"][0]["body"]) == (endpoint == "messages")


def test_the_least_request_of_every_entrance_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that the mapping serves by its chat, too."""
    for endpoint in ("chat", "completions", "responses", "messages"):
        made = told(capsys, "my.yaml", "--endpoint", endpoint)
        assert made["sends"][0]["body"] == {"prompt": "Hello"} | (
            {"params": {"max_length": 64}} if endpoint == "messages" else {}
        )


def test_no_secret_is_told_wherever_it_is_planted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out in the mapping, too short to be found, the client's own, and what looks like a key in a reply."""
    planted = 'path: "/generate/${TINY_KEY}"\n    query: {api_key: canary-literal-1}\n'
    text = EXAMPLE[: EXAMPLE.index("\nexamples:")].replace(":-mock:", ":-https://h.example")
    Path("my.yaml").write_text(text.replace("path: /generate\n", planted))
    monkeypatch.setenv("TINY_KEY", "c4y")
    monkeypatch.setenv("YOUR_API_KEY", "canary-environment")
    echoed = "canary-literal-1 canary-client-key canary-environment sk-canary0123456789abcdef"
    Path("whole.json").write_text(json.dumps({"generated_text": "x" * 1990 + echoed, echoed: echoed}))
    arguments = ["explain", "my.yaml", "--client-header", "Authorization: Bearer canary-client-key"]
    for form in ("text", "json"):
        assert main([*arguments, "--reply", "whole.json", "--format", form]) == 0
        out, err = capsys.readouterr()
        assert "$TINY_KEY" in out
        assert "canary" not in out + err
        assert "c4y" not in out + err
    with pytest.raises(SystemExit, match="2"):
        main([*arguments[:2], "--client-header", "Authorization canary-client-key"])
    assert "canary" not in capsys.readouterr().err


def test_what_nothing_stands_for_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With its line; else a part would be missing, and nobody would know why."""
    Path("my.yaml").write_text(EXAMPLE.replace("path: /generate\n", 'path: "/${file:nowhere}"\n', 1))
    found = told(capsys, "my.yaml")["diagnostics"]
    assert [(each["code"], each["line"]) for each in found if each["code"] == "not_set"] == [("not_set", 12)]
    assert main(["explain", "my.yaml"]) == 0
    assert "is left out: /${file:nowhere} (my.yaml:12:" in capsys.readouterr().err


def test_a_page_is_no_stream(capsys: pytest.CaptureFixture[str]) -> None:
    """And the failure is told in full."""
    Path("page").write_text("<!DOCTYPE html><html><body>Log in</body></html>")
    assert main(["explain", "my.yaml", "--reply", "page"]) == 1
    out, err = capsys.readouterr()
    assert "taken_for_stream" not in err
    assert 'message="the backend answered with a web page or XML, not with what its mapping describes"' in out
