"""Promises of explanations as text: they fit the eye, and do nothing to a terminal."""

from __future__ import annotations

from explaining import HEAD, HI, explained_by

from oaiproxy.explanation_text import explained
from oaiproxy.steps import Answer

TEXT = f"""{HEAD}backend: {{url: 'https://a.example'}}
chat:
  request:
    headers: {{X-User: "{{{{ user }}}}"}}
    query: {{v: 1}}
    body: {{prompt: "{{{{ prompt }}}}", n: "{{{{ vars.n }}}}", max: "{{{{ max_tokens | default(5) }}}}"}}
  response: {{text: text}}
vars: {{n: 3}}
"""


def test_each_value_is_one_line() -> None:
    """In columns: what, its value, its place, where from."""
    lines = explained(explained_by(TEXT, {**HI, "seed": 1})).splitlines()
    table = [line for line in lines if " <- " in line]
    assert [line.split("  ")[0] for line in table] == [
        *("query.v", "body.prompt", "body.n", "body.max", "headers.Content-Type")
    ]
    assert table[2].endswith("<- the mapping's `vars.n`")
    assert table[3].endswith("<- `max_tokens` (not sent)")
    assert "`headers.X-User`: left out, because the client sent no `user` (m.yaml:6:23)" in lines
    assert any(line.startswith("`seed`: dropped: no template reads it") for line in lines)


def test_the_answer_is_told_to_its_end() -> None:
    """Frames, events, and what the client gets."""
    text = explained(explained_by(TEXT, HI, Answer(200, {"content-type": "application/json"}, b'{"text": "a"}')))
    assert 'text  text  -> "a" (string)  <- m.yaml:9:20' in text
    assert 'event: delta text="a", kind="content", choice=0' in text
    assert "== what the client gets: 200 application/json" in text


def test_control_characters_are_shown() -> None:
    """Those of an answer as well."""
    answer = Answer(200, {"content-type": "application/json"}, b'{"text": "a\x1b[31m\xc2\x9b"}')
    text = explained(explained_by(TEXT, HI, answer))
    assert all(each.isprintable() or each in "\n\t" for each in text)
