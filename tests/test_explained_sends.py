"""Promises of what is told of requests: credentials by their names, reasons for all that is not there."""

from __future__ import annotations

import pytest
from explaining import HEAD, HI, explained_by

CHAT = "chat: {request: {body: {prompt: '{{ prompt }}'}}, response: {text: text}}\n"


@pytest.mark.parametrize(
    ("auth", "environment", "header", "word"),
    [
        ("{bearer: '${KEY}'}", {"KEY": "abcd-efgh"}, "Bearer $KEY", "-H 'Authorization: Bearer '\"$KEY\""),
        ("{bearer: '${KEY}'}", {}, "Bearer $KEY", "-H 'Authorization: Bearer '\"$KEY\""),
        ("{bearer: written-down}", {}, "Bearer ***", "-H 'Authorization: Bearer ***'"),
        ("{bearer: '${KEY:-written-down}'}", {}, "Bearer $KEY", "-H 'Authorization: Bearer '\"$KEY\""),
        ("{header: Authorization, value: 'Key ${KEY}'}", {"KEY": "x"}, "Key $KEY", "'Authorization: Key '\"$KEY\""),
        ("{basic: {user: me, password: '${KEY}'}}", {"KEY": "abcd"}, "Basic ***", "-u '***:'\"$KEY\""),
        ("{passthrough: authorization}", {}, "***", "-H 'Authorization: ***'"),
        (
            "{oauth2: {token_url: 'https://a/b', client_id: a, client_secret: abcd}}",
            {},
            "Bearer $TOKEN",
            "-H 'Authorization: Bearer '\"$TOKEN\"",
        ),
        ("{sign: {headers: {Authorization: '{{ http.body | sha256 }}'}}}", {}, "***", "-H 'Authorization: ***'"),
    ],
)
def test_credentials_go_by_the_names_of_their_variables(
    auth: str, environment: dict[str, str], header: str, word: str
) -> None:
    """Whatever they are made of."""
    text = f"{HEAD}backend: {{url: 'https://a.example', auth: {auth}}}\n{CHAT}"
    found = explained_by(text, environment=environment)
    (send,) = found["sends"]
    headers = {name.lower(): value for name, value in send["headers"].items()}
    assert headers["authorization"] == header
    assert word.lower() in send["curl"].lower()
    (field,) = (each for each in send["fields"] if each["path"].lower() == "authorization")
    assert (field["kind"], field["source"]["line"]) == ("credential", 3)


def test_a_key_in_the_query_is_a_credential() -> None:
    """In the address as well."""
    text = f"{HEAD}backend: {{url: 'https://a.example', auth: {{query: key, value: '${{KEY}}'}}}}\n{CHAT}"
    for environment in ({}, {"KEY": "a/b+c"}):
        (send,) = explained_by(text, environment=environment)["sends"]
        assert send["url"] == "https://a.example?key=$KEY"


def test_an_address_of_a_variable_is_not_told() -> None:
    """Its default is."""
    text = f"{HEAD}backend: {{url: '${{URL:-https://a.example/}}'}}\n{CHAT}"
    assert explained_by(text)["sends"][0]["url"] == "https://a.example"
    assert explained_by(text, environment={"URL": "https://b.example/"})["sends"][0]["url"] == "$URL"


BODY = """backend: {url: 'https://a.example'}
chat:
  request:
    body:
      system: "{{ system }}"
      strict: "{{ tools[0].strict }}"
      loop: [{$for: t in tools, name: "{{ t.name }}"}]
      flag: {$if: user, $then: 1}
      choice: {$match: tool_choice.mode, $cases: {auto: 1}}
      deep: {er: {seed: "{{ seed }}"}}
      nothing: "{{ vars.a }}"
  response: {text: text}
vars: {b: 1}
"""


def test_what_is_left_out_has_its_reason() -> None:
    """In the words of the client's request."""
    text = HEAD + BODY.replace("vars.a", "messages[5].text").replace("vars: {b: 1}\n", "")
    (send,) = explained_by(text, {**HI, "max_tokens": 1})["sends"]
    assert {each["path"]: each["reason"] for each in send["left_out"]} == {
        "system": "no message has the role `system`",
        "strict": "the client sent no `tools[].function.strict`",
        "loop": "`$for: t in tools` has no items",
        "flag": "`$if: user` is not true",
        "choice": "`$match: tool_choice.mode` has no case for this request",
        "deep.er.seed": "the client sent no `seed`",
        "nothing": "`{{ messages[5].text }}` gives nothing",
    }
    assert {each["field"]: each["outcome"] for each in send["dropped"]} == {"max_tokens": "dropped"}


def test_the_directives_around_a_value_are_named() -> None:
    """The outermost first, each with its place."""
    text = f"""{HEAD}backend: {{url: 'https://a.example'}}
chat:
  request:
    body:
      - $for: m in messages
        $match: m.role
        $cases: {{user: {{text: "{{{{ m.text }}}}", kind: 1}}}}
  response: {{text: text}}
"""
    (send,) = explained_by(text)["sends"]
    fields = {field["path"]: field for field in send["fields"] if field["part"] == "body"}
    told = [(each["directive"], each["expression"], each["source"]["line"]) for each in fields["[0].kind"]["under"]]
    assert told == [("$for", "m in messages", 7), ("$match", "m.role", 8)]
    assert [each["field"] for each in fields["[0].text"]["from"]] == ["messages[0].content"]


def test_calls_around_the_main_one_are_named() -> None:
    """Each with the reply that it is made of."""
    text = f"""{HEAD}backend: {{url: 'https://a.example'}}
chat:
  before: [{{name: session, request: {{path: /open}}}}]
  request: {{path: "/in/{{{{ session.id }}}}", body: {{prompt: "{{{{ prompt }}}}"}}}}
  response: {{text: text}}
"""
    found = explained_by(text)
    assert [(send["call"], send["name"]) for send in found["sends"]] == [("before", "session"), ("main", None)]
    (path,) = (field for field in found["sends"][1]["fields"] if field["part"] == "path")
    assert (path["kind"], path["from"][0]["name"]) == ("reply", "session.id")
