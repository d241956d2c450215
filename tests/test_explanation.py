"""Promises of explanations: true to the byte of what is sent and said, for all that ships, and without a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from explaining import HEAD, HI, explained_by
from jsonschema import Draft202012Validator

from oaiproxy.bodies import content_type, decoded
from oaiproxy.canonical import Call
from oaiproxy.check import Traced
from oaiproxy.discretion import Discretion
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError
from oaiproxy.example_answers import answer_of, parse_example, rounds
from oaiproxy.exchange import BackendRequest, Exchange
from oaiproxy.explained_sends import Subject
from oaiproxy.explanation import Question, UnclearError, endpoint_of, explain, minimal
from oaiproxy.explanation_text import explained
from oaiproxy.loader import Loader
from oaiproxy.mapping import Example, Mapping
from oaiproxy.outcomes import Outcome, from_error
from oaiproxy.probes import IDENTITY
from oaiproxy.reading import file_reader
from oaiproxy.rehearsal import rehearse
from oaiproxy.steps import Answer
from oaiproxy.tracing import Answers, Record, traced

ROOT = Path(__file__).parents[1]
SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas/explain.schema.json").read_text()))
MAPPINGS = sorted((ROOT / "mappings").glob("*.yaml"))
MARKER = "sk-5ecret/Marker+1"
"""What all secrets are set to: with characters that addresses and JSON write otherwise."""
_REFERENCE = re.compile(r"\$\{(\w+)\}|\$\{(\w+):-[^}]*\}")


@pytest.fixture(params=MAPPINGS, ids=lambda path: path.stem)
def path(request: Any) -> Path:
    found: Path = request.param
    return found


@cache
def compiled(path: Path) -> tuple[Traced, Mapping]:
    """The mapping for explanations, and as it is served."""
    made, checked = Loader({}).trace(path), Loader({}).check(path, environment=False, thorough=False)
    assert made is not None
    assert checked.mapping is not None
    return made, checked.mapping


def answers_of(path: Path, mapping: Mapping, example: Example) -> list[Answer]:
    return [answer_of(mapping, each, file_reader(path.parent)) for each in rounds(example)]


def explanation(path: Path, example: Example, made: Traced, environment: dict[str, str] | None = None) -> Any:
    texts = [each.read_text() for each in MAPPINGS]
    subject = Subject(made.mapping, made.root, Discretion(made.mapping.secrets, texts, environment or {}))
    answers = answers_of(path, made.mapping, example)
    question = Question(example.endpoint, dict(example.request), example.headers, answers)
    return explain(subject, Record(made.trace), question)


def played(exchange: Any, answers: Any) -> tuple[Outcome, list[BackendRequest]]:
    try:
        made = rehearse(exchange(), answers)
    except ApiError as error:
        return from_error(error), []
    return made.outcome, made.requests


def plain(mapping: Mapping, call: Call, example: Example) -> Exchange:
    """The exchange of an example as it is served."""
    return Exchange(mapping, call, DOORS[example.endpoint].encoder(call, IDENTITY), IDENTITY, example.headers)


def shown(request: BackendRequest) -> tuple[Any, ...]:
    return request.method, request.url, dict(request.headers), request.body, request.websocket


def test_what_is_sent_and_said_is_the_same_as_without_a_trace(path: Path) -> None:
    """Byte for byte, in all examples."""
    made, served = compiled(path)
    for example in served.examples:
        call, answers, record = parse_example(served, example), answers_of(path, served, example), Record(made.trace)

        encoder = DOORS[example.endpoint].encoder(call, IDENTITY)
        noted = partial(traced, made.mapping, call, encoder, IDENTITY, example.headers, record)
        outcome, requests = played(partial(plain, served, call, example), answers)
        told, sent = played(noted, Answers(answers, record))
        assert told == outcome, example.name
        assert list(map(shown, sent)) == list(map(shown, requests)), example.name


def leaves(value: Any, at: str = "") -> Iterator[str]:
    """The paths of all values that hold no others."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from leaves(item, f"{at}[{place}]")
    else:
        yield at


def test_every_value_that_is_sent_has_the_line_that_made_it(path: Path) -> None:
    """The template, or the constant, stands there; credentials and what the proxy adds are called so."""
    made, _ = compiled(path)
    lines = {str(each): each.read_text().splitlines() for each in MAPPINGS}
    for example in made.mapping.examples:
        for send in explanation(path, example, made)["sends"]:
            paths = [field["path"] for field in send["fields"] if field["part"] == "body"]
            for leaf in leaves(send["body"]) if isinstance(send["body"], dict) else ():
                leaf = leaf.replace("file.text", "file.base64")
                assert any(leaf == each or leaf.startswith((f"{each}.", f"{each}[")) or not each for each in paths), (
                    leaf
                )
            headers = {field["path"].lower() for field in send["fields"] if field["part"] == "headers"}
            assert headers == {name.lower() for name in send["headers"]}
            for field in send["fields"]:
                source = field["source"]
                if source is None:
                    assert field["kind"] in ("proxy", "credential")
                    continue
                line = lines[source["file"]][source["line"] - 1][source["column"] - 1 :]
                written = field["template"] or (None if field["kind"] == "credential" else json.dumps(field["value"]))
                first = (written or "").strip().split("\n")[0][:20]
                block = line.startswith((">", "|"))
                assert block or first in line or first in ("{}", "[]") or "$" in first or _REFERENCE.search(line), (
                    field,
                    line,
                )


def test_every_explanation_has_the_documented_shape(path: Path) -> None:
    """As the schema says; and it can be told to people."""
    made, _ = compiled(path)
    for example in made.mapping.examples:
        found = json.loads(json.dumps(explanation(path, example, made)))
        assert not [error.message for error in SCHEMA.iter_errors(found)], example.name
        assert explained(found)


def test_what_comes_out_is_what_the_example_says(path: Path) -> None:
    """The reply, its bytes and the outcome agree, and the events tell of a fault where there is one."""
    made, served = compiled(path)
    for example in served.examples:
        found = explanation(path, example, made)
        call = parse_example(served, example)
        answers = answers_of(path, served, example)
        exchange = partial(plain, served, call, example)
        outcome, requests = played(exchange, answers)
        (reply,) = found["replies"]
        assert reply["outcome"]["status"] == outcome.status, example.name
        assert len(found["sends"]) == len(requests)
        assert any(event["type"] == "fault" for event in found["events"]) == bool(outcome.error and requests)
        for send, request in zip(found["sends"], requests, strict=True):
            body = None if request.body is None else decoded(request.body, content_type(request.headers))
            assert send["body"] == body


def test_no_secret_is_told(path: Path) -> None:
    """Not in the request, the command line, the origins or the answers, whatever form it has there."""
    names = {name for found in _REFERENCE.findall(path.read_text()) for name in found if name}
    secret = {name for name in names if re.search("KEY|TOKEN|SECRET|PASSWORD", name)}
    environment = {name: f"{MARKER}-{name}" for name in secret}
    environment |= {name: "https://host.example.com/5ecret-place" for name in names if name.endswith("_URL")}
    made = Loader(environment).trace(path)
    assert made is not None
    for example in made.mapping.examples:
        found = explanation(path, example, made, environment)
        told = json.dumps(found) + explained(found)
        assert "5ecret" not in told, example.name


def test_each_endpoint_is_told_from_the_least_request() -> None:
    """Where one alone fits; else the question is asked back."""
    made, _ = compiled(ROOT / "mappings/example.yaml")
    assert endpoint_of(made.mapping, None) == "chat"
    assert endpoint_of(made.mapping, minimal("chat")) == "chat"
    assert endpoint_of(made.mapping, minimal("completions")) == "completions"
    with pytest.raises(UnclearError, match="fits no endpoint of the mapping; say which with `--endpoint`"):
        endpoint_of(made.mapping, minimal("rerank"))


def test_counts_that_only_a_server_makes_are_not_taken_for_the_backends() -> None:
    """A note says that they are not known here."""
    chat = "chat: {request: {path: /x, body: {p: '{{ prompt }}'}}, response: %s}"
    text = f"{HEAD}backend: {{url: 'https://h.example'}}\n{chat}"
    answer = Answer(200, {}, b'{"t": "Hi", "n": 3}')
    codes = [each["code"] for each in explained_by(text % "{text: t}", HI, answer)["diagnostics"]]
    assert codes == ["uncounted"]
    (found,) = explained_by(text % "{text: t, usage: {completion: n}}", HI, answer)["diagnostics"]
    assert found["message"].startswith("the reply tells no `prompt_tokens`: ")
