"""Promises of updates: the smallest edits after which an example passes."""

from __future__ import annotations

import pytest
from support import load

from oaiproxy.examples import run_examples
from oaiproxy.updates import update

TEXT = """\
oaiproxy: 1
models: [m]
backend: {url: "https://backend.test"}
chat:
  request: {path: /g, headers: {x-a: b}, body: {p: "{{ prompt }}", list: [1, {a: 2, b: 3}]}}
  response: {text: t, tool_calls: "c[].{name: n, arguments: a}"}
examples:
  - request: {messages: [{role: user, content: hi}]}
"""


def updated(rest: str) -> str:
    """The new text of the one example."""
    text = TEXT + "".join(f"    {line}\n" for line in rest.splitlines())
    made = update(load(text), text, lambda name: "")
    assert not made.left
    assert made.text.startswith(TEXT)
    assert not run_examples(load(made.text), lambda name: "")
    return made.text.removeprefix(TEXT).replace("\n    ", "\n").strip()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sends: {path: /x}", "sends: {path: /g}"),
        ("sends: {headers: {X-A: c, x-b: d}}", "sends: {headers: {X-A: b}}"),
        ("sends: {body: {p: hi, list: [1, {a: 2, b: 4}]}}", "sends: {body: {p: hi, list: [1, {a: 2, b: 3}]}}"),
        ("sends: {body: {p: hi}}", "sends: {body: {p: hi, list: [1, {a: 2, b: 3}]}}"),
        ("sends: {body: {q: 1}}", "sends: {body: {p: hi, list: [1, {a: 2, b: 3}]}}"),
        ("sends_like: {body: {list: [2, {b: 4}]}}", "sends_like: {body: {list: [1, {b: 3}]}}"),
        ("sends_like: {body: {q: 1, p: ho}}", "sends_like: {body: {p: hi}}"),
        ("sends_like: {body: {q: ~, p: ~}}", "sends_like: {body: {p: ~}}"),
        ("replies: {text: b}", "replies: {text: Hi}"),
        ("replies: {text: b, finish_reason: length}", "replies: {text: Hi, finish_reason: stop}"),
        ("replies: {tool_calls: [{name: a, arguments: {}}], text: Hi}", "replies: {tool_calls: [], text: Hi}"),
        ("replies: {status: 500}", "replies: {status: 200}"),
    ],
)
def test_what_differs_is_edited(before: str, after: str) -> None:
    """And what does not is as it was."""
    made = updated("backend: {json: {t: Hi}}\n" + before)
    assert made in (
        f"backend: {{json: {{t: Hi}}}}\n{after}",
        f"backend: {{json: {{t: Hi}}}}\n{after.replace('tool_calls: [], ', '')}",
    )


def test_what_cannot_be_run_is_left() -> None:
    """A call without an answer is not for an update to make up."""
    text = TEXT + "    backend: {file: nowhere.json}\n"

    def read(name: str) -> str:
        raise FileNotFoundError(2, "No such file", name)

    assert update(load(text), text, read).text == text


def test_the_place_of_a_conversation_stays() -> None:
    """What the chat template makes of it is not written out."""
    text = TEXT.replace("chat:\n", "chat:\n  chat_template: chatml\n").replace("{{ prompt }}", "{{ chat_prompt }}")
    wanted = """sends: {body: {p: "{{ chat_prompt }}", list: [%s, {a: 2, b: 3}]}}"""
    text += "    backend: {json: {t: Hi}}\n    "
    made = update(load(text + wanted % 7), text + wanted % 7, lambda name: "")
    assert made.text == text + wanted % 1


def test_the_place_of_a_conversation_stays_where_all_around_it_is_replaced() -> None:
    """Another shape of the body, and a call that is no longer made."""
    text = TEXT.replace("chat:\n", "chat:\n  chat_template: chatml\n").replace("{{ prompt }}", "a {{ chat_prompt }}")
    text += "    backend: {json: {t: Hi}}\n    "
    wanted = """sends: {body: {p: "a {{ chat_prompt }}", list: [1, {a: 2, b: 3}]}}"""
    for old in (
        """sends: {body: {q: "{{ chat_prompt }}"}}""",
        """sends: {body: {p: "b: {{ chat_prompt }}", list: []}}""",
    ):
        assert update(load(text + old), text + old, lambda name: "").text == text + wanted
    listed = wanted.replace("{body", "[{body") + "%s]"
    once = update(load(text + listed % ", {path: /b}"), text + listed % ", {path: /b}", lambda name: "")
    assert once.text == text + listed % ""
